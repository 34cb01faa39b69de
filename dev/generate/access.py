"""Who may do what: the table that tests try on a real API server, and its page."""

from collections.abc import Iterator
from typing import Any, NamedTuple

Json = dict[str, Any]

ROLES = {
    "viewer": "toyrental-viewer",
    "customer": "toyrental-customer",
    "clerk": "toyrental-clerk",
    "owner": "toyrental-store-owner",
    "repairer": "toyrental-repairer",
    "shop operator": "toyrental-shop-operator",
    "operator": "toyrental-operator",
}
"""The parts, by the words of the page; the last one is the program."""

SELF = "SELF"
"""Stands for the user name of who asks."""

ALL = " ".join(word.replace(" ", "-") for word in ROLES)


class Act(NamedTuple):
    """Something to do to an object that is there, or to be made, and who may.

    `verb` is create, patch, status (a patch of it), delete, get or list. `content` is the spec of
    what is created, and the merge patch otherwise. `who` are the roles' words, with dashes.
    """

    says: str
    kind: str
    verb: str
    name: str
    who: str
    content: Json = {}  # noqa: RUF012 -- read only

    def allows(self, role: str) -> bool:
        """Tell whether whoever plays that part may."""
        return role.replace(" ", "-") in self.who.split()


def _spec(**fields: Any) -> Json:
    return {"spec": fields}


_ORDER = {"toyRef": {"name": "bear"}, "period": {"days": 3}, "paymentMethod": "pm_card_visa"}
_WON: Json = {"currency": "KRW", "minorUnits": 9000}
_TIED = {"metadata": {"finalizers": ["example.com/never"]}}
_LABELLED = {"metadata": {"labels": {"shelf": "3"}}}
_REPAIRED = {"outcome": "Repaired"}
_GATEWAY = {"simulator": {"endpoint": "http://127.0.0.1:8790"}}
_PAYMENT: Json = {
    "rentalRef": {"name": "theirs", "uid": "1111-2222"},
    "gatewayRef": {"name": "main"},
    "amount": _WON,
    "method": {"token": "pm_card_visa"},
}
_SEE_ALL = "viewer owner operator"

ACTS = (
    Act("open a shop", "Store", "create", "default", "owner"),
    Act("pause it", "Store", "patch", "default", "owner", _spec(orders="Paused")),
    Act("remove its policy", "Store", "delete", "default", "owner"),
    Act("see its policy", "Store", "list", "", _SEE_ALL),
    Act("register a toy", "Toy", "create", "new", "owner", {"title": "New", "dailyRate": _WON}),
    Act("withdraw it", "Toy", "patch", "bear", "owner", _spec(availability="Withdrawn")),
    Act("label it", "Toy", "patch", "bear", "owner", _LABELLED),
    Act("bind its life to something else", "Toy", "patch", "bear", "", _TIED),
    Act("remove it", "Toy", "delete", "bear", "owner shop-operator"),
    Act("remove one that is out", "Toy", "delete", "out", "shop-operator"),
    Act("see toys", "Toy", "list", "", ALL),
    Act(
        "order for oneself",
        "Rental",
        "create",
        "new",
        "customer clerk owner",
        _ORDER | {"customer": SELF},
    ),
    Act("order for another", "Rental", "create", "new", "clerk", _ORDER | {"customer": "ryu"}),
    Act(
        "pay one's own otherwise",
        "Rental",
        "patch",
        "mine",
        "customer clerk owner",
        _spec(paymentMethod="pm_card_mastercard"),
    ),
    Act(
        "pay another's otherwise",
        "Rental",
        "patch",
        "theirs",
        "clerk",
        _spec(paymentMethod="pm_card_mastercard"),
    ),
    Act(
        "pay another's from a Secret",
        "Rental",
        "patch",
        "theirs",
        "",
        _spec(paymentMethod=None, paymentMethodSecretRef={"name": "card", "key": "token"}),
    ),
    Act(
        "cancel one's own",
        "Rental",
        "patch",
        "mine",
        "customer clerk owner",
        _spec(desiredState="Cancelled"),
    ),
    Act("cancel another's", "Rental", "patch", "theirs", "clerk", _spec(desiredState="Cancelled")),
    Act(
        "return one's own",
        "Rental",
        "patch",
        "my-loan",
        "customer clerk owner",
        _spec(desiredState="Returned"),
    ),
    Act("return another's", "Rental", "patch", "loan", "clerk", _spec(desiredState="Returned")),
    Act(
        "approve one's own",
        "Rental",
        "patch",
        "mine",
        "owner",
        _spec(approval={"decision": "Approved"}),
    ),
    Act(
        "approve another's",
        "Rental",
        "patch",
        "theirs",
        "owner",
        _spec(approval={"decision": "Approved"}),
    ),
    Act(
        "deny another's",
        "Rental",
        "patch",
        "theirs",
        "owner",
        _spec(approval={"decision": "Denied"}),
    ),
    Act(
        "approve in another's name",
        "Rental",
        "patch",
        "theirs",
        "",
        _spec(approval={"decision": "Approved", "decidedBy": "aya"}),
    ),
    Act(
        "inspect what came back",
        "Rental",
        "patch",
        "back",
        "owner",
        _spec(inspection={"result": "Damaged"}),
    ),
    Act("label one's own", "Rental", "patch", "mine", "customer clerk owner", _LABELLED),
    Act("label another's", "Rental", "patch", "theirs", "clerk owner", _LABELLED),
    Act("bind its life to something else", "Rental", "patch", "mine", "", _TIED),
    Act("remove one that waits", "Rental", "delete", "theirs", "owner shop-operator"),
    Act("remove one that is live", "Rental", "delete", "loan", "shop-operator"),
    Act("see all", "Rental", "list", "", "viewer customer clerk owner shop-operator operator"),
    Act("ask for a payment", "Payment", "create", "new", "operator", _PAYMENT),
    Act(
        "refund by hand",
        "Payment",
        "patch",
        "paid",
        "shop-operator operator",
        _spec(refundMinorUnits=9000),
    ),
    Act(
        "resolve a review",
        "Payment",
        "patch",
        "review",
        "shop-operator operator",
        _spec(resolution={"outcome": "NotCharged"}),
    ),
    Act("remove it", "Payment", "delete", "paid", "shop-operator"),
    Act("see one", "Payment", "get", "paid", "viewer customer clerk owner shop-operator operator"),
    Act("see all", "Payment", "list", "", "viewer clerk owner shop-operator operator"),
    Act("set up a provider", "PaymentGateway", "create", "new", "owner", _GATEWAY),
    Act("suspend it", "PaymentGateway", "patch", "main", "owner operator", _spec(suspended=True)),
    Act("bind its life to something else", "PaymentGateway", "patch", "main", "operator", _TIED),
    Act("remove it", "PaymentGateway", "delete", "main", "owner"),
    Act("see providers", "PaymentGateway", "list", "", _SEE_ALL),
    Act(
        "open a ticket",
        "RepairTicket",
        "create",
        "new",
        "owner operator",
        {"toyRef": {"name": "bear"}},
    ),
    Act(
        "open one that is ended",
        "RepairTicket",
        "create",
        "new",
        "",
        {"toyRef": {"name": "bear"}, "resolution": _REPAIRED},
    ),
    Act(
        "say whose it is",
        "RepairTicket",
        "patch",
        "ticket",
        "owner repairer",
        _spec(assignee="hana"),
    ),
    Act(
        "say what is wrong",
        "RepairTicket",
        "patch",
        "ticket",
        "owner",
        _spec(description="a wheel is off"),
    ),
    Act("end it", "RepairTicket", "patch", "ticket", "repairer", _spec(resolution=_REPAIRED)),
    Act("bind its life to something else", "RepairTicket", "patch", "ticket", "", _TIED),
    Act("remove it", "RepairTicket", "delete", "ticket", "owner"),
    Act("see tickets", "RepairTicket", "list", "", _SEE_ALL + " repairer"),
    Act("make a Dashboard", "Dashboard", "create", "new", "owner"),
    Act("group it", "Dashboard", "patch", "shop", "owner", _spec(groupBy=["model"])),
    Act("remove it", "Dashboard", "delete", "shop", "owner"),
    Act("see Dashboards", "Dashboard", "list", "", _SEE_ALL),
    *(
        Act(
            "say what happened (status)",
            kind,
            "status",
            name,
            "operator",
            {"status": {"observedGeneration": 1}},
        )
        for kind, name in (
            ("Store", "default"),
            ("Toy", "bear"),
            ("Rental", "theirs"),
            ("Payment", "paid"),
            ("PaymentGateway", "main"),
            ("RepairTicket", "ticket"),
            ("Dashboard", "shop"),
        )
    ),
    Act("read one by name", "Secret", "get", "card", "operator"),
    Act("list them", "Secret", "list", "", ""),
)

INTRODUCTION = """\
<!-- Made from dev/generate/access.py by `make generate`; change that, not this file. -->
# Who may do what

Each line is tried with each role, on a real API server, by people with tokens of their own
(`tests/api/test_access.py`): what is marked is done, all else is refused. A role that a namespace
binds holds in that shop only. The operator, last, is the program; the roles are in
[manifests/rbac](../../manifests/rbac), what else is asked for in
[manifests/policies](../../manifests/policies). Whoever holds two roles may do what either may; a
cluster-admin may do everything.
"""


def access_reference() -> str:
    """Return the page."""
    return "\n".join([INTRODUCTION, *_tables()])


def _tables() -> Iterator[str]:
    for kind in dict.fromkeys(act.kind for act in ACTS):
        yield from (f"## {kind}", "", f"| may | {' | '.join(ROLES)} |", "|---" * 8 + "|")
        for act in ACTS:
            if act.kind == kind:
                marks = " | ".join("yes" if act.allows(role) else "" for role in ROLES)
                yield f"| {act.says} | {marks} |"
        yield ""
