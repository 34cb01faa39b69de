"""Every value of the chart does something, and none can be misspelt."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from dev.generate.chart import CHART, values
from tests.support import Json
from tests.support.helm import HelmSays, helm, merged, nested, render
from tests.support.manifests import Objects

SPLIT = {
    "deployments": [
        {"name": "money", "contexts": ["payments"]},
        {"name": "shop", "contexts": ["rentals", "stores", "repairs"], "replicas": 3},
    ]
}
WEBHOOKS = {"webhooks": {"enabled": True}}
BOARD = {"board": {"enabled": True}}
PROXY = {"customerProxy": {"enabled": True, "tlsSecret": "proxy-tls"}}
MONITORED = {"metrics": {"monitor": "PodMonitor", "rules": {"enabled": True}}}
GRAFANA = {"metrics": {"grafana": {"enabled": True}}}
LIMITS = {"limits": {"memory": "1Gi"}}
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
RECORDING = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding")
DIGEST = "sha256:" + "0123456789abcdef" * 4


@dataclass(frozen=True)
class Case:
    """A value that is set, what is looked at, and what is seen there then, and only then.

    `given` are other values, without which it has no effect.
    """

    path: str
    value: Any
    look: Callable[[Objects], Any]
    seen: Any
    given: Json = field(default_factory=dict)


def kinds(*wanted: str) -> Callable[[Objects], Any]:
    return lambda objects: [kind for kind in wanted if objects.of(kind)]


def pod(key: str, name: str = "toyrental-operator") -> Callable[[Objects], Any]:
    return lambda objects: objects.pod(name).get(key)


def container(key: str, name: str = "toyrental-operator") -> Callable[[Objects], Any]:
    return lambda objects: objects.container(name).get(key)


def flag(name: str, deployment: str = "toyrental-operator") -> Callable[[Objects], Any]:
    """Look at a flag of the program: its value, True where it has none, None where it is not."""
    return lambda objects: objects.flags(deployment).get(name)


def spec(kind: str, *keys: str) -> Callable[[Objects], Any]:
    def look(objects: Objects) -> Any:
        found: Any = objects.of(kind)[0]["spec"]
        for key in keys:
            found = found[int(key) if key.isdigit() else key]
        return found

    return look


def metadata(kind: str, what: str, key: str) -> Callable[[Objects], Any]:
    return lambda objects: objects.of(kind)[0]["metadata"].get(what, {}).get(key)


def template(what: str, key: str) -> Callable[[Objects], Any]:
    def look(objects: Objects) -> Any:
        deployment = objects.named("Deployment", "toyrental-operator")
        return deployment["spec"]["template"]["metadata"].get(what, {}).get(key)

    return look


CASES = [
    Case(
        "image.repository", "ghcr.io/me/toyrental", container("image"), "ghcr.io/me/toyrental:0.1.0"
    ),
    Case("image.tag", "edge", container("image"), "localhost/toyrental:edge"),
    Case("image.digest", DIGEST, container("image"), f"localhost/toyrental@{DIGEST}"),
    Case("image.pullPolicy", "Always", container("imagePullPolicy"), "Always"),
    Case("imagePullSecrets", [{"name": "pull"}], pod("imagePullSecrets"), [{"name": "pull"}]),
    Case(
        "fullnameOverride",
        "toys",
        lambda objects: objects.names("Deployment"),
        ["toys-operator"],
    ),
    Case(
        "deployments",
        SPLIT["deployments"],
        lambda objects: {
            name: (
                objects.flags(name)["--contexts"],
                objects.named("Deployment", name)["spec"]["replicas"],
            )
            for name in objects.names("Deployment")
        },
        {"toyrental-money": ("payments", 2), "toyrental-shop": ("rentals,stores,repairs", 3)},
    ),
    Case("replicas", 3, spec("Deployment", "replicas"), 3),
    Case(
        "namespaces",
        ["maple-street", "oak-street"],
        lambda objects: (
            objects.flags("toyrental-operator").get("--namespaces"),
            objects.places("RoleBinding", "toyrental-operator-payments"),
            objects.names("ClusterRoleBinding"),
        ),
        ("maple-street,oak-street", ["maple-street", "oak-street"], []),
    ),
    Case("gatewayEndpoints", ["http://sim:8790"], flag("--gateway-endpoints"), "http://sim:8790"),
    Case("sweepSeconds", 60, flag("--sweep-seconds"), "60"),
    Case("log.format", "text", flag("--log-format"), "text"),
    Case("log.level", "debug", flag("--log-level"), "debug"),
    Case(
        "leaderElection.enabled",
        False,
        lambda objects: (
            objects.flags("toyrental-operator").get("--leader-election"),
            objects.names("RoleBinding"),
        ),
        (None, []),
    ),
    Case(
        "resources",
        LIMITS,
        lambda o: o.container("toyrental-operator")["resources"]["limits"],
        {"memory": "1Gi"},
    ),
    Case("podDisruptionBudget.enabled", False, kinds("PodDisruptionBudget"), []),
    Case(
        "podDisruptionBudget.maxUnavailable",
        "50%",
        spec("PodDisruptionBudget", "maxUnavailable"),
        "50%",
    ),
    Case("topologySpread.enabled", False, pod("topologySpreadConstraints"), None),
    Case("nodeSelector", {"disk": "ssd"}, pod("nodeSelector"), {"disk": "ssd"}),
    Case("tolerations", [{"operator": "Exists"}], pod("tolerations"), [{"operator": "Exists"}]),
    Case("affinity", {"podAffinity": {}}, pod("affinity"), {"podAffinity": {}}),
    Case("priorityClassName", "high", pod("priorityClassName"), "high"),
    Case("terminationGracePeriodSeconds", 60, pod("terminationGracePeriodSeconds"), 60),
    Case("podLabels", {"team": "toys"}, template("labels", "team"), "toys"),
    Case("podAnnotations", {"note": "x"}, template("annotations", "note"), "x"),
    Case(
        "extraEnv",
        [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
        container("env"),
        [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
    ),
    Case(
        "serviceAccount.annotations",
        {"role": "x"},
        metadata("ServiceAccount", "annotations", "role"),
        "x",
    ),
    Case("crds.install", False, kinds("CustomResourceDefinition"), []),
    Case(
        "crds.keep",
        False,
        metadata("CustomResourceDefinition", "annotations", "helm.sh/resource-policy"),
        None,
    ),
    Case(
        "policies.install",
        False,
        kinds(*POLICIES, *RECORDING),
        [],
    ),
    Case("policies.recordDeciders", False, kinds(*POLICIES, *RECORDING), list(POLICIES)),
    Case("roles.install", False, kinds("ClusterRole"), []),
    Case("roles.bind", False, kinds("ClusterRoleBinding", "RoleBinding"), []),
    Case("networkPolicy.enabled", False, kinds("NetworkPolicy"), []),
    Case(
        "networkPolicy.metricsFrom",
        [{"podSelector": {}}],
        spec("NetworkPolicy", "ingress", "0", "from"),
        [{"podSelector": {}}],
    ),
    Case(
        "networkPolicy.egressPorts",
        [6443],
        spec("NetworkPolicy", "egress", "1", "ports"),
        [{"port": 6443, "protocol": "TCP"}],
    ),
    Case(
        "metrics.enabled",
        False,
        lambda objects: (
            objects.flags("toyrental-operator").get("--metrics"),
            [port["name"] for port in objects.container("toyrental-operator")["ports"]],
            objects.of("NetworkPolicy")[0]["spec"]["ingress"],
            objects.of("PodMonitor"),
        ),
        (None, ["health"], [], []),
        given={"metrics": {"monitor": "PodMonitor"}},
    ),
    Case("metrics.port", 9100, flag("--metrics"), "http://0.0.0.0:9100/metrics"),
    Case("metrics.monitor", "PodMonitor", kinds("PodMonitor", "ServiceMonitor"), ["PodMonitor"]),
    Case(
        "metrics.monitor",
        "ServiceMonitor",
        kinds("PodMonitor", "ServiceMonitor", "Service"),
        ["ServiceMonitor", "Service"],
    ),
    Case(
        "metrics.interval",
        "1m",
        spec("PodMonitor", "podMetricsEndpoints", "0", "interval"),
        "1m",
        given=MONITORED,
    ),
    Case(
        "metrics.labels",
        {"release": "prometheus"},
        lambda objects: [
            objects.of(kind)[0]["metadata"]["labels"].get("release")
            for kind in ("PodMonitor", "PrometheusRule")
        ],
        ["prometheus", "prometheus"],
        given=MONITORED,
    ),
    Case("metrics.rules.enabled", True, kinds("PrometheusRule"), ["PrometheusRule"]),
    Case(
        "metrics.rules.runbooks",
        "https://wiki/",
        lambda objects: {
            rule["annotations"]["runbook_url"].partition("docs/")[0]
            for group in objects.of("PrometheusRule")[0]["spec"]["groups"]
            for rule in group["rules"]
            if "alert" in rule
        },
        {"https://wiki/"},
        given=MONITORED,
    ),
    Case(
        "metrics.grafana.enabled",
        True,
        lambda objects: objects.names("ConfigMap"),
        ["toyrental-grafana-operator", "toyrental-grafana-shop"],
    ),
    Case(
        "metrics.grafana.labels",
        {"board": "yes"},
        metadata("ConfigMap", "labels", "board"),
        "yes",
        given=GRAFANA,
    ),
    Case("health.port", 8081, flag("--health"), "http://0.0.0.0:8081"),
    Case(
        "webhooks.enabled",
        True,
        lambda objects: (
            objects.flags("toyrental-shop").get("--webhooks"),
            objects.flags("toyrental-money").get("--webhooks"),
            objects.named("NetworkPolicy", "toyrental-money")["spec"]["ingress"][-1],
            [
                each["spec"]["selector"]["app.kubernetes.io/component"]
                for each in objects.of("Service")
            ],
        ),
        (None, "http://0.0.0.0:8791/webhooks", {"ports": [{"port": "webhooks"}]}, ["money"]),
        given=SPLIT,
    ),
    Case("webhooks.port", 8000, spec("Service", "ports", "0", "port"), 8000, given=WEBHOOKS),
    Case(
        "board.enabled",
        True,
        lambda objects: [
            objects.names(kind).count("toyrental-board")
            for kind in ("Deployment", "Service", "ServiceAccount", "NetworkPolicy")
        ],
        [1, 1, 1, 1],
    ),
    Case("board.port", 8080, spec("Service", "ports", "0", "port"), 8080, given=BOARD),
    Case("board.https", False, flag("--https", "toyrental-board"), None, given=BOARD),
    Case(
        "board.timeZone",
        "Asia/Seoul",
        flag("--time-zone", "toyrental-board"),
        "Asia/Seoul",
        given=BOARD,
    ),
    Case("board.idleMinutes", 5, flag("--idle-minutes", "toyrental-board"), "5", given=BOARD),
    Case(
        "board.resources",
        LIMITS,
        lambda objects: objects.container("toyrental-board")["resources"]["limits"],
        {"memory": "1Gi"},
        given=BOARD,
    ),
    Case(
        "customerProxy.enabled",
        True,
        lambda objects: [
            objects.names(kind).count("toyrental-customer-proxy")
            for kind in (
                "Deployment",
                "Service",
                "ServiceAccount",
                "NetworkPolicy",
                "PodDisruptionBudget",
                "ClusterRoleBinding",
            )
        ],
        [1, 1, 1, 1, 1, 1],
        given={"customerProxy": {"tlsSecret": "proxy-tls"}},
    ),
    Case(
        "customerProxy.replicas",
        3,
        lambda o: o.named("Deployment", "toyrental-customer-proxy")["spec"]["replicas"],
        3,
        given=PROXY,
    ),
    Case(
        "customerProxy.tlsSecret",
        "other-tls",
        pod("volumes", "toyrental-customer-proxy"),
        [{"name": "tls", "secret": {"secretName": "other-tls"}}],
        given=PROXY,
    ),
    Case("customerProxy.port", 8443, spec("Service", "ports", "0", "port"), 8443, given=PROXY),
    Case(
        "customerProxy.resources",
        LIMITS,
        lambda objects: objects.container("toyrental-customer-proxy")["resources"]["limits"],
        {"memory": "1Gi"},
        given=PROXY,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.path)
def test_a_value_changes_what_it_says(case: Case) -> None:
    before = case.look(Objects(render(case.given)))
    after = case.look(Objects(render(merged(case.given, nested(case.path, case.value)))))
    assert after == case.seen
    assert before != case.seen, "it is so without the value, too"


@pytest.mark.parametrize("old", ["1.32.0", "1.35.9"])
def test_a_cluster_that_cannot_record_deciders_is_told_so(old: str) -> None:
    with pytest.raises(
        HelmSays, match=rf"Kubernetes v{old} cannot .* policies.recordDeciders=false"
    ):
        render({}, kubernetes=old)
    objects = Objects(render({"policies": {"recordDeciders": False}}, kubernetes=old))
    assert kinds(*RECORDING)(objects) == []
    assert kinds(*RECORDING)(Objects(render({}, kubernetes="1.36.0"))) == list(RECORDING)


def test_a_cluster_that_is_too_old_is_told_so() -> None:
    with pytest.raises(HelmSays, match=r"requires kubeVersion: >=1\.32"):
        render({"policies": {"recordDeciders": False}}, kubernetes="1.31.9")


def test_no_value_is_left_out() -> None:
    """Each leaf of values.yaml has a case, or is part of one, as `resources.limits.memory` is."""

    def leaves(content: Any, path: str = "") -> list[str]:
        if not isinstance(content, dict) or not content:
            return [path]
        return [
            leaf
            for key, inner in content.items()
            for leaf in leaves(inner, f"{path}.{key}".strip("."))
        ]

    tried = {case.path for case in CASES}
    content = yaml.safe_load((CHART / "values.yaml").read_text())
    assert len(leaves(content)) > 50
    assert [leaf for leaf in leaves(content) if not any(within(leaf, path) for path in tried)] == []


def within(leaf: str, path: str) -> bool:
    return leaf == path or leaf.startswith(f"{path}.")


def test_every_value_has_a_case_and_a_description() -> None:
    described = [value.path for value in values()]
    assert described == list(dict.fromkeys(case.path for case in CASES))


def test_the_schema_has_every_value_and_no_other() -> None:
    def leaves(schema: Json, path: str = "") -> list[str]:
        if not schema.get("properties") or path in described:
            return [path]
        return [
            leaf
            for key, inner in schema["properties"].items()
            for leaf in leaves(inner, f"{path}.{key}".strip("."))
        ]

    described = {value.path for value in values()}
    schema = json.loads((CHART / "values.schema.json").read_text())
    # Helm itself puts `global` there.
    assert set(leaves(schema)) - {"global"} == described


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"replica": 3}, "replica"),
        ({"replicas": 0}, "replicas"),
        ({"board": {"enable": True}}, "enable"),
        ({"deployments": []}, "deployments"),
        ({"deployments": [{"name": "x", "contexts": ["repair"]}]}, "contexts"),
        ({"deployments": [{"name": "board", "contexts": ["repairs"]}]}, "name"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"gatewayEndpoints": ["127.0.0.1"]}, "gatewayEndpoints"),
        ({"log": {"level": "loud"}}, "level"),
        ({"metrics": {"monitor": "podmonitor"}}, "monitor"),
        ({"namespaces": ["a,b"]}, "namespaces"),
        ({"customerProxy": {"enabled": True}}, "tlsSecret"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_its_name(wrong: Json, said: str) -> None:
    with pytest.raises(HelmSays, match=said):
        render(wrong)


@pytest.mark.parametrize("given", [{}, SPLIT, BOARD, PROXY, MONITORED, GRAFANA], ids=str)
def test_helm_finds_nothing_to_blame(given: Json) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), values=json.dumps(given))
