"""Two operators at once, or one that knows less than it thinks, do no harm.

They are driven by hand here, each with a cache of its own: who knows what, and who acts first, is
said by the test, and the API server decides.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from dev.cluster import Cluster
from tests.faults.lives import Life, Seen, advance
from tests.support import Shop, eventually, objects
from tests.support.audit import audit
from tests.support.mirror import Mirror
from tests.support.operator import OperatorProcess, SimulatorProcess
from tests.support.proxy import Harm, Proxy
from toyrental.contexts import Context, Means, kinds_needed, reconcilers
from toyrental.kube import errors
from toyrental.kube.cache import Cache, Identity
from toyrental.kube.client import Client
from toyrental.kube.controller import Reconciler
from toyrental.kube.events import Recorder
from toyrental.kube.writer import Writer
from toyrental.payments.gateways import Gateways
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.shared.clock import utc_now
from toyrental.shared.model import ObjectRef
from toyrental.shared.resource import Resource
from toyrental.stores.models import Toy


@dataclass
class ByHand:
    """An operator that sees what it is shown, and reconciles what it is told."""

    cache: Cache
    client: Client
    reconcilers: dict[str, Reconciler]

    async def sees(self, *resources: Resource) -> None:
        """Have it know these as they are now."""
        for resource in resources:
            self.cache.put(await self.client.get(resource.key))

    async def reconciles(self, resource: Resource) -> None:
        """Have it look at one, and again where it was told that it knew too little."""
        while True:
            with contextlib.suppress(errors.Conflict):
                await self.reconcilers[resource.SERVED.kind].reconcile(resource.key)
                return

    async def tries(self, resource: Resource) -> None:
        """Have it look at one, once."""
        await self.reconcilers[resource.SERVED.kind].reconcile(resource.key)


@contextlib.asynccontextmanager
async def by_hand(proxy: Proxy) -> AsyncIterator[ByHand]:
    kinds = kinds_needed(Context)
    gateways = Gateways(["http://127.0.0.1:*"])
    async with Client(lambda: proxy.connection, kinds) as client:
        cache = Cache(kinds)
        writer = Writer(client, cache, Recorder(client, "by hand"))
        means = Means(client, cache, writer, gateways, utc_now)
        yield ByHand(cache, client, {r.kind: r for r in reconcilers(Context, means)})
        await gateways.close()


def everything(shop: Shop) -> Iterable[Resource]:
    """Yield all that there is in a shop."""
    for kind in kinds_needed(Context):
        yield from shop.find(kind)


def booked(shop: Shop, rental: Rental) -> list[str]:
    """Return which toys are booked for a rental."""
    return [toy.name for toy in shop.find(Toy) if toy.booking_of(rental.uid)]


# --- A booking is released only if its rental is gone for sure ---


async def test_a_rental_that_a_cache_has_not_seen_keeps_its_booking(
    open_for_business: Shop, proxy: Proxy
) -> None:
    shop = open_for_business
    toy, rental = shop.create(objects.toy("bear")), shop.create(objects.rental("order", toy="bear"))
    async with by_hand(proxy) as knowing, by_hand(proxy) as ignorant:
        await knowing.sees(*everything(shop))
        await knowing.reconciles(rental)
        assert booked(shop, rental) == ["bear"]

        await ignorant.sees(toy)
        before = len(proxy.writes)
        await ignorant.reconciles(toy)
        assert booked(shop, rental) == ["bear"]
        assert len(proxy.writes) == before, "there was nothing to write"
        asked = proxy.requests[-1]
        assert (asked.method, asked.resource, asked.name) == ("GET", "rentals", "order")

        shop.delete(Rental, "order")
        await ignorant.reconciles(toy)
        assert booked(shop, rental) == ["bear"], "it now knows of the rental, not of its end"
        ignorant.cache.drop(rental.key, Identity(rental.uid, "1"))
        await ignorant.reconciles(toy)
        assert booked(shop, rental) == []


async def test_a_namesake_of_an_earlier_rental_does_not_inherit_its_booking(
    open_for_business: Shop, proxy: Proxy
) -> None:
    shop = open_for_business
    toy, first = shop.create(objects.toy("bear")), shop.create(objects.rental("order", toy="bear"))
    async with by_hand(proxy) as operator:
        await operator.sees(*everything(shop))
        await operator.reconciles(first)
        shop.delete(Rental, "order")
        second = shop.create(objects.rental("order", toy="lion"))
        await operator.sees(toy)
        operator.cache.put(shop.get_raw(Rental, "order"))
        await operator.reconciles(toy)
        assert booked(shop, first) == booked(shop, second) == []


async def test_a_cache_that_knows_only_the_namesake_of_before_asks(
    open_for_business: Shop, proxy: Proxy
) -> None:
    shop = open_for_business
    toy, first = shop.create(objects.toy("bear")), shop.create(objects.rental("order", toy="bear"))
    async with by_hand(proxy) as knowing, by_hand(proxy) as behind:
        await behind.sees(first)
        shop.delete(Rental, "order")
        second = shop.create(objects.rental("order", toy="bear"))
        await knowing.sees(*everything(shop))
        await knowing.reconciles(second)
        await behind.sees(toy)
        await behind.reconciles(toy)
        assert booked(shop, second) == ["bear"]


# --- Two that book for one rental ---


async def test_both_book_another_toy_for_one_rental_and_one_is_kept(
    open_for_business: Shop, proxy: Proxy
) -> None:
    shop = open_for_business
    bear, lion = shop.create(objects.toy("bear")), shop.create(objects.toy("lion"))
    rental = shop.create(objects.rental("order", labels={}))
    async with by_hand(proxy) as one, by_hand(proxy) as other:
        await one.sees(*(each for each in everything(shop) if each.uid != lion.uid))
        await other.sees(*(each for each in everything(shop) if each.uid != bear.uid))
        await one.reconciles(rental)
        assert booked(shop, rental) == ["bear"]
        with pytest.raises(errors.Conflict):
            await other.tries(rental)
        assert booked(shop, rental) == ["bear", "lion"], "for a moment"
        await other.reconciles(rental)
        assert booked(shop, rental) == ["bear"]
        assert shop.get(Rental, "order").status.toy_ref == ref_to(bear)


async def test_the_booking_of_an_operator_that_crashed_is_stray_once_another_was_noted(
    open_for_business: Shop, proxy: Proxy
) -> None:
    """The first was killed between its booking and its note; the other knows nothing of that."""
    shop = open_for_business
    bear, lion = shop.create(objects.toy("bear")), shop.create(objects.toy("lion"))
    rental = shop.create(objects.rental("order", labels={}))
    async with by_hand(proxy) as first, by_hand(proxy) as other:
        await first.sees(*(each for each in everything(shop) if each.uid != lion.uid))
        await other.sees(*(each for each in everything(shop) if each.uid != bear.uid))
        proxy.plan = lambda r: Harm.refuse(500) if r.writes and r.resource == "rentals" else None
        with pytest.raises(errors.Unavailable):
            await first.tries(rental)
        proxy.plan = lambda _: None
        assert booked(shop, rental) == ["bear"]
        await other.reconciles(rental)
        assert booked(shop, rental) == ["bear", "lion"]
        await first.reconciles(rental)
        assert booked(shop, rental) == ["lion"]
        assert shop.get(Rental, "order").status.toy_ref == ref_to(lion)
        await other.sees(bear)
        await other.reconciles(rental)
        assert booked(shop, rental) == ["lion"]


async def test_an_operator_that_starts_adopts_the_booking_of_one_that_crashed(
    open_for_business: Shop, proxy: Proxy
) -> None:
    shop = open_for_business
    shop.create(objects.toy("bear"))
    shop.create(objects.toy("lion"))
    rental = shop.create(objects.rental("order", labels={}))
    async with by_hand(proxy) as first, by_hand(proxy) as next_:
        await first.sees(*everything(shop))
        proxy.plan = lambda r: Harm.refuse(500) if r.writes and r.resource == "rentals" else None
        with pytest.raises(errors.Unavailable):
            await first.tries(rental)
        proxy.plan = lambda _: None
        (held,) = booked(shop, rental)
        await next_.sees(*everything(shop))
        await next_.reconciles(rental)
        assert booked(shop, rental) == [held]
        ref = shop.get(Rental, "order").status.toy_ref
        assert ref is not None
        assert ref.name == held


async def test_one_toy_falls_to_one_of_two_rentals_whoever_books(
    open_for_business: Shop, proxy: Proxy
) -> None:
    """Each operator knows of one of the rentals, and of a toy that is free."""
    shop = open_for_business
    shop.create(objects.toy("bear"))
    mine = shop.create(objects.rental("mine", toy="bear", customer="mina"))
    yours = shop.create(objects.rental("yours", toy="bear", customer="joon"))
    async with by_hand(proxy) as one, by_hand(proxy) as other:
        await one.sees(*(each for each in everything(shop) if each.uid != yours.uid))
        await other.sees(*(each for each in everything(shop) if each.uid != mine.uid))
        await asyncio.gather(one.reconciles(mine), other.reconciles(yours))
        (winner,) = [r for r in (mine, yours) if booked(shop, r)]
        (loser,) = [r for r in (mine, yours) if not booked(shop, r)]
        assert shop.get(Rental, winner.name).phase is RentalPhase.RESERVED
        seen = shop.get(Rental, loser.name)
        reasons = {c.type: c.reason for c in seen.status.conditions}
        assert seen.phase is RentalPhase.PENDING
        assert reasons["Booked"] == "NoToyAvailable"


async def test_both_take_the_payment_and_the_customer_pays_once(
    open_for_business: Shop, proxy: Proxy, simulator: SimulatorProcess
) -> None:
    shop = open_for_business
    shop.create(objects.toy("bear"))
    rental = shop.create(objects.rental("order", toy="bear"))
    async with by_hand(proxy) as one, by_hand(proxy) as other:
        await one.sees(*everything(shop))
        await one.reconciles(rental)
        payment = shop.get(Payment, shop.get(Rental, "order").payment_name)
        await one.sees(payment)
        await other.sees(*everything(shop))
        await both_until(lambda: shop.get(Payment, payment.name).captured, payment, one, other)
    (charge,) = simulator.ledger().of(rental).charges
    assert charge["idempotencyKey"] == f"{payment.uid}:charge:1"


async def test_both_give_the_payment_back_and_the_shop_pays_once(
    open_for_business: Shop, proxy: Proxy, simulator: SimulatorProcess
) -> None:
    shop = open_for_business
    shop.create(objects.toy("bear"))
    rental = shop.create(objects.rental("order", toy="bear"))
    async with by_hand(proxy) as one, by_hand(proxy) as other:
        await one.sees(*everything(shop))
        await one.reconciles(rental)
        payment = shop.get(Payment, shop.get(Rental, "order").payment_name)
        await one.sees(payment)
        await one.reconciles(payment)
        shop.patch(Rental, "order", spec={"desiredState": "Cancelled"})
        for operator in (one, other):
            await operator.sees(*everything(shop))
        await asyncio.gather(one.reconciles(rental), other.reconciles(rental))
        for operator in (one, other):
            await operator.sees(payment)
        await both_until(lambda: shop.get(Payment, payment.name).settled, payment, one, other)
    books = simulator.ledger().of(rental)
    assert (len(books.charges), len(books.refunds)) == (1, 1)
    audit(shop, books)


async def both_until(
    until: Callable[[], bool], resource: Resource, one: ByHand, other: ByHand
) -> None:
    """Have both look at an object at once, and again: a provider asks one of them to try later."""
    async with asyncio.timeout(60):
        while not until():
            await asyncio.gather(one.reconciles(resource), other.reconciles(resource))
            await asyncio.sleep(0.1)


def ref_to(toy: Toy) -> ObjectRef:
    """Return the reference to that very toy."""
    return ObjectRef(name=toy.name, uid=toy.uid)


# --- Two whole operators ---


def test_a_storm_with_two_operators(
    cluster: Cluster,
    open_for_business: Shop,
    mirror: Mirror,
    simulator: SimulatorProcess,
    tmp_path: Path,
) -> None:
    shop = open_for_business
    for number in range(12):
        shop.create(objects.toy(f"toy-{number}"))
    scripts = [Life.happy, Life.damaged, Life.cancelled]
    lives = [scripts[n % 3](Life(shop, f"order-{n}")) for n in range(30)]

    def operator(name: str) -> OperatorProcess:
        return OperatorProcess(cluster, tmp_path, namespaces=[shop.name], name=name)

    with operator("one") as one, operator("other") as other:
        mirror.until(
            lambda: advance(Seen(mirror.resources), lives), within=120, explain=lambda: told(lives)
        )
        eventually(lambda: audit(shop, simulator.ledger()))
        with ThreadPoolExecutor() as both:
            assert list(both.map(OperatorProcess.terminate, (one, other))) == [0, 0]


def told(lives: list[Life]) -> str:
    return "\n".join(str(life) for life in lives if not life.over)
