"""A release of the chart from beginning to end, on a real API server, with a shop that lives on.

There are no nodes, so the chart's pods do not run, and Helm's `--wait` would wait for ever. The
operator runs beside the cluster, as the service account that the chart makes and with the rights
that the chart gives it.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dev.cluster import Cluster, ControlPlane, manifests
from dev.generate.chart import CHART
from tests.api.schemas import crds
from tests.e2e.business import Business
from tests.support import Api, Json, Shop
from tests.support.helm import NAMESPACE, RELEASE, helm, render
from tests.support.manifests import Objects
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport
from tests.upgrade import phases

__all__ = ["pytest_runtest_makereport"]

PREVIOUS = Path(__file__).parents[1] / "upgrade" / "v0.1.0"
"""Kinds and policies as they were in the version before."""


@pytest.fixture(scope="module")
def empty_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a cluster that knows nothing of us."""
    with ControlPlane(tmp_path_factory.mktemp("cluster"), ephemeral=True) as cluster:
        yield cluster


@pytest.fixture
def release(empty_cluster: Cluster, tmp_path: Path) -> "Release":
    return Release(empty_cluster, tmp_path)


class Release:
    """What a platform engineer does with Helm."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.home = directory / "home"
        self.previous = directory / "previous"
        shutil.copytree(CHART, self.previous)
        for folder in ("crds", "policies"):
            shutil.rmtree(self.previous / "files" / folder)
            shutil.copytree(PREVIOUS / folder, self.previous / "files" / folder)

    def install(self, chart: Path = CHART) -> None:
        self._helm("install", RELEASE, str(chart), "--create-namespace")
        manifests.wait_for_policies(self.cluster)

    def upgrade(self, chart: Path = CHART) -> None:
        self._helm("upgrade", RELEASE, str(chart))
        manifests.wait_for_policies(self.cluster)

    def uninstall(self) -> str:
        return self._helm("uninstall", RELEASE)

    def _helm(self, *arguments: str) -> str:
        return helm(*arguments, f"--namespace={NAMESPACE}", cluster=self.cluster, home=self.home)

    def operator(self, directory: Path) -> OperatorProcess:
        """Return the operator as the chart's service account; the caller starts it."""
        directory.mkdir()
        token = self.cluster.run_kubectl(
            "create", "token", f"{RELEASE}-operator", f"--namespace={NAMESPACE}"
        ).strip()
        with Api(self.cluster.kubeconfig, token) as itself:
            kubeconfig = itself.write_kubeconfig(directory / "operator")
        return OperatorProcess(replace(self.cluster, kubeconfig=kubeconfig), directory)


def test_a_shop_lives_through_upgrade_uninstall_and_install(
    release: Release, tmp_path: Path
) -> None:
    cluster = release.cluster
    with Api(cluster.kubeconfig) as admin, SimulatorProcess(tmp_path, *phases.FAULTS) as simulator:
        # Given a release of the version before, and its operator
        release.install(release.previous)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "maple-street"}}
        admin.create(namespace)
        shop = Shop(admin, "maple-street")
        business = Business(shop, simulator)
        with release.operator(tmp_path / "before"):
            # And a shop with something in each phase there is
            phases.open_shop(business)
            phases.fill(business)
        before = phases.all_of(business)
        assert phases.missing(business) == {}
        # When it is upgraded
        release.upgrade()
        # Then the kinds are the new ones
        for crd in crds():
            name = crd["metadata"]["name"]
            served = admin.get("CustomResourceDefinition", name)["spec"]
            assert served["versions"][0]["schema"] == crd["spec"]["versions"][0]["schema"], name
        # And nothing of the shop has changed
        assert phases.all_of(business) == before
        # And each can be written and deleted, whatever its phase
        for content in before.values():
            assert_alive(admin, content)
        # And its lives go on
        with release.operator(tmp_path / "after") as operator:
            business.cancels("paid")
            business.order_becomes("paid", "Cancelled")
            business.gets_back("rented")
            assert "forbidden" not in operator.log.lower()
        before = phases.all_of(business)
        # When it is uninstalled
        said = release.uninstall()
        # Then its own objects are gone, the kinds and the shop are not
        for name in (crd["metadata"]["name"] for crd in crds()):
            assert name in said, "Helm says what it keeps"
        for each in Objects(render()).all:
            kept = each["kind"] == "CustomResourceDefinition"
            assert exists(cluster, each) is kept, each["metadata"]
        assert phases.all_of(business) == before
        # When it is installed again
        release.install()
        # Then it takes over what was kept
        with release.operator(tmp_path / "again"):
            business.takes_paid_order("anew", toy="boat")


def assert_alive(api: Api, content: Json) -> None:
    """Fail unless an object's status can be written and it can be deleted; neither is done."""
    metadata = content["metadata"]
    one = content["kind"], metadata["name"], metadata["namespace"]
    conditions = content["status"]["conditions"]
    change = {"status": {"conditions": [each | {"message": "Still so."} for each in conditions]}}
    api.patch(*one, change, "status", dry_run=True)
    api.delete(*one, dry_run=True)


def exists(cluster: Cluster, content: Json) -> bool:
    """Tell whether an object is in the cluster."""
    metadata = content["metadata"]
    group = content["apiVersion"].rpartition("/")[0]
    kind = f"{content['kind']}.{group}" if group else content["kind"]
    where = [f"--namespace={metadata['namespace']}"] if "namespace" in metadata else []
    return bool(
        cluster.run_kubectl(
            "get", kind, metadata["name"], "--ignore-not-found", "--output=name", *where
        )
    )
