"""N3: a provider in trouble is left alone, orders go on, and payments follow by themselves."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from urllib.parse import urlsplit

from tests.e2e.business import GATEWAY, Business, message
from tests.support import Shop, eventually, objects
from tests.support.operator import SimulatorProcess
from toyrental.payments.models import CIRCUIT_OPEN, SUSPENDED, Circuit, Payment, PaymentGateway
from toyrental.rentals.models import Rental

OPEN_SECONDS = 15
SETTINGS = {
    "minimumCalls": 3,
    "openSeconds": OPEN_SECONDS,
    "maxOpenSeconds": OPEN_SECONDS,
    "probes": 2,
    "recoveryPerSecond": 2,
}


class Outage:
    """A provider that answers 503 to everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, str]] = []

    def charges_since(self, moment: float) -> int:
        return sum(
            asked >= moment and what == "POST /v1/charges" for asked, what in tuple(self.asked)
        )


@contextmanager
def outage(simulator: SimulatorProcess) -> Iterator[Outage]:
    """Put a provider in trouble in the place of one that is well, until that is well again."""
    found = Outage()

    class Handler(BaseHTTPRequestHandler):
        def _fail(self) -> None:
            found.asked.append((time.monotonic(), f"{self.command} {urlsplit(self.path).path}"))
            self.send_error(503)

        do_GET = do_POST = _fail  # noqa: N815 - the name is http.server's

        def log_message(self, *_: object) -> None:
            return

    port = urlsplit(simulator.url).port
    assert port is not None
    simulator.terminate()
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
        simulator.start()


def opens(shop: Shop, simulator: SimulatorProcess) -> Business:
    """Open a shop with a gateway that soon loses patience."""
    business = Business(shop, simulator)
    shop.create(objects.gateway(GATEWAY, simulator.url, circuitBreaker=SETTINGS))
    shop.create(objects.store(gateway=GATEWAY))
    business.gateway_becomes(Ready="True")
    return business


def test_n3_a_provider_in_trouble_is_left_alone_and_payments_follow(
    shop: Shop, own_simulator: SimulatorProcess
) -> None:
    """Given a provider that fails, then orders are taken, and paid once it is well."""
    business = opens(shop, own_simulator)
    first = [f"first-{n}" for n in range(3)]
    later = [f"later-{n}" for n in range(4)]
    business.registers(*(f"toy-{name}" for name in first + later))
    with outage(own_simulator) as trouble:
        # When the charges of the first orders fail
        orders = [business.takes_order(name, toy=f"toy-{name}") for name in first]
        # Then the circuit opens, and says so
        gateway = business.wait(
            PaymentGateway, GATEWAY, lambda seen: seen.status.circuit is Circuit.OPEN
        )
        opened = time.monotonic()
        assert gateway.status.retry_time is not None
        business.told(GATEWAY, "CircuitOpened", "failed", "tried again at")
        # And orders are taken none the less, toys held, and customers told when they are charged
        for name in later:
            orders.append(business.takes_order(name, toy=f"toy-{name}"))
            rental = business.order_becomes(name, "Reserved", Paid="False/Deferred")
            assert "tried again at" in message(rental, "Paid")
            business.toy_becomes(f"toy-{name}", "Reserved")
            time.sleep(1)
        payments = [shop.get(Payment, order.payment_name) for order in orders[len(first) :]]
        assert all(p.status.failure and p.status.failure.code == CIRCUIT_OPEN for p in payments)
        business.wait(PaymentGateway, GATEWAY, lambda g: g.status.deferred_payments >= len(later))
        # And the provider is called by one probe a spell at most
        time.sleep(OPEN_SECONDS)
        spells = int((time.monotonic() - opened) / OPEN_SECONDS) + 1
        assert trouble.charges_since(opened) <= spells
        untouched = {p.name: p.metadata.resource_version for p in payments[1:]}
        assert {
            p.name: p.metadata.resource_version
            for p in (shop.get(Payment, name) for name in untouched)
        } == untouched
    # When the provider is well again, then all is paid without anyone's help, each once
    for order in orders:
        business.order_becomes(order.name, "Paid")
    gateway = business.wait(
        PaymentGateway,
        GATEWAY,
        lambda g: g.status.circuit is Circuit.CLOSED and g.status.deferred_payments == 0,
    )
    business.gateway_becomes(Ready="True", Responsive="True")
    business.told(GATEWAY, "CircuitHalfOpen")
    business.told(GATEWAY, "CircuitClosed", "answers again")
    charged = [len(business.books(order).charges) for order in orders]
    assert charged == [1] * len(orders)
    # And those who waited in line all along went in the order they came
    books = reversed(own_simulator.ledger().charges)
    names = {order.uid: order.name for order in orders}
    in_turn = [names[c["rentalUID"]] for c in books if names[c["rentalUID"]] in later[1:]]
    assert all(earlier < afterwards for earlier, afterwards in pairwise(in_turn))


def test_a_suspended_gateway_is_not_called_and_orders_go_on(
    shop: Shop, own_simulator: SimulatorProcess
) -> None:
    """Given a gateway that its owner suspends, then payments wait until that is undone."""
    business = opens(shop, own_simulator)
    business.registers("bear")
    shop.patch(PaymentGateway, GATEWAY, spec={"suspended": True})
    gateway = business.gateway_becomes(Ready="False/Suspended")
    assert gateway.status.circuit is Circuit.OPEN
    order = business.takes_order(toy="bear")
    business.order_becomes("order", "Reserved", Paid="False/Deferred")
    business.toy_becomes("bear", "Reserved")
    payment = shop.get(Payment, order.payment_name)
    assert payment.status.failure is not None
    assert payment.status.failure.code == SUSPENDED
    business.never_charged(order)
    shop.patch(PaymentGateway, GATEWAY, spec={"suspended": False})
    business.order_becomes("order", "Paid")
    business.gateway_becomes(Ready="True")
    eventually(lambda: len(business.books(order).charges) == 1, within=10)
    assert shop.get(Rental, "order").status.phase is not None
