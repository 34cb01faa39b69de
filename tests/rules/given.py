"""Things to begin the test of one rule with: toys, orders, payments, as the API server has them."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.rules.world import MONDAY, SHOP
from toyrental.payments.models import (
    SETTLE,
    Method,
    Payment,
    PaymentSpec,
    PaymentStatus,
)
from toyrental.rentals.bookings import place_in_line
from toyrental.rentals.models import Period, Rental, RentalSpec, ToySelector
from toyrental.shared.model import NameRef, ObjectRef
from toyrental.shared.money import Currency, Money
from toyrental.shared.resource import Metadata
from toyrental.stores.models import (
    Booking,
    BookingState,
    StoreSpec,
    Toy,
    ToySpec,
    ToyStatus,
)

OPEN_SHOP = StoreSpec(payment_gateway_ref=NameRef(name="till"))


def uid_of(name: str) -> str:
    """Return the uid that the object of a name has in these tests."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def won(minor_units: int) -> Money:
    return Money(currency=Currency.KRW, minor_units=minor_units)


def metadata(name: str, *, created: datetime = MONDAY, **more: object) -> Metadata:
    return Metadata.model_validate(
        {
            "name": name,
            "namespace": SHOP,
            "uid": uid_of(name),
            "resource_version": "1",
            "generation": 1,
            "creation_timestamp": created,
            **more,
        }
    )


def a_toy(name: str = "robot", *, rate: int = 5000, colour: str = "red", **status: object) -> Toy:
    spec = ToySpec(title=name.title(), daily_rate=won(rate))
    toy = Toy(metadata=metadata(name, labels={"color": colour}), spec=spec)
    return toy.model_copy(update={"status": ToyStatus.model_validate(status)})


def a_booking(
    name: str, start: datetime, end: datetime, state: BookingState = BookingState.HELD
) -> Booking:
    return Booking(
        rental_uid=uid_of(name),
        rental_ref=ObjectRef(name=name, uid=uid_of(name)),
        start_time=start,
        end_time=end,
        state=state,
    )


def an_order(
    name: str = "order",
    toy: str | None = None,
    *,
    colour: str = "red",
    created: datetime = MONDAY,
    start: datetime | None = None,
    days: int = 2,
) -> Rental:
    spec = RentalSpec(
        customer="mina",
        toy_ref=NameRef(name=toy) if toy else None,
        toy_selector=None if toy else ToySelector(match_labels={"color": colour}),
        period=Period(start_time=start, days=days),
        payment_method="good",
    )
    return Rental(metadata=metadata(name, created=created), spec=spec)


def a_payment(
    *,
    amount: int = 10_000,
    created: datetime = MONDAY,
    deleted: datetime | None = None,
    refund: int = 0,
    by: str = "good",
    **status: object,
) -> Payment:
    order = an_order()
    return Payment(
        metadata=metadata(
            "payment",
            created=created,
            deletion_timestamp=deleted,
            finalizers=(SETTLE,),
            owner_references=(order.as_owner(),),
        ),
        spec=PaymentSpec(
            rental_ref=ObjectRef(name=order.name, uid=order.uid),
            gateway_ref=NameRef(name="till") if amount else None,
            amount=won(amount),
            method=Method(token=by),
            refund_minor_units=refund,
        ),
        status=PaymentStatus.model_validate(status),
    )


@dataclass(frozen=True)
class Shelf:
    """A shop whose whole stock and line are given."""

    stock: Sequence[Toy] = ()
    waiting: Sequence[Rental] = ()

    def toys(self) -> Iterable[Toy]:
        return sorted(self.stock, key=lambda toy: toy.name)

    def toy(self, name: str) -> Toy | None:
        return next((toy for toy in self.stock if toy.name == name), None)

    def toys_booked_by(self, rental_uid: str) -> Sequence[Toy]:
        return [toy for toy in self.toys() if toy.booking_of(rental_uid) is not None]

    def line(self) -> Sequence[Rental]:
        return sorted(self.waiting, key=place_in_line)

    def with_toy(self, toy: Toy) -> "Shelf":
        """Return the shop after a toy has changed."""
        others = [other for other in self.stock if other.name != toy.name]
        return Shelf([*others, toy], self.waiting)

    def without(self, order: Rental) -> "Shelf":
        """Return the shop after somebody has left the line."""
        return Shelf(self.stock, [other for other in self.waiting if other.uid != order.uid])


def hours(n: float) -> timedelta:
    return timedelta(hours=n)


def days(n: float) -> timedelta:
    return timedelta(days=n)
