"""The board as a process."""

import asyncio
import signal
import socket
from pathlib import Path

import uvicorn

from toyrental import __version__
from toyrental.board.app import Settings, build_app
from toyrental.kinds import KINDS
from toyrental.kube import connection
from toyrental.kube.client import Client

_SHUTDOWN_SECONDS = 5


class CannotServe(Exception):
    """The board cannot be served; `str()` is one sentence for a person."""


def serve(kubeconfig: Path | None, host: str, port: int, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. The first line of output says where, once it does.

    Of the kubeconfig only the API server's address and its certificates are used. Raises
    NoConnection and CannotServe.
    """
    found = connection.find(kubeconfig)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise CannotServe(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another --port"
        ) from error

    def connect(token: str) -> Client:
        as_user = connection.as_user(found, token)
        return Client(lambda: as_user, KINDS, agent=f"toyrental-board/{__version__}")

    async def run() -> None:
        closing = asyncio.Event()
        app = build_app(settings, connect, closing)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        await _Server(config, listener, closing).serve([listener])

    with listener:
        asyncio.run(run())


class _Server(uvicorn.Server):
    """Uvicorn, but saying where it listens, ending live pages first, and ending normally."""

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, closing: asyncio.Event
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._closing = closing
        # Uvicorn raises the signal once more when it is done.
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"The board is at http://{shown}:{port}", flush=True)  # noqa: T201

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing.set()
        await super().shutdown(sockets)
