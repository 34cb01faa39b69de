"""What the system must do, by the ids of the design, for people with no more rights than they need.

Each test reads: given what there is, when somebody does something, then this comes of it.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from dev.cluster import Cluster
from tests.e2e.business import DECLINED, PATIENCE, Business, message
from tests.e2e.conftest import check_all
from tests.support import Refused, Shop, can, eventually, objects
from tests.support.operator import OperatorProcess, SimulatorProcess
from toyrental.cli.run import CONTEXTS
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import Toy

ALL = "rentals toys stores payments paymentgateways repairtickets"
LOOK = (can("get list watch", ALL), can("get list watch", "events"))


@dataclass(frozen=True)
class People:
    """A shop as each of its people sees it."""

    customer: Business
    owner: Business
    repairer: Business


@pytest.fixture
def people(shop: Shop, simulator: SimulatorProcess) -> People:
    """Give a shop that takes payments and has three toys, and its people."""
    Business(shop, simulator).opens()
    customer = shop.person("mina", *LOOK, can("create patch", "rentals"))
    owner = shop.person(
        "owner",
        *LOOK,
        can("create patch delete", "rentals toys repairtickets"),
        can("approve inspect", "rentals"),
    )
    repairer = shop.person("joon", *LOOK, can("patch repair discard", "repairtickets"))
    people = People(
        Business(customer, simulator, customer=customer.api.who_am_i()),
        Business(owner, simulator),
        Business(repairer, simulator),
    )
    people.owner.registers("bear", "boat", "blocks")
    return people


def test_r1_a_customer_orders_a_toy(people: People, cluster: Cluster) -> None:
    """Given toys, when a customer applies a file with an order, then it is taken and shown."""
    shop = people.customer.shop.name
    applied = cluster.run_kubectl(
        "apply",
        "--filename=-",
        f"--namespace={shop}",
        f"--as=system:serviceaccount:{shop}:mina",
        stdin=f"""
            apiVersion: toyrental.dev/v1alpha1
            kind: Rental
            metadata: {{name: birthday}}
            spec:
              customer: {people.customer.customer}
              toyRef: {{name: bear}}
              period: {{days: 3}}
              paymentMethod: pm_card_visa
        """,
    )
    assert applied.split() == ["rental.toyrental.dev/birthday", "created"]
    people.customer.order_becomes("birthday", "Paid")
    header, row = cluster.run_kubectl("get", "rentals", f"--namespace={shop}").splitlines()
    assert header.split() == ["NAME", "CUSTOMER", "TOY", "PHASE", "DUE", "REASON", "AGE"]
    name, customer, toy, phase, due, reason, _age = row.split()
    assert (name, customer, toy, phase, reason) == (
        "birthday",
        people.customer.customer,
        "bear",
        "Paid",
        "AwaitingDecision",
    )
    assert due.endswith("Z")


def test_r2_the_order_is_paid(people: People) -> None:
    """Given an order, when a toy is booked for it, then its price is charged, once."""
    rental = people.customer.takes_paid_order("order", toy="bear", days=2)
    (charge,) = people.owner.books(rental).charges
    assert (charge["amount"], charge["currency"]) == (6000, "KRW")
    assert charge["rentalUID"] == rental.uid
    people.owner.payment_becomes(rental, "Captured")


@pytest.mark.parametrize("decision", ["Approved", "Denied"])
def test_r2b_an_unpaid_order_can_be_neither_approved_nor_denied(
    people: People, decision: str
) -> None:
    """Given an order whose card was declined, when the owner decides on it, then that is refused.

    Nor is it shown to the store for approval.
    """
    people.customer.takes_order("order", toy="bear", method=DECLINED)
    people.customer.order_becomes(
        "order", "Reserved", Paid="False/Declined", Approved="Unknown/AwaitingPayment"
    )
    with pytest.raises(Refused, match=r"no payment, no transaction.*once it is paid"):
        people.owner.shop.patch(Rental, "order", spec={"approval": {"decision": decision}})
    assert _on_the_owners_desk(people) == []


def test_r2b_an_order_cannot_be_made_approved(people: People) -> None:
    """Given nothing, when somebody creates an order that is approved, then that is refused."""
    approval = {"decision": "Approved"}
    with pytest.raises(Refused, match="no payment, no transaction"):
        people.customer.takes_order("order", toy="bear", approval=approval)


def test_r2b_a_cancelled_order_cannot_be_approved(people: People) -> None:
    """Given a paid order that was cancelled, when the owner approves it, then that is refused."""
    people.customer.takes_paid_order("order", toy="bear")
    people.customer.cancels()
    people.customer.order_becomes("order", "Cancelled")
    with pytest.raises(Refused, match=r"either cancelled or approved|has ended"):
        people.owner.approves()


def test_r2b_an_approved_order_cannot_be_cancelled(people: People) -> None:
    """Given an approved order, when the customer cancels it, then that is refused."""
    people.customer.takes_paid_order("order", toy="bear")
    people.owner.approves()
    with pytest.raises(Refused, match="desiredState: Returned"):
        people.customer.cancels()
    people.owner.order_becomes("order", "Rented")


def test_r3_a_paid_order_reaches_the_store(people: People) -> None:
    """Given an order, when it is paid, then the owner finds it waiting for a decision."""
    assert _on_the_owners_desk(people) == []
    people.customer.takes_order("order", toy="bear")
    rental = people.owner.order_becomes("order", "Paid", Approved="Unknown/AwaitingDecision")
    assert "waits for the store's decision" in message(rental, "Approved")
    assert _on_the_owners_desk(people) == ["order"]
    people.owner.told("order", "Paid", "waits for the store's decision")


def test_r4_the_owner_approves_an_order(people: People) -> None:
    """Given a paid order, when the owner approves it, then the customer gets the toy."""
    people.customer.takes_paid_order("order", toy="bear")
    people.owner.approves()
    people.customer.order_becomes("order", "Rented", Approved="True/Approved")
    people.owner.toy_becomes("bear", "Rented")


def test_r4_the_owner_denies_an_order(people: People) -> None:
    """Given a paid order, when the owner denies it, then it ends, and the customer reads why."""
    people.customer.takes_paid_order("order", toy="bear")
    people.owner.denies("order", "The bear is in the wash")
    rental = people.customer.order_becomes("order", "Rejected", Approved="False/Denied")
    assert "The bear is in the wash." in message(rental, "Ready")


@pytest.mark.parametrize("phase", ["Pending", "Reserved", "Paid"])
def test_r5_the_customer_cancels_until_it_is_approved(people: People, phase: str) -> None:
    """Given an order that waits, when the customer cancels it, then it ends as they wanted."""
    order = {
        "Pending": {"toy": "puzzle"},
        "Reserved": {"toy": "bear", "method": DECLINED},
        "Paid": {"toy": "bear"},
    }
    people.customer.takes_order("order", **order[phase])
    people.customer.order_becomes("order", phase)
    people.customer.cancels()
    people.customer.order_becomes("order", "Cancelled", Ready="True/Cancelled")


def test_r6_the_payment_goes_back_with_the_order(people: People) -> None:
    """Given paid orders, when one is cancelled and one denied, then both are refunded, once."""
    cancelled = people.customer.takes_paid_order("cancelled", toy="bear")
    denied = people.customer.takes_paid_order("denied", toy="boat")
    people.customer.cancels("cancelled")
    people.owner.denies("denied")
    people.customer.order_becomes("cancelled", "Cancelled")
    people.customer.order_becomes("denied", "Rejected")
    people.owner.paid_back(cancelled)
    people.owner.paid_back(denied)


def test_r7_the_store_is_told_of_a_cancellation(people: People) -> None:
    """Given a paid order on the owner's desk, when it is cancelled, then it leaves the desk.

    The owner is told, and the toy can be rented again.
    """
    people.customer.takes_paid_order("order", toy="bear")
    assert _on_the_owners_desk(people) == ["order"]
    people.customer.cancels()
    people.owner.told("order", "Cancelled", "customer cancelled")
    people.owner.order_becomes("order", "Cancelled", Approved="False/Cancelled")
    assert _on_the_owners_desk(people) == []
    people.owner.toy_becomes("bear", "Available")


def test_r8_the_customer_returns_the_toy(people: People) -> None:
    """Given a customer with a toy, when they return it, then the order says so."""
    people.customer.takes_paid_order("order", toy="bear")
    with pytest.raises(Refused, match="can be returned once the order is approved"):
        people.customer.returns()
    people.owner.approves()
    people.customer.order_becomes("order", "Rented", Returned="False/WithCustomer")
    people.customer.returns()
    people.customer.order_becomes("order", "Returned", Returned="True/Returned")


def test_r9_the_store_is_told_of_a_return(people: People) -> None:
    """Given a rented toy, when it is returned, then the owner finds it waiting for inspection."""
    _rent(people)
    people.customer.returns()
    people.owner.order_becomes("order", "Returned", Inspected="Unknown/AwaitingInspection")
    people.owner.toy_becomes("bear", "Returned")
    people.owner.told("order", "Returned", "inspection")


def test_r10_the_owner_sees_the_stock_and_its_state_at_all_times(
    people: People, cluster: Cluster
) -> None:
    """Given toys, when anything happens to them, then `kubectl get` shows their state and why."""
    shop = people.owner.shop.name

    def stock() -> dict[str, str]:
        shown = cluster.run_kubectl("get", "toys", f"--namespace={shop}")
        header, *rows = (line.split() for line in shown.splitlines())
        assert header[:3] == ["NAME", "TITLE", "PHASE"]
        return {row[0]: row[2] for row in rows}

    assert stock() == {"bear": "Available", "boat": "Available", "blocks": "Available"}
    people.customer.takes_paid_order("order", toy="bear")
    assert stock()["bear"] == "Reserved"
    people.owner.approves()
    people.owner.order_becomes("order", "Rented")
    assert stock()["bear"] == "Rented"
    people.customer.returns()
    assert stock()["bear"] == "Returned"
    people.owner.inspects("order", "Damaged")
    rental = people.owner.order_becomes("order", "Completed")
    people.owner.opens_ticket("hole", toy="boat")
    people.owner.toy_becomes("boat", "Damaged")
    people.repairer.assigns("hole")
    people.owner.toy_becomes("boat", "InRepair")
    people.owner.shop.patch(Toy, "blocks", spec={"availability": "Withdrawn"})
    people.owner.toy_becomes("blocks", "Withdrawn")
    assert stock() == {"bear": "Damaged", "boat": "InRepair", "blocks": "Withdrawn"}
    people.repairer.resolves(rental.uid, "Discarded")
    people.owner.toy_becomes("bear", "Discarded")
    assert stock()["bear"] == "Discarded"

    found = people.owner.shop.find(Toy, fields="status.phase=InRepair")
    assert [toy.name for toy in found] == ["boat"]
    everything = cluster.run_kubectl("get", "toyrental", f"--namespace={shop}", "--output=name")
    kinds = {line.split(".")[0] for line in everything.split()}
    assert kinds >= {"toy", "rental", "payment", "store", "paymentgateway", "repairticket"}
    wide = cluster.run_kubectl("get", "toys", f"--namespace={shop}", "--output=wide")
    assert rental.uid in wide


def test_r11_the_owner_registers_stock(people: People, cluster: Cluster) -> None:
    """Given a shop, when the owner applies a file with a toy, then it can be rented."""
    shop = people.owner.shop.name
    cluster.run_kubectl(
        "apply",
        "--server-side",
        "--filename=-",
        f"--namespace={shop}",
        f"--as=system:serviceaccount:{shop}:owner",
        stdin="""
            apiVersion: toyrental.dev/v1alpha1
            kind: Toy
            metadata: {name: train}
            spec:
              title: Wooden train
              category: trains
              dailyRate: {currency: KRW, minorUnits: 4000}
              parts: [{name: waggon, count: 5}]
        """,
    )
    people.owner.toy_becomes("train", "Available", Ready="True/InStock")
    waited = cluster.run_kubectl(
        "wait", "--for=condition=Ready", "toy/train", f"--namespace={shop}", "--timeout=30s"
    )
    assert "condition met" in waited
    people.customer.takes_paid_order("order", toy="train")


def test_r12_the_owner_requests_repair_of_a_damaged_toy(people: People) -> None:
    """Given a toy that came back, when the owner finds it damaged, then a repair is asked for."""
    rental = _rent(people)
    people.customer.returns()
    people.owner.inspects("order", "Damaged", notes="The seam has come undone")
    ticket = people.repairer.ticket_becomes(rental.uid, "Open", Ready="False/AwaitingAssignee")
    assert ticket.spec.toy_ref.name == "bear"
    assert "The seam has come undone" in ticket.spec.description
    people.repairer.toy_becomes("bear", "Damaged", InService="False/Damaged")


def test_r13_the_owner_confirms_a_return(people: People) -> None:
    """Given a toy that came back, when the owner accepts it, then the order is completed."""
    _rent(people)
    with pytest.raises(Refused, match="inspected once the customer has returned it"):
        people.owner.inspects()
    people.customer.returns()
    people.owner.inspects()
    people.owner.order_becomes("order", "Completed", Inspected="True/Accepted", Ready="True")
    toy = people.owner.toy_becomes("bear", "Available")
    assert toy.status.completed_rentals == 1
    with pytest.raises(Refused, match="inspection is final"):
        people.owner.inspects("order", "Damaged")


def test_r14_the_repairer_repairs_a_toy(people: People) -> None:
    """Given a damaged toy, when the repairer takes it on and repairs it, then the ticket ends."""
    people.owner.opens_ticket("ticket", toy="bear", description="One ear is loose")
    people.repairer.ticket_becomes("ticket", "Open", Accepted="True")
    people.repairer.assigns("ticket")
    people.repairer.ticket_becomes("ticket", "InRepair")
    people.repairer.resolves("ticket", "Repaired")
    people.repairer.ticket_becomes("ticket", "Repaired", Ready="True/Repaired")
    with pytest.raises(Refused, match="final"):
        people.repairer.resolves("ticket", "Discarded")


def test_r15_the_store_is_told_of_a_repair(people: People) -> None:
    """Given a toy in repair, when it is repaired, then the owner is told; it can be rented."""
    people.owner.opens_ticket("ticket", toy="bear")
    people.owner.toy_becomes("bear", "Damaged")
    people.customer.takes_order("order", toy="bear")
    people.customer.order_becomes("order", "Pending", Booked="False/NoToyAvailable")
    people.repairer.resolves("ticket", "Repaired")
    people.owner.told("bear", "Repaired", "can be rented again")
    people.owner.wait(Toy, "bear", lambda toy: toy.in_service)
    people.customer.order_becomes("order", "Paid")


def test_r16_the_repairer_discards_a_toy(people: People) -> None:
    """Given a damaged toy, when the repairer gives it up, then ticket and toy say so."""
    people.owner.opens_ticket("ticket", toy="bear")
    people.owner.toy_becomes("bear", "Damaged")
    people.repairer.resolves("ticket", "Discarded")
    people.repairer.ticket_becomes("ticket", "Discarded", Ready="True/Discarded")
    people.repairer.toy_becomes("bear", "Discarded")


def test_r17_the_store_is_told_of_a_discard_and_the_toy_is_gone_for_good(
    people: People, shop: Shop
) -> None:
    """Given a toy, when it was discarded, then the owner is told, and nothing brings it back."""
    people.owner.opens_ticket("ticket", toy="bear")
    people.repairer.resolves("ticket", "Discarded")
    people.owner.told("bear", "Discarded", "out of stock for good")
    people.owner.toy_becomes("bear", "Discarded", InService="False/Discarded")
    people.customer.takes_order("order", toy="bear")
    people.customer.order_becomes("order", "Pending", Booked="False/ToyNotFound")
    with pytest.raises(Refused, match="out of stock for good"):
        shop.set_status(Toy, "bear", service={"state": "InService"})
    people.owner.opens_ticket("another", toy="bear")
    people.repairer.resolves("another", "Repaired")
    people.owner.ticket_becomes("another", "Open", Accepted="False/ToyDiscarded")
    assert people.owner.shop.get(Toy, "bear").status.phase == "Discarded"


# --- N2: orders are taken around the clock, whatever is down, and nothing is lost or done twice ---

TOYS = ("bear", "boat", "blocks", "ball")


@pytest.mark.parametrize("part", CONTEXTS)
def test_n2_orders_are_taken_while_a_part_is_down(
    part: str,
    cluster: Cluster,
    own_shop: Shop,
    own_simulator: SimulatorProcess,
    tmp_path: Path,
) -> None:
    """Given a part is down, when people go on with what they do, then it is taken, and done later.

    What does not need the part is done at once.
    """
    business = Business(own_shop, own_simulator)
    running = [context for context in CONTEXTS if context != part]
    shop = [own_shop.name]
    with OperatorProcess(cluster, tmp_path, namespaces=shop, contexts=running, name="others"):
        business.opens()
        for toy in TOYS:
            own_shop.create(objects.toy(toy))
        orders = [business.takes_order(toy, toy=toy) for toy in TOYS[1:]]
        business.takes_order("bear", toy="bear", method=DECLINED)
        {
            "rentals": _while_rentals_are_down,
            "stores": _while_stores_are_down,
            "repairs": _while_repairs_are_down,
            "payments": _while_payments_are_down,
            "dashboards": _while_dashboards_are_down,
        }[part](business)
        with OperatorProcess(cluster, tmp_path, namespaces=shop, contexts=[part], name=part):
            business.order_becomes("bear", "Reserved", Paid="False/Declined")
            business.pays_with("pm_card_visa", "bear")
            business.order_becomes("bear", "Paid")
            business.order_becomes("ball", "Cancelled")
            business.wait(Rental, "boat", lambda r: r.phase in {"Paid", "Completed"})
            business.wait(Rental, "blocks", lambda r: r.phase in {"Paid", "Rented"})
            check_all(own_shop)
            _nothing_is_lost_or_charged_twice(business, orders)


def _while_rentals_are_down(business: Business) -> None:
    """Orders and cancellations are kept, and payments under way are not touched."""
    business.cancels("ball")
    for toy in TOYS:
        assert business.shop.get(Rental, toy).status.phase is None
    business.toy_becomes("boat", "Available")


def _while_stores_are_down(business: Business) -> None:
    """Orders are paid, approved and handed over all the same."""
    business.order_becomes("boat", "Paid")
    business.order_becomes("blocks", "Paid")
    business.approves("blocks")
    business.order_becomes("blocks", "Rented")
    business.cancels("ball")
    business.order_becomes("ball", "Cancelled")


def _while_repairs_are_down(business: Business) -> None:
    """A damaged toy is taken off the shelf, and its ticket waits for the repairers."""
    business.order_becomes("boat", "Paid")
    business.approves("boat")
    business.order_becomes("boat", "Rented")
    rental = business.gets_back("boat", "Damaged")
    business.toy_becomes("boat", "Damaged")
    assert business.shop.get(RepairTicket, rental.uid).status.phase is None
    business.resolves(rental.uid, "Repaired")
    business.cancels("ball")
    business.order_becomes("ball", "Cancelled")


def _while_dashboards_are_down(business: Business) -> None:
    """Nobody needs them: everything else goes on."""
    business.order_becomes("boat", "Paid")
    business.order_becomes("blocks", "Paid")
    business.cancels("ball")
    business.order_becomes("ball", "Cancelled")


def _while_payments_are_down(business: Business) -> None:
    """Orders keep their toys, customers are told, and may cancel."""
    business.order_becomes("boat", "Reserved", Booked="True", Paid="Unknown/AwaitingPayment")
    business.cancels("ball")
    business.order_becomes("ball", "Cancelled")
    boat = business.order_becomes("boat", "Reserved", Paid="False/Deferred")
    assert "paid as soon as they are" in message(boat, "Paid")
    business.never_charged(boat)


def test_n2_orders_are_taken_while_the_whole_operator_is_down(
    cluster: Cluster, own_shop: Shop, own_simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Given nothing of the operator runs, when people go on, then all of it is caught up with."""
    business = Business(own_shop, own_simulator)
    with OperatorProcess(cluster, tmp_path, namespaces=[own_shop.name]) as operator:
        business.opens()
        business.registers(*TOYS)
        orders = [business.takes_paid_order(toy, toy=toy) for toy in TOYS[:3]]
        operator.kill()
        business.approves("bear")
        business.cancels("boat")
        business.denies("blocks")
        orders.append(business.takes_order("ball", toy="ball"))
        orders.append(business.takes_order("boat-again", toy="boat"))
        with pytest.raises(Refused, match="no payment, no transaction"):
            business.approves("ball")
        operator.start()
        business.order_becomes("bear", "Rented")
        business.order_becomes("boat", "Cancelled")
        business.order_becomes("blocks", "Rejected")
        business.order_becomes("ball", "Paid")
        business.order_becomes("boat-again", "Paid")
        for order in orders[1:3]:
            business.paid_back(order)
        check_all(own_shop)
        _nothing_is_lost_or_charged_twice(business, orders)


def test_n2_orders_are_taken_while_the_payment_provider_is_down(
    shop: Shop, own_simulator: SimulatorProcess
) -> None:
    """Given the provider is down, when customers order, then they pay when it is back."""
    business = Business(shop, own_simulator)
    business.opens()
    business.registers(*TOYS)
    business.hands_over("bear", toy="bear")
    own_simulator.kill()
    orders = [business.takes_order(toy, toy=toy) for toy in TOYS[1:]]
    for order in orders:
        business.order_becomes(order.name, "Reserved", Booked="True", Paid="False/Deferred")
    business.gets_back("bear")
    own_simulator.start()
    for order in orders:
        business.order_becomes(order.name, "Paid")
    _nothing_is_lost_or_charged_twice(business, orders)


def _nothing_is_lost_or_charged_twice(business: Business, orders: list[Rental]) -> None:
    """Compare the books with the orders: each is charged once, and only for what came about."""

    def settled() -> bool:
        for order in orders:
            phase = business.shop.get(Rental, order.name).phase
            books = business.books(order)
            assert len(books.charges) <= 1
            kept = 0 if phase in {"Cancelled", "Rejected"} else 9000
            assert books.taken - books.given_back == kept, (order.name, phase)
        return True

    eventually(settled, within=PATIENCE)


def _rent(people: People) -> Rental:
    people.customer.takes_paid_order("order", toy="bear")
    people.owner.approves()
    return people.customer.order_becomes("order", "Rented")


def _on_the_owners_desk(people: People) -> list[str]:
    """Return which orders the store is shown for a decision."""
    return [rental.name for rental in people.owner.shop.find(Rental, fields="status.phase=Paid")]
