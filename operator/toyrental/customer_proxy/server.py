"""The customer proxy as a process."""

import asyncio
import logging
import signal
import socket
import ssl
from pathlib import Path
from typing import NamedTuple

import uvicorn

from toyrental.customer_proxy.app import CustomerProxy
from toyrental.customer_proxy.callers import Callers
from toyrental.kube import connection
from toyrental.kube.errors import ApiError
from toyrental.kube.forward import Forwarder

MOST_CONNECTIONS = 2000
_SHUTDOWN_SECONDS = 5

logger = logging.getLogger(__name__)


class CannotServe(Exception):
    """The proxy cannot be served; `str()` is one sentence for a person."""


class Listening(NamedTuple):
    """Where to listen, and what to show: tokens are sent over TLS, or not at all."""

    host: str
    port: int
    certificate: Path
    key: Path


def serve(kubeconfig: Path | None, listening: Listening) -> None:
    """Serve until SIGTERM or SIGINT. The first line of output says where, once it does.

    Raises NoConnection and CannotServe.
    """
    asyncio.run(_serve(kubeconfig, listening))


async def _serve(kubeconfig: Path | None, listening: Listening) -> None:
    async with Forwarder(lambda: connection.find(kubeconfig)) as forwarder:
        callers = Callers(forwarder)
        try:
            # That it may ask whose a token is shows at once, and not when somebody calls.
            await callers.whose("nobody")
        except ApiError as error:
            raise CannotServe(str(error)) from error
        proxy = CustomerProxy(forwarder, callers)
        config = uvicorn.Config(
            proxy,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ssl_certfile=listening.certificate,
            ssl_keyfile=listening.key,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            files = f"{listening.certificate} and {listening.key}"
            raise CannotServe(f"{files} are no certificate and its key: {error}") from error
        assert config.ssl is not None  # noqa: S101 # it has a certificate
        following = asyncio.create_task(follow_certificate(config.ssl, listening))
        with _listener(listening) as listener:
            await _Server(config, listener, proxy).serve([listener])
        following.cancel()


async def follow_certificate(
    context: ssl.SSLContext, listening: Listening, seconds: float = 60.0
) -> None:
    """Show new connections the certificate that the files have by now, until cancelled.

    A certificate is renewed long before it ends; that the files are halfway through does no harm.
    """
    while True:
        await asyncio.sleep(seconds)
        try:
            # Tried first: a certificate without its key would spoil what is shown now.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                listening.certificate, listening.key
            )
            context.load_cert_chain(listening.certificate, listening.key)
        except (OSError, ssl.SSLError) as error:
            logger.warning("the certificate cannot be read, the old one is shown: %s", error)


def _listener(listening: Listening) -> socket.socket:
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    try:
        return socket.create_server((listening.host, listening.port), family=family)
    except OSError as error:
        raise CannotServe(
            f"cannot listen on {listening.host}, port {listening.port}: {error.strerror};"
            " choose another --port"
        ) from error


class _Server(uvicorn.Server):
    """Uvicorn, but saying where it listens, ending watches first, and ending normally."""

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, proxy: CustomerProxy
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._proxy = proxy
        # Uvicorn raises the signal once more when it is done.
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"The customer proxy is at https://{shown}:{port}", flush=True)  # noqa: T201

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._proxy.end_watches()
        await super().shutdown(sockets)
