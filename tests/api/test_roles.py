"""The roles of manifests/rbac: each may do what its part in a shop needs, and no more.

The operator's own are held against what its parts do, to the last verb, in test_permissions.py.
"""

from pathlib import Path

import pytest
import yaml

from tests.support import Json, Shop, eventually
from tests.support.auditlog import PROGRAM_ROLES

RBAC = Path(__file__).parents[2] / "manifests" / "rbac"

MAY = {
    "toyrental-viewer": {
        "get list watch": "stores toys rentals payments paymentgateways repairtickets dashboards",
    },
    "toyrental-customer": {
        "get list watch": "toys rentals",
        "create patch update": "rentals",
        "get": "payments",
    },
    "toyrental-customer-private": {"get list watch": "toys", "create patch update": "rentals"},
    "toyrental-customer-proxy": {"list watch": "rentals"},
    "toyrental-token-reviewer": {"create": "tokenreviews"},
    "toyrental-clerk": {
        "get list watch create patch update": "rentals",
        "get list watch": "toys payments",
        "impersonate": "customers",
    },
    "toyrental-repairer": {
        "get list watch patch update repair discard": "repairtickets",
        "get list": "toys",
    },
    "toyrental-store-owner": {
        "approve inspect": "rentals",
        "get list watch create update patch delete": (
            "stores toys rentals paymentgateways repairtickets dashboards"
        ),
        "get list watch": "payments",
    },
    "toyrental-shop-operator": {
        "operate": "toys rentals payments",
        "delete": "toys rentals payments",
        "patch": "payments",
    },
}

MAY_NOT = {
    "toyrental-viewer": {"create patch delete operate": "rentals payments", "get": "secrets"},
    "toyrental-customer": {
        "patch": "toys stores payments rentals/status payments/status",
        "create": "payments toys",
        "delete operate approve inspect": "rentals payments",
        "impersonate": "customers",
        "get": "secrets",
    },
    "toyrental-customer-private": {
        "get list watch delete approve inspect operate": "rentals",
        "get list watch": "payments paymentgateways repairtickets secrets",
        "impersonate": "customers",
        "create patch": "toys payments rentals/status",
    },
    "toyrental-customer-proxy": {
        "get create update patch delete impersonate": "rentals",
        "get list watch": "toys payments secrets",
        "impersonate": "customers users serviceaccounts",
    },
    "toyrental-token-reviewer": {"get list watch": "rentals toys payments secrets"},
    "toyrental-clerk": {
        "approve inspect operate delete": "rentals",
        "create patch": "payments toys rentals/status",
        "get": "secrets",
    },
    "toyrental-repairer": {
        "create delete": "repairtickets",
        "patch": "toys toys/status rentals payments repairtickets/status",
        "get": "secrets",
    },
    "toyrental-store-owner": {
        "create patch delete operate": "payments",
        "repair discard": "repairtickets",
        "impersonate": "customers",
        "patch": "rentals/status toys/status payments/status",
        "operate": "rentals toys",
        "get": "secrets",
    },
    "toyrental-shop-operator": {"create": "payments", "patch": "payments/status rentals/status"},
}


def requests(table: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (verb, resource)
        for verbs, resources in table.items()
        for verb in verbs.split()
        for resource in resources.split()
    ]


def roles() -> list[Json]:
    files = [path for path in sorted(RBAC.glob("*.yaml")) if path.name != "kustomization.yaml"]
    return [yaml.safe_load(path.read_text()) for path in files]


@pytest.mark.parametrize("role", MAY)
def test_a_role_may_do_what_its_part_needs_and_no_more(shop: Shop, role: str) -> None:
    somebody = shop.person("somebody", role=role)
    refused = [r for r in requests(MAY[role]) if not somebody.api.may(*r, shop.name)]
    assert not refused, f"{role} lacks {refused}"
    allowed = [r for r in requests(MAY_NOT[role]) if somebody.api.may(*r, shop.name)]
    assert not allowed, f"{role} needs no {allowed}"


def test_every_role_is_looked_at() -> None:
    names = {role["metadata"]["name"] for role in roles()}
    assert MAY.keys() == MAY_NOT.keys()
    assert names == {*MAY, *PROGRAM_ROLES}
    kustomization = yaml.safe_load((RBAC / "kustomization.yaml").read_text())
    assert len(kustomization["resources"]) == len(names)


def test_no_role_has_a_wildcard() -> None:
    for role in roles():
        for rule in role["rules"]:
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"], role


@pytest.mark.parametrize(
    ("builtin", "may", "may_not"),
    [
        ("view", ("get", "rentals"), ("create", "rentals")),
        ("edit", ("create", "rentals"), ("operate", "payments")),
        ("admin", ("operate", "payments"), ("create", "payments")),
    ],
)
def test_the_built_in_roles_know_our_kinds(
    shop: Shop, builtin: str, may: tuple[str, str], may_not: tuple[str, str]
) -> None:
    somebody = shop.person("somebody", role=builtin)
    eventually(lambda: somebody.api.may(*may, shop.name), explain=lambda: f"{builtin}: {may}")
    assert not somebody.api.may(*may_not, shop.name)
