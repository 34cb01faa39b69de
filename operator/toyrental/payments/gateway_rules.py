"""The rules of payment gateways: whether one can be charged, and how long it must stay."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from toyrental.payments.models import GATEWAY_IN_USE, Circuit, PaymentGateway
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
from toyrental.shared.decisions import NOTHING, Decision, Event, Write

AUTHENTICATION_FAILED = "AuthenticationFailed"
ACCOUNT_CHANGED = "AccountChanged"

CHECK_AGAIN_WELL = timedelta(minutes=5)
CHECK_AGAIN_ILL = timedelta(seconds=15)


@dataclass(frozen=True)
class Unusable:
    """The gateway cannot be called as it is described."""

    reason: str
    message: str


Checked = AccountAnswer | Unusable
"""What a look at the provider gave."""


def decide(
    gateway: PaymentGateway, checked: Checked, has_unsettled: bool, now: datetime
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
    pause = CHECK_AGAIN_WELL if isinstance(checked, Account) else CHECK_AGAIN_ILL
    checked = _keep_account(gateway, checked, has_unsettled)
    return Decision(_note(gateway, checked, now), look_again=now + pause)


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


def _note(gateway: PaymentGateway, checked: Checked, now: datetime) -> Write | None:
    ready, responsive = _findings(checked)
    before = gateway.status
    stalled = isinstance(checked, Unusable | Unauthorized | Refused)
    after = gateway.with_status(
        circuit=before.circuit or Circuit.CLOSED,
        account=_account_of(before.account, checked),
        conditions=conditions.update(
            before.conditions,
            {"Responsive": responsive, **conditions.readiness(ready, stalled=stalled)},
            generation=gateway.metadata.generation,
            now=now,
        ),
    )
    if after.status == before:
        return None
    was = conditions.find(before.conditions, "Ready")
    changed = was is None or (was.status, was.reason) != (ready.status, ready.reason)
    if not changed:
        return Write(gateway, after)
    well = ready.status == "True"
    return Write(
        gateway, after, Event(ready.reason, ready.message, "Normal" if well else "Warning")
    )


def _findings(checked: Checked) -> tuple[Finding, Finding]:
    """Return what is to be said of Ready and of Responsive."""
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
        case NotSent(message) | TryLater(message) | OutcomeUnknown(message):
            found = false("NotResponsive", f"Payments are deferred: {message}.")
            return found, found


_NOT_ASKED = unknown("NotAsked", "The provider was not called.")
