"""Passes requests on to the API server, as their caller or as this program, and answers back."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp
import kopf
from yarl import URL

from toyrental.kube import connection, errors

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
WATCH_SECONDS = 4000.0
"""How long answers last at most. The API server ends a watch within the hour."""

_UNAUTHORIZED = 401

logger = logging.getLogger(__name__)


class Outgoing(NamedTuple):
    """A request; `target` is path and query, sent as they are."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    watches: bool = False


class Answer:
    """What the API server says. Raises errors.Unavailable where it breaks off."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._ended = False
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        """Return all of it."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield it as it comes, and no faster than it is taken."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if not self._ended:
                raise errors.Unavailable("reading an answer", str(error)) from error

    def end(self) -> None:
        """Have it end here, as if the API server had ended it."""
        self._ended = True
        self._response.close()


class Forwarder:
    """Sends to one API server. Credentials of this program are read anew once they are refused."""

    def __init__(self, connect: Callable[[], kopf.ConnectionInfo]) -> None:
        self._connect = connect
        self._session: aiohttp.ClientSession | None = None
        self._use(connect())

    def _use(self, own: kopf.ConnectionInfo) -> None:
        self._own, self._own_tls = own, own.as_ssl_context()
        # The API server takes a client certificate for who asks, whatever the token: a caller's
        # connection must not show ours. Connections of one context are not used for the other.
        self._callers_tls = connection.as_user(own, "").as_ssl_context()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self._own.proxy_url,
            trust_env=self._own.trust_env,
            skip_auto_headers=("Accept-Encoding", "User-Agent", "Content-Type"),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def send(self, request: Outgoing, token: str | None = None) -> AsyncIterator[Answer]:
        """Send as whoever the token belongs to; without one as this program.

        Raises errors.Unavailable where there is no answer.
        """
        try:
            response = await self._once(request, token)
            if token is None and response.status == _UNAUTHORIZED and self._signed_in_anew():
                response.close()
                response = await self._once(request, token)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            why = str(error) or type(error).__name__
            raise errors.Unavailable(f"{request.method} to the API server", why) from error
        async with response:
            yield Answer(response)

    async def _once(self, request: Outgoing, token: str | None) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the forwarder is used as a context manager")
        as_whom = self._own if token is None else connection.as_user(self._own, token)
        total = WATCH_SECONDS if request.watches else ANSWER_SECONDS
        return await self._session.request(
            request.method,
            URL(self._own.server.rstrip("/") + request.target, encoded=True),
            headers={**request.headers, **as_whom.as_http_headers()},
            data=request.body or None,
            ssl=self._own_tls if token is None else self._callers_tls,
            timeout=aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_SECONDS),
            allow_redirects=False,
        )

    def _signed_in_anew(self) -> bool:
        """Read the credentials again, as in a pod they change; tell whether they did."""
        refused = self._own
        try:
            self._use(self._connect())
        except connection.NoConnection as error:
            logger.warning("the credentials were refused and cannot be read again: %s", error)
        return self._own != refused
