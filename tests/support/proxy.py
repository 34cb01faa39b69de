"""Stands between a client and a server over HTTP, counts what passes, and does harm at will.

::

    with Proxy.to_cluster(cluster) as proxy:
        kubeconfig = proxy.kubeconfig(tmp_path / "kubeconfig")      # the same user, this way
        proxy.plan = lambda request: Harm.lose_answer() if request.resource == "toys" else None
        ...
        assert [r.resource for r in proxy.writes] == ["toys", "rentals", "payments"]

`plan` is asked about every request, in the proxy's own thread; what it returns happens to it:

- `Harm.refuse(429)`: it is answered so, and the server never sees it.
- `Harm.lose()`: it never reaches the server, and the connection is reset.
- `Harm.lose_answer()`: the server does what was asked, and the connection is reset.
- `then` with the last two, or with `Harm.after_answer`: something is called besides, before the
  client can tell. Where it kills the client, that is a crash at this very request.
- `Harm.hold(event)`: it waits until the event is set, and goes on as usual.
- `Harm.hold_answer(event)`: the server does what was asked; nobody is told until the event is set,
  and then the connection is reset.

Watches: `cut_watches()` resets those that are open; `garble` sees each of their lines, and returns
what the client gets instead (or nothing).
"""

import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
import kopf
import yaml
from aiohttp import web

from dev.cluster import Cluster
from tests.support import accounts

GROUP = "toyrental.dev"
WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
START_SECONDS = 30
LONGEST_BODY = 64 * 2**20

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "accept-encoding"}
)


@dataclass
class Request:
    """A request, and how it was answered (0: not at all)."""

    number: int
    method: str
    path: str
    query: dict[str, str]
    body: bytes = field(repr=False)
    status: int = 0
    answer: bytes = field(default=b"", repr=False)
    at: float = field(default_factory=time.monotonic)
    """When it came."""

    @property
    def parts(self) -> list[str]:
        """The path of an object of the API server: kind, name, subresource."""
        parts = self.path.strip("/").split("/")
        if parts[0] == "apis":
            parts = parts[3:]
        elif parts[0] == "api":
            parts = parts[2:]
        return parts[2:] if parts[:1] == ["namespaces"] and len(parts) > 2 else parts

    @property
    def resource(self) -> str:
        """The plural of the kind, such as `toys`; empty where it is no object."""
        return next(iter(self.parts), "")

    @property
    def name(self) -> str:
        """The name of the object, where the request is for one."""
        return self.parts[1] if len(self.parts) > 1 else ""

    @property
    def subresource(self) -> str:
        """Such as `status`."""
        return self.parts[2] if len(self.parts) > 2 else ""

    @property
    def watches(self) -> bool:
        """Whether it is a watch."""
        return self.query.get("watch") in {"true", "1"}

    @property
    def lists(self) -> bool:
        """Whether it asks for all objects of a kind."""
        return self.method == "GET" and self.ours and not self.name and not self.watches

    @property
    def ours(self) -> bool:
        """Whether it is about the product's own kinds."""
        return f"/apis/{GROUP}/" in self.path and len(self.parts) > 0

    @property
    def writes(self) -> bool:
        """Whether it is to change an object of ours. Events and questions are no such writes."""
        return self.method in WRITING and self.ours

    @property
    def records_event(self) -> bool:
        """Whether it tells people something: a Kubernetes Event."""
        return self.method in WRITING and self.resource == "events"

    @property
    def done(self) -> bool:
        """Whether it was done, and the client told so."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        what = "/".join(part for part in (self.resource, self.subresource) if part)
        return f"{self.number}. {self.method} {what} {self.name} -> {self.status or 'no answer'}"


class Harm(NamedTuple):
    """What is done to a request."""

    forward: bool = True
    answer: bool = True
    status: int | None = None
    until: threading.Event | None = None
    then: Callable[[], object] | None = None
    tell: threading.Event | None = None

    @classmethod
    def refuse(cls, status: int) -> "Harm":
        """Answer with that status; the server never sees the request."""
        return cls(forward=False, status=status)

    @classmethod
    def lose(cls, then: Callable[[], object] | None = None) -> "Harm":
        """Reset the connection; the server never sees the request."""
        return cls(forward=False, answer=False, then=then)

    @classmethod
    def lose_answer(cls, then: Callable[[], object] | None = None) -> "Harm":
        """Have the server do what was asked, then reset the connection."""
        return cls(answer=False, then=then)

    @classmethod
    def after_answer(cls, then: Callable[[], object]) -> "Harm":
        """Leave it alone, and call something when it is answered."""
        return cls(then=then)

    @classmethod
    def hold(cls, until: threading.Event) -> "Harm":
        """Wait until the event is set."""
        return cls(until=until)

    @classmethod
    def hold_answer(cls, until: threading.Event, then: Callable[[], object]) -> "Harm":
        """Have the server do what was asked, call something, and reset once the event is set."""
        return cls(answer=False, tell=until, then=then)


class Proxy:
    """A proxy on loopback, in a thread of its own."""

    def __init__(self, server: str, tls: ssl.SSLContext | None = None, **headers: str) -> None:
        self.server = server.rstrip("/")
        self.behave()
        self.requests: list[Request] = []
        self._tls = tls
        self._headers = headers
        self._watches: dict[int, web.BaseRequest] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @classmethod
    def to_cluster(cls, cluster: Cluster) -> "Proxy":
        """Return a proxy to the API server, as the account that operators have there."""
        found = connection_of(accounts.kubeconfig(cluster))
        return cls(found.server, found.as_ssl_context(), **found.as_http_headers())

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(START_SECONDS)

    async def _open(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls or True)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await self._runner.setup()
        listening = socket.create_server(("127.0.0.1", self._port))
        self._port = listening.getsockname()[1]
        await web.SockSite(self._runner, listening).start()

    async def _close(self) -> None:
        for request in list(self._watches.values()):
            _reset(request)
        assert self._runner is not None
        await self._runner.shutdown()
        await self._runner.cleanup()
        assert self._session is not None
        await self._session.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await closed()

    def behave(self) -> None:
        """Do no more harm, from the next request on."""
        self.plan: Callable[[Request], Harm | None] = lambda _: None
        self.garble: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda line: line

    # --- What a test sees ---

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def connection(self) -> kopf.ConnectionInfo:
        """How the operator's own client gets here."""
        return kopf.ConnectionInfo(server=self.url)

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here; who it is, is the proxy's to say."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {"token": "anyone"}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    @property
    def writes(self) -> list[Request]:
        """The writes of objects of ours that were done, in order; Events apart."""
        return [request for request in list(self.requests) if request.writes and request.done]

    @property
    def events(self) -> list[Request]:
        """The Kubernetes Events that were recorded."""
        return [r for r in list(self.requests) if r.records_event and r.done]

    @property
    def open_watches(self) -> int:
        """How many watches are being answered, and somebody there to read it."""
        open_ = [request.transport for request in list(self._watches.values())]
        return sum(transport is not None and not transport.is_closing() for transport in open_)

    def cut_watches(self) -> None:
        """Reset every watch that is open."""

        async def cut() -> None:
            for request in list(self._watches.values()):
                _reset(request)

        self._run(cut())

    # --- What happens to a request ---

    async def _handle(self, asked: web.BaseRequest) -> web.StreamResponse:
        body = await asked.content.read(LONGEST_BODY)
        request = Request(len(self.requests) + 1, asked.method, asked.path, dict(asked.query), body)
        self.requests.append(request)
        harm = self.plan(request) or Harm()
        if harm.until is not None:
            await _is_set(harm.until)
        response: web.StreamResponse | None = None
        if harm.status is not None:
            response = _refusal(request, harm.status)
        elif harm.forward:
            response = await self._forward(asked, request, harm)
        answered = response is not None and harm.answer
        if response is not None and harm.answer and harm.then is not None:
            await response.prepare(asked)
            await response.write_eof()
        if harm.then is not None:
            harm.then()
        if harm.tell is not None:
            await _is_set(harm.tell)
        if not answered:
            request.status = 0
            _reset(asked)
        return response or web.Response()

    async def _forward(
        self, asked: web.BaseRequest, request: Request, harm: Harm
    ) -> web.StreamResponse | None:
        assert self._session is not None
        headers = {k: v for k, v in asked.headers.items() if k.lower() not in _HOP_BY_HOP}
        try:
            async with self._session.request(
                asked.method,
                self.server + asked.raw_path,
                data=request.body or None,
                headers=headers | {"Accept-Encoding": "identity"} | self._headers,
                allow_redirects=False,
            ) as answer:
                request.status = answer.status
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
                if request.watches and answer.status == 200 and harm.answer:
                    return await self._stream(asked, request, answer, kept)
                request.answer = await answer.read()
                return web.Response(status=answer.status, headers=kept, body=request.answer)
        except (aiohttp.ClientError, OSError):
            return None

    async def _stream(
        self,
        asked: web.BaseRequest,
        request: Request,
        answer: aiohttp.ClientResponse,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        self._watches[request.number] = asked
        try:
            await response.prepare(asked)
            async for line in _lines(answer.content):
                event = self.garble(json.loads(line))
                if event is not None:
                    await response.write(json.dumps(event).encode() + b"\n")
            await response.write_eof()
        except (ConnectionError, aiohttp.ClientError):
            _reset(asked)
        finally:
            del self._watches[request.number]
        return response


async def _is_set(event: threading.Event) -> None:
    """Wait for an event of other threads; any number may be waited for at once."""
    while not event.is_set():  # noqa: ASYNC110 - it is set in another thread
        await asyncio.sleep(0.01)


async def closed() -> None:
    """Wait until all that was told to close has closed: over TLS the peer has to answer first."""
    # Only the loop has a list of them, and none for others.
    transports = getattr(asyncio.get_running_loop(), "_transports", {})

    def some_are_open() -> bool:
        return any(t.get_extra_info("socket").fileno() >= 0 for t in list(transports.values()))

    async with asyncio.timeout(START_SECONDS):
        while some_are_open():  # noqa: ASYNC110 - a transport tells nobody
            await asyncio.sleep(0.005)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines, however long."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _reset(request: web.BaseRequest) -> None:
    """End the connection as a broken network does, with RST."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


def _refusal(request: Request, status: int) -> web.Response:
    request.status = status
    told = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": _REASONS.get(status, ""),
        "message": "harm was done to this request",
        "code": status,
    }
    if request.watches and status == 410:  # as the API server says it of a watch
        event = json.dumps({"type": "ERROR", "object": told}).encode() + b"\n"
        return web.Response(status=200, body=event, content_type="application/json")
    return web.json_response(told, status=status)


def connection_of(kubeconfig: Path) -> kopf.ConnectionInfo:
    """Return who may do everything, and where, by a kubeconfig of our own making."""
    content = yaml.safe_load(kubeconfig.read_text())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    return kopf.ConnectionInfo(
        server=cluster["server"],
        ca_data=cluster.get("certificate-authority-data"),
        token=user.get("token"),
        certificate_data=user.get("client-certificate-data"),
        private_key_data=user.get("client-key-data"),
    )


def nth(
    number: int, harm: Harm, counts: Callable[[Request], bool] = lambda r: r.writes
) -> Callable[[Request], Harm | None]:
    """Return a plan: do harm to the request of that number among those that count."""
    met = 0

    def plan(request: Request) -> Harm | None:
        nonlocal met
        if not counts(request):
            return None
        met += 1
        return harm if met == number else None

    return plan
