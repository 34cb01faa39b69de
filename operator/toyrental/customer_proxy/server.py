"""The customer proxy as a process."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import NamedTuple

from toyrental.customer_proxy.app import CustomerProxy
from toyrental.customer_proxy.callers import Callers
from toyrental.kube import connection
from toyrental.kube.errors import ApiError
from toyrental.kube.forward import Forwarder
from toyrental.shared.web import CannotServe, Server, configured, listen

MOST_CONNECTIONS = 2000
_SHUTDOWN_SECONDS = 5

logger = logging.getLogger(__name__)


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
        config = configured(
            proxy,
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
        with listen(listening.host, listening.port) as listener:
            server = Server(config, listener, "The customer proxy", proxy.end_watches)
            await server.serve([listener])
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
