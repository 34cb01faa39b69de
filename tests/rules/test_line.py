"""Payments that were put off: held while the circuit is open, and taken in order after that."""

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.payments.test_circuit import Time
from tests.rules.given import a_payment, metadata
from tests.rules.test_payments import next_of, situation, written
from tests.rules.world import MONDAY
from toyrental.kinds import KINDS
from toyrental.kube.cache import Cache
from toyrental.payments import answers, gateway_rules, line, rules
from toyrental.payments.circuit import Breaker, News, Transition, Verdict
from toyrental.payments.gateway_rules import Seen
from toyrental.payments.gateways import Gateways
from toyrental.payments.guard import Guard, GuardedProvider
from toyrental.payments.line import AWAITS_TURN, Gate, Held
from toyrental.payments.models import (
    CIRCUIT_OPEN,
    GATEWAY_IN_USE,
    SUSPENDED,
    Circuit,
    CircuitBreaker,
    Payment,
    PaymentGateway,
    PaymentGatewaySpec,
    PaymentPhase,
    Simulator,
)
from toyrental.payments.providers.port import (
    Account,
    Captured,
    Inquiry,
    Missing,
    NotSent,
    OutcomeUnknown,
)
from toyrental.payments.reconciler import PaymentGatewayReconciler, PaymentReconciler
from toyrental.payments.situation import PATIENCE, LookUp, SendCharge, waits_to_inquire
from toyrental.shared.conditions import find
from toyrental.shared.decisions import Decision
from toyrental.shared.resource import Key

RETRY = MONDAY + timedelta(seconds=15)
HELD = Held(CIRCUIT_OPEN, line.LEFT_ALONE, RETRY)


def put_off(number: int = 0, created: datetime = MONDAY) -> Payment:
    payment = written(rules._hold(situation(a_payment()), HELD))
    named = metadata(f"payment-{number}", created=created, finalizers=payment.metadata.finalizers)
    return payment.model_copy(update={"metadata": named})


def a_gateway(**spec: object) -> PaymentGateway:
    simulator = Simulator(endpoint="http://127.0.0.1:1")
    return PaymentGateway(
        metadata=metadata("till", finalizers=(GATEWAY_IN_USE,)),
        spec=PaymentGatewaySpec.model_validate({"simulator": simulator, **spec}),
    )


def noted(decision: Decision) -> PaymentGateway:
    assert decision.write is not None
    assert isinstance(decision.write.after, PaymentGateway)
    return decision.write.after


# --- What is written of a payment that is put off ---


def test_it_is_put_off_without_a_call_and_says_when() -> None:
    s = situation(a_payment())
    s = next_of(s, s.payment)
    after = written(rules.decide(replace(s, held=HELD)))
    assert after.phase is PaymentPhase.DEFERRED
    assert after.status.next_attempt_time == RETRY
    assert after.in_line


def test_that_is_written_once_however_often_the_circuit_opens() -> None:
    s = situation(put_off())
    later = Held(CIRCUIT_OPEN, line.LEFT_ALONE, RETRY + timedelta(minutes=5))
    turn = Held(AWAITS_TURN, line.LEFT_ALONE, RETRY, RETRY + timedelta(minutes=6))
    assert rules.decide(replace(s, held=HELD)) == Decision()
    assert rules.decide(replace(s, held=later)) == Decision()
    assert rules.decide(replace(s, held=turn)) == Decision(look_again=turn.look_again)


def test_at_its_turn_it_is_charged_under_the_same_key_whatever_time_was_told() -> None:
    payment = put_off()
    assert rules.decide(situation(payment)) == SendCharge(f"{payment.uid}:charge:1")


def test_a_probe_kept_back_at_the_last_moment_counts_as_no_try() -> None:
    s = situation(a_payment())
    after = written(answers.learn_charge(s, NotSent("x", CIRCUIT_OPEN, RETRY)))
    assert (after.status.tries, after.status.next_attempt_time) == (0, RETRY)


# --- Whose turn it is ---


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=40),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
)
def test_turns_are_first_in_first_out_and_under_the_rate(
    ages: list[int], rate: int, chance: object
) -> None:
    waiting = [put_off(n, MONDAY - timedelta(seconds=age)) for n, age in enumerate(ages)]
    uids = [payment.uid for payment in line.in_order(waiting)]
    chances = [getattr(chance, "random")() for _ in uids]  # noqa: B009 - Hypothesis types it not
    turns = line.turns(uids, MONDAY, rate, chances)
    created = {p.uid: p.created for p in waiting}
    in_turn = sorted(turns, key=lambda uid: turns[uid])
    assert in_turn == uids
    assert [created[uid] for uid in in_turn] == sorted(created.values())
    for first, last in zip(in_turn, in_turn[rate + 1 :], strict=False):
        assert turns[last] - turns[first] >= timedelta(seconds=1)


@pytest.mark.parametrize("in_line", [True, False])
def test_nobody_goes_while_it_is_open_or_suspended(*, in_line: bool) -> None:
    for gate in (
        Gate(Circuit.OPEN, suspended=False, retry_time=RETRY, now=MONDAY),
        Gate(Circuit.CLOSED, suspended=True, retry_time=None, now=MONDAY),
    ):
        held = line.hold(gate, in_line=in_line, others_in_line=False, turn=MONDAY)
        assert held is not None
        assert held.reason == (SUSPENDED if gate.suspended else CIRCUIT_OPEN)


def test_who_comes_new_goes_at_once_but_behind_those_whom_probes_wait_for() -> None:
    closed = Gate(Circuit.CLOSED, suspended=False, retry_time=None, now=MONDAY)
    probing = Gate(Circuit.HALF_OPEN, suspended=False, retry_time=RETRY, now=MONDAY)
    assert line.hold(closed, in_line=False, others_in_line=True, turn=None) is None
    assert line.hold(probing, in_line=False, others_in_line=False, turn=None) is None
    assert line.hold(probing, in_line=False, others_in_line=True, turn=None) is not None


def test_half_open_only_the_first_probe_and_closed_all_have_turns() -> None:
    time = Time()
    gateway = a_gateway(circuit_breaker=CircuitBreaker(minimum_calls=1, probes=2))
    guard = Guard(gateway, time)
    waiting = [put_off(n, MONDAY + timedelta(seconds=n)) for n in range(5)]
    admission = guard.charges.admit()
    assert admission is not None
    guard.charges.settle(admission, Verdict.ILL)
    assert all(guard.hold(p, lambda: waiting) is not None for p in waiting)
    time.passes(15)
    time.passes(1)
    guard.charges.look()
    assert guard.hold(waiting[4], lambda: waiting) is not None
    time.passes(1)
    assert [guard.hold(p, lambda: waiting) is None for p in waiting] == [True, True] + [False] * 3
    # While one probes the next one waits, for no longer than that
    for probe in waiting[:2]:
        assert guard.hold(probe, lambda: waiting) is None
        admission = guard.charges.admit()
        assert admission is not None
        for other in waiting[:2]:
            held = guard.hold(other, lambda: waiting)
            assert held is not None
            assert held.look_again == time.now + line.NEXT_PROBE
        guard.charges.settle(admission, Verdict.WELL)
    assert guard.charges.circuit is Circuit.CLOSED
    turns = [guard.hold(p, lambda: waiting[2:]) for p in waiting[2:]]
    moments = [held.look_again or time.now for held in turns if held is not None]
    assert moments == sorted(moments)
    time.passes(1)
    assert all(guard.hold(p, lambda: waiting[2:]) is None for p in waiting[2:])


def test_while_too_few_wait_who_comes_next_probes() -> None:
    time = Time()
    guard = Guard(a_gateway(circuit_breaker=CircuitBreaker(minimum_calls=1, probes=2)), time)
    fail(guard.charges)
    time.passes(16)
    only, late, last = (put_off(n) for n in range(3))
    assert guard.charges.look() is Circuit.HALF_OPEN
    assert guard.hold(only, lambda: [only]) is not None
    assert guard.hold(late, lambda: [only, late]) is not None
    time.passes(1)
    among = [guard.hold(p, lambda: [only, late, last]) is None for p in (only, late, last)]
    assert among == [True, True, False]


def fail(breaker: Breaker) -> None:
    admission = breaker.admit()
    assert admission is not None
    breaker.settle(admission, Verdict.ILL)


def succeed(breaker: Breaker) -> None:
    admission = breaker.admit()
    assert admission is not None
    breaker.settle(admission, Verdict.WELL)


@pytest.mark.parametrize("code", [CIRCUIT_OPEN, SUSPENDED])
def test_who_has_a_place_in_line_is_not_put_there_again(code: str) -> None:
    """A probe that another one was quicker than: nothing is written, and it looks again soon."""
    s = situation(put_off())
    soon = s.now + timedelta(seconds=1)
    assert answers.learn_charge(s, NotSent("x", code, soon)) == Decision(look_again=soon)


# --- Look-ups and refunds wait as well ---


def lost(number: int = 0, created: datetime = MONDAY, *, tries: int = 3) -> Payment:
    """Return a payment whose charge was not answered, nor were look-ups since."""
    s = situation(put_off(number, created))
    s = replace(s, payment=written(answers.learn_charge(s, OutcomeUnknown("timed out"))))
    for _ in range(tries - 1):
        s = replace(s, payment=written(answers.learn_look_up(s, OutcomeUnknown("timed out"))))
    return s.payment


def test_an_unknown_outcome_is_written_once_however_often_the_circuit_opens() -> None:
    """It cost a write a spell before; and each made its pause longer."""
    s = situation(lost())
    held = line.Leave(Held(CIRCUIT_OPEN, line.LEFT_ALONE, RETRY))
    person_called = s.now
    for _ in range(13):
        s = replace(s, now=s.now + timedelta(minutes=1), leave=held)
        for step in (
            rules.decide(s),
            answers.learn_look_up(s, NotSent("x", CIRCUIT_OPEN, RETRY)),
            answers.learn_charge(s, NotSent("x", CIRCUIT_OPEN, RETRY)),
        ):
            assert isinstance(step, Decision)
            assert step.idle
            person_called = max(person_called, step.look_again or s.now)
    # After a quarter of an hour a person is called, once
    s = replace(s, now=person_called)
    after = written(rules.decide(s))
    assert find(after.status.conditions, "Stalled") is not None
    s = replace(s, payment=after)
    assert rules.decide(s) == Decision()
    # And its turn comes none the less
    assert isinstance(rules.decide(replace(s, leave=line.Leave(turn=True))), LookUp)


def test_what_was_not_charged_waits_for_the_circuit_of_charges_without_a_write() -> None:
    s = replace(situation(lost()), held=HELD)
    step = answers.learn_look_up(s, Missing())
    assert isinstance(step, Decision)
    assert step.idle
    assert isinstance(answers.learn_look_up(replace(s, held=None), Missing()), SendCharge)


def test_what_begins_to_wait_says_so_once() -> None:
    """A payment called off in line has no time of its own: it gets one, and then nothing more."""
    held = line.Leave(Held(CIRCUIT_OPEN, line.LEFT_ALONE, RETRY))
    called_off = a_payment(refund=10_000)
    s = replace(situation(called_off), leave=held)
    after = written(rules.decide(s))
    assert find(after.status.conditions, "Captured") is not None
    step = rules.decide(replace(s, payment=after))
    assert isinstance(step, Decision)
    assert step.idle


def test_what_is_called_off_in_line_waits_from_then_on_and_calls_nobody_at_once() -> None:
    """Given an outage of an hour, a cancellation is no reason to call a person before its time."""
    payment = put_off()
    spec = payment.spec.model_copy(update={"refund_minor_units": 10_000})
    s = situation(payment.model_copy(update={"spec": spec}))
    an_hour_later = s.now + timedelta(hours=1)
    held = line.Leave(Held(CIRCUIT_OPEN, line.LEFT_ALONE, an_hour_later))
    s = replace(s, now=an_hour_later, leave=held)
    after = written(rules.decide(s))
    assert not after.in_line
    assert find(after.status.conditions, "Stalled") is None
    step = rules.decide(replace(s, payment=after))
    assert step == Decision(look_again=an_hour_later + PATIENCE)


def test_whose_turn_is_known_calls_nobody_however_long_it_takes() -> None:
    late = MONDAY + timedelta(hours=2)
    turn = Held(AWAITS_TURN, line.LEFT_ALONE, None, late)
    s = replace(situation(lost()), now=MONDAY + timedelta(hours=1), leave=line.Leave(turn))
    assert rules.decide(s) == Decision(look_again=late)


def recovering(count: int, rate: int) -> tuple[Guard, Time, list[Payment]]:
    """Return a gateway whose circuit of look-ups has just closed, and those who wait for it."""
    time = Time()
    breaker = CircuitBreaker(minimum_calls=2, probes=1, recovery_per_second=rate)
    guard = Guard(a_gateway(circuit_breaker=breaker), time)
    waiting = [lost(n, MONDAY + timedelta(seconds=count - n)) for n in range(count)]
    fail(guard.inquiries)
    fail(guard.inquiries)
    assert all(guard.leave(p, lambda: waiting).held for p in waiting)
    time.passes(16)
    guard.inquiries.look()
    succeed(guard.inquiries)
    return guard, time, waiting


def test_look_ups_take_turns_once_their_circuit_closes_whatever_their_own_pauses() -> None:
    guard, time, waiting = recovering(8, rate=2)
    turns: dict[str, datetime] = {}
    for payment in waiting:
        leave = guard.leave(payment, lambda: waiting)
        turns[payment.uid] = time.now if leave.turn else look_again(leave)
    first_come = [payment.uid for payment in line.in_order(waiting)]
    assert sorted(turns, key=lambda uid: turns[uid]) == first_come
    assert max(turns.values()) - min(turns.values()) >= timedelta(seconds=3)
    assert max(turns.values()) - time.now <= timedelta(seconds=4)
    time.passes(4)
    assert all(guard.leave(p, lambda: waiting).turn for p in waiting)


def look_again(leave: line.Leave) -> datetime:
    assert leave.held is not None
    assert leave.held.look_again is not None
    return leave.held.look_again


async def silent(_: Inquiry) -> OutcomeUnknown:
    return OutcomeUnknown("timed out")


async def test_a_turn_is_used_up_by_the_call_so_that_a_failure_is_paused_after() -> None:
    guard, time, waiting = recovering(1, rate=2)
    (payment,) = waiting
    guard.leave(payment, lambda: waiting)
    time.passes(1)
    assert guard.leave(payment, lambda: waiting).turn
    provider: Any = SimpleNamespace(capabilities=None, look_up=silent)
    inquiry = Inquiry(payment.uid, payment.spec.amount, payment.created, 1, None)
    assert await GuardedProvider(provider, guard).look_up(inquiry) == await silent(inquiry)
    assert guard.inquiries.look() is Circuit.CLOSED
    assert guard.leave(payment, lambda: waiting) == line.FREE
    # And it gets another one when charges are taken up again
    fail(guard.charges)
    fail(guard.charges)
    time.passes(16)
    guard.charges.look()
    succeed(guard.charges)
    guard.leave(payment, lambda: waiting)
    time.passes(1)
    assert guard.leave(payment, lambda: waiting).turn


def test_pauses_that_are_no_failures_are_kept() -> None:
    """Of two look-ups that make sure nothing was charged, the second comes after its minute."""
    s = situation(a_payment(refund=10_000))
    after = written(answers.learn_look_up(s, Missing()))
    assert after.inquires
    at = after.status.next_attempt_time
    assert at is not None
    assert not waits_to_inquire(after, at - timedelta(seconds=1))
    assert waits_to_inquire(after, at)
    assert waits_to_inquire(lost(), MONDAY)


# --- Who is woken ---


def test_a_circuit_that_moves_wakes_those_who_wait_and_none_of_the_many_that_rest() -> None:
    cache = Cache(KINDS)
    nothing: Any = SimpleNamespace()
    reconciler = PaymentReconciler(cache, nothing, lambda: MONDAY, nothing, Gateways([]))
    taken = [
        written(answers.learn_charge(situation(named(a_payment(), n)), Captured(f"ch_{n}")))
        for n in range(100)
    ]
    waiting = [put_off(n, MONDAY + timedelta(seconds=n)) for n in range(100, 150)]
    unknown = [lost(n, MONDAY + timedelta(seconds=n)) for n in range(150, 160)]
    for payment in taken + waiting + unknown:
        cache.put(payment.model_dump(mode="json", by_alias=True, exclude_none=True) | RAW)

    def woken(before: PaymentGateway, **status: object) -> tuple[list[Key], PaymentGateway]:
        after = before.with_status(**status)
        return list(reconciler.wakes(before, after)), after

    def keys(payments: list[Payment]) -> list[Key]:
        return [payment.key for payment in payments]

    # When a circuit opens nobody is woken, half open as many as are to probe, closed all who wait
    gateway = well(a_gateway(circuit_breaker=CircuitBreaker(probes=3)))
    who, opened = woken(gateway, circuit=Circuit.OPEN, refund_circuit=Circuit.OPEN)
    assert who == []
    who, trying = woken(opened, circuit=Circuit.HALF_OPEN)
    assert who == keys(waiting[:3])
    who, trying = woken(trying, refund_circuit=Circuit.HALF_OPEN)
    assert who == keys(unknown[:3])
    who, counted = woken(trying, deferred_payments=60)
    assert who == []
    who, _ = woken(counted, circuit=Circuit.CLOSED)
    assert sorted(who) == sorted(keys(waiting + unknown))
    # Other settings are nothing to those that rest either
    spec = gateway.spec.model_copy(update={"timeout_seconds": 7})
    changed = gateway.model_copy(update={"spec": spec})
    for before, after in ((gateway, changed), (None, gateway), (gateway, None)):
        assert set(reconciler.wakes(before, after)) == set(keys(waiting + unknown))


RAW = {"kind": "Payment"}


def named(payment: Payment, number: int) -> Payment:
    finalizers = payment.metadata.finalizers
    return payment.model_copy(
        update={"metadata": metadata(f"payment-{number}", finalizers=finalizers)}
    )


async def test_that_a_circuit_moved_is_told_before_the_provider_is_asked_anything() -> None:
    """Given a provider that may hang, then nobody waits for its answer to hear of the circuit."""
    time = Time()
    gateways = Gateways(["http://127.0.0.1:*"], clock=time)
    gateway = well(a_gateway(circuit_breaker=CircuitBreaker(minimum_calls=1, probes=1)))
    guard = gateways.guard(gateway)
    for breaker in (guard.charges, guard.inquiries):
        fail(breaker)
    time.passes(16)
    guard.inquiries.look()
    guard.charges.look()
    succeed(guard.charges)
    nothing: Any = SimpleNamespace()
    reconciler = PaymentGatewayReconciler(Cache(KINDS), nothing, time, gateways)
    while (news := guard.news) is not None:
        assert isinstance(await reconciler._checked(gateway, guard), NotSent)
        guard.told(news)
    assert guard.inquiries.look() is Circuit.HALF_OPEN
    # Once all is told it is asked, as a probe, which fails here for nobody listens
    assert isinstance(await reconciler._checked(gateway, guard), NotSent)
    assert guard.inquiries.look() is Circuit.OPEN
    await gateways.close()


# --- What a gateway says of its circuit ---


def well(gateway: PaymentGateway) -> PaymentGateway:
    return noted(gateway_rules.decide(gateway, Account("a"), False, Seen(), MONDAY))


def test_each_transition_is_written_once_with_an_event() -> None:
    gateway = well(a_gateway())
    opened = News(Transition(Circuit.OPEN, "60 % of 10 calls failed", RETRY))
    seen = Seen(charges=Circuit.OPEN, news=opened, look_again=RETRY, deferred=3)
    decision = gateway_rules.decide(gateway, NotSent("x", CIRCUIT_OPEN), True, seen, MONDAY)
    after = noted(decision)
    assert (after.status.circuit, after.status.retry_time) == (Circuit.OPEN, RETRY)
    assert after.status.deferred_payments == 3
    assert decision.write is not None
    assert decision.write.event is not None
    assert decision.write.event.reason == "CircuitOpened"
    assert "60 % of 10 calls failed" in decision.write.event.note
    ready = find(after.status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", CIRCUIT_OPEN)
    told = Seen(charges=Circuit.OPEN, look_again=RETRY, deferred=3)
    again = gateway_rules.decide(after, NotSent("x", CIRCUIT_OPEN), True, told, MONDAY)
    assert again == Decision(look_again=RETRY)


def test_a_process_with_a_closed_circuit_leaves_what_another_wrote() -> None:
    opened = News(Transition(Circuit.OPEN, "60 % of 10 calls failed", RETRY))
    gateway = noted(
        gateway_rules.decide(
            well(a_gateway()), Account("a"), True, Seen(Circuit.OPEN, news=opened), MONDAY
        )
    )
    assert gateway_rules.decide(gateway, Account("a"), True, Seen(), RETRY).idle
    # Until it is plain that nobody is left who would close it.
    much_later = RETRY + timedelta(minutes=10)
    closed = noted(gateway_rules.decide(gateway, Account("a"), True, Seen(), much_later))
    assert closed.status.circuit is Circuit.CLOSED
    assert closed.ready


def test_the_count_of_deferred_payments_is_not_written_all_the_time() -> None:
    gateway = well(a_gateway())
    soon = MONDAY + timedelta(seconds=3)
    counted = Seen(deferred=7, count_from=soon)
    waits = gateway_rules.decide(gateway, Account("a"), True, counted, MONDAY)
    assert waits == Decision(look_again=soon)
    after = noted(gateway_rules.decide(gateway, Account("a"), True, counted, soon))
    assert after.status.deferred_payments == 7


def test_suspended_is_open_and_says_so_and_comes_back() -> None:
    gateway = well(a_gateway())
    asked = gateway.model_copy(update={"spec": gateway.spec.model_copy(update={"suspended": True})})
    answer = NotSent(line.NOT_CALLED, SUSPENDED)
    decision = gateway_rules.decide(asked, answer, True, Seen(), MONDAY)
    suspended = noted(decision)
    assert suspended.status.circuit is Circuit.OPEN
    assert decision.write is not None
    assert decision.write.event is not None
    assert decision.write.event.reason == SUSPENDED
    assert gateway_rules.decide(suspended, answer, True, Seen(), MONDAY).idle
    resumed = suspended.model_copy(update={"spec": gateway.spec})
    after = noted(gateway_rules.decide(resumed, Account("a"), True, Seen(), MONDAY))
    assert after.status.circuit is Circuit.CLOSED
    assert after.ready


def test_while_suspended_nothing_is_asked_of_the_provider() -> None:
    held = Held(SUSPENDED, line.NOT_CALLED)
    unknown = a_payment(phase=PaymentPhase.UNKNOWN)
    step = rules.decide(replace(situation(unknown), held=held))
    assert isinstance(step, Decision)
    assert step.idle
