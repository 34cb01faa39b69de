"""Sixty customers want the same seven toys, all at once."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import Shop, eventually, objects
from tests.support.api import Api
from tests.support.audit import audit
from tests.support.operator import OperatorProcess, SimulatorProcess
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.shared.conditions import find
from toyrental.stores.models import Toy

CUSTOMERS, TOYS = 60, 7


def place_in_line(rental: Rental) -> tuple[object, str]:
    """First come, first served; within one second, the second of Kubernetes, the uid decides."""
    return rental.created, rental.uid


def order(shop: Shop, customers: int) -> list[Rental]:
    """Have that many customers order any toy, as many at once as there are connections."""

    def one(number: int) -> Rental:
        name = f"order-{number}"
        return shops[number % len(shops)].create(
            objects.rental(name, labels={"shelf": "a"}, customer=f"customer-{number}")
        )

    apis = [Api(shop.api.kubeconfig) for _ in range(8)]
    shops = [Shop(api, shop.name) for api in apis]
    try:
        with ThreadPoolExecutor(len(apis)) as crowd:
            return list(crowd.map(one, range(customers)))
    finally:
        for api in apis:
            api.close()


def in_phase(shop: Shop, phase: RentalPhase) -> dict[str, Rental]:
    return {r.uid: r for r in shop.find(Rental, fields=f"status.phase={phase}")}


def paid_are(shop: Shop, expected: dict[str, Rental]) -> None:
    """Wait until just these rentals are Paid."""
    names = {rental.name for rental in expected.values()}
    eventually(
        lambda: {r.name for r in in_phase(shop, RentalPhase.PAID).values()} == names,
        within=60,
        explain=lambda: f"{names}, and not {in_phase(shop, RentalPhase.PAID).values()}",
    )


def all_wait_or_are_paid(shop: Shop) -> bool:
    rentals = shop.find(Rental)
    reasons = [(r.phase, find(r.status.conditions, "Booked")) for r in rentals]
    return all(
        phase in {RentalPhase.PAID, RentalPhase.CANCELLED}
        or (phase is RentalPhase.PENDING and booked and booked.reason == "NoToyAvailable")
        for phase, booked in reasons
    )


def test_sixty_customers_race_for_seven_toys(
    served: Shop, operator: OperatorProcess, simulator: SimulatorProcess
) -> None:
    shop = served
    for number in range(TOYS):
        shop.create(objects.toy(f"toy-{number}", labels={"shelf": "a"}))
    orders = {rental.uid: rental for rental in order(shop, CUSTOMERS)}

    def paid(expected: int) -> Callable[[], dict[str, Rental]]:
        def ask() -> dict[str, Rental]:
            found = in_phase(shop, RentalPhase.PAID)
            assert len(found) <= TOYS
            return found if len(found) == expected else {}

        return ask

    have = eventually(paid(TOYS), within=60)
    eventually(lambda: all_wait_or_are_paid(shop), within=60)
    promised = [b.rental_uid for toy in shop.find(Toy) for b in toy.status.bookings]
    assert Counter(promised) == dict.fromkeys(have, 1)
    assert len(simulator.ledger().charges) >= TOYS
    assert all(len(simulator.ledger().of(orders[uid]).charges) == (uid in have) for uid in orders)

    # As toys free up, one by one and then several at once, the line is served from its head.
    line = sorted((r for r in orders.values() if r.uid not in have), key=place_in_line)
    for leaving in (1, 1, 1, 1, 1, 2, 3, 5, 7, 7, 7, 7, 7, 3):
        for uid in list(have)[:leaving]:
            shop.patch(Rental, orders[uid].name, spec={"desiredState": "Cancelled"})
            del have[uid]
        have |= {rental.uid: rental for rental in line[:leaving]}
        line = line[leaving:]
        paid_are(shop, have)
    assert line == []
    assert operator.running
    eventually(lambda: audit(shop, simulator.ledger()))


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_an_order_that_comes_while_the_operator_is_down_keeps_its_place(
    late: bool, served: Shop, operator: OperatorProcess, simulator: SimulatorProcess
) -> None:
    """The API server keeps the order, and the line."""
    shop = served
    shop.create(objects.toy("bear", labels={"shelf": "a"}))
    shop.create(objects.rental("first", toy="bear"))
    shop.wait(Rental, "first", lambda rental: rental.phase is RentalPhase.PAID)
    operator.kill()
    line = sorted(order(shop, 3), key=place_in_line)
    if late:
        operator.start()
        eventually(lambda: all_wait_or_are_paid(shop))
    shop.patch(Rental, "first", spec={"desiredState": "Cancelled"})
    if not late:
        operator.start()
    for head in line:
        paid_are(shop, {head.uid: head})
        shop.patch(Rental, head.name, spec={"desiredState": "Cancelled"})
    eventually(lambda: audit(shop, simulator.ledger()))
