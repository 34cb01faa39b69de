"""The roles of manifests/rbac: each may do what its part in a shop needs, and no more."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster import Cluster
from tests.support import Json, Shop, eventually, objects
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import Toy

__all__ = ["pytest_runtest_makereport"]

RBAC = Path(__file__).parents[2] / "manifests" / "rbac"

CHANGES = ("create", "update", "patch", "delete", "deletecollection")

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
    "toyrental-operator": {
        "get list watch": "stores toys rentals payments paymentgateways repairtickets dashboards",
        "patch": (
            "stores/status toys/status rentals/status payments/status paymentgateways/status"
            " repairtickets/status dashboards/status payments paymentgateways"
        ),
        "create": "payments repairtickets events",
        "operate": (
            "stores/status toys/status rentals/status payments/status paymentgateways/status"
            " repairtickets/status dashboards/status payments paymentgateways"
        ),
        "get": "secrets",
    },
    "toyrental-leader-election": {"get create patch": "leases", "create": "events"},
    "toyrental-rentals": {
        "list watch": "stores toys rentals payments repairtickets",
        "get": "toys rentals payments repairtickets",
        "patch operate": "toys/status rentals/status payments",
        "create": "payments repairtickets events",
    },
    "toyrental-stores": {
        "list watch": "stores toys rentals paymentgateways",
        "get": "stores toys rentals",
        "patch operate": "stores/status toys/status",
    },
    "toyrental-repairs": {
        "get list watch": "toys repairtickets",
        "patch operate": "toys/status repairtickets/status",
    },
    "toyrental-payments": {
        "get list watch": "rentals payments paymentgateways",
        "patch operate": "payments/status paymentgateways/status payments paymentgateways",
        "get": "secrets",
    },
    "toyrental-dashboards": {
        "list watch": "toys rentals payments repairtickets dashboards",
        "get": "dashboards",
        "patch operate": "dashboards/status",
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
    "toyrental-operator": {
        "create patch delete": "stores toys rentals dashboards",
        "delete deletecollection": "payments repairtickets paymentgateways",
        "patch": "repairtickets",
        "list watch create": "secrets",
        "operate approve inspect": "rentals toys",
        "repair discard": "repairtickets",
        "impersonate": "customers",
    },
    "toyrental-rentals": {
        "patch": "payments/status repairtickets/status stores/status rentals toys",
        "get": "stores secrets",
    },
    "toyrental-stores": {
        "patch": "rentals/status payments/status stores toys",
        "get": "payments paymentgateways secrets",
    },
    "toyrental-repairs": {
        "patch": "rentals/status repairtickets toys",
        "get": "rentals payments secrets",
    },
    "toyrental-payments": {
        "patch": "rentals/status toys/status rentals",
        "create delete": "payments",
        "get": "toys repairtickets",
        "list watch": "secrets",
    },
    "toyrental-leader-election": {
        "list watch delete": "leases",
        "get list watch create patch": "rentals toys payments",
        "get": "secrets",
    },
    "toyrental-dashboards": {
        "create patch delete": "toys rentals payments repairtickets dashboards",
        "patch": "toys/status rentals/status payments/status repairtickets/status",
        "get": "toys rentals payments repairtickets secrets",
    },
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
    assert names == MAY.keys() == MAY_NOT.keys()
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


@pytest.fixture
def simulator(tmp_path: Path) -> Any:
    with SimulatorProcess(tmp_path) as simulator:
        yield simulator


def test_the_operators_role_is_enough_for_every_kind_of_life(
    cluster: Cluster, shop: Shop, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """The operator under its own role, bound in this shop only: pays, refunds, sends to repair."""
    # Given an operator that is nobody but itself
    account = shop.person("operator", role="toyrental-operator")
    kubeconfig = account.api.write_kubeconfig(tmp_path / "kubeconfig")
    itself = replace(cluster, kubeconfig=kubeconfig)
    with OperatorProcess(itself, tmp_path, namespaces=[shop.name]) as operator:
        # And a shop that approves by itself
        shop.secret("card", {"token": "pm_card_visa"})
        shop.create(objects.gateway("simulator", simulator.url))
        shop.create(objects.store(gateway="simulator", approval="Automatic"))
        shop.create(objects.toy("bear"))
        shop.create(objects.dashboard())
        # When a toy is rented by a card kept in a Secret, and comes back damaged
        order = objects.rental(
            "first", toy="bear", paymentMethodSecretRef={"name": "card", "key": "token"}
        )
        order = shop.create(order)
        shop.wait(Rental, "first", lambda r: r.phase is RentalPhase.RENTED)
        shop.patch(Rental, "first", spec={"desiredState": "Returned"})
        shop.wait(Rental, "first", lambda r: r.phase is RentalPhase.RETURNED)
        shop.patch(Rental, "first", spec={"inspection": {"result": "Damaged"}})
        shop.wait(Rental, "first", lambda r: r.phase is RentalPhase.COMPLETED)
        # And is repaired
        shop.patch(RepairTicket, order.ticket_name, spec={"assignee": "hana"})
        repaired = {"outcome": "Repaired"}
        shop.patch(RepairTicket, order.ticket_name, spec={"resolution": repaired})
        shop.wait(Toy, "bear", lambda toy: toy.in_service and toy.status.phase == "Available")
        # And another is cancelled, and given back, once it is paid
        shop.patch(Toy, "bear", spec={"availability": "Withdrawn"})
        shop.create(objects.toy("boat"))
        ahead = objects.rental("second", toy="boat", days=1, start=order.created.replace(year=2030))
        second = shop.create(ahead)
        shop.wait(Payment, second.payment_name, lambda p: p.captured)
        shop.delete(Payment, second.payment_name)
        shop.gone(Payment, second.payment_name)
        shop.delete(PaymentGateway, "simulator")
        shop.gone(PaymentGateway, "simulator")
        # Then all its parts were allowed to do all they did, and people were told
        assert simulator.ledger().of(second).given_back == 3000
        assert shop.events("first")
        assert "forbidden" not in operator.log.lower()
        assert operator.terminate() == 0


def role(name: str) -> Json:
    return next(role for role in roles() if role["metadata"]["name"] == name)
