"""The resource of repairs: a ticket for one damaged toy."""

from enum import StrEnum
from typing import Annotated, ClassVar

from toyrental.shared.conditions import Conditions
from toyrental.shared.model import LongText, Model, NameRef, Rule, Text, Time, UserName, immutable
from toyrental.shared.resource import KEEPS_STATUS, Column, Resource, Served, Status


class RepairOutcome(StrEnum):
    """How a repair ended."""

    REPAIRED = "Repaired"
    DISCARDED = "Discarded"


class RepairResolution(Model):
    """How the repairer ended it. It is final."""

    outcome: RepairOutcome
    """Repaired: the toy can be rented again. Discarded: it is out of stock for good."""

    notes: LongText | None = None
    """What was done."""

    resolved_by: UserName | None = None
    """Who ended it; filled in by itself, and true."""


class RepairTicketSpec(Model):
    """What is wrong with which toy, and who sees to it."""

    RULES = (
        Rule(
            "!has(oldSelf.resolution)"
            " || (has(self.resolution) && self.resolution == oldSelf.resolution)",
            "the resolution of a repair is final; open a new RepairTicket",
        ),
    )

    toy_ref: Annotated[NameRef, immutable("the toy of a ticket", "delete it and open another one")]
    """The toy to repair."""

    description: LongText = ""
    """What is wrong with it."""

    assignee: Text | None = None
    """Who repairs it; once set, the repair has begun."""

    resolution: RepairResolution | None = None
    """How it ended."""


class RepairPhase(StrEnum):
    """A ticket's state in one word."""

    OPEN = "Open"
    IN_REPAIR = "InRepair"
    REPAIRED = "Repaired"
    DISCARDED = "Discarded"

    @property
    def final(self) -> bool:
        """Whether the repair has ended."""
        return self in {RepairPhase.REPAIRED, RepairPhase.DISCARDED}


class RepairTicketStatus(Status):
    """How far a repair has come."""

    RULES = (
        Rule(
            "!has(oldSelf.phase) || !(oldSelf.phase in ['Repaired', 'Discarded'])"
            " || (has(self.phase) && self.phase == oldSelf.phase)",
            "a final phase does not change; open a new RepairTicket",
        ),
    )

    phase: RepairPhase | None = None
    """The repair's state in one word, for people."""

    started_time: Time | None = None
    """When the repair began."""

    finished_time: Time | None = None
    """When it ended."""

    conditions: Conditions = ()
    """Accepted: this is the ticket that decides over the toy. Ready: the repair has ended."""


class RepairTicket(Resource):
    """A damaged toy, on its way back to the shelf or out of stock."""

    SERVED: ClassVar = Served(
        kind="RepairTicket",
        plural="repairtickets",
        short_names=("repair",),
        columns=(
            Column("Toy", ".spec.toyRef.name"),
            Column("Phase", ".status.phase"),
            Column("Assignee", ".spec.assignee"),
            Column("Description", ".spec.description", wide=True),
            Column("Reason", ".status.conditions[?(@.type=='Ready')].reason", wide=True),
            Column("Finished", ".status.finishedTime", type="date", wide=True),
            Column("Age", ".metadata.creationTimestamp", type="date"),
        ),
        selectable=(".spec.toyRef.name", ".spec.assignee", ".status.phase"),
    )
    RULES = (KEEPS_STATUS,)

    spec: RepairTicketSpec
    status: RepairTicketStatus = RepairTicketStatus()

    @property
    def phase(self) -> RepairPhase:
        """The phase; a ticket nobody looked at yet is Open."""
        return self.status.phase or RepairPhase.OPEN

    @property
    def settled(self) -> bool:
        """Whether the repair has ended."""
        return self.phase.final
