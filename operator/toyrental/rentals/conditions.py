"""What is true of a rental: its conditions, each with a reason and what to do about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from toyrental.payments.models import SETTLE, Payment, PaymentPhase
from toyrental.rentals import bookings
from toyrental.rentals.bookings import Shop
from toyrental.rentals.models import Decision, DesiredState, Rental, RentalPhase, Result
from toyrental.repairs.models import RepairTicket
from toyrental.shared import conditions
from toyrental.shared.conditions import Finding, false, is_true, true, unknown
from toyrental.stores.models import Approval, Booking, StoreSpec, Toy

PAYMENTS_SILENT_AFTER = timedelta(seconds=20)
"""How long a Payment may go unseen before the customer is told that payments are not running."""


class Reason(StrEnum):
    """Every reason a rental's conditions give."""

    BOOKED = "Booked"
    ORDERS_PAUSED = "OrdersPaused"
    TOY_NOT_FOUND = "ToyNotFound"
    NO_TOY_AVAILABLE = "NoToyAvailable"
    NO_PAYMENT_GATEWAY = "NoPaymentGateway"
    CURRENCY_MISMATCH = "CurrencyMismatch"
    MOVING = "Moving"
    TOY_OUT_OF_SERVICE = "ToyOutOfService"
    TOY_STILL_OUT = "ToyStillOut"
    TOY_UNAVAILABLE = "ToyUnavailable"
    AWAITING_PAYMENT = "AwaitingPayment"
    PROCESSING = "Processing"
    DEFERRED = "Deferred"
    DECLINED = "Declined"
    METHOD_MISSING = "MethodMissing"
    PAYMENT_UNKNOWN = "PaymentUnknown"
    MANUAL_REVIEW = "ManualReview"
    PAYMENT_CONFLICT = "PaymentConflict"
    PAYMENT_WITHDRAWN = "PaymentWithdrawn"
    TICKET_CONFLICT = "TicketConflict"
    CAPTURED = "Captured"
    AWAITING_DECISION = "AwaitingDecision"
    APPROVED = "Approved"
    AUTOMATIC = "Automatic"
    DENIED = "Denied"
    NO_DECISION = "NoDecision"
    AWAITING_START = "AwaitingStart"
    RENTED = "Rented"
    NOT_HANDED_OVER = "NotHandedOver"
    WITH_CUSTOMER = "WithCustomer"
    RETURNED = "Returned"
    NOT_RETURNED = "NotReturned"
    AWAITING_INSPECTION = "AwaitingInspection"
    REFUNDING = "Refunding"
    ACCEPTED = "Accepted"
    DAMAGED = "Damaged"
    NOT_DUE = "NotDue"
    OVERDUE = "Overdue"
    RETURNED_LATE = "ReturnedLate"
    RETURNED_IN_TIME = "ReturnedInTime"
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"
    PERIOD_OVER = "PeriodOver"


@dataclass(frozen=True)
class Situation:
    """A rental and all that bears on it, as it was observed at one moment."""

    rental: Rental
    store: StoreSpec
    shop: Shop
    payment: Payment | None
    ticket: RepairTicket | None
    now: datetime

    @property
    def toy(self) -> Toy | None:
        """The very toy that the rental's status names, if it is still there."""
        ref = self.rental.status.toy_ref
        toy = None if ref is None else self.shop.toy(ref.name)
        return toy if toy is not None and ref is not None and toy.uid == ref.uid else None

    @property
    def booking(self) -> Booking | None:
        """The rental's booking on that toy."""
        return None if self.toy is None else self.toy.booking_of(self.rental.uid)

    @property
    def payment_is_ours(self) -> bool:
        """Whether the Payment of our name was made for this very rental, at its price."""
        return self.payment is None or (
            self.payment.owned_by(self.rental)
            and self.payment.spec.rental_ref.uid == self.rental.uid
            and self.payment.spec.amount == self.rental.status.price
        )

    @property
    def unearned(self) -> bool:
        """Whether our Payment would still be given back, were it deleted now."""
        payment = self.payment
        return (
            payment is not None
            and self.payment_is_ours
            and not payment.deleting
            and SETTLE in payment.metadata.finalizers
        )

    @property
    def ticket_is_ours(self) -> bool:
        """Whether the RepairTicket of our name was opened for the toy of this rental."""
        return self.ticket is None or (
            self.toy is not None
            and self.ticket.owned_by(self.toy)
            and self.ticket.spec.toy_ref.name == self.toy.name
        )

    @property
    def was(self) -> dict[str, str]:
        """The status of each condition so far."""
        return {c.type: c.status for c in self.rental.status.conditions}

    @property
    def approved(self) -> bool:
        """Whether the store agreed, by its owner or by its policy."""
        approval = self.rental.spec.approval
        if approval is not None:
            return approval.decision is Decision.APPROVED
        return self.store.approval is Approval.AUTOMATIC or self.was.get("Approved") == "True"


def booked(s: Situation) -> Finding:
    """Whether a toy is promised to the customer, and will be there."""
    if s.toy is None or s.booking is None:
        return waiting_for_toy(s)
    if bookings.fit_for(s.toy, s.rental, s.booking, s.now) or s.booking.with_customer:
        return true(Reason.BOOKED, f"Toy {s.toy.name} is promised to this order.")
    if not s.toy.in_service:
        return false(
            Reason.TOY_OUT_OF_SERVICE,
            f"Toy {s.toy.name} is out of service; the order waits for its repair or another toy.",
        )
    if s.toy.out is None:
        return waiting_for_toy(s)
    return false(
        Reason.TOY_STILL_OUT,
        f"Toy {s.toy.name} has not come back in time; the order waits for it or another toy.",
    )


def waiting_for_toy(s: Situation) -> Finding:
    """Why no toy is promised, and what the order waits for."""
    if not bookings.served(s.rental, s.store):
        return false(
            Reason.ORDERS_PAUSED,
            "The shop has paused new orders; this one is kept and served when it resumes.",
        )
    toys = [toy for toy in bookings.candidates(s.rental, s.shop) if not toy.discarded]
    if not toys:
        return false(
            Reason.TOY_NOT_FOUND,
            "No toy in the shop is the one asked for; the order waits until one is registered.",
        )
    if not any(bookings.affordable(s.rental, toy, s.store) for toy in toys):
        return _not_payable(s)
    if _moves(s):
        return false(
            Reason.MOVING,
            "The toy that was promised cannot be had; another one is being booked for the order.",
        )
    return false(
        Reason.NO_TOY_AVAILABLE,
        "No toy that was asked for is free for the period; the order waits its turn in line.",
    )


def _moves(s: Situation) -> bool:
    """Whether an order that had a toy is about to get another one."""
    had_one = s.rental.phase is not RentalPhase.PENDING
    return had_one and bookings.toy_for(s.rental, s.shop, s.store, s.now) is not None


_NO_PAYMENT_GATEWAY = false(
    Reason.NO_PAYMENT_GATEWAY,
    "The shop cannot take payments yet; the owner names a PaymentGateway in Store default"
    " (paymentGatewayRef), and creates that Store if there is none.",
)


def _not_payable(s: Situation) -> Finding:
    if s.store.payment_gateway_ref is None:
        return _NO_PAYMENT_GATEWAY
    return false(
        Reason.CURRENCY_MISMATCH,
        f"The toy is not priced in {s.store.currency}, the currency of the shop;"
        " the owner corrects its dailyRate.",
    )


def paid(s: Situation) -> Finding:
    """Whether the order is paid for."""
    if is_true(s.rental.status.conditions, "Paid"):
        return true(Reason.CAPTURED, "The payment was taken.")
    if not s.payment_is_ours:
        return false(
            Reason.PAYMENT_CONFLICT,
            f"Payment {s.rental.payment_name} exists and is not this order's;"
            " the shop removes or renames it.",
        )
    if s.rental.status.price is None:
        return unknown(Reason.AWAITING_PAYMENT, "The order is paid once a toy is booked for it.")
    if s.payment is None or s.payment.status.phase is None:
        return _not_yet_asked(s)
    return _asked(s.payment)


def _not_yet_asked(s: Situation) -> Finding:
    price = s.rental.status.price
    to_pay = price is not None and price.minor_units > 0
    if s.payment is None and to_pay and s.store.payment_gateway_ref is None:
        return _NO_PAYMENT_GATEWAY
    if s.payment is not None and s.now >= s.payment.created + PAYMENTS_SILENT_AFTER:
        return false(
            Reason.DEFERRED,
            "Payments are not running; the order is kept and paid as soon as they are.",
        )
    toy = s.rental.status.toy_ref
    reserved = f"Toy {toy.name} is reserved. " if toy else ""
    asked = f"The payment of {price} is being taken." if to_pay else "There is nothing to pay."
    return unknown(Reason.AWAITING_PAYMENT, f"{reserved}{asked}")


def _asked(payment: Payment) -> Finding:
    """Say what the Payment's phase means to the customer."""
    failure, reviewed = payment.status.failure, payment.spec.resolution
    why = f" ({failure.message})" if failure else ""
    match payment.phase:
        case PaymentPhase.CAPTURED | PaymentPhase.PARTIALLY_REFUNDED | PaymentPhase.REFUNDED:
            return true(Reason.CAPTURED, "The payment was taken.")
        case PaymentPhase.DECLINED:
            # After a review nothing is charged again: its resolution holds for every attempt.
            what_next = "Set another payment method." if reviewed is None else "Order again."
            declined = failure.message if failure else "The payment was declined"
            return false(Reason.DECLINED, f"{declined}. {what_next}")
        case PaymentPhase.DEFERRED:
            at = payment.status.next_attempt_time
            when = f" at {written(at)} or soon after" if at else " later"
            return false(Reason.DEFERRED, f"The payment is put off{why}; it is tried again{when}.")
        case PaymentPhase.PENDING if payment.awaits_customer_since is not None:
            return false(
                Reason.METHOD_MISSING,
                f"The payment method cannot be read from {payment.spec.method}."
                " Create that, or set another payment method.",
            )
        case PaymentPhase.UNKNOWN:
            return unknown(
                Reason.PAYMENT_UNKNOWN,
                "The provider has not said whether it took the payment; it is being asked.",
            )
        case PaymentPhase.MANUAL_REVIEW:
            return unknown(Reason.MANUAL_REVIEW, "The shop is looking into the payment.")
        case _:
            return unknown(Reason.PROCESSING, "The payment is being taken.")


def approved(s: Situation, paid_: Finding, phase: RentalPhase) -> Finding:
    """Whether the store agreed to the order.

    What its policy says counts from the phase Approved on: until then the customer may cancel.
    """
    if paid_.status != "True":
        return unknown(Reason.AWAITING_PAYMENT, "The store sees the order once it is paid.")
    approval = s.rental.spec.approval
    if approval is None:
        if s.approved and phase is not RentalPhase.PAID:
            return true(Reason.AUTOMATIC, "The store approves paid orders by its policy.")
        return unknown(
            Reason.AWAITING_DECISION, "The order is paid and waits for the store's decision."
        )
    why = because(approval.reason)
    if approval.decision is Decision.APPROVED:
        return true(Reason.APPROVED, f"The store approved the order{why}")
    return false(Reason.DENIED, f"The store denied the order{why}")


def because(reason: str | None) -> str:
    """Return the end of a sentence: why a person decided so, if they said it."""
    if not reason:
        return "."
    return f": {reason}" if reason[-1] in ".!?" else f": {reason}."


def returned(phase: RentalPhase) -> Finding:
    """Whether the customer brought the toy back."""
    match phase:
        case RentalPhase.RENTED:
            return false(Reason.WITH_CUSTOMER, "The customer has the toy.")
        case RentalPhase.RETURNED | RentalPhase.COMPLETED:
            return true(Reason.RETURNED, "The customer brought the toy back.")
        case _:
            return false(Reason.NOT_HANDED_OVER, "The customer has not got the toy.")


def inspected(s: Situation, phase: RentalPhase) -> Finding:
    """Whether the owner looked at the toy that came back."""
    inspection = s.rental.spec.inspection
    dealt_with = phase is RentalPhase.COMPLETED or (
        phase is RentalPhase.RETURNED and s.booking is None
    )
    if inspection is not None and dealt_with:
        if inspection.result is Result.ACCEPTED:
            return true(Reason.ACCEPTED, "The toy came back in order.")
        return true(
            Reason.DAMAGED, f"The toy came back damaged; see RepairTicket {s.rental.ticket_name}."
        )
    if phase is RentalPhase.RETURNED:
        return unknown(Reason.AWAITING_INSPECTION, "The toy waits for the owner's inspection.")
    return unknown(Reason.NOT_RETURNED, "There is nothing to inspect yet.")


def overdue(s: Situation, phase: RentalPhase, due: datetime | None) -> Finding:
    """Whether the customer has the toy for longer than agreed."""
    if phase is RentalPhase.RENTED and due is not None:
        if s.now > due:
            return true(Reason.OVERDUE, f"The toy was due back at {written(due)}.")
        return false(Reason.NOT_DUE, f"The toy is due back at {written(due)}.")
    was = conditions.find(s.rental.status.conditions, "Overdue")
    if was is not None and (was.status == "True" or was.reason == Reason.RETURNED_LATE):
        return false(Reason.RETURNED_LATE, "The toy came back after its due time.")
    if phase in {RentalPhase.RETURNED, RentalPhase.COMPLETED}:
        return false(Reason.RETURNED_IN_TIME, "The toy came back in time.")
    return false(Reason.NOT_DUE, "The customer has not got the toy.")


def written(moment: datetime) -> str:
    """Return a moment as Kubernetes writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def observe(s: Situation, phase: RentalPhase, due: datetime | None) -> dict[str, Finding | None]:
    """Return what is true of a rental that is in `phase`, for every condition it has."""
    paid_ = paid(s)
    approved_ = approved(s, paid_, phase)
    findings: dict[str, Finding | None] = {
        "Booked": booked(s) if phase.before_hand_over else _promise_kept(phase),
        "Paid": paid_,
        "Approved": approved_,
        "Returned": returned(phase),
        "Inspected": inspected(s, phase),
        "Overdue": overdue(s, phase, due),
    }
    ready, stalled = _ready(s, phase, findings)
    return findings | conditions.readiness(ready, stalled=stalled)


def _promise_kept(phase: RentalPhase) -> Finding:
    if phase is RentalPhase.RENTED:
        return true(Reason.BOOKED, "The toy is with the customer.")
    if phase is RentalPhase.RETURNED:
        return true(Reason.BOOKED, "The toy is back and awaits inspection.")
    return false(phase.value, "The order has ended; no toy is promised to it.")


_NEEDS_A_PERSON = frozenset(
    {
        Reason.DECLINED,
        Reason.METHOD_MISSING,
        Reason.PAYMENT_CONFLICT,
        Reason.TICKET_CONFLICT,
        Reason.NO_PAYMENT_GATEWAY,
        Reason.CURRENCY_MISMATCH,
    }
)


def _ready(
    s: Situation, phase: RentalPhase, found: dict[str, Finding | None]
) -> tuple[Finding, bool]:
    """Return the finding of Ready, and whether nothing moves until a person acts."""
    blocking = _blocking(s, phase, found)
    if blocking is not None:
        return false(blocking.reason, blocking.message), blocking.reason in _NEEDS_A_PERSON
    if phase is RentalPhase.APPROVED:
        return false(Reason.AWAITING_START, _awaits_start(s)), False
    if phase is RentalPhase.RENTED:
        overdue_ = found["Overdue"]
        due = overdue_.message if overdue_ is not None else ""
        if overdue_ is not None and overdue_.status == "True":
            return true(Reason.OVERDUE, due), False
        return true(Reason.RENTED, f"The customer has the toy. {due}"), False
    inspected_ = found["Inspected"]
    result = inspected_.message if inspected_ is not None else ""
    return true(phase.value, f"The order is completed. {result}"), False


def _awaits_start(s: Situation) -> str:
    start = s.rental.status.start_time
    if start is None or start <= s.now:
        return "The order is approved; the toy is handed over as soon as it can be."
    return f"The order is approved; the toy is handed over at {written(start)}."


def _blocking(s: Situation, phase: RentalPhase, found: dict[str, Finding | None]) -> Finding | None:
    """Return what the rental waits for, the first thing first."""
    if phase is RentalPhase.RETURNED and not s.ticket_is_ours:
        return false(
            Reason.TICKET_CONFLICT,
            f"RepairTicket {s.rental.ticket_name} exists and is not this order's; remove it.",
        )
    waits_for = {
        RentalPhase.PENDING: ("Booked",),
        RentalPhase.RESERVED: ("Paid", "Booked"),
        RentalPhase.PAID: ("Booked", "Approved"),
        RentalPhase.APPROVED: ("Booked",),
        RentalPhase.RETURNED: ("Inspected",),
    }
    for type_ in waits_for.get(phase, ()):
        finding = found[type_]
        if finding is not None and finding.status != "True":
            return finding
    if phase is RentalPhase.RETURNED:
        return false(
            Reason.REFUNDING, "The toy is dealt with; part of the payment is on its way back."
        )
    return None


def wanted(rental: Rental, desired: DesiredState) -> bool:
    """Tell whether the customer asks for that state."""
    return rental.spec.desired_state is desired
