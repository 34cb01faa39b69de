"""The story: a scene a function, its docstring what the audience is told.

Everything in it is done by kubectl, as people would; what the operator then does is shown as it
happens. A scene goes on once the shop is as it should be, never after some time.
"""

from dev.cluster.oidc import GROUP_PREFIX
from dev.demo.house import OWNER, USUAL_PORT
from dev.demo.stage import Stage
from dev.signin.people import OWNER as AYA
from dev.signin.people import REPAIRER as HANA
from dev.signin.people import ROLES

TOYS = 12


def a_shop_opens(shop: Stage) -> None:
    """A shop opens.

    A namespace is a shop. It has somebody who runs it, a policy (a Store), a provider that takes
    its payments (here a simulator: no money moves), and a dozen toys.
    """
    shop.kubectl("create", "namespace", shop.namespace)
    shop.kubectl("config", "set-context", "--current", f"--namespace={shop.namespace}", quiet=True)
    shop.kubectl("create", "serviceaccount", OWNER, quiet=True)
    owner = f"--serviceaccount={shop.namespace}:{OWNER}"
    role = "--clusterrole=toyrental-store-owner"
    shop.kubectl("create", "rolebinding", OWNER, role, owner, quiet=True)
    for group in ROLES if shop.signed_in else ():
        to = (f"--clusterrole={ROLES[group]}", f"--group={GROUP_PREFIX}{group}")
        shop.kubectl("create", "rolebinding", group, *to, quiet=True)
    shop.apply("00-shop.yaml", by=AYA)
    if not shop.simulator.endswith(f":{USUAL_PORT}"):
        shop.patch("paymentgateway/simulator", by=AYA, simulator={"endpoint": shop.simulator})
    shop.kubectl(
        "wait", "store/default", "paymentgateway/simulator", "--for=condition=Ready", by=AYA
    )
    shop.apply("10-toys.yaml", by=AYA)
    shop.wait(lambda: _available(shop) == TOYS, f"{TOYS} toys to be Available")
    shop.kubectl("get", "toys", by=AYA)
    shop.apply("40-dashboard.yaml", by=AYA)


def an_order_is_paid_and_approved(shop: Stage) -> None:
    """Mina rents a bike.

    The toy is held for her, her card is charged, and only then does the owner see the order.
    """
    shop.apply("20-rental-balance-bike.yaml", by="mina")
    shop.until("rental/mina-bike", phase="Paid")
    if shop.signed_in:
        shop.refused("rental/mina-bike", by="mina", approval={"decision": "Approved"})
    shop.patch("rental/mina-bike", by=AYA, approval={"decision": "Approved"})
    shop.until("rental/mina-bike", phase="Rented")


def two_want_one_bike(shop: Stage) -> None:
    """Ryu wants the same bike.

    No toy is promised twice. He is not charged either: his order waits its turn in line.
    """
    shop.apply_for("20-rental-balance-bike.yaml", customer="ryu", instead_of="mina")
    shop.until("rental/ryu-bike", phase="Pending", reason="NoToyAvailable")


def a_card_is_declined(shop: Stage) -> None:
    """Sora's card is declined.

    No payment, no transaction: the API server itself lets nobody approve the order before it is
    paid. Another card makes another attempt.
    """
    shop.apply("20-rental-declined-card.yaml", by="sora")
    shop.until("rental/sora-marbles", phase="Reserved", reason="Declined")
    shop.refused("rental/sora-marbles", by=AYA, approval={"decision": "Approved"})
    shop.patch("rental/sora-marbles", by="sora", paymentMethod="pm_card_visa")
    shop.until("rental/sora-marbles", phase="Paid")
    shop.patch("rental/sora-marbles", by=AYA, approval={"decision": "Approved"})
    shop.until("rental/sora-marbles", phase="Rented")


def a_customer_cancels(shop: Stage) -> None:
    """Juno changes her mind.

    Until the owner has approved, she may. The payment goes back with the order.
    """
    shop.apply("20-rental-any-train.yaml", by="juno")
    shop.until("rental/juno-train", phase="Paid")
    shop.patch("rental/juno-train", by="juno", desiredState="Cancelled")
    shop.until("rental/juno-train", phase="Cancelled")
    _until_refunded(shop, "juno-train")


def the_owner_says_no(shop: Stage) -> None:
    """The owner denies an order.

    That is the owner's good right, and the customer's money goes back.
    """
    shop.apply_for("20-rental-any-train.yaml", customer="nari", instead_of="juno")
    shop.until("rental/nari-train", phase="Paid")
    denial = {"decision": "Denied", "reason": "the trains are at the school fair"}
    shop.patch("rental/nari-train", by=AYA, approval=denial)
    shop.until("rental/nari-train", phase="Rejected")
    _until_refunded(shop, "nari-train")


def booked_far_ahead(shop: Stage) -> None:
    """Haru books the kitchen for Children's Day 2030.

    It is paid and approved today and handed over on the day; others can have it until then. An
    approved order cannot be cancelled any more: of the two, whichever came first holds.
    """
    shop.apply("20-rental-childrens-day.yaml", by="haru")
    shop.until("rental/haru-kitchen", phase="Paid")
    shop.patch("rental/haru-kitchen", by=AYA, approval={"decision": "Approved"})
    shop.until("rental/haru-kitchen", phase="Approved")
    shop.refused("rental/haru-kitchen", by="haru", desiredState="Cancelled")


def the_bike_comes_back(shop: Stage) -> None:
    """Mina brings the bike back, and Ryu's turn has come.

    The owner looks at it and finds it in order. At once it is held for Ryu, who is charged now.
    """
    shop.patch("rental/mina-bike", by="mina", desiredState="Returned")
    shop.until("rental/mina-bike", phase="Returned")
    shop.patch("rental/mina-bike", by=AYA, inspection={"result": "Accepted"})
    shop.until("rental/mina-bike", phase="Completed")
    shop.until("rental/ryu-bike", phase="Paid")
    shop.patch("rental/ryu-bike", by=AYA, approval={"decision": "Approved"})
    shop.until("rental/ryu-bike", phase="Rented")


def a_damaged_toy_is_repaired(shop: Stage) -> None:
    """Ryu brings it back damaged; Hana repairs it.

    The inspection opens a RepairTicket and takes the bike off the shelf, in one go.
    """
    shop.patch("rental/ryu-bike", by="ryu", desiredState="Returned")
    shop.until("rental/ryu-bike", phase="Returned")
    shop.patch("rental/ryu-bike", by=AYA, inspection={"result": "Damaged", "notes": "a flat tyre"})
    shop.until("rental/ryu-bike", phase="Completed")
    ticket = _ticket(shop, "balance-bike")
    shop.patch(ticket, by=HANA, assignee=HANA)
    shop.until("toy/balance-bike", phase="InRepair")
    shop.patch(ticket, by=HANA, resolution={"outcome": "Repaired", "notes": "new inner tube"})
    shop.until(ticket, phase="Repaired")
    shop.until("toy/balance-bike", phase="Available")


def a_toy_is_beyond_repair(shop: Stage) -> None:
    """Sora's marble run cannot be saved.

    Discarded is for good: the toy keeps its history, and nobody can book it again.
    """
    shop.patch("rental/sora-marbles", by="sora", desiredState="Returned")
    shop.until("rental/sora-marbles", phase="Returned")
    lost = [{"name": "marble", "count": 6}]
    shop.patch(
        "rental/sora-marbles", by=AYA, inspection={"result": "Damaged", "missingParts": lost}
    )
    shop.until("rental/sora-marbles", phase="Completed")
    ticket = _ticket(shop, "marble-run")
    shop.patch(
        ticket, by=HANA, resolution={"outcome": "Discarded", "notes": "no spare parts to be had"}
    )
    shop.until(ticket, phase="Discarded")
    shop.until("toy/marble-run", phase="Discarded")


def the_end_of_the_day(shop: Stage) -> None:
    """The end of the day.

    The owner notices a loose wheel and opens a ticket by hand. One more order has come in and
    waits for a decision: that one is yours.
    """
    shop.apply("30-repairticket.yaml", by=AYA)
    shop.until("toy/bobby-car", phase="Damaged")
    shop.apply_for("20-rental-any-train.yaml", customer="you", instead_of="juno")
    shop.until("rental/you-train", phase="Paid")
    shop.kubectl("get", "toyrental", by=AYA)
    shop.kubectl(
        "wait", "dashboard/shop", "--for=jsonpath={.status.rentals.awaitingApproval}=1", by=AYA
    )
    shop.kubectl("get", "dashboards", by=AYA)


def _available(shop: Stage) -> int:
    return sum(toy.phase == "Available" for toy in shop.watch.of("toy"))


def _until_refunded(shop: Stage, rental: str) -> None:
    payment = shop.watch.things[f"rental/{rental}"].status["paymentRef"]["name"]
    shop.until(f"payment/{payment}", phase="Refunded")


def _ticket(shop: Stage, toy: str) -> str:
    """Return the ticket that decides over a toy; the inspection named it by the rental's uid."""
    name = shop.watch.things[f"toy/{toy}"].status["service"]["ticketRef"]["name"]
    return f"repairticket/{name}"


SCENES = (
    a_shop_opens,
    an_order_is_paid_and_approved,
    two_want_one_bike,
    a_card_is_declined,
    a_customer_cancels,
    the_owner_says_no,
    booked_far_ahead,
    the_bike_comes_back,
    a_damaged_toy_is_repaired,
    a_toy_is_beyond_repair,
    the_end_of_the_day,
)
