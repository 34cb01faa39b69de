"""kopf as the engine: it watches, discovers, signs in, and ends on signals.

Its events only say "look again": they carry an object into the cache, whose listeners wake the
controllers. kopf itself writes nothing. docs/decisions tells why.
"""

import asyncio
import logging
import random
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

import kopf

from toyrental.kube import connection
from toyrental.kube.cache import Cache, Identity
from toyrental.kube.client import Client
from toyrental.kube.controller import LONGEST_RECONCILE_SECONDS, Controller
from toyrental.kube.errors import ApiError
from toyrental.kube.health import Check
from toyrental.kube.leadership import Leadership
from toyrental.kube.listings import Listings
from toyrental.kube.metrics import Watches
from toyrental.shared.resource import GROUP, VERSION, Key, Resource

SWEEP_SECONDS = 300.0
SWEEP_AGAIN_SECONDS = 5.0
SIGN_IN_AGAIN_SECONDS = 5.0
WATCH_AGAIN_SECONDS = 2.0
WATCH_SECONDS = 60
DEAD_WATCH_SECONDS = 180.0
MINDING_SECONDS = 10.0
DEAD_ANSWERS = 4
"""How often in a row the API server has to answer: for longer than a watch pauses between tries."""

STUCK_SECONDS = LONGEST_RECONCILE_SECONDS + 60
FINISHING_SECONDS = 5.0
ENDING_SECONDS = 7.0
CANCEL_AGAIN_SECONDS = 0.2

logger = logging.getLogger(__name__)


def heed_signals(stop: asyncio.Event) -> None:
    """Have SIGTERM and Ctrl-C set `stop`, which ends all in good order.

    kopf's own handlers, which these replace, lose a signal that comes between two of its runs.
    """
    if threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)


class Scope:
    """The namespaces that are served: all, those named, or those that match patterns.

    A pattern is a shell glob; with `!` before it, what matches is left out.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        patterns = tuple(patterns)
        self._wanted = tuple(p for p in patterns if not p.startswith("!"))
        self._unwanted = tuple(p[1:] for p in patterns if p.startswith("!"))

    @property
    def named(self) -> tuple[str, ...]:
        """The namespaces, where each is named in full; empty where the whole cluster is watched."""
        plain = self._wanted and not self._unwanted
        return self._wanted if plain and not any(set(p) & set("*?[") for p in self._wanted) else ()

    def serves(self, namespace: str) -> bool:
        """Tell whether objects of a namespace are looked at."""
        wanted = not self._wanted or any(fnmatchcase(namespace, p) for p in self._wanted)
        return wanted and not any(fnmatchcase(namespace, p) for p in self._unwanted)


class Engine:
    """Fills the cache and, while it may work, wakes the controllers; until `stop` is set."""

    def __init__(  # noqa: PLR0913 # what it is made of
        self,
        client: Client,
        cache: Cache,
        controllers: Iterable[Controller],
        *,
        scope: Scope,
        leadership: Leadership,
        stop: asyncio.Event,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._client = client
        self._cache = cache
        self._controllers = tuple(controllers)
        self._scope = scope
        self._leadership = leadership
        self._told_to_stop = stop
        self._sweep_seconds = sweep_seconds
        self._watches = Watches(tuple(kind.SERVED.kind for kind in cache.kinds))
        self._listings = Listings(
            cache.kinds, self._sweep_until_done, self._watches.heard, self._is_no_news
        )
        self._workers: list[asyncio.Task[None]] = []
        self._dead_watches: list[str] = []
        self._filled = False
        self._working = asyncio.Event()
        self._stop = asyncio.Event()
        cache.listen(self._wake)

    def _wake(
        self, before: Resource | None, after: Resource | None, written_for: Key | None
    ) -> None:
        if self._working.is_set():
            for controller in self._controllers:
                controller.changed(before, after, written_for)

    async def run(
        self, found: kopf.ConnectionInfo, beside: Iterable[asyncio.Task[None]] = ()
    ) -> None:
        """Fill the cache and watch; work while this process leads. Ends when told to, or it lost.

        A task that ends though it never should, a worker or one of those beside, ends the whole
        with its error: half an operator looks well and is not.
        """
        told = asyncio.create_task(self._told_to_stop.wait())
        filling = asyncio.create_task(self._fill())
        await asyncio.wait([told, filling], return_when=asyncio.FIRST_COMPLETED)
        if not filling.done():
            filling.cancel()
            return
        await filling
        self._filled = True
        self._workers = [w for each in self._controllers for w in each.start(self._working)]
        sweeping = asyncio.create_task(self._sweep_now_and_then())
        minding = asyncio.create_task(self._mind_watches())
        leading = asyncio.create_task(self._lead())
        finishing = asyncio.create_task(self._finish(leading))
        # The last of all: kopf takes every task that is younger than its run for its own.
        watching = asyncio.create_task(self._watch(found))
        endless: list[asyncio.Task[Any]] = [sweeping, minding, *self._workers, *beside]
        ends: list[asyncio.Task[Any]] = [told, leading, finishing, watching]
        await asyncio.wait([*ends, *endless], return_when=asyncio.FIRST_COMPLETED)
        dead = [] if told.done() else [task for task in endless if task.done()]
        self._stop.set()
        await asyncio.gather(finishing, watching)
        for task in (sweeping, minding, told):
            task.cancel()
        for task in dead:
            await task
            raise RuntimeError("a task ended that never should")

    async def _fill(self) -> None:
        for kind in self._cache.kinds:
            await self._sweep_until_done(kind.SERVED.kind)

    async def _lead(self) -> None:
        """Begin to work once this process leads; return when it leads no more."""
        await self._leadership.won()
        self.begin()
        await self._leadership.lost()

    def begin(self) -> None:
        """Have everything looked at, now and whenever it changes."""
        self._working.set()
        for controller in self._controllers:
            controller.look_at(self._cache.keys(controller.kind))

    async def _finish(self, leading: asyncio.Task[None]) -> None:
        """When told to stop, have the workers finish what is in hand, and others take over.

        What takes too long, such as a provider that does not answer, is broken off as a crash
        would: that is always safe. Once this process leads no more, all is broken off.
        """
        await self._stop.wait()
        for controller in self._controllers:
            controller.stop()
        ended = asyncio.gather(*self._workers, return_exceptions=True)
        either: list[asyncio.Future[Any]] = [ended, leading]
        await asyncio.wait(either, timeout=FINISHING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for worker in self._workers:
            worker.cancel()
        await ended
        leading.cancel()
        with suppress(asyncio.CancelledError):
            await leading
        await self._leadership.release()

    async def _watch(self, found: kopf.ConnectionInfo) -> None:
        """Run kopf until it is told to stop; should it fail, begin anew."""
        while not self._stop.is_set():
            try:
                await self._run_kopf(found)
            except Exception as error:  # noqa: BLE001 - whatever it was, the shops stay open
                logger.error("watching failed and is begun anew: %s", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), WATCH_AGAIN_SECONDS)

    async def _run_kopf(self, found: kopf.ConnectionInfo) -> None:
        """Watch until told to stop: caches are full and controllers work when it begins."""
        ours = asyncio.all_tasks()
        sign_in = connection.SignIn(found, self._listings)
        tasks = await kopf.spawn_tasks(
            registry=self._registry(sign_in),
            settings=_settings(),
            standalone=True,
            clusterwide=not self._scope.named,
            namespaces=self._scope.named,
            stop_flag=self._stop,
        )
        heed_signals(self._told_to_stop)
        logger.info("ready")
        running = asyncio.create_task(kopf.run_tasks(tasks, ignored=ours))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        # All of kopf's tasks end once one has. But some survive being cancelled, and after a
        # failure kopf waits for them for ever.
        _, hung = await asyncio.wait(
            [running], timeout=ENDING_SECONDS if self._stop.is_set() else 0
        )
        while hung:
            for task in asyncio.all_tasks() - ours - {running}:
                task.cancel()
            _, hung = await asyncio.wait([running], timeout=CANCEL_AGAIN_SECONDS)
        await sign_in.close()
        await running

    def _registry(self, sign_in: connection.SignIn) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(backoff=SIGN_IN_AGAIN_SECONDS, registry=registry)(sign_in.open)
        for kind in self._cache.kinds:
            kopf.on.event(GROUP, VERSION, kind.SERVED.plural, registry=registry)(self._observe)
        return registry

    def _is_no_news(self, raw: dict[str, Any]) -> bool:
        """Tell whether an object that a watch tells of need not be looked at."""
        served = self._scope.serves(raw["metadata"]["namespace"])
        return not served or self._cache.knows(raw)

    async def _observe(self, event: kopf.RawEvent, **_: Any) -> None:
        """Take an event of the watch into the cache."""
        raw: Any = event["object"]
        metadata = raw["metadata"]
        if not self._scope.serves(metadata["namespace"]):
            return
        key = Key(raw["kind"], metadata["namespace"], metadata["name"])
        if event["type"] == "DELETED":
            self._cache.drop(key, Identity(metadata["uid"], metadata["resourceVersion"]))
            return
        self._cache.put(raw)

    async def _mind_watches(self) -> None:
        """Find out from time to time whether a watch is dead.

        That is one of which nothing is heard though the API server has answered for a while. As
        long as that does not answer, no watch is to blame, and a restart would help nobody.
        """
        answers = 0
        while True:
            await asyncio.sleep(MINDING_SECONDS)
            silent = self._watches.silent(DEAD_WATCH_SECONDS)
            answers = answers + 1 if silent and await self._api_server_answers() else 0
            dead = silent if answers >= DEAD_ANSWERS else []
            if dead and dead != self._dead_watches:
                logger.error("the watches of %s are dead", ", ".join(dead))
            self._dead_watches = dead

    async def _api_server_answers(self) -> bool:
        try:
            await self._client.served_kinds()
        except ApiError:
            return False
        return True

    def liveness(self) -> list[Check]:
        """Return what has to be well, or else nothing but a restart helps."""
        dead = ", ".join(self._dead_watches)
        working = sum(not worker.done() for worker in self._workers)
        all_work = working == len(self._workers) or self._stop.is_set()
        longest = max((each.longest for each in self._controllers), default=0.0)
        return [
            Check("watches", not dead, f"nothing is heard of {dead}" if dead else "heard of"),
            Check("workers", all_work, f"{working} of {len(self._workers)}"),
            Check("reconciles", longest <= STUCK_SECONDS, f"the longest has taken {longest:.0f} s"),
        ]

    def readiness(self) -> list[Check]:
        """Return what has to be so before this process works, or stands by to."""
        unopened = ", ".join(sorted(self._watches.unopened))
        role = "works" if self._leadership.leads() else "stands by"
        return [
            Check("caches", self._filled, "filled" if self._filled else "being filled"),
            Check("watches", not unopened, f"not open: {unopened}" if unopened else "open"),
            Check("leadership", ok=True, state=role),
        ]

    async def _sweep_now_and_then(self) -> None:
        """Look at everything anew from time to time, whatever has or has not been heard of it.

        That is a net below all else: for an event that was lost, and for a clock that was set.
        """
        while True:
            await asyncio.sleep(self._sweep_seconds)
            for kind in self._cache.kinds:
                await self._sweep_until_done(kind.SERVED.kind)
            if self._working.is_set():
                for controller in self._controllers:
                    controller.look_at(self._cache.live_keys(controller.kind))

    async def _sweep_until_done(self, kind: str, namespace: str | None = None) -> None:
        while True:
            try:
                await self.sweep(kind, namespace)
            except ApiError as error:
                logger.warning("the sweep of %s did not finish and is begun anew: %s", kind, error)
                await asyncio.sleep(SWEEP_AGAIN_SECONDS)
            else:
                return

    async def sweep(self, kind: str, namespace: str | None = None) -> None:
        """Make the cache agree with a list of a kind: take in what it lacks, forget ghosts.

        A ghost is an object that the list lacks and that was known before the list was begun.
        """
        known = self._cache.identities(kind)
        if namespace is not None:
            known = {key: known[key] for key in known if key.namespace == namespace}
        for place in (namespace,) if namespace else self._scope.named or (None,):
            async for page in self._client.list(kind, place):
                for raw in page["items"]:
                    metadata = raw["metadata"]
                    if not self._scope.serves(metadata["namespace"]):
                        continue
                    raw.setdefault("kind", kind)
                    self._cache.put(raw)
                    known.pop(Key(kind, metadata["namespace"], metadata["name"]), None)
                await asyncio.sleep(0)
        for key, ghost in known.items():
            self._cache.drop(key, ghost)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.queueing.idle_timeout = 1.0
    # A live watch is opened anew that often, and goes on from where it was: a dead one shows.
    settings.watching.server_timeout = WATCH_SECONDS
    settings.networking.error_backoffs = _Patience()
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    # It would end the process ten minutes after a run of kopf that failed.
    settings.process.ultimate_exiting_timeout = None
    return settings


class _Patience:
    """Pauses between tries of a list or a watch, for as long as the API server is in trouble."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1, 2, 4)
        while True:
            yield random.uniform(4, 8)  # noqa: S311 - spreads load, guards nothing


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf's change detection is not used; building what it would compare is costly."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return


class _NoProgress(kopf.ProgressStorage):
    """kopf keeps no progress in our objects: they are ours alone to write."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return

    def purge(self, **_: Any) -> None:
        return

    def touch(self, **_: Any) -> None:
        return

    def clear(self, *, essence: Any) -> Any:
        return essence
