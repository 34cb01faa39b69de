"""The rules of payments: a charge is sent until its outcome is known, and never as another one.

`decide` says what to do: write something down, or call the provider. `learn` says what an answer
means. Both are pure. What keeps money safe is what they never do: mint a new idempotency key
because an outcome is unknown, or begin a step before the one before it has ended.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from toyrental.payments.line import AWAITS_TURN, FREE, Held, Leave
from toyrental.payments.models import (
    LINE,
    SETTLE,
    STUCK,
    SUSPENDED,
    Failure,
    Outcome,
    Payment,
    PaymentPhase,
    Reason,
    RefundFailure,
    RefundOutcome,
    RefundStep,
)
from toyrental.payments.providers.port import (
    ANSWER_MISMATCH,
    KEY_REUSED,
    Capabilities,
    Captured,
    ChargeAnswer,
    Declined,
    Found,
    LookUpAnswer,
    Missing,
    NotSent,
    OutcomeUnknown,
    RefundAnswer,
    Refunded,
    RefundFailed,
    RefundPending,
    Refused,
    Trouble,
    TryLater,
    Unauthorized,
)
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.shared import conditions
from toyrental.shared.conditions import Finding, false, true, unknown
from toyrental.shared.decisions import NOTHING, Decision, Event, Write
from toyrental.shared.money import Money
from toyrental.shared.resource import Key

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=1)
PENDING_PAUSES = timedelta(seconds=30), timedelta(hours=1)
METHOD_PAUSE = timedelta(seconds=15)
IN_FLIGHT_MARGIN = timedelta(minutes=1)

PATIENCE = timedelta(minutes=15)
"""For how long something is asked for in vain until a person is called, unless a gateway says else.

An outage of some minutes ends by itself, and most do.
"""


_HANDED_OVER = frozenset({RentalPhase.RENTED, RentalPhase.RETURNED})


@dataclass(frozen=True)
class MethodMissing:
    """The Secret with the payment method cannot be read: nothing was sent."""


@dataclass(frozen=True)
class SendCharge:
    """Charge the current attempt.

    `confirm` names what must be read from the API server first, and decided anew where it differs:
    a payment that was called off meanwhile is not to be charged after its look-ups are done.
    """

    key: str
    confirm: tuple[Key, ...] = ()


@dataclass(frozen=True)
class LookUp:
    """Ask the provider what became of the payment."""


@dataclass(frozen=True)
class SendRefund:
    """Give back the step under way."""

    key: str
    gateway_payment_id: str
    step: RefundStep


Call = SendCharge | LookUp | SendRefund
"""What the provider is asked."""


@dataclass(frozen=True)
class Terms:
    """What holds for the payment's gateway."""

    timeout: timedelta
    """How long a request may take."""

    capabilities: Capabilities
    patience: timedelta = PATIENCE
    """For how long the provider is asked in vain until a person is called. It is tried on after."""


@dataclass(frozen=True)
class Situation:
    """A payment and all that bears on it, as it was observed at one moment.

    `terms` is None where the gateway cannot be called; `obstacle` says why.
    """

    payment: Payment
    rental: Rental | None
    terms: Terms | None
    obstacle: str
    now: datetime
    held: Held | None = None
    """Why the gateway does not let it be charged now, if it does not."""

    leave: Leave = FREE
    """Whether the gateway lets it be looked up or given back now, if it is to be."""

    told: bool = False
    """Whether the provider says that something happened: a hint to look up at once, no more."""

    @property
    def suspended(self) -> bool:
        """Whether the shop has the gateway suspended: nothing is asked of the provider."""
        return self.held is not None and self.held.reason == SUSPENDED

    @property
    def wanted_back(self) -> int:
        """How much shall go back in all, in minor units: everything of a live one deleted."""
        if self.payment.deleting and SETTLE in self.payment.metadata.finalizers:
            return self.payment.spec.amount.minor_units
        return self.payment.spec.refund_minor_units

    @property
    def unwanted(self) -> bool:
        """Whether the payment shall not be, or not stay, charged at all."""
        deleted = self.payment.deleting and SETTLE in self.payment.metadata.finalizers
        return self.payment.withheld or deleted

    @property
    def refunded(self) -> int:
        """How much went back so far, in minor units."""
        return self.payment.status.refunded_minor_units or 0

    @property
    def rental_ended(self) -> bool:
        """Whether the rental is over, or gone."""
        return self.rental is None or self.rental.deleting or self.rental.settled

    @property
    def handed_over(self) -> bool:
        """Whether the customer got the toy: the rental asks for no other payment from then on."""
        return self.rental is not None and self.rental.phase in _HANDED_OVER

    @property
    def patience(self) -> timedelta:
        """For how long something may be asked for in vain."""
        return self.terms.patience if self.terms is not None else PATIENCE

    @property
    def due(self) -> bool:
        """Whether the pause since the last try is over, or it was given a turn before that."""
        return self.leave.turn or _is_over(self.payment.status.next_attempt_time, self.now)

    @property
    def asks(self) -> bool:
        """Whether the provider is to be asked now."""
        return (self.due or self.told) and not self.suspended and self.leave.held is None

    @property
    def only_told(self) -> bool:
        """Whether it is asked for no other reason than that it told of something.

        Then nothing is sent, and nothing written, but what became of the payment.
        """
        idle = self.payment.captured and self.payment.status.refund_step is None
        ended = idle or self.payment.phase is PaymentPhase.VOIDED
        return self.told and (ended or not self.due)

    @property
    def attempt_recorded(self) -> datetime:
        """When the current attempt was put on record: the Payment itself records the first."""
        return self.payment.status.attempt_time or self.payment.created

    def within_key_life(self, recorded: datetime) -> bool:
        """Tell whether the provider surely still knows a key that was recorded then."""
        return self.terms is not None and self.now < recorded + self.terms.capabilities.key_life


def waits_to_inquire(payment: Payment, now: datetime) -> bool:
    """Tell whether a payment would be looked up or given back now, but for failures before.

    Pauses that are no failure's, such as that between two look-ups of a void, are kept.
    """
    status = payment.status
    return payment.inquires and (status.tries > 0 or _is_over(status.next_attempt_time, now))


def _is_over(pause_until: datetime | None, now: datetime) -> bool:
    return pause_until is None or now >= pause_until


Step = Decision | Call
Rule = Callable[[Situation], Step | None]


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
        return Decision(_captured(s, resolution.gateway_payment_id))
    failure = Failure(code="NotCharged", message="The shop found that it was not charged")
    return Decision(_declined(s, failure))


# --- Giving back ---


def resolve_refund(s: Situation) -> Step | None:
    """End a refund that failed as a person said: try it once more, or take it for given back."""
    failure, resolution = s.payment.status.refund_failure, s.payment.spec.refund_resolution
    if not s.payment.refund_failed or failure is None or resolution is None:
        return None
    if resolution.failure != failure.number:
        return None
    if resolution.outcome is RefundOutcome.GIVEN_BACK:
        return Decision(_given_back(s, failure, resolution.resolved_by or "a person"))
    again = "The refund that failed is tried once more."
    counted = failure.counted_minor_units
    return Decision(_begun(s, failure.minor_units, again, counted=counted, failure=None))


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
    return Decision(_refund_failed(s, failure, why.message))


def begin_refund(s: Situation) -> Step | None:
    """Put the next step of a refund on record, before it is sent."""
    if not s.payment.captured or s.payment.status.refund_step is not None:
        return None
    captured = s.payment.status.captured_minor_units or 0
    outstanding = min(s.wanted_back, captured) - s.refunded
    if outstanding <= 0:
        return None
    return Decision(_begun(s, outstanding, "The refund is under way."))


def refund(s: Situation) -> Step | None:
    """Send the step of refund under way, under its own key."""
    step = s.payment.status.refund_step
    if not s.payment.captured or step is None:
        return None
    if (obstacle := _obstacle(s)) is not None:
        why = f"The refund waits: {obstacle}. {_by_hand(s)}"
        found = {"Refunded": unknown(Reason.GATEWAY_UNUSABLE, why)}
        return Decision(_note(s, s.payment.phase, found, next_attempt_time=None))
    if not s.asks:
        return _wait(s)
    accepted = step.accepted_time is not None
    if s.told or accepted or not s.within_key_life(step.started_time):
        return LookUp()
    return _refund_call(s, step)


def _refund_call(s: Situation, step: RefundStep) -> SendRefund:
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
    if not s.unwanted or s.payment.captured or s.payment.phase in _REVIEWED_BY_A_PERSON:
        return None
    if s.payment.phase is PaymentPhase.VOIDED:
        return LookUp() if s.told and s.asks and s.terms is not None else NOTHING
    if s.payment.phase is PaymentPhase.DECLINED:
        return Decision(_voided(s))
    if (obstacle := _obstacle(s)) is not None:
        why = f"The payment cannot be called off yet: {obstacle}. {_by_hand(s)}"
        found = _unless_customers(s, unknown(Reason.GATEWAY_UNUSABLE, why))
        return Decision(_note(s, s.payment.phase, found, next_attempt_time=None))
    return LookUp() if s.asks else _wait(s)


_REVIEWED_BY_A_PERSON = frozenset({PaymentPhase.MANUAL_REVIEW})


# --- Charging ---


def nothing_to_pay(s: Situation) -> Step | None:
    """A price of 0 is paid without a call."""
    if s.payment.spec.amount.minor_units > 0 or s.payment.captured:
        return None
    found = {"Captured": true(Reason.NOTHING_TO_PAY, "The price is 0; there is nothing to pay.")}
    return Decision(_note(s, PaymentPhase.CAPTURED, found, captured_minor_units=0))


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
    found = {"Captured": unknown(Reason.PROCESSING, "The payment is being taken.")}
    return Decision(
        _note(
            s,
            PaymentPhase.PROCESSING,
            found,
            attempt=s.payment.status.attempt + 1,
            attempt_time=s.now,
            attempt_method=s.payment.spec.method,
            **_ANSWERED,
        )
    )


def find_out(s: Situation) -> Step | None:
    """Ask what became of a charge whose answer was lost."""
    if s.payment.phase is not PaymentPhase.UNKNOWN:
        return None
    if s.terms is None:
        why = f"It is not known whether the payment was taken: {s.obstacle}."
        found = {"Captured": unknown(Reason.GATEWAY_UNUSABLE, why)}
        return Decision(_note(s, s.payment.phase, found, next_attempt_time=None))
    return LookUp() if s.asks else _wait(s)


def charge(s: Situation) -> Step | None:
    """Send the charge, under the key of its attempt.

    Past the life of that key the provider is asked first whether it was charged long ago.
    """
    if s.payment.captured or s.payment.phase in _REVIEWED_BY_A_PERSON:
        return None
    if s.terms is None:
        return Decision(_deferred(s, Reason.GATEWAY_UNUSABLE, s.obstacle))
    if s.told and s.asks:
        return LookUp()
    if (wait := _pause(s)) is not None:
        return wait
    return _charge_call(s) if s.within_key_life(s.attempt_recorded) else LookUp()


def _pause(s: Situation) -> Decision | None:
    """Say until when a payment is not to be charged, if it is not yet its time."""
    if s.held is not None:
        return _hold(s, s.held)
    return _wait(s) if not s.payment.in_line and not s.due else None


def _hold(s: Situation, held: Held) -> Decision:
    """Put a payment off until its turn: that is written once, however often it is looked at."""
    failure = s.payment.status.failure
    if s.payment.in_line and failure is not None and held.reason in {failure.code, AWAITS_TURN}:
        return Decision(look_again=held.look_again)
    return Decision(_put_off(s, NotSent(held.message, held.reason, held.retry_time)))


def _charge_call(s: Situation) -> SendCharge:
    """Send the charge, of a payment that was not called off long ago: that takes a minute at least.

    A cache may lag by more, unless the payment is younger than that.
    """
    young = s.now < s.payment.created + IN_FLIGHT_MARGIN / 2
    key = f"{s.payment.uid}:charge:{s.payment.status.attempt}"
    return SendCharge(key, confirm=() if young else (s.payment.key,))


def _wait(s: Situation) -> Decision:
    if s.leave.held is not None and not s.suspended:
        return _keep_back(s, s.leave.held)
    at = s.payment.status.next_attempt_time
    return Decision(look_again=at if at is not None and at > s.now else None)


def _keep_back(s: Situation, held: Held) -> Decision:
    """Wait for a circuit: a turn comes, and nothing is written, unless that takes very long."""
    if held.look_again is not None:
        return Decision(look_again=held.look_again)
    at = s.payment.status.next_attempt_time
    if at is None or (s.unwanted and s.payment.in_line):
        found = _inquiring(s, f"It waits: {held.message}.")
        return Decision(_note(s, s.payment.phase, found, failure=None, next_attempt_time=s.now))
    too_long = at + s.patience
    if s.now < too_long:
        return Decision(look_again=too_long)
    return Decision(_note(s, s.payment.phase, _still_unresolved(s, held.message)))


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


# --- What an answer means ---


def learn_charge(s: Situation, answer: ChargeAnswer | MethodMissing) -> Decision:
    """Return what the answer to a charge means."""
    match answer:
        case Captured(gateway_payment_id):
            return Decision(_captured(s, gateway_payment_id))
        case Declined(code, message):
            return Decision(_declined(s, Failure(code=code, message=message)))
        case MethodMissing():
            return Decision(_method_missing(s))
        case OutcomeUnknown(message):
            return Decision(_not_known(s, message))
        case Refused(code, message) if code == KEY_REUSED:
            failure = Failure(code=code, message=message)
            return Decision(_not_known(s, message, failure=failure))
        case Refused(code, message):
            return Decision(_review(s, code, message))
        case NotSent() | Unauthorized() | TryLater():
            return _learn_not_charged(s, answer)


def _learn_not_charged(s: Situation, answer: NotSent | Unauthorized | TryLater) -> Decision:
    """Return what it means that this request did nothing.

    Where an earlier one may have done something, that may yet arrive.
    """
    unknown_yet = s.payment.phase is PaymentPhase.UNKNOWN
    recorded = unknown_yet or s.payment.in_line
    if isinstance(answer, NotSent) and answer.reason in LINE and recorded:
        return Decision(look_again=answer.retry_time)
    if unknown_yet:
        return Decision(_not_known(s, answer.message, _pause_of(s, answer)))
    return Decision(_put_off(s, answer))


def learn_look_up(s: Situation, answer: LookUpAnswer) -> Step:
    """Return what the answer to a look-up means: a decision, or what may be sent now."""
    match answer:
        case Found():
            return _learn_found(s, answer)
        case Missing():
            return _learn_missing(s)
        case NotSent(reason=reason) if reason in LINE:
            return Decision(look_again=answer.retry_time)
        case Refused(code, message) if code == ANSWER_MISMATCH and not s.payment.captured:
            return Decision(_review(s, code, message))
        case _ if s.only_told:
            return _wait(s)
        case _:
            return Decision(_look_up_trouble(s, answer))


def _learn_found(s: Situation, found: Found) -> Step:
    step = s.payment.status.refund_step
    if not s.payment.captured and found.captured != s.payment.spec.amount.minor_units:
        why = "the provider took another amount than was asked for"
        return Decision(_review(s, ANSWER_MISMATCH, why))
    if not s.payment.captured:
        return Decision(_captured(s, found.gateway_payment_id))
    if step is None or step.number in found.failed_steps:
        return _learn_failed(s, found.failed_minor_units, _NOT_CARRIED_OUT)
    if step.number in found.refund_steps:
        return _learn_done(s, step, found)
    if step.number in found.pending_steps or step.accepted_time is not None:
        return learn_refund(s, step, RefundPending())
    return _wait(s) if s.only_told else _refund_call(s, step)


def _learn_missing(s: Situation) -> Step:
    if s.only_told:
        return _wait(s)
    if s.payment.captured:
        return Decision(_refund_trouble(s, "the provider does not know the payment"))
    if s.unwanted:
        return Decision(_missing_once_or_twice(s))
    failure = s.payment.status.failure
    if s.payment.phase is PaymentPhase.UNKNOWN and failure and failure.code == KEY_REUSED:
        return Decision(_review(s, failure.code, failure.message))
    if s.payment.phase is PaymentPhase.UNKNOWN and not s.within_key_life(s.attempt_recorded):
        return Decision(
            _review(s, "OutcomeUnknown", "the provider never answered, and its keys have expired")
        )
    if s.payment.phase is PaymentPhase.UNKNOWN and s.held is not None:
        return _keep_back(s, s.held)
    if s.payment.phase is not PaymentPhase.UNKNOWN and (wait := _pause(s)) is not None:
        return wait
    return _charge_call(s)


def _missing_once_or_twice(s: Situation) -> Write | None:
    timeout = s.terms.timeout if s.terms is not None else timedelta()
    apart = timeout + IN_FLIGHT_MARGIN
    first = s.payment.status.missing_since
    if first is not None and s.now > first + apart:
        return _voided(s)
    first = first or s.now
    again = first + apart + timedelta(seconds=1)
    found = _unless_customers(s, unknown(Reason.VOIDING, "The payment is being called off."))
    return _note(s, s.payment.phase, found, missing_since=first, next_attempt_time=again)


def learn_refund(s: Situation, step: RefundStep, answer: RefundAnswer) -> Decision:
    """Return what the answer to a step of refund means."""
    match answer:
        case RefundFailed(message):
            return _learn_failed(s, _failed_so_far(s) + step.minor_units, message)
        case Refunded():
            return Decision(_refunded(s, step))
        case RefundPending():
            return _refund_pending(s, step)
        case Refused(_, message):
            return Decision(_refund_trouble(s, message))
        case NotSent(reason=reason) if reason in LINE:
            return Decision(look_again=answer.retry_time)
        case _:
            return Decision(_refund_trouble(s, answer.message, _pause_of(s, answer)))


def _learn_done(s: Situation, step: RefundStep, found: Found) -> Decision:
    """Note that a step was carried out, and in the same write if an older one failed meanwhile."""
    done = _refunded(s, step)
    if done is None or found.failed_minor_units <= _failed_so_far(s):
        return Decision(done)
    after = replace(s, payment=s.payment.with_status(**dict(done.after.status)))
    failed = _learn_failed(after, found.failed_minor_units, _NOT_CARRIED_OUT)
    return Decision(failed.write and replace(failed.write, before=s.payment))


_NOT_CARRIED_OUT = "the provider could not carry it out"


def _failed_so_far(s: Situation) -> int:
    """Return how much is known to have failed at the provider, in minor units."""
    failure = s.payment.status.refund_failure
    return failure.failed_minor_units if failure is not None else 0


def _learn_failed(s: Situation, failed: int, why: str) -> Decision:
    """Note a failure, if so much failed at the provider that there is one which was not known.

    What was known and not resolved yet goes on with it.
    """
    step, known = s.payment.status.refund_step, s.payment.status.refund_failure
    news = lost = failed - _failed_so_far(s)
    if step is not None:
        # It was not counted yet as given back, but for what it was to make good.
        news = max(news, step.minor_units)
        lost = news - step.minor_units + step.counted_minor_units
    elif news <= 0:
        return NOTHING
    unresolved = known if s.payment.refund_failed else None
    failure = RefundFailure(
        number=known.number + 1 if known is not None else 1,
        minor_units=news + (unresolved.minor_units if unresolved else 0),
        counted_minor_units=lost + (unresolved.counted_minor_units if unresolved else 0),
        failed_minor_units=_failed_so_far(s) + news,
    )
    return Decision(_refund_failed(s, failure, why))


# --- What is written down ---


def _captured(s: Situation, gateway_payment_id: str) -> Write | None:
    found = {"Captured": true(Reason.CAPTURED, "The payment was taken.")}
    return _note(
        s,
        PaymentPhase.CAPTURED,
        found,
        gateway_payment_id=gateway_payment_id,
        captured_minor_units=s.payment.spec.amount.minor_units,
        failure=None,
        **_ANSWERED,
    )


def _not_known(
    s: Situation,
    why: str,
    pause: timedelta | None = None,
    *,
    failure: Failure | None = None,
) -> Write | None:
    """Note that the customer may have been charged: `failure` says what a look-up cannot mend."""
    message = f"The provider did not say whether it was charged ({why}); it is being asked."
    found = {"Captured": unknown(Reason.UNKNOWN, message)}
    return _note(s, PaymentPhase.UNKNOWN, found, failure=failure, **_next_try(s, pause))


def _declined(s: Situation, failure: Failure) -> Write | None:
    found = {"Captured": false(Reason.DECLINED, f"{failure.message}.")}
    return _note(
        s,
        PaymentPhase.DECLINED,
        found,
        failure=failure,
        attempt_method=s.payment.spec.method,
        **_ANSWERED,
    )


def _method_missing(s: Situation) -> Write | None:
    found = {
        "Captured": false(
            Reason.METHOD_MISSING,
            f"The payment method cannot be read from {s.payment.spec.method};"
            " write it there, in one line.",
        )
    }
    return _note(
        s,
        PaymentPhase.PENDING,
        found,
        attempt_method=s.payment.spec.method,
        next_attempt_time=s.now + METHOD_PAUSE,
    )


def _deferred(s: Situation, reason: Reason, why: str) -> Write | None:
    found = {"Captured": unknown(reason, f"The payment is put off: {why}.")}
    failure = Failure(code=str(reason), message=why)
    return _note(s, PaymentPhase.DEFERRED, found, failure=failure, next_attempt_time=None)


def _put_off(s: Situation, answer: NotSent | Unauthorized | TryLater) -> Write | None:
    found = {"Captured": unknown(Reason.DEFERRED, f"The payment is put off: {answer.message}.")}
    code = answer.reason if isinstance(answer, NotSent) else type(answer).__name__
    failure = Failure(code=code, message=answer.message)
    if isinstance(answer, NotSent) and answer.reason in LINE:
        when = {"next_attempt_time": answer.retry_time}
    else:
        when = _next_try(s, _pause_of(s, answer))
    return _note(s, PaymentPhase.DEFERRED, found, failure=failure, **when)


def _review(s: Situation, code: str, message: str) -> Write | None:
    found = {
        "Captured": unknown(
            Reason.MANUAL_REVIEW, f"Look into it and set spec.resolution: {message}."
        )
    }
    failure = Failure(code=code, message=message)
    return _note(s, PaymentPhase.MANUAL_REVIEW, found, failure=failure, **_ANSWERED)


def _voided(s: Situation) -> Write | None:
    """Note that nothing was and nothing will be charged."""
    called_off = false(Reason.VOIDED, "The payment was called off before it was taken.")
    found = _unless_customers(s, called_off)
    return _note(s, PaymentPhase.VOIDED, found, missing_since=None, **_ANSWERED)


def _unless_customers(s: Situation, captured: Finding) -> dict[str, Finding]:
    """Return a finding of Captured, unless it is on record that the customer did not act.

    The rental still needs to know that, to tell an order that expired from one called off.
    """
    kept = s.payment.awaits_customer_since is not None and not s.payment.deleting
    return {} if kept else {"Captured": captured}


def _begun(
    s: Situation, minor_units: int, message: str, *, counted: int = 0, **changes: Any
) -> Write | None:
    number = s.payment.status.refund_steps + 1
    step = RefundStep(
        number=number, minor_units=minor_units, started_time=s.now, counted_minor_units=counted
    )
    return _note(
        s,
        s.payment.phase,
        {"Refunded": unknown(Reason.REFUNDING, message)},
        refund_step=step,
        refund_steps=number,
        **_ANSWERED,
        **changes,
    )


def _refunded(s: Situation, step: RefundStep) -> Write | None:
    refunded = s.refunded + step.minor_units - step.counted_minor_units
    if refunded >= (s.payment.status.captured_minor_units or 0):
        found = true(Reason.REFUNDED, "Everything was given back.")
    else:
        found = true(Reason.PARTIALLY_REFUNDED, "Part of the payment was given back.")
    return _back(s, refunded, found, refund_step=None)


def _given_back(s: Situation, failure: RefundFailure, by: str) -> Write | None:
    """Note that a person gave back what the provider could not."""
    amount = _money(s, failure.minor_units)
    return _back(
        s,
        s.refunded + failure.minor_units - failure.counted_minor_units,
        true(Reason.GIVEN_BACK, f"{by} says that {amount} was given back in another way."),
        given_back_minor_units=(s.payment.status.given_back_minor_units or 0) + failure.minor_units,
        failure=None,
    )


def _back(s: Situation, refunded: int, found: Finding, **changes: Any) -> Write | None:
    """Note that so much went back in all."""
    everything = refunded >= (s.payment.status.captured_minor_units or 0)
    phase = PaymentPhase.REFUNDED if everything else PaymentPhase.PARTIALLY_REFUNDED
    write = _note(
        s, phase, {"Refunded": found}, refunded_minor_units=refunded, **changes, **_ANSWERED
    )
    if write is None or s.payment.status.refund_failure is None:
        return write
    # The phase may have been the same since before it failed: people are told all the same.
    return replace(write, event=Event(found.reason, found.message))


def _money(s: Situation, minor_units: int) -> Money:
    return Money(currency=s.payment.spec.amount.currency, minor_units=minor_units)


def _refund_pending(s: Situation, step: RefundStep) -> Decision:
    """Note that the provider is at it; it is asked again, later and later."""
    if s.only_told and step.accepted_time is not None:
        return _wait(s)
    since = step.accepted_time or s.now
    shortest, longest = PENDING_PAUSES
    pause = min(max(s.now - since, shortest), longest)
    message = "The provider has taken the refund up, and has not carried it out yet."
    return Decision(
        _note(
            s,
            s.payment.phase,
            {"Refunded": unknown(Reason.REFUNDING, message)},
            refund_step=step.model_copy(update={"accepted_time": since.replace(microsecond=0)}),
            **_ANSWERED | {"next_attempt_time": s.now + pause},
        )
    )


def _refund_failed(s: Situation, refund_failure: RefundFailure, why: str) -> Write | None:
    """Note that the shop has money again that it was to give back: only a person can give it."""
    message = (
        f"A refund of {_money(s, refund_failure.minor_units)} failed: {why}. The shop has the"
        " money again. Give it back in another way, then set spec.refundResolution to"
        f" {{failure: {refund_failure.number}, outcome: GivenBack}};"
        " or have it tried once more, by outcome: TryAgain."
    )
    found = {"Refunded": false(Reason.REFUND_FAILED, message)}
    failure = Failure(code=str(Reason.REFUND_FAILED), message=why)
    return _note(
        s,
        s.payment.phase,
        found,
        failure=failure,
        refund_failure=refund_failure,
        refund_step=None,
        **_ANSWERED,
    )


def _refund_trouble(s: Situation, why: str, pause: timedelta | None = None) -> Write | None:
    found = unknown(Reason.REFUNDING, f"The refund is tried again: {why}.")
    if _patience_is_over(s):
        found = _unresolved(s, f"The refund still fails: {why}.")
    return _note(s, s.payment.phase, {"Refunded": found}, **_next_try(s, pause))


def _look_up_trouble(s: Situation, trouble: Trouble) -> Write | None:
    when = _next_try(s, _pause_of(s, trouble))
    if not _patience_is_over(s):
        return _note(s, s.payment.phase, {}, **when)
    return _note(s, s.payment.phase, _still_unresolved(s, trouble.message), **when)


def _inquiring(s: Situation, message: str) -> dict[str, Finding]:
    """Return a finding of what is to be found out or given back."""
    if s.payment.captured:
        return {"Refunded": unknown(Reason.REFUNDING, message)}
    reason = Reason.VOIDING if s.unwanted else Reason.UNKNOWN
    return _unless_customers(s, unknown(reason, message))


def _still_unresolved(s: Situation, why: str) -> dict[str, Finding]:
    """Return a finding that calls a person for what cannot be found out or given back."""
    if s.payment.captured:
        return {"Refunded": _unresolved(s, f"The refund still fails: {why}.")}
    what = f"The provider still does not say whether it was charged: {why}."
    return _unless_customers(s, _unresolved(s, what))


def _patience_is_over(s: Situation) -> bool:
    known = conditions.find(s.payment.status.conditions, "Stalled")
    called = known is not None and known.reason == Reason.UNRESOLVED
    since = s.payment.status.trying_since
    return called or (since is not None and s.now >= since + s.patience)


def _unresolved(s: Situation, what: str) -> Finding:
    """Return a finding that calls a person; the operator goes on trying."""
    return unknown(Reason.UNRESOLVED, f"{what} Mend the gateway; it is tried on. {_by_hand(s)}")


def _by_hand(s: Situation) -> str:
    """Say how to end it without the operator, once nothing else is left."""
    if not s.payment.deleting:
        return "If that cannot be mended, settle it at the provider by hand."
    return f"If that cannot be mended, settle it at the provider by hand, then remove {SETTLE}."


_ANSWERED: dict[str, Any] = {"next_attempt_time": None, "tries": 0, "trying_since": None}


def _next_try(s: Situation, pause: timedelta | None = None) -> dict[str, Any]:
    """Return when to try again: pauses double, and are spread by uid, lest all come at once."""
    tries = s.payment.status.tries
    wait = pause or min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)
    spread = wait * (zlib.crc32(s.payment.uid.encode()) % 256) / 1024
    since = s.payment.status.trying_since or s.now
    again = s.now + wait + spread
    return {"next_attempt_time": again, "tries": tries + 1, "trying_since": since}


def _pause_of(s: Situation, answer: Trouble) -> timedelta | None:
    """Return how long to stay away, where the answer says so; from an open circuit at least 2 s."""
    match answer:
        case TryLater(after=after):
            return after
        case NotSent(retry_time=datetime() as retry_time):
            return max(retry_time - s.now, FIRST_PAUSE)
        case _:
            return None


def _note(
    s: Situation, phase: PaymentPhase, found: dict[str, Finding], **changes: Any
) -> Write | None:
    payment = s.payment
    changed = payment.with_status(phase=phase, **_whole_seconds(changes))
    findings: dict[str, Finding | None] = {**_first_findings(payment), **found}
    ready, stalled = _ready(changed, findings)
    after = changed.with_status(
        conditions=conditions.update(
            payment.status.conditions,
            findings | conditions.readiness(ready, stalled=stalled),
            generation=payment.metadata.generation,
            now=s.now,
        )
    )
    if after.status == payment.status:
        return None
    event = _event(payment, phase, ready)
    calls = ready.reason in {Reason.UNRESOLVED, Reason.REFUND_FAILED}
    if event is None and calls and not _is_stalled(payment):
        event = Event(ready.reason, ready.message, "Warning")
    return Write(payment, after, event)


def _is_stalled(payment: Payment) -> bool:
    return conditions.is_true(payment.status.conditions, "Stalled")


def _whole_seconds(changes: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.replace(microsecond=0) if isinstance(value, datetime) else value
        for name, value in changes.items()
    }


def _first_findings(payment: Payment) -> dict[str, Finding]:
    """Return the conditions that were never set yet, as not known."""
    known = {c.type for c in payment.status.conditions}
    first = {
        "Captured": unknown(Reason.PENDING, "The payment was not asked for yet."),
        "Refunded": false(Reason.NOT_REQUESTED, "Nothing is to be given back."),
    }
    return {type_: finding for type_, finding in first.items() if type_ not in known}


_NEEDS_A_PERSON = frozenset({PaymentPhase.DECLINED, PaymentPhase.MANUAL_REVIEW})
_DONE = frozenset(
    {
        PaymentPhase.CAPTURED,
        PaymentPhase.VOIDED,
        PaymentPhase.PARTIALLY_REFUNDED,
        PaymentPhase.REFUNDED,
    }
)


def _ready(payment: Payment, found: dict[str, Finding | None]) -> tuple[Finding, bool]:
    refunded = found.get("Refunded")
    failed = payment.refund_failed if refunded is None else refunded.reason == Reason.REFUND_FAILED
    refund_open = payment.status.refund_step is not None or failed
    if payment.phase in _DONE and not refund_open:
        return true(payment.phase.value, _done(payment)), False
    type_ = "Refunded" if refund_open else "Captured"
    finding = found.get(type_)
    if finding is None:
        known = conditions.find(payment.status.conditions, type_)
        reason, message = (known.reason, known.message) if known else (Reason.PENDING, "")
    else:
        reason, message = finding.reason, finding.message
    stalled = payment.phase in _NEEDS_A_PERSON or reason in STUCK
    return false(reason, message), stalled


def _done(payment: Payment) -> str:
    """Say what happened to the money."""
    amount = payment.spec.amount
    match payment.phase:
        case PaymentPhase.VOIDED:
            return "Nothing was charged, and nothing will be."
        case PaymentPhase.REFUNDED:
            return f"{amount} was given back."
        case PaymentPhase.PARTIALLY_REFUNDED:
            refunded = Money(
                currency=amount.currency, minor_units=payment.status.refunded_minor_units or 0
            )
            return f"Of {amount}, {refunded} was given back."
        case _:
            return f"{amount} was taken." if amount.minor_units else "There was nothing to pay."


def _event(before: Payment, phase: PaymentPhase, ready: Finding) -> Event | None:
    if phase is before.status.phase:
        return None
    if ready.status == "True":
        return Event(phase.value, ready.message)
    return Event(ready.reason, ready.message, "Warning")
