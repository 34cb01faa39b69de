"""The work queue: each key once, no two at once, later where asked, and none forgotten."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyrental.kube import queue as module
from toyrental.kube.queue import FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS, WorkQueue


async def soon(queue: WorkQueue[str]) -> str:
    return await asyncio.wait_for(queue.get(), 5)


async def test_a_key_added_twice_comes_up_once_and_in_order() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await soon(queue), await soon(queue)] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_added_while_it_is_worked_on_comes_up_once_more_after_that() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await soon(queue)
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0, "no two at once"
    queue.done(key)
    assert await soon(queue) == "a"
    queue.done("a")
    assert queue.idle


async def test_every_worker_that_waits_is_woken() -> None:
    queue: WorkQueue[int] = WorkQueue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(4)]
    await asyncio.sleep(0)
    for key in range(4):
        queue.add(key)
    assert sorted(await asyncio.wait_for(asyncio.gather(*waiting), 5)) == [0, 1, 2, 3]


async def test_a_worker_that_is_cancelled_takes_no_key_with_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await soon(queue) == "a"


async def test_of_several_times_the_soonest_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 3600)
    queue.add_after("a", 0.01)
    queue.add_after("a", 1800)
    assert await soon(queue) == "a"
    queue.done("a")
    assert queue.idle


async def test_a_later_time_can_be_set_once_the_sooner_has_come() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(2):
        queue.add_after("a", 0.01)
        queue.done(await soon(queue))


async def test_errors_are_retried_ever_later_and_never_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue: WorkQueue[str] = WorkQueue()
    monkeypatch.setattr(queue, "add_after", lambda *_: None)
    pauses = [queue.retry("a") for _ in range(40)]
    for n, pause in enumerate(pauses):
        longest = min(FIRST_BACKOFF_SECONDS * 2**n, LONGEST_BACKOFF_SECONDS)
        assert longest / 2 <= pause <= longest
    assert len({queue.retry("a") for _ in range(10)}) > 1
    assert queue.retrying == 1
    queue.forget("a")
    assert queue.retrying == 0
    assert queue.retry("a") <= FIRST_BACKOFF_SECONDS


async def test_closing_cancels_what_was_set_for_later() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0.001)
    queue.close()
    await asyncio.sleep(0.02)
    assert queue.idle


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abc")),
            st.tuples(st.just("take"), st.just("")),
            st.tuples(st.just("finish"), st.integers(0, 2)),
        ),
        max_size=60,
    )
)
def test_no_key_is_lost_and_none_is_worked_on_twice_at_once(
    steps: list[tuple[str, str | int]],
) -> None:
    async def play() -> None:
        queue: WorkQueue[str] = WorkQueue()
        added, begun = dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
        working: list[str] = []
        count = itertools.count(1)
        for what, which in steps:
            if what == "add":
                added[str(which)] = next(count)
                queue.add(str(which))
            elif what == "take" and len(queue):
                key = await queue.get()
                assert key not in working
                working.append(key)
                begun[key] = next(count)
            elif what == "finish" and working:
                queue.done(working.pop(int(which) % len(working)))
        while working or len(queue):
            if working:
                queue.done(working.pop())
            else:
                key = await queue.get()
                working.append(key)
                begun[key] = next(count)
        assert queue.idle
        for key in "abc":
            assert begun[key] >= added[key], "what was added last was worked on after that"

    asyncio.run(play())


def test_the_longest_pause_is_short_enough_for_a_person_to_wait() -> None:
    assert module.LONGEST_BACKOFF_SECONDS <= 60
