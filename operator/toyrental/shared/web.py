"""Serving a web application as a process of its own: a socket, signals, and the first line."""

import signal
import socket
from collections.abc import Callable
from typing import Any, Literal

import uvicorn


class CannotServe(Exception):
    """It cannot be served; `str()` is one sentence for a person."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 is any free one. Raises CannotServe."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise CannotServe(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another --port"
        ) from error


def configured(app: Any, *, lifespan: Literal["on", "off"] = "off", **more: Any) -> uvicorn.Config:
    """Return a configuration that says nothing of itself, and takes nobody's word for who asks.

    `more` goes to `uvicorn.Config`.
    """
    plain: dict[str, Any] = {
        "http": "h11",
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
    }
    return uvicorn.Config(app, lifespan=lifespan, **plain | more)


class Server(uvicorn.Server):
    """Uvicorn, but saying where it listens, ending long answers first, and ending normally."""

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, what: str, end: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._what = what
        self._end = end
        # Uvicorn raises the signal once more when it is done.
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and print where."""
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if self.config.is_ssl else "http"
        print(f"{self._what} is at {scheme}://{shown}:{port}", flush=True)  # noqa: T201

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, and first what would go on for as long as somebody reads it."""
        self._end()
        await super().shutdown(sockets)
