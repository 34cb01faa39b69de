"""The operator's own pieces in this process, without kopf: it lists where the real one watches.

It starts in no time, so that a crash can be tried at every single request: `kill` ends it wherever
it is, as SIGKILL would, and the next `run` knows nothing of what the one before knew.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import kopf

from toyrental.contexts import Context, Means, kinds_needed, reconcilers
from toyrental.kube.cache import Cache
from toyrental.kube.client import Client
from toyrental.kube.controller import Controller
from toyrental.kube.engine import Engine, Scope
from toyrental.kube.errors import ApiError
from toyrental.kube.events import Recorder
from toyrental.kube.writer import Writer
from toyrental.payments.gateways import Gateways
from toyrental.shared.clock import utc_now

LOOK_SECONDS = 0.02

logger = logging.getLogger(__name__)


class Killed(Exception):
    """It was killed."""


class Pieces:
    """An operator of one shop."""

    def __init__(self, connection: kopf.ConnectionInfo, namespace: str) -> None:
        self._connection = connection
        self._namespace = namespace
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

    def run(self, until: Callable[[], bool], within: float = 60) -> None:
        """Run until something has come true. Raises Killed, and TimeoutError."""
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            try:
                runner.run(self._run(until, within))
            except asyncio.CancelledError:
                raise Killed from None
            finally:
                self._loop = self._running = None

    def run_whatever_happens(self, until: Callable[[], bool], within: float = 60) -> int:
        """Run until something has come true, anew whenever it was killed; return how often."""
        kills = 0
        while True:
            try:
                self.run(until, within)
            except Killed:
                kills += 1
            else:
                return kills

    async def _run(self, until: Callable[[], bool], within: float) -> None:
        self._running = asyncio.current_task()
        kinds = kinds_needed(Context)
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(lambda: self._connection, kinds))
            cache = Cache(kinds)
            recorder = Recorder(client, instance="pieces")
            gateways = Gateways(["http://127.0.0.1:*"])
            stack.push_async_callback(gateways.close)
            means = Means(client, cache, Writer(client, cache, recorder), gateways, utc_now)
            controllers = [Controller(r, cache, utc_now) for r in reconcilers(Context, means)]
            engine = Engine(client, cache, controllers, Scope([self._namespace]))
            await asyncio.gather(*(engine.sweep(kind.SERVED.kind) for kind in kinds))
            tasks = [asyncio.create_task(recorder.run())]
            for controller in controllers:
                controller.look_at(cache.keys(controller.kind))
                tasks += controller.start()
            try:
                async with asyncio.timeout(within):
                    await self._look(engine, until)
            finally:
                for controller in controllers:
                    controller.stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, engine: Engine, until: Callable[[], bool]) -> None:
        while not await asyncio.to_thread(until):
            looks = (engine.sweep(kind.SERVED.kind) for kind in kinds_needed(Context))
            try:
                await asyncio.gather(*looks)
            except ApiError as error:
                logger.info("a look was harmed: %s", error)
            await asyncio.sleep(LOOK_SECONDS)
