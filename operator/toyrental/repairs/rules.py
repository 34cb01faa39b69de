"""The rules of repairs: which ticket decides over a toy, and what its resolution does."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from toyrental.repairs.models import RepairOutcome, RepairPhase, RepairTicket
from toyrental.shared import conditions
from toyrental.shared.conditions import Finding, false, is_true, true
from toyrental.shared.decisions import NOTHING, Decision, Event, Write
from toyrental.shared.model import ObjectRef
from toyrental.shared.resource import Key
from toyrental.stores.models import Service, ServiceState, Toy


@dataclass(frozen=True)
class Situation:
    """A ticket, its toy, and the ticket that the toy names, each None where there is none."""

    ticket: RepairTicket
    toy: Toy | None
    toys_ticket: RepairTicket | None
    now: datetime

    @property
    def accepted(self) -> bool:
        """Whether this ticket was the one that decides over the toy."""
        return is_true(self.ticket.status.conditions, "Accepted")

    @property
    def named_by_toy(self) -> bool:
        """Whether the toy names this very ticket."""
        ref = None if self.toy is None else self.toy.status.service.ticket_ref
        return ref is not None and ref.uid == self.ticket.uid


def decide(s: Situation) -> Decision:
    """Return the next step for a ticket."""
    if s.ticket.deleting:
        return NOTHING
    if s.ticket.phase.final:
        return Decision(_acknowledge(s.ticket))
    if s.named_by_toy and s.toy is not None:
        return _repair(s, s.toy)
    if s.accepted:
        return _finish(s)
    return _claim(s)


def _acknowledge(ticket: RepairTicket) -> Write | None:
    """Note that a change of a ticket that has ended was seen: nothing comes of it."""
    generation = ticket.metadata.generation
    if ticket.status.observed_generation == generation:
        return None
    as_it_was = conditions.seen_at(ticket.status.conditions, generation)
    return Write(ticket, ticket.with_status(conditions=as_it_was))


def _claim(s: Situation) -> Decision:
    """Make this the ticket that decides over the toy, once nobody has the toy."""
    if _came_with_its_return(s):
        return NOTHING
    obstacle = _obstacle(s)
    if obstacle is not None or s.toy is None:
        found = obstacle or _TOY_NOT_FOUND
        return Decision(_note(s, RepairPhase.OPEN, found, found))
    ref = ObjectRef(name=s.ticket.name, uid=s.ticket.uid)
    damaged = s.toy.updated(s.now, service=Service(state=ServiceState.DAMAGED, ticket_ref=ref))
    told = f"RepairTicket {s.ticket.name} takes the toy out of service"
    why = s.ticket.spec.description
    event = Event("Damaged", f"{told}: {why}" if why else f"{told}.", "Warning")
    named = s.toy.status.service.ticket_ref
    other = () if named is None else (Key("RepairTicket", s.toy.namespace, named.name),)
    return Decision(Write(s.toy, damaged, event), confirm=(s.ticket.key, *other))


def _came_with_its_return(s: Situation) -> bool:
    """Tell whether the rental that has the toy opened this ticket, named by its uid, as it ends.

    The write that ends it names the ticket on the toy as well.
    """
    out = None if s.toy is None else s.toy.out
    return out is not None and out.rental_uid == s.ticket.name


_TOY_NOT_FOUND = false("ToyNotFound", "There is no such toy; register it, or delete this ticket.")


def _obstacle(s: Situation) -> Finding | None:
    toy = s.toy
    if toy is None or toy.deleting:
        return _TOY_NOT_FOUND
    if toy.discarded:
        return false("ToyDiscarded", "The toy is out of stock for good; delete this ticket.")
    if toy.out is not None:
        return false(
            "ToyIsOut",
            f"Rental {toy.out.rental_ref.name} has the toy; the repair waits for its inspection.",
        )
    named = toy.status.service.ticket_ref
    if named is not None and s.toys_ticket is not None and s.toys_ticket.uid == named.uid:
        return false(
            "AnotherTicket", f"RepairTicket {named.name} decides over the toy until it ends."
        )
    return None


def _repair(s: Situation, toy: Toy) -> Decision:
    """Carry the ticket's state to the toy. The ticket notes first that it was accepted."""
    begun = s.ticket.spec.assignee is not None
    phase = RepairPhase.IN_REPAIR if begun else RepairPhase.OPEN
    noted = _note(s, phase, _ACCEPTED, _UNDER_WAY[phase])
    if noted is not None:
        return Decision(noted)
    resolution = s.ticket.spec.resolution
    if resolution is None:
        return Decision(_to_workshop(s, toy) if begun else None)
    if resolution.outcome is RepairOutcome.REPAIRED:
        service, event = (
            Service(),
            Event("Repaired", "The toy is repaired and can be rented again."),
        )
    else:
        gone = Service(state=ServiceState.DISCARDED, ticket_ref=toy.status.service.ticket_ref)
        service, event = gone, Event("Discarded", "The toy is out of stock for good.")
    if toy.discarded:
        return _finish(s)
    return Decision(Write(toy, toy.updated(s.now, service=service), event))


def _to_workshop(s: Situation, toy: Toy) -> Write | None:
    service = toy.status.service
    if service.state is not ServiceState.DAMAGED:
        return None
    in_repair = service.model_copy(update={"state": ServiceState.IN_REPAIR})
    return Write(toy, toy.updated(s.now, service=in_repair))


_ACCEPTED = true("Accepted", "This ticket decides over the toy.")

_UNDER_WAY = {
    RepairPhase.OPEN: false("AwaitingAssignee", "The toy waits for a repairer; set assignee."),
    RepairPhase.IN_REPAIR: false(
        "InRepair", "The toy is being repaired; set resolution at its end."
    ),
}

_ENDED = {
    RepairPhase.REPAIRED: true("Repaired", "The toy is repaired and can be rented again."),
    RepairPhase.DISCARDED: true("Discarded", "The toy is out of stock for good."),
}


def _finish(s: Situation) -> Decision:
    """End the ticket after the toy has followed its resolution, or has gone.

    A toy that no longer names the ticket it once accepted is another one of the same name.
    """
    resolution = s.ticket.spec.resolution
    repaired = resolution is not None and resolution.outcome is RepairOutcome.REPAIRED
    phase = RepairPhase.REPAIRED if repaired else RepairPhase.DISCARDED
    confirm = (Key("Toy", s.ticket.namespace, s.ticket.spec.toy_ref.name),)
    return Decision(_note(s, phase, _ACCEPTED, _ENDED[phase]), confirm=confirm)


def _note(s: Situation, phase: RepairPhase, accepted: Finding, ready: Finding) -> Write | None:
    before = s.ticket.status
    times: dict[str, Any] = {}
    now = s.now.replace(microsecond=0)
    if phase is not RepairPhase.OPEN and before.started_time is None:
        times["started_time"] = now
    if phase.final:
        times["finished_time"] = now
    stalled = ready.reason in {"ToyNotFound", "ToyDiscarded"}
    after = s.ticket.with_status(
        phase=phase,
        conditions=conditions.update(
            before.conditions,
            {"Accepted": accepted, **conditions.readiness(ready, stalled=stalled)},
            generation=s.ticket.metadata.generation,
            now=s.now,
        ),
        **times,
    )
    if after.status == before:
        return None
    changed = phase is not before.phase
    event = Event(phase.value if phase.final or changed else ready.reason, ready.message)
    return Write(s.ticket, after, event)
