"""N5: each part of the business is a process of its own, is upgraded, and fails, by itself.

What is lost when a part is down for good is told in test_requirements.py (N2).
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dev.cluster import Cluster
from tests.conftest import open_shop
from tests.e2e.business import CHARGED, Business
from tests.e2e.conftest import check_all
from tests.support import Api, Shop, eventually, objects
from tests.support.audit import audit
from tests.support.operator import OperatorProcess, SimulatorProcess
from toyrental.cli.run import CONTEXTS
from toyrental.dashboards.models import Dashboard
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import ToyPhase

Parts = dict[str, OperatorProcess]


@pytest.fixture
def office(admin: Api, cluster: Cluster) -> Iterator[Shop]:
    """Give the namespace of the Leases: no shop, as where the chart is installed."""
    yield from open_shop(admin, cluster, "office")


@pytest.fixture
def parts(cluster: Cluster, own_shop: Shop, office: Shop, tmp_path: Path) -> Iterator[Parts]:
    """Give five processes, one a context, each with its own role, leading by a Lease of its own."""
    flags = ("--leader-election", f"--lease-namespace={office.name}")
    parts = {
        name: OperatorProcess(
            as_itself(name, cluster, own_shop, office, tmp_path),
            tmp_path,
            *flags,
            namespaces=[own_shop.name],
            contexts=[name],
            name=name,
        )
        for name in CONTEXTS
    }
    try:
        with ThreadPoolExecutor() as all_at_once:
            list(all_at_once.map(OperatorProcess.start, parts.values()))
        yield parts
    finally:
        for part in parts.values():
            part.close()


def as_itself(context: str, cluster: Cluster, shop: Shop, office: Shop, directory: Path) -> Cluster:
    """Return the cluster as an account sees it that has the role of a context, and an election."""
    account = shop.person(context, role=f"toyrental-{context}")
    office.api.bind(context, shop.name, "toyrental-leader-election", office.name)
    eventually(lambda: account.api.may("create", "leases", office.name))
    kubeconfig = account.api.write_kubeconfig(directory / f"{context}.kubeconfig")
    return replace(cluster, kubeconfig=kubeconfig)


@contextlib.contextmanager
def upgraded(part: OperatorProcess) -> Iterator[None]:
    """Stop a part in good order, and start it again at the end."""
    assert part.terminate() == 0
    yield
    part.start()


def test_n5_five_processes_serve_one_shop_and_each_comes_and_goes_by_itself(
    parts: Parts, own_shop: Shop, office: Shop, own_simulator: SimulatorProcess
) -> None:
    business = Business(own_shop, own_simulator)
    business.opens()
    business.registers("bear", "boat")
    own_shop.create(objects.dashboard())
    leases = {lease["metadata"]["name"] for lease in own_shop.api.find("Lease", office.name)}
    assert leases == {f"toyrental-{name}" for name in CONTEXTS}

    with upgraded(parts["rentals"]):
        # When rentals are down, then orders are taken, and stock is kept
        business.takes_order("first", toy="bear")
        business.registers("blocks")
    business.order_becomes("first", "Paid")

    # When payments crash, then toys are booked; they are paid for as soon as another process leads
    parts["payments"].kill()
    second = business.takes_order("second", toy="boat")
    business.order_becomes("second", "Reserved", Booked="True")
    business.never_charged(second)
    parts["payments"].start()
    business.approves("first")
    business.order_becomes("first", "Rented")
    business.order_becomes("second", "Paid")

    with upgraded(parts["stores"]):
        # When stores are down, then paid orders are handed over, and brought back
        business.approves("second")
        business.order_becomes("second", "Rented")
        own_shop.create(objects.toy("ball"))
    business.toy_becomes("ball", "Available")

    with upgraded(parts["repairs"]):
        # When repairs are down, then a damaged toy is taken out of service, with a ticket
        damaged = business.gets_back("first", "Damaged")
        business.toy_becomes("bear", "Damaged")
        assert own_shop.get(RepairTicket, damaged.uid).status.phase is None
    business.resolves(damaged.uid, "Repaired")
    business.toy_becomes("bear", "Available")

    with upgraded(parts["dashboards"]):
        # When dashboards are down, then everything else goes on
        business.gets_back("second")
        business.toy_becomes("boat", "Available")
        own_shop.secret("card", {"token": CHARGED})
        card = {"name": "card", "key": "token"}
        third = business.takes_paid_order("third", toy="blocks", paymentMethodSecretRef=card)
        business.cancels("third")
        business.paid_back(third)
        fourth = business.takes_paid_order("fourth", toy="ball")
        own_shop.delete(Rental, "fourth")
        business.told("ball", "BookingReleased", "fourth")
        own_shop.gone(Payment, fourth.payment_name)
        assert business.books(fourth).given_back == business.books(fourth).taken > 0
    business.wait(Dashboard, "shop", lambda seen: available(seen) == 4)

    # Then nothing is lost, and nothing was done twice
    eventually(lambda: audit(own_shop, own_simulator.ledger()))
    check_all(own_shop)
    for part in parts.values():
        assert part.running
        assert "Traceback" not in part.log
        assert "forbidden" not in part.log.lower()
    with ThreadPoolExecutor() as all_at_once:
        assert set(all_at_once.map(OperatorProcess.terminate, parts.values())) == {0}


def available(dashboard: Dashboard) -> int:
    toys = dashboard.status.toys
    counts = {each.phase: each.count for each in toys.by_phase} if toys else {}
    return counts.get(ToyPhase.AVAILABLE, 0)
