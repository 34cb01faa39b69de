"""The circuit breaker, by itself: when it opens, for how long, and how it closes."""

import asyncio
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.world import MONDAY
from toyrental.payments.circuit import Admission, Breaker, Verdict, verdict_of
from toyrental.payments.models import CIRCUIT_OPEN, Circuit, CircuitBreaker
from toyrental.payments.providers.port import (
    Account,
    Captured,
    Declined,
    Missing,
    NotSent,
    OutcomeUnknown,
    Refunded,
    Refused,
    TryLater,
    Unauthorized,
)

SETTINGS = CircuitBreaker(
    window_seconds=10,
    minimum_calls=4,
    failure_rate_percent=50,
    slow_call_seconds=3,
    slow_call_rate_percent=75,
    open_seconds=5,
    max_open_seconds=60,
    probes=2,
)


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = MONDAY

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def a_breaker(settings: CircuitBreaker = SETTINGS) -> tuple[Breaker, Time]:
    time = Time()
    return Breaker(settings, time), time


def call(breaker: Breaker, time: Time, verdict: Verdict, *, seconds: float = 0) -> None:
    admission = breaker.admit()
    assert admission is not None
    time.passes(seconds)
    breaker.settle(admission, verdict)


def opened() -> tuple[Breaker, Time]:
    breaker, time = a_breaker()
    for _ in range(SETTINGS.minimum_calls):
        call(breaker, time, Verdict.ILL)
    assert breaker.look() is Circuit.OPEN
    return breaker, time


# --- What an answer says of the provider ---


@pytest.mark.parametrize(
    "answer",
    [NotSent("x"), OutcomeUnknown("x"), TryLater("x"), TryLater("x", timedelta(seconds=2))],
    ids=str,
)
def test_no_answer_and_please_later_are_failures(answer: object) -> None:
    assert verdict_of(answer) is Verdict.ILL


@pytest.mark.parametrize(
    "answer",
    [
        Captured("ch"),
        Declined("c", "x"),
        Refunded(),
        Missing(),
        Account("a"),
        Refused("c", "x"),
    ],
    ids=str,
)
def test_every_other_answer_is_a_success_a_decline_too(answer: object) -> None:
    assert verdict_of(answer) is Verdict.WELL


@pytest.mark.parametrize("answer", [Unauthorized("x"), NotSent("x", CIRCUIT_OPEN)], ids=str)
def test_what_may_never_have_been_sent_says_nothing(answer: object) -> None:
    assert verdict_of(answer) is Verdict.NEITHER


# --- When it opens ---


def test_it_opens_at_the_rate_once_there_are_calls_enough() -> None:
    breaker, time = a_breaker()
    for verdict in (Verdict.ILL, Verdict.WELL, Verdict.ILL):
        call(breaker, time, verdict)
        assert breaker.look() is Circuit.CLOSED
    call(breaker, time, Verdict.WELL)
    assert breaker.look() is Circuit.OPEN
    assert breaker.retry_time == time.now + timedelta(seconds=5)
    assert breaker.news[0].why == "50 % of 4 calls failed"


def test_calls_before_the_window_do_not_count() -> None:
    breaker, time = a_breaker()
    for _ in range(3):
        call(breaker, time, Verdict.ILL)
    time.passes(SETTINGS.window_seconds)
    call(breaker, time, Verdict.ILL)
    assert breaker.look() is Circuit.CLOSED


def test_slow_calls_open_it_although_they_succeed() -> None:
    breaker, time = a_breaker()
    for seconds in (3, 3, 0, 3):
        call(breaker, time, Verdict.WELL, seconds=seconds)
    assert breaker.look() is Circuit.OPEN
    assert breaker.news[0].why == "75 % of 4 calls were slow"


@settings(deadline=None)
@given(st.lists(st.sampled_from([Verdict.WELL, Verdict.NEITHER]), max_size=60))
def test_declines_and_broken_off_calls_never_open_it(verdicts: list[Verdict]) -> None:
    breaker, time = a_breaker()
    for verdict in verdicts:
        call(breaker, time, verdict)
        assert breaker.look() is Circuit.CLOSED
    assert not breaker.news


@settings(deadline=None)
@given(st.lists(st.sampled_from(Verdict), max_size=40))
def test_broken_off_calls_change_nothing(verdicts: list[Verdict]) -> None:
    # Given two circuits that see the same, but for the calls that were broken off
    one, time = a_breaker()
    other, other_time = a_breaker()
    for verdict in verdicts:
        if one.look() is Circuit.OPEN:
            break
        call(one, time, verdict)
        if verdict is not Verdict.NEITHER:
            call(other, other_time, verdict)
    # Then both are in the same state
    assert one.circuit is other.circuit


def test_settings_are_heeded_at_once() -> None:
    breaker, time = a_breaker()
    for _ in range(3):
        call(breaker, time, Verdict.ILL)
    breaker.settings = SETTINGS.model_copy(update={"minimum_calls": 2, "open_seconds": 7})
    call(breaker, time, Verdict.ILL)
    assert breaker.retry_time == time.now + timedelta(seconds=7)


# --- While it is open ---


def test_open_lets_nothing_through_until_its_time_is_up() -> None:
    breaker, time = opened()
    time.passes(4.9)
    assert breaker.admit() is None
    time.passes(0.1)
    assert breaker.admit() is not None
    assert breaker.look() is Circuit.HALF_OPEN


@settings(deadline=None)
@given(st.integers(1, 12))
def test_the_open_time_grows_to_the_longest(rounds: int) -> None:
    breaker, time = opened()
    spells = []
    for _ in range(rounds):
        assert breaker.retry_time is not None
        spells.append((breaker.retry_time - time.now).total_seconds())
        time.now = breaker.retry_time
        call(breaker, time, Verdict.ILL)
    assert spells == [min(5 * 2**n, 60) for n in range(rounds)]


def test_a_clock_that_was_set_back_does_not_hold_it_for_ever() -> None:
    breaker, time = opened()
    time.passes(-86_400)
    assert breaker.look() is Circuit.HALF_OPEN


# --- Half open ---


def test_it_closes_after_all_probes_and_begins_anew() -> None:
    breaker, time = opened()
    time.passes(5)
    call(breaker, time, Verdict.WELL)
    assert breaker.look() is Circuit.HALF_OPEN
    call(breaker, time, Verdict.WELL)
    assert breaker.look() is Circuit.CLOSED
    assert [moved.to for moved in breaker.news] == [
        Circuit.OPEN,
        Circuit.HALF_OPEN,
        Circuit.CLOSED,
    ]
    # The next time it opens it is for the first spell again.
    for _ in range(4):
        call(breaker, time, Verdict.ILL)
    assert breaker.retry_time == time.now + timedelta(seconds=5)


def test_one_slow_probe_opens_it_again() -> None:
    breaker, time = opened()
    time.passes(5)
    call(breaker, time, Verdict.WELL, seconds=3)
    assert breaker.look() is Circuit.OPEN


def test_a_probe_that_was_broken_off_makes_room_for_the_next() -> None:
    breaker, time = opened()
    time.passes(5)
    call(breaker, time, Verdict.NEITHER)
    assert breaker.look() is Circuit.HALF_OPEN
    assert breaker.admit() is not None


async def test_a_cancelled_call_says_nothing_and_leaves_no_probe_behind() -> None:
    breaker, time = opened()
    time.passes(5)
    never = asyncio.Event()

    async def ask() -> None:
        await never.wait()

    task = asyncio.create_task(breaker.call(ask))
    await asyncio.sleep(0)
    assert breaker.admit() is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert breaker.look() is Circuit.HALF_OPEN
    assert breaker.admit() is not None


async def test_what_is_kept_back_is_not_sent_and_says_when() -> None:
    breaker, time = opened()

    async def ask() -> Captured:
        raise AssertionError("called")

    answer = await breaker.call(ask)
    assert isinstance(answer, NotSent)
    assert answer.reason == CIRCUIT_OPEN
    assert answer.retry_time == time.now + timedelta(seconds=5)


ACTIONS = st.lists(
    st.one_of(
        st.just("admit"),
        st.tuples(st.integers(0, 5), st.sampled_from(Verdict)),
        st.floats(0, 30, allow_nan=False),
    ),
    max_size=80,
)


@settings(deadline=None)
@given(ACTIONS)
def test_never_more_than_one_probe_at_a_time(actions: list[object]) -> None:
    # Given calls that begin and end in any order, at any pace
    breaker, time = a_breaker()
    under_way: list[tuple[Admission, bool]] = []
    for action in actions:
        if action == "admit":
            admission = breaker.admit()
            assert (admission is None) or breaker.circuit is not Circuit.OPEN
            if admission is not None:
                under_way.append((admission, breaker.circuit is Circuit.HALF_OPEN))
        elif isinstance(action, tuple) and under_way:
            admission, _ = under_way.pop(action[0] % len(under_way))
            breaker.settle(admission, action[1])
        elif isinstance(action, float):
            time.passes(action)
        # Then of the calls let through half open, at most one is under way
        probes = [a for a, is_probe in under_way if is_probe and a.era == breaker.era]
        assert len(probes) <= 1
        if breaker.circuit is Circuit.OPEN:
            assert breaker.retry_time is not None
            assert breaker.retry_time - time.now <= timedelta(seconds=60)


def test_an_answer_that_comes_after_a_transition_says_nothing() -> None:
    breaker, time = a_breaker()
    late = breaker.admit()
    assert late is not None
    for _ in range(4):
        call(breaker, time, Verdict.ILL)
    time.passes(5)
    assert breaker.look() is Circuit.HALF_OPEN
    breaker.settle(late, Verdict.ILL)
    assert breaker.look() is Circuit.HALF_OPEN


# --- Another process before this one ---


def test_it_begins_where_another_left_off() -> None:
    breaker, time = a_breaker()
    breaker.seed(Circuit.OPEN, time.now + timedelta(seconds=3))
    assert breaker.admit() is None
    assert not breaker.news
    time.passes(3)
    call(breaker, time, Verdict.WELL)
    call(breaker, time, Verdict.WELL)
    assert [moved.to for moved in breaker.news] == [Circuit.HALF_OPEN, Circuit.CLOSED]
