"""Leader election: never two at once, whatever happens between the candidates and the Lease.

The electors are the real ones. Time is not: a loop that waits for nobody skips to the next moment
at which something happens, so that minutes of an election take milliseconds.
"""

import asyncio
import itertools
import selectors
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toyrental.kube import errors
from toyrental.kube.election import (
    LEASE_SECONDS,
    LOOK_SECONDS,
    RENEW_DEADLINE_SECONDS,
    RENEW_SECONDS,
    Lease,
)
from toyrental.kube.leadership import Elector

T = TypeVar("T")


class Skipping(selectors.SelectSelector):
    """Does not wait, but has the time be later."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


def in_no_time(what: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run something on a loop whose time skips."""
    selector = Skipping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign] # the documented way
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(what())


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Fate:
    """What becomes of a request: when it gets there, when its answer is back, if at all."""

    there: float = 0.01
    back: float = 0.01
    arrives: bool = True
    answered: bool = True
    error: errors.ApiError | None = None


@dataclass
class Held:
    """The Lease at the API server, which all candidates share."""

    lease: Lease | None = None
    version: int = 0
    writes: list[tuple[float, str]] = field(default_factory=list)

    def put(self, lease: Lease) -> Lease:
        self.version += 1
        self.lease = replace(lease, version=str(self.version))
        self.writes.append((now(), lease.holder))
        return self.lease


class Line:
    """The way of one candidate to the Lease, with a fate for each of its requests."""

    def __init__(self, held: Held, fate: Callable[[], Fate] = Fate) -> None:
        self.held = held
        self.fate = fate

    async def read(self) -> Lease | None:
        return await self._ask(lambda: self.held.lease)

    async def write(self, lease: Lease, *, acquired: bool) -> Lease:
        assert acquired in {True, False}
        return await self._ask(lambda: self._write(lease))

    def _write(self, lease: Lease) -> Lease:
        there = self.held.lease
        if there is None and lease.version:
            raise errors.NotFound("writing", "it was deleted", 404)
        if there is not None and not lease.version:
            raise errors.AlreadyExists("writing", "it is there", 409)
        if there is not None and there.version != lease.version:
            raise errors.Conflict("writing", "it has changed", 409)
        return self.held.put(lease)

    async def _ask(self, do: Callable[[], T]) -> T:
        fate = self.fate()
        if fate.error is not None:
            raise fate.error
        if not fate.arrives:
            await asyncio.Event().wait()
        # Once it is sent it gets there, also if nobody waits for the answer any more.
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(fate.there, _settle, outcome, do)
        if not fate.answered:
            await asyncio.Event().wait()
        answer = await asyncio.shield(outcome)
        await asyncio.sleep(fate.back)
        return answer


def _settle(outcome: "asyncio.Future[Any]", do: Callable[[], Any]) -> None:
    try:
        outcome.set_result(do())
    except errors.ApiError as error:
        outcome.set_exception(error)
        outcome.exception()  # it is known, also if nobody waits


@dataclass
class Candidate:
    """An elector that is a candidate anew whenever it leads no more."""

    name: str
    line: Line
    elector: Elector = field(init=False)
    terms: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.elector = Elector(self.name, self.line, clock=now)

    async def live(self) -> None:
        while True:
            if not self.elector.leads():
                await self.elector.won()
                self.terms.append(now())
            await self.elector.lost()


async def alive(
    *candidates: Candidate, until: Callable[[], object], within: float = 60, each: float = 0.05
) -> None:
    """Have candidates live until something is so; whenever one looks, no two of them lead."""
    lives = [asyncio.create_task(one.live()) for one in candidates]
    try:
        async with asyncio.timeout(within):
            while True:
                assert sum(one.elector.leads() for one in candidates) <= 1, "two lead"
                assert not any(life.done() for life in lives)
                if until():
                    return
                await asyncio.sleep(each)
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)


def leads(candidate: Candidate) -> Callable[[], bool]:
    return candidate.elector.leads


# --- Never two at once ---


@st.composite
def ways(draw: st.DrawFn) -> Callable[[], Fate]:
    """The luck of one candidate: how long it is cut off, and how its first requests fare besides.

    One that is paused sees no more of it than that its answers come late: its clock goes on.
    """
    cut_off = draw(st.lists(st.tuples(st.floats(0, 40), st.floats(5, 25)), max_size=2))
    delays = st.floats(0, 0.5) | st.floats(0, 3)
    lost = st.sampled_from([True, True, True, False])
    error = st.sampled_from([None, None, None, errors.Unavailable("writing", "no answer")])
    fates = st.builds(Fate, there=delays, back=delays, arrives=lost, answered=lost, error=error)
    first = iter(draw(st.lists(fates, max_size=8)))

    def fate() -> Fate:
        if any(begin <= now() < begin + seconds for begin, seconds in cut_off):
            return Fate(arrives=False)
        return next(first, Fate())

    return fate


@settings(max_examples=200)
@given(st.lists(ways(), min_size=2, max_size=3))
def test_never_two_lead_at_once(luck: list[Callable[[], Fate]]) -> None:
    """And in the end, when all is well, one does."""

    async def election() -> None:
        held = Held()
        people = [Candidate(f"c{n}", Line(held, way)) for n, way in enumerate(luck)]
        await alive(
            *people,
            until=lambda: now() > 70 and any(each.elector.leads() for each in people),
            within=120,
            each=0.2,
        )

    in_no_time(election)


def test_the_first_of_two_rules_alone_would_not_do() -> None:
    """Given a leader that worked for longer than others wait, then the check above notices."""

    async def election() -> None:
        held = Held()
        first, second = Candidate("one", Line(held)), Candidate("two", Line(held))
        await alive(first, second, until=lambda: first.terms or second.terms)
        leader, other = (first, second) if first.terms else (second, first)
        cut_off(leader)
        leader.elector._election._leads_until += LEASE_SECONDS
        with pytest.raises(AssertionError, match="two lead"):
            await alive(leader, other, until=leads(other))

    in_no_time(election)


def cut_off(candidate: Candidate) -> None:
    candidate.line.fate = lambda: Fate(arrives=False)


# --- How soon another one leads ---


async def elected() -> tuple[Held, Candidate, Candidate]:
    """Return the Lease, its holder, and another candidate."""
    held = Held()
    one, other = (Candidate(name, Line(held)) for name in ("one", "other"))
    await alive(one, other, until=lambda: one.terms or other.terms)
    return (held, one, other) if one.terms else (held, other, one)


def test_one_that_is_killed_is_replaced_when_the_lease_runs_out() -> None:
    async def election() -> float:
        _, _, other = await elected()
        await alive(other, until=leads(other))
        return now()

    assert LEASE_SECONDS - RENEW_SECONDS < in_no_time(election) < LEASE_SECONDS + LOOK_SECONDS + 1


def test_one_that_lets_go_is_replaced_at_once() -> None:
    async def election() -> float:
        held, leader, other = await elected()
        await alive(leader, other, until=lambda: now() > 5)
        await leader.elector.release()
        released = now()
        assert held.lease
        assert held.lease.released
        await alive(other, until=leads(other))
        return now() - released

    assert in_no_time(election) < LOOK_SECONDS + 0.2


def test_one_that_is_cut_off_ends_before_another_begins() -> None:
    async def election() -> None:
        held, leader, other = await elected()
        cut_off(leader)
        last = held.writes[-1][0]
        ended: list[float] = []

        def handed_over() -> bool:
            if not leader.elector.leads() and not ended:
                ended.append(now())
            return other.elector.leads()

        await alive(leader, other, until=handed_over)
        assert ended[0] <= last + RENEW_DEADLINE_SECONDS + 0.1
        assert other.terms[0] >= last + LEASE_SECONDS

    in_no_time(election)


@pytest.mark.parametrize("lost", [Fate(arrives=False), Fate(answered=False)])
def test_a_leader_whose_every_other_renewal_is_lost_goes_on(lost: Fate) -> None:
    """Between two renewals it looks: every third request is lost."""

    async def election() -> None:
        _, leader, other = await elected()
        count = itertools.count()
        leader.line.fate = lambda: lost if next(count) % 3 == 0 else Fate()
        await alive(leader, other, until=lambda: now() > 60, within=100)
        assert len(leader.terms) == 1
        assert other.terms == []

    in_no_time(election)


def test_an_api_server_that_is_slow_costs_nobody_the_lead() -> None:
    async def election() -> None:
        _, leader, other = await elected()
        for each in (leader, other):
            each.line.fate = lambda: Fate(there=1, back=1)
        await alive(leader, other, until=lambda: now() > 60, within=100)
        assert len(leader.terms) == 1
        assert other.terms == []

    in_no_time(election)


# --- What people do to the Lease ---


def test_a_lease_that_is_deleted_is_made_anew_by_whoever_leads() -> None:
    async def election() -> None:
        held, leader, other = await elected()
        await alive(leader, other, until=lambda: now() > 5)
        held.lease = None
        await alive(leader, other, until=lambda: now() > 30)
        assert held.writes[-1][0] > 25
        assert {holder for _, holder in held.writes} == {leader.name}
        assert other.terms == []

    in_no_time(election)


def test_a_lease_that_is_deleted_when_its_holder_is_gone_is_waited_out() -> None:
    async def election() -> None:
        held, leader, other = await elected()
        last = held.writes[-1][0]
        await alive(other, until=lambda: now() > 3)
        held.lease = None
        await alive(other, until=leads(other))
        assert other.terms[0] >= last + LEASE_SECONDS
        assert not leader.elector.leads()

    in_no_time(election)


def test_a_lease_written_by_hand_is_heeded_until_it_is_deleted() -> None:
    async def election() -> None:
        held = Held()
        held.put(Lease("a person", seconds=3600))
        one = Candidate("one", Line(held))
        await alive(one, until=lambda: now() > 300, within=400)
        assert one.terms == []
        held.lease = None
        await alive(one, until=leads(one))
        assert one.terms[0] < 300 + LEASE_SECONDS + LOOK_SECONDS + 1

    in_no_time(election)


@pytest.mark.parametrize("holder", ["", "somebody else"])
def test_a_holder_changed_by_hand_ends_the_lead_before_another_begins(holder: str) -> None:
    async def election() -> None:
        held, leader, other = await elected()
        await alive(leader, other, until=lambda: now() > 5)
        assert held.lease is not None
        held.put(replace(held.lease, holder=holder))
        await alive(leader, other, until=lambda: not leader.elector.leads())
        assert now() < 5 + RENEW_SECONDS + LOOK_SECONDS
        await alive(leader, other, until=lambda: leader.elector.leads() or other.elector.leads())

    in_no_time(election)


# --- What is said ---


def test_who_serves_other_shops_by_the_same_lease_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """It would stand by for ever, and its shops be served by nobody."""

    async def election() -> None:
        held = Held()
        held.put(Lease("one", serves="payments of shop-a"))
        other = Elector("other", Line(held), serves="payments of shop-b", clock=now)
        standing_by = asyncio.create_task(other.won())
        await asyncio.sleep(5)
        standing_by.cancel()

    in_no_time(election)
    (told,) = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert told.startswith("one serves payments of shop-a, but this one payments of shop-b;")
    assert "--lease-name" in told


@pytest.mark.parametrize(
    "trouble",
    [
        errors.Forbidden("creating the Lease a/b", 'leases "b" is forbidden', 403),
        errors.NotFound("creating the Lease a/b", 'namespaces "a" not found', 404),
        errors.Unavailable("reading the Lease a/b", "no answer"),
    ],
)
def test_trouble_is_told_once_and_tried_again(
    trouble: errors.ApiError, caplog: pytest.LogCaptureFixture
) -> None:
    async def election() -> None:
        one = Candidate("one", Line(Held(), lambda: Fate(error=trouble)))
        with suppress(TimeoutError):
            await alive(one, until=leads(one), within=20)
        told = [r.message for r in caplog.records if r.levelname == "WARNING"]
        assert told == [f"{trouble}; stands by, and tries again"]
        one.line.fate = Fate
        await alive(one, until=leads(one))

    in_no_time(election)


def test_a_leader_in_trouble_tells_for_how_long_it_leads(caplog: pytest.LogCaptureFixture) -> None:
    async def election() -> None:
        _, leader, _ = await elected()
        leader.line.fate = lambda: Fate(error=errors.Unavailable("writing the Lease", "no answer"))
        await alive(leader, until=lambda: not leader.elector.leads())

    in_no_time(election)
    told = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert any("writing the Lease: no answer; leads for" in each for each in told)
    assert "leads no more: the Lease was not renewed in time" in told


def test_a_release_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def election() -> None:
        _, leader, _ = await elected()
        cut_off(leader)
        await leader.elector.release()

    in_no_time(election)
    assert "left to run out" in caplog.text
