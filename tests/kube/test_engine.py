"""The engine: half an operator is none, and what it cannot finish it breaks off."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import kopf
import pytest

from tests.kube.test_cache import rental
from toyrental.kube import engine as module
from toyrental.kube import errors
from toyrental.kube.cache import Cache
from toyrental.kube.controller import Controller
from toyrental.kube.engine import Engine, Scope
from toyrental.kube.leadership import Alone
from toyrental.rentals.models import Rental
from toyrental.shared.resource import Key, Resource

FOUND = kopf.ConnectionInfo(server="http://127.0.0.1:1")


class Died(BaseException):
    """Nothing that a worker expects."""


class Lists:
    """A client that lists what it is told; an error among the pages is raised."""

    def __init__(self, *lists: Sequence[list[dict[str, Any]] | errors.ApiError]) -> None:
        self.lists = list(lists)

    async def list(self, kind: str, _: str | None = None) -> AsyncIterator[dict[str, Any]]:
        pages = self.lists.pop(0) if kind == "Rental" and self.lists else [[]]
        for page in pages:
            if isinstance(page, errors.ApiError):
                raise page
            yield {"items": page, "metadata": {}}


class Reconciler:
    """Does one thing, whatever the key."""

    kind = "Rental"

    def __init__(self, what: Any) -> None:
        self.what = what
        self.keys: list[Key] = []

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        for resource in (after, before):
            if resource is not None:
                yield resource.key

    async def reconcile(self, key: Key) -> datetime | None:
        self.keys.append(key)
        await self.what()
        return None


class NotWatching(Engine):
    """An engine without kopf."""

    async def _watch(self, *_: Any) -> None:
        await self._stop.wait()

    @property
    def cache(self) -> Cache:
        return self._cache

    def stop(self) -> None:
        self._told_to_stop.set()


def engine(reconciler: Reconciler, lists: Lists, **options: Any) -> NotWatching:
    cache = Cache([Rental])
    controller = Controller(reconciler, cache, lambda: datetime.now(UTC))
    return NotWatching(
        cast("Any", lists),
        cache,
        [controller],
        scope=Scope(),
        leadership=options.pop("leadership", Alone()),
        stop=asyncio.Event(),
        **options,
    )


async def nothing() -> None:
    return


async def test_the_death_of_a_worker_ends_the_whole() -> None:
    async def die() -> None:
        raise Died

    running = engine(Reconciler(die), Lists([[rental()]]))
    with pytest.raises(Died):
        await asyncio.wait_for(running.run(FOUND), 5)


async def test_the_end_of_what_runs_beside_ends_the_whole() -> None:
    running = engine(Reconciler(nothing), Lists())
    beside = asyncio.create_task(nothing())
    with pytest.raises(RuntimeError, match="never should"):
        await asyncio.wait_for(running.run(FOUND, beside=[beside]), 5)


async def test_what_takes_too_long_at_the_end_is_broken_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FINISHING_SECONDS", 0.05)
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.sleep(3600)

    running = engine(Reconciler(hang), Lists([[rental()]]))
    run = asyncio.create_task(running.run(FOUND))
    await asyncio.wait_for(begun.wait(), 5)
    running.stop()
    await asyncio.wait_for(run, 5)


async def test_a_sweep_finds_ghosts_and_what_was_missed() -> None:
    first, second, third = rental("a", uid="u1"), rental("b", uid="u2"), rental("c", uid="u3")
    reconciler = Reconciler(nothing)
    running = engine(reconciler, Lists([[first], [second]], [[second], [third]]))
    await running.sweep("Rental")
    assert {key.name for key in running.cache.keys("Rental")} == {"a", "b"}
    await running.sweep("Rental")
    assert {key.name for key in running.cache.keys("Rental")} == {"b", "c"}


async def test_a_sweep_of_one_namespace_says_nothing_of_others() -> None:
    first, second = rental("a", uid="u1", namespace="shop"), rental("b", uid="u2", namespace="mall")
    running = engine(Reconciler(nothing), Lists([[first, second]], [[]]))
    await running.sweep("Rental")
    await running.sweep("Rental", "shop")
    assert {key.name for key in running.cache.keys("Rental")} == {"b"}


async def test_a_list_that_breaks_off_proves_nothing() -> None:
    first, second = rental("a", uid="u1"), rental("b", uid="u2")
    broken = errors.ApiError("listing Rental", "the continue token has expired", 410)
    running = engine(Reconciler(nothing), Lists([[first], [second]], [[second], broken]))
    await running.sweep("Rental")
    with pytest.raises(errors.ApiError):
        await running.sweep("Rental")
    assert {key.name for key in running.cache.keys("Rental")} == {"a", "b"}


async def test_from_time_to_time_all_that_lives_is_looked_at_whatever_was_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SWEEP_AGAIN_SECONDS", 0.01)
    live, over = rental("live", uid="u1"), rental("over", uid="u2", phase="Completed")
    again = asyncio.Event()

    async def count() -> None:
        if len(reconciler.keys) > 3:
            again.set()

    reconciler = Reconciler(count)
    broken = errors.Unavailable("listing Rental", "no answer")
    lists = Lists([[live, over]], [broken], *([[live, over]] for _ in range(1000)))
    running = engine(reconciler, lists, sweep_seconds=0.01)
    run = asyncio.create_task(running.run(FOUND))
    await asyncio.wait_for(again.wait(), 5)
    running.stop()
    await asyncio.wait_for(run, 5)
    assert [key.name for key in reconciler.keys].count("over") == 1


async def test_it_can_be_stopped_while_caches_cannot_be_filled() -> None:
    class Hangs(Lists):
        async def list(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
            begun.set()
            await asyncio.Event().wait()
            yield {}

    begun = asyncio.Event()
    running = engine(Reconciler(nothing), Hangs())
    run = asyncio.create_task(running.run(FOUND))
    await asyncio.wait_for(begun.wait(), 5)
    assert not running.readiness()[0].ok
    running.stop()
    await asyncio.wait_for(run, 5)


# --- What it tells of itself ---


async def test_a_reconcile_that_cannot_be_broken_off_is_no_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.05)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def stuck() -> None:
        begun.set()
        await go_on.wait()

    running = engine(Reconciler(stuck), Lists([[rental()]]))
    run = asyncio.create_task(running.run(FOUND))
    await asyncio.wait_for(begun.wait(), 5)
    assert well(running) == {"watches", "workers", "reconciles"}
    await comes_true(lambda: well(running) == {"watches", "workers"})
    go_on.set()
    await comes_true(lambda: well(running) == {"watches", "workers", "reconciles"})
    running.stop()
    await asyncio.wait_for(run, 5)


async def comes_true(ask: Callable[[], bool]) -> None:
    for _ in range(5000):
        if ask():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come true")


def well(running: Engine) -> set[str]:
    return {check.name for check in running.liveness() if check.ok}


async def test_it_is_ready_once_caches_are_full_and_watches_open() -> None:
    running = engine(Reconciler(nothing), Lists())
    assert not any(check.ok for check in running.readiness() if check.name != "leadership")
    run = asyncio.create_task(running.run(FOUND))
    await comes_true(lambda: running.readiness()[0].ok)
    assert [check.state for check in running.readiness()] == ["filled", "not open: Rental", "works"]
    running._watches.heard("Rental")
    assert all(check.ok for check in running.readiness())
    running.stop()
    await asyncio.wait_for(run, 5)


# --- Leading, and leading no more ---


class Lead:
    """A leadership that is won and lost when the test says so."""

    def __init__(self) -> None:
        self.winning, self.losing = asyncio.Event(), asyncio.Event()
        self.released = False

    def leads(self) -> bool:
        return self.winning.is_set() and not self.losing.is_set()

    async def won(self) -> None:
        await self.winning.wait()

    async def lost(self) -> None:
        await self.losing.wait()

    async def release(self) -> None:
        self.released = True


async def test_who_stands_by_knows_and_does_nothing() -> None:
    reconciler, lead = Reconciler(nothing), Lead()
    running = engine(reconciler, Lists([[rental("a", uid="u1")]]), leadership=lead)
    run = asyncio.create_task(running.run(FOUND))
    await comes_true(lambda: running.readiness()[0].ok)
    running.cache.put(rental("b", uid="u2"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert reconciler.keys == []
    lead.winning.set()
    await comes_true(lambda: {key.name for key in reconciler.keys} == {"a", "b"})
    running.cache.put(rental("c", uid="u3"))
    await comes_true(lambda: {key.name for key in reconciler.keys} == {"a", "b", "c"})
    running.stop()
    await asyncio.wait_for(run, 5)
    assert lead.released


async def test_who_leads_no_more_breaks_off_at_once() -> None:
    """Given a reconcile that hangs, when the lead is lost, then nobody waits for its end."""
    lead, ended = Lead(), asyncio.Event()
    lead.winning.set()
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    running = engine(Reconciler(hang), Lists([[rental()]]), leadership=lead)
    run = asyncio.create_task(running.run(FOUND))
    await asyncio.wait_for(begun.wait(), 5)
    lead.losing.set()
    await asyncio.wait_for(run, module.FINISHING_SECONDS - 1)
    assert ended.is_set()
