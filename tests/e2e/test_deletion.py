"""Deleting things: history costs nothing, what is live is settled first, nothing hangs."""

from pathlib import Path

from dev.cluster import Cluster
from tests.e2e.business import DECLINED, GATEWAY, PATIENCE, Business, message
from tests.support import Refused, Shop, eventually, objects
from tests.support.operator import OperatorProcess, SimulatorProcess
from toyrental.payments.models import SETTLE, Payment, PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.stores.models import Toy

NOT_FOUND = 404
KEY = "sk_canary_deletion_5f2e"


def test_pruning_a_completed_rental_gives_no_money_back(business: Business) -> None:
    business.registers("bear")
    rental = business.hands_over("order", toy="bear")
    business.gets_back()
    business.shop.delete(Rental, "order")
    business.shop.gone(Rental, "order", within=PATIENCE)
    business.shop.gone(Payment, rental.payment_name, within=PATIENCE)
    business.takes_paid_order("next", toy="bear")
    books = business.books(rental)
    assert len(books.charges) == 1
    assert books.refunds == []


def test_deleting_a_paid_rental_frees_the_toy_and_gives_the_money_back(business: Business) -> None:
    business.registers("bear")
    rental = business.takes_paid_order("order", toy="bear")
    business.shop.delete(Rental, "order")
    business.toy_becomes("bear", "Available")
    business.told("bear", "BookingReleased", "order")
    business.shop.gone(Payment, rental.payment_name, within=PATIENCE)
    books = business.books(rental)
    assert books.given_back == books.taken == 9000


def test_deleting_a_rental_whose_toy_is_out_ends_both(business: Business) -> None:
    business.registers("bear")
    rental = business.hands_over("order", toy="bear")
    business.shop.delete(Rental, "order")
    business.toy_becomes("bear", "Available")
    business.shop.gone(Payment, rental.payment_name, within=PATIENCE)
    books = business.books(rental)
    assert books.given_back == books.taken == 9000


def test_a_rental_that_is_deleted_and_ordered_again_is_another_one(business: Business) -> None:
    business.registers("bear")
    first = business.takes_paid_order("order", toy="bear")
    business.shop.delete(Rental, "order")
    second = business.takes_order("order", toy="bear")
    assert second.uid != first.uid
    business.order_becomes("order", "Paid")
    (booking,) = business.toy_becomes("bear", "Reserved").status.bookings
    assert booking.rental_uid == second.uid
    business.shop.gone(Payment, first.payment_name, within=PATIENCE)
    books = business.books(first)
    assert books.given_back == books.taken == 9000
    assert len(business.books(second).charges) == 1
    assert business.books(second).refunds == []


def test_deleting_a_live_payment_gives_it_back_and_ends_the_order(business: Business) -> None:
    business.registers("bear")
    rental = business.takes_paid_order("order", toy="bear")
    business.shop.delete(Payment, rental.payment_name)
    business.order_becomes("order", "Rejected", Ready="False/PaymentWithdrawn")
    business.shop.gone(Payment, rental.payment_name, within=PATIENCE)
    books = business.books(rental)
    assert books.given_back == books.taken == 9000
    business.toy_becomes("bear", "Available")
    business.told("order", "Rejected", "withdrawn", "given back")


def test_calling_a_payment_off_ends_the_order(business: Business) -> None:
    business.registers("bear")
    rental = business.takes_paid_order("order", toy="bear")
    business.shop.patch(Payment, rental.payment_name, spec={"refundMinorUnits": 9000})
    business.order_becomes("order", "Rejected", Ready="False/PaymentWithdrawn")
    business.paid_back(rental)


def test_part_of_a_payment_can_be_given_back(business: Business) -> None:
    business.registers("bear")
    rental = business.hands_over("order", toy="bear")
    business.shop.patch(Payment, rental.payment_name, spec={"refundMinorUnits": 2000})
    payment = business.payment_becomes(rental, "PartiallyRefunded", Refunded="True", Ready="True")
    business.told(payment.name, "PartiallyRefunded", "9,000 KRW", "2,000 KRW")
    business.gets_back()
    assert business.books(rental).given_back == 2000
    business.shop.patch(Payment, rental.payment_name, spec={"refundMinorUnits": 9000})
    business.payment_becomes(rental, "Refunded")
    steps = {r["idempotencyKey"]: r["amount"] for r in business.books(rental).refunds}
    assert steps == {f"{payment.uid}:refund:1": 2000, f"{payment.uid}:refund:2": 7000}


def test_a_payment_in_the_way_of_an_orders_own_is_said_to_be(business: Business) -> None:
    rental = business.takes_order("order", toy="bear")
    business.order_becomes("order", "Pending", Booked="False/ToyNotFound")
    others = business.takes_order("others", toy="lion")
    business.shop.create(
        objects.payment(rental.payment_name, rental=others, amount=0, gatewayRef=None)
    )
    business.payment_becomes(rental, "Captured")
    business.registers("bear")
    stuck = business.order_becomes(
        "order", "Reserved", Paid="False/PaymentConflict", Stalled="True"
    )
    assert rental.payment_name in message(stuck, "Ready")
    business.told("order", "Reserved", "is not this order's")
    business.shop.delete(Payment, rental.payment_name)
    business.order_becomes("order", "Paid")
    assert len(business.books(rental).charges) == 1


def test_an_order_waits_for_a_toy_that_was_deleted(business: Business) -> None:
    business.registers("bear")
    rental = business.takes_paid_order("order", toy="bear")
    business.shop.delete(Toy, "bear")
    business.order_becomes("order", "Paid", Booked="False/ToyNotFound", Ready="False/ToyNotFound")
    business.registers("bear")
    business.order_becomes("order", "Paid", Booked="True/Booked")
    business.approves()
    business.order_becomes("order", "Rented")
    assert len(business.books(rental).charges) == 1


def test_a_gateway_stays_until_its_payments_are_settled(business: Business) -> None:
    business.registers("bear")
    rental = business.hands_over("order", toy="bear")
    business.shop.delete(PaymentGateway, "simulator")
    business.gets_back()
    business.shop.gone(PaymentGateway, "simulator", within=PATIENCE)
    assert SETTLE not in business.shop.get(Payment, rental.payment_name).metadata.finalizers


def test_a_whole_shop_can_be_deleted(business: Business) -> None:
    business.registers("bear", "lion", "owl", "fox")
    rented = business.hands_over("rented", toy="bear")
    paid = business.takes_paid_order("paid", toy="lion")
    business.hands_over("done", toy="owl")
    completed = business.gets_back("done", "Damaged")
    business.takes_order("declined", toy="fox", method=DECLINED)
    business.order_becomes("declined", "Reserved", Paid="False/Declined")
    business.takes_order("waiting", toy="fox")
    business.order_becomes("waiting", "Pending", Booked="False")

    admin, name = business.shop.api, business.shop.name
    admin.delete("Namespace", name)
    is_gone(business.shop)
    for rental, back in ((rented, 9000), (paid, 9000), (completed, 0)):
        books = business.books(rental)
        assert (books.taken, books.given_back) == (9000, back)
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    business.shop.create(objects.toy("bear"))
    business.toy_becomes("bear", "Available")


def is_gone(shop: Shop) -> None:
    """Wait until a whole namespace is gone."""

    def gone() -> bool:
        try:
            shop.api.get("Namespace", shop.name)
        except Refused as refused:
            return refused.status == NOT_FOUND
        return False

    def explain() -> str:
        return str(shop.api.get("Namespace", shop.name)["status"])

    eventually(gone, within=PATIENCE, explain=explain)


def test_a_shop_deleted_with_money_that_cannot_go_back_says_what_a_person_must_do(
    cluster: Cluster, own_shop: Shop, tmp_path: Path
) -> None:
    """R6: Given a shop that goes with its Secret, and a provider that is down, then all ends."""
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    with (
        SimulatorProcess(tmp_path, f"--api-key-file={keys}") as simulator,
        OperatorProcess(cluster, tmp_path, namespaces=[own_shop.name]) as operator,
    ):
        # Given a paid order, by credentials that are in a Secret of the shop
        business = Business(own_shop, simulator)
        own_shop.secret("till", {"key": KEY})
        till = {"endpoint": simulator.url, "secretRef": {"name": "till", "key": "key"}}
        own_shop.create(objects.gateway(GATEWAY, "", simulator=till, patienceSeconds=3))
        own_shop.create(objects.store(gateway=GATEWAY))
        business.registers("bear")
        rental = business.takes_paid_order("order", toy="bear")
        # When the provider is down, the whole shop is deleted, and the operator starts anew
        operator.kill()
        simulator.kill()
        own_shop.api.delete("Namespace", own_shop.name)
        eventually(lambda: not own_shop.api.find("Secret", own_shop.name), within=PATIENCE)
        operator.start()
        # Then the payment says soon that it will not end by itself, and what to do
        stuck = business.payment_becomes(rental, "Captured", Stalled="True/Unresolved")
        assert message(stuck, "Stalled") == message(stuck, "Ready")
        assert "settle it at the provider by hand, then remove " + SETTLE in message(stuck, "Ready")
        assert KEY not in operator.log
        # And when a person has done so, then the shop is gone
        own_shop.patch(Payment, stuck.name, metadata={"finalizers": None})
        is_gone(own_shop)
        simulator.start()
        books = business.books(rental)
        assert (books.taken, books.given_back) == (9000, 0)
    cluster_shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": own_shop.name}}
    own_shop.api.create(cluster_shop)
