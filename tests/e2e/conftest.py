"""One operator and one simulator for all tests that share them, and a shop of its own for each.

Each worker of pytest-xdist has a pair of its own, told apart by the names of the namespaces, so
that no worker depends on another's life. Tests that stop the operator run their own, in `own_shop`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import Cluster
from tests.conftest import open_shop
from tests.e2e.business import Business
from tests.support import Api, Json, Shop
from tests.support.conditions import settle
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport
from toyrental.kinds import KINDS

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest) -> str:
    """Give the name of this worker of pytest-xdist."""
    return str(getattr(request.config, "workerinput", {}).get("workerid", "main"))


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """Give the payment provider that most tests share."""
    with SimulatorProcess(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def operator(
    cluster: Cluster, worker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """Give the operator that most tests share."""
    directory = tmp_path_factory.mktemp("operator")
    with OperatorProcess(cluster, directory, namespaces=[f"served-{worker}-*"]) as operator:
        yield operator
        assert operator.terminate() == 0


@pytest.fixture
def shop(admin: Api, cluster: Cluster, worker: str, operator: OperatorProcess) -> Iterator[Shop]:
    """Give an empty shop that the shared operator serves; what is left in it is checked."""
    for shop in open_shop(admin, cluster, f"served-{worker}"):
        yield shop
        check_all(shop)
        assert operator.running
        complaints = [r for r in operator.records if r.get("namespace") == shop.name and bad(r)]
        assert not complaints


def bad(record: Json) -> bool:
    """Tell whether a line of the log is about something that should not be."""
    return record["level"] not in {"debug", "info"}


@pytest.fixture
def business(shop: Shop, simulator: SimulatorProcess) -> Business:
    """Give a shop that takes payments."""
    business = Business(shop, simulator)
    business.opens()
    return business


@pytest.fixture
def own_shop(admin: Api, cluster: Cluster) -> Iterator[Shop]:
    """Give an empty shop that no operator serves but what the test starts."""
    yield from open_shop(admin, cluster, "own")


@pytest.fixture
def own_simulator(tmp_path: Path) -> Iterator[SimulatorProcess]:
    """Give a payment provider that the test may stop."""
    with SimulatorProcess(tmp_path) as simulator:
        yield simulator


def check_all(shop: Shop) -> None:
    """Check the conditions of everything in a shop, once the operator has seen it all."""
    settle(lambda: (each for kind in KINDS for each in everything(shop, kind.SERVED.kind)))


def everything(shop: Shop, kind: str) -> Iterator[dict[str, object]]:
    """Yield the objects of a kind that the operator speaks of."""
    for each in shop.api.find(kind, shop.name):
        yield {"kind": kind, **each}
