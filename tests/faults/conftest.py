"""Operators that are killed, cut off and lied to need shops, and a cluster, of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import Cluster, ControlPlane, manifests
from tests.conftest import open_shop
from tests.support import Api, Shop, objects
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport
from tests.support.proxy import Proxy

__all__ = ["pytest_runtest_makereport"]

GATEWAY = "simulator"


@pytest.fixture
def shop(admin: Api, cluster: Cluster) -> Iterator[Shop]:
    """Give an empty shop that no operator serves but what the test starts."""
    for shop in open_shop(admin, cluster, "own"):
        try:
            yield shop
        finally:
            shop.let_go()


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
        for shop in open_shop(api, own_cluster, "own"):
            try:
                yield shop
            finally:
                shop.let_go()


@pytest.fixture
def open_for_business(shop: Shop, simulator: SimulatorProcess) -> Shop:
    """Give a shop that takes payments, without an operator."""
    shop.create(objects.gateway(GATEWAY, simulator.url))
    shop.create(objects.store(gateway=GATEWAY))
    return shop


@pytest.fixture
def operator(
    cluster: Cluster, tmp_path: Path, open_for_business: Shop
) -> Iterator[OperatorProcess]:
    """Give an operator that serves the shop, and ends well."""
    namespaces = [open_for_business.name]
    with OperatorProcess(cluster, tmp_path, namespaces=namespaces) as operator:
        yield operator
        assert operator.terminate() == 0
