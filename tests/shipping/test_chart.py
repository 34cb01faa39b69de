"""What the chart installs is sound, whatever the values."""

import re
from pathlib import Path

import pytest
import typer
import yaml

from dev.generate.chart import CHART
from dev.helm.manifests import SPLIT as EACH_ALONE
from tests.shipping.test_values import BOARD, GRAFANA, MONITORED, PROXY, SPLIT, WEBHOOKS
from tests.support import Json
from tests.support.helm import render
from tests.support.manifests import Objects
from toyrental import __version__
from toyrental.cli import app
from toyrental.customer_proxy.app import LIVE

EVERYTHING = (
    SPLIT | BOARD | PROXY | WEBHOOKS | {"metrics": MONITORED["metrics"] | GRAFANA["metrics"]}
)
CUSTOMER_PROXY = "toyrental-customer-proxy"
ALL: dict[str, Json] = {
    "default": {},
    "everything": EVERYTHING,
    "each context alone": EACH_ALONE,
    "service monitor": {"metrics": {"monitor": "ServiceMonitor"}},
}
whatever_the_values = pytest.mark.parametrize("values", ALL.values(), ids=ALL.keys())

DOCUMENTED = Path(__file__).parents[2] / "docs" / "how-to" / "platform-engineer.md"


def options(command: str) -> set[str]:
    """Return the flags that a command of ours knows."""
    group = typer.main.get_command(app)
    known = group.commands[command].params  # type: ignore[attr-defined] # a group has commands
    return {name for option in known for name in option.opts}


@whatever_the_values
def test_the_program_knows_every_flag(values: Json) -> None:
    objects = Objects(render(values))
    for deployment in objects.names("Deployment"):
        command = objects.container(deployment)["args"][0]
        assert objects.flags(deployment).keys() <= options(command), deployment


@whatever_the_values
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
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert {kind for each in pod.get("volumes", ()) for kind in each} <= {"name", "secret"}


@whatever_the_values
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


@whatever_the_values
def test_ports_that_are_named_are_there(values: Json) -> None:
    objects = Objects(render(values))
    for deployment in objects.names("Deployment"):
        container = objects.container(deployment)
        ports = {port["name"] for port in container["ports"]}
        probes = [
            container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
        ]
        assert {probe["port"] for probe in probes} <= ports


@whatever_the_values
def test_each_account_has_the_roles_of_its_contexts_and_no_other(values: Json) -> None:
    objects = Objects(render(values))
    others = {CUSTOMER_PROXY: {CUSTOMER_PROXY, "toyrental-token-reviewer"}}
    given: dict[str, set[str]] = {name: set() for name in objects.names("ServiceAccount")}
    for each in objects.of("ClusterRoleBinding"):
        (subject,) = each["subjects"]
        given[subject["name"]].add(each["roleRef"]["name"])
    for name in objects.names("Deployment"):
        contexts = str(objects.flags(name).get("--contexts", "")).split(",")
        account = objects.pod(name)["serviceAccountName"]
        assert account == name, "of its own"
        wanted = {f"toyrental-{each}" for each in contexts if each} or others.get(name, set())
        assert given.pop(account) == wanted
    assert given == {}, "accounts of nobody"


def test_who_takes_no_payments_reads_no_secrets() -> None:
    objects = Objects(render(EACH_ALONE))
    reading = {
        each["subjects"][0]["name"]: verbs
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for each in objects.of(kind)
        if (verbs := secrets_of(objects.named("ClusterRole", each["roleRef"]["name"])))
    }
    assert reading == {"toyrental-payments": ["get"]}


def secrets_of(role: Json) -> list[str]:
    """Return what a role may do with Secrets."""
    rules = [rule for rule in role["rules"] if {"secrets", "*"} & set(rule["resources"])]
    return [verb for rule in rules for verb in rule["verbs"]]


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


def test_the_customer_proxy_reads_orders_where_shops_are_and_no_further() -> None:
    objects = Objects(render(PROXY | {"namespaces": ["maple-street", "oak-street"]}))
    subject = [{"kind": "ServiceAccount", "name": CUSTOMER_PROXY, "namespace": "toyrental-system"}]
    bindings = [
        (each["kind"], each["metadata"].get("namespace"), each["roleRef"]["name"])
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for each in objects.of(kind)
        if each["subjects"] == subject
    ]
    assert bindings == [
        ("ClusterRoleBinding", None, "toyrental-token-reviewer"),
        ("RoleBinding", "maple-street", "toyrental-customer-proxy"),
        ("RoleBinding", "oak-street", "toyrental-customer-proxy"),
    ]
    for probe in ("startup", "liveness", "readiness"):
        asked = objects.container(CUSTOMER_PROXY)[f"{probe}Probe"]["httpGet"]
        assert asked == {"path": LIVE, "port": "https", "scheme": "HTTPS"}


def test_the_version_comes_from_one_place() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", __version__), "semantic"


def test_probes_are_as_the_page_says() -> None:
    container = Objects(render()).container("toyrental-operator")
    rows = re.findall(r"^\| (\w+) \| `(/\w+)` \|", DOCUMENTED.read_text(), re.MULTILINE)
    assert {name: container[f"{name}Probe"]["httpGet"]["path"] for name, _ in rows} == dict(rows)
    assert len(rows) == 3
