"""kopf as the engine: it watches, discovers, signs in, answers probes, and ends on signals.

Its events only say "look again": they carry an object into the cache, whose listeners wake the
controllers. kopf itself writes nothing. docs/decisions tells why.
"""

import asyncio
import logging
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import kopf

from toyrental.kube import connection
from toyrental.kube.cache import Cache
from toyrental.kube.client import Client
from toyrental.kube.controller import Controller
from toyrental.kube.errors import ApiError
from toyrental.shared.resource import GROUP, VERSION, Key, Resource

SWEEP_SECONDS = 300.0
SWEEP_AFTER_RELIST_SECONDS = 1.0
SETTLING_SECONDS = 20.0

logger = logging.getLogger(__name__)


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
    """Fills the cache and wakes the controllers, until it is told to stop."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        controllers: Iterable[Controller],
        kinds: Iterable[type[Resource]],
        scope: Scope,
    ) -> None:
        self._client = client
        self._cache = cache
        self._controllers = tuple(controllers)
        self._kinds = tuple(kinds)
        self._scope = scope
        self._sweeps: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = 0.0
        cache.listen(self._wake)

    def _wake(
        self, before: Resource | None, after: Resource | None, written_for: Key | None
    ) -> None:
        for controller in self._controllers:
            controller.changed(before, after, written_for)

    async def run(self, found: kopf.ConnectionInfo, liveness_endpoint: str | None) -> None:
        """Fill the cache, start the controllers, and watch until a signal ends it."""
        for kind in self._kinds:
            await self.sweep(kind.SERVED.kind)
        for controller in self._controllers:
            controller.look_at(self._cache.keys(controller.kind))
            controller.start()
        self._started = asyncio.get_running_loop().time()
        sweeping = asyncio.create_task(self._sweep_now_and_then())
        ready = asyncio.Event()
        telling = asyncio.create_task(_tell(ready))
        try:
            await kopf.operator(
                registry=self._registry(found),
                settings=_settings(),
                standalone=True,
                clusterwide=not self._scope.named,
                namespaces=self._scope.named,
                liveness_endpoint=liveness_endpoint,
                ready_flag=ready,
            )
        finally:
            telling.cancel()
            sweeping.cancel()
            for timer in self._sweeps.values():
                timer.cancel()
            await asyncio.gather(sweeping, *self._tasks, return_exceptions=True)
            await asyncio.gather(*(controller.stop() for controller in self._controllers))

    def _registry(self, found: kopf.ConnectionInfo) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        connection.login(found, registry)
        for kind in self._kinds:
            kopf.on.event(GROUP, VERSION, kind.SERVED.plural, registry=registry)(self._observe)
        return registry

    async def _observe(self, event: kopf.RawEvent, **_: Any) -> None:
        """Take an event of the watch into the cache."""
        raw: Any = event["object"]
        kind, metadata = raw["kind"], raw["metadata"]
        if not self._scope.serves(metadata["namespace"]):
            return
        if event["type"] == "DELETED":
            key = Key(kind, metadata["namespace"], metadata["name"])
            self._cache.drop(key, metadata["uid"], metadata["resourceVersion"])
            return
        if event["type"] is None:
            self._listed_again(kind)
        self._cache.put(raw)

    def _listed_again(self, kind: str) -> None:
        """Sweep soon after kopf had to list a kind anew: it does not say what was deleted."""
        loop = asyncio.get_running_loop()
        if kind in self._sweeps or loop.time() < self._started + SETTLING_SECONDS:
            return
        self._sweeps[kind] = loop.call_later(SWEEP_AFTER_RELIST_SECONDS, self._sweep_soon, kind)

    def _sweep_soon(self, kind: str) -> None:
        self._sweeps.pop(kind, None)
        task = asyncio.create_task(self._try_sweep(kind))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for kind in self._kinds:
                await self._try_sweep(kind.SERVED.kind)

    async def _try_sweep(self, kind: str) -> None:
        try:
            await self.sweep(kind)
        except ApiError as error:
            logger.warning("the sweep of %s did not finish: %s", kind, error)

    async def sweep(self, kind: str) -> None:
        """Make the cache agree with a list of a kind: take in what it lacks, forget ghosts.

        A ghost is an object that the list lacks and that was known before the list was begun.
        """
        known = {key: self._cache.get(key) for key in self._cache.keys(kind)}
        for namespace in self._scope.named or (None,):
            async for page in self._client.list(kind, namespace):
                for raw in page["items"]:
                    metadata = raw["metadata"]
                    if not self._scope.serves(metadata["namespace"]):
                        continue
                    raw.setdefault("kind", kind)
                    self._cache.put(raw)
                    known.pop(Key(kind, metadata["namespace"], metadata["name"]), None)
                await asyncio.sleep(0)
        for key, ghost in known.items():
            if ghost is not None:
                self._cache.drop(key, ghost.uid, ghost.metadata.resource_version)


async def _tell(ready: asyncio.Event) -> None:
    """Say when the caches are full, the controllers work, and a signal ends it in good order."""
    await ready.wait()
    logger.info("ready")


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.queueing.idle_timeout = 1.0
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    return settings


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
