"""What is installed grants no wildcard, and Secrets by name only; in named shops only there.

Looked at as it is about to be installed: by the chart with all that touches roles turned on, and
off, and by each overlay of kustomize. Which account has which role is in test_chart.py.
"""

from collections.abc import Iterator

import pytest

from dev.cluster import Cluster
from dev.generate.chart import CHART
from tests.shipping.test_kustomize import OVERLAYS, built
from tests.shipping.test_values import BOARD, SPLIT, WEBHOOKS
from tests.support import Json
from tests.support.helm import render
from tests.support.manifests import Objects

SHOPS = {"namespaces": ["shop-1", "shop-2"]}
PROXY = {"customerProxy": {"enabled": True, "tlsSecret": "proxy"}}
VALUES: dict[str, Json] = {"default": {}, "everything": SHOPS | SPLIT | BOARD | WEBHOOKS | PROXY}


@pytest.fixture(scope="module", params=[*VALUES, *(path.name for path in OVERLAYS)])
def installed(request: pytest.FixtureRequest, cluster: Cluster) -> Objects:
    if request.param in VALUES:
        return Objects(render(VALUES[request.param]))
    return Objects(built(cluster, request.param))


def rules(objects: Objects) -> Iterator[Json]:
    for role in objects.of("ClusterRole") + objects.of("Role"):
        yield from role.get("rules") or ()


def test_nothing_grants_a_wildcard(installed: Objects) -> None:
    found = list(rules(installed))
    assert found, "nothing was looked at"
    for rule in found:
        every = [*rule.get("apiGroups", ()), *rule.get("resources", ()), *rule["verbs"]]
        assert not any("*" in each for each in every), rule
        assert "nonResourceURLs" not in rule


def test_secrets_are_read_one_by_one_and_never_listed(installed: Objects) -> None:
    ours = [rule for rule in rules(installed) if "secrets" in rule["resources"]]
    assert ours
    assert all(rule["verbs"] == ["get"] for rule in ours)


def test_only_our_own_roles_are_bound_and_only_to_our_own_accounts(installed: Objects) -> None:
    accounts = {
        (each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in installed.of("ServiceAccount")
    }
    for binding in installed.of("ClusterRoleBinding") + installed.of("RoleBinding"):
        assert binding["roleRef"]["name"] in installed.names("ClusterRole")
        for subject in binding["subjects"]:
            assert subject["kind"] == "ServiceAccount"
            assert any(subject["name"] == name for _, name in accounts), subject


@pytest.mark.parametrize("values", [SHOPS, SHOPS | SPLIT], ids=["together", "split"])
def test_where_shops_are_named_everything_is_bound_there_and_nowhere_else(values: Json) -> None:
    objects = Objects(render(values))
    assert not objects.of("ClusterRoleBinding")
    places = {each["metadata"]["namespace"] for each in objects.of("RoleBinding")}
    elections = {
        each["metadata"]["namespace"]
        for each in objects.of("RoleBinding")
        if each["roleRef"]["name"] == "toyrental-leader-election"
    }
    assert places == {*SHOPS["namespaces"], *elections}
    assert len(elections) == 1


def test_the_chart_has_no_other_way_to_a_right() -> None:
    """Nothing in its templates but the bindings speaks of roles; the rules are of manifests/."""
    speaking = {
        path.name for path in (CHART / "templates").iterdir() if "roleRef" in path.read_text()
    }
    assert speaking == {"bindings.yaml", "elections.yaml", "customer-proxy.yaml"}
