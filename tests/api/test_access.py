"""Every line of docs/reference/access.md with every role, allowed and refused, by real people."""

from collections.abc import Callable
from typing import Any

import pytest

from dev.generate.access import ACTS, ROLES, SELF, Act
from tests.support import Api, Json, Refused, Shop, condition, objects
from toyrental.kinds import KINDS
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import Toy

FORBIDDEN = 403
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
    for name in ("paid", "review"):
        shop.create(objects.payment(name, rental=back))
    shop.set_status(Payment, "review", phase="ManualReview")
    shop.create(objects.gateway("main", "http://127.0.0.1:8791"))
    shop.create(objects.ticket("ticket", toy="bear"))
    shop.create(objects.store())
    shop.create(objects.dashboard())
    shop.secret("card", {"token": "pm_card_visa"})


def request(act: Act, api: Api, namespace: str, user: str) -> Callable[[], Any]:
    """Return the request of an act; what it would change stays as it is (a dry run)."""
    kind, name = act.kind, act.name
    match act.verb:
        case "create":
            spec = {key: user if value == SELF else value for key, value in act.content.items()}
            content = {"metadata": {"name": name}, "spec": spec}
            whole = {"apiVersion": "toyrental.dev/v1alpha1", "kind": kind, **content}
            return lambda: api.create(whole, namespace, dry_run=True)
        case "patch" | "status":
            part = "status" if act.verb == "status" else ""
            return lambda: api.patch(kind, name, namespace, act.content, part, dry_run=True)
        case "delete":
            return lambda: api.delete(kind, name, namespace, dry_run=True)
        case "get":
            return lambda: api.get(kind, name, namespace)
        case _:
            return lambda: api.find(kind, namespace)


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
        f"{role} {'may not' if act.allows(role) else 'may'} {act.says}: {act.kind} {act.name}"
        for act in ACTS
        if refused(request(act, person.api, shop.name, user)) == act.allows(role)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_table_speaks_of_every_kind_and_of_every_part_that_people_decide() -> None:
    said = {(act.kind, field) for act in ACTS for field in fields_of(act)}
    for kind in KINDS:
        verbs = {act.verb for act in ACTS if act.kind == kind.SERVED.kind}
        assert {"create", "patch", "status", "delete", "list"} <= verbs, kind
        if kind in {Rental, RepairTicket}:
            decided = {field.alias or name for name, field in spec_of(kind).items()}
            missing = {name for name in decided if (kind.SERVED.kind, name) not in said}
            assert missing <= {"toySelector"}, f"who may set {missing}?"


def fields_of(act: Act) -> set[str]:
    return set(act.content if act.verb == "create" else act.content.get("spec", {}))


def spec_of(kind: Any) -> dict[str, Any]:
    fields: dict[str, Any] = kind.model_fields["spec"].annotation.model_fields
    return fields
