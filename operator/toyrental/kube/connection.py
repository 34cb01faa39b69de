"""Where the API server is, and who the operator is to it."""

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path

import aiohttp
import kopf
import yaml

from toyrental import __version__

KUBECONFIG = "KUBECONFIG"
AGENT = f"toyrental-operator/{__version__}"
"""What the operator is called in the API server's audit log."""

SIGN_IN_AGAIN_SECONDS = 1.0

logger = logging.getLogger(__name__)


class NoConnection(Exception):
    """There is no way to an API server; `str()` says what to do."""


def find(kubeconfig: Path | None) -> kopf.ConnectionInfo:
    """Return how to reach the API server.

    That is by the kubeconfig named; else by $KUBECONFIG; else, in a pod, by its service account;
    else by ~/.kube/config. Raises NoConnection where none of them is to be had.
    """
    settings = kopf.OperatorSettings()
    if kubeconfig is not None:
        os.environ[KUBECONFIG] = str(kubeconfig)
    try:
        if os.environ.get(KUBECONFIG):
            found = kopf.login_with_kubeconfig(settings=settings)
        else:
            found = kopf.login_with_service_account(
                settings=settings
            ) or kopf.login_with_kubeconfig(settings=settings)
        if found is not None:
            found.as_ssl_context()  # reads the certificates
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else None
        raise _unusable(why) from error
    except (yaml.YAMLError, kopf.LoginError) as error:
        raise _unusable(str(error)) from error
    if found is None or not found.server:
        raise NoConnection(
            "no cluster is named; give --kubeconfig, set KUBECONFIG, or run in a pod"
        )
    return found


def _unusable(why: str | None) -> NoConnection:
    where = os.environ.get(KUBECONFIG) or "~/.kube/config"
    why = " ".join((why or "its content is no kubeconfig").split())
    return NoConnection(f"the kubeconfig {where} cannot be used: {why}")


def as_user(found: kopf.ConnectionInfo, token: str) -> kopf.ConnectionInfo:
    """Return the way to the same API server as whoever a bearer token belongs to."""
    return replace(
        found,
        scheme=None,
        token=token,
        username=None,
        password=None,
        certificate_path=None,
        certificate_data=None,
        private_key_path=None,
        private_key_data=None,
        expiration=None,
    )


class SignIn:
    """Signs kopf in, with sessions of our own that pass each request through a middleware.

    Refused credentials are read again: in a pod the token changes. Where they stay the same they
    are tried again, for as long as it takes.
    """

    def __init__(
        self, found: kopf.ConnectionInfo, middleware: aiohttp.ClientMiddlewareType
    ) -> None:
        self._found = found
        self._middleware = middleware
        self._sessions: list[aiohttp.ClientSession] = []

    async def open(self, **_: object) -> kopf.AiohttpSession:
        """Return a new session."""
        if self._sessions:
            logger.warning("the API server refused the credentials; reading them again")
            await asyncio.sleep(SIGN_IN_AGAIN_SECONDS)
            await self.close()
            try:
                self._found = find(None)
            except NoConnection as error:
                logger.warning("the credentials cannot be read, the old ones are tried: %s", error)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._found.as_ssl_context()),
            headers={"User-Agent": AGENT, **self._found.as_http_headers()},
            proxy=self._found.proxy_url,
            trust_env=self._found.trust_env,
            middlewares=(self._middleware,),
        )
        self._sessions.append(session)
        return kopf.AiohttpSession(server=self._found.server, aiohttp_session=session)

    async def close(self) -> None:
        """Close every session, as kopf does unless it failed."""
        for session in self._sessions:
            await session.close()
