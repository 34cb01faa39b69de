"""The rules of stores: a toy's status is true, and no booking outlives its rental."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from toyrental.payments.models import PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.shared import conditions
from toyrental.shared.conditions import Finding, false, true
from toyrental.shared.decisions import NOTHING, Decision, Event, Write, status_write
from toyrental.shared.resource import Key
from toyrental.stores.models import Booking, Orders, Store, Toy


@dataclass(frozen=True)
class ToySituation:
    """A toy, and the rentals that its bookings name: None where there is none of that name."""

    toy: Toy
    rentals: Mapping[str, Rental | None]
    now: datetime


def decide_toy(s: ToySituation) -> Decision:
    """Return the next step for a toy."""
    stale = [
        b for b in s.toy.status.bookings if _without_rental(b, s.rentals.get(b.rental_ref.name))
    ]
    if not stale:
        return Decision(status_write(s.toy, s.toy.updated(s.now)))
    gone = {b.rental_uid for b in stale}
    kept = (b for b in s.toy.status.bookings if b.rental_uid not in gone)
    names = sorted({b.rental_ref.name for b in stale})
    event = Event("BookingReleased", f"Free again, for the rental is gone: {', '.join(names)}.")
    confirm = tuple(Key("Rental", s.toy.namespace, name) for name in names)
    return Decision(Write(s.toy, s.toy.updated(s.now, bookings=kept), event), confirm=confirm)


def _without_rental(booking: Booking, rental: Rental | None) -> bool:
    """Tell whether nobody stands behind a booking: its rental is gone, or holds another toy.

    A toy that is out stays so while its rental exists: only the inspection ends that.
    """
    return rental is None or rental.uid != booking.rental_uid


def decide_store(store: Store, gateway: PaymentGateway | None, now: datetime) -> Decision:
    """Return the next step for a shop's policy: say whether it can take orders and payments."""
    if store.deleting:
        return NOTHING
    ready, stalled = _ready(store, gateway)
    after = store.with_status(
        conditions=conditions.update(
            store.status.conditions,
            conditions.readiness(ready, stalled=stalled),
            generation=store.metadata.generation,
            now=now,
        )
    )
    return Decision(status_write(store, after))


def _ready(store: Store, gateway: PaymentGateway | None) -> tuple[Finding, bool]:
    ref = store.spec.payment_gateway_ref
    if ref is None:
        return false(
            "NoPaymentGateway",
            "Only free toys can be rented; set paymentGatewayRef to a PaymentGateway.",
        ), True
    if gateway is None:
        return false(
            "PaymentGatewayNotFound",
            f"Payments are deferred: there is no PaymentGateway {ref.name}; create it.",
        ), True
    if gateway.spec.suspended:
        return false(
            "PaymentGatewaySuspended",
            f"Payments are deferred: PaymentGateway {ref.name} is suspended; unset its suspended.",
        ), True
    if store.spec.orders is Orders.PAUSED:
        return true("OrdersPaused", "New orders are kept and wait: orders are paused."), False
    return true("Open", "The shop takes orders and payments."), False
