"""What an answer of the provider means: what is written down, or what may be sent now. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from toyrental.payments import record, rules
from toyrental.payments.models import LINE, Failure, PaymentPhase, Reason, RefundFailure, RefundStep
from toyrental.payments.providers.port import (
    ANSWER_MISMATCH,
    KEY_REUSED,
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
    TryLater,
    Unauthorized,
    UnderWay,
)
from toyrental.payments.situation import MethodMissing, Situation, Step
from toyrental.shared.conditions import unknown
from toyrental.shared.decisions import NOTHING, Decision, Write


def learn_charge(s: Situation, answer: ChargeAnswer | MethodMissing) -> Decision:
    """Return what the answer to a charge means."""
    match answer:
        case Captured(gateway_payment_id):
            return Decision(record.captured(s, gateway_payment_id))
        case Declined(code, message):
            return Decision(record.declined(s, Failure(code=code, message=message)))
        case MethodMissing():
            return Decision(record.method_missing(s))
        case OutcomeUnknown(message):
            return Decision(record.not_known(s, message))
        case Refused(code, message) if code == KEY_REUSED:
            failure = Failure(code=code, message=message)
            return Decision(record.not_known(s, message, failure=failure))
        case Refused(code, message):
            return Decision(record.review(s, code, message))
        case UnderWay() if _is_fresh(s, s.attempt_recorded):
            return Decision(look_again=s.now + record.FIRST_PAUSE)
        case NotSent() | Unauthorized() | TryLater():
            return _learn_not_charged(s, answer)


def _is_fresh(s: Situation, recorded: datetime) -> bool:
    """Tell whether a request fell due so lately that somebody else may just have sent it as well.

    Whoever did writes down how it ends. To write as well would only stand in their way.
    """
    due = s.payment.status.next_attempt_time or recorded
    return s.now < due + rules.IN_FLIGHT_MARGIN


def _learn_not_charged(s: Situation, answer: NotSent | Unauthorized | TryLater) -> Decision:
    """Return what it means that this request did nothing.

    Where an earlier one may have done something, that may yet arrive.
    """
    unknown_yet = s.payment.phase is PaymentPhase.UNKNOWN
    recorded = unknown_yet or s.payment.in_line
    if isinstance(answer, NotSent) and answer.reason in LINE and recorded:
        return Decision(look_again=answer.retry_time)
    if unknown_yet:
        return Decision(record.not_known(s, answer.message, record.pause_of(s, answer)))
    return Decision(record.put_off(s, answer))


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
            return Decision(record.review(s, code, message))
        case _ if s.only_told:
            return rules.wait(s)
        case _:
            return Decision(record.look_up_trouble(s, answer))


def _learn_found(s: Situation, found: Found) -> Step:
    step = s.payment.status.refund_step
    if not s.payment.captured and found.captured != s.payment.spec.amount.minor_units:
        why = "the provider took another amount than was asked for"
        return Decision(record.review(s, ANSWER_MISMATCH, why))
    if not s.payment.captured:
        return Decision(record.captured(s, found.gateway_payment_id))
    if step is None or step.number in found.failed_steps:
        return _learn_failed(s, found.failed_minor_units, _NOT_CARRIED_OUT)
    if step.number in found.refund_steps:
        return _learn_done(s, step, found)
    if step.number in found.pending_steps or step.accepted_time is not None:
        return learn_refund(s, step, RefundPending())
    return rules.wait(s) if s.only_told else rules.refund_call(s, step)


def _learn_missing(s: Situation) -> Step:
    if s.only_told:
        return rules.wait(s)
    if s.payment.captured:
        return Decision(record.refund_trouble(s, "the provider does not know the payment"))
    if s.unwanted:
        return Decision(_missing_once_or_twice(s))
    failure = s.payment.status.failure
    if s.payment.phase is PaymentPhase.UNKNOWN and failure and failure.code == KEY_REUSED:
        return Decision(record.review(s, failure.code, failure.message))
    if s.payment.phase is PaymentPhase.UNKNOWN and not s.within_key_life(s.attempt_recorded):
        return Decision(
            record.review(
                s, "OutcomeUnknown", "the provider never answered, and its keys have expired"
            )
        )
    if s.payment.phase is PaymentPhase.UNKNOWN and s.held is not None:
        return rules.keep_back(s, s.held)
    if s.payment.phase is not PaymentPhase.UNKNOWN and (wait := rules.pause(s)) is not None:
        return wait
    return rules.charge_call(s)


def _missing_once_or_twice(s: Situation) -> Write | None:
    timeout = s.terms.timeout if s.terms is not None else timedelta()
    apart = timeout + rules.IN_FLIGHT_MARGIN
    first = s.payment.status.missing_since
    if first is not None and s.now > first + apart:
        return record.voided(s)
    first = first or s.now
    again = first + apart + timedelta(seconds=1)
    found = record.unless_customers(s, unknown(Reason.VOIDING, "The payment is being called off."))
    return record.note(s, s.payment.phase, found, missing_since=first, next_attempt_time=again)


def learn_refund(s: Situation, step: RefundStep, answer: RefundAnswer) -> Decision:
    """Return what the answer to a step of refund means."""
    match answer:
        case RefundFailed(message):
            return _learn_failed(s, _failed_so_far(s) + step.minor_units, message)
        case Refunded():
            return Decision(record.refund_done(s, step))
        case RefundPending() if s.only_told and step.accepted_time is not None:
            return rules.wait(s)
        case RefundPending():
            return Decision(record.refund_pending(s, step))
        case Refused(_, message):
            return Decision(record.refund_trouble(s, message))
        case UnderWay() if _is_fresh(s, step.started_time):
            return Decision(look_again=s.now + record.FIRST_PAUSE)
        case NotSent(reason=reason) if reason in LINE:
            return Decision(look_again=answer.retry_time)
        case _:
            return Decision(record.refund_trouble(s, answer.message, record.pause_of(s, answer)))


def _learn_done(s: Situation, step: RefundStep, found: Found) -> Decision:
    """Note that a step was carried out, and in the same write if an older one failed meanwhile."""
    done = record.refund_done(s, step)
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
    return Decision(record.refund_failed(s, failure, why))
