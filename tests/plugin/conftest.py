"""One operator and one shop for all tests of the plugin, which runs as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.cluster import Cluster
from tests.conftest import open_shop
from tests.e2e.business import Business
from tests.e2e.conftest import operator, simulator, worker
from tests.support import Api
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport

__all__ = ["operator", "pytest_runtest_makereport", "simulator", "worker"]

PLUGIN = Path(sys.executable).with_name("kubectl-toyrental")

Ended = subprocess.CompletedProcess[str]
Run = Callable[..., Ended]


def run(*words: str, **environment: str) -> Ended:
    """Run the plugin to its end, on no terminal; words with spaces in them stay one."""
    return subprocess.run(
        [PLUGIN, *words],
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", "COLUMNS": "80", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def house(
    admin: Api,
    cluster: Cluster,
    worker: str,
    operator: OperatorProcess,  # noqa: ARG001 # it serves the shop, by its name
    simulator: SimulatorProcess,
) -> Iterator[Business]:
    """Give a shop with three toys that takes payments, to all tests of a module."""
    for shop in open_shop(admin, cluster, f"served-{worker}"):
        business = Business(shop, simulator)
        business.opens()
        business.registers("bear", "kite", "lion")
        yield business


@pytest.fixture(scope="module")
def plugin(house: Business, cluster: Cluster) -> Run:
    """Give the plugin, pointed at the shop, with every right."""

    def in_the_shop(*words: str, **environment: str) -> Ended:
        where = ["-n", house.shop.name, "--kubeconfig", str(cluster.kubeconfig)]
        ended = run(*words, *where, **environment)
        assert "Traceback" not in ended.stderr
        return ended

    return in_the_shop
