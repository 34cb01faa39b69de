"""Each rule of each kind, on a real API server: what it refuses, in which words, what it lets pass.

CASES has an entry for every rule of the CRDs; a rule without one fails. In a case, all of `refused`
is tried on what was `given`, then all of `accepted`, one after the other.
"""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from tests.api.schemas import crds, fields
from tests.support import Json, Refused, Shop, condition
from toyrental.rentals.models import Rental

API_VERSION = "toyrental.dev/v1alpha1"
LONG_LABEL = "k" * 318
REF = {"name": "first", "uid": "11111111-aaaa"}
DAY = "2026-03-0{}T09:00:00Z"


@dataclass(frozen=True)
class Step:
    """One request on one object."""

    verb: Literal["create", "change", "note", "unset-status"]
    kind: str
    content: Json
    name: str

    def __call__(self, shop: Shop) -> None:
        if self.verb == "create":
            shop.create_raw(
                {
                    "apiVersion": API_VERSION,
                    "kind": self.kind,
                    "metadata": {"name": self.name},
                    "spec": self.content,
                }
            )
        elif self.verb == "change":
            shop.api.patch(self.kind, self.name, shop.name, {"spec": self.content})
        elif self.verb == "note":
            shop.api.patch(self.kind, self.name, shop.name, {"status": self.content}, "status")
        else:
            shop.api.patch(self.kind, self.name, shop.name, {"status": None}, "status")

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}: {self.content}"


@dataclass(frozen=True)
class Case:
    """A rule, by the place in the schema that it sits on and the beginning of its message."""

    place: str
    message: str
    refused: tuple[Step, ...]
    accepted: tuple[Step, ...]
    given: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class Kind:
    """The steps on objects of a kind: they start from a valid spec, and say what differs."""

    def __init__(self, kind: str, name: str, spec: Json) -> None:
        self._kind = kind
        self._name = name
        self._spec = spec

    def create(self, name: str = "", **spec: Any) -> Step:
        """Create one whose spec has these fields, and lacks those that are None."""
        whole = {key: value for key, value in (self._spec | spec).items() if value is not None}
        return Step("create", self._kind, whole, name or self._name)

    def change(self, **spec: Any) -> Step:
        """Merge into the spec."""
        return Step("change", self._kind, spec, self._name)

    def note(self, **status: Any) -> Step:
        """Merge into the status."""
        return Step("note", self._kind, status, self._name)

    def unset_status(self) -> Step:
        """Remove the status as a whole."""
        return Step("unset-status", self._kind, {}, self._name)


def won(units: int) -> Json:
    return {"currency": "KRW", "minorUnits": units}


STORE = Kind("Store", "default", {})
TOY = Kind("Toy", "bear", {"title": "Bear", "dailyRate": won(3000)})
RENTAL = Kind(
    "Rental",
    "first",
    {
        "customer": "mina",
        "toyRef": {"name": "bear"},
        "period": {"days": 3},
        "paymentMethod": "pm_card_visa",
    },
)
PAYMENT = Kind(
    "Payment",
    "first",
    {
        "rentalRef": REF,
        "gatewayRef": {"name": "simulator"},
        "amount": won(9000),
        "method": {"token": "pm_card_visa"},
    },
)
GATEWAY = Kind("PaymentGateway", "main", {"simulator": {"endpoint": "http://127.0.0.1:8790"}})
TICKET = Kind("RepairTicket", "ticket", {"toyRef": {"name": "bear"}})
DASHBOARD = Kind("Dashboard", "shop", {})

PAID = {"phase": "Paid", "conditions": [condition("Paid", "True")]}
UNPAID = {"phase": "Reserved", "conditions": [condition("Paid", "False")]}
APPROVED = {"decision": "Approved"}
DENIED = {"decision": "Denied", "reason": "closed for the holidays"}
SECRET = {"name": "card", "key": "token"}
REFUND_FAILURE = {"number": 1, "minorUnits": 9000, "failedMinorUnits": 9000}
GIVEN_BACK = {"failure": 1, "outcome": "GivenBack"}


def held(number: int, start: int, end: int, state: str = "Held") -> Json:
    uid = f"rental-{number}"
    return {
        "rentalUID": uid,
        "rentalRef": {"name": uid, "uid": uid},
        "startTime": DAY.format(start),
        "endTime": DAY.format(end),
        "state": state,
    }


def wants(operator: str, *values: str) -> Json:
    requirement = {"key": "shelf", "operator": operator, **({"values": values} if values else {})}
    return {"matchExpressions": [requirement]}


TOY_CASES = (
    Case(
        "Toy",
        "the status is the record of what happened",
        given=(TOY.create(), TOY.note(phase="Available")),
        refused=(TOY.unset_status(),),
        accepted=(TOY.note(phase="Withdrawn"),),
    ),
    Case(
        "Toy",
        "a toy out of service gets no new booking",
        given=(
            TOY.create(),
            TOY.note(bookings=[held(1, 1, 3)]),
            TOY.note(service={"state": "Damaged"}),
        ),
        refused=(TOY.note(bookings=[held(1, 1, 3), held(2, 4, 5)]),),
        accepted=(
            TOY.note(phase="Damaged"),
            TOY.change(title="Old bear"),
            TOY.note(bookings=[held(1, 1, 3, "Out")]),
            TOY.note(bookings=[]),
            TOY.note(service={"state": "InService"}, bookings=[held(2, 4, 5)]),
        ),
    ),
    Case(
        "Toy",
        "a withdrawn toy gets no new booking",
        given=(
            TOY.create(),
            TOY.note(bookings=[held(1, 1, 3)]),
            TOY.change(availability="Withdrawn"),
        ),
        refused=(TOY.note(bookings=[held(1, 1, 3), held(2, 4, 5)]),),
        accepted=(
            TOY.note(bookings=[held(1, 1, 3, "Out")]),
            TOY.change(availability="Offered"),
            TOY.note(bookings=[held(1, 1, 3, "Out"), held(2, 4, 5)]),
        ),
    ),
    Case(
        "Toy.spec.dailyRate",
        "a day costs at most 2500000000 minor units",
        refused=(TOY.create(dailyRate=won(2_500_000_001)),),
        accepted=(
            TOY.create(dailyRate=won(2_500_000_000)),
            TOY.change(dailyRate=won(0)),
        ),
    ),
    Case(
        "Toy.status",
        "two bookings of a toy must not overlap",
        given=(TOY.create(),),
        refused=(
            TOY.note(bookings=[held(1, 1, 3), held(2, 2, 4)]),
            TOY.note(bookings=[held(1, 1, 5), held(2, 2, 3)]),
        ),
        accepted=(TOY.note(bookings=[held(1, 1, 3), held(2, 3, 5)]),),
    ),
    Case(
        "Toy.status",
        "a toy is with one customer at a time",
        given=(TOY.create(),),
        refused=(
            TOY.note(bookings=[held(1, 1, 3, "Out"), held(2, 3, 5, "Out")]),
            TOY.note(bookings=[held(1, 1, 3, "Returned"), held(2, 3, 5, "Out")]),
        ),
        accepted=(TOY.note(bookings=[held(1, 1, 3, "Out"), held(2, 3, 5), held(3, 5, 6)]),),
    ),
    Case(
        "Toy.status",
        "a booking must end after it starts",
        given=(TOY.create(),),
        refused=(TOY.note(bookings=[held(1, 3, 3)]), TOY.note(bookings=[held(1, 3, 1)])),
        accepted=(TOY.note(bookings=[held(1, 1, 3)]),),
    ),
    Case(
        "Toy.status",
        "whether a toy is in service stays on record",
        given=(TOY.create(), TOY.note(service={"state": "Discarded"})),
        refused=(TOY.note(service=None),),
        accepted=(TOY.note(phase="Discarded"),),
    ),
    Case(
        "Toy.status.service",
        "a discarded toy is out of stock for good",
        given=(TOY.create(), TOY.note(service={"state": "Discarded", "ticketRef": REF})),
        refused=(
            TOY.note(service={"state": "InService"}),
            TOY.note(service={"state": "InRepair"}),
            TOY.note(service={"state": None}),
        ),
        accepted=(
            TOY.note(service={"ticketRef": None}),
            TOY.change(title="The bear that was"),
        ),
    ),
)

RENTAL_CASES = (
    Case(
        "Rental",
        "the status is the record of what happened",
        given=(RENTAL.create(), RENTAL.note(phase="Cancelled")),
        refused=(RENTAL.unset_status(),),
        accepted=(RENTAL.note(conditions=[condition("Ready", "True")]),),
    ),
    Case(
        "Rental",
        "the name of a Rental has at most 63 characters",
        refused=(RENTAL.create(name="r" * 64),),
        accepted=(RENTAL.create(name="r" * 63),),
    ),
    Case(
        "Rental",
        "no payment, no transaction: an order can be approved or denied once it is paid",
        given=(RENTAL.create(),),
        refused=(
            RENTAL.create(name="second", approval=APPROVED),
            RENTAL.change(approval=APPROVED),
            RENTAL.change(approval=DENIED),
        ),
        accepted=(
            RENTAL.note(**UNPAID),
            RENTAL.note(**PAID),
            RENTAL.change(approval=APPROVED),
            RENTAL.note(phase="Rented"),
        ),
    ),
    Case(
        "Rental",
        "this order has ended; there is nothing left to decide",
        given=(RENTAL.create(), RENTAL.note(**PAID), RENTAL.note(phase="Rejected")),
        refused=(RENTAL.change(approval=APPROVED), RENTAL.change(approval=DENIED)),
        accepted=(RENTAL.create(name="second"),),
    ),
    Case(
        "Rental",
        "an approved order cannot be cancelled",
        given=(RENTAL.create(), RENTAL.note(**PAID), RENTAL.note(phase="Approved")),
        refused=(RENTAL.change(desiredState="Cancelled"),),
        accepted=(RENTAL.change(desiredState="Returned"),),
    ),
    Case(
        "Rental",
        "a toy can be returned once the order is approved",
        given=(RENTAL.create(), RENTAL.note(**PAID)),
        refused=(
            RENTAL.change(desiredState="Returned"),
            RENTAL.create(name="second", desiredState="Returned"),
        ),
        accepted=(RENTAL.change(approval=APPROVED), RENTAL.change(desiredState="Returned")),
    ),
    Case(
        "Rental.spec",
        "name the toy by exactly one of toyRef and toySelector",
        refused=(RENTAL.create(toyRef=None), RENTAL.create(toySelector={})),
        accepted=(
            RENTAL.create(),
            RENTAL.create(name="any", toyRef=None, toySelector={}),
        ),
    ),
    Case(
        "Rental.spec",
        "an order keeps the way it names its toy",
        given=(RENTAL.create(),),
        refused=(RENTAL.change(toyRef=None, toySelector={}),),
        accepted=(RENTAL.change(toyRef={"name": "bear"}),),
    ),
    Case(
        "Rental.spec",
        "pay by exactly one of paymentMethod and paymentMethodSecretRef",
        refused=(
            RENTAL.create(paymentMethod=None),
            RENTAL.create(paymentMethodSecretRef=SECRET),
        ),
        accepted=(
            RENTAL.create(),
            RENTAL.change(paymentMethod=None, paymentMethodSecretRef=SECRET),
            RENTAL.change(paymentMethod="pm_card_mastercard", paymentMethodSecretRef=None),
        ),
    ),
    Case(
        "Rental.spec",
        "a cancellation or a return cannot be taken back",
        given=(RENTAL.create(), RENTAL.change(desiredState="Cancelled")),
        refused=(
            RENTAL.change(desiredState="Rented"),
            RENTAL.change(desiredState="Returned"),
            RENTAL.change(desiredState=None),
        ),
        accepted=(RENTAL.change(paymentMethod="pm_card_mastercard"),),
    ),
    Case(
        "Rental.spec",
        "the decision about an order is final",
        given=(RENTAL.create(), RENTAL.note(**PAID), RENTAL.change(approval=DENIED)),
        refused=(
            RENTAL.change(approval={"decision": "Approved"}),
            RENTAL.change(approval={"reason": "another reason"}),
            RENTAL.change(approval=None),
        ),
        accepted=(RENTAL.note(phase="Rejected"), RENTAL.change(desiredState="Cancelled")),
    ),
    Case(
        "Rental.spec",
        "an inspection is final",
        given=(
            RENTAL.create(),
            RENTAL.note(**PAID),
            RENTAL.change(approval=APPROVED),
            RENTAL.change(desiredState="Returned"),
            RENTAL.change(inspection={"result": "Damaged", "missingParts": [{"name": "ear"}]}),
        ),
        refused=(
            RENTAL.change(inspection={"result": "Accepted"}),
            RENTAL.change(inspection={"missingParts": None}),
            RENTAL.change(inspection=None),
        ),
        accepted=(RENTAL.note(phase="Completed"),),
    ),
    Case(
        "Rental.spec",
        "an order is either cancelled or approved, whichever came first",
        given=(RENTAL.create(), RENTAL.note(**PAID)),
        refused=(RENTAL.change(desiredState="Cancelled", approval=APPROVED),),
        accepted=(RENTAL.change(desiredState="Cancelled"), RENTAL.change(approval=DENIED)),
    ),
    Case(
        "Rental.spec",
        "a toy is inspected once the customer has returned it",
        given=(RENTAL.create(), RENTAL.note(**PAID), RENTAL.change(approval=APPROVED)),
        refused=(
            RENTAL.create(name="second", inspection={"result": "Accepted"}),
            RENTAL.change(inspection={"result": "Accepted"}),
        ),
        accepted=(
            RENTAL.change(desiredState="Returned"),
            RENTAL.change(inspection={"result": "Accepted"}),
        ),
    ),
    Case(
        "Rental.spec.customer",
        "the customer of an order cannot be changed",
        given=(RENTAL.create(),),
        refused=(RENTAL.change(customer="juno"),),
        accepted=(RENTAL.change(customer="mina"),),
    ),
    Case(
        "Rental.spec.toyRef",
        "the toy of an order cannot be changed",
        given=(RENTAL.create(),),
        refused=(RENTAL.change(toyRef={"name": "boat"}),),
        accepted=(RENTAL.change(toyRef={"name": "bear"}),),
    ),
    Case(
        "Rental.spec.toySelector",
        "the choice of toys of an order cannot be changed",
        given=(RENTAL.create(toyRef=None, toySelector={"matchLabels": {"shelf": "3"}}),),
        refused=(
            RENTAL.change(toySelector={"matchLabels": {"shelf": "4"}}),
            RENTAL.change(toySelector={"matchLabels": None}),
        ),
        accepted=(RENTAL.change(toySelector={"matchLabels": {"shelf": "3"}}),),
    ),
    Case(
        "Rental.spec.toySelector",
        "the key of a label has at most 317 characters",
        refused=(RENTAL.create(toyRef=None, toySelector={"matchLabels": {LONG_LABEL: "3"}}),),
        accepted=(RENTAL.create(toyRef=None, toySelector={"matchLabels": {"shelf": "3"}}),),
    ),
    Case(
        "Rental.spec.toySelector.matchExpressions[]",
        "give values with In and NotIn",
        refused=(
            RENTAL.create(toyRef=None, toySelector=wants("In")),
            RENTAL.create(toyRef=None, toySelector=wants("Exists", "3")),
        ),
        accepted=(
            RENTAL.create(toyRef=None, toySelector=wants("NotIn", "3", "4")),
            RENTAL.create(name="second", toyRef=None, toySelector=wants("DoesNotExist")),
        ),
    ),
    Case(
        "Rental.spec.period",
        "a rental starts between the years 2000 and 2200",
        refused=tuple(
            RENTAL.create(period={"days": 1, "startTime": start})
            for start in ("9999-12-31T23:59:59Z", "1999-12-31T23:59:59Z", "0001-01-01T00:00:00Z")
        ),
        accepted=(
            RENTAL.create(period={"days": 1, "startTime": DAY.format(1)}),
            RENTAL.create(name="today", period={"days": 365}),
        ),
    ),
    Case(
        "Rental.spec.period",
        "the period of an order cannot be changed",
        given=(RENTAL.create(period={"days": 3, "startTime": DAY.format(1)}),),
        refused=(
            RENTAL.change(period={"days": 4}),
            RENTAL.change(period={"startTime": DAY.format(2)}),
            RENTAL.change(period={"startTime": None}),
        ),
        accepted=(RENTAL.change(period={"days": 3}),),
    ),
    Case(
        "Rental.status",
        "a final phase does not change",
        given=(RENTAL.create(), RENTAL.note(phase="Expired")),
        refused=(
            RENTAL.note(phase="Reserved"),
            RENTAL.note(phase="Cancelled"),
            RENTAL.note(phase=None),
        ),
        accepted=(RENTAL.note(conditions=[condition("Ready", "False")]),),
    ),
    Case(
        "Rental.status",
        "no payment, no transaction: the condition Paid must be True first",
        given=(RENTAL.create(),),
        refused=(
            RENTAL.note(phase="Paid"),
            RENTAL.note(phase="Rented", conditions=[condition("Paid", "Unknown")]),
            RENTAL.note(phase="Approved", conditions=[condition("Booked", "True")]),
        ),
        accepted=(
            RENTAL.note(phase="Reserved"),
            RENTAL.note(phase="Rented", conditions=[condition("Paid", "True")]),
        ),
    ),
)

PAYMENT_CASES = (
    Case(
        "Payment",
        "the status is the record of what happened",
        given=(PAYMENT.create(), PAYMENT.note(capturedMinorUnits=9000)),
        refused=(PAYMENT.unset_status(),),
        accepted=(PAYMENT.note(phase="Captured"),),
    ),
    Case(
        "Payment",
        "the payment method can be replaced only after a decline",
        given=(PAYMENT.create(), PAYMENT.note(phase="Processing")),
        refused=(PAYMENT.change(method={"token": "pm_card_mastercard"}),),
        accepted=(
            PAYMENT.note(phase="Declined"),
            PAYMENT.change(method={"token": None, "secretRef": SECRET}),
        ),
    ),
    Case(
        "Payment",
        "name the PaymentGateway that collects the amount",
        refused=(PAYMENT.create(gatewayRef=None),),
        accepted=(PAYMENT.create(), PAYMENT.create(name="free", gatewayRef=None, amount=won(0))),
    ),
    Case(
        "Payment",
        "only a payment in ManualReview is resolved by a person",
        given=(PAYMENT.create(), PAYMENT.note(phase="Unknown")),
        refused=(
            PAYMENT.create(name="second", resolution={"outcome": "NotCharged"}),
            PAYMENT.change(resolution={"outcome": "NotCharged"}),
        ),
        accepted=(
            PAYMENT.note(phase="ManualReview"),
            PAYMENT.change(resolution={"outcome": "NotCharged"}),
            PAYMENT.note(phase="Declined"),
            PAYMENT.change(method={"token": "pm_card_mastercard"}),
        ),
    ),
    Case(
        "Payment.spec",
        "a refund cannot be taken back",
        given=(PAYMENT.create(), PAYMENT.change(refundMinorUnits=4000)),
        refused=(PAYMENT.change(refundMinorUnits=3000), PAYMENT.change(refundMinorUnits=None)),
        accepted=(PAYMENT.change(refundMinorUnits=4000), PAYMENT.change(refundMinorUnits=9000)),
    ),
    Case(
        "Payment.spec",
        "no more can be refunded than was charged",
        given=(PAYMENT.create(),),
        refused=(PAYMENT.change(refundMinorUnits=9001),),
        accepted=(PAYMENT.change(refundMinorUnits=9000),),
    ),
    Case(
        "Payment.spec",
        "the gateway of a payment cannot be changed",
        given=(PAYMENT.create(amount=won(0)),),
        refused=(PAYMENT.change(gatewayRef=None),),
        accepted=(PAYMENT.change(gatewayRef={"name": "simulator"}),),
    ),
    Case(
        "Payment.spec",
        "the resolution of a review is final",
        given=(
            PAYMENT.create(),
            PAYMENT.note(phase="ManualReview"),
            PAYMENT.change(resolution={"outcome": "Captured", "gatewayPaymentID": "ch_1"}),
        ),
        refused=(
            PAYMENT.change(resolution={"outcome": "NotCharged"}),
            PAYMENT.change(resolution={"gatewayPaymentID": "ch_2"}),
            PAYMENT.change(resolution=None),
        ),
        accepted=(PAYMENT.note(phase="Captured"), PAYMENT.change(refundMinorUnits=9000)),
    ),
    Case(
        "Payment",
        "only a refund that failed is resolved by a person",
        given=(PAYMENT.create(), PAYMENT.note(phase="Captured", capturedMinorUnits=9000)),
        refused=(
            PAYMENT.create(name="second", refundResolution=GIVEN_BACK),
            PAYMENT.change(refundResolution=GIVEN_BACK),
        ),
        accepted=(
            PAYMENT.note(refundFailure=REFUND_FAILURE),
            PAYMENT.change(refundResolution=GIVEN_BACK),
            PAYMENT.note(phase="Refunded", refundedMinorUnits=9000),
        ),
    ),
    Case(
        "Payment.spec",
        "the resolution of a failed refund is final",
        given=(
            PAYMENT.create(),
            PAYMENT.note(phase="Captured", capturedMinorUnits=9000, refundFailure=REFUND_FAILURE),
            PAYMENT.change(refundResolution={"failure": 1, "outcome": "TryAgain"}),
        ),
        refused=(
            PAYMENT.change(refundResolution=GIVEN_BACK),
            PAYMENT.change(refundResolution=None),
        ),
        accepted=(
            PAYMENT.change(refundResolution={"failure": 1, "outcome": "TryAgain"}),
            PAYMENT.note(refundFailure={**REFUND_FAILURE, "number": 2}),
            PAYMENT.change(refundResolution={"failure": 2, "outcome": "GivenBack"}),
        ),
    ),
    Case(
        "Payment.spec.rentalRef",
        "the rental of a payment cannot be changed",
        given=(PAYMENT.create(),),
        refused=(PAYMENT.change(rentalRef={"uid": "another"}),),
        accepted=(PAYMENT.change(rentalRef=REF),),
    ),
    Case(
        "Payment.spec.gatewayRef",
        "the gateway of a payment cannot be changed",
        given=(PAYMENT.create(),),
        refused=(PAYMENT.change(gatewayRef={"name": "another"}),),
        accepted=(PAYMENT.change(gatewayRef={"name": "simulator"}),),
    ),
    Case(
        "Payment.spec.amount",
        "the amount of a payment cannot be changed",
        given=(PAYMENT.create(),),
        refused=(
            PAYMENT.change(amount={"minorUnits": 9001}),
            PAYMENT.change(amount={"currency": "EUR"}),
        ),
        accepted=(PAYMENT.change(amount=won(9000)),),
    ),
    Case(
        "Payment.spec.method",
        "give exactly one of token and secretRef",
        refused=(
            PAYMENT.create(method={}),
            PAYMENT.create(method={"token": "pm_card_visa", "secretRef": SECRET}),
        ),
        accepted=(PAYMENT.create(method={"secretRef": SECRET}),),
    ),
    Case(
        "Payment.spec.resolution",
        "give the provider's id of the captured payment",
        given=(PAYMENT.create(), PAYMENT.note(phase="ManualReview")),
        refused=(PAYMENT.change(resolution={"outcome": "Captured"}),),
        accepted=(PAYMENT.change(resolution={"outcome": "NotCharged"}),),
    ),
    Case(
        "Payment.status",
        "captured money does not vanish",
        given=(PAYMENT.create(), PAYMENT.note(phase="Captured", capturedMinorUnits=9000)),
        refused=(PAYMENT.note(capturedMinorUnits=8999), PAYMENT.note(capturedMinorUnits=None)),
        accepted=(PAYMENT.note(phase="Refunded", refundedMinorUnits=9000),),
    ),
    Case(
        "Payment.status",
        "refunded money does not come back",
        given=(PAYMENT.create(), PAYMENT.note(capturedMinorUnits=9000, refundedMinorUnits=4000)),
        refused=(PAYMENT.note(refundedMinorUnits=3000), PAYMENT.note(refundedMinorUnits=None)),
        accepted=(PAYMENT.note(refundedMinorUnits=9000),),
    ),
    Case(
        "Payment.status",
        "no more can be refunded than was captured",
        given=(PAYMENT.create(),),
        refused=(
            PAYMENT.note(refundedMinorUnits=1),
            PAYMENT.note(capturedMinorUnits=9000, refundedMinorUnits=9001),
        ),
        accepted=(
            PAYMENT.note(refundedMinorUnits=0),
            PAYMENT.note(capturedMinorUnits=9000, refundedMinorUnits=9000),
        ),
    ),
    Case(
        "Payment.status",
        "a refunded payment is final",
        given=(PAYMENT.create(), PAYMENT.note(phase="Voided"), PAYMENT.note(phase="Refunded")),
        refused=(PAYMENT.note(phase="Captured"), PAYMENT.note(phase=None)),
        accepted=(PAYMENT.note(conditions=[condition("Refunded", "True")]),),
    ),
    Case(
        "Payment.status.attemptMethod",
        "give exactly one of token and secretRef",
        given=(PAYMENT.create(),),
        refused=(PAYMENT.note(attemptMethod={}),),
        accepted=(PAYMENT.note(attemptMethod={"token": "pm_card_visa"}),),
    ),
)

BOTH: dict[str, Any] = {"stripe": {"secretRef": SECRET}, "toss": {"secretRef": SECRET}}

OTHER_CASES = (
    Case(
        "Store",
        "a shop has one Store, named 'default'",
        refused=(STORE.create(name="another"),),
        accepted=(STORE.create(),),
    ),
    Case(
        "PaymentGateway.spec",
        "name exactly one provider",
        refused=(
            GATEWAY.create(simulator=None),
            GATEWAY.create(stripe={"secretRef": SECRET}),
            GATEWAY.create(toss={"secretRef": SECRET}),
            GATEWAY.create(simulator=None, **BOTH),
            GATEWAY.create(**BOTH),
        ),
        accepted=(
            GATEWAY.create(),
            GATEWAY.create(name="second", simulator=None, stripe={"secretRef": SECRET}),
            GATEWAY.create(name="third", simulator=None, toss={"secretRef": SECRET}),
        ),
    ),
    Case(
        "PaymentGateway.spec",
        "a gateway keeps its provider",
        given=(GATEWAY.create(),),
        refused=(
            GATEWAY.change(simulator=None, stripe={"secretRef": SECRET}),
            GATEWAY.change(simulator=None, toss={"secretRef": SECRET}),
        ),
        accepted=(
            GATEWAY.change(simulator={"endpoint": "http://127.0.0.1:8791"}),
            GATEWAY.change(simulator={"secretRef": SECRET}),
            GATEWAY.change(simulator={"secretRef": None}),
            GATEWAY.change(timeoutSeconds=3),
        ),
    ),
    Case(
        "PaymentGateway.spec",
        "Toss Payments does not sign what it tells of payments",
        refused=(
            GATEWAY.create(simulator=None, toss={"secretRef": SECRET}, webhookSecretRef=SECRET),
        ),
        accepted=(
            GATEWAY.create(webhookSecretRef=SECRET),
            GATEWAY.create(
                name="second",
                simulator=None,
                stripe={"secretRef": SECRET},
                webhookSecretRef=SECRET,
            ),
        ),
    ),
    Case(
        "RepairTicket",
        "the status is the record of what happened",
        given=(TICKET.create(), TICKET.note(phase="Repaired")),
        refused=(TICKET.unset_status(),),
        accepted=(TICKET.note(finishedTime=DAY.format(1)),),
    ),
    Case(
        "RepairTicket.spec",
        "the resolution of a repair is final",
        given=(TICKET.create(), TICKET.change(resolution={"outcome": "Repaired"})),
        refused=(
            TICKET.change(resolution={"outcome": "Discarded"}),
            TICKET.change(resolution={"notes": "new eye"}),
            TICKET.change(resolution=None),
        ),
        accepted=(TICKET.change(assignee="hana"),),
    ),
    Case(
        "RepairTicket.spec.toyRef",
        "the toy of a ticket cannot be changed",
        given=(TICKET.create(),),
        refused=(TICKET.change(toyRef={"name": "boat"}),),
        accepted=(TICKET.change(toyRef={"name": "bear"}),),
    ),
    Case(
        "RepairTicket.status",
        "a final phase does not change",
        given=(TICKET.create(), TICKET.note(phase="Discarded")),
        refused=(TICKET.note(phase="Repaired"), TICKET.note(phase=None)),
        accepted=(TICKET.note(conditions=[condition("Ready", "True")]),),
    ),
    Case(
        "Dashboard.spec.selector",
        "the key of a label has at most 317 characters",
        refused=(DASHBOARD.create(selector={"matchLabels": {LONG_LABEL: "3"}}),),
        accepted=(DASHBOARD.create(selector={"matchLabels": {"shelf": "3"}}),),
    ),
    Case(
        "Dashboard.spec.selector.matchExpressions[]",
        "give values with In and NotIn",
        refused=(DASHBOARD.create(selector=wants("NotIn")),),
        accepted=(DASHBOARD.create(selector=wants("In", "3")),),
    ),
)

CASES = TOY_CASES + RENTAL_CASES + PAYMENT_CASES + OTHER_CASES

RULES = [
    (str(field), rule["message"])
    for crd in crds()
    for field in fields(crd)
    for rule in field.schema.get("x-kubernetes-validations", ())
]


def test_every_rule_has_a_case() -> None:
    lacking = [
        (place, message)
        for place, message in RULES
        if not any(c.place == place and message.startswith(c.message) for c in CASES)
    ]
    assert not lacking, f"add cases for {lacking}"


def test_every_case_is_of_a_rule() -> None:
    for case in CASES:
        of = [m for place, m in RULES if place == case.place and m.startswith(case.message)]
        assert len(of) == 1, f"{case} is the case of {len(of)} rules"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule(shop: Shop, case: Case) -> None:
    for step in case.given:
        step(shop)
    for step in case.refused:
        with pytest.raises(Refused) as refused:
            step(shop)
        assert refused.value.status == 422, f"{step}: {refused.value}"
        assert case.message in refused.value.message, f"{step}: {refused.value}"
        assert "no such key" not in refused.value.message, f"{step}: {refused.value}"
    for step in case.accepted:
        step(shop)


# What is taken as a start and not understood would be an order that nobody ever looks at.


@pytest.mark.parametrize(
    "moment",
    [
        "2027-01-01t00:00:00z",
        "2027-01-01 00:00:00Z",
        "2027-01-01T00:00:60Z",
        "2027-01-01T24:00:00Z",
        "2027-01-01T00:00:00+25:00",
        "2027-01-01T00:00:00+0900",
        "2000-01-01T00:00:00+14:00",
        "0000-01-01T00:00:00Z",
    ],
)
def test_an_odd_start_is_refused(shop: Shop, moment: str) -> None:
    with pytest.raises(Refused) as refused:
        RENTAL.create(period={"days": 1, "startTime": moment})(shop)
    assert refused.value.status == 422, refused.value
    assert "startTime" in refused.value.message


@pytest.mark.parametrize(
    ("moment", "means"),
    [
        ("2027-01-01T00:00:00.123456789Z", "2027-01-01T00:00:00Z"),
        ("2027-01-01T09:00:00+09:00", "2027-01-01T00:00:00Z"),
        ("2027-01-01T00:00:00-23:59", "2027-01-01T23:59:00Z"),
    ],
)
def test_a_start_is_understood_in_utc(shop: Shop, moment: str, means: str) -> None:
    RENTAL.create(period={"days": 1, "startTime": moment})(shop)
    period = shop.get(Rental, "first").spec.period.model_dump_json(by_alias=True)
    assert f'"startTime":"{means}"' in period


# An order's, a toy's or a payment's whole past must never stand in the way of its keeper: labels,
# finalizers and an unrelated part of the status can be written, and the object can be deleted.

OLD = (
    (RENTAL.create(), RENTAL.note(**PAID), RENTAL.note(phase="Cancelled")),
    (
        RENTAL.create(),
        RENTAL.note(**PAID),
        RENTAL.change(approval=APPROVED),
        RENTAL.note(phase="Rented"),
        RENTAL.change(desiredState="Returned"),
        RENTAL.change(inspection={"result": "Accepted"}),
        RENTAL.note(phase="Completed"),
    ),
    (RENTAL.create(), RENTAL.change(desiredState="Cancelled"), RENTAL.note(phase="Expired")),
    (
        TOY.create(),
        TOY.note(bookings=[held(1, 1, 3), held(2, 3, 4)]),
        TOY.note(service={"state": "Discarded"}),
        TOY.change(availability="Withdrawn"),
    ),
    (
        PAYMENT.create(),
        PAYMENT.note(phase="ManualReview"),
        PAYMENT.change(resolution={"outcome": "Captured", "gatewayPaymentID": "ch_1"}),
        PAYMENT.change(refundMinorUnits=9000),
        PAYMENT.note(phase="Refunded", capturedMinorUnits=9000, refundedMinorUnits=9000),
    ),
    (
        TICKET.create(),
        TICKET.change(resolution={"outcome": "Discarded"}),
        TICKET.note(phase="Discarded"),
    ),
)


@pytest.mark.parametrize("past", OLD, ids=lambda past: f"{past[0].kind} {past[-1].content}")
def test_the_past_never_stands_in_the_way(shop: Shop, past: tuple[Step, ...]) -> None:
    for step in past:
        step(shop)
    kind, name, api = past[0].kind, past[0].name, shop.api
    kept = {"metadata": {"labels": {"archived": "2026"}, "finalizers": ["toyrental.dev/test"]}}
    api.patch(kind, name, shop.name, kept)
    told = {"observedGeneration": 7, "conditions": [condition("Archived", "True")]}
    api.patch(kind, name, shop.name, {"status": told}, "status")
    api.delete(kind, name, shop.name)
    api.patch(kind, name, shop.name, {"metadata": {"finalizers": None}})
    assert not any(each["metadata"]["name"] == name for each in api.find(kind, shop.name))


def test_the_largest_toy_is_within_the_cost_that_the_api_server_grants(shop: Shop) -> None:
    """64 bookings, every rule on them looked at: the bounds of the schema can be reached."""
    TOY.create()(shop)
    bookings = [
        {
            "rentalUID": f"{number:02}" * 32,
            "rentalRef": {"name": "r" * 253, "uid": f"{number:02}" * 32},
            "startTime": f"2026-{1 + number // 28:02}-{1 + number % 28:02}T00:00:00Z",
            "endTime": f"2026-{1 + number // 28:02}-{1 + number % 28:02}T23:59:59Z",
            "state": "Held",
        }
        for number in range(64)
    ]
    TOY.note(bookings=bookings, service={"state": "InService"})(shop)
    TOY.change(availability="Withdrawn")(shop)
    TOY.note(service={"state": "Damaged"})(shop)
    TOY.note(bookings=bookings[1:])(shop)


def test_the_api_server_takes_the_crds_as_they_are(shop: Shop) -> None:
    for crd in shop.api.find("CustomResourceDefinition"):
        if crd["spec"]["group"] == "toyrental.dev":
            held = {each["type"]: each["status"] for each in crd["status"]["conditions"]}
            assert held == {"NamesAccepted": "True", "Established": "True"}, crd["metadata"]
