"""The simulator as a process: its sockets, its signals, its logs."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from toyrental.simulator.admin import Controls, build_admin
from toyrental.simulator.app import Shape, build_app
from toyrental.simulator.books import Books
from toyrental.simulator.failures import Failures
from toyrental.simulator.fault_kinds import FaultInvalidError, parse
from toyrental.simulator.faults import Faults
from toyrental.simulator.gate import Gate
from toyrental.simulator.injection import TRANSPORT, Injector
from toyrental.simulator.keys import ApiKeys, KeysUnusableError
from toyrental.simulator.ledger import Ledger, LedgerUnusableError

if TYPE_CHECKING:
    from toyrental.simulator.webhooks import Webhooks

# Less than the ten seconds that a supervisor commonly allows between SIGTERM and SIGKILL.
_SHUTDOWN_SECONDS = 8
# Longer than clients keep idle connections (5 s in httpx), so that they close them first: a request
# sent while the server closes its end has an unknown outcome, which is for faults to cause.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 1024


class CannotStartError(Exception):
    """The simulator cannot be started; the message is one sentence for a person."""


class Settings(NamedTuple):
    """Where to listen (port 0: any free one), where the ledger is, how to log, and what more.

    `faults` are definitions in JSON. Without an `admin_port` there is no admin API, without keys
    nobody is asked for one, without a `webhook_url` nobody is told anything.
    """

    host: str
    port: int
    ledger: str
    json_logs: bool
    log_level: str
    access_log: bool
    admin_host: str = "127.0.0.1"
    admin_port: int | None = None
    faults: Sequence[str] = ()
    account: str = "acct_simulator"
    api_keys: str = ""
    api_key_file: Path | None = None
    webhook_url: str | None = None
    webhook_anywhere: bool = False
    webhook_secret: str = ""
    webhook_secret_file: Path | None = None


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in hand and return.

    The first line on standard output says where it listens, once it does. Raises
    `CannotStartError`.
    """
    _configure_logs(settings)
    with ExitStack() as opened:
        keys = _api_keys(settings)
        faults = _faults(settings.faults)
        listener = opened.enter_context(closing(_listen(settings.host, settings.port, "--port")))
        admin_listener = _admin_listener(settings)
        if admin_listener is not None:
            opened.enter_context(closing(admin_listener))
        ledger = opened.enter_context(closing(_ledger(settings.ledger)))
        thread = opened.enter_context(ThreadPoolExecutor(1, "ledger"))
        webhooks = _webhooks(settings, faults)
        house = _House(settings, faults, keys, Books(ledger, thread), webhooks)
        asyncio.run(_run(house, listener, admin_listener))


class _House(NamedTuple):
    """All that the servers share."""

    settings: Settings
    faults: Faults
    keys: ApiKeys | None
    books: Books
    webhooks: "Webhooks | None"


async def _run(
    house: _House, listener: socket.socket, admin_listener: socket.socket | None
) -> None:
    injector = Injector(house.faults)
    tell = None if house.webhooks is None else house.webhooks.tell
    shape = Shape(house.settings.account, house.keys, tell)
    failures = Failures(house.books, tell)
    app = build_app(house.books, injector, shape, failures)
    announcement = _announcement(house.settings, listener, admin_listener)
    server = _Server(_config(app, house.settings), listener, announcement, injector.release)
    gate = Gate(house.faults, server)
    server.on_listening = gate.settle

    async def let_go() -> None:
        if house.webhooks is not None:
            house.webhooks.clear()
        await injector.released()

    async with AsyncExitStack() as beside:
        beside.callback(gate.stop)
        if house.webhooks is not None:
            await beside.enter_async_context(house.webhooks)
        await beside.enter_async_context(failures.happening())
        if admin_listener is not None:
            admin = build_admin(Controls(house.faults, house.books, let_go, gate.settle))
            config = _config(admin, house.settings)
            await beside.enter_async_context(_beside(config, admin_listener))
        await server.serve([listener])


class _Protocol(H11Protocol):
    """Uvicorn's, but a request can reach the connection it came on, to break it."""

    def connection_made(  # type: ignore[override] # as uvicorn's own
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class _Server(uvicorn.Server):
    """Uvicorn, but saying where it listens, and ending normally when told to end.

    It can stop listening for a while and then listen on the same port again.
    """

    on_listening: Callable[[], Awaitable[None]]
    """Called when it listens for the first time, before that is announced."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        announcement: str,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._address = listener.getsockname()
        self._family = listener.family
        self._kept: socket.socket | None = None
        self._announcement = announcement
        self._on_end = on_end
        # Uvicorn sends itself the signal once more when it is done, for whoever handled it before;
        # unhandled, that would turn a clean end into a death by signal.
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self.on_listening()
        print(self._announcement, flush=True)  # noqa: T201

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_end()
        await super().shutdown(sockets)
        if self._kept is not None:
            self._kept.close()

    async def shut(self) -> None:
        """Refuse connections: the port is kept, but nothing listens on it."""
        for server in self.servers:
            server.close()
        self._kept = _bound(self._family, self._address)
        for connection in list(self.server_state.connections):
            connection.shutdown()

    async def reopen(self) -> None:
        """Listen again."""
        kept, self._kept = self._kept, None
        if kept is not None and not self.should_exit:
            await super().startup([kept])


class _Companion(uvicorn.Server):
    """Uvicorn, but leaving signals to another server of the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _beside(config: uvicorn.Config, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on another socket as long as the block lasts."""
    server = _Companion(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _config(app: Starlette, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        backlog=_BACKLOG,
    )


def _faults(definitions: Sequence[str]) -> Faults:
    faults = Faults()
    for number, definition in enumerate(definitions, 1):
        try:
            faults.add(parse(definition))
        except FaultInvalidError as error:
            raise CannotStartError(f"--fault number {number}: {error}") from error
    return faults


def _api_keys(settings: Settings) -> ApiKeys | None:
    if not settings.api_keys and settings.api_key_file is None:
        return None
    try:
        return ApiKeys(settings.api_keys, settings.api_key_file)
    except KeysUnusableError as error:
        raise CannotStartError(str(error)) from error


def _webhooks(settings: Settings, faults: Faults) -> "Webhooks | None":
    if settings.webhook_url is None:
        return None
    # Imported here because its HTTP client takes a while to import.
    from toyrental.simulator.webhooks import (  # noqa: PLC0415
        UrlUnusableError,
        Webhooks,
        require_usable,
    )

    try:
        require_usable(settings.webhook_url, anywhere=settings.webhook_anywhere)
    except UrlUnusableError as error:
        raise CannotStartError(str(error)) from error
    return Webhooks(settings.webhook_url, _webhook_secret(settings), faults)


def _webhook_secret(settings: Settings) -> str:
    secret = settings.webhook_secret
    if settings.webhook_secret_file is not None:
        try:
            secret = settings.webhook_secret_file.read_text("utf-8", errors="replace").strip()
        except OSError as error:
            raise CannotStartError(
                f"The file of the webhook secret {settings.webhook_secret_file} cannot be used: "
                f"{error.strerror or 'it cannot be read'}."
            ) from error
    if not secret:
        raise CannotStartError(
            "Webhooks are signed, so --webhook-url needs a secret: in the environment variable "
            "TOYRENTAL_SIMULATOR_WEBHOOK_SECRET or in a file named by --webhook-secret-file."
        )
    return secret


def _ledger(path: str) -> Ledger:
    try:
        return Ledger.open(path)
    except LedgerUnusableError as error:
        raise CannotStartError(str(error)) from error


def _admin_listener(settings: Settings) -> socket.socket | None:
    if settings.admin_port is None:
        return None
    return _listen(settings.admin_host, settings.admin_port, "--admin-port")


def _listen(host: str, port: int, option: str) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = _bound(family, address)
        listener.listen(_BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotStartError(
            f"Cannot listen on {host} port {port}: {reason}. Choose another port with {option}, "
            "or 0 for any free one."
        ) from error
    return listener


def _bound(family: int, address: Any) -> socket.socket:
    # The protocol is named because asyncio switches Nagle's algorithm off (TCP_NODELAY) only on
    # sockets that name it; without that each answer waits 40 ms for a delayed acknowledgement.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A restart may use the port again although connections of the last run linger.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _announcement(
    settings: Settings, listener: socket.socket, admin_listener: socket.socket | None
) -> str:
    url, admin_url = _url(listener), admin_listener and _url(admin_listener)
    if settings.json_logs:
        port = listener.getsockname()[1]
        fields = {"event": "listening", "url": url, "port": port, "ledger": settings.ledger}
        if admin_url:
            fields["adminUrl"] = admin_url
        return json.dumps({**fields, "pid": os.getpid()})
    said = f"Payment simulator listening on {url} (ledger: {settings.ledger})"
    return f"{said}\nAdmin API listening on {admin_url}" if admin_url else said


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
    for quiet in ("asyncio", "uvicorn.error", "httpx", "httpcore"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
