"""Each validation and each mutation of each policy, on a real API server: one without cases fails.

Of a case, the refused request and the accepted one are of the same kind and verb, and differ in one
thing only: who asks, or what for. test_policies.py tells the stories; this sees to it that none is
left out. Nothing is changed by it: all are dry runs.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from dev.cluster import Cluster
from dev.generate.access import Act
from tests.api.test_access import furnish, request
from tests.api.test_policies import policies
from tests.conftest import open_shop
from tests.support import Api, Json, Refused, Shop, can, objects
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental

Rules = tuple[Json, ...]


class Case(NamedTuple):
    """What is refused to somebody with these rights, and what is accepted instead, or of whom."""

    rights: Rules
    refused: Act
    rights_then: Rules = ()
    accepted: Act | None = None


def ask(kind: str, verb: str, name: str, **content: object) -> Act:
    return Act("", kind, verb, name, "", content)


def change(kind: str, name: str, **spec: object) -> Act:
    return ask(kind, "change", name, spec=spec)


def label(kind: str, name: str) -> Act:
    return ask(kind, "change", name, metadata={"labels": {"shelf": "3"}})


KEY = {"name": "stripe", "key": "apiKey"}
CARD = {"name": "card", "key": "token"}
SIMULATOR = {"endpoint": "http://127.0.0.1:8790"}
ORDER = {"toyRef": {"name": "bear"}, "period": {"days": 3}, "customer": "ryu"}
OWED: Json = {
    "rentalRef": {"name": "theirs", "uid": "1111-2222"},
    "gatewayRef": {"name": "main"},
    "amount": {"currency": "KRW", "minorUnits": 9000},
    "method": {"token": "pm_card_visa"},
}
OWNED = {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1-2"}]}
FOR_RYU = can("impersonate", "customers", "ryu")
APPROVES, INSPECTS = can("patch approve", "rentals"), can("patch inspect", "rentals")
REPAIRS, OPENS = can("patch repair", "repairtickets"), can("patch create", "repairtickets")
MONEY, PATCHES = can("create patch operate", "payments"), can("create patch", "payments")
GIVEN_BACK = {"failure": 1, "outcome": "GivenBack"}

CASES = {
    ("gateway-secrets-are-readable", 0): Case(
        (can("create", "paymentgateways"),),
        ask("PaymentGateway", "create", "new", stripe={"secretRef": KEY}),
        (can("create", "paymentgateways"), can("get", "secrets", "stripe")),
    ),
    ("gateway-secrets-are-readable", 1): Case(
        (can("create", "paymentgateways"),),
        ask("PaymentGateway", "create", "new", simulator=SIMULATOR, webhookSecretRef=KEY),
        (can("create", "paymentgateways"), can("get", "secrets", "stripe")),
    ),
    ("live-rentals-stay", 0): Case(
        (can("delete", "rentals"),),
        ask("Rental", "delete", "loan"),
        (can("delete operate", "rentals", "loan"),),
    ),
    ("lives-are-not-tied-elsewhere", 0): Case(
        (can("patch", "toys"),),
        ask("Toy", "change", "bear", metadata=OWNED),
        (can("patch operate", "toys"),),
    ),
    ("orders-are-the-owners-to-approve", 0): Case(
        (INSPECTS,), change("Rental", "theirs", approval={"decision": "Approved"}), (APPROVES,)
    ),
    ("orders-are-the-owners-to-approve", 1): Case(
        (APPROVES,),
        change("Rental", "theirs", approval={"decision": "Denied", "decidedBy": "aya"}),
        accepted=change("Rental", "theirs", approval={"decision": "Denied"}),
    ),
    ("payments-are-the-operators", 0): Case(
        (PATCHES,), ask("Payment", "create", "new", **OWED), (MONEY,)
    ),
    ("payments-are-the-operators", 1): Case(
        (PATCHES,), change("Payment", "paid", refundMinorUnits=9000), (MONEY,)
    ),
    ("payments-are-the-operators", 2): Case(
        (PATCHES,), ask("Payment", "change", "unsettled", metadata={"finalizers": None}), (MONEY,)
    ),
    ("payments-are-the-operators", 3): Case(
        (PATCHES,), ask("Payment", "change", "paid", metadata=OWNED), (MONEY,)
    ),
    ("payments-are-the-operators", 4): Case(
        (MONEY,),
        change("Payment", "review", resolution={"outcome": "NotCharged", "resolvedBy": "aya"}),
        accepted=change("Payment", "review", resolution={"outcome": "NotCharged"}),
    ),
    ("payments-are-the-operators", 5): Case(
        (MONEY,),
        change("Payment", "failed", refundResolution={**GIVEN_BACK, "resolvedBy": "aya"}),
        accepted=change("Payment", "failed", refundResolution=GIVEN_BACK),
    ),
    ("rental-secrets-are-readable", 0): Case(
        (can("create", "rentals"), FOR_RYU),
        ask("Rental", "create", "new", **ORDER, paymentMethodSecretRef=CARD),
        (can("create", "rentals"), FOR_RYU, can("get", "secrets", "card")),
    ),
    ("rentals-are-their-customers", 0): Case(
        (can("create", "rentals"),),
        ask("Rental", "create", "new", **ORDER, paymentMethod="pm_card_visa"),
        (can("create", "rentals"), FOR_RYU),
    ),
    ("rentals-are-their-customers", 1): Case(
        (APPROVES,), change("Rental", "theirs", desiredState="Cancelled"), (APPROVES, FOR_RYU)
    ),
    ("rentals-are-their-customers", 2): Case(
        (can("patch", "rentals"),), label("Rental", "theirs"), (can("patch operate", "rentals"),)
    ),
    ("repairs-are-the-repairers", 0): Case(
        (OPENS,), change("RepairTicket", "ticket", resolution={"outcome": "Repaired"}), (REPAIRS,)
    ),
    ("repairs-are-the-repairers", 1): Case(
        (REPAIRS,),
        change("RepairTicket", "ticket", resolution={"outcome": "Repaired", "resolvedBy": "aya"}),
        accepted=change("RepairTicket", "ticket", resolution={"outcome": "Repaired"}),
    ),
    ("repairs-are-the-repairers", 2): Case(
        (REPAIRS,), change("RepairTicket", "ticket", description="a wheel is off"), (OPENS,)
    ),
    ("repairs-are-the-repairers", 3): Case(
        (can("patch", "repairtickets"),), label("RepairTicket", "ticket"), (REPAIRS,)
    ),
    ("returns-are-the-owners-to-inspect", 0): Case(
        (APPROVES,), change("Rental", "back", inspection={"result": "Accepted"}), (INSPECTS,)
    ),
    ("returns-are-the-owners-to-inspect", 1): Case(
        (INSPECTS,),
        change("Rental", "back", inspection={"result": "Accepted", "inspectedBy": "aya"}),
        accepted=change("Rental", "back", inspection={"result": "Accepted"}),
    ),
    ("statuses-are-the-operators", 0): Case(
        (can("patch", "toys/status"),),
        ask("Toy", "status", "bear", status={"observedGeneration": 1}),
        (can("patch operate", "toys/status"),),
    ),
    ("toys-that-are-out-stay", 0): Case(
        (can("delete", "toys"),),
        ask("Toy", "delete", "out"),
        (can("delete operate", "toys"),),
    ),
}


class Mutation(NamedTuple):
    """A decision by whom it is filled in, and the field; a change that decides nothing."""

    rights: Rules
    decides: Act
    part: str
    field: str
    says_nothing: Act


MUTATIONS = {
    ("rentals-approval-by", 0): Mutation(
        (APPROVES,),
        change("Rental", "theirs", approval={"decision": "Approved"}),
        "approval",
        "decidedBy",
        label("Rental", "theirs"),
    ),
    ("rentals-inspection-by", 0): Mutation(
        (INSPECTS,),
        change("Rental", "back", inspection={"result": "Accepted"}),
        "inspection",
        "inspectedBy",
        label("Rental", "back"),
    ),
    ("repairtickets-resolution-by", 0): Mutation(
        (REPAIRS,),
        change("RepairTicket", "ticket", resolution={"outcome": "Repaired"}),
        "resolution",
        "resolvedBy",
        label("RepairTicket", "ticket"),
    ),
    ("payments-resolution-by", 0): Mutation(
        (MONEY,),
        change("Payment", "review", resolution={"outcome": "NotCharged"}),
        "resolution",
        "resolvedBy",
        label("Payment", "review"),
    ),
    ("payments-refund-resolution-by", 0): Mutation(
        (MONEY,),
        change("Payment", "failed", refundResolution=GIVEN_BACK),
        "refundResolution",
        "resolvedBy",
        label("Payment", "failed"),
    ),
}


class House:
    """A furnished shop, and the people in it by their rights."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._people: dict[str, Shop] = {}

    def do(self, rights: Rules, act: Act) -> Json:
        """Have somebody with these rights ask for something."""
        answer: Json = request(act, self.person(rights).api, self._shop.name, "nobody")()
        return answer

    def person(self, rights: Rules) -> Shop:
        key = json.dumps(rights)
        if key not in self._people:
            name = f"person-{len(self._people)}"
            self._people[key] = self._shop.person(name, *rights)
        return self._people[key]


@pytest.fixture(scope="module")
def house(admin: Api, cluster: Cluster) -> Iterator[House]:
    for shop in open_shop(admin, cluster):
        furnish(shop, "mina")
        shop.create(objects.payment("unsettled", rental=shop.get(Rental, "theirs")))
        shop.patch(Payment, "unsettled", metadata={"finalizers": ["toyrental.dev/settle"]})
        yield House(shop)


@pytest.mark.parametrize("which", CASES, ids=lambda which: f"{which[0]}-{which[1]}")
def test_a_validation_refuses_and_accepts(house: House, which: tuple[str, int]) -> None:
    case = CASES[which]
    rights, accepted = case.rights_then or case.rights, case.accepted or case.refused
    assert (rights == case.rights) != (accepted == case.refused), "they differ in one thing"
    assert (accepted.kind, accepted.verb) == (case.refused.kind, case.refused.verb)
    with pytest.raises(Refused) as refused:
        house.do(case.rights, case.refused)
    said = refused.value.message
    assert f"ValidatingAdmissionPolicy '{which[0]}.toyrental.dev'" in said
    assert re.search(words(validation(which)), said), said
    house.do(rights, accepted)


@pytest.mark.parametrize("which", MUTATIONS, ids=lambda which: f"{which[0]}-{which[1]}")
def test_a_mutation_says_who_decided_and_nothing_else(house: House, which: tuple[str, int]) -> None:
    case = MUTATIONS[which]
    decided = house.do(case.rights, case.decides)["spec"][case.part]
    asked = case.decides.content["spec"][case.part]
    assert decided == asked | {case.field: house.person(case.rights).api.who_am_i()}
    assert case.part not in house.do(case.rights, case.says_nothing)["spec"]


@pytest.mark.parametrize(
    ("kind", "part", "cases"),
    [
        ("ValidatingAdmissionPolicy", "validations", CASES),
        ("MutatingAdmissionPolicy", "mutations", MUTATIONS),
    ],
)
def test_every_one_has_a_case(kind: str, part: str, cases: dict[tuple[str, int], object]) -> None:
    there = {
        (name(policy), number)
        for policy in policies(kind)
        for number in range(len(policy["spec"][part]))
    }
    assert there == cases.keys()


def name(policy: Json) -> str:
    return str(policy["metadata"]["name"]).removesuffix(".toyrental.dev")


def validation(which: tuple[str, int]) -> Json:
    (policy,) = (each for each in policies() if name(each) == which[0])
    found: Json = policy["spec"]["validations"][which[1]]
    return found


def words(validation: Json) -> str:
    """Return a pattern of what a validation says: its own words, whatever is between them."""
    if "messageExpression" not in validation:
        return re.escape(str(validation["message"]))
    literals = re.findall(r"'((?:[^'\\]|\\.)*)'", validation["messageExpression"])
    return ".*".join(re.escape(each.replace("\\'", "'")) for each in literals)
