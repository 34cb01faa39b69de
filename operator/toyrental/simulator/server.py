"""The simulator as a process: its socket, its signals, its logs."""

import json
import logging
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

import structlog
import uvicorn

from toyrental.simulator.app import build_app
from toyrental.simulator.ledger import Ledger, LedgerUnusableError

# Less than the ten seconds that a supervisor commonly allows between SIGTERM and SIGKILL.
_SHUTDOWN_SECONDS = 8
# Longer than clients keep idle connections (5 s in httpx), so that they close them first: a request
# sent while the server closes its end has an unknown outcome, which is for faults to cause.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 1024


class CannotStartError(Exception):
    """The simulator cannot be started; the message is one sentence for a person."""


class Settings(NamedTuple):
    """Where to listen (port 0: any free one), where the ledger is, and how to log."""

    host: str
    port: int
    ledger: str
    json_logs: bool
    log_level: str
    access_log: bool


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in hand and return.

    The first line on standard output says where it listens, once it does. Raises
    `CannotStartError`.
    """
    _configure_logs(settings)
    with closing(_listen(settings.host, settings.port)) as listener:
        try:
            ledger = Ledger.open(settings.ledger)
        except LedgerUnusableError as error:
            raise CannotStartError(str(error)) from error
        with closing(ledger), ThreadPoolExecutor(1, "ledger") as ledger_thread:
            config = uvicorn.Config(
                build_app(ledger, ledger_thread),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=settings.access_log,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
            _Server(config, _announcement(settings, listener)).run([listener])


class _Server(uvicorn.Server):
    """Uvicorn, but saying where it listens, and ending normally when told to end."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement
        # Uvicorn sends itself the signal once more when it is done, for whoever handled it before;
        # unhandled, that would turn a clean end into a death by signal.
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._announcement, flush=True)  # noqa: T201


def _listen(host: str, port: int) -> socket.socket:
    try:
        return _bound_socket(host, port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotStartError(
            f"Cannot listen on {host} port {port}: {reason}. Choose another port with --port, "
            "or 0 for any free one."
        ) from error


def _bound_socket(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # The protocol is named because asyncio switches Nagle's algorithm off (TCP_NODELAY) only on
    # sockets that name it; without that each answer waits 40 ms for a delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A restart may use the port again although connections of the last run linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _announcement(settings: Settings, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if settings.json_logs:
        fields = {"event": "listening", "url": url, "port": port, "ledger": settings.ledger}
        return json.dumps({**fields, "pid": os.getpid()})
    return f"Payment simulator listening on {url} (ledger: {settings.ledger})"


def _configure_logs(settings: Settings) -> None:
    """Log to standard error, uvicorn's own records included."""
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        # The default one prints local variables, tokens among them.
        exception_formatter=structlog.dev.plain_traceback,
    )
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.json_logs:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper())
    for quiet in ("asyncio", "uvicorn.error"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
