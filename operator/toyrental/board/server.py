"""The board as a process."""

import asyncio
from pathlib import Path

from toyrental import __version__
from toyrental.board.app import Settings, build_app
from toyrental.kinds import KINDS
from toyrental.kube import connection
from toyrental.kube.client import Client
from toyrental.shared.web import Server, configured, listen

_SHUTDOWN_SECONDS = 5


def serve(kubeconfig: Path | None, host: str, port: int, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. The first line of output says where, once it does.

    Of the kubeconfig only the API server's address and its certificates are used. Raises
    NoConnection and CannotServe.
    """
    found = connection.find(kubeconfig)
    listener = listen(host, port)

    def connect(token: str) -> Client:
        as_user = connection.as_user(found, token)
        return Client(lambda: as_user, KINDS, agent=f"toyrental-board/{__version__}")

    async def run() -> None:
        closing = asyncio.Event()
        app = build_app(settings, connect, closing)
        config = configured(app, lifespan="on", timeout_graceful_shutdown=_SHUTDOWN_SECONDS)
        await Server(config, listener, "The board", closing.set).serve([listener])

    with listener:
        asyncio.run(run())
