"""A shop comes back from a snapshot of etcd; the provider, who knows more, takes nothing twice."""

from collections import Counter
from pathlib import Path

import pytest

from dev.cluster import Cluster, ClusterError, ControlPlane, manifests
from dev.cluster.console import plain
from dev.etcdutl import ETCD_VERSION, ETCDUTL
from tests.e2e.business import CHARGED, GATEWAY, Business
from tests.support import Api, Shop, eventually
from tests.support.conditions import settle
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport
from tests.upgrade import phases
from toyrental.kinds import KINDS
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.shared.resource import API_VERSION

__all__ = ["pytest_runtest_makereport"]


@pytest.mark.timeout(600)
def test_a_shop_goes_on_from_a_snapshot_and_nobody_pays_twice(tmp_path: Path) -> None:
    etcdutl = ETCDUTL.path(plain())
    control_plane = ControlPlane(tmp_path / "cluster", ephemeral=True, apply=manifests.present())
    snapshot = tmp_path / "snapshot.db"
    with (
        control_plane as cluster,
        SimulatorProcess(tmp_path, *phases.FAULTS) as simulator,
        OperatorProcess(cluster, tmp_path) as operator,
    ):
        with Api(cluster.kubeconfig) as admin:
            admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
            business = Business(Shop(admin, "shop"), simulator)
            # Given a shop with something in each phase, and an order whose payment is put off
            phases.open_shop(business)
            phases.fill(business)
            suspend(business, True)
            business.takes_order("put-off", toy="globe")
            business.order_becomes("put-off", "Reserved", Paid="False/Deferred")
            kept = {name: business.shop.get(Rental, name).uid for name in CHARGED_LATER}
            # And a snapshot, taken while the operator is at work
            business.approves("paid")
            control_plane.save_snapshot(snapshot)
            # And after it payments, a refund, and an order that the snapshot does not know
            suspend(business, False)
            goes_on(business)
            lost = business.takes_paid_order("lost", toy="harp")
            before = simulator.ledger()
        # When the snapshot is restored, and the operator, which ran on, is then restarted
        control_plane.restore_snapshot(snapshot, etcdutl)
        eventually(lambda: served(cluster))
        operator.kill()
        with Api(cluster.kubeconfig) as admin:
            business = Business(Shop(admin, "shop"), simulator)
            # Then the orders are there, uids and all, and what came later is not
            assert {n: business.shop.get(Rental, n).uid for n in CHARGED_LATER} == kept
            assert not business.shop.exists(Rental, "lost")
            assert not business.shop.get(Payment, payment_of(business, "put-off")).captured
            # And once people have done again what they did
            operator.start()
            suspend(business, False)
            goes_on(business)
            # Then the order that was being approved is handed over
            business.order_becomes("paid", "Rented")
            settle(lambda: phases.all_of(business).values())
            # And nothing was taken or given back that had not been before
            assert simulator.ledger() == before
            # And what the shop and the provider have on record is the same, but for the lost order
            assert on_record(business) == at_the_provider(simulator, but=lost.uid)
            assert max(Counter(each["rentalUID"] for each in before.charges).values()) == 1


CHARGED_LATER = ("put-off", "declined", "partiallyrefunded")


def goes_on(business: Business) -> None:
    """Have a payment taken that was put off, another card charged, and the rest given back."""
    business.order_becomes("put-off", "Paid")
    business.pays_with(CHARGED, "declined")
    business.order_becomes("declined", "Paid")
    business.cancels("partiallyrefunded")
    order = business.order_becomes("partiallyrefunded", "Cancelled")
    business.payment_becomes(order, "Refunded")


def payment_of(business: Business, order: str) -> str:
    return business.shop.get(Rental, order).payment_name


def on_record(business: Business) -> dict[str, tuple[int, int]]:
    """Return what was taken and given back of each Payment, as the shop's books have it."""
    return {
        payment.uid: (taken, payment.status.refunded_minor_units or 0)
        for payment in business.shop.find(Payment)
        if (taken := payment.status.captured_minor_units or 0)
    }


def at_the_provider(simulator: SimulatorProcess, *, but: str) -> dict[str, tuple[int, int]]:
    """Return the same as the provider's books have it, without those of one rental."""
    taken: Counter[str] = Counter()
    given_back: Counter[str] = Counter()
    books = simulator.ledger()
    for total, entries in ((taken, books.charges), (given_back, books.refunds)):
        for each in entries:
            if each["rentalUID"] != but:
                total[each["paymentUID"]] += each["amount"]
    return {uid: (amount, given_back[uid]) for uid, amount in taken.items()}


def suspend(business: Business, suspended: bool) -> None:
    business.shop.patch(PaymentGateway, GATEWAY, spec={"suspended": suspended})


def served(cluster: Cluster) -> bool:
    """Tell whether the API server knows our kinds: it is ready some moments before it does."""
    try:
        for kind in KINDS:
            cluster.run_kubectl("get", "--raw", f"/apis/{API_VERSION}/{kind.SERVED.plural}")
    except ClusterError:
        return False
    return True


def test_etcdutl_is_of_the_version_of_the_etcd_that_made_the_snapshot() -> None:
    for module in ("controlplane", "etcdutl"):
        required = (ETCDUTL.module.parent / module / "go.mod").read_text()
        assert f"go.etcd.io/etcd/server/v3 v{ETCD_VERSION}" in required, module
