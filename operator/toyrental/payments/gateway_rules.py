"""The rules of payment gateways: whether one can be charged, and how long it must stay."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from toyrental.payments.circuit import News, Transition
from toyrental.payments.models import (
    CIRCUIT_OPEN,
    GATEWAY_IN_USE,
    LINE,
    SUSPENDED,
    Circuit,
    PaymentGateway,
)
from toyrental.payments.providers.port import (
    Account,
    AccountAnswer,
    NotSent,
    OutcomeUnknown,
    Refused,
    TryLater,
    Unauthorized,
)
from toyrental.shared import conditions
from toyrental.shared.conditions import Finding, false, true, unknown
from toyrental.shared.decisions import NOTHING, Decision, Event, Write, soonest

AUTHENTICATION_FAILED = "AuthenticationFailed"
ACCOUNT_CHANGED = "AccountChanged"

CHECK_AGAIN_WELL = timedelta(minutes=5)
CHECK_AGAIN_ILL = timedelta(seconds=15)

ABANDONED_AFTER = timedelta(minutes=1)
"""How long past its time a circuit that nobody here opened is taken for somebody's."""


@dataclass(frozen=True)
class Unusable:
    """The gateway cannot be called as it is described."""

    reason: str
    message: str


Checked = AccountAnswer | Unusable
"""What a look at the provider gave."""


@dataclass(frozen=True)
class Seen:
    """The gateway's circuits as this process knows them, and the payments put off.

    Another process may have circuits of its own: the status tells of whichever moved last.
    """

    charges: Circuit = Circuit.CLOSED
    refunds: Circuit = Circuit.CLOSED
    news: News | None = None
    """What moved here, and nobody was told of yet."""

    look_again: datetime | None = None
    """When to look at a circuit again."""

    deferred: int = 0
    count_from: datetime | None = None
    """When the number of deferred payments may be written again."""


def pause_after(checked: Checked) -> timedelta:
    """Return how long what was found holds."""
    return CHECK_AGAIN_WELL if isinstance(checked, Account) else CHECK_AGAIN_ILL


def decide(
    gateway: PaymentGateway, checked: Checked, has_unsettled: bool, seen: Seen, now: datetime
) -> Decision:
    """Return the next step for a gateway."""
    finalizers = gateway.metadata.finalizers
    if gateway.deleting:
        if has_unsettled or GATEWAY_IN_USE not in finalizers:
            return NOTHING
        kept = tuple(f for f in finalizers if f != GATEWAY_IN_USE)
        return Decision(Write(gateway, gateway.with_finalizers(kept)))
    if GATEWAY_IN_USE not in finalizers:
        return Decision(Write(gateway, gateway.with_finalizers((*finalizers, GATEWAY_IN_USE))))
    pause = pause_after(checked)
    checked = _keep_account(gateway, checked, has_unsettled)
    count_at = seen.count_from if seen.deferred != gateway.status.deferred_payments else None
    look_again = soonest(now + pause, seen.look_again, count_at)
    return Decision(_note(gateway, checked, seen, now), look_again=look_again)


def _keep_account(gateway: PaymentGateway, checked: Checked, has_unsettled: bool) -> Checked:
    """Refuse credentials of another account while payments are open at the one known."""
    known = gateway.status.account
    if not isinstance(checked, Account) or known is None or checked.agrees_with(known):
        return checked
    if not has_unsettled:
        return checked
    return Unauthorized(
        f"the credentials belong to account {checked.id}, and payments are open at {known};"
        f" restore those of {known}, or make a new PaymentGateway for {checked.id}",
        ACCOUNT_CHANGED,
    )


def _account_of(known: str | None, checked: Checked) -> str | None:
    """Return the account to keep in mind: the fuller name, where it is told in parts."""
    if not isinstance(checked, Account):
        return known
    if known is not None and checked.agrees_with(known):
        return max(known, checked.id, key=len)
    return checked.id


def _note(gateway: PaymentGateway, checked: Checked, seen: Seen, now: datetime) -> Write | None:
    before = gateway.status
    charges, refunds = _own_news(seen)
    circuit, retry_time = _circuit(gateway, seen, charges, now)
    ready, responsive = _all_findings(gateway, checked, seen, circuit)
    act = isinstance(checked, Unusable | Unauthorized | Refused) or gateway.spec.suspended
    counts = seen.news is not None or seen.count_from is None or now >= seen.count_from
    after = gateway.with_status(
        circuit=circuit,
        refund_circuit=refunds.to if refunds is not None else _refund_circuit(gateway, seen),
        retry_time=retry_time,
        deferred_payments=seen.deferred if counts else before.deferred_payments,
        account=_account_of(before.account, checked),
        conditions=conditions.update(
            before.conditions,
            {"Responsive": responsive, **conditions.readiness(ready, stalled=act)},
            generation=gateway.metadata.generation,
            now=now,
        ),
    )
    if after.status == before:
        return None
    return Write(gateway, after, _event(gateway, seen, ready))


def _own_news(seen: Seen) -> tuple[Transition | None, Transition | None]:
    """Return what is new of the circuit of charges, and of that of refunds and look-ups."""
    if seen.news is None:
        return None, None
    moved = seen.news.transition
    return (None, moved) if seen.news.of_refunds else (moved, None)


def _circuit(
    gateway: PaymentGateway, seen: Seen, news: Transition | None, now: datetime
) -> tuple[Circuit, datetime | None]:
    """Return the state to show of the circuit of charges, and when it is tried again."""
    before = gateway.status
    if gateway.spec.suspended:
        return Circuit.OPEN, None
    if news is not None:
        return news.to, _whole(news.retry_time)
    if before.circuit is None or _says(gateway, SUSPENDED) or _abandoned(gateway, seen, now):
        return seen.charges, None
    return before.circuit, before.retry_time


def _refund_circuit(gateway: PaymentGateway, seen: Seen) -> Circuit:
    if gateway.spec.suspended:
        return Circuit.OPEN
    known = gateway.status.refund_circuit
    return seen.refunds if known is None or _says(gateway, SUSPENDED) else known


def _abandoned(gateway: PaymentGateway, seen: Seen, now: datetime) -> bool:
    """Tell whether the process that opened the circuit is surely gone."""
    status = gateway.status
    if status.circuit is Circuit.CLOSED or seen.charges is not Circuit.CLOSED:
        return False
    longest = timedelta(seconds=gateway.spec.circuit_breaker.max_open_seconds)
    return status.retry_time is None or now > status.retry_time + longest + ABANDONED_AFTER


def _whole(moment: datetime | None) -> datetime | None:
    return moment.replace(microsecond=0) if moment is not None else None


def _says(gateway: PaymentGateway, *reasons: str) -> bool:
    """Tell whether Ready has one of these reasons now."""
    ready = conditions.find(gateway.status.conditions, "Ready")
    return ready is not None and ready.reason in reasons


def _event(gateway: PaymentGateway, seen: Seen, ready: Finding) -> Event | None:
    """Return what people are told: that a circuit moved, or that Ready did."""
    well = ready.status == "True"
    if seen.news is not None and not gateway.spec.suspended:
        moved, whose = seen.news.transition, "Refunds and look-ups" if seen.news.of_refunds else ""
        closed = moved.to is Circuit.CLOSED
        return Event(
            _MOVED[moved.to], _told(moved, whose or "Payments"), "Normal" if closed else "Warning"
        )
    was = conditions.find(gateway.status.conditions, "Ready")
    if was is not None and (was.status, was.reason) == (ready.status, ready.reason):
        return None
    return Event(ready.reason, ready.message, "Normal" if well else "Warning")


def _told(moved: Transition, whose: str) -> str:
    match moved.to:
        case Circuit.CLOSED:
            return f"{whose} are taken up again: {moved.why}."
        case Circuit.HALF_OPEN:
            return f"{whose} are tried one at a time: {moved.why}."
        case Circuit.OPEN:
            when = f" at {moved.retry_time:%Y-%m-%dT%H:%M:%SZ}" if moved.retry_time else ""
            return f"{whose} are deferred: {moved.why}; the provider is tried again{when}."


_MOVED = {
    Circuit.OPEN: "CircuitOpened",
    Circuit.HALF_OPEN: "CircuitHalfOpen",
    Circuit.CLOSED: "CircuitClosed",
}
HALF_OPEN = "CircuitHalfOpen"


def _all_findings(
    gateway: PaymentGateway, checked: Checked, seen: Seen, circuit: Circuit
) -> tuple[Finding, Finding]:
    """Return what is to be said of Ready and of Responsive."""
    if gateway.spec.suspended:
        why = "The gateway is suspended: the provider is not called. Unset spec.suspended."
        return false(SUSPENDED, why), _NOT_ASKED
    if isinstance(checked, Unusable) or circuit is Circuit.CLOSED:
        return _findings(gateway, checked, seen)
    moved, _ = _own_news(seen)
    if moved is not None:
        reason = HALF_OPEN if circuit is Circuit.HALF_OPEN else CIRCUIT_OPEN
        found = false(reason, _told(moved, "Payments"))
        return found, found
    if _says(gateway, CIRCUIT_OPEN, HALF_OPEN):
        return _as_it_was(gateway, "Ready"), _as_it_was(gateway, "Responsive")
    found = false(CIRCUIT_OPEN, "Payments are deferred: the provider did not respond.")
    return found, found


def _as_it_was(gateway: PaymentGateway, type_: str) -> Finding:
    known = conditions.find(gateway.status.conditions, type_)
    return Finding(known.status, known.reason, known.message) if known else _NOT_ASKED


def _findings(gateway: PaymentGateway, checked: Checked, seen: Seen) -> tuple[Finding, Finding]:
    """Return the same of a gateway whose charges are not held."""
    answered = true("Answered", "The provider answers.")
    match checked:
        case Account(account):
            return true("Ready", f"Payments are taken by account {account}."), answered
        case Unusable(reason, message):
            return false(reason, f"{message[:1].upper()}{message[1:]}."), _NOT_ASKED
        case Unauthorized(message, reason):
            asked = reason in {AUTHENTICATION_FAILED, ACCOUNT_CHANGED}
            found = false(reason, f"Payments are deferred: {message}.")
            return found, answered if asked else _NOT_ASKED
        case Refused(_, message):
            return false("Refused", f"Payments are deferred: {message}."), answered
        case NotSent(reason=reason) if reason in LINE and seen.charges is Circuit.CLOSED:
            return _only_refunds_wait(gateway)
        case NotSent(message) | TryLater(message) | OutcomeUnknown(message):
            found = false("NotResponsive", f"Payments are deferred: {message}.")
            return found, found


def _only_refunds_wait(gateway: PaymentGateway) -> tuple[Finding, Finding]:
    """Say of a gateway that charges, and whose account cannot be asked for, what is known of it."""
    found = false(CIRCUIT_OPEN, "Refunds and look-ups wait: the provider did not answer them.")
    ready = _as_it_was(gateway, "Ready")
    return (ready if ready.status == "True" else found), found


_NOT_ASKED = unknown("NotAsked", "The provider was not called.")
