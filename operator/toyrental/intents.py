"""What people want, as the change of a spec that says it. Pure; every client of ours shares it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from toyrental.payments.models import (
    Outcome,
    Payment,
    RefundOutcome,
    RefundResolution,
    Resolution,
)
from toyrental.rentals.models import (
    Decision,
    DesiredState,
    Inspection,
    MissingPart,
    Period,
    RentalApproval,
    RentalSpec,
    Result,
    ToySelector,
)
from toyrental.repairs.models import RepairOutcome, RepairResolution, RepairTicketSpec
from toyrental.shared.model import Model, NameRef, SecretKeyRef

Spec = dict[str, Any]


class Unusable(Exception):
    """What was said makes no write; `str()` says what to do."""


def decision(decided: Decision, reason: str | None = None) -> Spec:
    """Return the change by which the owner approves or denies an order. Raises Unusable."""
    return {"approval": _valid(lambda: RentalApproval(decision=decided, reason=reason))}


def inspection(
    result: Result, notes: str | None = None, missing: dict[str, int] | None = None
) -> Spec:
    """Return the change that records how a toy came back. Raises Unusable."""

    def made() -> Inspection:
        parts = tuple(
            MissingPart(name=name, count=count) for name, count in (missing or {}).items()
        )
        return Inspection(result=result, notes=notes, missing_parts=parts)

    return {"inspection": _valid(made)}


def wish(state: DesiredState) -> Spec:
    """Return the change by which a customer cancels an order, or returns the toy."""
    return {"desiredState": str(state)}


def payment_by(token: str) -> Spec:
    """Return the change by which an order is paid with another token."""
    return {"paymentMethod": token, "paymentMethodSecretRef": None}


def payment_by_secret(name: str, key: str) -> Spec:
    """Return the change by which an order is paid with a token in a Secret. Raises Unusable."""
    ref = _valid(lambda: SecretKeyRef(name=name, key=key))
    return {"paymentMethod": None, "paymentMethodSecretRef": ref}


def order(  # noqa: PLR0913 # what an order is
    *,
    customer: str,
    toy: str | None = None,
    labels: dict[str, str] | None = None,
    days: int,
    start: datetime | None = None,
    payment: Spec,
) -> Spec:
    """Return the spec of an order of one toy, or of any with these labels. Raises Unusable."""

    def made() -> RentalSpec:
        return RentalSpec(
            customer=customer,
            toy_ref=NameRef(name=toy) if toy else None,
            toy_selector=None if toy else ToySelector(match_labels=labels or {}),
            period=Period(start_time=start, days=days),
        )

    return _valid(made) | {name: value for name, value in payment.items() if value is not None}


def repair(toy: str, description: str, assignee: str | None = None) -> Spec:
    """Return the spec of a ticket that sends a toy to repair. Raises Unusable."""
    return _valid(
        lambda: RepairTicketSpec(
            toy_ref=NameRef(name=toy), description=description, assignee=assignee
        )
    )


def resolution(outcome: RepairOutcome, notes: str | None = None) -> Spec:
    """Return the change by which a repairer ends a repair. Raises Unusable."""
    return {"resolution": _valid(lambda: RepairResolution(outcome=outcome, notes=notes))}


def review(outcome: Outcome, gateway_payment_id: str | None = None) -> Spec:
    """Return the change by which a person ends the review of a payment. Raises Unusable."""
    if (outcome is Outcome.CAPTURED) != (gateway_payment_id is not None):
        raise Unusable("the provider's id goes with captured, and only with that")
    return {
        "resolution": _valid(
            lambda: Resolution(outcome=outcome, gateway_payment_id=gateway_payment_id)
        )
    }


def failed_refund(payment: Payment, outcome: RefundOutcome) -> Spec:
    """Return the change by which a person ends a refund that failed. Raises Unusable."""
    failure = payment.status.refund_failure
    if failure is None or not payment.refund_failed:
        raise Unusable(f"no refund of {payment.name} has failed")
    return {
        "refundResolution": _valid(
            lambda: RefundResolution(failure=failure.number, outcome=outcome)
        )
    }


def _valid(made: Callable[[], Model]) -> Spec:
    try:
        model = made()
    except ValidationError as error:
        told = error.errors(include_input=False, include_url=False)
        raise Unusable("; ".join(f"{_field(each['loc'])}{each['msg']}" for each in told)) from error
    return model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _field(place: tuple[int | str, ...]) -> str:
    return f"{'.'.join(str(part) for part in place)}: " if place else ""
