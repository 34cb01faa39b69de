"""A shop to play scenes in: owner, customers, repairer, and an operator that sees all at once."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.rules.operators import RECONCILED, Operator
from tests.rules.provider import Provider
from tests.rules.world import World, key
from toyrental.payments.models import (
    Outcome,
    Payment,
    PaymentGateway,
    PaymentGatewaySpec,
    RefundOutcome,
    RefundResolution,
    Resolution,
    Simulator,
)
from toyrental.rentals.models import (
    Decision,
    DesiredState,
    Inspection,
    MissingPart,
    Period,
    Rental,
    RentalApproval,
    RentalSpec,
    Result,
    ToySelector,
)
from toyrental.repairs.models import (
    RepairOutcome,
    RepairResolution,
    RepairTicket,
    RepairTicketSpec,
)
from toyrental.shared.conditions import Condition, find
from toyrental.shared.decisions import Event
from toyrental.shared.model import NameRef, SecretKeyRef
from toyrental.shared.money import Currency, Money
from toyrental.shared.resource import Key, Metadata, Resource
from toyrental.stores.models import STORE_NAME, Availability, Store, StoreSpec, Toy, ToySpec

SECRET = "wallet"
GATEWAY = "till"


class Stage:
    """A shop with a gateway and an operator that sees every change at once."""

    def __init__(self, say: Callable[[str], None] = lambda _: None, **policy: Any) -> None:
        self.world = World(say)
        self.provider = Provider()
        self.secrets: dict[str, str] = {}
        self.operator = self.another_operator("operator")
        self.open_till()
        policy.setdefault("payment_gateway_ref", NameRef(name=GATEWAY))
        spec = StoreSpec(**policy)
        store = Store(metadata=Metadata(name=STORE_NAME, namespace="shop"), spec=spec)
        self.world.create(store, "the owner")

    def another_operator(self, name: str) -> Operator:
        """Return one more operator, which knows nothing yet."""
        return Operator(name, self.world, self.provider, self.secrets)

    # --- The owner ---

    def open_till(self) -> None:
        """Make the gateway of the shop."""
        simulator = PaymentGatewaySpec(simulator=Simulator(endpoint="http://127.0.0.1:1"))
        gateway = PaymentGateway(metadata=Metadata(name=GATEWAY, namespace="shop"), spec=simulator)
        self.world.create(gateway, "the owner")

    def stock(self, name: str, rate: int = 5000, **labels: str) -> Toy:
        """Register a toy."""
        spec = ToySpec(
            title=name.title(), daily_rate=Money(currency=Currency.KRW, minor_units=rate)
        )
        metadata = Metadata(name=name, namespace="shop", labels=labels)
        return self.world.create(Toy(metadata=metadata, spec=spec), "the owner")

    def withdraw(self, name: str) -> None:
        """Take no new bookings for a toy."""
        self.world.edit(Toy, name, "the owner", availability=Availability.WITHDRAWN)

    def offer(self, name: str) -> None:
        """Take bookings for a toy again."""
        self.world.edit(Toy, name, "the owner", availability=Availability.OFFERED)

    def set_policy(self, **policy: Any) -> None:
        """Change the shop's policy."""
        self.world.edit(Store, STORE_NAME, "the owner", **policy)

    def approve(self, name: str) -> None:
        """Approve an order."""
        approval = RentalApproval(decision=Decision.APPROVED)
        self.world.edit(Rental, name, "the owner", approval=approval)

    def deny(self, name: str, reason: str | None = None) -> None:
        """Deny an order."""
        approval = RentalApproval(decision=Decision.DENIED, reason=reason)
        self.world.edit(Rental, name, "the owner", approval=approval)

    def accept(self, name: str) -> None:
        """Find a toy that came back in order."""
        inspection = Inspection(result=Result.ACCEPTED)
        self.world.edit(Rental, name, "the owner", inspection=inspection)

    def find_damage(self, name: str, notes: str | None = None, missing: str | None = None) -> None:
        """Find a toy that came back damaged, or with pieces missing."""
        parts = (MissingPart(name=missing),) if missing else ()
        inspection = Inspection(result=Result.DAMAGED, notes=notes, missing_parts=parts)
        self.world.edit(Rental, name, "the owner", inspection=inspection)

    def refund(self, payment: str, minor_units: int) -> None:
        """Ask for money to go back, so much in all."""
        self.world.edit(Payment, payment, "the owner", refund_minor_units=minor_units)

    def resolve_review(self, payment: str) -> None:
        """End a ManualReview by what the provider's books say."""
        taken = self.provider.of_payment(self.world.get(Payment, payment).uid)
        resolution = (
            Resolution(outcome=Outcome.CAPTURED, gateway_payment_id=taken[0].id)
            if taken
            else Resolution(outcome=Outcome.NOT_CHARGED)
        )
        self.world.edit(Payment, payment, "the owner", resolution=resolution)

    def resolve_refund(self, payment: str, outcome: RefundOutcome) -> None:
        """End a refund that failed: have it tried again, or give it back in another way."""
        known = self.world.get(Payment, payment)
        failure = known.status.refund_failure
        assert failure is not None
        resolution = RefundResolution(failure=failure.number, outcome=outcome)
        self.world.edit(Payment, payment, "the owner", refund_resolution=resolution)
        if outcome is RefundOutcome.GIVEN_BACK:
            [taken] = self.provider.of_payment(known.uid)
            taken.by_hand += failure.minor_units

    # --- Customers ---

    def order(
        self,
        name: str,
        toy: str | None = None,
        *,
        start: datetime | None = None,
        days: int = 2,
        method: str = "good",
        **labels: str,
    ) -> Rental:
        """Order a toy by name, or any toy with some labels. The method `wallet` is a Secret."""
        spec = RentalSpec(
            customer="mina",
            toy_ref=NameRef(name=toy) if toy else None,
            toy_selector=None if toy else ToySelector(match_labels=labels),
            period=Period(start_time=start, days=days),
            **_method(method),
        )
        metadata = Metadata(name=name, namespace="shop")
        return self.world.create(Rental(metadata=metadata, spec=spec), "a customer")

    def cancel(self, name: str) -> None:
        """Cancel an order."""
        self.world.edit(Rental, name, "a customer", desired_state=DesiredState.CANCELLED)

    def bring_back(self, name: str) -> None:
        """Return the toy."""
        self.world.edit(Rental, name, "a customer", desired_state=DesiredState.RETURNED)

    def pay_by(self, name: str, method: str) -> None:
        """Give another payment method."""
        self.world.edit(Rental, name, "a customer", **_method(method))

    # --- The repairer ---

    def open_ticket(self, name: str, toy: str, description: str = "worn") -> RepairTicket:
        """Open a ticket for a toy by hand."""
        spec = RepairTicketSpec(toy_ref=NameRef(name=toy), description=description)
        metadata = Metadata(name=name, namespace="shop")
        return self.world.create(RepairTicket(metadata=metadata, spec=spec), "the owner")

    def assign(self, ticket: str) -> None:
        """Take a repair on."""
        self.world.edit(RepairTicket, ticket, "the repairer", assignee="jun")

    def end_repair(self, ticket: str, outcome: RepairOutcome) -> None:
        """End a repair."""
        resolution = RepairResolution(outcome=outcome)
        self.world.edit(RepairTicket, ticket, "the repairer", resolution=resolution)

    # --- What happens, and how things stand ---

    def settle(self) -> datetime | None:
        """Let the operator work until nothing is left to do; return when to look again."""
        return run_to_rest(self.world, [self.operator])

    def pass_time(self, **span: float) -> None:
        """Let the clock advance."""
        self.world.pass_time(timedelta(**span))
        self.provider.pass_time(self.world.now)
        self.operator.pass_time()

    def rental(self, name: str) -> Rental:
        """Return an order."""
        return self.world.get(Rental, name)

    def toy(self, name: str) -> Toy:
        """Return a toy."""
        return self.world.get(Toy, name)

    def payment_of(self, name: str) -> Payment:
        """Return the Payment of an order."""
        return self.world.get(Payment, self.rental(name).payment_name)

    def has_payment(self, name: str) -> bool:
        """Tell whether an order has a Payment."""
        return self.world.find(key(Payment, self.rental(name).payment_name)) is not None

    def ticket_of(self, name: str) -> RepairTicket:
        """Return the ticket for damage found after an order."""
        return self.world.get(RepairTicket, self.rental(name).ticket_name)

    def condition(self, name: str, type_: str) -> Condition:
        """Return a condition of an order."""
        return condition(self.rental(name), type_)

    def told(self, kind: type[Resource], name: str) -> list[Event]:
        """Return the Events about an object, first things first."""
        about = Key(kind.SERVED.kind, "shop", name)
        events = (write.event for _, write in self.world.writes if write.after.key == about)
        return [event for event in events if event is not None]


def condition(resource: Resource, type_: str) -> Condition:
    """Return a condition that must be there."""
    found = find(resource.status.conditions, type_)
    assert found is not None, f"{resource.key} has no condition {type_}"
    return found


def run_to_rest(world: World, operators: list[Operator], most: int = 100) -> datetime | None:
    """Let operators that see every change work until none has anything to do.

    Return when the first of them wants to look again.
    """
    for _ in range(most):
        busy = world.collect_garbage()
        moments: list[datetime] = []
        for operator in operators:
            operator.cache.catch_up()
            for found in operator.cache.reconciled():
                operator.cache.catch_up()
                writes, look_again = operator.work(found)
                busy = busy or writes > 0
                moments += [look_again] if look_again is not None else []
        if not busy:
            return min(moments, default=None)
    raise AssertionError("no end: one rule undoes what another does")


def _method(method: str) -> dict[str, Any]:
    if method == SECRET:
        ref = SecretKeyRef(name=SECRET, key="token")
        return {"payment_method": None, "payment_method_secret_ref": ref}
    return {"payment_method": method, "payment_method_secret_ref": None}


__all__ = ["GATEWAY", "RECONCILED", "SECRET", "Stage", "condition", "run_to_rest"]
