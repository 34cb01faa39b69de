"""What customers, owners and repairers do, in their own words, on the real API server."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tests.support import Shop, eventually, objects
from tests.support.operator import Ledger, SimulatorProcess
from toyrental.payments.models import Payment, PaymentGateway, PaymentPhase
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairPhase, RepairTicket
from toyrental.shared.resource import Resource
from toyrental.stores.models import Store, Toy, ToyPhase

R = TypeVar("R", bound=Resource)

PATIENCE = 60
"""How long, in seconds, anything may take on a busy machine."""

DECLINED = "pm_card_chargeDeclined"
CHARGED = "pm_card_visa"
GATEWAY = "simulator"


@dataclass(frozen=True)
class Business:
    """A shop, its people, and its payment provider."""

    shop: Shop
    simulator: SimulatorProcess
    customer: str = "mina"

    # --- What there is ---

    def opens(self, **store: Any) -> None:
        """Open the shop, with a gateway to the simulator."""
        self.shop.create(objects.gateway(GATEWAY, self.simulator.url))
        self.shop.create(objects.store(gateway=GATEWAY, **store))

    def changes_its_policy(self, **store: Any) -> None:
        self.shop.patch(Store, "default", spec=store)

    def registers(self, *names: str, **toy: Any) -> None:
        """Register toys, and wait until they are in stock."""
        for name in names:
            self.shop.create(objects.toy(name, **toy))
        for name in names:
            self.wait(Toy, name, lambda toy: toy.status.phase)

    def takes_order(self, name: str = "order", **order: Any) -> Rental:
        """Have a customer order a toy: by default, any."""
        if "toy" not in order:
            order.setdefault("labels", {})
        order.setdefault("customer", self.customer)
        return self.shop.create(objects.rental(name, **order))

    def takes_paid_order(self, name: str = "order", **order: Any) -> Rental:
        """Have a customer order a toy, and pay."""
        self.takes_order(name, **order)
        return self.order_becomes(name, "Paid")

    def hands_over(self, name: str = "order", **order: Any) -> Rental:
        """Have a customer order a toy, pay, and get it."""
        self.takes_paid_order(name, **order)
        self.approves(name)
        return self.order_becomes(name, "Rented")

    # --- What people do ---

    def cancels(self, order: str = "order") -> None:
        self.shop.patch(Rental, order, spec={"desiredState": "Cancelled"})

    def pays_with(self, method: str, order: str = "order") -> None:
        self.shop.patch(Rental, order, spec={"paymentMethod": method})

    def approves(self, order: str = "order") -> None:
        self.shop.patch(Rental, order, spec={"approval": {"decision": "Approved"}})

    def denies(self, order: str = "order", reason: str | None = None) -> None:
        decision = {"decision": "Denied"} | ({"reason": reason} if reason else {})
        self.shop.patch(Rental, order, spec={"approval": decision})

    def returns(self, order: str = "order") -> None:
        """Have the customer bring the toy back; the shop sees it."""
        self.shop.patch(Rental, order, spec={"desiredState": "Returned"})
        self.order_becomes(order, "Returned")

    def inspects(self, order: str = "order", result: str = "Accepted", **inspection: Any) -> None:
        self.shop.patch(Rental, order, spec={"inspection": {"result": result} | inspection})

    def gets_back(self, order: str = "order", result: str = "Accepted") -> Rental:
        """Have the toy returned and inspected."""
        self.returns(order)
        self.inspects(order, result)
        return self.order_becomes(order, "Completed")

    def opens_ticket(self, name: str = "ticket", *, toy: str, **ticket: Any) -> RepairTicket:
        return self.shop.create(objects.ticket(name, toy=toy, **ticket))

    def assigns(self, ticket: str, assignee: str = "joon") -> None:
        self.shop.patch(RepairTicket, ticket, spec={"assignee": assignee})

    def resolves(self, ticket: str, outcome: str) -> None:
        self.shop.patch(RepairTicket, ticket, spec={"resolution": {"outcome": outcome}})

    # --- What comes of it ---

    def wait(self, kind: type[R], name: str, until: Callable[[R], object]) -> R:
        return self.shop.wait(kind, name, until, within=PATIENCE)

    def order_becomes(self, name: str, phase: str, **found: str) -> Rental:
        """Wait until a rental is in that phase, with conditions such as Paid="False/Declined"."""
        return self._becomes(Rental, name, RentalPhase(phase), found)

    def toy_becomes(self, name: str, phase: str, **found: str) -> Toy:
        return self._becomes(Toy, name, ToyPhase(phase), found)

    def payment_becomes(self, rental: Rental, phase: str, **found: str) -> Payment:
        return self._becomes(Payment, rental.payment_name, PaymentPhase(phase), found)

    def ticket_becomes(self, name: str, phase: str, **found: str) -> RepairTicket:
        return self._becomes(RepairTicket, name, RepairPhase(phase), found)

    def store_becomes(self, **found: str) -> Store:
        return self.wait(Store, "default", lambda seen: says(seen, **found))

    def gateway_becomes(self, **found: str) -> PaymentGateway:
        return self.wait(PaymentGateway, GATEWAY, lambda seen: says(seen, **found))

    def _becomes(self, kind: type[R], name: str, phase: str, found: dict[str, str]) -> R:
        return self.wait(
            kind, name, lambda seen: seen.status.phase == phase and says(seen, **found)
        )

    def told(self, name: str, reason: str, *words: str) -> None:
        """Wait until an Event on an object of that name says so, with all these words in it."""

        def heard() -> bool:
            return any(
                event["reason"] == reason and all(word in event["note"] for word in words)
                for event in self.shop.events(name)
            )

        eventually(
            heard,
            within=PATIENCE,
            explain=lambda: "\n".join(f"{e['reason']}: {e['note']}" for e in self.events(name)),
        )

    def events(self, name: str) -> list[dict[str, Any]]:
        return self.shop.events(name)

    def books(self, rental: Rental) -> Ledger:
        """Return what the provider took and gave back for a rental."""
        return self.simulator.ledger().of(rental)

    def paid_back(self, rental: Rental) -> None:
        """Wait until the one charge of a rental was refunded in full; then look at the books."""
        payment = self.payment_becomes(rental, "Refunded", Refunded="True/Refunded")
        amount = payment.spec.amount.minor_units
        books = self.books(rental)
        assert [charge["amount"] for charge in books.charges] == [amount]
        assert [refund["amount"] for refund in books.refunds] == [amount]
        assert books.refunds[0]["charge"] == books.charges[0]["id"]
        assert books.refunds[0]["idempotencyKey"] == f"{payment.uid}:refund:1"
        assert payment.status.refunded_minor_units == amount

    def never_charged(self, rental: Rental) -> None:
        """Say that nothing was taken for a rental."""
        assert self.books(rental).charges == []


def says(resource: Resource, **found: str) -> bool:
    """Tell whether an object has conditions such as Paid="False/Declined", or Paid="True"."""
    known = {c.type: c for c in resource.status.conditions}
    return all(
        type_ in known and f"{known[type_].status}/{known[type_].reason}".startswith(expected)
        for type_, expected in found.items()
    )


def message(resource: Resource, type_: str) -> str:
    """Return what a condition tells a person."""
    told: dict[str, str] = {c.type: c.message for c in resource.status.conditions}
    return told[type_]


def toy_of(rental: Rental) -> str:
    """Return the name of the toy that is booked for a rental."""
    return rental.status.toy_ref.name if rental.status.toy_ref else ""


def now() -> datetime:
    """Return the time, in whole seconds, as Kubernetes writes it."""
    return datetime.now(UTC).replace(microsecond=0)


def due_in(seconds: float, *, days: int = 1) -> datetime:
    """Return the start of a period of so many days that ends in so many seconds."""
    return now() + timedelta(seconds=seconds) - timedelta(days=days)


def soon(seconds: float) -> datetime:
    """Return a moment so many seconds ahead."""
    return now() + timedelta(seconds=seconds)
