"""What customers, owners and repairers do in the life of one rental, step by step.

A life is a list of steps; each is done once the one before has come true. Any number of lives go on
side by side: `advance(look_at(shop), lives)` takes each a step further, if it can be taken.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tests.support import Shop, objects
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairTicket
from toyrental.shared.resource import Resource
from toyrental.stores.models import Toy, ToyPhase

DECLINED = "pm_card_chargeDeclined"
CHARGED = "pm_card_visa"


class Seen:
    """A shop as it was at one look."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.rentals: dict[str, Rental] = {}
        self.toys: dict[str, Toy] = {}
        self.payments: dict[str, Payment] = {}
        self.tickets: dict[str, RepairTicket] = {}
        for resource in resources:
            match resource:
                case Rental():
                    self.rentals[resource.name] = resource
                case Toy():
                    self.toys[resource.name] = resource
                case Payment():
                    self.payments[resource.spec.rental_ref.name] = resource
                case RepairTicket():
                    self.tickets[resource.name] = resource
                case _:
                    pass


def look_at(shop: Shop) -> Seen:
    """Ask the API server what there is."""
    kinds: tuple[type[Resource], ...] = (Rental, Toy, Payment, RepairTicket)
    return Seen(resource for kind in kinds for resource in shop.find(kind))


class Step(NamedTuple):
    """Something that a person does, and what comes of it."""

    told: str
    act: Callable[[], object]
    until: Callable[[Seen], object]


class Life:
    """One rental, from the order to its end."""

    def __init__(self, shop: Shop, name: str, toy: str | None = None) -> None:
        """Be the rental of that name, of the toy named or of any."""
        self.shop = shop
        self.name = name
        self.toy = toy
        self.steps: list[Step] = []
        self._begun: Step | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self._begun.told if self._begun else 'not begun'}"

    @property
    def over(self) -> bool:
        """Whether the last step has come true."""
        return not self.steps and self._begun is None

    def advance(self, seen: Seen) -> bool:
        """Go on if the step that was begun has come true; tell whether another was begun."""
        if self._begun is not None and not self._begun.until(seen):
            return False
        self._begun = self.steps.pop(0) if self.steps else None
        if self._begun is not None:
            self._begun.act()
        return self._begun is not None

    # --- What may happen, each with what comes of it ---

    def orders(self, method: str = CHARGED) -> "Life":
        """Order, and pay."""
        return self._orders(method, self._is("Paid"))

    def orders_in_haste(self) -> "Life":
        """Order, and do not wait for what comes of it."""
        return self._orders(CHARGED, lambda seen: self.name in seen.rentals)

    def is_declined(self) -> "Life":
        """Order with a card that says no."""
        return self._orders(DECLINED, lambda seen: _declined(seen, self.name))

    def _orders(self, method: str, until: Callable[[Seen], object]) -> "Life":
        labels: dict[str, str] | None = None if self.toy else {}
        rental = objects.rental(self.name, toy=self.toy, labels=labels, method=method)
        return self._then("ordered", lambda: self.shop.create(rental), until)

    def replaces_card(self) -> "Life":
        """Pay with a card that says yes."""
        return self._says("paid anew", {"paymentMethod": CHARGED}, self._is("Paid"))

    def is_approved(self) -> "Life":
        """Have the owner approve, and get the toy."""
        approval = {"approval": {"decision": "Approved"}}
        return self._says("approved", approval, self._is("Rented"))

    def is_denied(self) -> "Life":
        """Have the owner say no, and get the money back."""
        approval = {"approval": {"decision": "Denied"}}
        return self._says("denied", approval, self._given_back("Rejected"))

    def cancels(self) -> "Life":
        """Cancel, and get the money back."""
        cancelled = self._given_back("Cancelled")
        return self._says("cancelled", {"desiredState": "Cancelled"}, cancelled)

    def is_given_back(self, minor_units: int) -> "Life":
        """Have the owner give part of the money back, so much in all."""

        def given_back(seen: Seen) -> bool:
            payment = seen.payments[self.name]
            return payment.status.refunded_minor_units == minor_units

        return self._then(f"given {minor_units} back", lambda: self._owes(minor_units), given_back)

    def returns(self) -> "Life":
        """Bring the toy back."""
        return self._says("returned", {"desiredState": "Returned"}, self._is("Returned"))

    def is_accepted(self) -> "Life":
        """Have the owner find nothing wrong."""
        inspection = {"inspection": {"result": "Accepted"}}
        return self._says("accepted", inspection, self._is("Completed"))

    def is_damaged(self) -> "Life":
        """Have the owner find damage: a ticket is opened."""
        inspection = {"inspection": {"result": "Damaged"}}

        def ticketed(seen: Seen) -> bool:
            rental = seen.rentals[self.name]
            return rental.phase == "Completed" and rental.ticket_name in seen.tickets

        return self._says("damaged", inspection, ticketed)

    def is_repaired(self, outcome: str = "Repaired") -> "Life":
        """Have a repairer take the toy, and repair it or not."""
        self._then(
            "in repair",
            lambda: self._ticket({"assignee": "joon"}),
            lambda seen: self._toy(seen).status.phase is ToyPhase.IN_REPAIR,
        )
        phase = {"Repaired": ToyPhase.AVAILABLE, "Discarded": ToyPhase.DISCARDED}[outcome]
        return self._then(
            outcome.lower(),
            lambda: self._ticket({"resolution": {"outcome": outcome}}),
            lambda seen: (
                self._ticket_of(seen).status.phase == outcome
                and (self._toy(seen).status.phase is phase or self.toy is None)
            ),
        )

    # --- Whole lives ---

    def happy(self) -> "Life":
        """Nothing goes wrong."""
        return self.orders().is_approved().returns().is_accepted()

    def damaged(self) -> "Life":
        """The toy comes back damaged, and is repaired."""
        return self.orders().is_approved().returns().is_damaged().is_repaired()

    def cancelled(self) -> "Life":
        """The customer changes their mind."""
        return self.orders().cancels()

    # --- Means ---

    def _says(self, told: str, spec: object, until: Callable[[Seen], object]) -> "Life":
        return self._then(told, lambda: self.shop.patch(Rental, self.name, spec=spec), until)

    def _then(
        self, told: str, act: Callable[[], object], until: Callable[[Seen], object]
    ) -> "Life":
        self.steps.append(Step(told, act, until))
        return self

    def _is(self, phase: str) -> Callable[[Seen], object]:
        wanted = RentalPhase(phase)
        return lambda seen: self.name in seen.rentals and seen.rentals[self.name].phase is wanted

    def _given_back(self, phase: str) -> Callable[[Seen], object]:
        ended = self._is(phase)

        def given_back(seen: Seen) -> bool:
            payment = seen.payments.get(self.name)
            return bool(ended(seen)) and (payment is None or payment.settled)

        return given_back

    def _owes(self, minor_units: int) -> None:
        payment = self.shop.get(Rental, self.name).payment_name
        self.shop.patch(Payment, payment, spec={"refundMinorUnits": minor_units})

    def _ticket(self, spec: object) -> None:
        rental = self.shop.get(Rental, self.name)
        self.shop.patch(RepairTicket, rental.ticket_name, spec=spec)

    def _ticket_of(self, seen: Seen) -> RepairTicket:
        return seen.tickets[seen.rentals[self.name].ticket_name]

    def _toy(self, seen: Seen) -> Toy:
        ref = seen.rentals[self.name].status.toy_ref
        assert ref is not None
        return seen.toys[ref.name]


def _declined(seen: Seen, name: str) -> bool:
    rental = seen.rentals.get(name)
    conditions = rental.status.conditions if rental else ()
    return any(c.type == "Paid" and c.reason == "Declined" for c in conditions)


def advance(seen: Seen, lives: Sequence[Life]) -> bool:
    """Take every life as far as it can be taken at one look; tell whether all are over."""
    for life in lives:
        life.advance(seen)
    return all(life.over for life in lives)
