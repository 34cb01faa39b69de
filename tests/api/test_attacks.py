"""What people would try who mean ill: with the roles of a shop, each of these is refused.

What docs/reference/access.md says is tried in test_access.py, in three ways each; these are
detours: another's order taken over, a name forged late, an object tied to another's life, a role
given to oneself. Of what is no error to Kubernetes, such as a status sent to the wrong place,
nothing comes.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest

from dev.cluster import Cluster
from tests.api.test_access import furnish, typed
from tests.conftest import open_shop
from tests.support import Api, Json, Refused, Shop, objects
from tests.support.shop import body
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.shared.resource import Resource
from toyrental.stores.models import Toy

APPROVED: Json = {"approval": {"decision": "Approved"}}
MORTAL: Json = {
    "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "1-2"}]
}
IMMORTAL: Json = {"finalizers": ["example.com/never"]}
CARD: Json = {"name": "card", "key": "token"}

ROLES = {
    "mina": "toyrental-customer",
    "owner": "toyrental-store-owner",
    "hana": "toyrental-repairer",
    "admin": "admin",
}


@pytest.fixture(scope="module")
def people(admin: Api, cluster: Cluster) -> Iterator[dict[str, Shop]]:
    """Give one shop as each of these people sees it: mina, a customer, is not the only one."""
    for shop in open_shop(admin, cluster):
        seen = {name: shop.person(name, role=role) for name, role in ROLES.items()}
        furnish(shop, seen["mina"].api.who_am_i())
        shop.patch(Rental, "back", spec={"inspection": {"result": "Accepted"}})
        shop.create(objects.ticket("ended", toy="bear", resolution={"outcome": "Discarded"}))
        kept = {"finalizers": ["toyrental.dev/in-use"]}
        shop.patch(PaymentGateway, "main", metadata=kept)
        shop.patch(Payment, "paid", metadata={"finalizers": ["toyrental.dev/settle"]})
        yield seen


def path(shop: Shop, plural: str, *more: str) -> str:
    where = f"/apis/toyrental.dev/v1alpha1/namespaces/{shop.name}/{plural}"
    return "/".join((where, *more))


def order(shop: Shop, name: str, customer: str = "", **metadata: Any) -> Json:
    """Return an order as somebody sends it, in their own name or another's."""
    content = body(objects.rental("x", toy="bear", customer=customer or shop.api.who_am_i()))
    return content | {"metadata": ({"name": name} if name else {}) | metadata}


def removes(policy: str, shop: Shop) -> Json:
    how = {"propagationPolicy": policy, "gracePeriodSeconds": 0}
    return shop.api.request("delete", path(shop, "rentals", "loan"), how)


def makes_immortal(what: Resource, shop: Shop) -> Json:
    content = body(what)
    return shop.create_raw(content | {"metadata": content["metadata"] | IMMORTAL})


def owned_by(toy: Toy) -> Json:
    return {"ownerReferences": [toy.as_owner().model_dump(by_alias=True, exclude_none=True)]}


class Attack(NamedTuple):
    """What somebody tries, and in which words it is refused."""

    who: str
    says: str
    tries: Callable[[Shop], object]
    refused: str


ATTACKS = (
    # --- A customer, and another's order ---
    Attack(
        "mina",
        "takes over another's order, and cancels it",
        lambda shop: shop.patch(
            Rental,
            "theirs",
            spec={"customer": shop.api.who_am_i(), "desiredState": "Cancelled"},
        ),
        "the customer of an order cannot be changed",
    ),
    Attack(
        "mina",
        "applies an order of hers over another's",
        lambda shop: shop.api.apply(order(shop, "theirs"), shop.name, force=True),
        "the customer of an order cannot be changed",
    ),
    Attack(
        "mina",
        "cancels another's by a JSON patch",
        lambda shop: shop.api.request(
            "patch",
            path(shop, "rentals", "theirs"),
            [{"op": "replace", "path": "/spec/desiredState", "value": "Cancelled"}],
            content_type="application/json-patch+json",
        ),
        "is not your order",
    ),
    Attack(
        "mina",
        "cancels another's by a strategic merge patch",
        lambda shop: shop.api.request(
            "patch",
            path(shop, "rentals", "theirs"),
            {"spec": {"desiredState": "Cancelled"}},
            content_type="application/strategic-merge-patch+json",
        ),
        "415|UnsupportedMediaType",
    ),
    Attack(
        "mina",
        "scales another's",
        lambda shop: shop.api.request(
            "patch", path(shop, "rentals", "theirs", "scale"), {"spec": {"replicas": 0}}
        ),
        "403 Forbidden|404",
    ),
    Attack(
        "mina",
        "makes an order by another's name for an object",
        lambda shop: shop.create_raw(order(shop, "theirs")),
        "409 AlreadyExists",
    ),
    Attack(
        "mina",
        "orders for another, with a name that is yet to be made",
        lambda shop: shop.create_raw(order(shop, "", "ryu", generateName="theirs-")),
        "this order is for ryu",
    ),
    Attack(
        "mina",
        "orders in another shop",
        lambda shop: shop.api.create(order(shop, "new"), "default"),
        "403 Forbidden",
    ),
    Attack(
        "mina",
        "is the owner, by a header",
        lambda shop: shop.api.request(
            "patch",
            path(shop, "rentals", "theirs"),
            {"spec": APPROVED},
            content_type="application/merge-patch+json",
            header_params={"Impersonate-User": "aya"},
        ),
        "403 Forbidden.* cannot impersonate",
    ),
    # --- A customer, and their own order ---
    Attack(
        "mina",
        "orders what is paid and approved already",
        lambda shop: shop.create_raw(
            order(shop, "new")
            | {"status": {"phase": "Paid"}}
            | {"spec": order(shop, "new")["spec"] | APPROVED}
        ),
        "no payment, no transaction|may not approve",
    ),
    Attack(
        "mina",
        "names a Secret once the order is made",
        lambda shop: shop.patch(
            Rental, "mine", spec={"paymentMethod": None, "paymentMethodSecretRef": CARD}
        ),
        "names Secret card, which you may not read",
    ),
    Attack(
        "mina",
        "has her loan collected with an owner that is gone, and keeps the toy",
        lambda shop: shop.patch(Rental, "my-loan", metadata=MORTAL),
        "decide when my-loan is deleted",
    ),
    Attack(
        "mina",
        "makes an order that is collected as soon as it is there",
        lambda shop: shop.create_raw(order(shop, "new", **MORTAL)),
        "decide when new is deleted",
    ),
    Attack(
        "mina",
        "makes an order that nobody can delete",
        lambda shop: shop.create_raw(order(shop, "", generateName="new-", **IMMORTAL)),
        "decide when new-.* is deleted",
    ),
    Attack(
        "mina",
        "applies a finalizer to her own",
        lambda shop: shop.api.apply(order(shop, "mine", **IMMORTAL), shop.name, force=True),
        "decide when mine is deleted",
    ),
    Attack(
        "mina",
        "changes an order by its status",
        lambda shop: shop.api.patch("Rental", "mine", shop.name, {"spec": APPROVED}, "status"),
        "403 Forbidden",
    ),
    Attack(
        "mina",
        "reads Secrets by a list of one",
        lambda shop: shop.api.find("Secret", shop.name, fields="metadata.name=card"),
        "403 Forbidden",
    ),
    Attack(
        "mina",
        "asks for a token of somebody else's",
        lambda shop: shop.api.request(
            "post",
            f"/api/v1/namespaces/{shop.name}/serviceaccounts/owner/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        ),
        "403 Forbidden",
    ),
    # --- An owner ---
    Attack(
        "owner",
        "says that another approved, by an apply",
        lambda shop: shop.api.apply(
            typed(
                "Rental",
                {
                    "metadata": {"name": "theirs"},
                    "spec": {"approval": {"decision": "Approved", "decidedBy": "aya"}},
                },
            ),
            shop.name,
            force=True,
        ),
        "approval.decidedBy says aya",
    ),
    Attack(
        "owner",
        "says so later",
        lambda shop: shop.patch(Rental, "loan", spec={"approval": {"decidedBy": "aya"}}),
        "the decision about an order is final|decidedBy says aya",
    ),
    Attack(
        "owner",
        "takes a decision back",
        lambda shop: shop.patch(Rental, "loan", spec={"approval": None}),
        "the decision about an order is final",
    ),
    Attack(
        "owner",
        "inspects once more, with another result",
        lambda shop: shop.patch(Rental, "back", spec={"inspection": {"result": "Damaged"}}),
        "final",
    ),
    Attack(
        "owner",
        "has a rental that is out collected with its toy",
        lambda shop: shop.patch(Rental, "loan", metadata=owned_by(shop.get(Toy, "bear"))),
        "decide when loan is deleted",
    ),
    Attack(
        "owner",
        "has a toy that is out collected",
        lambda shop: shop.patch(Toy, "out", metadata=MORTAL),
        "decide when out is deleted",
    ),
    *(
        Attack(
            "owner",
            f"removes a live rental, {policy.lower()}",
            partial(removes, policy),
            "Rental loan is live",
        )
        for policy in ("Foreground", "Background", "Orphan")
    ),
    Attack(
        "owner",
        "removes those that are live, by a selector",
        lambda shop: shop.api.request(
            "delete", path(shop, "rentals"), query_params=[("fieldSelector", "status.phase=Rented")]
        ),
        "is live",
    ),
    *(
        Attack(
            "owner",
            f"makes a {made.SERVED.kind} that nobody can delete, nor its namespace",
            partial(makes_immortal, made),
            f"decide when {made.name} is deleted",
        )
        for made in (
            objects.toy("new"),
            objects.gateway("new", "http://127.0.0.1:8790"),
            objects.ticket("new", toy="bear"),
            objects.dashboard("new"),
        )
    ),
    Attack(
        "owner",
        "applies a finalizer to its policy",
        lambda shop: shop.api.apply(
            typed("Store", {"metadata": {"name": "default", **IMMORTAL}}), shop.name
        ),
        "decide when default is deleted",
    ),
    Attack(
        "owner",
        "frees a gateway that unsettled Payments need",
        lambda shop: shop.patch(PaymentGateway, "main", metadata={"finalizers": None}),
        "decide when main is deleted",
    ),
    Attack(
        "owner",
        "lets a Payment go",
        lambda shop: shop.patch(Payment, "paid", metadata={"finalizers": None}),
        "403 Forbidden",
    ),
    # --- A repairer ---
    Attack(
        "hana",
        "has a ticket be about another toy",
        lambda shop: shop.patch(RepairTicket, "ticket", spec={"toyRef": {"name": "out"}}),
        "the toy of a ticket cannot be changed",
    ),
    Attack(
        "hana",
        "opens an ended repair anew",
        lambda shop: shop.patch(RepairTicket, "ended", spec={"resolution": None}),
        "the resolution of a repair is final",
    ),
    Attack(
        "hana",
        "makes of a discarded toy a repaired one",
        lambda shop: shop.patch(
            RepairTicket, "ended", spec={"resolution": {"outcome": "Repaired"}}
        ),
        "the resolution of a repair is final",
    ),
    Attack(
        "hana",
        "puts a toy back on the shelf by its status",
        lambda shop: shop.set_status(Toy, "out", bookings=[]),
        "403 Forbidden",
    ),
    # --- Who may give roles in a shop, by the built-in role admin ---
    Attack(
        "admin",
        "becomes the operator",
        lambda shop: shop.create_raw(
            typed(
                "RoleBinding",
                {
                    "metadata": {"name": "promotion"},
                    "roleRef": {
                        "apiGroup": "rbac.authorization.k8s.io",
                        "kind": "ClusterRole",
                        "name": "toyrental-operator",
                    },
                    "subjects": [
                        {"kind": "ServiceAccount", "name": "admin", "namespace": shop.name}
                    ],
                },
            )
        ),
        "attempting to grant RBAC permissions not currently held",
    ),
    Attack(
        "admin",
        "makes a role that writes statuses",
        lambda shop: shop.create_raw(
            typed(
                "Role",
                {
                    "metadata": {"name": "promotion"},
                    "rules": [
                        {
                            "apiGroups": ["toyrental.dev"],
                            "resources": ["rentals/status"],
                            "verbs": ["patch", "operate"],
                        }
                    ],
                },
            )
        ),
        "attempting to grant RBAC permissions not currently held",
    ),
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: f"{a.who} {a.says}".replace(" ", "-"))
def test_it_is_refused(people: dict[str, Shop], attack: Attack) -> None:
    with pytest.raises(Refused, match=attack.refused):
        attack.tries(people[attack.who])


def test_a_status_sent_beside_a_spec_comes_to_nothing(people: dict[str, Shop]) -> None:
    mina = people["mina"]
    before = mina.get_raw(Rental, "mine")
    mina.patch(Rental, "mine", status={"phase": "Completed", "price": None})
    assert mina.get_raw(Rental, "mine") == before


def test_a_name_that_is_yet_to_be_made_is_no_hindrance_to_who_means_well(
    people: dict[str, Shop],
) -> None:
    made = people["mina"].create_raw(order(people["mina"], "", generateName="mine-"))
    assert made["metadata"]["name"].startswith("mine-")
