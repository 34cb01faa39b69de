"""Controllers: keys that something changed for, and workers that reconcile them one by one."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Protocol

import structlog

from toyrental.kube import errors, metrics
from toyrental.kube.cache import Cache
from toyrental.kube.metrics import Result
from toyrental.kube.queue import WorkQueue
from toyrental.kube.writer import Writer
from toyrental.shared.clock import Clock
from toyrental.shared.decisions import Decision
from toyrental.shared.resource import Key, Resource

WORKERS = 8
MOST_STEPS = 32
LONGEST_RECONCILE_SECONDS = 120.0

logger = logging.getLogger(__name__)


class Reconciler(Protocol):
    """What a context does for one kind of its own."""

    kind: str

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        """Return which objects of the kind a change of any object concerns."""

    async def reconcile(self, key: Key) -> datetime | None:
        """Move one object on as far as it goes; return when to look again, if time changes it."""


class Unfinished(Exception):
    """An object took too many steps at once; it goes on after others had their turn."""


async def take_steps(
    writer: Writer, key: Key, decide: Callable[[], Awaitable[Decision]]
) -> datetime | None:
    """Decide and write until there is nothing to do; return when to look again.

    What a decision wants confirmed is read from the API server first, and then decided anew. What
    was just written was seen as it is, and needs no confirmation.
    """
    seen: set[Key] = set()
    for _ in range(MOST_STEPS):
        decision = await decide()
        if decision.write is None:
            return decision.look_again
        unseen = [k for k in decision.confirm if k not in seen]
        for other in unseen:
            await writer.refresh(other)
            seen.add(other)
        if unseen:
            continue
        await writer.write(decision.write, by=key)
        seen.add(decision.write.after.key)
    raise Unfinished(f"{key} took {MOST_STEPS} steps and is not done")


class Controller:
    """The queue and the workers of one reconciler."""

    def __init__(self, reconciler: Reconciler, cache: Cache, clock: Clock) -> None:
        self._reconciler = reconciler
        self._cache = cache
        self._clock = clock
        self._queue: WorkQueue[Key] = WorkQueue(metrics.QUEUE_SECONDS.labels(self.kind).observe)
        metrics.QUEUE_DEPTH.labels(self.kind).set_function(self._queue.__len__)
        metrics.QUEUE_RETRYING.labels(self.kind).set_function(lambda: self._queue.retrying)
        self._idle: set[asyncio.Task[None]] = set()
        self._begun: dict[Key, float] = {}
        self._stopping = False

    @property
    def kind(self) -> str:
        """The kind this controller reconciles."""
        return self._reconciler.kind

    @property
    def longest(self) -> float:
        """For how many seconds the longest reconcile has been in hand; also for other threads."""
        return max((time.monotonic() - begun for begun in tuple(self._begun.values())), default=0.0)

    def changed(
        self, before: Resource | None, after: Resource | None, written_for: Key | None
    ) -> None:
        """Have everything that a change concerns looked at, but for whom it was written."""
        for key in self._reconciler.wakes(before, after):
            if key != written_for:
                self._queue.add(key)

    def look_at(self, keys: Iterable[Key]) -> None:
        """Have objects looked at, whatever changed."""
        for key in keys:
            self._queue.add(key)

    def start(self, when: asyncio.Event | None = None) -> list[asyncio.Task[None]]:
        """Begin to work, now or when that is set.

        Returns the workers, none of which ever ends by itself.
        """
        return [asyncio.create_task(self._work(when)) for _ in range(WORKERS)]

    def stop(self) -> None:
        """Take up nothing more, and let each worker end when it has finished what is in hand.

        What is left in the queue is found again at the next start.
        """
        self._stopping = True
        self._queue.close()
        for worker in self._idle:
            worker.cancel()

    async def _work(self, when: asyncio.Event | None) -> None:
        while not self._stopping:
            key = await self._next(when)
            try:
                await self._reconcile(key)
            finally:
                del self._begun[key]
                self._queue.done(key)

    async def _next(self, when: asyncio.Event | None) -> Key:
        worker = asyncio.current_task()
        if worker is None:
            raise RuntimeError("workers are tasks")
        self._idle.add(worker)
        try:
            if when is not None:
                await when.wait()
            return await self._queue.get()
        finally:
            self._idle.discard(worker)

    def _log_context(self, key: Key) -> dict[str, str]:
        """Return what each log line of a reconcile carries; the rental's uid joins all contexts."""
        context = {"kind": key.kind, "namespace": key.namespace, "name": key.name}
        known = self._cache.get(key)
        if known is not None:
            context |= {"uid": known.uid, "rentalUID": known.rental_uid}
        return context

    async def _reconcile(self, key: Key) -> None:
        begun = self._begun[key] = time.monotonic()
        with structlog.contextvars.bound_contextvars(**self._log_context(key)):
            result = await self._try(key)
        metrics.RECONCILES.labels(self.kind, result).inc()
        metrics.RECONCILE_SECONDS.labels(self.kind).observe(time.monotonic() - begun)

    async def _try(self, key: Key) -> Result:
        try:
            async with asyncio.timeout(LONGEST_RECONCILE_SECONDS):
                look_again = await self._reconciler.reconcile(key)
        except (errors.Conflict, errors.NotFound, errors.NotLeading, errors.ShopEnding):
            self._queue.retry(key)
            return Result.CONFLICT
        except errors.ApiError as error:
            seconds = self._queue.retry(key)
            logger.warning("%s; looking again in %.1f s", error, seconds)
            return Result.ERROR
        except Unfinished as error:
            logger.warning("%s", error)
            self._queue.retry(key)
            return Result.UNFINISHED
        except TimeoutError:
            seconds = self._queue.retry(key)
            logger.error("reconciling took too long; looking again in %.1f s", seconds)
            return Result.TIMEOUT
        except asyncio.CancelledError:
            if _asked_to_end():
                raise
            seconds = self._queue.retry(key)
            logger.exception("reconciling was broken off; looking again in %.1f s", seconds)
            return Result.ERROR
        except Exception:
            seconds = self._queue.retry(key)
            logger.exception("reconciling failed; looking again in %.1f s", seconds)
            return Result.ERROR
        self._queue.forget(key)
        if look_again is not None:
            wait = (look_again - self._clock()).total_seconds()
            self._queue.add_after(key, max(wait, 0.0))
        return Result.DONE


def _asked_to_end() -> bool:
    """Tell whether it is this very task that was cancelled, and not one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
