"""Reconciling a shop's policy and its toys."""

from collections.abc import Iterable
from datetime import datetime

from toyrental.kube.cache import Cache
from toyrental.kube.controller import take_steps
from toyrental.kube.writer import Writer
from toyrental.payments.models import PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.shared.clock import Clock
from toyrental.shared.decisions import NOTHING, Decision
from toyrental.shared.resource import Key, Resource
from toyrental.stores import rules
from toyrental.stores.models import STORE_NAME, Store, Toy

BOOKED_BY = "stores/booked-by"


class ToyReconciler:
    """Keeps each toy's status true, and takes back bookings whose rental is gone."""

    kind = "Toy"
    needs = ("Toy", "Rental")

    def __init__(self, cache: Cache, writer: Writer, clock: Clock) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        cache.add_index("Toy", BOOKED_BY, _booked_by)

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        """Return which toys a change concerns: of rentals only that one is gone."""
        match after or before:
            case Toy() as toy:
                yield toy.key
            case Rental() as rental if after is None:
                yield from self._cache.keys_under(self.kind, BOOKED_BY, rental.uid)
            case _:
                return

    async def reconcile(self, key: Key) -> datetime | None:
        """Take a toy as far as it goes."""

        async def decide() -> Decision:
            toy = self._cache.get(key)
            if not isinstance(toy, Toy):
                return NOTHING
            return rules.decide_toy(rules.ToySituation(toy, self._rentals_of(toy), self._clock()))

        return await take_steps(self._writer, key, decide)

    def _rentals_of(self, toy: Toy) -> dict[str, Rental | None]:
        names = {booking.rental_ref.name for booking in toy.status.bookings}
        found = {name: self._cache.get(Key("Rental", toy.namespace, name)) for name in names}
        return {name: r if isinstance(r, Rental) else None for name, r in found.items()}


class StoreReconciler:
    """Says of each shop whether it can take orders and payments."""

    kind = "Store"
    needs = ("Store", "PaymentGateway")

    def __init__(self, cache: Cache, writer: Writer, clock: Clock) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        """Return which shops a change concerns."""
        match after or before:
            case Store() as store:
                yield store.key
            case PaymentGateway() as gateway:
                yield Key(self.kind, gateway.namespace, STORE_NAME)
            case _:
                return

    async def reconcile(self, key: Key) -> datetime | None:
        """Take a shop's policy as far as it goes."""

        async def decide() -> Decision:
            store = self._cache.get(key)
            if not isinstance(store, Store):
                return NOTHING
            return rules.decide_store(store, self._gateway_of(store), self._clock())

        return await take_steps(self._writer, key, decide)

    def _gateway_of(self, store: Store) -> PaymentGateway | None:
        ref = store.spec.payment_gateway_ref
        if ref is None:
            return None
        gateway = self._cache.get(Key("PaymentGateway", store.namespace, ref.name))
        return gateway if isinstance(gateway, PaymentGateway) else None


def _booked_by(toy: Resource) -> Iterable[str]:
    return [b.rental_uid for b in toy.status.bookings] if isinstance(toy, Toy) else []
