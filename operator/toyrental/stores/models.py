"""The resources of stores: a shop's policy, and each toy in its stock."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from toyrental.shared import conditions
from toyrental.shared.conditions import Conditions
from toyrental.shared.model import (
    UID,
    Count,
    Model,
    NameRef,
    ObjectRef,
    Rule,
    Text,
    Time,
    map_list,
    ruled,
)
from toyrental.shared.money import Currency, Money
from toyrental.shared.resource import KEEPS_STATUS, Column, Resource, Served, Status

STORE_NAME = "default"
"""The name of the one Store a namespace has."""


class Approval(StrEnum):
    """Who approves a paid rental."""

    MANUAL = "Manual"
    AUTOMATIC = "Automatic"


class Orders(StrEnum):
    """Whether new rentals are served."""

    ACCEPTED = "Accepted"
    PAUSED = "Paused"


class StoreSpec(Model):
    """The policy of a shop."""

    currency: Currency = Currency.KRW
    """The currency all toys of the shop are priced in."""

    payment_gateway_ref: NameRef | None = None
    """The PaymentGateway that takes the shop's payments. Without one, only free toys are rented."""

    approval: Approval = Approval.MANUAL
    """Manual: the owner approves each paid rental. Automatic: a paid rental is approved at once."""

    payment_deadline_seconds: Annotated[int, Field(ge=1, le=30 * 86400)] = 1800
    """How long a customer has to act after a declined payment before the order expires."""

    orders: Orders = Orders.ACCEPTED
    """Paused: new rentals are kept, but stay Pending until orders are accepted again."""

    @property
    def payment_deadline(self) -> timedelta:
        """How long a customer has to act after a declined payment."""
        return timedelta(seconds=self.payment_deadline_seconds)


class StoreStatus(Status):
    """What the operator sees of a shop."""

    conditions: Conditions = ()
    """Ready: the shop can take orders and payments."""


class Store(Resource):
    """A shop's policy: one a namespace, named `default`. A shop without one uses the defaults."""

    SERVED: ClassVar = Served(
        kind="Store",
        plural="stores",
        short_names=(),
        columns=(
            Column("Currency", ".spec.currency"),
            Column("Approval", ".spec.approval"),
            Column("Orders", ".spec.orders"),
            Column("Gateway", ".spec.paymentGatewayRef.name"),
            Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
            Column("Reason", ".status.conditions[?(@.type=='Ready')].reason", wide=True),
            Column("Age", ".metadata.creationTimestamp", type="date"),
        ),
    )
    RULES = (
        Rule(
            f"self.metadata.name == '{STORE_NAME}'",
            f"a shop has one Store, named '{STORE_NAME}'; name it so",
        ),
    )

    spec: StoreSpec = StoreSpec()
    status: StoreStatus = StoreStatus()


class Availability(StrEnum):
    """Whether the owner offers a toy for rent."""

    OFFERED = "Offered"
    WITHDRAWN = "Withdrawn"


class BookingState(StrEnum):
    """How far a booking has come."""

    HELD = "Held"
    OUT = "Out"
    RETURNED = "Returned"


class ServiceState(StrEnum):
    """Whether a toy is fit to be rented."""

    IN_SERVICE = "InService"
    DAMAGED = "Damaged"
    IN_REPAIR = "InRepair"
    DISCARDED = "Discarded"


class ToyPhase(StrEnum):
    """A toy's state in one word, derived from its bookings, its service and the owner's offer."""

    AVAILABLE = "Available"
    RESERVED = "Reserved"
    RENTED = "Rented"
    RETURNED = "Returned"
    DAMAGED = "Damaged"
    IN_REPAIR = "InRepair"
    DISCARDED = "Discarded"
    WITHDRAWN = "Withdrawn"


class Part(Model):
    """A kind of piece that belongs to a toy."""

    name: Text
    """What the piece is."""

    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How many of them the toy has."""


class ToySpec(Model):
    """One physical toy."""

    title: Text
    """What customers know it by."""

    model: Text | None = None
    """The maker's model; units of one model share it."""

    category: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """The shelf it belongs to, such as puzzles."""

    daily_rate: Annotated[
        Money,
        ruled(
            Rule(
                "self.minorUnits <= 2500000000",
                "a day costs at most 2500000000 minor units, so that a year of them is still an"
                " amount; correct dailyRate",
            )
        ),
    ]
    """The price of one day, in the shop's currency."""

    parts: Annotated[tuple[Part, ...], map_list("name", most=64)] = ()
    """The pieces to count when it comes back."""

    barcode: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The code on its label."""

    availability: Availability = Availability.OFFERED
    """Withdrawn: it gets no new booking; those it has are honoured."""


class Booking(Model):
    """A promise of the toy to one rental, from a moment to another."""

    rental_uid: Annotated[UID, Field(alias="rentalUID")]
    """The uid of the rental it is promised to."""

    rental_ref: ObjectRef
    """The rental it is promised to."""

    start_time: Time
    """When the promise starts."""

    end_time: Time
    """When the promise ends: the first moment at which it may be promised to another."""

    state: BookingState
    """Held for the customer, Out with them, or Returned and awaiting inspection."""

    @property
    def with_customer(self) -> bool:
        """Whether the toy is out, or back and not inspected: nobody else can have it."""
        return self.state is not BookingState.HELD

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Tell whether the promise and [start, end) share a moment."""
        return self.start_time < end and start < self.end_time


class Service(Model):
    """Whether the toy is fit to be rented, and the ticket that says why not."""

    RULES = (
        Rule(
            "!has(oldSelf.state) || oldSelf.state != 'Discarded'"
            " || (has(self.state) && self.state == 'Discarded')",
            "a discarded toy is out of stock for good; register a new Toy instead",
        ),
    )

    state: ServiceState = ServiceState.IN_SERVICE
    """InService, or why not."""

    ticket_ref: ObjectRef | None = None
    """The one RepairTicket that decides over the toy while it is out of service."""


class ToyStatus(Status):
    """Where a toy is, and to whom it is promised."""

    RULES = (
        Rule(
            "!has(self.bookings) || self.bookings.all(a, self.bookings.all(b,"
            " a.rentalUID == b.rentalUID ||"
            " a.endTime <= b.startTime || b.endTime <= a.startTime))",
            "two bookings of a toy must not overlap; choose another toy or another period",
        ),
        Rule(
            "!has(self.bookings) || self.bookings.filter(b, b.state != 'Held').size() <= 1",
            "a toy is with one customer at a time; wait until the earlier rental is inspected",
        ),
        Rule(
            "!has(self.bookings) || self.bookings.all(b, b.startTime < b.endTime)",
            "a booking must end after it starts; correct its endTime",
        ),
        Rule(
            "!has(oldSelf.service) || has(self.service)",
            "whether a toy is in service stays on record; set service.state instead of removing it",
        ),
    )

    phase: ToyPhase | None = None
    """The toy's state in one word, for people."""

    bookings: Annotated[tuple[Booking, ...], map_list("rentalUID", most=64)] = ()
    """Whom the toy is promised to."""

    service: Service = Service()
    """Whether the toy is fit to be rented."""

    completed_rentals: Count = 0
    """How many rentals it has come back from."""

    conditions: Conditions = ()
    """InService: it can be handed out. Ready: the operator has taken it into stock."""


_NO_BOOKINGS = "!has(self.status) || !has(self.status.bookings)"
_NO_NEW_BOOKINGS = (
    "self.status.bookings.all(b, b.state != 'Held'"
    " || (has(oldSelf.status) && has(oldSelf.status.bookings)"
    " && oldSelf.status.bookings.exists(o, o.rentalUID == b.rentalUID)))"
)


class Toy(Resource):
    """One physical toy in the stock of a shop."""

    SERVED: ClassVar = Served(
        kind="Toy",
        plural="toys",
        short_names=("ty",),
        columns=(
            Column("Title", ".spec.title"),
            Column("Phase", ".status.phase"),
            Column("Rate", ".spec.dailyRate.minorUnits", type="integer"),
            Column("Currency", ".spec.dailyRate.currency"),
            Column("Rentals", ".status.completedRentals", type="integer"),
            Column("Model", ".spec.model", wide=True),
            Column("Category", ".spec.category", wide=True),
            Column("Promised-To", ".status.bookings[*].rentalRef.name", wide=True),
            Column("Ticket", ".status.service.ticketRef.name", wide=True),
            Column("Age", ".metadata.creationTimestamp", type="date"),
        ),
        selectable=(".spec.category", ".spec.model", ".spec.barcode", ".status.phase"),
    )
    RULES = (
        KEEPS_STATUS,
        Rule(
            f"{_NO_BOOKINGS} || !has(self.status.service) || !has(self.status.service.state)"
            f" || self.status.service.state == 'InService' || {_NO_NEW_BOOKINGS}",
            "a toy out of service gets no new booking; wait for its RepairTicket or choose another",
        ),
        Rule(
            f"{_NO_BOOKINGS} || self.spec.availability != 'Withdrawn' || {_NO_NEW_BOOKINGS}",
            "a withdrawn toy gets no new booking; choose another, or offer it again",
        ),
    )

    spec: ToySpec
    status: ToyStatus = ToyStatus()

    @property
    def rental_uid(self) -> str:
        """The uid of the rental that has the toy, if one has."""
        return self.out.rental_uid if self.out else ""

    @property
    def in_service(self) -> bool:
        """Whether the toy is fit to be rented."""
        return self.status.service.state is ServiceState.IN_SERVICE

    @property
    def discarded(self) -> bool:
        """Whether the toy is out of stock for good."""
        return self.status.service.state is ServiceState.DISCARDED

    @property
    def offered(self) -> bool:
        """Whether new bookings may be taken: fit, offered by the owner, not being deleted."""
        withdrawn = self.spec.availability is Availability.WITHDRAWN
        return self.in_service and not withdrawn and not self.deleting

    @property
    def out(self) -> Booking | None:
        """The booking of whoever has the toy, or brought it back and awaits inspection."""
        return next((b for b in self.status.bookings if b.with_customer), None)

    def booking_of(self, rental_uid: str) -> Booking | None:
        """Return the booking of that rental, if the toy carries one."""
        return next((b for b in self.status.bookings if b.rental_uid == rental_uid), None)

    def updated(
        self,
        now: datetime,
        *,
        bookings: Iterable[Booking] | None = None,
        service: Service | None = None,
        completed_rentals: int | None = None,
    ) -> "Toy":
        """Return the toy with these changes, its phase and conditions derived anew.

        Everyone who writes a toy's status goes through here, so that phase and conditions never
        need a write of their own.
        """
        status = self.status
        changed = status.model_copy(
            update={
                "bookings": status.bookings if bookings is None else tuple(bookings),
                "service": service or status.service,
                "completed_rentals": (
                    status.completed_rentals if completed_rentals is None else completed_rentals
                ),
            }
        )
        phase = toy_phase(self.spec, changed)
        return self.with_status(
            bookings=changed.bookings,
            service=changed.service,
            completed_rentals=changed.completed_rentals,
            phase=phase,
            conditions=conditions.update(
                status.conditions,
                {"InService": _in_service(changed.service), "Ready": _IN_STOCK},
                generation=self.metadata.generation,
                now=now,
            ),
        )


def toy_phase(spec: ToySpec, status: ToyStatus) -> ToyPhase:
    """Summarise a toy in one word: what stands most in the way of renting it comes first."""
    states = {b.state for b in status.bookings}
    match status.service.state:
        case ServiceState.DISCARDED:
            return ToyPhase.DISCARDED
        case _ if BookingState.OUT in states:
            return ToyPhase.RENTED
        case _ if BookingState.RETURNED in states:
            return ToyPhase.RETURNED
        case ServiceState.DAMAGED:
            return ToyPhase.DAMAGED
        case ServiceState.IN_REPAIR:
            return ToyPhase.IN_REPAIR
        case _ if states:
            return ToyPhase.RESERVED
        case _ if spec.availability is Availability.WITHDRAWN:
            return ToyPhase.WITHDRAWN
        case _:
            return ToyPhase.AVAILABLE


_IN_STOCK = conditions.true("InStock", "The toy is in stock; its phase says where it is.")


def _in_service(service: Service) -> conditions.Finding:
    ticket = f" See RepairTicket {service.ticket_ref.name}." if service.ticket_ref else ""
    match service.state:
        case ServiceState.IN_SERVICE:
            return conditions.true("InService", "The toy is fit to be rented.")
        case ServiceState.DAMAGED:
            return conditions.false("Damaged", f"The toy is damaged and awaits repair.{ticket}")
        case ServiceState.IN_REPAIR:
            return conditions.false("InRepair", f"The toy is being repaired.{ticket}")
        case ServiceState.DISCARDED:
            return conditions.false("Discarded", f"The toy is out of stock for good.{ticket}")
