"""Reconciling repair tickets with the toys they are for."""

from collections.abc import Iterable
from datetime import datetime

from toyrental.kube.cache import Cache
from toyrental.kube.controller import take_steps
from toyrental.kube.writer import Writer
from toyrental.repairs import rules
from toyrental.repairs.models import RepairTicket
from toyrental.shared.clock import Clock
from toyrental.shared.decisions import NOTHING, Decision
from toyrental.shared.resource import Key, Resource
from toyrental.stores.models import Toy

OPEN_FOR_TOY = "repairs/open-for-toy"


class RepairTicketReconciler:
    """Moves each ticket, and its toy with it, to the end of the repair."""

    kind = "RepairTicket"
    needs = ("RepairTicket", "Toy")

    def __init__(self, cache: Cache, writer: Writer, clock: Clock) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        cache.add_index("RepairTicket", OPEN_FOR_TOY, _open_for_toy)

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        """Return which tickets a change concerns."""
        match after or before:
            case RepairTicket() as ticket:
                yield ticket.key
                if after is None or after.settled:
                    yield from self._open_for(ticket.namespace, ticket.spec.toy_ref.name)
            case Toy() as toy:
                yield from self._open_for(toy.namespace, toy.name)
            case _:
                return

    def _open_for(self, namespace: str, toy: str) -> Iterable[Key]:
        return self._cache.keys_under(self.kind, OPEN_FOR_TOY, f"{namespace}/{toy}")

    async def reconcile(self, key: Key) -> datetime | None:
        """Take a ticket as far as it goes."""

        async def decide() -> Decision:
            situation = self._observe(key)
            return NOTHING if situation is None else rules.decide(situation)

        return await take_steps(self._writer, key, decide)

    def _observe(self, key: Key) -> rules.Situation | None:
        ticket = self._cache.get(key)
        if not isinstance(ticket, RepairTicket):
            return None
        toy = self._cache.get(Key("Toy", key.namespace, ticket.spec.toy_ref.name))
        known_toy = toy if isinstance(toy, Toy) else None
        return rules.Situation(ticket, known_toy, self._ticket_of(known_toy), self._clock())

    def _ticket_of(self, toy: Toy | None) -> RepairTicket | None:
        ref = None if toy is None else toy.status.service.ticket_ref
        if toy is None or ref is None:
            return None
        ticket = self._cache.get(Key(self.kind, toy.namespace, ref.name))
        return ticket if isinstance(ticket, RepairTicket) else None


def _open_for_toy(ticket: Resource) -> Iterable[str]:
    if not isinstance(ticket, RepairTicket) or ticket.settled:
        return []
    return [f"{ticket.namespace}/{ticket.spec.toy_ref.name}"]
