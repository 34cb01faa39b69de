"""The bookings that rentals put on a toy: who may have it, when, and who is next in line.

The booking on the toy is the one place where a toy is promised; everything else follows from it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from toyrental.rentals.models import Rental, RentalPhase
from toyrental.shared.model import ObjectRef
from toyrental.stores.models import (
    Booking,
    BookingState,
    Orders,
    Service,
    ServiceState,
    StoreSpec,
    Toy,
)

MOST_BOOKINGS = 64
"""How many bookings a toy carries at most; the schema says the same."""


class Window(NamedTuple):
    """A stretch of time: from `start` until just before `end` (UTC)."""

    start: datetime
    end: datetime


class Shop(Protocol):
    """What rentals can see of their shop."""

    def toys(self) -> Iterable[Toy]:
        """Return the whole stock, by name."""

    def toy(self, name: str) -> Toy | None:
        """Return the toy of that name."""

    def toys_booked_by(self, rental_uid: str) -> Sequence[Toy]:
        """Return the toys that carry a booking of that rental, by name."""

    def line(self) -> Sequence[Rental]:
        """Return the rentals that wait for a toy, first come first."""


def window(rental: Rental, now: datetime) -> Window:
    """Return when the rental would have a toy, were it booked now."""
    start = rental.spec.period.start_time or now
    return Window(start, start + rental.spec.period.length)


def place_in_line(rental: Rental) -> tuple[datetime, str]:
    """Return what rentals are served by: first come, first served.

    Kubernetes dates objects to the second; within one second the uid decides, which nobody can
    choose, where a name could be chosen to jump the queue.
    """
    return rental.created, rental.uid


def free(toy: Toy, wanted: Window, now: datetime) -> bool:
    """Tell whether a toy can be promised for that window.

    A toy that is back and not inspected, or out past its time, is promised to nobody: when it can
    be had again is not known.
    """
    if not toy.offered or len(toy.status.bookings) >= MOST_BOOKINGS:
        return False
    out = toy.out
    if out is not None and (out.state is BookingState.RETURNED or out.end_time <= now):
        return False
    return not any(b.overlaps(*wanted) for b in toy.status.bookings)


def toy_for(rental: Rental, shop: Shop, store: StoreSpec, now: datetime) -> Toy | None:
    """Return the toy that falls to a rental when the line is served from its head, if one does.

    Everyone ahead is given the first toy that suits them before this rental is; what they would
    take is not there for it. Once nothing is left for it, nobody else has to be served to know.
    """
    own = window(rental, now)
    left = {toy.name for toy in _suiting(rental, shop, store, now)}
    promised: dict[str, list[Window]] = {}
    for waiting in _line_up_to(rental, shop.line()) if left else ():
        if not served(waiting, store):
            continue
        wanted = window(waiting, now)
        suiting = _suiting(waiting, shop, store, now)
        toy = next((t for t in suiting if not _clash(promised.get(t.name, ()), wanted)), None)
        if waiting.uid == rental.uid:
            return toy
        if toy is not None:
            promised.setdefault(toy.name, []).append(wanted)
            if _clash([wanted], own):
                left.discard(toy.name)
        if not left:
            break
    return None


def _suiting(rental: Rental, shop: Shop, store: StoreSpec, now: datetime) -> Iterable[Toy]:
    """Yield the toys that the rental could have, were nobody ahead of it."""
    wanted = window(rental, now)
    for toy in candidates(rental, shop):
        if affordable(rental, toy, store) and free(toy, wanted, now):
            yield toy


def served(rental: Rental, store: StoreSpec) -> bool:
    """Tell whether the shop gives the rental a toy now: new orders wait while orders are paused."""
    return store.orders is Orders.ACCEPTED or rental.phase is not RentalPhase.PENDING


def affordable(rental: Rental, toy: Toy, store: StoreSpec) -> bool:
    """Tell whether the toy's price stands in nobody's way: it is fixed, or the shop can take it."""
    return rental.status.price is not None or payable(toy, store)


def payable(toy: Toy, store: StoreSpec) -> bool:
    """Tell whether the shop can take the toy's price: in its currency, and through a gateway."""
    rate = toy.spec.daily_rate
    return rate.currency == store.currency and (
        rate.minor_units == 0 or store.payment_gateway_ref is not None
    )


def _line_up_to(rental: Rental, line: Sequence[Rental]) -> Iterable[Rental]:
    """Yield those ahead of the rental, and the rental last, whether the line knows it or not."""
    place = place_in_line(rental)
    for waiting in line:
        if place_in_line(waiting) < place:
            yield waiting
    yield rental


def _clash(windows: Iterable[Window], wanted: Window) -> bool:
    return any(w.start < wanted.end and wanted.start < w.end for w in windows)


def candidates(rental: Rental, shop: Shop) -> Iterable[Toy]:
    """Yield the toys that the customer asked for, free or not."""
    if rental.spec.toy_ref is not None:
        toy = shop.toy(rental.spec.toy_ref.name)
        return () if toy is None else (toy,)
    return (toy for toy in shop.toys() if rental.wants(toy.name, toy.metadata.labels))


def hold(toy: Toy, rental: Rental, now: datetime) -> Toy:
    """Promise the toy to the rental."""
    wanted = window(rental, now)
    booking = Booking(
        rental_uid=rental.uid,
        rental_ref=ObjectRef(name=rental.name, uid=rental.uid),
        start_time=wanted.start,
        end_time=wanted.end,
        state=BookingState.HELD,
    )
    return toy.updated(now, bookings=(*toy.status.bookings, booking))


def release(toy: Toy, rental_uids: Iterable[str], now: datetime) -> Toy:
    """Take back what was promised to these rentals."""
    gone = frozenset(rental_uids)
    return toy.updated(now, bookings=(b for b in toy.status.bookings if b.rental_uid not in gone))


def fit_for(toy: Toy, rental: Rental, booking: Booking, now: datetime) -> bool:
    """Tell whether the toy can still be expected to serve the booking of a rental.

    It cannot when it is out of service, nor when the booking's time has come and another customer
    still has the toy, or it awaits inspection. A booking that was to start at once and went by
    unused (the provider was down for long, say) is made anew.
    """
    went_by = rental.spec.period.start_time is None and booking.end_time <= now
    if not toy.in_service or toy.deleting or went_by:
        return False
    other = toy.out
    return other is None or other.rental_uid == rental.uid or now < booking.start_time


def can_hand_over(toy: Toy, booking: Booking, now: datetime) -> bool:
    """Tell whether the toy can be handed to the customer now."""
    return toy.in_service and not toy.deleting and toy.out is None and now >= booking.start_time


def hand_over(toy: Toy, rental: Rental, booking: Booking, now: datetime) -> Toy:
    """Give the toy to the customer.

    Where no start was asked for, the period is counted from now. Held bookings that it then
    collides with go; their rentals look for another toy.
    """
    starts_now = rental.spec.period.start_time is None
    start = now.replace(microsecond=0) if starts_now else booking.start_time
    out = booking.model_copy(
        update={
            "state": BookingState.OUT,
            "start_time": start,
            "end_time": start + rental.spec.period.length,
        }
    )
    others = (
        b
        for b in toy.status.bookings
        if b.rental_uid != rental.uid and not b.overlaps(out.start_time, out.end_time)
    )
    return toy.updated(now, bookings=(*others, out))


def take_back(toy: Toy, rental: Rental, now: datetime) -> Toy:
    """Note that the customer brought the toy back; it awaits inspection."""
    return toy.updated(
        now,
        bookings=(
            b.model_copy(update={"state": BookingState.RETURNED})
            if b.rental_uid == rental.uid
            else b
            for b in toy.status.bookings
        ),
    )


def shelve(toy: Toy, rental: Rental, now: datetime) -> Toy:
    """Put an inspected toy back on the shelf."""
    return toy.updated(
        now,
        bookings=(b for b in toy.status.bookings if b.rental_uid != rental.uid),
        completed_rentals=toy.status.completed_rentals + 1,
    )


def send_to_repair(toy: Toy, rental: Rental, ticket: ObjectRef, now: datetime) -> Toy:
    """Take a toy that came back damaged out of service; the ticket decides over it from here."""
    shelved = shelve(toy, rental, now)
    return shelved.updated(now, service=Service(state=ServiceState.DAMAGED, ticket_ref=ticket))
