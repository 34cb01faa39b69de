"""Operators that are killed, cut off and lied to need shops, and a cluster, of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import Cluster, ControlPlane, manifests
from tests.conftest import open_shop
from tests.support import Api, Shop, eventually, objects
from tests.support.mirror import Mirror
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport
from tests.support.proxy import Proxy
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import Toy

__all__ = ["pytest_runtest_makereport"]

GATEWAY = "simulator"


@pytest.fixture
def shop(admin: Api, cluster: Cluster) -> Iterator[Shop]:
    """Give an empty shop that no operator serves but what the test starts."""
    yield from open_shop(admin, cluster, "own")


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """Give a payment provider, whose books tell the rentals of all tests apart by their uids."""
    with SimulatorProcess(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    """Give a proxy to the API server, which does no harm yet."""
    with Proxy.to_cluster(cluster) as proxy:
        yield proxy


@pytest.fixture
def mirror(cluster: Cluster, shop: Shop) -> Iterator[Mirror]:
    """Give what there is in the test's own shop at any time."""
    with Mirror(cluster, shop.name) as mirror:
        yield mirror


@pytest.fixture(scope="session")
def own_control_plane(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """Give a control plane that a test may stop, and whose metrics nobody else adds to."""
    if cluster.kind != "embedded":
        pytest.skip("a cluster that others run is neither stopped nor measured")
    directory = tmp_path_factory.mktemp("control-plane")
    control_plane = ControlPlane(directory, ephemeral=True, apply=manifests.present())
    with control_plane:
        yield control_plane


@pytest.fixture
def own_cluster(own_control_plane: ControlPlane) -> Cluster:
    """Give the cluster of that control plane, as it is now."""
    return own_control_plane.start()


@pytest.fixture
def shop_of_its_own(own_cluster: Cluster) -> Iterator[Shop]:
    """Give an empty shop in that cluster."""
    with Api(own_cluster.kubeconfig) as api:
        yield from open_shop(api, own_cluster, "own")


@pytest.fixture
def open_for_business(shop: Shop, simulator: SimulatorProcess) -> Shop:
    """Give a shop that takes payments, without an operator."""
    return opened(shop, simulator)


def opened(shop: Shop, simulator: SimulatorProcess) -> Shop:
    shop.create(objects.gateway(GATEWAY, simulator.url))
    shop.create(objects.store(gateway=GATEWAY))
    return shop


@pytest.fixture
def unstarted(
    cluster: Cluster, open_for_business: Shop, proxy: Proxy, tmp_path: Path
) -> OperatorProcess:
    """Give an operator for that shop, not started yet, whose every request the proxy sees."""
    return behind(proxy, open_for_business, cluster, tmp_path)


def behind(proxy: Proxy, shop: Shop, cluster: Cluster, tmp_path: Path) -> OperatorProcess:
    flags = f"--kubeconfig={proxy.kubeconfig(tmp_path / 'kubeconfig')}"
    return OperatorProcess(cluster, tmp_path, flags, namespaces=[shop.name])


@pytest.fixture(scope="module")
def shop_of_module(admin: Api, cluster: Cluster, simulator: SimulatorProcess) -> Iterator[Shop]:
    for shop in open_shop(admin, cluster, "own"):
        yield opened(shop, simulator)


@pytest.fixture(scope="module")
def detour() -> Proxy | None:
    """Give the proxy that the module's operator goes through: none, unless a module has one."""
    return None


@pytest.fixture(scope="module")
def operator(
    cluster: Cluster,
    shop_of_module: Shop,
    detour: Proxy | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    """Give an operator that the tests of a module share, and restart as they like. It ends well."""
    directory = tmp_path_factory.mktemp("operator")
    kubeconfig = detour.kubeconfig(directory / "kubeconfig") if detour else cluster.kubeconfig
    flags = f"--kubeconfig={kubeconfig}"
    namespaces = [shop_of_module.name]
    with OperatorProcess(cluster, directory, flags, namespaces=namespaces) as operator:
        yield operator
        assert operator.terminate() == 0


@pytest.fixture
def served(shop_of_module: Shop, operator: OperatorProcess, detour: Proxy | None) -> Iterator[Shop]:
    """Give the shop that the module's operator serves, empty before and after."""
    shop = shop_of_module
    yield shop
    if detour is not None:
        detour.behave()
    assert operator.running
    for kind in (Rental, RepairTicket, Toy):
        shop.api.delete_all(kind.SERVED.kind, shop.name)
    left = (Rental, Payment, RepairTicket, Toy)
    eventually(lambda: not any(shop.find(kind) for kind in left), within=60)
