"""Workers: whatever a reconcile does, it is tried again, and no worker ends unnoticed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from toyrental.kinds import KINDS
from toyrental.kube import controller as module
from toyrental.kube import errors
from toyrental.kube.cache import Cache
from toyrental.kube.controller import Controller, Unfinished
from toyrental.shared.metrics import REGISTRY
from toyrental.shared.resource import Key, Resource

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
KEY = Key("Toy", "shop", "bear")

Answer = Callable[[], Awaitable[datetime | None]]


class Reconciler:
    """Does what it is told: one answer after the other, then nothing."""

    kind = "Toy"

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.calls = 0
        self.over = asyncio.Event()

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        for resource in (after, before):
            if resource is not None:
                yield resource.key

    async def reconcile(self, key: Key) -> datetime | None:
        assert key == KEY
        self.calls += 1
        if self._answers:
            return await self._answers.pop(0)()
        self.over.set()
        return None


@asynccontextmanager
async def working(reconciler: Reconciler, cache: Cache | None = None) -> AsyncIterator[Controller]:
    controller = Controller(reconciler, cache or Cache(KINDS), lambda: NOW)
    workers = controller.start()
    controller.look_at([KEY])
    try:
        yield controller
        assert not any(worker.done() for worker in workers)
    finally:
        controller.stop()
        await asyncio.wait_for(asyncio.gather(*workers, return_exceptions=True), 5)


def raising(error: BaseException) -> Answer:
    async def answer() -> None:
        raise error

    return answer


async def waits_for_another_task_that_is_cancelled() -> None:
    other = asyncio.create_task(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(other.cancel)
    await other


@pytest.mark.parametrize(
    "trouble",
    [
        raising(errors.Conflict("writing", "it has changed", 409)),
        raising(errors.Unavailable("writing", "no answer")),
        raising(errors.Invalid("writing", "a rule", 422)),
        raising(Unfinished("32 steps")),
        raising(TimeoutError()),
        raising(ValueError("a bug")),
        raising(asyncio.CancelledError()),
        waits_for_another_task_that_is_cancelled,
    ],
)
async def test_what_fails_is_tried_again(trouble: Answer) -> None:
    reconciler = Reconciler(trouble, trouble)
    async with working(reconciler):
        await asyncio.wait_for(reconciler.over.wait(), 5)
    assert reconciler.calls == 3


async def test_what_is_nobodys_fault_is_tried_again_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reconciler = Reconciler(
        raising(errors.Conflict("writing", "it has changed", 409)),
        raising(errors.NotFound("writing", "it is gone", 404)),
        raising(errors.ShopEnding("creating", "the namespace goes", 403)),
    )
    async with working(reconciler):
        await asyncio.wait_for(reconciler.over.wait(), 5)
    assert reconciler.calls == 4
    assert not caplog.records


async def test_a_reconcile_that_hangs_is_broken_off_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LONGEST_RECONCILE_SECONDS", 0.05)

    async def hang() -> None:
        await asyncio.sleep(3600)

    reconciler = Reconciler(hang)
    async with working(reconciler):
        await asyncio.wait_for(reconciler.over.wait(), 5)


async def test_it_looks_again_when_time_changes_something() -> None:
    async def later() -> datetime:
        return NOW + timedelta(milliseconds=20)

    async def at_once() -> datetime:
        return NOW - timedelta(hours=1)

    reconciler = Reconciler(later, at_once)
    async with working(reconciler):
        await asyncio.wait_for(reconciler.over.wait(), 5)
    assert reconciler.calls == 3


async def test_stopping_finishes_what_is_in_hand_and_takes_up_nothing_more() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    finished = []

    async def slow() -> None:
        begun.set()
        await go_on.wait()
        finished.append(True)

    reconciler = Reconciler(slow)
    controller = Controller(reconciler, Cache(KINDS), lambda: NOW)
    workers = controller.start()
    controller.look_at([KEY])
    await asyncio.wait_for(begun.wait(), 5)
    controller.stop()
    controller.look_at([KEY])
    _, unfinished = await asyncio.wait(workers, timeout=0.05)
    assert len(unfinished) == 1, "the one that works"
    go_on.set()
    await asyncio.wait_for(asyncio.gather(*workers, return_exceptions=True), 5)
    assert finished
    assert reconciler.calls == 1


async def test_what_was_written_for_a_key_does_not_wake_it_again() -> None:
    cache = Cache(KINDS)
    reconciler = Reconciler()
    async with working(reconciler, cache) as controller:
        cache.listen(controller.changed)
        await asyncio.wait_for(reconciler.over.wait(), 5)
        reconciler.over.clear()
        cache.put(toy(version=1), written_for=KEY)
        await asyncio.sleep(0.02)
        assert reconciler.calls == 1
        cache.put(toy(version=2), written_for=KEY._replace(name="lion"))
        await asyncio.wait_for(reconciler.over.wait(), 5)
    assert reconciler.calls == 2


def toy(version: int) -> dict[str, object]:
    return {
        "kind": "Toy",
        "metadata": {
            "name": "bear",
            "namespace": "shop",
            "uid": "u1",
            "resourceVersion": str(version),
        },
        "spec": {"title": "Bear", "dailyRate": {"currency": "KRW", "minorUnits": 3000}},
    }


async def test_what_became_of_each_reconcile_is_counted() -> None:
    def counted(result: str) -> float:
        labels = {"kind": "Toy", "result": result}
        return REGISTRY.get_sample_value("toyrental_reconciles_total", labels) or 0.0

    results = ("done", "conflict", "unfinished", "error")
    before = [counted(result) for result in results]
    reconciler = Reconciler(
        raising(errors.Conflict("writing", "it has changed", 409)),
        raising(Unfinished("32 steps")),
        raising(ValueError("a bug")),
    )
    async with working(reconciler):
        await asyncio.wait_for(reconciler.over.wait(), 5)
        await asyncio.sleep(0)
    assert [counted(r) - b for r, b in zip(results, before, strict=True)] == [1, 1, 1, 1]
