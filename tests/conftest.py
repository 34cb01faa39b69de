"""One real control plane for the whole run, and a shop for each test that wants one.

tests/support says what can be done with them.
"""

import os
import re
import secrets
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from dev.cluster import Cluster
from tests.support import Api, Shop, auditlog
from tests.support.keeper import Keeper, RemoteKeeper

# Tests never fail for being slow: how fast a machine is says nothing about a rule.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

QUICK = re.compile("^tests/(api|docs|kube|payments|rules|simulator)/")
"""Tests that start no operator."""

KEEPER = pytest.StashKey[Keeper | RemoteKeeper]()
VERDICT = pytest.StashKey[auditlog.Verdict]()


def pytest_configure(config: pytest.Config) -> None:
    workerinput = getattr(config, "workerinput", None)
    config.stash[KEEPER] = RemoteKeeper(*workerinput["keeper"]) if workerinput else Keeper()


def pytest_unconfigure(config: pytest.Config) -> None:
    if keeper := config.stash.get(KEEPER, None):
        keeper.close()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hold what the operators of a run did against what they may do, once all workers have ended.

    That something was refused to them fails any run. That they never used something fails a run of
    the whole suite, in which all went well: of a part nothing can be said.
    """
    keeper = session.config.stash[KEEPER]
    if isinstance(keeper, Keeper) and keeper.audit_log is not None:
        whole = _is_whole(session.config) and session.exitstatus == pytest.ExitCode.OK
        verdict = auditlog.verdict(keeper.audit_log, whole=whole)
        session.config.stash[VERDICT] = verdict
        if verdict.faults and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _is_whole(config: pytest.Config) -> bool:
    """Tell whether every test was asked for."""
    choices = ("keyword", "markexpr", "deselect", "ignore", "lf")
    chosen = any(config.getoption(name, default=None) for name in choices)
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    verdict = config.stash.get(VERDICT, None)
    if verdict is not None and (verdict.faults or verdict.said):
        terminalreporter.section("the operator's permissions, by the audit log")
        for line in verdict.faults:
            terminalreporter.write_line(line, red=True)
        terminalreporter.write_line(verdict.said)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a new worker of pytest-xdist whom to ask."""
    node.workerinput["keeper"] = node.config.stash[KEEPER].listen()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run more tests at once than there are cores: those with an operator mostly wait for it."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that in the end no worker is alone with it."""
    items.sort(key=lambda item: QUICK.search(item.nodeid) is not None)


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
    """Give a shop of its own to a test."""
    yield from open_shop(admin, cluster)


def open_shop(admin: Api, cluster: Cluster, prefix: str = "shop") -> Iterator[Shop]:
    """Make a namespace. By its prefix an operator knows it as its own.

    It is deleted at the end where somebody else needs the cluster, without waiting for it. One of
    our own goes as a whole: to delete a shop in it would be a tenth of a run's work.
    """
    name = f"{prefix}-{secrets.token_hex(4)}"
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    shop = Shop(admin, name)
    try:
        yield shop
    finally:
        shop.close()
        if cluster.kind != "embedded":
            admin.delete("Namespace", name)
            shop.let_go()
