"""A release of the chart from beginning to end, on a real API server, with a shop that lives on.

There are no nodes, so the chart's pods do not run, and Helm's `--wait` would wait for ever. The
operator runs beside the cluster, as the service account that the chart makes and with the rights
that the chart gives it.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster import Cluster, ControlPlane, manifests
from dev.cluster.console import plain
from dev.cluster.manifests import REPOSITORY
from dev.generate.chart import CHART
from dev.helm import HELM
from tests.e2e.business import Business
from tests.support import Api, Json, Refused, Shop
from tests.support.helm import NAMESPACE, RELEASE, helm, render
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport
from tests.upgrade import phases
from toyrental.kinds import KINDS
from toyrental.rentals.models import Rental
from toyrental.shared.resource import GROUP

__all__ = ["pytest_runtest_makereport"]

PAGE = REPOSITORY / "docs" / "how-to" / "platform-engineer.md"
UPGRADE_PAGE = REPOSITORY / "docs" / "how-to" / "upgrade.md"
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

    def install(self, chart: Path) -> None:
        self._helm("install", RELEASE, str(chart), "--create-namespace")

    def upgrade(self, chart: Path = CHART, *flags: str) -> None:
        self._helm("upgrade", RELEASE, str(chart), *flags)
        manifests.wait_for_policies(self.cluster)

    def rolls_back(self) -> None:
        self._helm("rollback", RELEASE)

    def uninstall(self) -> str:
        return self._helm("uninstall", RELEASE)

    def types(self, command: str) -> None:
        """Run a line as it stands on a page, from the root of the checkout."""
        programs = [self.cluster.kubectl.parent, HELM.path(plain()).parent, "/usr/bin", "/bin"]
        environment = {
            "HOME": str(self.home),
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "PATH": ":".join(map(str, programs)),
        }
        answer = subprocess.run(
            ["bash", "-ec", command],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"

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


@pytest.mark.timeout(600)
def test_a_shop_lives_through_upgrade_rollback_uninstall_and_install(
    release: Release, tmp_path: Path
) -> None:
    cluster = release.cluster
    with Api(cluster.kubeconfig) as admin, SimulatorProcess(tmp_path, *phases.FAULTS) as simulator:
        # Given a release of the version before, and its operator
        release.install(release.previous)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "oak-street"}}
        admin.create(namespace)
        shop = Shop(admin, "oak-street")
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
        for kind in KINDS:
            plural = kind.SERVED.plural
            assert schema_of(admin, plural) == schema_in(REPOSITORY, plural)
        # And nothing of the shop has changed, but that new fields have their defaults
        upgraded = phases.all_of(business)
        assert without_what_is_new(upgraded, before) == before
        # And writing each once, as the page says for a stored version that changes, stores those
        # defaults, and changes nothing else
        release.types(line_of(UPGRADE_PAGE, "kubectl get toyrental -A -o json | kubectl replace"))
        stored = phases.all_of(business)
        for name, content in stored.items():
            assert content["spec"] == upgraded[name]["spec"]
            assert content == upgraded[name] or upgraded[name] != before[name]
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
        # When it is rolled back
        release.rolls_back()
        # Then the kinds are the old ones, and every object is there in its phase
        assert schema_of(admin, "rentals") == schema_in(PREVIOUS, "rentals")
        assert phases_in(phases.all_of(business)) == phases_in(before)
        before = phases.all_of(business)
        # When it is uninstalled
        said = release.uninstall()
        # Then its own objects are gone, the kinds and the shop are not
        kept = {f"{kind.SERVED.plural}.{GROUP}" for kind in KINDS}
        assert all(name in said for name in kept), "Helm says what it keeps"
        crd = "customresourcedefinition.apiextensions.k8s.io"
        assert left_of(cluster, render()) == {f"{crd}/{name}" for name in kept}
        assert phases.all_of(business) == before
        # When it is installed again, and a shop opened, as the page for platform engineers says
        for command in first_commands():
            release.types(command)
        # Then it takes over what was kept, and the new shop's orders are paid at the simulator
        opened = Business(Shop(admin, "maple-street"), simulator)
        there = "http://simulator.toyrental-system.svc:8790"
        release.types(line_of(PAGE, "kubectl patch paymentgateway").replace(there, simulator.url))
        with release.operator(tmp_path / "again"):
            business.takes_paid_order("anew", toy="boat")
            opened.order_becomes("mina-bike", "Paid")
        # When deciders are not recorded, as on Kubernetes before 1.36
        release.upgrade(CHART, "--set=policies.recordDeciders=false")
        # Then a client names itself, or nobody, and nobody else
        assert_deciders_are_who_they_say(shop, "anew", "partiallyrefunded")


def without_what_is_new(now: Json, before: Json) -> Json:
    """Return an object, or a part of one, with those of its fields that it had before."""
    return {
        name: without_what_is_new(value, before[name])
        if isinstance(value, dict) and isinstance(before[name], dict)
        else value
        for name, value in now.items()
        if name in before
    }


def first_commands() -> list[str]:
    """Return what the page says to type on an empty cluster, but for making and pushing an image.

    Nobody can wait for pods where there are no nodes.
    """
    _, _, section = PAGE.read_text().partition(
        "## From an empty cluster to a shop, in five commands\n"
    )
    block = re.search(r"(?:^    .+\n)+", section, re.MULTILINE)
    assert block is not None
    image, *rest = (line.strip() for line in block[0].splitlines())
    assert len(rest) == 4
    assert image.startswith("make image && docker tag ")
    return [
        line.replace(" --wait", "").replace("REGISTRY", "registry.example.com") for line in rest
    ]


def line_of(page: Path, start: str) -> str:
    """Return the one line to type on a page that begins so."""
    lines = (line.strip() for line in page.read_text().splitlines() if line.startswith("    "))
    (line,) = [line for line in lines if line.startswith(start)]
    return line


def assert_deciders_are_who_they_say(shop: Shop, order: str, other: str) -> None:
    approved = {"decision": "Approved"}
    with pytest.raises(Refused, match=r"decidedBy says eve, and you are"):
        shop.patch(Rental, order, spec={"approval": approved | {"decidedBy": "eve"}})
    me = shop.api.who_am_i()
    shop.patch(Rental, order, spec={"approval": approved | {"decidedBy": me}})
    shop.patch(Rental, other, spec={"approval": approved})
    said = [shop.get_raw(Rental, each)["spec"]["approval"] for each in (order, other)]
    assert said == [approved | {"decidedBy": me}, approved]


def schema_of(api: Api, plural: str) -> Any:
    """Return the schema by which the API server judges a kind now."""
    crd = api.get("CustomResourceDefinition", f"{plural}.{GROUP}")
    return crd["spec"]["versions"][0]["schema"]


def schema_in(folder: Path, plural: str) -> Any:
    crd = yaml.safe_load((folder / "crds" / f"{GROUP}_{plural}.yaml").read_text())
    return crd["spec"]["versions"][0]["schema"]


def phases_in(shop: dict[str, Json]) -> dict[str, str | None]:
    """Return the phase of each object; one whose maker was ended at once has no status yet."""
    return {name: each.get("status", {}).get("phase") for name, each in shop.items()}


def assert_alive(api: Api, content: Json) -> None:
    """Fail unless an object's status can be written and it can be deleted; neither is done."""
    metadata = content["metadata"]
    one = content["kind"], metadata["name"], metadata["namespace"]
    conditions = content["status"]["conditions"]
    change = {"status": {"conditions": [each | {"message": "Still so."} for each in conditions]}}
    api.patch(*one, change, "status", dry_run=True)
    api.delete(*one, dry_run=True)


def left_of(cluster: Cluster, objects: list[Json]) -> set[str]:
    """Return which of these objects are in the cluster, as kubectl names them."""
    asked = ["get", "--ignore-not-found", "--output=name", "--filename=-"]
    return set(cluster.run_kubectl(*asked, stdin=yaml.safe_dump_all(objects)).split())
