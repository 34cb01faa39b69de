"""The laws of the API server: the CEL rules of the CRDs and the policies, restated in Python.

A decision of the operator that breaks one is a bug of its rules; what people try and may not is
refused, and life goes on.
"""

from functools import singledispatch
from itertools import combinations

from toyrental.payments.models import Outcome, Payment, PaymentPhase
from toyrental.rentals.models import Decision, DesiredState, Rental, RentalPhase
from toyrental.repairs.models import RepairTicket
from toyrental.shared.conditions import is_true
from toyrental.shared.resource import Resource
from toyrental.stores.models import (
    Availability,
    BookingState,
    ServiceState,
    Toy,
)


class RefusedError(Exception):
    """422: a law forbids the write."""


def _require(holds: bool, law: str) -> None:
    if not holds:
        raise RefusedError(law)


@singledispatch
def check(before: Resource | None, after: Resource) -> None:
    """Refuse a write that a law forbids. `before` is None where the object is created."""
    if before is None:
        match after:
            case Toy():
                _toy(None, after)
            case Rental():
                _rental_decisions(None, after)
                _rental_spec(after)
            case Payment():
                _payment_spec(after)


@check.register
def _(before: Toy, after: Resource) -> None:
    assert isinstance(after, Toy)
    _toy(before, after)


def _toy(before: Toy | None, after: Toy) -> None:
    bookings = after.status.bookings
    _require(
        not any(a.overlaps(b.start_time, b.end_time) for a, b in combinations(bookings, 2)),
        "two bookings of a toy must not overlap",
    )
    _require(
        len([b for b in bookings if b.with_customer]) <= 1,
        "a toy is with one customer at a time",
    )
    _require(all(b.start_time < b.end_time for b in bookings), "a booking ends after it starts")
    _require(len({b.rental_uid for b in bookings}) == len(bookings), "one booking a rental")
    _require(len(bookings) <= 64, "at most 64 bookings")
    known = {b.rental_uid for b in before.status.bookings} if before else set()
    new = [b for b in bookings if b.state is BookingState.HELD and b.rental_uid not in known]
    in_service = after.status.service.state is ServiceState.IN_SERVICE
    _require(in_service or not new, "a toy out of service gets no new booking")
    offered = after.spec.availability is Availability.OFFERED
    _require(offered or not new, "a withdrawn toy gets no new booking")
    if before is not None:
        _require(
            not before.discarded or after.discarded, "a discarded toy is out of stock for good"
        )


@check.register
def _(before: Rental, after: Resource) -> None:
    assert isinstance(after, Rental)
    _rental_spec(after)
    _rental_decisions(before, after)
    old, new = before.spec, after.spec
    for name in ("customer", "toy_ref", "toy_selector", "period"):
        _require(getattr(old, name) == getattr(new, name), f"{name} is immutable")
    _require(
        old.desired_state in {DesiredState.RENTED, new.desired_state},
        "a cancellation or a return cannot be taken back",
    )
    _require(old.approval in {None, new.approval}, "the decision about an order is final")
    _require(old.inspection in {None, new.inspection}, "an inspection is final")
    _require(not before.phase.final or after.phase is before.phase, "a final phase does not change")
    paid = is_true(after.status.conditions, "Paid")
    _require(
        after.phase not in {RentalPhase.PAID, RentalPhase.APPROVED, RentalPhase.RENTED} or paid,
        "no payment, no transaction",
    )


def _rental_spec(after: Rental) -> None:
    spec = after.spec
    _require((spec.toy_ref is None) != (spec.toy_selector is None), "one of toyRef, toySelector")
    _require(
        (spec.payment_method is None) != (spec.payment_method_secret_ref is None),
        "one of paymentMethod, paymentMethodSecretRef",
    )
    approved = spec.approval is not None and spec.approval.decision is Decision.APPROVED
    _require(
        not (approved and spec.desired_state is DesiredState.CANCELLED),
        "an order is either cancelled or approved",
    )
    _require(
        spec.inspection is None or spec.desired_state is DesiredState.RETURNED,
        "a toy is inspected once it is returned",
    )


def _rental_decisions(before: Rental | None, after: Rental) -> None:
    """Check what is decided now: against the status, which only the operator writes."""
    decides = after.spec.approval is not None and (before is None or before.spec.approval is None)
    _require(
        not decides or is_true(after.status.conditions, "Paid"),
        "an order can be approved or denied once it is paid",
    )
    _require(not (decides and after.phase.final), "this order has ended")
    desired = after.spec.desired_state
    wishes = before is None or before.spec.desired_state is not desired
    phase = after.status.phase
    if wishes and desired is DesiredState.CANCELLED:
        late = {
            RentalPhase.APPROVED,
            RentalPhase.RENTED,
            RentalPhase.RETURNED,
            RentalPhase.COMPLETED,
        }
        _require(phase not in late, "an approved order cannot be cancelled")
    if wishes and desired is DesiredState.RETURNED:
        approval = after.spec.approval
        approved = approval is not None and approval.decision is Decision.APPROVED
        _require(
            approved or phase in {RentalPhase.APPROVED, RentalPhase.RENTED},
            "a toy can be returned once the order is approved",
        )


@check.register
def _(before: Payment, after: Resource) -> None:
    assert isinstance(after, Payment)
    _payment_spec(after)
    old, new = before.spec, after.spec
    for name in ("rental_ref", "gateway_ref", "amount"):
        _require(getattr(old, name) == getattr(new, name), f"{name} is immutable")
    _require(new.refund_minor_units >= old.refund_minor_units, "refundMinorUnits may only grow")
    _require(old.resolution in {None, new.resolution}, "the resolution of a review is final")
    replaceable = before.status.phase in {PaymentPhase.DECLINED, PaymentPhase.PENDING}
    _require(new.method == old.method or replaceable, "the method is replaced after a decline")
    _require(
        new.resolution is None
        or old.resolution is not None
        or before.status.phase is PaymentPhase.MANUAL_REVIEW,
        "only a payment in ManualReview is resolved by a person",
    )
    said, says = old.refund_resolution, new.refund_resolution
    _require(
        said is None or (says is not None and (says == said or says.failure > said.failure)),
        "the resolution of a failed refund is final",
    )
    failure = before.status.refund_failure
    _require(
        says in {None, said} or (failure is not None and failure.number == says.failure),
        "only a refund that failed is resolved by a person",
    )
    was, now = before.status, after.status
    _require(
        (now.captured_minor_units or 0) >= (was.captured_minor_units or 0),
        "captured money does not vanish",
    )
    _require(
        (now.refunded_minor_units or 0) >= (was.refunded_minor_units or 0),
        "refunded money does not come back",
    )
    _require(
        (now.refunded_minor_units or 0) <= (now.captured_minor_units or 0),
        "no more can be refunded than was captured",
    )
    _require(
        was.phase is not PaymentPhase.REFUNDED or now.phase is PaymentPhase.REFUNDED,
        "a refunded payment is final",
    )


def _payment_spec(after: Payment) -> None:
    spec = after.spec
    _require((spec.method.token is None) != (spec.method.secret_ref is None), "one method")
    _require(spec.refund_minor_units <= spec.amount.minor_units, "no more than was charged")
    _require(spec.gateway_ref is not None or spec.amount.minor_units == 0, "name the gateway")
    resolution = spec.resolution
    _require(
        resolution is None
        or resolution.outcome is not Outcome.CAPTURED
        or resolution.gateway_payment_id is not None,
        "give the provider's id",
    )


@check.register
def _(before: RepairTicket, after: Resource) -> None:
    assert isinstance(after, RepairTicket)
    _require(before.spec.toy_ref == after.spec.toy_ref, "the toy of a ticket is immutable")
    _require(
        before.spec.resolution in {None, after.spec.resolution},
        "the resolution of a repair is final",
    )
    _require(not before.phase.final or after.phase is before.phase, "a final phase does not change")


def check_deletion(found: Resource) -> None:
    """Refuse a deletion by people that a policy forbids."""
    match found:
        case Toy():
            _require(found.out is None, "a toy that is out is not deleted")
        case Rental():
            approval = found.spec.approval
            approved = approval is not None and approval.decision is Decision.APPROVED
            live = {RentalPhase.APPROVED, RentalPhase.RENTED, RentalPhase.RETURNED}
            _require(
                found.phase.final or not (approved or found.phase in live),
                "a live rental is not deleted",
            )
