"""The read model: what is counted of each object, and the sums of it, kept as objects change.

Nothing is stored: after a start the first look at everything builds it anew. Each object leaves its
facts, so that a change takes the old ones out of the sums and puts the new ones in.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from toyrental.payments.models import Payment, PaymentPhase
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.shared import conditions
from toyrental.shared.resource import Key, Resource
from toyrental.stores.models import Toy, toy_phase

TOYS = "toys"
"""Toys, by phase, category and model."""
RENTALS = "rentals"
"""Orders, by phase."""
OVERDUE = "overdue"
"""Toys that are out past their due time."""
PAYMENTS = "payments"
"""Payments, by phase."""
STALLED = "stalled"
"""Payments that do not end by themselves, by the reason of their condition Stalled."""
DEFERRED = "deferred"
"""Payments that wait for the provider, by currency."""
CAPTURED = "captured"
"""Money taken, by currency, in minor units."""
REFUNDED = "refunded"
"""Money given back, by currency, in minor units."""
REPAIRS_OPEN = "repairs open"
"""Repairs that have not ended."""

Fact = tuple[str, ...]
"""What is counted, and by what it is told apart."""

Counts = Mapping[Fact, int]


class Facts(NamedTuple):
    """What one object adds to the sums, and to which object it belongs."""

    counts: dict[Fact, int]
    belongs_to: tuple[str, str]
    labels: dict[str, str]


def facts_of(resource: Resource) -> Facts | None:
    """Return what is counted of an object; None of a kind that is not counted."""
    match resource:
        case Toy(spec=spec, status=status):
            phase = status.phase or toy_phase(spec, status)
            fact = (TOYS, phase, spec.category or "", spec.model or "")
            return Facts({fact: 1}, ("Toy", resource.name), resource.metadata.labels)
        case Rental(spec=spec, status=status):
            counts: dict[Fact, int] = {(RENTALS, resource.phase): 1}
            if conditions.is_true(status.conditions, "Overdue"):
                counts[OVERDUE,] = 1
            toy = status.toy_ref or spec.toy_ref
            return Facts(counts, ("Toy", toy.name if toy else ""), {})
        case Payment(spec=spec, status=status):
            currency = spec.amount.currency
            counts = {
                (PAYMENTS, resource.phase): 1,
                (CAPTURED, currency): status.captured_minor_units or 0,
                (REFUNDED, currency): status.refunded_minor_units or 0,
                (DEFERRED, currency): int(resource.phase is PaymentPhase.DEFERRED),
            }
            stalled = conditions.find(status.conditions, "Stalled")
            if stalled is not None and stalled.status == "True":
                counts[STALLED, stalled.reason] = 1
            return Facts(counts, ("Rental", spec.rental_ref.name), {})
        case RepairTicket(spec=spec):
            counts = {} if resource.phase.final else {(REPAIRS_OPEN,): 1}
            return Facts(counts, ("Toy", spec.toy_ref.name), {})
        case _:
            return None


class ReadModel:
    """The facts of every object, and their sums, by shop."""

    def __init__(self) -> None:
        self._facts: dict[str, dict[tuple[str, str], Facts]] = defaultdict(dict)
        self._sums: dict[str, Counter[Fact]] = defaultdict(Counter)

    def change(self, before: Resource | None, after: Resource | None) -> None:
        """Count an object as it is now, and no more as it was."""
        changed = after or before
        if changed is None or (facts := facts_of(changed)) is None:
            return
        self._put(changed.key, None if after is None else facts)

    def _put(self, key: Key, facts: Facts | None) -> None:
        shop, sums = self._facts[key.namespace], self._sums[key.namespace]
        old = shop.pop((key.kind, key.name), None)
        if facts is not None:
            shop[key.kind, key.name] = facts
            for fact, count in facts.counts.items():
                sums[fact] += count
        if old is not None:
            for fact, count in old.counts.items():
                sums[fact] -= count
        if not shop:
            del self._facts[key.namespace], self._sums[key.namespace]

    @property
    def shops(self) -> list[str]:
        """The namespaces in which anything is."""
        return list(self._sums)

    def of_shop(self, namespace: str) -> Counts:
        """Return the sums over a whole shop."""
        sums = self._sums.get(namespace)
        return dict(sums) if sums is not None else {}

    def of_toys(self, namespace: str, wanted: Callable[[dict[str, str]], bool]) -> Counts:
        """Return the sums over the toys whose labels are wanted, and what belongs to them."""
        shop = self._facts.get(namespace, {})
        sums: Counter[Fact] = Counter()
        for (kind, name), facts in shop.items():
            toy = _toy_of((kind, name), shop)
            if toy is not None and wanted(toy.labels):
                sums.update(facts.counts)
        return sums


def _toy_of(place: tuple[str, str], shop: Mapping[tuple[str, str], Facts]) -> Facts | None:
    """Return the toy to which an object belongs in the end: a payment by its rental."""
    facts = shop.get(place)
    while facts is not None and place != facts.belongs_to:
        place = facts.belongs_to
        facts = shop.get(place)
    return facts
