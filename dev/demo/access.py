"""Two more scenes where people have signed in (AUTH=oidc): who they are, and what they may do."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import yaml

from dev.cluster import ClusterError
from dev.demo.stage import SAMPLES, Stage, StageError, change_of
from dev.signin.people import CUSTOMERS, OWNER, REPAIRER

MINA, RYU, *_ = CUSTOMERS
THREE = {MINA: "customer", OWNER: "owner", REPAIRER: "repairer"}


class Act(NamedTuple):
    """Something that each of the three tries by kubectl; the API server says who may."""

    what: str
    command: Callable[[str], tuple[str, ...]]
    stdin: Callable[[str], str] = lambda _: ""


def _order(customer: str) -> str:
    """Return an order for a customer, as the samples have it for Mina."""
    order = yaml.safe_load((SAMPLES / "20-rental-balance-bike.yaml").read_text())
    order["metadata"]["name"] = f"{customer}-once-more"
    order["spec"]["customer"] = customer
    return json.dumps(order)


def _change(kind: str, name: str, **spec: object) -> tuple[str, ...]:
    return ("patch", kind, name, "--type=merge", "--dry-run=server", "-p", change_of(spec))


_CREATE = ("create", "--dry-run=server", "-f", "-")
_BUSY = json.dumps({"status": {"phase": "Rented"}})
ACTS = (
    Act("order a toy for themselves", lambda _: _CREATE, _order),
    Act("order one in Ryu's name", lambda _: _CREATE, lambda _: _order(RYU)),
    Act(
        "cancel another's order", lambda _: _change("rental", "you-train", desiredState="Cancelled")
    ),
    Act(
        "approve an order",
        lambda _: _change("rental", "you-train", approval={"decision": "Approved"}),
    ),
    Act("withdraw a toy", lambda _: _change("toy", "fire-engine", availability="Withdrawn")),
    Act("see all payments", lambda _: ("get", "payments")),
    Act("take on a repair", lambda who: _change("repairticket", "bobby-car-wheel", assignee=who)),
    Act(
        "say how a repair ended",
        lambda _: _change("repairticket", "bobby-car-wheel", resolution={"outcome": "Repaired"}),
    ),
    Act(
        "write what the operator says",
        lambda _: (
            *("patch", "toy", "fire-engine", "--subresource=status", "--type=merge"),
            *("--dry-run=server", "-p", _BUSY),
        ),
    ),
)


def people_sign_in(shop: Stage) -> None:
    """Mina, Aya and Hana sign in.

    Each at the identity provider, with a password of their own; kubectl shows the API server the
    token that they have for it, and from their group there comes what they may do in the shop.
    """
    for person in THREE:
        shop.kubectl("auth", "whoami", by=person)


def who_may_do_what(shop: Stage) -> None:
    """Who may do what.

    Roles say who may change an order at all; policies in the API server say which part of it. So
    each act is tried by each of the three, as a dry run, and this is how the API server answers.
    It also writes down who decided.
    """
    with ThreadPoolExecutor(len(THREE)) as pool:
        answers = list(pool.map(lambda act: [_may(shop, who, act) for who in THREE], ACTS))
    shop.screen.say()
    _row(shop, "", [f"{who}, {part}" for who, part in THREE.items()])
    for act, answer in zip(ACTS, answers, strict=True):
        _row(shop, act.what, ["yes" if may else "-" for may in answer])
    shop.screen.say()
    deciders = "{.spec.approval.decidedBy} approved it, {.spec.inspection.inspectedBy} looked at it"
    shop.kubectl("get", "rental", "ryu-bike", f"--output=jsonpath={deciders}", by=MINA)
    for person in THREE:
        shop.ask("auth", "can-i", "approve", "rentals", by=person)
    order, ticket, toy = "rental/you-train", "repairticket/bobby-car-wheel", "toy/fire-engine"
    shop.refused(order, by=MINA, desiredState="Cancelled")
    shop.refused(ticket, by=OWNER, resolution={"outcome": "Repaired"})
    shop.refused(toy, by=REPAIRER, availability="Withdrawn")


def _may(shop: Stage, who: str, act: Act) -> bool:
    """Return whether the API server would do it. Raises StageError where it says something else."""
    try:
        shop.cluster.run_kubectl(f"--context={who}", *act.command(who), stdin=act.stdin(who))
    except ClusterError as error:
        if "forbidden" not in str(error).lower() and "denied request" not in str(error):
            raise StageError(f"{who} could not {act.what}: {error}") from error
        return False
    return True


def _row(shop: Stage, what: str, cells: list[str]) -> None:
    shop.screen.output(f"{what:<30}" + "".join(f"{cell:<17}" for cell in cells))
