"""Which ticket decides over a toy, and what its end does."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.rules import laws
from tests.rules.checks import conditions_are_by_the_book
from tests.rules.given import a_booking, a_toy, days, metadata, uid_of
from tests.rules.world import MONDAY
from toyrental.repairs import rules
from toyrental.repairs.models import (
    RepairOutcome,
    RepairPhase,
    RepairResolution,
    RepairTicket,
    RepairTicketSpec,
)
from toyrental.repairs.rules import Situation
from toyrental.shared.conditions import find
from toyrental.shared.decisions import NOTHING, Decision, Write
from toyrental.shared.model import NameRef, ObjectRef
from toyrental.shared.resource import Key
from toyrental.stores.models import BookingState, Service, ServiceState, Toy, ToyPhase

NOW = MONDAY


def a_ticket(name: str = "ticket", **spec: object) -> RepairTicket:
    return RepairTicket(
        metadata=metadata(name),
        spec=RepairTicketSpec.model_validate({"toy_ref": NameRef(name="robot"), **spec}),
    )


def ref_to(ticket: RepairTicket) -> ObjectRef:
    return ObjectRef(name=ticket.name, uid=ticket.uid)


def with_ticket(ticket: RepairTicket, state: ServiceState = ServiceState.DAMAGED) -> Toy:
    return a_toy().updated(NOW, service=Service(state=state, ticket_ref=ref_to(ticket)))


def write_of(decision: Decision) -> Write:
    assert decision.write is not None
    if decision.write.before is not None:
        laws.check(decision.write.before, decision.write.after)
    conditions_are_by_the_book(decision.write.after)
    return decision.write


def noted(decision: Decision) -> RepairTicket:
    ticket = write_of(decision).after
    assert isinstance(ticket, RepairTicket)
    return ticket


def changed_toy(decision: Decision) -> Toy:
    toy = write_of(decision).after
    assert isinstance(toy, Toy)
    return toy


def said(ticket: RepairTicket, type_: str) -> tuple[str, str]:
    condition = find(ticket.status.conditions, type_)
    assert condition is not None
    return condition.status, condition.reason


def accepted(ticket: RepairTicket) -> RepairTicket:
    """Return a ticket that its toy names and that has noted so."""
    return noted(rules.decide(Situation(ticket, with_ticket(ticket), ticket, NOW)))


def test_r12_a_ticket_takes_its_toy_out_of_service() -> None:
    # Given a ticket that the owner opened by hand, for a toy on the shelf, promised to somebody
    ticket = a_ticket(description="a wheel is off")
    promise = a_booking("order", NOW + days(1), NOW + days(2))
    toy = a_toy(bookings=[promise])
    # When it is looked at
    decision = rules.decide(Situation(ticket, toy, None, NOW))
    # Then the toy is Damaged and names it, and the promise stays for its order to move
    after = changed_toy(decision)
    assert after.status.service == Service(state=ServiceState.DAMAGED, ticket_ref=ref_to(ticket))
    assert after.status.phase is ToyPhase.DAMAGED
    assert after.status.bookings == (promise,)
    event = write_of(decision).event
    assert event is not None
    assert "a wheel is off" in event.note
    # And that the ticket is there is read anew, as nobody could end one that is gone
    assert decision.confirm == (ticket.key,)
    # And only then it is accepted
    assert said(accepted(ticket), "Accepted") == ("True", "Accepted")


@pytest.mark.parametrize("state", [BookingState.OUT, BookingState.RETURNED])
def test_a_toy_that_is_out_is_not_repaired(state: BookingState) -> None:
    toy = a_toy(bookings=[a_booking("order", NOW, NOW + days(1), state)])
    waits = noted(rules.decide(Situation(a_ticket(), toy, None, NOW)))
    assert waits.phase is RepairPhase.OPEN
    assert said(waits, "Accepted") == ("False", "ToyIsOut")
    ready = find(waits.status.conditions, "Ready")
    assert ready is not None
    assert "order" in ready.message
    # And nothing is written again
    assert rules.decide(Situation(waits, toy, None, NOW + days(1))).idle


def test_the_ticket_of_a_damaged_return_waits_without_a_word() -> None:
    # Given a toy whose rental found damage and opened a ticket, named by its uid
    toy = a_toy(bookings=[a_booking("order", NOW, NOW + days(1), BookingState.RETURNED)])
    ticket = a_ticket(toy.rental_uid)
    # Then nothing is written: the end of that rental names the ticket on the toy
    assert rules.decide(Situation(ticket, toy, None, NOW)).idle


def test_a_ticket_for_no_toy_or_one_that_is_discarded_needs_a_person() -> None:
    lost = noted(rules.decide(Situation(a_ticket(), None, None, NOW)))
    assert said(lost, "Stalled") == ("True", "ToyNotFound")
    other = a_ticket("other")
    gone = with_ticket(other, ServiceState.DISCARDED)
    late = noted(rules.decide(Situation(a_ticket(), gone, other, NOW)))
    assert said(late, "Stalled") == ("True", "ToyDiscarded")


def test_only_the_ticket_that_the_toy_names_counts() -> None:
    # Given a toy that names another ticket
    first, second = a_ticket("first"), a_ticket("second", assignee="jun")
    toy = with_ticket(first)
    # Then this one waits
    waits = noted(rules.decide(Situation(second, toy, first, NOW)))
    assert said(waits, "Accepted") == ("False", "AnotherTicket")
    # And takes over when that one is gone, which is read anew
    decision = rules.decide(Situation(waits, toy, None, NOW))
    assert changed_toy(decision).status.service.ticket_ref == ref_to(second)
    assert Key("RepairTicket", "shop", "first") in decision.confirm
    # Also when another one has its name
    namesake = first.model_copy(update={"metadata": metadata("first", uid=uid_of("namesake"))})
    decision = rules.decide(Situation(waits, toy, namesake, NOW))
    assert changed_toy(decision).status.service.ticket_ref == ref_to(second)


def test_r14_with_an_assignee_the_repair_has_begun() -> None:
    # Given an accepted ticket that somebody takes on
    open_ = accepted(a_ticket())
    assert open_.phase is RepairPhase.OPEN
    assert said(open_, "Ready") == ("False", "AwaitingAssignee")
    ticket = open_.with_spec(assignee="jun")
    s = Situation(ticket, with_ticket(ticket), ticket, NOW + timedelta(seconds=5, microseconds=7))
    # Then it is noted, and then the toy follows
    begun = noted(rules.decide(s))
    assert begun.phase is RepairPhase.IN_REPAIR
    assert begun.status.started_time == NOW + timedelta(seconds=5)
    toy = changed_toy(rules.decide(replace(s, ticket=begun)))
    assert toy.status.service.state is ServiceState.IN_REPAIR
    assert rules.decide(replace(s, ticket=begun, toy=toy)).idle


@pytest.mark.parametrize("begun", [False, True], ids=["at once", "after it had begun"])
def test_r15_repaired_the_toy_can_be_rented_again(begun: bool) -> None:
    # Given a ticket that ends well
    ticket = accepted(a_ticket(assignee="jun" if begun else None))
    ticket = ticket.with_spec(resolution=RepairResolution(outcome=RepairOutcome.REPAIRED))
    toy = with_ticket(ticket, ServiceState.IN_REPAIR if begun else ServiceState.DAMAGED)
    # Then first the toy is in service
    decision = rules.decide(Situation(ticket, toy, ticket, NOW))
    after = changed_toy(decision)
    assert after.status.service == Service()
    assert after.offered
    # And then the ticket ends, after reading that toy anew
    decision = rules.decide(Situation(ticket, after, None, NOW))
    assert decision.confirm == (after.key,)
    ended = noted(decision)
    assert ended.phase is RepairPhase.REPAIRED
    assert ended.status.finished_time == NOW
    assert said(ended, "Ready") == ("True", "Repaired")
    # And that is all
    assert rules.decide(Situation(ended, after, None, NOW)) == NOTHING


def test_r16_r17_discarded_the_toy_is_out_of_stock_for_good() -> None:
    ticket = accepted(a_ticket())
    ticket = ticket.with_spec(resolution=RepairResolution(outcome=RepairOutcome.DISCARDED))
    after = changed_toy(rules.decide(Situation(ticket, with_ticket(ticket), ticket, NOW)))
    assert after.status.phase is ToyPhase.DISCARDED
    assert not after.offered
    ended = noted(rules.decide(Situation(ticket, after, ticket, NOW)))
    assert ended.phase is RepairPhase.DISCARDED
    assert said(ended, "Ready") == ("True", "Discarded")


@pytest.mark.parametrize("toy", [None, a_toy()], ids=["gone", "another of its name"])
def test_a_ticket_whose_toy_is_gone_has_ended(toy: Toy | None) -> None:
    decision = rules.decide(Situation(accepted(a_ticket()), toy, None, NOW))
    assert noted(decision).phase is RepairPhase.DISCARDED
    assert decision.confirm == (Key("Toy", "shop", "robot"),)


def test_a_ticket_that_is_deleted_does_nothing_more() -> None:
    ticket = accepted(a_ticket())
    metadata_ = ticket.metadata.model_copy(update={"deletion_timestamp": NOW})
    deleted = ticket.model_copy(update={"metadata": metadata_})
    assert rules.decide(Situation(deleted, with_ticket(ticket), ticket, NOW)) == NOTHING
