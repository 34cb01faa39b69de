"""Reconciling rentals: gather what bears on one, ask the rules, do what they say."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property

from toyrental.kube.cache import Cache
from toyrental.kube.controller import take_steps
from toyrental.kube.writer import Writer
from toyrental.payments.models import Payment
from toyrental.rentals import rules
from toyrental.rentals.bookings import place_in_line
from toyrental.rentals.conditions import Situation
from toyrental.rentals.models import DesiredState, Rental, RentalPhase
from toyrental.repairs.models import RepairTicket
from toyrental.shared.clock import Clock
from toyrental.shared.conditions import is_true
from toyrental.shared.decisions import NOTHING, Decision
from toyrental.shared.resource import Key, Resource
from toyrental.stores.models import STORE_NAME, Store, StoreSpec, Toy

BOOKED_BY = "rentals/booked-by"
WAITING = "rentals/waiting"
LIVE = "rentals/live"


class RentalReconciler:
    """Moves each rental through its life."""

    kind = "Rental"
    needs = ("Rental", "Toy", "Store", "Payment", "RepairTicket")

    def __init__(self, cache: Cache, writer: Writer, clock: Clock) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        cache.add_index("Toy", BOOKED_BY, _booked_by)
        cache.add_index("Rental", WAITING, lambda r: [r.namespace] if waits(r) else [])
        cache.add_index("Rental", LIVE, lambda r: [] if r.settled else [r.namespace])

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        """Return which rentals a change concerns."""
        match after or before:
            case Rental() as rental:
                yield rental.key
                if before is not None and waits(before) and (after is None or not waits(after)):
                    yield from self._line(rental.namespace)
            case Toy() as toy:
                yield from _booked_rentals(before)
                yield from _booked_rentals(after)
                if _matters_to_the_line(before, after):
                    yield from self._line(toy.namespace)
            case Payment() as payment:
                # One of an order's name may be for another; that order waits for it to go.
                names = {payment.spec.rental_ref.name, payment.name.rpartition("-")[0]}
                yield from (Key(self.kind, payment.namespace, name) for name in names if name)
            case RepairTicket() as ticket if after is None:
                # The name of an order's ticket is the order's uid; another's may have stood there.
                for booked in self._cache.find("Toy", BOOKED_BY, ticket.name):
                    yield from _booked_rentals(booked)
            case Store() as store:
                yield from self._cache.keys_under(self.kind, LIVE, store.namespace)
            case _:
                return

    def _line(self, namespace: str) -> Iterable[Key]:
        return self._cache.keys_under(self.kind, WAITING, namespace)

    async def reconcile(self, key: Key) -> datetime | None:
        """Take a rental as far as it goes."""

        async def decide() -> Decision:
            situation = self._observe(key)
            return NOTHING if situation is None else rules.decide(situation)

        return await take_steps(self._writer, key, decide)

    def _observe(self, key: Key) -> Situation | None:
        rental = self._cache.get(key)
        if not isinstance(rental, Rental):
            return None
        shop = key.namespace
        payment = self._cache.get(Key("Payment", shop, rental.payment_name))
        ticket = self._cache.get(Key("RepairTicket", shop, rental.ticket_name))
        store = self._cache.get(Key("Store", shop, STORE_NAME))
        return Situation(
            rental=rental,
            store=store.spec if isinstance(store, Store) else StoreSpec(),
            shop=CachedShop(self._cache, shop),
            payment=payment if isinstance(payment, Payment) else None,
            ticket=ticket if isinstance(ticket, RepairTicket) else None,
            now=self._clock(),
        )


class CachedShop:
    """A shop as the cache knows it."""

    def __init__(self, cache: Cache, namespace: str) -> None:
        self._cache = cache
        self._namespace = namespace

    def toys(self) -> Sequence[Toy]:
        """Return the whole stock, by name."""
        return self._toys

    @cached_property
    def _toys(self) -> list[Toy]:
        toys = (t for t in self._cache.in_namespace("Toy", self._namespace) if isinstance(t, Toy))
        return sorted(toys, key=lambda toy: toy.name)

    def toy(self, name: str) -> Toy | None:
        """Return the toy of that name."""
        toy = self._cache.get(Key("Toy", self._namespace, name))
        return toy if isinstance(toy, Toy) else None

    def toys_booked_by(self, rental_uid: str) -> Sequence[Toy]:
        """Return the toys that carry a booking of that rental, by name."""
        found = self._cache.find("Toy", BOOKED_BY, rental_uid)
        return [toy for toy in found if isinstance(toy, Toy)]

    def line(self) -> Sequence[Rental]:
        """Return the rentals that wait for a toy, first come first."""
        found = self._cache.find("Rental", WAITING, self._namespace)
        waiting = (r for r in found if isinstance(r, Rental) and not self._just_booked(r))
        return sorted(waiting, key=place_in_line)

    def _just_booked(self, rental: Rental) -> bool:
        """Tell whether a new order has its toy already, and only its status lags behind."""
        new = rental.phase is RentalPhase.PENDING
        return new and bool(self._cache.keys_under("Toy", BOOKED_BY, rental.uid))


def waits(resource: Resource) -> bool:
    """Tell whether a rental stands in the line for a toy."""
    return (
        isinstance(resource, Rental)
        and resource.phase.before_hand_over
        and not resource.deleting
        and resource.spec.desired_state is not DesiredState.CANCELLED
        and not is_true(resource.status.conditions, "Booked")
    )


def _booked_by(toy: Resource) -> Iterable[str]:
    return [b.rental_uid for b in toy.status.bookings] if isinstance(toy, Toy) else []


def _booked_rentals(toy: Resource | None) -> Iterable[Key]:
    if isinstance(toy, Toy):
        for booking in toy.status.bookings:
            yield Key("Rental", toy.namespace, booking.rental_ref.name)


def _matters_to_the_line(before: Resource | None, after: Resource | None) -> bool:
    """Tell whether a change of a toy may let somebody in line have one, or ends such a hope."""
    if not isinstance(before, Toy) or not isinstance(after, Toy):
        return True
    shorter = len(after.status.bookings) < len(before.status.bookings)
    fit_again = after.offered and not before.offered
    gone_for_good = after.discarded and not before.discarded
    described_anew = after.metadata.labels != before.metadata.labels or after.spec != before.spec
    return shorter or fit_again or gone_for_good or described_anew
