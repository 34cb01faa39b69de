"""Whether the operator lives, and whether it is ready: what it answers to probes.

They are answered by a thread of their own, so that an event loop that hangs is told of as well, by
name. That thread only reads.
"""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread
from typing import Any, NamedTuple, Protocol

BEAT_SECONDS = 1.0
LONGEST_LAG_SECONDS = 30.0
CLIENT_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Check(NamedTuple):
    """One of the things that make the whole well, and how it is, in words."""

    name: str
    ok: bool
    state: str


class Checked(Protocol):
    """A part that can tell how it is, also to another thread."""

    def liveness(self) -> Sequence[Check]:
        """Return what has to be well, or else nothing but a restart helps."""

    def readiness(self) -> Sequence[Check]:
        """Return what has to be so before it is of use."""


class Health:
    """How this process is. `part` is what runs in it, once something does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat = clock()
        self.part: Checked | None = None

    async def beat(self) -> None:
        """Show that the event loop turns, until cancelled."""
        while True:
            self._beat = self._clock()
            await asyncio.sleep(BEAT_SECONDS)

    def liveness(self) -> list[Check]:
        """Return the checks behind /livez."""
        lag = self._clock() - self._beat
        state = f"last turned {lag:.0f} s ago"
        loop = Check("event loop", lag <= LONGEST_LAG_SECONDS, state)
        return [loop, *(self.part.liveness() if self.part else ())]

    def readiness(self) -> list[Check]:
        """Return the checks behind /readyz."""
        if self.part is None:
            return [Check("caches", ok=False, state="not begun to be filled")]
        return list(self.part.readiness())


Routes = Mapping[str, Callable[[], Sequence[Check]]]


@contextmanager
def serving(host: str, port: int, routes: Routes) -> Iterator[int]:
    """Answer probes over HTTP; give the port. Port 0 is any free one.

    All well is 200, else it is 503; the body is JSON and names each check. Raises OSError where
    nothing can listen there.
    """

    class Handler(_Handler):
        answers = routes

    class Server(_Server):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    server = Server((host, port), Handler)
    thread = Thread(target=server.serve_forever, name="probes", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # That of HTTPServer asks for the host's full name, which may take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "toyrental", self.socket.getsockname()[1]


class _Handler(BaseHTTPRequestHandler):
    answers: Routes
    timeout = CLIENT_SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path not in self.answers:
            self._answer(404, {"error": f"ask for {' or '.join(self.answers)}"})
            return
        checks = self.answers[path]()
        ok = all(check.ok for check in checks)
        self._answer(200 if ok else 503, {"ok": ok, "checks": [c._asdict() for c in checks]})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "toyrental"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the library's name
        logger.debug(format, *args)
