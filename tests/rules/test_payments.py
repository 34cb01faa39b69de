"""Money: never twice, never lost."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules import laws
from tests.rules.checks import conditions_are_by_the_book
from tests.rules.given import a_payment, an_order, days, hours
from tests.rules.provider import GOOD, Fault, Provider
from tests.rules.world import MONDAY
from toyrental.payments import answers, record, rules
from toyrental.payments.line import Held
from toyrental.payments.models import (
    CIRCUIT_OPEN,
    SETTLE,
    SUSPENDED,
    Failure,
    Method,
    Outcome,
    Payment,
    PaymentPhase,
    RefundFailure,
    RefundOutcome,
    RefundResolution,
    RefundStep,
    Resolution,
)
from toyrental.payments.providers.port import (
    KEY_REUSED,
    Capabilities,
    Captured,
    Charge,
    ChargeAnswer,
    Declined,
    Found,
    LookUpAnswer,
    Missing,
    NotSent,
    OutcomeUnknown,
    Refund,
    Refunded,
    RefundFailed,
    RefundPending,
    Refused,
    TryLater,
    Unauthorized,
    UnderWay,
)
from toyrental.payments.situation import (
    PATIENCE,
    LookUp,
    MethodMissing,
    SendCharge,
    SendRefund,
    Situation,
    Step,
    Terms,
)
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.shared.conditions import find
from toyrental.shared.decisions import NOTHING, Decision
from toyrental.shared.money import Currency, Money

T = TypeVar("T")

NOW = MONDAY
TIMEOUT = timedelta(seconds=10)
KEY_LIFE = hours(23)
TERMS = Terms(TIMEOUT, Capabilities(KEY_LIFE))
LIVE = an_order().with_status(phase=RentalPhase.RESERVED)
HANDED_OVER = LIVE.with_status(phase=RentalPhase.RENTED)
COMPLETED = LIVE.with_status(phase=RentalPhase.COMPLETED)
CANCELLED = LIVE.with_status(phase=RentalPhase.CANCELLED)

TROUBLE = [NotSent("x"), Unauthorized("x"), TryLater("x"), OutcomeUnknown("x"), Refused("c", "x")]


def situation(
    payment: Payment,
    *,
    rental: Rental | None = LIVE,
    terms: Terms | None = TERMS,
    now: datetime = NOW,
) -> Situation:
    return Situation(payment, rental, terms, "there is no PaymentGateway till", now)


def written(step: Step) -> Payment:
    """Return the payment that a decision writes, which must be lawful."""
    assert isinstance(step, Decision)
    assert step.write is not None
    before, after = step.write.before, step.write.after
    assert isinstance(before, Payment)
    assert isinstance(after, Payment)
    laws.check(before, after)
    conditions_are_by_the_book(after)
    return after


def next_of(s: Situation, after: Payment, *, later: timedelta = timedelta()) -> Situation:
    return replace(s, payment=after, now=s.now + later)


def said(payment: Payment, type_: str) -> tuple[str, str]:
    condition = find(payment.status.conditions, type_)
    assert condition is not None
    return condition.status, condition.reason


def declined(*, by: str = "bad", refund: int = 0) -> Payment:
    s = situation(a_payment(by=by, refund=refund))
    return written(answers.learn_charge(s, Declined("card_declined", "No funds")))


def captured(*, refund: int = 0) -> Payment:
    s = situation(a_payment(refund=refund))
    return written(answers.learn_charge(s, Captured("ch_1")))


def in_review() -> Payment:
    s = situation(a_payment())
    return written(answers.learn_charge(s, Refused("parameter_invalid", "set up wrongly")))


# --- Hints: the provider says that something happened ---


def told(s: Situation) -> Situation:
    return replace(s, told=True)


def paused(trouble: ChargeAnswer) -> Situation:
    """Return a payment that met trouble and waits for its next try."""
    s = situation(a_payment())
    s = next_of(s, written(answers.learn_charge(s, trouble)), later=timedelta(seconds=1))
    assert isinstance(rules.decide(s), Decision)
    return s


@pytest.mark.parametrize("trouble", TROUBLE[:4], ids=lambda t: type(t).__name__)
def test_what_the_provider_tells_of_is_looked_up_at_once(trouble: ChargeAnswer) -> None:
    # Given a payment that waits for its next try
    s = told(paused(trouble))
    # When the provider tells of it, then it is looked up, and what is found counts
    assert rules.decide(s) == LookUp()
    assert written(answers.learn_look_up(s, Found("ch_1", 10_000))).captured


@pytest.mark.parametrize("trouble", TROUBLE[:4], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("answer", [Missing(), *TROUBLE], ids=lambda t: type(t).__name__)
def test_a_hint_that_proves_nothing_sends_nothing_and_writes_nothing(
    trouble: ChargeAnswer, answer: LookUpAnswer
) -> None:
    s = told(paused(trouble))
    at = s.payment.status.next_attempt_time
    assert answers.learn_look_up(s, answer) == Decision(look_again=at)


def test_a_refund_that_pauses_is_looked_up_and_not_sent_before_its_time() -> None:
    s = situation(captured(refund=4_000))
    s = next_of(s, written(rules.decide(s)))
    call = rules.decide(s)
    assert isinstance(call, SendRefund)
    s = next_of(s, written(answers.learn_refund(s, call.step, OutcomeUnknown("x"))))
    at = s.payment.status.next_attempt_time
    assert rules.decide(s) == Decision(look_again=at)
    assert rules.decide(told(s)) == LookUp()
    found = Found("ch_1", 10_000)
    assert answers.learn_look_up(told(s), found) == Decision(look_again=at)
    known = answers.learn_look_up(told(s), replace(found, refund_steps=frozenset({1})))
    assert written(known).phase is PaymentPhase.PARTIALLY_REFUNDED


def test_a_suspended_gateway_is_not_asked_whatever_is_told() -> None:
    for s in (paused(OutcomeUnknown("x")), paused(TryLater("x"))):
        step = rules.decide(told(replace(s, held=Held(SUSPENDED, "suspended"))))
        assert isinstance(step, Decision)


def test_a_payment_in_line_stays_there_unless_it_was_taken() -> None:
    # Given a payment put off by an open circuit
    held = Held(CIRCUIT_OPEN, "left alone", NOW + hours(1))
    s = replace(situation(a_payment()), held=held)
    s = told(next_of(s, written(rules.decide(s))))
    # Then a hint has it looked up, and it keeps its place
    assert rules.decide(s) == LookUp()
    assert answers.learn_look_up(s, Missing()) == Decision(look_again=NOW + hours(1))
    assert written(answers.learn_look_up(s, Found("ch_1", 10_000))).captured


def test_a_charge_that_turns_up_after_a_void_is_given_back() -> None:
    # Given a payment that was called off: two look-ups found nothing
    s = situation(a_payment(refund=10_000), rental=CANCELLED)
    s = next_of(s, written(answers.learn_look_up(s, Missing())), later=hours(1))
    s = next_of(s, written(answers.learn_look_up(s, Missing())))
    assert s.payment.phase is PaymentPhase.VOIDED
    let_go = replace(s, payment=s.payment.with_finalizers(()))
    assert rules.decide(let_go) == NOTHING
    # When the provider tells of it after all, then it is asked, and what it took goes back
    assert rules.decide(told(let_go)) == LookUp()
    assert answers.learn_look_up(told(let_go), Missing()) == Decision()
    taken = written(answers.learn_look_up(told(let_go), Found("ch_9", 10_000)))
    s = next_of(let_go, taken)
    s = next_of(s, written(rules.decide(s)))
    call = rules.decide(s)
    assert isinstance(call, SendRefund)
    assert written(answers.learn_refund(s, call.step, Refunded())).phase is PaymentPhase.REFUNDED


@pytest.mark.parametrize("payment", [declined(), captured(), in_review()], ids=lambda p: p.phase)
def test_what_is_known_for_certain_is_not_asked_for_again(payment: Payment) -> None:
    assert rules.decide(told(situation(payment))) == NOTHING


# --- Keys ---


def test_the_first_charge_needs_no_write_before_it() -> None:
    # Given a payment that nobody has looked at
    payment = a_payment()
    # Then it is charged at once, under a key that follows from it alone
    assert rules.decide(situation(payment)) == SendCharge(f"{payment.uid}:charge:1")


@pytest.mark.parametrize("trouble", TROUBLE[:4], ids=lambda t: type(t).__name__)
def test_a_key_is_never_minted_because_an_outcome_is_unknown(trouble: ChargeAnswer) -> None:
    # Given a payment whose charge met trouble, again and again
    s = situation(a_payment())
    for _ in range(8):
        step = rules.decide(s)
        if isinstance(step, LookUp):
            step = answers.learn_look_up(s, Missing())
        # Then whatever is sent has the same key
        assert isinstance(step, SendCharge)
        assert step.key == f"{s.payment.uid}:charge:1"
        s = next_of(s, written(answers.learn_charge(s, trouble)))
        assert s.payment.status.attempt == 1
        again = s.payment.status.next_attempt_time
        assert again is not None
        assert again > s.now
        s = replace(s, now=again)


def test_a_second_attempt_is_on_record_before_it_is_sent() -> None:
    # Given a declined payment with another method
    payment = declined()
    payment = payment.with_spec(method=Method(token="good"))
    s = situation(payment)
    # Then the attempt is written first
    noted = written(rules.decide(s))
    assert noted.status.attempt == 2
    assert noted.status.attempt_time == NOW
    assert noted.status.attempt_method == Method(token="good")
    assert noted.phase is PaymentPhase.PROCESSING
    # And then sent, under its own key
    assert rules.decide(next_of(s, noted)) == SendCharge(f"{payment.uid}:charge:2")


def test_a_declined_payment_is_left_alone_until_another_method_is_given() -> None:
    payment = declined()
    assert rules.decide(situation(payment, now=NOW + days(9))) == NOTHING


def test_a_payment_that_waited_is_read_anew_before_it_is_charged() -> None:
    # Given a payment that is old enough to have been called off unseen
    payment = a_payment()
    young = rules.decide(situation(payment, now=NOW + timedelta(seconds=29)))
    old = rules.decide(situation(payment, now=NOW + timedelta(seconds=30)))
    # Then it wants to be confirmed
    assert young == SendCharge(f"{payment.uid}:charge:1")
    assert old == SendCharge(f"{payment.uid}:charge:1", confirm=(payment.key,))


def test_past_the_life_of_a_key_nothing_is_sent_before_a_look_up() -> None:
    # Given a charge that was put off for a day
    s = situation(a_payment())
    s = next_of(s, written(answers.learn_charge(s, NotSent("circuit open"))), later=KEY_LIFE)
    # Then the provider is asked first
    assert rules.decide(s) == LookUp()
    # And charged only when it knows nothing
    step = answers.learn_look_up(s, Missing())
    assert isinstance(step, SendCharge)
    assert step.key == f"{s.payment.uid}:charge:1"
    known = written(answers.learn_look_up(s, Found("ch_1", 10_000)))
    assert known.phase is PaymentPhase.CAPTURED
    assert known.status.gateway_payment_id == "ch_1"


def test_a_key_lives_from_when_its_own_attempt_was_recorded() -> None:
    # Given a second attempt, a week after the payment was made
    now = NOW + days(7)
    payment = declined().with_spec(method=Method(token="good"))
    s = situation(payment, now=now)
    s = next_of(s, written(rules.decide(s)))
    # Then its key is young
    step = rules.decide(s)
    assert isinstance(step, SendCharge)
    assert step.key.endswith(":charge:2")
    assert rules.decide(replace(s, now=now + KEY_LIFE)) == LookUp()


# --- What an answer means ---


def test_captured() -> None:
    payment = captured()
    assert payment.phase is PaymentPhase.CAPTURED
    assert payment.status.captured_minor_units == 10_000
    assert payment.status.gateway_payment_id == "ch_1"
    assert said(payment, "Captured") == ("True", "Captured")
    assert said(payment, "Refunded") == ("False", "NotRequested")
    assert said(payment, "Ready") == ("True", "Captured")


def test_declined_needs_a_person() -> None:
    payment = declined()
    assert payment.phase is PaymentPhase.DECLINED
    assert payment.status.failure == Failure(code="card_declined", message="No funds")
    assert payment.status.attempt_method == Method(token="bad")
    assert said(payment, "Captured") == ("False", "Declined")
    assert said(payment, "Stalled") == ("True", "Declined")
    assert payment.awaits_customer_since == NOW


@pytest.mark.parametrize(
    "trouble", [NotSent("x"), Unauthorized("x"), TryLater("x")], ids=lambda t: type(t).__name__
)
def test_what_surely_did_not_happen_is_put_off(trouble: ChargeAnswer) -> None:
    payment = written(answers.learn_charge(situation(a_payment()), trouble))
    assert payment.phase is PaymentPhase.DEFERRED
    assert said(payment, "Captured") == ("Unknown", "Deferred")
    assert said(payment, "Reconciling") == ("True", "Deferred")
    assert payment.awaits_customer_since is None


def test_a_provider_says_itself_when_to_come_again() -> None:
    s = situation(a_payment())
    payment = written(answers.learn_charge(s, TryLater("busy", timedelta(seconds=40))))
    at = payment.status.next_attempt_time
    assert at is not None
    assert timedelta(seconds=40) <= at - NOW <= timedelta(seconds=50)


def test_who_is_not_alone_leaves_it_to_the_other_to_write() -> None:
    # Given a charge that another process has sent as well
    s = situation(a_payment())
    soon = Decision(look_again=NOW + record.FIRST_PAUSE)
    # Then nothing is written that could come before what the other is told
    assert answers.learn_charge(s, UnderWay("in hand")) == soon
    # Unless there is nobody, who would have written by then
    late = replace(s, now=NOW + timedelta(minutes=2))
    assert written(answers.learn_charge(late, UnderWay("in hand"))).phase is PaymentPhase.DEFERRED
    # And likewise where money goes back
    s, step = refunding()
    soon = Decision(look_again=s.now + record.FIRST_PAUSE)
    assert answers.learn_refund(s, step, UnderWay("in hand")) == soon


def test_no_answer_is_unknown_and_the_provider_is_asked() -> None:
    # Given a charge without an answer
    s = situation(a_payment())
    payment = written(answers.learn_charge(s, OutcomeUnknown("timed out")))
    assert payment.phase is PaymentPhase.UNKNOWN
    assert said(payment, "Captured") == ("Unknown", "OutcomeUnknown")
    at = payment.status.next_attempt_time
    assert at is not None
    # Then nothing is done until it is time, and then the provider is asked
    assert rules.decide(next_of(s, payment)) == Decision(look_again=at)
    s = replace(next_of(s, payment), now=at)
    assert rules.decide(s) == LookUp()
    # And what it says is believed
    assert written(answers.learn_look_up(s, Found("ch_7", 10_000))).captured
    assert answers.learn_look_up(s, Missing()) == SendCharge(f"{payment.uid}:charge:1")


def test_what_stays_unknown_past_the_life_of_its_key_goes_to_a_person() -> None:
    s = situation(a_payment())
    s = next_of(s, written(answers.learn_charge(s, OutcomeUnknown("x"))), later=KEY_LIFE)
    assert rules.decide(s) == LookUp()
    payment = written(answers.learn_look_up(s, Missing()))
    assert payment.phase is PaymentPhase.MANUAL_REVIEW
    assert said(payment, "Stalled") == ("True", "ManualReview")
    assert rules.decide(next_of(s, payment, later=days(30))) == NOTHING


def test_what_is_set_up_wrongly_goes_to_a_person() -> None:
    payment = in_review()
    assert payment.phase is PaymentPhase.MANUAL_REVIEW
    assert payment.status.failure == Failure(code="parameter_invalid", message="set up wrongly")
    assert "spec.resolution" in str(find(payment.status.conditions, "Ready"))


def test_a_method_that_cannot_be_read_is_asked_for_and_tried_again() -> None:
    s = situation(a_payment())
    payment = written(answers.learn_charge(s, MethodMissing()))
    assert payment.phase is PaymentPhase.PENDING
    assert said(payment, "Captured") == ("False", "MethodMissing")
    assert payment.awaits_customer_since == NOW
    at = payment.status.next_attempt_time
    assert at == NOW + timedelta(seconds=15)
    assert isinstance(rules.decide(replace(next_of(s, payment), now=at)), SendCharge)


def test_without_its_gateway_a_payment_is_put_off_and_says_who_must_act() -> None:
    s = situation(a_payment(), terms=None)
    payment = written(rules.decide(s))
    assert payment.phase is PaymentPhase.DEFERRED
    assert said(payment, "Stalled") == ("True", "GatewayUnusable")
    # And nothing is written again
    assert rules.decide(next_of(s, payment, later=days(1))) == Decision()


def test_pauses_grow_and_stay_bounded() -> None:
    s, pauses = situation(a_payment()), []
    for _ in range(12):
        payment = written(answers.learn_charge(s, NotSent("x")))
        at = payment.status.next_attempt_time
        assert at is not None
        pauses.append(at - s.now)
        s = replace(next_of(s, payment), now=at)
    assert pauses == sorted(pauses)
    assert pauses[0] <= timedelta(seconds=3)
    assert pauses[-1] <= record.LONGEST_PAUSE * 1.25


# --- The end of a review ---


def test_a_person_says_that_it_was_charged() -> None:
    resolution = Resolution(outcome=Outcome.CAPTURED, gateway_payment_id="ch_9")
    payment = in_review().with_spec(resolution=resolution)
    after = written(rules.decide(situation(payment)))
    assert after.phase is PaymentPhase.CAPTURED
    assert after.status.gateway_payment_id == "ch_9"


def test_a_person_says_that_it_was_not_charged_and_nothing_is_charged_after_that() -> None:
    payment = in_review().with_spec(resolution=Resolution(outcome=Outcome.NOT_CHARGED))
    s = situation(payment)
    after = written(rules.decide(s))
    assert after.phase is PaymentPhase.DECLINED
    another = after.with_spec(method=Method(token="better"))
    assert rules.decide(next_of(s, another)) == NOTHING


def test_a_review_of_an_unwanted_payment_waits_for_a_person_too() -> None:
    payment = in_review().with_spec(refund_minor_units=10_000)
    assert rules.decide(situation(payment, rental=CANCELLED)) == NOTHING
    resolution = Resolution(outcome=Outcome.NOT_CHARGED)
    s = situation(payment.with_spec(resolution=resolution), rental=CANCELLED)
    noted = written(rules.decide(s))
    assert written(rules.decide(next_of(s, noted))).phase is PaymentPhase.VOIDED


# --- Calling off ---


def test_a_declined_payment_is_void_at_once() -> None:
    payment = declined().with_spec(refund_minor_units=10_000)
    after = written(rules.decide(situation(payment, rental=CANCELLED)))
    assert after.phase is PaymentPhase.VOIDED
    # And that the customer did not act stays on record
    assert after.awaits_customer_since == NOW


@pytest.mark.parametrize("how", ["withheld", "deleted"])
def test_any_other_is_void_after_two_look_ups_apart(how: str) -> None:
    # Given a payment that is not wanted any more, and may have been sent
    payment = a_payment(refund=10_000) if how == "withheld" else a_payment(deleted=NOW)
    s = situation(payment, rental=CANCELLED)
    # Then it is looked up and not charged
    assert rules.decide(s) == LookUp()
    # And when the provider does not know it, it is looked up again, so much later that a charge on
    # its way would have arrived
    once = written(answers.learn_look_up(s, Missing()))
    assert once.phase is PaymentPhase.PENDING
    assert once.status.missing_since == NOW
    apart = TIMEOUT + timedelta(minutes=1)
    again = once.status.next_attempt_time
    assert again is not None
    assert again > NOW + apart
    assert rules.decide(next_of(s, once, later=apart)) == Decision(look_again=again)
    s = replace(next_of(s, once), now=again)
    assert rules.decide(s) == LookUp()
    # And only then it is void
    assert written(answers.learn_look_up(s, Missing())).phase is PaymentPhase.VOIDED


def test_a_charge_that_turns_up_is_refunded() -> None:
    s = situation(a_payment(refund=10_000), rental=CANCELLED)
    s = next_of(s, written(answers.learn_look_up(s, Found("ch_1", 10_000))))
    assert s.payment.phase is PaymentPhase.CAPTURED
    step = written(rules.decide(s))
    assert step.status.refund_step is not None
    assert step.status.refund_step.minor_units == 10_000


def test_a_look_up_without_an_answer_is_tried_again_and_voids_nothing() -> None:
    for trouble in TROUBLE:
        s = situation(a_payment(refund=10_000), rental=CANCELLED)
        after = written(answers.learn_look_up(s, trouble))  # type: ignore[arg-type]
        assert after.phase is PaymentPhase.PENDING
        assert after.status.missing_since is None
        assert after.status.next_attempt_time is not None


def test_an_unwanted_payment_without_its_gateway_says_that_it_cannot_be_called_off() -> None:
    s = situation(a_payment(refund=10_000), rental=CANCELLED, terms=None)
    after = written(rules.decide(s))
    assert said(after, "Stalled") == ("True", "GatewayUnusable")
    assert rules.decide(next_of(s, after, later=days(1))) == Decision()
    assert rules.decide(replace(next_of(s, after), terms=TERMS)) == LookUp()


# --- Refunds ---


def test_a_step_of_refund_is_on_record_before_it_is_sent() -> None:
    # Given a captured payment of which a part shall go back
    s = situation(captured().with_spec(refund_minor_units=3_000))
    # Then the step is written first
    begun = written(rules.decide(s))
    step = RefundStep(number=1, minor_units=3_000, started_time=NOW)
    assert begun.status.refund_step == step
    assert begun.status.refund_steps == 1
    assert said(begun, "Refunded") == ("Unknown", "Refunding")
    assert said(begun, "Ready") == ("False", "Refunding")
    # And then sent, under its own key
    call = rules.decide(next_of(s, begun))
    assert call == SendRefund(f"{s.payment.uid}:refund:1", "ch_1", step)
    # And its answer noted
    after = written(answers.learn_refund(next_of(s, begun), step, Refunded()))
    assert after.phase is PaymentPhase.PARTIALLY_REFUNDED
    assert after.status.refunded_minor_units == 3_000
    assert after.status.refund_step is None


def test_one_step_ends_before_the_next_begins_however_the_refund_grows() -> None:
    # Given a step whose answer was lost
    s = situation(captured().with_spec(refund_minor_units=3_000))
    s = next_of(s, written(rules.decide(s)))
    step = s.payment.status.refund_step
    assert step is not None
    s = next_of(s, written(answers.learn_refund(s, step, OutcomeUnknown("timed out"))))
    at = s.payment.status.next_attempt_time
    assert at is not None
    # When more shall go back
    s = replace(s, payment=s.payment.with_spec(refund_minor_units=7_000), now=at)
    # Then the same step is sent, under the same key, for the same amount
    call = rules.decide(s)
    assert call == SendRefund(f"{s.payment.uid}:refund:1", "ch_1", step)
    # And the rest is a step of its own
    s = next_of(s, written(answers.learn_refund(s, step, Refunded())))
    s = next_of(s, written(rules.decide(s)))
    rest = s.payment.status.refund_step
    assert rest is not None
    assert (rest.number, rest.minor_units) == (2, 4_000)
    s = next_of(s, written(answers.learn_refund(s, rest, Refunded())))
    assert s.payment.status.refunded_minor_units == 7_000


def test_past_the_life_of_its_key_a_step_is_looked_up_first() -> None:
    s = situation(captured(refund=10_000), rental=CANCELLED)
    s = next_of(s, written(rules.decide(s)), later=KEY_LIFE)
    step = s.payment.status.refund_step
    assert step is not None
    assert rules.decide(s) == LookUp()
    # When the provider has done it, it is noted
    done = answers.learn_look_up(s, Found("ch_1", 10_000, frozenset({1})))
    assert written(done).phase is PaymentPhase.REFUNDED
    # When it has not, it is sent
    assert answers.learn_look_up(s, Found("ch_1", 10_000)) == SendRefund(
        f"{s.payment.uid}:refund:1", "ch_1", step
    )
    # When it does not know the payment, nothing is sent
    after = written(answers.learn_look_up(s, Missing()))
    assert after.status.refund_step == step
    assert after.status.next_attempt_time is not None


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda t: type(t).__name__)
def test_a_refund_in_trouble_is_tried_again_as_the_same_step(trouble: ChargeAnswer) -> None:
    s = situation(captured(refund=10_000), rental=CANCELLED)
    s = next_of(s, written(rules.decide(s)))
    step = s.payment.status.refund_step
    assert step is not None
    after = written(answers.learn_refund(s, step, trouble))  # type: ignore[arg-type]
    assert after.status.refund_step == step
    assert after.status.refunded_minor_units is None
    assert said(after, "Refunded") == ("Unknown", "Refunding")


def test_a_refund_without_its_gateway_says_so() -> None:
    s = situation(captured(refund=10_000), rental=CANCELLED, terms=None)
    s = next_of(s, written(rules.decide(s)))
    after = written(rules.decide(s))
    assert said(after, "Refunded") == ("Unknown", "GatewayUnusable")
    assert said(after, "Stalled") == ("True", "GatewayUnusable")
    assert rules.decide(next_of(s, after, later=days(1))) == Decision()


@given(
    st.lists(st.integers(1, 10_000), max_size=5),
    st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_however_a_refund_grows_each_unit_goes_back_once(
    wishes: list[int], arrives: list[bool]
) -> None:
    # Given a captured payment, of which more and more shall go back while answers get lost
    s, sent = situation(captured()), dict[int, int]()
    grow = iter(sorted(wishes))
    for answered in [*arrives, *[True] * 20]:
        more = next(grow, None)
        if more is not None:
            s = replace(s, payment=s.payment.with_spec(refund_minor_units=more))
        step = rules.decide(s)
        if isinstance(step, SendRefund):
            number = int(step.key.rsplit(":", 1)[1])
            assert sent.setdefault(number, step.step.minor_units) == step.step.minor_units
            answer = Refunded() if answered else OutcomeUnknown("lost")
            step = answers.learn_refund(s, step.step, answer)
        assert isinstance(step, Decision)
        if step.write is not None:
            s = next_of(s, written(step))
        elif step.look_again is not None:
            s = replace(s, now=step.look_again)
    # Then every unit goes back once
    assert (
        sum(sent.values()) == max(wishes, default=0) == (s.payment.status.refunded_minor_units or 0)
    )


# --- Refunds that end later, or fail after all ---


def refunding(*, refund: int = 10_000) -> tuple[Situation, RefundStep]:
    """Return a captured payment, all of which or part is to go back, and the step on record."""
    s = situation(captured(refund=refund), rental=CANCELLED)
    s = next_of(s, written(rules.decide(s)))
    assert s.payment.status.refund_step is not None
    return s, s.payment.status.refund_step


def ends(*, done: int = 0, pending: int = 0, failed: int = 0, lost: int = 10_000) -> Found:
    steps = [frozenset({n} if n else ()) for n in (done, pending, failed)]
    return Found("ch_1", 10_000, *steps, failed_minor_units=lost if failed else 0)


def test_a_refund_in_hand_is_not_refunded_and_is_looked_up_later_and_later() -> None:
    # Given a provider that has taken a refund up, and not carried it out
    s, step = refunding()
    s = next_of(s, written(answers.learn_refund(s, step, RefundPending())))
    pauses = []
    for _ in range(12):
        # Then it is not given back yet, nobody is called, and it is not sent again
        assert s.payment.phase is PaymentPhase.CAPTURED
        assert said(s.payment, "Refunded") == ("Unknown", "Refunding")
        assert find(s.payment.status.conditions, "Stalled") is None
        assert s.payment.status.tries == 0
        at = s.payment.status.next_attempt_time
        assert at is not None
        pauses.append(at - s.now)
        s = replace(s, now=at)
        assert rules.decide(s) == LookUp()
        s = next_of(s, written(answers.learn_look_up(s, ends(pending=1))))
    assert pauses == sorted(pauses)
    assert pauses[0] <= timedelta(seconds=30)
    assert pauses[-1] == hours(1)
    # And a hint has it looked up at once
    assert rules.decide(told(s)) == LookUp()
    assert isinstance(answers.learn_look_up(told(s), ends(pending=1)), Decision)
    done = written(answers.learn_look_up(told(s), ends(done=1)))
    assert done.phase is PaymentPhase.REFUNDED


def test_a_refund_whose_answer_was_lost_may_turn_out_to_be_in_hand() -> None:
    s, step = refunding()
    s = next_of(s, written(answers.learn_refund(s, step, OutcomeUnknown("x"))), later=KEY_LIFE)
    assert rules.decide(s) == LookUp()
    after = written(answers.learn_look_up(s, ends(pending=1)))
    assert after.status.refund_step is not None
    assert after.status.refund_step.accepted_time == s.now


@pytest.mark.parametrize("pending", [True, False], ids=["after a while", "at once"])
def test_a_refund_that_fails_calls_a_person_and_is_not_tried_on(*, pending: bool) -> None:
    s, step = refunding()
    if pending:
        s = next_of(s, written(answers.learn_refund(s, step, RefundPending())), later=hours(1))
        step_ = answers.learn_look_up(s, ends(failed=1))
    else:
        step_ = answers.learn_refund(s, step, RefundFailed("expired_or_canceled_card"))
    assert isinstance(step_, Decision)
    assert step_.write is not None
    assert step_.write.event is not None
    assert step_.write.event.reason == "RefundFailed"
    after = written(step_)
    assert said(after, "Refunded") == ("False", "RefundFailed")
    assert said(after, "Ready") == ("False", "RefundFailed")
    assert said(after, "Stalled") == ("True", "RefundFailed")
    assert after.status.refunded_minor_units is None
    # Then nothing is sent again, and the payment is kept
    s = next_of(s, after, later=days(3))
    assert rules.decide(s) == NOTHING
    # And it says how to end that, also once it is deleted
    ready = find(after.status.conditions, "Ready")
    assert ready is not None
    assert "refundResolution to {failure: 1, outcome: GivenBack}" in ready.message
    gone = replace(s, payment=a_payment(deleted=NOW).with_status(**dict(after.status)))
    assert rules.decide(gone) == NOTHING


@pytest.mark.parametrize("refund", [4_000, 10_000])
def test_a_refund_that_fails_long_after_it_was_made_does_not_go_unnoticed(refund: int) -> None:
    # Given a refund that was made
    s, step = refunding(refund=refund)
    done = written(answers.learn_refund(s, step, Refunded()))
    s = next_of(s, done.with_finalizers(()), later=days(20))
    assert rules.decide(s) == NOTHING
    # When the provider tells of it, then it is looked up; nothing new is nothing to write
    assert rules.decide(told(s)) == LookUp()
    assert answers.learn_look_up(told(s), ends(done=1)) == NOTHING
    unsaid = (Missing(), OutcomeUnknown("x"), Refused("c", "x"), Unauthorized("x"))
    assert all(answers.learn_look_up(told(s), answer) == Decision() for answer in unsaid)
    # And when it failed, then that is said: it is not Refunded any more
    failed = written(answers.learn_look_up(told(s), ends(failed=1, lost=refund)))
    assert said(failed, "Refunded") == ("False", "RefundFailed")
    assert said(failed, "Stalled") == ("True", "RefundFailed")
    assert rules.decide(next_of(s, failed, later=days(1))) == NOTHING
    # And no more is sent, though more shall go back
    more = failed.with_spec(refund_minor_units=10_000)
    assert rules.decide(next_of(s, more, later=days(1))) == NOTHING
    # And while it is kept, it stays kept
    kept = failed.with_finalizers((SETTLE,))
    assert rules.decide(next_of(s, kept, later=days(1))) == NOTHING


def resolved(s: Situation, outcome: RefundOutcome) -> Situation:
    """Have a person end the failure that there is."""
    failure = s.payment.status.refund_failure
    assert failure is not None
    said = RefundResolution(failure=failure.number, outcome=outcome, resolved_by="aya")
    after = s.payment.with_spec(refund_resolution=said)
    laws.check(s.payment, after)
    return replace(s, payment=after)


def failed(*, late: bool = False, refund: int = 10_000) -> Situation:
    """Return a payment of which a refund failed, after it had been made or before."""
    s, step = refunding(refund=refund)
    if late:
        s = next_of(s, written(answers.learn_refund(s, step, Refunded())), later=days(1))
        return next_of(s, written(answers.learn_look_up(told(s), ends(failed=1, lost=refund))))
    return next_of(s, written(answers.learn_refund(s, step, RefundFailed("account_closed"))))


@pytest.mark.parametrize("late", [False, True], ids=["at once", "long after"])
@pytest.mark.parametrize("refund", [4_000, 10_000])
def test_a_refund_that_failed_is_tried_again_when_a_person_says_so(
    refund: int, *, late: bool
) -> None:
    # Given a refund that failed, which a person wants to be tried again
    s = resolved(failed(late=late, refund=refund), RefundOutcome.TRY_AGAIN)
    # Then it is a step of its own, with a key of its own, and on record first
    s = next_of(s, written(rules.decide(s)))
    again = s.payment.status.refund_step
    assert again is not None
    assert (again.number, again.minor_units) == (2, refund)
    assert said(s.payment, "Refunded") == ("Unknown", "Refunding")
    assert rules.decide(s) == SendRefund(f"{s.payment.uid}:refund:2", "ch_1", again)
    # When it fails as well, then another word of a person's is needed
    worse = next_of(s, written(answers.learn_refund(s, again, RefundFailed("still closed"))))
    assert worse.payment.status.refund_failure == RefundFailure(
        number=2,
        minor_units=refund,
        counted_minor_units=refund if late else 0,
        failed_minor_units=2 * refund,
    )
    assert rules.decide(next_of(worse, worse.payment, later=days(1))) == NOTHING
    # When it is made, then so much was given back, and not twice as much
    done = answers.learn_refund(s, again, Refunded())
    after = written(done)
    assert after.status.refunded_minor_units == refund
    assert said(after, "Refunded")[0] == "True"
    assert after.status.failure is None
    assert done.write is not None
    assert done.write.event is not None
    # And that the first step failed is no news any more
    s = told(next_of(s, after))
    found = Found("ch_1", 10_000, frozenset({2}), failed_steps=frozenset({1}))
    assert answers.learn_look_up(s, replace(found, failed_minor_units=refund)) == NOTHING


@pytest.mark.parametrize("late", [False, True], ids=["at once", "long after"])
def test_a_refund_that_failed_ends_when_a_person_gave_the_money_back(*, late: bool) -> None:
    # Given a refund that failed, a gateway that is gone, and a person who paid in cash
    s = replace(resolved(failed(late=late), RefundOutcome.GIVEN_BACK), terms=None)
    # Then the payment says so, and who said so; nothing is sent
    step = rules.decide(s)
    after = written(step)
    assert after.phase is PaymentPhase.REFUNDED
    assert after.status.refunded_minor_units == after.status.given_back_minor_units == 10_000
    assert said(after, "Refunded") == ("True", "GivenBack")
    assert said(after, "Ready")[0] == "True"
    assert isinstance(step, Decision)
    assert step.write is not None
    assert step.write.event is not None
    assert step.write.event.note == "aya says that 10,000 KRW was given back in another way."
    # And it is settled
    assert written(rules.decide(next_of(s, after))).metadata.finalizers == ()


def test_a_word_on_one_failure_is_none_on_the_next() -> None:
    # Given a failure that a person ended, and another one after it
    s = resolved(failed(late=True, refund=4_000), RefundOutcome.GIVEN_BACK)
    s = next_of(s, written(rules.decide(s)).with_spec(refund_minor_units=10_000))
    s = next_of(s, written(rules.decide(s)))
    step = s.payment.status.refund_step
    assert step is not None
    assert step.minor_units == 6_000
    s = next_of(s, written(answers.learn_refund(s, step, RefundFailed("x"))))
    # Then it waits for a word of its own
    assert rules.decide(s) == NOTHING
    assert said(s.payment, "Stalled") == ("True", "RefundFailed")
    s = next_of(s, written(rules.decide(resolved(s, RefundOutcome.GIVEN_BACK))))
    assert s.payment.status.refunded_minor_units == 10_000


def test_failures_that_come_together_are_ended_together() -> None:
    # Given two steps that were made, and fail one after the other before a person sees it
    s = failed(late=True, refund=4_000)
    step = replace(s, payment=s.payment.with_status(refunded_minor_units=7_000))
    both = Found("ch_1", 10_000, failed_steps=frozenset({1, 2}), failed_minor_units=7_000)
    after = written(answers.learn_look_up(told(step), both))
    # Then the failure is another one, of both
    assert after.status.refund_failure == RefundFailure(
        number=2, minor_units=7_000, counted_minor_units=7_000, failed_minor_units=7_000
    )
    late = RefundResolution(failure=1, outcome=RefundOutcome.GIVEN_BACK)
    with pytest.raises(laws.RefusedError):
        laws.check(after, after.with_spec(refund_resolution=late))


def test_a_step_in_flight_does_not_hide_that_an_older_one_failed() -> None:
    # Given a step that was made, and another one whose answer was lost
    s, step = refunding(refund=4_000)
    s = next_of(s, written(answers.learn_refund(s, step, Refunded())))
    s = replace(s, payment=s.payment.with_spec(refund_minor_units=10_000))
    s = next_of(s, written(rules.decide(s)))
    second = s.payment.status.refund_step
    assert second is not None
    s = next_of(s, written(answers.learn_refund(s, second, OutcomeUnknown("lost"))))
    # When the provider tells, and the first one failed while the second was made
    assert rules.decide(told(s)) == LookUp()
    found = Found("ch_1", 10_000, frozenset({2}), failed_steps=frozenset({1}))
    step_ = answers.learn_look_up(told(s), replace(found, failed_minor_units=4_000))
    # Then both are noted at once
    after = written(step_)
    assert after.status.refunded_minor_units == 10_000
    assert after.status.refund_step is None
    assert after.status.refund_failure == RefundFailure(
        number=1, minor_units=4_000, counted_minor_units=4_000, failed_minor_units=4_000
    )
    assert said(after, "Stalled") == ("True", "RefundFailed")
    assert isinstance(step_, Decision)
    assert step_.write is not None
    assert step_.write.event is not None


class Refunding:
    """A captured payment of 9, and a provider whose refunds fail after they were made."""

    def __init__(self, faults: list[Fault]) -> None:
        payment = a_payment(amount=9)
        self.provider = Provider()
        charge = Charge("c", payment.spec.amount, GOOD[0], None, payment.uid, "rental")
        answer = self.provider.charge(charge, NOW)
        self.s = situation(payment)
        self.s = next_of(self.s, written(answers.learn_charge(self.s, answer)))
        [self.taken] = self.provider.taken
        self.faults = iter(faults)

    def asks_for(self, minor_units: int) -> None:
        wanted = max(self.s.payment.spec.refund_minor_units, minor_units)
        self.s = replace(self.s, payment=self.s.payment.with_spec(refund_minor_units=wanted))

    def ends_failure(self, outcome: RefundOutcome) -> None:
        """Have a person end the failure that there is, if there is one."""
        failure = self.s.payment.status.refund_failure
        if self.s.payment.refund_failed and failure is not None:
            self.taken.by_hand += failure.minor_units if outcome is RefundOutcome.GIVEN_BACK else 0
            self.s = resolved(self.s, outcome)

    def goes_on(self, *, told: bool = False) -> None:
        """Take the payment as far as it goes, by requests that go wrong for a while."""
        self.s = replace(self.s, told=told)
        for _ in range(100):
            step = self._answered(rules.decide(self.s))
            self.s = replace(self.s, told=False)
            if step.write is not None:
                self.s = next_of(self.s, written(step))
            elif step.look_again is not None:
                self.s = replace(self.s, now=step.look_again)
            else:
                return
        raise AssertionError("never ends")

    def _answered(self, step: Step) -> Decision:
        if isinstance(step, LookUp):
            answer = self.provider.look_up(self.s.payment.uid, next(self.faults, Fault.NONE))
            step = answers.learn_look_up(self.s, answer)
        if isinstance(step, SendRefund):
            amount = Money(currency=Currency.KRW, minor_units=step.step.minor_units)
            ids = step.step.number, self.s.payment.uid, "rental"
            refund = Refund(step.key, step.gateway_payment_id, amount, *ids)
            back = self.provider.refund(refund, self.s.now, next(self.faults, Fault.NONE))
            step = answers.learn_refund(self.s, step.step, back)
        assert isinstance(step, Decision)
        return step


HAPPENINGS = ["more", "fails", "is told", "fails and is told", *RefundOutcome]


@given(
    st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.integers(1, 9)), max_size=12),
    st.lists(st.sampled_from([Fault.NONE, Fault.LOST_AFTER, Fault.NOT_SENT]), max_size=12),
)
def test_however_refunds_fail_each_unit_goes_back_once(
    happenings: list[tuple[str, int]], faults: list[Fault]
) -> None:
    # Given a payment of which more and more shall go back, while refunds fail that were made,
    # answers get lost, and people have them tried again or give the money back themselves
    one = Refunding(faults)
    for what, n in happenings:
        if what == "more":
            one.asks_for(n)
        elif what.startswith("fails"):
            one.provider.fail_refund(one.s.payment.uid, n)
        elif what in list(RefundOutcome):
            one.ends_failure(RefundOutcome(what))
        one.goes_on(told=what.endswith("told"))
        # Then the shop never gives back what it did not take
        assert one.taken.kept >= 0
    # When the faults are over, everything was told, and people see to the rest
    one.faults = iter(())
    for _ in range(3):
        one.goes_on(told=True)
        one.ends_failure(RefundOutcome.GIVEN_BACK)
        one.goes_on()
    # Then what was to go back did, once, and the payment says by whom
    payment = one.s.payment
    assert one.taken.kept == 9 - payment.spec.refund_minor_units
    assert (payment.status.refunded_minor_units or 0) == payment.spec.refund_minor_units
    assert (payment.status.given_back_minor_units or 0) == one.taken.by_hand


# --- Nothing to pay ---


def test_a_price_of_0_is_captured_and_settled_without_a_call() -> None:
    s = situation(a_payment(amount=0), terms=None)
    s = next_of(s, written(rules.decide(s)))
    assert s.payment.phase is PaymentPhase.CAPTURED
    assert written(rules.decide(s)).metadata.finalizers == ()


def test_a_price_of_0_does_not_wait_for_a_provider_when_it_is_deleted() -> None:
    s = situation(a_payment(amount=0, deleted=NOW), terms=None)
    s = next_of(s, written(rules.decide(s)))
    assert written(rules.decide(s)).metadata.finalizers == ()


# --- When the finalizer goes ---

voided = declined(refund=10_000).with_status(phase=PaymentPhase.VOIDED)
refunded = captured(refund=10_000).with_status(
    phase=PaymentPhase.REFUNDED, refunded_minor_units=10_000
)
part_back = captured(refund=3_000).with_status(
    phase=PaymentPhase.PARTIALLY_REFUNDED, refunded_minor_units=3_000
)


@pytest.mark.parametrize(
    ("payment", "rental", "goes"),
    [
        pytest.param(captured(), LIVE, False, id="captured, and the rental lives"),
        pytest.param(captured(), COMPLETED, True, id="earned"),
        pytest.param(captured(), CANCELLED, False, id="captured, and nobody asked it back yet"),
        pytest.param(part_back, COMPLETED, True, id="earned but for a part that went back"),
        pytest.param(captured(refund=3_000), COMPLETED, False, id="a part is to go back"),
        pytest.param(voided, CANCELLED, True, id="void"),
        pytest.param(voided, LIVE, False, id="void, and the rental does not know"),
        pytest.param(refunded, CANCELLED, True, id="refunded"),
        pytest.param(refunded, LIVE, False, id="refunded, and the rental does not know"),
        pytest.param(refunded, None, True, id="refunded, and the rental is gone"),
        pytest.param(refunded, HANDED_OVER, True, id="refunded, and the customer has the toy"),
        pytest.param(part_back, HANDED_OVER, False, id="a part went back, and it is not earned"),
        pytest.param(captured(), None, False, id="captured, and the rental is gone"),
        pytest.param(a_payment(), COMPLETED, False, id="never looked at"),
    ],
)
def test_a_payment_is_let_go_when_no_money_is_left_to_move(
    payment: Payment, rental: Rental | None, goes: bool
) -> None:
    step = rules.decide(situation(payment, rental=rental))
    write = step.write if isinstance(step, Decision) else None
    let_go = write is not None and SETTLE not in write.after.metadata.finalizers
    assert let_go == goes
    if let_go:
        # And that a rental is gone is read anew, not taken from a cache
        assert isinstance(step, Decision)
        assert bool(step.confirm) == (rental is None)


def test_a_refund_under_way_is_finished_first() -> None:
    step = RefundStep(number=1, minor_units=10_000, started_time=NOW)
    payment = a_payment(
        deleted=NOW,
        phase="Captured",
        captured_minor_units=10_000,
        gateway_payment_id="ch_1",
        refund_step=step,
        refund_steps=1,
    )
    call = rules.decide(situation(payment, rental=COMPLETED))
    assert call == SendRefund(f"{payment.uid}:refund:1", "ch_1", step)


def test_what_is_deleted_while_its_rental_lives_goes_back_in_full() -> None:
    payment = a_payment(deleted=NOW, phase="Captured", captured_minor_units=10_000)
    step = written(rules.decide(situation(payment))).status.refund_step
    assert step is not None
    assert step.minor_units == 10_000


def test_what_is_deleted_after_it_was_earned_is_kept() -> None:
    payment = a_payment(deleted=NOW, phase="Captured", captured_minor_units=10_000)
    assert written(rules.decide(situation(payment, rental=COMPLETED))).metadata.finalizers == ()


@pytest.mark.parametrize("deleted", [None, NOW])
def test_money_at_a_suspended_gateway_does_not_wait_in_silence(deleted: datetime | None) -> None:
    """Given a gateway that the shop has suspended, then what must go back says what to do."""
    held = Held(SUSPENDED, "the shop has suspended its payment gateway")
    unpaid = a_payment(refund=10_000, deleted=deleted)
    paid = unpaid.with_status(phase=PaymentPhase.CAPTURED, captured_minor_units=10_000)
    for payment in (unpaid, paid):
        s = replace(situation(payment, rental=CANCELLED), held=held)
        for _ in range(3):
            step = rules.decide(s)
            assert isinstance(step, Decision)
            s = s if step.write is None else next_of(s, written(step))
        assert said(s.payment, "Stalled") == ("True", "GatewayUnusable")
        ready = str(find(s.payment.status.conditions, "Ready"))
        assert "suspended" in ready
        assert (SETTLE in ready) is (deleted is not None)
        # And once that is undone, it goes on
        assert isinstance(rules.decide(replace(s, held=None)), LookUp | SendRefund)


def test_a_method_that_is_missing_does_not_hide_why_a_deleted_payment_stays() -> None:
    s = situation(a_payment())
    pending = written(answers.learn_charge(s, MethodMissing()))
    gone = a_payment(deleted=NOW).with_status(**dict(pending.status))
    s = tried(situation(gone, rental=None), PATIENCE)
    after = written(answers.learn_look_up(s, OutcomeUnknown("no answer")))
    assert said(after, "Stalled") == ("True", "Unresolved")


# --- Nothing to do, nothing written ---


@pytest.mark.parametrize(
    "learn",
    [
        lambda s: answers.learn_charge(s, Captured("ch_1")),
        lambda s: answers.learn_charge(s, Declined("c", "m")),
        lambda s: answers.learn_charge(s, OutcomeUnknown("m")),
        lambda s: answers.learn_charge(s, Refused("c", "m")),
        lambda s: answers.learn_charge(s, NotSent("m")),
        lambda s: answers.learn_charge(s, MethodMissing()),
    ],
    ids=["captured", "declined", "unknown", "refused", "not sent", "no method"],
)
def test_after_an_answer_is_noted_nothing_is_written_until_something_changes(
    learn: Callable[[Situation], Decision],
) -> None:
    s = situation(a_payment())
    after = written(learn(s))
    step = rules.decide(next_of(s, after))
    assert isinstance(step, Decision)
    assert step.idle
    assert step.look_again == after.status.next_attempt_time


# --- Nothing hangs in silence, and nothing unknown is taken for known ---


def tried(s: Situation, span: timedelta) -> Situation:
    """Return the same after it was tried for so long."""
    return replace(s, payment=s.payment.with_status(tries=5, trying_since=s.now - span))


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda t: type(t).__name__)
def test_a_refund_that_fails_for_long_calls_a_person_and_is_tried_on(
    trouble: ChargeAnswer,
) -> None:
    # Given a refund that fails again and again
    s = situation(captured(refund=10_000), rental=CANCELLED)
    s = next_of(s, written(rules.decide(s)))
    step = s.payment.status.refund_step
    assert step is not None
    for _ in range(2):
        after = written(answers.learn_refund(s, step, trouble))  # type: ignore[arg-type]
        s = next_of(s, after, later=PATIENCE / 2)
        assert find(s.payment.status.conditions, "Stalled") is None
    # When patience is over
    decision = answers.learn_refund(s, step, trouble)  # type: ignore[arg-type]
    after = written(decision)
    # Then it says so, once, and what to do
    assert said(after, "Stalled") == ("True", "Unresolved")
    assert said(after, "Refunded") == ("Unknown", "Unresolved")
    assert decision.write is not None
    assert decision.write.event is not None
    assert "by hand" in decision.write.event.note
    at = after.status.next_attempt_time
    assert at is not None
    again = answers.learn_refund(next_of(s, after), step, trouble)  # type: ignore[arg-type]
    assert again.write is not None
    assert again.write.event is None
    # And it goes on under the same key, and comes to rest once it works
    s = replace(next_of(s, after), now=at)
    assert rules.decide(s) == SendRefund(f"{after.uid}:refund:1", "ch_1", step)
    done = written(answers.learn_refund(s, step, Refunded()))
    assert find(done.status.conditions, "Stalled") is None


@pytest.mark.parametrize("phase", [PaymentPhase.PENDING, PaymentPhase.UNKNOWN])
@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda t: type(t).__name__)
def test_look_ups_that_fail_for_long_call_a_person(
    phase: PaymentPhase, trouble: ChargeAnswer
) -> None:
    # Given a payment that is called off, or whose outcome is not known, and no answer for long
    refund = 10_000 if phase is PaymentPhase.PENDING else 0
    s = tried(situation(a_payment(refund=refund).with_status(phase=phase)), PATIENCE)
    after = written(answers.learn_look_up(s, trouble))  # type: ignore[arg-type]
    assert after.phase is phase
    assert said(after, "Captured") == ("Unknown", "Unresolved")
    assert said(after, "Stalled") == ("True", "Unresolved")
    # Then it is asked on
    at = after.status.next_attempt_time
    assert at is not None
    assert rules.decide(replace(next_of(s, after), now=at)) == LookUp()


@pytest.mark.parametrize(
    "trouble", [NotSent("x"), Unauthorized("x"), TryLater("x")], ids=lambda t: type(t).__name__
)
def test_what_may_have_been_sent_is_never_put_off(trouble: ChargeAnswer) -> None:
    # Given an unknown outcome, of which the provider knows nothing yet
    s = situation(a_payment())
    s = next_of(s, written(answers.learn_charge(s, OutcomeUnknown("timed out"))))
    assert isinstance(answers.learn_look_up(s, Missing()), SendCharge)
    # When the same charge is not sent this time
    after = written(answers.learn_charge(s, trouble))
    # Then it stays unknown, and the provider is asked first again
    assert after.phase is PaymentPhase.UNKNOWN
    at = after.status.next_attempt_time
    assert at is not None
    assert rules.decide(replace(next_of(s, after), now=at)) == LookUp()


def test_an_unknown_outcome_without_its_gateway_says_so() -> None:
    s = situation(a_payment())
    s = next_of(s, written(answers.learn_charge(s, OutcomeUnknown("timed out"))))
    after = written(rules.decide(replace(s, terms=None)))
    assert after.phase is PaymentPhase.UNKNOWN
    assert said(after, "Stalled") == ("True", "GatewayUnusable")
    assert rules.decide(next_of(s, after)) == LookUp()


def test_a_key_that_was_used_otherwise_is_looked_up_before_a_person_is_asked() -> None:
    # Given a charge refused because its key was sent before, with another method
    s = situation(a_payment())
    s = next_of(s, written(answers.learn_charge(s, Refused("idempotency_error", "other method"))))
    assert s.payment.phase is PaymentPhase.UNKNOWN
    at = s.payment.status.next_attempt_time
    assert at is not None
    s = replace(s, now=at)
    assert rules.decide(s) == LookUp()
    # Then what was taken under that key is the payment
    assert written(answers.learn_look_up(s, Found("ch_1", 10_000))).captured
    # And what was not goes to a person, and is not sent again
    after = written(answers.learn_look_up(s, Missing()))
    assert after.phase is PaymentPhase.MANUAL_REVIEW
    assert after.status.failure == Failure(code="idempotency_error", message="other method")


@pytest.mark.parametrize("answer", [Found("ch_1", 9_999), Refused("answer_mismatch", "currency")])
def test_a_look_up_that_finds_another_amount_is_never_captured(answer: Found | Refused) -> None:
    s = situation(a_payment())
    s = next_of(s, written(answers.learn_charge(s, OutcomeUnknown("timed out"))))
    after = written(answers.learn_look_up(s, answer))
    assert after.phase is PaymentPhase.MANUAL_REVIEW
    assert after.status.captured_minor_units is None


def test_a_method_changed_while_its_charge_is_in_flight_is_never_charged_beside_it() -> None:
    # Given a first charge whose answer could not be noted, for the method was changed meanwhile
    first = a_payment(by="good")
    sent = rules.decide(situation(first))
    s = situation(first.with_spec(method=Method(token="better")))
    # Then the same key is sent, and the provider refuses it with other parameters
    assert rules.decide(s) == sent
    s = next_of(s, written(answers.learn_charge(s, Refused(KEY_REUSED, "used before"))))
    at = s.payment.status.next_attempt_time
    assert at is not None
    # And what the first one did is looked up, and counts
    s = replace(s, now=at)
    assert rules.decide(s) == LookUp()
    assert written(answers.learn_look_up(s, Found("ch_1", 10_000))).captured


def test_a_refund_after_a_review_that_ended_as_charged() -> None:
    # Given a review of a payment that shall go back, ended by a person
    s = situation(in_review().with_spec(refund_minor_units=10_000), rental=CANCELLED)
    resolution = Resolution(outcome=Outcome.CAPTURED, gateway_payment_id="ch_5")
    s = replace(s, payment=s.payment.with_spec(resolution=resolution))
    s = next_of(s, written(rules.decide(s)))
    assert s.payment.captured
    # Then the money goes back, under the id that the person gave
    s = next_of(s, written(rules.decide(s)))
    step = s.payment.status.refund_step
    assert step is not None
    assert rules.decide(s) == SendRefund(f"{s.payment.uid}:refund:1", "ch_5", step)
    assert written(answers.learn_refund(s, step, Refunded())).phase is PaymentPhase.REFUNDED


def test_a_refund_asked_for_while_a_charge_is_unknown_follows_as_soon_as_it_is_known() -> None:
    # Given a charge whose answer was lost, of an order that is cancelled then
    s = situation(a_payment())
    s = next_of(s, written(answers.learn_charge(s, OutcomeUnknown("timed out"))))
    at = s.payment.status.next_attempt_time
    assert at is not None
    s = replace(s, payment=s.payment.with_spec(refund_minor_units=10_000), rental=CANCELLED, now=at)
    # Then the provider is asked, and never charged again
    assert rules.decide(s) == LookUp()
    assert isinstance(answers.learn_look_up(s, Missing()), Decision)
    # And what it took goes back
    s = next_of(s, written(answers.learn_look_up(s, Found("ch_1", 10_000))))
    s = next_of(s, written(rules.decide(s)))
    assert isinstance(rules.decide(s), SendRefund)


def test_an_operator_down_for_25_hours_right_after_a_charge_was_committed() -> None:
    # Given a charge that was committed, and an operator that died before it could write that down
    payment = a_payment()
    s = situation(payment)
    assert isinstance(rules.decide(s), SendCharge)
    # When it comes back past the life of every key
    s = replace(s, now=NOW + hours(25))
    # Then nothing is sent before the provider was asked, and what it took is the payment
    assert rules.decide(s) == LookUp()
    assert written(answers.learn_look_up(s, Found("ch_1", 10_000))).captured
