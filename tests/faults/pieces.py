"""The operator's own pieces in this process, without kopf: a mirror of the shop is its watch.

It starts in no time, so that a crash can be tried at every single request: `kill` ends it wherever
it is, as SIGKILL would, and the next `run` knows nothing of what the one before knew.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import kopf

from tests.support.mirror import Mirror
from tests.support.proxy import closed
from toyrental.contexts import Context, Means, kinds_needed, reconcilers
from toyrental.kube.cache import Cache, Identity
from toyrental.kube.client import Client
from toyrental.kube.controller import Controller
from toyrental.kube.engine import Engine, Scope
from toyrental.kube.events import Recorder
from toyrental.kube.leadership import Alone
from toyrental.kube.writer import Writer
from toyrental.payments.gateways import Gateways
from toyrental.shared.clock import utc_now
from toyrental.shared.resource import Key

PATIENCE_SECONDS = 180
"""How long lives may take, on a machine that has other tests to run."""


class Killed(Exception):
    """It was killed."""


class Pieces:
    """An operator of one shop."""

    def __init__(self, connection: kopf.ConnectionInfo, namespace: str, mirror: Mirror) -> None:
        self._connection = connection
        self._namespace = namespace
        self._mirror = mirror
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None

    def kill(self) -> None:
        """End it at once; may be called from any thread, and again while it ends."""
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._running is not None:
            self._running.cancel()
            self._running = None

    def run(self, until: Callable[[], bool], within: float = PATIENCE_SECONDS) -> None:
        """Run until something has come true. Raises Killed, and TimeoutError."""
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            try:
                runner.run(self._run(until, within))
            except asyncio.CancelledError:
                raise Killed from None
            finally:
                self._loop = self._running = None

    def run_whatever_happens(self, until: Callable[[], bool]) -> int:
        """Run until something has come true, anew whenever it was killed; return how often."""
        kills = 0
        while True:
            try:
                self.run(until)
            except Killed:
                kills += 1
            else:
                return kills

    async def _run(self, until: Callable[[], bool], within: float) -> None:
        self._running = asyncio.current_task()
        kinds = kinds_needed(Context)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(closed)
            client = await stack.enter_async_context(Client(lambda: self._connection, kinds))
            cache = Cache(kinds)
            recorder = Recorder(client, instance="pieces")
            gateways = Gateways(["http://127.0.0.1:*"], client.get_secret)
            stack.push_async_callback(gateways.close)
            means = Means(client, cache, Writer(client, cache, recorder), gateways, utc_now)
            controllers = [Controller(r, cache, utc_now) for r in reconcilers(Context, means)]
            engine = Engine(
                client,
                cache,
                controllers,
                scope=Scope([self._namespace]),
                leadership=Alone(),
                stop=asyncio.Event(),
            )
            stack.enter_context(self._fed(cache))
            await asyncio.gather(*(engine.sweep(kind.SERVED.kind) for kind in kinds))
            tasks = [asyncio.create_task(recorder.run())]
            for controller in controllers:
                tasks += controller.start()
            engine.begin()
            try:
                async with asyncio.timeout(within):
                    while not await asyncio.to_thread(until):
                        await asyncio.to_thread(self._mirror.changed, within=0.2)
            finally:
                for controller in controllers:
                    controller.stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.contextmanager
    def _fed(self, cache: Cache) -> Iterator[None]:
        """Have the cache told of every change, until the end."""
        loop, kinds = asyncio.get_running_loop(), {kind.SERVED.kind for kind in cache.kinds}

        def take(type_: str, raw: dict[str, Any]) -> None:
            metadata = raw["metadata"]
            if type_ == "DELETED":
                key = Key(raw["kind"], metadata["namespace"], metadata["name"])
                cache.drop(key, Identity(metadata["uid"], metadata["resourceVersion"]))
            else:
                cache.put(raw)

        def tell(type_: str, raw: dict[str, Any]) -> None:
            if raw["kind"] in kinds:
                loop.call_soon_threadsafe(take, type_, raw)

        self._mirror.listen(tell)
        try:
            yield
        finally:
            self._mirror.leave(tell)
