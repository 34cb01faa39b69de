"""What the chart installs is sound, whatever the values."""

import re
from pathlib import Path

import pytest
import typer
import yaml

from dev.generate.chart import CHART
from tests.shipping.test_values import BOARD, GRAFANA, MONITORED, SPLIT, WEBHOOKS
from tests.support import Json
from tests.support.helm import render
from tests.support.manifests import Objects
from toyrental import __version__
from toyrental.cli import app

DASHBOARDS_ALONE = {"deployments": [{"name": "numbers", "contexts": ["dashboards"]}]}
EVERYTHING = SPLIT | BOARD | WEBHOOKS | {"metrics": MONITORED["metrics"] | GRAFANA["metrics"]}
ALL = [{}, EVERYTHING, {"metrics": {"monitor": "ServiceMonitor"}}]

DOCUMENTED = Path(__file__).parents[2] / "docs" / "how-to" / "platform-engineer.md"


def options(command: str) -> set[str]:
    """Return the flags that a command of ours knows."""
    group = typer.main.get_command(app)
    known = group.commands[command].params  # type: ignore[attr-defined] # a group has commands
    return {name for option in known for name in option.opts}


@pytest.mark.parametrize("values", ALL, ids=["default", "everything", "service monitor"])
def test_the_program_knows_every_flag(values: Json) -> None:
    objects = Objects(render(values))
    for deployment in objects.names("Deployment"):
        command = objects.container(deployment)["args"][0]
        assert objects.flags(deployment).keys() <= options(command), deployment


@pytest.mark.parametrize("values", ALL, ids=["default", "everything", "service monitor"])
def test_pods_may_do_what_the_restricted_standard_allows_and_no_more(values: Json) -> None:
    objects = Objects(render(values))
    for deployment in objects.names("Deployment"):
        pod, container = objects.pod(deployment), objects.container(deployment)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & pod.keys()


@pytest.mark.parametrize("values", ALL, ids=["default", "everything", "service monitor"])
def test_what_selects_pods_finds_those_it_means(values: Json) -> None:
    objects = Objects(render(values))
    pods = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"]
        for each in objects.of("Deployment")
    }
    for kind in ("Deployment", "PodDisruptionBudget", "NetworkPolicy"):
        for each in objects.of(kind):
            spec = each["spec"]
            wanted = (spec.get("selector") or spec["podSelector"])["matchLabels"].items()
            found = [name for name, labels in pods.items() if wanted <= labels.items()]
            assert found == [each["metadata"]["name"]], f"{kind} {found}"


@pytest.mark.parametrize("values", ALL, ids=["default", "everything", "service monitor"])
def test_ports_that_are_named_are_there(values: Json) -> None:
    objects = Objects(render(values))
    for deployment in objects.names("Deployment"):
        container = objects.container(deployment)
        ports = {port["name"] for port in container["ports"]}
        probes = [
            container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
        ]
        assert {probe["port"] for probe in probes} <= ports


def test_each_deployment_has_an_account_of_its_own_with_the_rights_it_needs() -> None:
    objects = Objects(render(SPLIT))
    for name in objects.names("Deployment"):
        assert objects.pod(name)["serviceAccountName"] == name
        binding = objects.named("ClusterRoleBinding", name)
        (subject,) = binding["subjects"]
        assert subject["name"] == name
        role = binding["roleRef"]["name"]
        contexts = str(objects.flags(name)["--contexts"])
        alone = "," not in contexts
        assert role == f"toyrental-{contexts if alone else 'operator'}"
    (binding,) = Objects(render(DASHBOARDS_ALONE)).of("ClusterRoleBinding")
    assert binding["roleRef"]["name"] == "toyrental-dashboards"


def test_every_role_that_is_bound_is_installed() -> None:
    objects = Objects(render(EVERYTHING))
    bound = {
        each["roleRef"]["name"]
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for each in objects.of(kind)
    }
    assert bound <= set(objects.names("ClusterRole"))


def test_two_deployments_never_share_a_lease() -> None:
    objects = Objects(render(SPLIT))
    leases = [objects.flags(name)["--lease-name"] for name in objects.names("Deployment")]
    assert len(set(leases)) == len(leases)


def test_the_board_has_no_rights() -> None:
    objects = Objects(render(BOARD))
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        for each in objects.of(kind):
            assert "toyrental-board" not in [subject["name"] for subject in each["subjects"]]


def test_the_version_comes_from_one_place() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", __version__), "semantic"


def test_probes_are_as_the_page_says() -> None:
    container = Objects(render()).container("toyrental-operator")
    rows = re.findall(r"^\| (\w+) \| `(/\w+)` \|", DOCUMENTED.read_text(), re.MULTILINE)
    assert {name: container[f"{name}Probe"]["httpGet"]["path"] for name, _ in rows} == dict(rows)
    assert len(rows) == 3
