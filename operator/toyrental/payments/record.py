"""What is written down of a payment: its status, conditions and Events, in words for people."""

import zlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from toyrental.payments.models import (
    LINE,
    SETTLE,
    STUCK,
    Failure,
    Payment,
    PaymentPhase,
    Reason,
    RefundFailure,
    RefundStep,
)
from toyrental.payments.providers.port import NotSent, Trouble, TryLater, Unauthorized
from toyrental.payments.situation import Situation
from toyrental.shared import conditions
from toyrental.shared.conditions import Finding, false, true, unknown
from toyrental.shared.decisions import Event, Write
from toyrental.shared.money import Money

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=1)
PENDING_PAUSES = timedelta(seconds=30), timedelta(hours=1)
METHOD_PAUSE = timedelta(seconds=15)

ANSWERED: dict[str, Any] = {"next_attempt_time": None, "tries": 0, "trying_since": None}
"""How the status counts tries, once the provider has answered."""


def attempt_begun(s: Situation) -> Write | None:
    """Put another attempt on record, before it is sent."""
    return note(
        s,
        PaymentPhase.PROCESSING,
        {"Captured": unknown(Reason.PROCESSING, "The payment is being taken.")},
        attempt=s.payment.status.attempt + 1,
        attempt_time=s.now,
        attempt_method=s.payment.spec.method,
        **ANSWERED,
    )


def captured(s: Situation, gateway_payment_id: str) -> Write | None:
    """Note that the customer paid."""
    found = {"Captured": true(Reason.CAPTURED, "The payment was taken.")}
    return note(
        s,
        PaymentPhase.CAPTURED,
        found,
        gateway_payment_id=gateway_payment_id,
        captured_minor_units=s.payment.spec.amount.minor_units,
        failure=None,
        **ANSWERED,
    )


def not_known(
    s: Situation,
    why: str,
    pause: timedelta | None = None,
    *,
    failure: Failure | None = None,
) -> Write | None:
    """Note that the customer may have been charged: `failure` says what a look-up cannot mend."""
    message = f"The provider did not say whether it was charged ({why}); it is being asked."
    found = {"Captured": unknown(Reason.UNKNOWN, message)}
    return note(s, PaymentPhase.UNKNOWN, found, failure=failure, **_next_try(s, pause))


def declined(s: Situation, failure: Failure) -> Write | None:
    """Note that the provider, or a person, says for certain that nothing was charged."""
    found = {"Captured": false(Reason.DECLINED, f"{failure.message}.")}
    return note(
        s,
        PaymentPhase.DECLINED,
        found,
        failure=failure,
        attempt_method=s.payment.spec.method,
        **ANSWERED,
    )


def method_missing(s: Situation) -> Write | None:
    """Note that the Secret with the payment method cannot be read; it is looked at again."""
    found = {
        "Captured": false(
            Reason.METHOD_MISSING,
            f"The payment method cannot be read from {s.payment.spec.method};"
            " write it there, in one line.",
        )
    }
    return note(
        s,
        PaymentPhase.PENDING,
        found,
        attempt_method=s.payment.spec.method,
        next_attempt_time=s.now + METHOD_PAUSE,
    )


def deferred(s: Situation, reason: Reason, why: str) -> Write | None:
    """Note that the gateway cannot be used, until somebody changes it."""
    found = {"Captured": unknown(reason, f"The payment is put off: {why}.")}
    failure = Failure(code=str(reason), message=why)
    return note(s, PaymentPhase.DEFERRED, found, failure=failure, next_attempt_time=None)


def put_off(s: Situation, answer: NotSent | Unauthorized | TryLater) -> Write | None:
    """Note that nothing was sent or done, and when it is tried again."""
    found = {"Captured": unknown(Reason.DEFERRED, f"The payment is put off: {answer.message}.")}
    code = answer.reason if isinstance(answer, NotSent) else type(answer).__name__
    failure = Failure(code=code, message=answer.message)
    if isinstance(answer, NotSent) and answer.reason in LINE:
        when = {"next_attempt_time": answer.retry_time}
    else:
        when = _next_try(s, pause_of(s, answer))
    return note(s, PaymentPhase.DEFERRED, found, failure=failure, **when)


def review(s: Situation, code: str, message: str) -> Write | None:
    """Note that only a person can find out whether the customer was charged."""
    found = {
        "Captured": unknown(
            Reason.MANUAL_REVIEW, f"Look into it and set spec.resolution: {message}."
        )
    }
    failure = Failure(code=code, message=message)
    return note(s, PaymentPhase.MANUAL_REVIEW, found, failure=failure, **ANSWERED)


def voided(s: Situation) -> Write | None:
    """Note that nothing was and nothing will be charged."""
    called_off = false(Reason.VOIDED, "The payment was called off before it was taken.")
    found = unless_customers(s, called_off)
    return note(s, PaymentPhase.VOIDED, found, missing_since=None, **ANSWERED)


def unless_customers(s: Situation, finding: Finding) -> dict[str, Finding]:
    """Return a finding of Captured, unless it is on record that the customer did not act.

    The rental still needs to know that, to tell an order that expired from one called off.
    """
    kept = s.payment.awaits_customer_since is not None and not s.payment.deleting
    return {} if kept else {"Captured": finding}


def refund_begun(
    s: Situation, minor_units: int, message: str, *, counted: int = 0, **changes: Any
) -> Write | None:
    """Put a step of a refund on record, of which so much was counted as given back before."""
    number = s.payment.status.refund_steps + 1
    step = RefundStep(
        number=number, minor_units=minor_units, started_time=s.now, counted_minor_units=counted
    )
    return note(
        s,
        s.payment.phase,
        {"Refunded": unknown(Reason.REFUNDING, message)},
        refund_step=step,
        refund_steps=number,
        **ANSWERED,
        **changes,
    )


def refund_done(s: Situation, step: RefundStep) -> Write | None:
    """Note that the provider carried a step out."""
    refunded = s.refunded + step.minor_units - step.counted_minor_units
    if refunded >= (s.payment.status.captured_minor_units or 0):
        found = true(Reason.REFUNDED, "Everything was given back.")
    else:
        found = true(Reason.PARTIALLY_REFUNDED, "Part of the payment was given back.")
    return _back(s, refunded, found, refund_step=None)


def given_back(s: Situation, failure: RefundFailure, by: str) -> Write | None:
    """Note that a person gave back what the provider could not."""
    amount = _money(s.payment, failure.minor_units)
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
    write = note(
        s, phase, {"Refunded": found}, refunded_minor_units=refunded, **changes, **ANSWERED
    )
    if write is None or s.payment.status.refund_failure is None:
        return write
    # The phase may have been the same since before it failed: people are told all the same.
    return replace(write, event=Event(found.reason, found.message))


def _money(payment: Payment, minor_units: int) -> Money:
    return Money(currency=payment.spec.amount.currency, minor_units=minor_units)


def refund_pending(s: Situation, step: RefundStep) -> Write | None:
    """Note that the provider is at it; it is asked again, later and later."""
    since = step.accepted_time or s.now
    shortest, longest = PENDING_PAUSES
    pause = min(max(s.now - since, shortest), longest)
    message = "The provider has taken the refund up, and has not carried it out yet."
    return note(
        s,
        s.payment.phase,
        {"Refunded": unknown(Reason.REFUNDING, message)},
        refund_step=step.model_copy(update={"accepted_time": since.replace(microsecond=0)}),
        **ANSWERED | {"next_attempt_time": s.now + pause},
    )


def refund_failed(s: Situation, refund_failure: RefundFailure, why: str) -> Write | None:
    """Note that the shop has money again that it was to give back: only a person can give it."""
    amount = _money(s.payment, refund_failure.minor_units)
    message = (
        f"A refund of {amount} failed: {why}. The shop has the money again."
        " Give it back in another way, then set spec.refundResolution to"
        f" {{failure: {refund_failure.number}, outcome: GivenBack}};"
        " or have it tried once more, by outcome: TryAgain."
    )
    found = {"Refunded": false(Reason.REFUND_FAILED, message)}
    failure = Failure(code=str(Reason.REFUND_FAILED), message=why)
    return note(
        s,
        s.payment.phase,
        found,
        failure=failure,
        refund_failure=refund_failure,
        refund_step=None,
        **ANSWERED,
    )


def refund_trouble(s: Situation, why: str, pause: timedelta | None = None) -> Write | None:
    """Note that a step was not carried out yet; after long a person is called."""
    found = unknown(Reason.REFUNDING, f"The refund is tried again: {why}.")
    if _patience_is_over(s):
        found = _unresolved(s, f"The refund still fails: {why}.")
    return note(s, s.payment.phase, {"Refunded": found}, **_next_try(s, pause))


def look_up_trouble(s: Situation, trouble: Trouble) -> Write | None:
    """Note that the provider could not say; after long a person is called."""
    when = _next_try(s, pause_of(s, trouble))
    if not _patience_is_over(s):
        return note(s, s.payment.phase, {}, **when)
    return note(s, s.payment.phase, still_unresolved(s, trouble.message), **when)


def inquiring(s: Situation, message: str) -> dict[str, Finding]:
    """Return a finding of what is to be found out or given back."""
    if s.payment.captured:
        return {"Refunded": unknown(Reason.REFUNDING, message)}
    reason = Reason.VOIDING if s.unwanted else Reason.UNKNOWN
    return unless_customers(s, unknown(reason, message))


def still_unresolved(s: Situation, why: str) -> dict[str, Finding]:
    """Return a finding that calls a person for what cannot be found out or given back."""
    if s.payment.captured:
        return {"Refunded": _unresolved(s, f"The refund still fails: {why}.")}
    what = f"The provider still does not say whether it was charged: {why}."
    return unless_customers(s, _unresolved(s, what))


def _patience_is_over(s: Situation) -> bool:
    known = conditions.find(s.payment.status.conditions, "Stalled")
    called = known is not None and known.reason == Reason.UNRESOLVED
    since = s.payment.status.trying_since
    return called or (since is not None and s.now >= since + s.patience)


def _unresolved(s: Situation, what: str) -> Finding:
    """Return a finding that calls a person; the operator goes on trying."""
    return unknown(Reason.UNRESOLVED, f"{what} Mend the gateway; it is tried on. {by_hand(s)}")


def by_hand(s: Situation) -> str:
    """Say how to end it without the operator, once nothing else is left."""
    if not s.payment.deleting:
        return "If that cannot be mended, settle it at the provider by hand."
    return f"If that cannot be mended, settle it at the provider by hand, then remove {SETTLE}."


def _next_try(s: Situation, pause: timedelta | None = None) -> dict[str, Any]:
    """Return when to try again: pauses double, and are spread by uid, lest all come at once."""
    tries = s.payment.status.tries
    wait = pause or min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)
    spread = wait * (zlib.crc32(s.payment.uid.encode()) % 256) / 1024
    since = s.payment.status.trying_since or s.now
    again = s.now + wait + spread
    return {"next_attempt_time": again, "tries": tries + 1, "trying_since": since}


def pause_of(s: Situation, answer: Trouble) -> timedelta | None:
    """Return how long to stay away, where the answer says so; from an open circuit at least 2 s."""
    match answer:
        case TryLater(after=after):
            return after
        case NotSent(retry_time=datetime() as retry_time):
            return max(retry_time - s.now, FIRST_PAUSE)
        case _:
            return None


def note(
    s: Situation, phase: PaymentPhase, found: dict[str, Finding], **changes: Any
) -> Write | None:
    """Write these findings and changes of the status down; None where nothing is new."""
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
            refunded = _money(payment, payment.status.refunded_minor_units or 0)
            return f"Of {amount}, {refunded} was given back."
        case _:
            return f"{amount} was taken." if amount.minor_units else "There was nothing to pay."


def _event(before: Payment, phase: PaymentPhase, ready: Finding) -> Event | None:
    if phase is before.status.phase:
        return None
    if ready.status == "True":
        return Event(phase.value, ready.message)
    return Event(ready.reason, ready.message, "Warning")
