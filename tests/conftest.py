"""One real control plane for the whole run, and a shop for each test that wants one.

tests/support says what can be done with them.
"""

import secrets
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from dev.cluster import Cluster
from tests.support import Api, Shop
from tests.support.keeper import Keeper, RemoteKeeper

# Tests never fail for being slow: how fast a machine is says nothing about a rule.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

KEEPER = pytest.StashKey[Keeper | RemoteKeeper]()


def pytest_configure(config: pytest.Config) -> None:
    workerinput = getattr(config, "workerinput", None)
    config.stash[KEEPER] = RemoteKeeper(*workerinput["keeper"]) if workerinput else Keeper()


def pytest_unconfigure(config: pytest.Config) -> None:
    if keeper := config.stash.get(KEEPER, None):
        keeper.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a new worker of pytest-xdist whom to ask."""
    node.workerinput["keeper"] = node.config.stash[KEEPER].listen()


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Cluster:
    """Give the cluster of this run, with the CRDs, policies and roles of this checkout."""
    return pytestconfig.stash[KEEPER].cluster()


@pytest.fixture(scope="session")
def admin(cluster: Cluster) -> Iterator[Api]:
    """Give the API server to somebody who may do everything."""
    with Api(cluster.kubeconfig) as api:
        yield api


@pytest.fixture
def shop(admin: Api, cluster: Cluster) -> Iterator[Shop]:
    """Give a shop of its own to a test; it is deleted afterwards, without waiting for it."""
    yield from open_shop(admin, cluster)


def open_shop(admin: Api, cluster: Cluster, prefix: str = "shop") -> Iterator[Shop]:
    """Make a namespace, and delete it at the end. By its prefix an operator knows it as its own."""
    name = f"{prefix}-{secrets.token_hex(4)}"
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    shop = Shop(admin, name)
    try:
        yield shop
    finally:
        shop.close()
        admin.delete("Namespace", name)
        if cluster.kind != "embedded":
            shop.let_go()
