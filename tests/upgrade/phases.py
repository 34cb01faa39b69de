"""A shop that has an object in each phase there is, brought there by the operator itself."""

import json

from tests.e2e.business import DECLINED, GATEWAY, Business, soon
from tests.support import Json, objects
from tests.support.conditions import settle
from toyrental.kinds import KINDS
from toyrental.payments.models import Payment, PaymentPhase
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairPhase
from toyrental.stores.models import Store, Toy, ToyPhase

ENUMS = {
    "Rental": RentalPhase,
    "Payment": PaymentPhase,
    "Toy": ToyPhase,
    "RepairTicket": RepairPhase,
}

# What the simulator does for ever with a card, so that its payment stays as it is.
UNANSWERED, REFUSED, PUT_OFF, HANGING = (
    f"pm_card_{name}" for name in ("amex", "discover", "jcb", "unionpay")
)
FAULTS = [
    f"--fault={json.dumps(fault)}"
    for fault in (
        {"kind": "error", "method": UNANSWERED, "status": 500},
        {"kind": "error", "method": REFUSED, "status": 400},
        {"kind": "rateLimit", "method": PUT_OFF, "retryAfterSeconds": 3600},
        {"kind": "outage", "method": HANGING, "answer": "hang"},
    )
]
"""Flags of the simulator without which not every phase of a payment lasts."""

LASTING = {
    "rented": "Rented",
    "paid": "Paid",
    "waiting": "Pending",
    "declined": "Reserved",
    "ahead": "Approved",
    "back": "Returned",
    "damaged": "Completed",
    "cancelled": "Cancelled",
    "denied": "Rejected",
    "late": "Expired",
}


def open_shop(business: Business) -> None:
    """Open a shop whose gateway bears with all that the simulator does."""
    patient = {"minimumCalls": 10_000}
    business.shop.create(
        objects.gateway(GATEWAY, business.simulator.url, circuitBreaker=patient, timeoutSeconds=60)
    )
    business.shop.create(objects.store(gateway=GATEWAY))


def fill(business: Business) -> None:
    """Bring rentals, payments, toys and tickets into each phase; at the end nothing moves.

    Orders are named as in `LASTING`, and those whose payment is the point by its phase.
    """
    _toys_and_tickets(business)
    _rentals(business)
    _payments(business)
    settle(lambda: all_of(business).values())
    assert missing(business) == {}


def _toys_and_tickets(business: Business) -> None:
    shelf = ["bear", "boat", "car", "drum", "engine", "flute", "globe", "harp", "kite", "lamp"]
    business.registers(*shelf, *(f"toy-{number}" for number in range(7)))
    for toy in ("repairing", "mended", "scrapped", "put-away"):
        business.registers(toy)
    business.shop.patch(Toy, "put-away", spec={"availability": "Withdrawn"})
    for toy in ("repairing", "mended", "scrapped"):
        business.opens_ticket(toy, toy=toy)
        business.assigns(toy)
    business.resolves("mended", "Repaired")
    business.resolves("scrapped", "Discarded")


def _rentals(business: Business) -> None:
    orders = {"rented": "bear", "paid": "boat", "back": "engine", "damaged": "flute"}
    orders |= {"cancelled": "globe", "denied": "harp"}
    business.changes_its_policy(paymentDeadlineSeconds=1)
    business.takes_order("late", toy="lamp", method=DECLINED)
    business.order_becomes("late", "Expired")
    business.changes_its_policy(paymentDeadlineSeconds=1800)
    business.wait(Store, "default", is_observed)
    for name, toy in orders.items():
        business.takes_order(name, toy=toy)
    business.takes_order("ahead", toy="drum", start=soon(3600))
    business.takes_order("declined", toy="car", method=DECLINED)
    for name in (*orders, "ahead"):
        business.order_becomes(name, "Paid")
    business.cancels("cancelled")
    business.denies("denied")
    for name in ("rented", "back", "damaged", "ahead"):
        business.approves(name)
    business.order_becomes("rented", "Rented")
    business.takes_order("waiting", toy="bear")
    for name in ("back", "damaged"):
        business.order_becomes(name, "Rented")
        business.returns(name)
    business.inspects("damaged", "Damaged")
    for name, phase in LASTING.items():
        business.order_becomes(name, phase)
    for name in ("cancelled", "denied"):
        business.paid_back(business.shop.get(Rental, name))


def is_observed(store: Store) -> bool:
    """Tell whether the operator has seen the policy as it is: orders expire by the one it knows."""
    return store.status.observed_generation == store.metadata.generation


def _payments(business: Business) -> None:
    """Have an order for each phase of a payment that no life above has left behind."""
    secret = {"name": "nowhere", "key": "token"}
    business.takes_order("pending", toy="toy-0", paymentMethodSecretRef=secret)
    methods = {"unknown": UNANSWERED, "manualreview": REFUSED, "deferred": PUT_OFF}
    methods |= {"processing": DECLINED, "voided": DECLINED}
    for number, (name, method) in enumerate(methods.items(), 1):
        business.takes_order(name, toy=f"toy-{number}", method=method)
    part = business.takes_paid_order("partiallyrefunded", toy="toy-6")
    business.shop.patch(Payment, part.payment_name, spec={"refundMinorUnits": 2000})
    for name in ("processing", "voided"):
        business.order_becomes(name, "Reserved", Paid="False/Declined")
    business.pays_with(HANGING, "processing")
    business.cancels("voided")
    phases = {phase.value.lower(): phase for phase in PaymentPhase}
    for name in ("pending", "partiallyrefunded", *methods):
        order = business.shop.get(Rental, name)
        business.payment_becomes(order, phases[name])


def all_of(business: Business) -> dict[str, Json]:
    """Return all that a shop is, but for what the API server notes beside it."""
    found = {}
    for kind in KINDS:
        for each in business.shop.api.find(kind.SERVED.kind, business.shop.name):
            each["metadata"].pop("managedFields", None)
            found[f"{kind.SERVED.kind} {each['metadata']['name']}"] = each
    return found


def missing(business: Business) -> dict[str, set[str]]:
    """Return the phases that no object of a kind is in, for the kinds that have any."""
    shop = all_of(business).values()
    there = {(each["kind"], each.get("status", {}).get("phase")) for each in shop}
    lacking = {
        kind: {str(phase) for phase in phases if (kind, phase.value) not in there}
        for kind, phases in ENUMS.items()
    }
    return {kind: phases for kind, phases in lacking.items() if phases}
