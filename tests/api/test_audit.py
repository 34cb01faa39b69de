"""The audit log: who decided, where nobody can forge it; and what the operator used."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import Cluster
from tests.support import Json, Refused, Shop, auditlog, condition, eventually, objects
from tests.support.auditlog import Entry, granted, refusals, unused
from toyrental.contexts import Right
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket

PAID: Json = {"phase": "Paid", "conditions": [condition("Paid", "True")]}


@pytest.fixture
def log(cluster: Cluster) -> Path:
    if cluster.audit_log is None:
        pytest.skip("a cluster that others run writes its audit log elsewhere")
    return cluster.audit_log


class Journal:
    """What people did in a shop, by the audit log."""

    def __init__(self, log: Path, shop: Shop) -> None:
        self._log = log
        self._shop = shop

    def last(self, person: Shop, verb: str = "patch") -> Entry:
        """Return the last request of somebody; it is written down just after it is answered."""
        user = person.api.who_am_i()

        def found() -> list[Entry]:
            seen = auditlog.entries(self._log, with_text=f'"{user}"')
            return [each for each in seen if each.right.verb == verb]

        return eventually(found)[-1]


@pytest.fixture
def journal(log: Path, shop: Shop) -> Journal:
    return Journal(log, shop)


def test_who_approved_and_who_inspected_is_there(shop: Shop, journal: Journal) -> None:
    # Given an order that is paid, an owner, and somebody at the door who inspects
    shop.create(objects.rental("first", toy="bear"))
    shop.set_status(Rental, "first", **PAID)
    owner = shop.person("owner", role="toyrental-store-owner")
    porter = shop.person("porter", role="toyrental-store-owner")
    # When the one approves, and the other inspects
    owner.patch(Rental, "first", spec={"approval": {"decision": "Approved"}})
    shop.patch(Rental, "first", spec={"desiredState": "Returned"})
    porter.patch(Rental, "first", spec={"inspection": {"result": "Damaged"}})
    # Then it says so of both
    approval, inspection = journal.last(owner), journal.last(porter)
    key = "orders-are-the-owners-to-approve.toyrental.dev/approval"
    assert approval.notes[key] == f"decided Approved by {owner.api.who_am_i()}"
    key = "returns-are-the-owners-to-inspect.toyrental.dev/inspection"
    assert inspection.notes[key] == f"inspected Damaged by {porter.api.who_am_i()}"
    assert (approval.name, approval.code) == (inspection.name, inspection.code) == ("first", 200)


def test_who_ended_a_repair_and_who_resolved_a_review_is_there(
    shop: Shop, journal: Journal
) -> None:
    rental = shop.create(objects.rental("first", toy="bear"))
    shop.create(objects.ticket("ticket", toy="bear"))
    shop.create(objects.payment("first", rental=rental))
    shop.set_status(Payment, "first", phase="ManualReview")
    hana = shop.person("hana", role="toyrental-repairer")
    cashier = shop.person("cashier", role="toyrental-shop-operator")
    hana.patch(RepairTicket, "ticket", spec={"resolution": {"outcome": "Discarded"}})
    cashier.patch(Payment, "first", spec={"resolution": {"outcome": "NotCharged"}})
    repair = journal.last(hana).notes["repairs-are-the-repairers.toyrental.dev/resolution"]
    assert repair == f"resolved Discarded by {hana.api.who_am_i()}"
    review = journal.last(cashier).notes["payments-are-the-operators.toyrental.dev/resolution"]
    assert review == f"resolved NotCharged by {cashier.api.who_am_i()}"
    failure = {"number": 1, "minorUnits": 9000, "failedMinorUnits": 9000}
    shop.set_status(Payment, "first", phase="Captured", refundFailure=failure)
    again = {"failure": 1, "outcome": "TryAgain"}
    cashier.patch(Payment, "first", spec={"refundResolution": again})
    refund = journal.last(cashier).notes[
        "payments-are-the-operators.toyrental.dev/refundResolution"
    ]
    assert refund == f"resolved TryAgain by {cashier.api.who_am_i()}"


def test_what_decides_nothing_says_nothing_of_it(shop: Shop, journal: Journal) -> None:
    shop.create(objects.rental("first", toy="bear"))
    shop.set_status(Rental, "first", **PAID)
    owner = shop.person("owner", role="toyrental-store-owner")
    owner.patch(Rental, "first", metadata={"labels": {"shelf": "3"}})
    assert not [key for key in journal.last(owner).notes if "toyrental.dev/" in key]


def test_a_forged_name_is_refused_and_the_attempt_bears_the_true_one(
    shop: Shop, journal: Journal
) -> None:
    shop.create(objects.rental("first", toy="bear"))
    shop.set_status(Rental, "first", **PAID)
    owner = shop.person("owner", role="toyrental-store-owner")
    forged = {"approval": {"decision": "Approved", "decidedBy": "aya"}}
    with pytest.raises(Refused, match=r"approval\.decidedBy says aya"):
        owner.patch(Rental, "first", spec=forged)
    attempt = journal.last(owner)
    assert (attempt.user, attempt.code) == (owner.api.who_am_i(), 403)
    assert not any(note.endswith("by aya") for note in attempt.notes.values())


def test_no_content_is_there(shop: Shop, log: Path, journal: Journal) -> None:
    """It says who read a Secret, and who ordered with which card: not what is in it."""
    shop.secret("card", {"token": "pm_canary_audit_51d2"})
    mina = shop.person("mina", role="toyrental-customer")
    order = objects.rental("first", toy="bear", customer=mina.api.who_am_i())
    mina.create(
        order.model_copy(
            update={
                "spec": order.spec.model_copy(update={"payment_method": "pm_canary_audit_51d2"})
            }
        )
    )
    cashier = shop.person("cashier", role="toyrental-payments")
    cashier.api.get("Secret", "card", shop.name)
    assert journal.last(mina, "create").code == 201
    assert journal.last(cashier, "get").name == "card"
    assert not list(auditlog.entries(log, with_text="pm_canary_audit"))


# --- The comparison at the end of a run ---


def requests(role: str) -> Iterator[Entry]:
    """Yield what an operator did that used all that its role grants."""
    for right in granted(role) - {r for r in granted(role) if r.verb == "operate"}:
        yield Entry(role, "toyrental-operator/1", right, "shop", "x", 200, "", True, role, {})


EVERYTHING = [each for role in auditlog.PROGRAM_ROLES for each in requests(role)]


def test_a_run_that_used_everything_and_was_refused_nothing_is_well() -> None:
    assert unused(EVERYTHING) == refusals(EVERYTHING) == []


@pytest.mark.parametrize(
    ("role", "right", "missing"),
    [
        ("toyrental-stores", Right("get", "rentals"), ["get rentals"]),
        ("toyrental-payments", Right("get", "secrets", ""), ["get secrets"]),
        (
            "toyrental-dashboards",
            Right("patch", "dashboards/status"),
            ["operate dashboards/status", "patch dashboards/status"],
        ),
    ],
)
def test_a_right_that_was_not_used_is_named(role: str, right: Right, missing: list[str]) -> None:
    seen = [each for each in EVERYTHING if (each.role, each.right) != (role, right)]
    assert unused(seen) == [
        f"{role} grants {each}, which the operator never used" for each in missing
    ]


def test_what_two_roles_of_an_account_grant_counts_for_both_where_both_are_used() -> None:
    """The log names either: `create events` is granted for the steps, and for the election."""
    election, tells = "toyrental-leader-election", Right("create", "events", "events.k8s.io")
    one = [
        each._replace(user="one") if each.role in {"toyrental-stores", election} else each
        for each in EVERYTHING
        if (each.role, each.right) != (election, tells)
    ]
    assert unused(one) == []
    apart = [e._replace(namespace="office") if e.role == election else e for e in one]
    assert unused(apart) == [f"{election} grants create events, which the operator never used"]


def test_what_others_do_by_the_same_role_is_no_use_of_it() -> None:
    seen = [each._replace(agent="kubectl/v1.37.2") for each in EVERYTHING]
    assert len(unused(seen)) == sum(len(granted(role)) for role in auditlog.PROGRAM_ROLES)


def test_what_was_refused_to_the_operator_is_named() -> None:
    right = Right("delete", "toys")
    by_rbac = EVERYTHING[0]._replace(right=right, allowed=False, code=403, said="forbidden")
    by_policy = EVERYTHING[0]._replace(code=403, said="ValidatingAdmissionPolicy 'x' denied")
    gone = EVERYTHING[0]._replace(code=403, said="because it is being terminated")
    by_others = by_rbac._replace(agent="kubectl/v1.37.2")
    found = refusals([*EVERYTHING, by_rbac, by_policy, gone, by_others])
    assert found == sorted([str(by_rbac), str(by_policy)])
