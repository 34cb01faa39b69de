"""Every line of docs/reference/access.md with every role, allowed and refused, by real people."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev.generate.access import ACTS, HERE, ROLES, SELF, Act
from tests.support import Api, Json, Refused, Shop, condition, objects
from toyrental.kinds import KINDS
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import Toy

FORBIDDEN = 403
OTHERS = {
    "Secret": "v1",
    "Event": "events.k8s.io/v1",
    "Lease": "coordination.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "Role": "rbac.authorization.k8s.io/v1",
}
"""The kinds of Kubernetes in the table, and their API versions."""

PAID = [condition("Paid", "True")]
APPROVED = {"approval": {"decision": "Approved"}}
OUT: Json = {
    "rentalUID": "1111-2222",
    "rentalRef": {"name": "loan", "uid": "1111-2222"},
    "startTime": "2026-03-01T09:00:00Z",
    "endTime": "2026-03-04T09:00:00Z",
    "state": "Out",
}


def furnish(shop: Shop, user: str) -> None:
    """Put into a shop what the table speaks of, one of each by its name."""
    for toy in ("bear", "out"):
        shop.create(objects.toy(toy))
    shop.set_status(Toy, "out", bookings=[OUT])
    for name, customer in (("mine", user), ("my-loan", user), ("theirs", "ryu"), ("loan", "ryu")):
        shop.create(objects.rental(name, toy="bear", customer=customer))
    back = shop.create(objects.rental("back", toy="bear", customer="ryu"))
    for name in ("mine", "my-loan", "theirs", "loan", "back"):
        shop.set_status(Rental, name, phase="Paid", conditions=PAID)
    for name in ("my-loan", "loan", "back"):
        shop.patch(Rental, name, spec=APPROVED)
        shop.set_status(Rental, name, phase="Rented")
    shop.patch(Rental, "back", spec={"desiredState": "Returned"})
    for name in ("paid", "review", "failed"):
        shop.create(objects.payment(name, rental=back))
    shop.set_status(Payment, "review", phase="ManualReview")
    failure = {"number": 1, "minorUnits": 9000, "failedMinorUnits": 9000}
    shop.set_status(Payment, "failed", phase="Captured", refundFailure=failure)
    shop.create(objects.gateway("main", "http://127.0.0.1:8791"))
    shop.create(objects.ticket("ticket", toy="bear"))
    shop.create(objects.store())
    shop.create(objects.dashboard())
    shop.secret("card", {"token": "pm_card_visa"})
    shop.create_raw(typed("Lease", {"metadata": {"name": "lead"}, "spec": {}}))


Ask = Callable[[], Any]


def request(act: Act, api: Api, namespace: str, user: str) -> Ask:
    """Return the request of an act; what it would change stays as it is (a dry run)."""
    kind, name = act.kind, act.name
    content = filled(act.content, {SELF: user, HERE: namespace})
    match act.verb:
        case "create":
            whole = {"metadata": {"name": name}} | (
                content if kind in OTHERS else {"spec": content}
            )
            return lambda: api.create(typed(kind, whole), namespace, dry_run=True)
        case "change" | "status":
            return lambda: api.patch(kind, name, namespace, content, part(act), dry_run=True)
        case "delete":
            return lambda: api.delete(kind, name, namespace, dry_run=True)
        case "delete all":
            return lambda: api.delete_all(kind, namespace, dry_run=True)
        case "get":
            return lambda: api.get(kind, name, namespace)
        case "list":
            return lambda: api.find(kind, namespace)
        case other:
            raise ValueError(f"no act is called {other}")


def ways(act: Act, api: Api, shop: Shop, user: str) -> Iterator[tuple[str, Ask]]:
    """Yield the ways to ask for an act: a change has three."""
    yield act.verb, request(act, api, shop.name, user)
    if act.verb in {"change", "status"}:
        there = shop.api.get(act.kind, act.name, shop.name)
        whole = typed(act.kind, merged(there, act.content))
        yield "update", lambda: api.update(whole, shop.name, part(act), dry_run=True)
        if not unsets(act.content):
            metadata = {"name": act.name} | act.content.get("metadata", {})
            applied = typed(act.kind, act.content | {"metadata": metadata})
            yield (
                "apply",
                lambda: api.apply(applied, shop.name, part(act), force=True, dry_run=True),
            )


def part(act: Act) -> str:
    return "status" if act.verb == "status" else ""


def typed(kind: str, content: Json) -> Json:
    return {"apiVersion": OTHERS.get(kind, "toyrental.dev/v1alpha1"), "kind": kind} | content


def filled(content: Any, words: dict[str, str]) -> Any:
    """Return what is said with the words in the places that stand for them."""
    if isinstance(content, dict):
        return {key: filled(value, words) for key, value in content.items()}
    if isinstance(content, list):
        return [filled(value, words) for value in content]
    return words.get(content, content) if isinstance(content, str) else content


def merged(there: Any, change: Any) -> Any:
    """Return an object with a merge patch done to it."""
    if not isinstance(change, dict):
        return change
    before = there if isinstance(there, dict) else {}
    both = before | {key: merged(before.get(key), value) for key, value in change.items()}
    return {key: value for key, value in both.items() if value is not None}


def unsets(change: Any) -> bool:
    """Tell whether a merge patch removes a field, which an apply cannot say."""
    return change is None or (isinstance(change, dict) and any(map(unsets, change.values())))


def refused(do: Callable[[], Any]) -> bool:
    """Tell whether the API server refuses, for who asks; that a name is taken is no such thing."""
    try:
        do()
    except Refused as answer:
        if answer.reason == "AlreadyExists":
            return False
        if answer.status != FORBIDDEN:
            raise
        return True
    return False


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_the_table_says_and_nothing_else(shop: Shop, role: str) -> None:
    person = shop.person("somebody", role=ROLES[role])
    user = person.api.who_am_i()
    furnish(shop, user)
    wrong = [
        f"{'refused' if may(role, act, way) else 'done'}: {way} {act.kind} {act.name}, {act.says}"
        for act in ACTS
        for way, ask in ways(act, person.api, shop, user)
        if refused(ask) == may(role, act, way)
    ]
    assert not wrong, "\n".join(wrong)


def may(role: str, act: Act, way: str) -> bool:
    return act.allows(role) and (role, way) != ("operator", "update")


def test_a_status_that_is_sent_with_a_new_object_is_left_out(shop: Shop) -> None:
    """Nobody makes an order that is paid already, whatever they may create."""
    creates = {act.kind: act for act in ACTS if act.verb == "create" and act.kind not in OTHERS}
    assert creates.keys() == {kind.SERVED.kind for kind in KINDS}
    for kind, act in creates.items():
        spec = filled(act.content, {SELF: "mina"})
        status = {"observedGeneration": 7, "conditions": PAID}
        whole = typed(kind, {"metadata": {"name": act.name}, "spec": spec, "status": status})
        for made in (
            shop.api.create(whole, shop.name, dry_run=True),
            shop.api.apply(whole, shop.name, dry_run=True),
        ):
            assert made.get("status", {}) == {}


def test_the_table_speaks_of_every_kind_and_of_every_part_that_people_decide() -> None:
    said = {(act.kind, field) for act in ACTS for field in fields_of(act)}
    for kind in KINDS:
        verbs = {act.verb for act in ACTS if act.kind == kind.SERVED.kind}
        assert {"create", "change", "status", "delete", "delete all", "list"} <= verbs, kind
        if kind in {Rental, RepairTicket}:
            decided = {field.alias or name for name, field in spec_of(kind).items()}
            missing = {name for name in decided if (kind.SERVED.kind, name) not in said}
            assert missing <= {"toySelector"}, f"who may set {missing}?"


def fields_of(act: Act) -> set[str]:
    return set(act.content if act.verb == "create" else act.content.get("spec", {}))


def spec_of(kind: Any) -> dict[str, Any]:
    fields: dict[str, Any] = kind.model_fields["spec"].annotation.model_fields
    return fields
