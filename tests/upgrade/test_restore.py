"""A shop comes back from a copy of etcd, and the provider, who knows more, is not asked twice."""

import shutil
from pathlib import Path

import pytest

from dev.cluster import Cluster, ClusterError, ControlPlane, manifests
from tests.e2e.business import GATEWAY, Business
from tests.support import Api, Shop, eventually
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport
from toyrental.kinds import KINDS
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.shared.resource import API_VERSION

__all__ = ["pytest_runtest_makereport"]


@pytest.mark.timeout(600)
def test_what_was_charged_after_the_backup_is_not_charged_again(tmp_path: Path) -> None:
    control_plane = ControlPlane(tmp_path / "cluster", ephemeral=True, apply=manifests.present())
    backup = tmp_path / "backup"
    with control_plane as cluster, SimulatorProcess(tmp_path) as simulator:
        with Api(cluster.kubeconfig) as admin:
            admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
            business = Business(Shop(admin, "shop"), simulator)
            with OperatorProcess(cluster, tmp_path):
                # Given an order whose payment is put off
                business.opens()
                business.registers("bear")
                suspend(business, True)
                order = business.takes_order(toy="bear")
                business.order_becomes("order", "Reserved", Paid="False/Deferred")
                kept = business.shop.get_raw(Rental, "order")
                # And a backup of that moment
                control_plane.stop_process("etcd")
                shutil.copytree(control_plane.layout.etcd_data, backup)
                control_plane.start_process("etcd")
                # And the payment being taken after it
                suspend(business, False)
                business.order_becomes("order", "Paid")
                assert business.books(order).taken == 9000
        # When the backup is restored
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            control_plane.stop_process(name)
        shutil.rmtree(control_plane.layout.etcd_data)
        shutil.copytree(backup, control_plane.layout.etcd_data)
        restart(control_plane)
        eventually(lambda: served(cluster))
        with Api(cluster.kubeconfig) as admin:
            shop = Shop(admin, "shop")
            business = Business(shop, simulator)
            # Then the order is as it was, uid and all
            assert shop.get_raw(Rental, "order") == kept
            # And once the operator takes the payment up, it finds it taken
            with OperatorProcess(cluster, tmp_path, name="after"):
                suspend(business, False)
                paid = business.order_becomes("order", "Paid")
                payment = shop.get(Payment, paid.payment_name)
                (charge,) = business.books(paid).charges
                assert payment.status.gateway_payment_id == charge["id"]
                business.approves()
                business.order_becomes("order", "Rented")


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


def restart(control_plane: ControlPlane) -> None:
    """Start etcd, and the others on it: they must not go on from what they remember."""
    control_plane.start_process("etcd", wait=False)
    control_plane.start_process("kube-apiserver")
    control_plane.start_process("kube-controller-manager")
