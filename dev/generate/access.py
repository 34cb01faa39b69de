"""Who may do what: the table that tests try on a real API server, and its page."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from toyrental.contexts import Context, Right, rights

Json = dict[str, Any]

ROLES = {
    "viewer": "toyrental-viewer",
    "customer": "toyrental-customer",
    "private customer": "toyrental-customer-private",
    "clerk": "toyrental-clerk",
    "owner": "toyrental-store-owner",
    "repairer": "toyrental-repairer",
    "shop operator": "toyrental-shop-operator",
    "operator": "toyrental-operator",
}
"""The parts, by the words of the page; the last one is the program."""

SELF = "SELF"
"""Stands for the user name of who asks."""

HERE = "HERE"
"""Stands for the namespace of the shop."""

ALL = " ".join(word.replace(" ", "-") for word in ROLES)


class Act(NamedTuple):
    """Something to do to an object that is there, or to be made, and who may.

    `verb` is create, change, status (a change of it), delete, delete all, get or list. `content` is
    what is changed, and the spec of what is created (of a kind of Kubernetes, all of it). `who` are
    the roles' words, with dashes.
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
_EVENT: Json = {
    "regarding": {"apiVersion": "v1", "kind": "Secret", "name": "card", "namespace": HERE},
    "eventTime": "2026-03-01T09:00:00.000000Z",
    "reportingController": "toyrental.dev/operator",
    "reportingInstance": "x",
    "action": "Reconcile",
    "reason": "Paid",
    "type": "Normal",
}
_OPERATES = {"apiGroups": ["toyrental.dev"], "resources": ["payments"], "verbs": ["operate"]}
_PROMOTION: Json = {
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "toyrental-operator",
    },
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": SELF}],
}
_SEE_ALL = "viewer owner operator"

ACTS = (
    Act("open a shop", "Store", "create", "default", "owner"),
    Act("pause it", "Store", "change", "default", "owner", _spec(orders="Paused")),
    Act("bind its life to something else", "Store", "change", "default", "", _TIED),
    Act("remove its policy", "Store", "delete", "default", "owner"),
    Act("remove all at once", "Store", "delete all", "", "owner"),
    Act("see its policy", "Store", "list", "", _SEE_ALL),
    Act("register a toy", "Toy", "create", "new", "owner", {"title": "New", "dailyRate": _WON}),
    Act("withdraw it", "Toy", "change", "bear", "owner", _spec(availability="Withdrawn")),
    Act("label it", "Toy", "change", "bear", "owner", _LABELLED),
    Act("bind its life to something else", "Toy", "change", "bear", "", _TIED),
    Act("remove it", "Toy", "delete", "bear", "owner shop-operator"),
    Act("remove one that is out", "Toy", "delete", "out", "shop-operator"),
    Act("remove all at once, one that is out with them", "Toy", "delete all", "", ""),
    Act("see toys", "Toy", "list", "", ALL),
    Act(
        "order for oneself",
        "Rental",
        "create",
        "new",
        "customer private-customer clerk owner",
        _ORDER | {"customer": SELF},
    ),
    Act("order for another", "Rental", "create", "new", "clerk", _ORDER | {"customer": "ryu"}),
    Act(
        "pay one's own otherwise",
        "Rental",
        "change",
        "mine",
        "customer private-customer clerk owner",
        _spec(paymentMethod="pm_card_mastercard"),
    ),
    Act(
        "pay another's otherwise",
        "Rental",
        "change",
        "theirs",
        "clerk",
        _spec(paymentMethod="pm_card_mastercard"),
    ),
    Act(
        "pay another's from a Secret",
        "Rental",
        "change",
        "theirs",
        "",
        _spec(paymentMethod=None, paymentMethodSecretRef={"name": "card", "key": "token"}),
    ),
    Act(
        "cancel one's own",
        "Rental",
        "change",
        "mine",
        "customer private-customer clerk owner",
        _spec(desiredState="Cancelled"),
    ),
    Act("cancel another's", "Rental", "change", "theirs", "clerk", _spec(desiredState="Cancelled")),
    Act(
        "return one's own",
        "Rental",
        "change",
        "my-loan",
        "customer private-customer clerk owner",
        _spec(desiredState="Returned"),
    ),
    Act("return another's", "Rental", "change", "loan", "clerk", _spec(desiredState="Returned")),
    Act(
        "approve one's own",
        "Rental",
        "change",
        "mine",
        "owner",
        _spec(approval={"decision": "Approved"}),
    ),
    Act(
        "approve another's",
        "Rental",
        "change",
        "theirs",
        "owner",
        _spec(approval={"decision": "Approved"}),
    ),
    Act(
        "deny another's",
        "Rental",
        "change",
        "theirs",
        "owner",
        _spec(approval={"decision": "Denied"}),
    ),
    Act(
        "approve in another's name",
        "Rental",
        "change",
        "theirs",
        "",
        _spec(approval={"decision": "Approved", "decidedBy": "aya"}),
    ),
    Act(
        "inspect what came back",
        "Rental",
        "change",
        "back",
        "owner",
        _spec(inspection={"result": "Damaged"}),
    ),
    Act(
        "label one's own",
        "Rental",
        "change",
        "mine",
        "customer private-customer clerk owner",
        _LABELLED,
    ),
    Act("label another's", "Rental", "change", "theirs", "clerk owner", _LABELLED),
    Act("bind its life to something else", "Rental", "change", "mine", "", _TIED),
    Act("remove one that waits", "Rental", "delete", "theirs", "owner shop-operator"),
    Act("remove one that is live", "Rental", "delete", "loan", "shop-operator"),
    Act("see one", "Rental", "get", "mine", "viewer customer clerk owner shop-operator operator"),
    Act("remove all at once, a live one with them", "Rental", "delete all", "", ""),
    Act("see all", "Rental", "list", "", "viewer customer clerk owner shop-operator operator"),
    Act("ask for a payment", "Payment", "create", "new", "operator", _PAYMENT),
    Act(
        "refund by hand",
        "Payment",
        "change",
        "paid",
        "shop-operator operator",
        _spec(refundMinorUnits=9000),
    ),
    Act(
        "resolve a review",
        "Payment",
        "change",
        "review",
        "shop-operator operator",
        _spec(resolution={"outcome": "NotCharged"}),
    ),
    Act(
        "end a refund that failed",
        "Payment",
        "change",
        "failed",
        "shop-operator operator",
        _spec(refundResolution={"failure": 1, "outcome": "GivenBack"}),
    ),
    Act("remove it", "Payment", "delete", "paid", "shop-operator"),
    Act("remove all at once", "Payment", "delete all", "", ""),
    Act("see one", "Payment", "get", "paid", "viewer customer clerk owner shop-operator operator"),
    Act("see all", "Payment", "list", "", "viewer clerk owner shop-operator operator"),
    Act("set up a provider", "PaymentGateway", "create", "new", "owner", _GATEWAY),
    Act("suspend it", "PaymentGateway", "change", "main", "owner operator", _spec(suspended=True)),
    Act("bind its life to something else", "PaymentGateway", "change", "main", "operator", _TIED),
    Act("remove it", "PaymentGateway", "delete", "main", "owner"),
    Act("remove all at once", "PaymentGateway", "delete all", "", "owner"),
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
        "change",
        "ticket",
        "owner repairer",
        _spec(assignee="hana"),
    ),
    Act(
        "say what is wrong",
        "RepairTicket",
        "change",
        "ticket",
        "owner",
        _spec(description="a wheel is off"),
    ),
    Act("end it", "RepairTicket", "change", "ticket", "repairer", _spec(resolution=_REPAIRED)),
    Act("bind its life to something else", "RepairTicket", "change", "ticket", "", _TIED),
    Act("remove it", "RepairTicket", "delete", "ticket", "owner"),
    Act("remove all at once", "RepairTicket", "delete all", "", "owner"),
    Act("see tickets", "RepairTicket", "list", "", _SEE_ALL + " repairer"),
    Act("make a Dashboard", "Dashboard", "create", "new", "owner"),
    Act("group it", "Dashboard", "change", "shop", "owner", _spec(groupBy=["model"])),
    Act("bind its life to something else", "Dashboard", "change", "shop", "", _TIED),
    Act("remove it", "Dashboard", "delete", "shop", "owner"),
    Act("remove all at once", "Dashboard", "delete all", "", "owner"),
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
    Act("make one", "Secret", "create", "new", "", {"stringData": {"token": "pm_card_visa"}}),
    Act("change one", "Secret", "change", "card", "", {"stringData": {"token": "pm_card_visa"}}),
    Act("remove one", "Secret", "delete", "card", ""),
    Act("tell people of a step", "Event", "create", "new", "operator", _EVENT),
    Act("see what was told", "Event", "list", "", ""),
    Act("take the lead", "Lease", "create", "new", "", {"spec": {"holderIdentity": "mina"}}),
    Act("take it away", "Lease", "change", "lead", "", {"spec": {"holderIdentity": "mina"}}),
    Act("see who leads", "Lease", "get", "lead", ""),
    Act("give oneself the operator's role", "RoleBinding", "create", "new", "", _PROMOTION),
    Act("make a role", "Role", "create", "new", "", {"rules": [_OPERATES]}),
)

INTRODUCTION = """\
<!-- Made from dev/generate/access.py by `make generate`; change that, not this file. -->
# Who may do what

Each line is tried with each role, on a real API server, by people with tokens of their own
(`tests/api/test_access.py`): what is marked is done, all else is refused. Each change, of a status
too, is tried in three ways: as a patch, as server-side apply, and as an update of the whole object,
which the operator never does and may not. A role that a namespace binds holds in that shop only.
The operator, last, is the program; the roles are in [manifests/rbac](../../manifests/rbac), what
else is asked for in [manifests/policies](../../manifests/policies). Whoever holds two roles may do
what either may; a cluster-admin may do everything. A private customer sees their own orders too,
through [the customer proxy](../how-to/customer-proxy.md).
"""


OWN = """\
## What the operator needs for itself

Each part has a role of its own, `toyrental-rentals` and so on, and `toyrental-operator` is all of
them together. They grant what is marked, and nothing else. Each mark is a case of
`tests/api/test_permissions.py`, by its name, such as `rentals-list-toys`: without that permission
alone, `toyrental run` does not start, and says in a sentence what it may not do. Secrets are for
the shops to open: the operator starts without, and the gateway or the Payment that names one it may
not read says so. At the end of a run of the whole suite each role is held against the API server's
audit log: that it grants what the operator never used, or that the operator was refused anything,
fails the run.
"""

ELECTION = """\
Where several are run and one leads (`--leader-election`), the role `toyrental-leader-election` adds
`get`, `create` and `patch` of leases and `create` of events in the namespace of the Lease, and
there alone.
"""

_FOR = {
    "list": "know all there is, at the start and from time to time",
    "watch": "hear of changes",
    "get": "read it again before a write that rests on it",
}
_FOR_ONE = {
    ("create", "payments"): "ask for the payment of an order",
    ("patch", "payments"): "change its method, have money given back, let go of what is settled",
    ("operate", "payments"): "pass the policy payments-are-the-operators",
    ("create", "repairtickets"): "send a toy that came back damaged to repair",
    ("patch", "paymentgateways"): "keep a gateway while Payments need it (a finalizer)",
    ("operate", "paymentgateways"): "pass the policy lives-are-not-tied-elsewhere",
    ("get", "secrets"): "read the credentials and payment methods that are named",
    ("create", "events"): "tell people of each step",
}


def access_reference() -> str:
    """Return the page."""
    return "\n".join([INTRODUCTION, *_tables(), OWN, *_own_table(), "", ELECTION])


def _own_table() -> Iterator[str]:
    held = {context: set(rights([context])) for context in Context}
    yield f"| may | to | {' | '.join(Context)} |"
    yield "|---" * (2 + len(held)) + "|"
    for right in sorted(rights(Context), key=lambda right: (right.group, right.resource)):
        marks = " | ".join("yes" if right in each else "" for each in held.values())
        yield f"| {right.verb} {right.resource} | {_what_for(right)} | {marks} |"


def _what_for(right: Right) -> str:
    if right.resource.endswith("/status"):
        return (
            "pass the policy statuses-are-the-operators"
            if right.verb == "operate"
            else "say what is so"
        )
    return _FOR_ONE.get((right.verb, right.resource)) or _FOR[right.verb]


def _tables() -> Iterator[str]:
    for kind in dict.fromkeys(act.kind for act in ACTS):
        yield from (
            f"## {kind}",
            "",
            f"| may | {' | '.join(ROLES)} |",
            "|---" * (len(ROLES) + 1) + "|",
        )
        for act in ACTS:
            if act.kind == kind:
                marks = " | ".join("yes" if act.allows(role) else "" for role in ROLES)
                yield f"| {act.says} | {marks} |"
        yield ""
