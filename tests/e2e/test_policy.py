"""The shop's policy and its gateway: paused, half set up, wrongly set up, unreachable."""

from pathlib import Path

from dev.cluster import Cluster
from tests.e2e.business import Business, message, now
from tests.e2e.conftest import check_all
from tests.support import Shop, objects
from tests.support.objects import time
from tests.support.operator import OperatorProcess, SimulatorProcess
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.stores.models import Toy


def test_while_orders_are_paused_new_ones_wait_and_others_go_on(business: Business) -> None:
    business.registers("bear", "lion")
    business.takes_paid_order("earlier", toy="bear")
    business.changes_its_policy(orders="Paused")
    business.takes_order("new", toy="lion")
    new = business.order_becomes("new", "Pending", Booked="False/OrdersPaused", Reconciling="True")
    assert "paused" in message(new, "Ready")
    business.approves("earlier")
    business.order_becomes("earlier", "Rented")
    assert business.shop.get(Rental, "new").phase == "Pending"
    business.changes_its_policy(orders="Accepted")
    business.order_becomes("new", "Paid")


def test_a_shop_without_a_store_rents_what_is_free_and_says_what_it_lacks(
    shop: Shop, simulator: SimulatorProcess
) -> None:
    business = Business(shop, simulator)
    business.registers("bear")
    business.registers("pebble", rate=0)
    business.takes_order("dear", toy="bear")
    dear = business.order_becomes(
        "dear", "Pending", Booked="False/NoPaymentGateway", Stalled="True/NoPaymentGateway"
    )
    assert "Store default" in message(dear, "Ready")
    business.told("dear", "NoPaymentGateway", "paymentGatewayRef")
    business.hands_over("free", toy="pebble")

    business.opens()
    business.order_becomes("dear", "Paid")


def test_a_store_without_a_gateway_says_so(shop: Shop, simulator: SimulatorProcess) -> None:
    business = Business(shop, simulator)
    shop.create(objects.store())
    business.store_becomes(Ready="False/NoPaymentGateway", Stalled="True/NoPaymentGateway")
    business.registers("bear")
    business.takes_order("order", toy="bear")
    business.order_becomes("order", "Pending", Booked="False/NoPaymentGateway")
    shop.create(objects.gateway("simulator", simulator.url))
    business.changes_its_policy(paymentGatewayRef={"name": "simulator"})
    business.store_becomes(Ready="True/Open")
    business.order_becomes("order", "Paid")


def test_an_order_waits_for_a_gateway_that_is_yet_to_be_made(
    shop: Shop, simulator: SimulatorProcess
) -> None:
    business = Business(shop, simulator)
    shop.create(objects.store(gateway="simulator"))
    business.store_becomes(Ready="False/PaymentGatewayNotFound", Stalled="True")
    business.registers("bear")
    business.takes_order("order", toy="bear")
    order = business.order_becomes("order", "Reserved", Paid="False/Deferred", Reconciling="True")
    assert "there is no PaymentGateway simulator" in message(order, "Paid")
    business.payment_becomes(order, "Deferred", Captured="Unknown/GatewayUnusable")
    shop.create(objects.gateway("simulator", simulator.url))
    business.gateway_becomes(Ready="True", Responsive="True")
    business.order_becomes("order", "Paid")
    business.store_becomes(Ready="True/Open")


def test_a_toy_in_another_currency_is_not_rented_until_it_is_corrected(business: Business) -> None:
    euros = {"currency": "EUR", "minorUnits": 250}
    business.registers("bear", dailyRate=euros)
    business.takes_order("order", toy="bear")
    order = business.order_becomes("order", "Pending", Booked="False/CurrencyMismatch")
    assert "KRW" in message(order, "Ready")
    business.shop.patch(Toy, "bear", spec={"dailyRate": {"currency": "KRW"}})
    business.order_becomes("order", "Paid")


def test_a_withdrawn_toy_gets_no_new_booking_and_keeps_those_it_has(business: Business) -> None:
    business.registers("bear")
    business.takes_paid_order("before", toy="bear")
    business.shop.patch(Toy, "bear", spec={"availability": "Withdrawn"})
    business.takes_order("after", toy="bear", days=1, start=now())
    business.order_becomes("after", "Pending", Booked="False/NoToyAvailable")
    business.approves("before")
    business.order_becomes("before", "Rented")
    business.gets_back("before")
    business.toy_becomes("bear", "Withdrawn")
    assert business.shop.get(Rental, "after").phase == "Pending"
    business.shop.patch(Toy, "bear", spec={"availability": "Offered"})
    business.order_becomes("after", "Paid")


def test_an_order_is_paid_by_itself_when_the_provider_is_back(
    shop: Shop, own_simulator: SimulatorProcess
) -> None:
    business = Business(shop, own_simulator)
    business.registers("bear")
    business.opens()
    business.gateway_becomes(Ready="True/Ready", Responsive="True/Answered")
    own_simulator.kill()
    before = now()
    business.takes_order("order", toy="bear")
    order = business.order_becomes(
        "order", "Reserved", Paid="False/Deferred", Reconciling="True/Deferred"
    )
    payment = business.payment_becomes(order, "Deferred", Captured="Unknown/Deferred")
    assert payment.status.next_attempt_time is not None
    assert payment.status.next_attempt_time > before
    told = business.wait(Rental, "order", lambda r: "tried again at" in message(r, "Paid"))
    assert "cannot be reached" in message(told, "Paid")
    at = message(told, "Paid").split()[-1].rstrip(".")
    assert at >= time(before)
    business.told("order", "Deferred", "tried again at")

    own_simulator.start()
    business.order_becomes("order", "Paid")
    (charge,) = business.books(order).charges
    assert charge["idempotencyKey"] == f"{payment.uid}:charge:1"


def test_a_refund_is_given_once_the_provider_is_back(
    shop: Shop, own_simulator: SimulatorProcess
) -> None:
    business = Business(shop, own_simulator)
    business.registers("bear")
    business.opens()
    order = business.takes_paid_order("order", toy="bear")
    own_simulator.kill()
    business.cancels()
    business.order_becomes("order", "Cancelled")
    business.toy_becomes("bear", "Available")
    payment = business.payment_becomes(
        order, "Captured", Refunded="Unknown/Refunding", Ready="False/Refunding"
    )
    told = business.wait(Payment, payment.name, lambda p: p.status.next_attempt_time)
    assert "tried again" in message(told, "Refunded")
    own_simulator.start()
    business.paid_back(order)


def test_a_gateway_that_may_not_be_called_says_so_until_it_may(
    cluster: Cluster, own_shop: Shop, own_simulator: SimulatorProcess, tmp_path: Path
) -> None:
    business = Business(own_shop, own_simulator)
    elsewhere = "https://payments.example.com/*"
    with OperatorProcess(
        cluster, tmp_path, namespaces=[own_shop.name], gateway_endpoints=elsewhere
    ) as operator:
        business.opens()
        business.registers("bear")
        gateway = business.gateway_becomes(
            Ready="False/EndpointNotAllowed", Stalled="True/EndpointNotAllowed"
        )
        assert own_simulator.url in message(gateway, "Ready")
        assert "--gateway-endpoints" in message(gateway, "Ready")
        business.takes_order("order", toy="bear")
        order = business.order_becomes("order", "Reserved", Paid="False/Deferred")
        assert "--gateway-endpoints" in message(order, "Paid")
        business.told("simulator", "EndpointNotAllowed", own_simulator.url)
        check_all(own_shop)
        assert operator.terminate() == 0
    business.never_charged(order)

    allowed = f"{elsewhere},{own_simulator.url}"
    with OperatorProcess(cluster, tmp_path, namespaces=[own_shop.name], gateway_endpoints=allowed):
        business.gateway_becomes(Ready="True/Ready")
        business.order_becomes("order", "Paid")
        check_all(own_shop)


def test_a_gateway_can_be_pointed_elsewhere(
    shop: Shop, simulator: SimulatorProcess, own_simulator: SimulatorProcess
) -> None:
    business = Business(shop, own_simulator)
    business.registers("bear", "lion")
    business.opens()
    business.takes_paid_order("first", toy="bear")
    change = {"simulator": {"endpoint": simulator.url}}
    shop.patch(PaymentGateway, "simulator", spec=change)
    own_simulator.kill()
    second = business.takes_paid_order("second", toy="lion")
    assert len(simulator.ledger().of(second).charges) == 1
