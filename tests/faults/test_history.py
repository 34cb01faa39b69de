"""History can be deleted: what is earned stays earned, whoever prunes, and whenever."""

import threading

import pytest

from dev.cluster import Cluster
from tests.faults.lives import Life, advance, look_at
from tests.support import Shop, eventually, objects
from tests.support.api import Api
from tests.support.operator import OperatorProcess, SimulatorProcess
from toyrental.payments.models import SETTLE, Payment
from toyrental.rentals.models import Rental
from toyrental.stores.models import Toy

RENTALS = 12


@pytest.fixture
def lives(served: Shop) -> list[Life]:
    """Give rentals that go well, and some whose toys come back damaged."""
    shop = served
    for number in range(RENTALS):
        shop.create(objects.toy(f"toy-{number}"))
    return [
        (Life.damaged if n % 4 == 0 else Life.happy)(Life(shop, f"order-{n}", f"toy-{n}"))
        for n in range(RENTALS)
    ]


def live(shop: Shop, lives: list[Life]) -> None:
    """Live all these lives to their end."""
    eventually(
        lambda: advance(look_at(shop), lives),
        within=120,
        explain=lambda: "\n".join(map(str, lives)),
    )


def check_earned(shop: Shop, simulator: SimulatorProcess, rentals: list[Rental]) -> None:
    """Wait until the payments of rentals that are gone are gone too; all that was paid is kept."""
    eventually(lambda: not shop.find(Payment), within=60)
    ledger = simulator.ledger()
    books = [ledger.of(rental) for rental in rentals]
    assert [len(book.charges) for book in books] == [1] * len(rentals)
    assert [book.refunds for book in books] == [[]] * len(rentals)
    eventually(lambda: all(toy.status.phase == "Available" for toy in shop.find(Toy)))


def test_pruned_with_the_operator_running(
    cluster: Cluster,
    served: Shop,
    operator: OperatorProcess,
    simulator: SimulatorProcess,
    lives: list[Life],
) -> None:
    shop = served
    live(shop, lives)
    rentals = shop.find(Rental)
    cluster.run_kubectl("delete", "rentals", "--all", f"--namespace={shop.name}")
    check_earned(shop, simulator, rentals)
    assert operator.running


def test_pruned_with_the_operator_down(
    cluster: Cluster,
    served: Shop,
    operator: OperatorProcess,
    simulator: SimulatorProcess,
    lives: list[Life],
) -> None:
    shop = served
    live(shop, lives)
    rentals = shop.find(Rental)
    assert not any(SETTLE in payment.metadata.finalizers for payment in shop.find(Payment))
    operator.kill()
    cluster.run_kubectl("delete", "rentals", "--all", f"--namespace={shop.name}")
    check_earned(shop, simulator, rentals)
    operator.start()
    check_earned(shop, simulator, rentals)


def test_pruned_at_once_whenever_one_completes(
    served: Shop,
    operator: OperatorProcess,
    simulator: SimulatorProcess,
    lives: list[Life],
) -> None:
    """Somebody deletes each rental the moment it is Completed, and cannot be too fast."""
    shop = served
    known: dict[str, Rental] = {}
    over = threading.Event()

    def prune() -> None:
        with Api(shop.api.kubeconfig) as api:
            mine = Shop(api, shop.name)
            while not over.is_set():
                for rental in mine.find(Rental, fields="status.phase=Completed"):
                    known[rental.name] = rental
                    mine.delete(Rental, rental.name)

    pruning = threading.Thread(target=prune)
    pruning.start()
    try:
        live(shop, [ending_with_completion(life, known) for life in lives])
        eventually(lambda: len(known) == RENTALS)
    finally:
        over.set()
        pruning.join()
    check_earned(shop, simulator, list(known.values()))
    assert operator.running


def ending_with_completion(life: Life, known: dict[str, Rental]) -> Life:
    """Return a happy life whose rental may be gone when it is over."""
    happy = Life(life.shop, life.name, life.toy).happy()
    last = happy.steps[-1]
    happy.steps[-1] = last._replace(until=lambda _: life.name in known)
    return happy


def test_what_is_not_history_is_given_back(
    served: Shop, operator: OperatorProcess, simulator: SimulatorProcess
) -> None:
    """The contrast: a paid order that is deleted was not rented, and is refunded."""
    shop = served
    shop.create(objects.toy("bear"))
    rental = shop.create(objects.rental("order", toy="bear"))
    shop.wait(Rental, "order", lambda rental: rental.phase == "Paid")
    shop.delete(Rental, "order")
    check_given_back(shop, simulator, rental)
    assert operator.running


def check_given_back(shop: Shop, simulator: SimulatorProcess, rental: Rental) -> None:
    eventually(lambda: not shop.find(Payment), within=60)
    books = simulator.ledger().of(rental)
    assert (len(books.charges), len(books.refunds)) == (1, 1)
    assert books.taken == books.given_back
    eventually(lambda: all(toy.status.phase == "Available" for toy in shop.find(Toy)))
