"""The rules of payments: a charge is sent until its outcome is known, and never as another one.

`decide` says what to do: write something down, or call the provider. All rules are pure. What keeps
money safe is what they never do: mint a new idempotency key because an outcome is unknown, or begin
a step before the one before it has ended.
"""

from collections.abc import Callable
from datetime import timedelta

from toyrental.payments import record
from toyrental.payments.line import AWAITS_TURN, Held
from toyrental.payments.models import (
    SETTLE,
    Failure,
    Outcome,
    PaymentPhase,
    Reason,
    RefundOutcome,
    RefundStep,
)
from toyrental.payments.providers.port import NotSent
from toyrental.payments.situation import LookUp, SendCharge, SendRefund, Situation, Step
from toyrental.rentals.models import RentalPhase
from toyrental.shared.conditions import true, unknown
from toyrental.shared.decisions import NOTHING, Decision, Write
from toyrental.shared.resource import Key

IN_FLIGHT_MARGIN = timedelta(minutes=1)
"""By how much longer than its timeout a request may take to arrive."""


def decide(s: Situation) -> Step:
    """Return the next step for a payment: a decision, or a call of its provider."""
    for rule in _RULES:
        step = rule(s)
        if step is not None:
            return step
    return NOTHING


# --- The end ---


def settle(s: Situation) -> Step | None:
    """Let the Payment go once no money is left to move."""
    if SETTLE not in s.payment.metadata.finalizers or not _money_settled(s):
        return None
    finalizers = tuple(f for f in s.payment.metadata.finalizers if f != SETTLE)
    rental = Key("Rental", s.payment.namespace, s.payment.spec.rental_ref.name)
    confirm = (rental,) if s.rental is None else ()
    return Decision(Write(s.payment, s.payment.with_finalizers(finalizers)), confirm=confirm)


def _money_settled(s: Situation) -> bool:
    """Tell whether no money is left to move, and none ever will be.

    A payment that went back stays while its rental may still ask for one: were it gone, the rental
    would ask for another.
    """
    payment = s.payment
    if payment.captured and payment.spec.amount.minor_units == 0:
        return True
    if payment.status.refund_step is not None or payment.refund_failed:
        return False
    if payment.phase in {PaymentPhase.VOIDED, PaymentPhase.REFUNDED}:
        return s.rental_ended or s.handed_over
    earned = s.rental is not None and s.rental.phase is RentalPhase.COMPLETED
    return earned and payment.captured and not payment.refund_outstanding


def resolve_review(s: Situation) -> Step | None:
    """End a ManualReview as a person said."""
    resolution = s.payment.spec.resolution
    if s.payment.phase is not PaymentPhase.MANUAL_REVIEW or resolution is None:
        return None
    if resolution.outcome is Outcome.CAPTURED and resolution.gateway_payment_id is not None:
        return Decision(record.captured(s, resolution.gateway_payment_id))
    failure = Failure(code="NotCharged", message="The shop found that it was not charged")
    return Decision(record.declined(s, failure))


# --- Giving back ---


def resolve_refund(s: Situation) -> Step | None:
    """End a refund that failed as a person said: try it once more, or take it for given back."""
    failure, resolution = s.payment.status.refund_failure, s.payment.spec.refund_resolution
    if not s.payment.refund_failed or failure is None or resolution is None:
        return None
    if resolution.failure != failure.number:
        return None
    if resolution.outcome is RefundOutcome.GIVEN_BACK:
        return Decision(record.given_back(s, failure, resolution.resolved_by or "a person"))
    again = "The refund that failed is tried once more."
    counted = failure.counted_minor_units
    return Decision(
        record.refund_begun(s, failure.minor_units, again, counted=counted, failure=None)
    )


def check_refund(s: Situation) -> Step | None:
    """Look at what was given back once more, when the provider tells of it: refunds can fail later.

    Once one has failed it waits for a person: another step by itself would be no safer.
    """
    if not s.payment.captured or s.payment.status.refund_step is not None:
        return None
    if s.told and s.asks and s.terms is not None and (s.refunded > 0 or s.payment.refund_failed):
        return LookUp()
    failure, why = s.payment.status.refund_failure, s.payment.status.failure
    if not s.payment.refund_failed or failure is None or why is None:
        return None
    return Decision(record.refund_failed(s, failure, why.message))


def begin_refund(s: Situation) -> Step | None:
    """Put the next step of a refund on record, before it is sent."""
    if not s.payment.captured or s.payment.status.refund_step is not None:
        return None
    captured = s.payment.status.captured_minor_units or 0
    outstanding = min(s.wanted_back, captured) - s.refunded
    if outstanding <= 0:
        return None
    return Decision(record.refund_begun(s, outstanding, "The refund is under way."))


def refund(s: Situation) -> Step | None:
    """Send the step of refund under way, under its own key."""
    step = s.payment.status.refund_step
    if not s.payment.captured or step is None:
        return None
    if (obstacle := _obstacle(s)) is not None:
        why = f"The refund waits: {obstacle}. {record.by_hand(s)}"
        found = {"Refunded": unknown(Reason.GATEWAY_UNUSABLE, why)}
        return Decision(record.note(s, s.payment.phase, found, next_attempt_time=None))
    if not s.asks:
        return wait(s)
    accepted = step.accepted_time is not None
    if s.told or accepted or not s.within_key_life(step.started_time):
        return LookUp()
    return refund_call(s, step)


def refund_call(s: Situation, step: RefundStep) -> SendRefund:
    """Return the call of a step of refund, under its key."""
    key = f"{s.payment.uid}:refund:{step.number}"
    return SendRefund(key, s.payment.status.gateway_payment_id or "", step)


def _obstacle(s: Situation) -> str | None:
    """Say why the provider cannot be asked at all, if it cannot: that lasts until a person acts."""
    if s.terms is None:
        return s.obstacle
    return s.held.message if s.suspended and s.held is not None else None


def void(s: Situation) -> Step | None:
    """Make sure that an unwanted payment is never charged.

    After a definite decline nothing is under way. In any other case the provider is asked, twice,
    so far apart that a charge on its way would have arrived. Should the provider tell of a charge
    even after that, it is asked once more.
    """
    if not s.unwanted or s.payment.captured or s.payment.phase is PaymentPhase.MANUAL_REVIEW:
        return None
    if s.payment.phase is PaymentPhase.VOIDED:
        return LookUp() if s.told and s.asks and s.terms is not None else NOTHING
    if s.payment.phase is PaymentPhase.DECLINED:
        return Decision(record.voided(s))
    if (obstacle := _obstacle(s)) is not None:
        why = f"The payment cannot be called off yet: {obstacle}. {record.by_hand(s)}"
        found = record.unless_customers(s, unknown(Reason.GATEWAY_UNUSABLE, why))
        return Decision(record.note(s, s.payment.phase, found, next_attempt_time=None))
    return LookUp() if s.asks else wait(s)


# --- Charging ---


def nothing_to_pay(s: Situation) -> Step | None:
    """A price of 0 is paid without a call."""
    if s.payment.spec.amount.minor_units > 0 or s.payment.captured:
        return None
    found = {"Captured": true(Reason.NOTHING_TO_PAY, "The price is 0; there is nothing to pay.")}
    return Decision(record.note(s, PaymentPhase.CAPTURED, found, captured_minor_units=0))


def next_attempt(s: Situation) -> Step | None:
    """Put a new attempt on record when a declined method was replaced; only then.

    After a review there is none: its resolution is final, and would end the next review too.
    """
    if s.payment.phase is not PaymentPhase.DECLINED:
        return None
    if s.payment.spec.resolution is not None:
        return NOTHING
    if s.payment.spec.method == s.payment.status.attempt_method:
        return NOTHING
    return Decision(record.attempt_begun(s))


def find_out(s: Situation) -> Step | None:
    """Ask what became of a charge whose answer was lost."""
    if s.payment.phase is not PaymentPhase.UNKNOWN:
        return None
    if s.terms is None:
        why = f"It is not known whether the payment was taken: {s.obstacle}."
        found = {"Captured": unknown(Reason.GATEWAY_UNUSABLE, why)}
        return Decision(record.note(s, s.payment.phase, found, next_attempt_time=None))
    return LookUp() if s.asks else wait(s)


def charge(s: Situation) -> Step | None:
    """Send the charge, under the key of its attempt.

    Past the life of that key the provider is asked first whether it was charged long ago.
    """
    if s.payment.captured or s.payment.phase is PaymentPhase.MANUAL_REVIEW:
        return None
    if s.terms is None:
        return Decision(record.deferred(s, Reason.GATEWAY_UNUSABLE, s.obstacle))
    if s.told and s.asks:
        return LookUp()
    if (wait := pause(s)) is not None:
        return wait
    return charge_call(s) if s.within_key_life(s.attempt_recorded) else LookUp()


def pause(s: Situation) -> Decision | None:
    """Say until when a payment is not to be charged, if it is not yet its time."""
    if s.held is not None:
        return _hold(s, s.held)
    return wait(s) if not s.payment.in_line and not s.due else None


def _hold(s: Situation, held: Held) -> Decision:
    """Put a payment off until its turn: that is written once, however often it is looked at."""
    failure = s.payment.status.failure
    if s.payment.in_line and failure is not None and held.reason in {failure.code, AWAITS_TURN}:
        return Decision(look_again=held.look_again)
    return Decision(record.put_off(s, NotSent(held.message, held.reason, held.retry_time)))


def charge_call(s: Situation) -> SendCharge:
    """Send the charge, of a payment that was not called off long ago: that takes a minute at least.

    A cache may lag by more, unless the payment is younger than that.
    """
    young = s.now < s.payment.created + IN_FLIGHT_MARGIN / 2
    key = f"{s.payment.uid}:charge:{s.payment.status.attempt}"
    return SendCharge(key, confirm=() if young else (s.payment.key,))


def wait(s: Situation) -> Decision:
    """Wait until the pause since the last try is over, or its circuit lets the payment through."""
    if s.leave.held is not None and not s.suspended:
        return keep_back(s, s.leave.held)
    at = s.payment.status.next_attempt_time
    return Decision(look_again=at if at is not None and at > s.now else None)


def keep_back(s: Situation, held: Held) -> Decision:
    """Wait for a circuit: a turn comes, and nothing is written, unless that takes very long."""
    if held.look_again is not None:
        return Decision(look_again=held.look_again)
    at = s.payment.status.next_attempt_time
    if at is None or (s.unwanted and s.payment.in_line):
        found = record.inquiring(s, f"It waits: {held.message}.")
        return Decision(
            record.note(s, s.payment.phase, found, failure=None, next_attempt_time=s.now)
        )
    too_long = at + s.patience
    if s.now < too_long:
        return Decision(look_again=too_long)
    return Decision(record.note(s, s.payment.phase, record.still_unresolved(s, held.message)))


Rule = Callable[[Situation], Step | None]

_RULES: tuple[Rule, ...] = (
    settle,
    resolve_review,
    resolve_refund,
    check_refund,
    begin_refund,
    refund,
    nothing_to_pay,
    void,
    next_attempt,
    find_out,
    charge,
)
