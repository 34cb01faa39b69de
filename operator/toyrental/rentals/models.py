"""The resource of rentals: an order of a toy by a customer, from the order to the inspection."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from toyrental.shared.conditions import Conditions, is_true
from toyrental.shared.model import (
    LongText,
    Model,
    NameRef,
    ObjectName,
    ObjectRef,
    Rule,
    SecretKeyRef,
    Text,
    Time,
    UserName,
    atomic_list,
    bounded_map,
    immutable,
    set_list,
)
from toyrental.shared.money import Money
from toyrental.shared.resource import KEEPS_STATUS, Column, Resource, Served, Status


class DesiredState(StrEnum):
    """What the customer wants."""

    RENTED = "Rented"
    CANCELLED = "Cancelled"
    RETURNED = "Returned"


class RentalPhase(StrEnum):
    """A rental's state in one word."""

    PENDING = "Pending"
    RESERVED = "Reserved"
    PAID = "Paid"
    APPROVED = "Approved"
    RENTED = "Rented"
    RETURNED = "Returned"
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"
    EXPIRED = "Expired"

    @property
    def final(self) -> bool:
        """Whether the rental ends here."""
        return self in _FINAL

    @property
    def before_hand_over(self) -> bool:
        """Whether the customer does not have the toy yet, and still may get it."""
        return self in _BEFORE_HAND_OVER


_FINAL = frozenset(
    {RentalPhase.COMPLETED, RentalPhase.CANCELLED, RentalPhase.REJECTED, RentalPhase.EXPIRED}
)
_BEFORE_HAND_OVER = frozenset(
    {RentalPhase.PENDING, RentalPhase.RESERVED, RentalPhase.PAID, RentalPhase.APPROVED}
)


class LabelRequirement(Model):
    """A requirement on one label, as in every Kubernetes selector."""

    RULES = (
        Rule(
            "self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0"
            " : !has(self.values) || self.values.size() == 0",
            "give values with In and NotIn, and none with Exists and DoesNotExist",
        ),
    )

    key: Annotated[str, Field(min_length=1, max_length=317)]
    """The label's key."""

    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared with the values."""

    values: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], set_list(most=32)] = ()
    """The values to compare with, for In and NotIn."""

    def matches(self, labels: dict[str, str]) -> bool:
        """Tell whether labels meet the requirement."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class ToySelector(Model):
    """Any toy whose labels match; an empty selector matches every toy."""

    RULES = (
        Rule(
            "!has(self.matchLabels) || self.matchLabels.all(key, key.size() <= 317)",
            "the key of a label has at most 317 characters; shorten it",
        ),
    )

    match_labels: Annotated[dict[str, str], bounded_map(most=16, longest=63)] = Field(
        default_factory=dict
    )
    """Labels the toy must have, with these values."""

    match_expressions: Annotated[tuple[LabelRequirement, ...], atomic_list(most=16)] = ()
    """Requirements its labels must meet, all of them."""

    def matches(self, labels: dict[str, str]) -> bool:
        """Tell whether labels match."""
        return self.match_labels.items() <= labels.items() and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )


_FIRST_START, _NO_START_FROM = (datetime(year, 1, 1, tzinfo=UTC) for year in (2000, 2200))

StartTime = Annotated[
    Time,
    Field(ge=_FIRST_START, lt=_NO_START_FROM),
    Field(
        json_schema_extra={
            # RFC 3339 has more spellings, and the API server's format lets pass what it has not.
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
            r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
        }
    ),
]
"""A start that leaves room for an end: one past the last year would stop the line behind it."""


class Period(Model):
    """For how long, and from when."""

    RULES = (
        Rule(
            "!has(self.startTime) || (self.startTime >= timestamp('2000-01-01T00:00:00Z')"
            " && self.startTime < timestamp('2200-01-01T00:00:00Z'))",
            "a rental starts between the years 2000 and 2200; correct startTime",
        ),
    )

    start_time: StartTime | None = None
    """When the rental starts. Left out: when the toy is handed over, as soon as it can be."""

    days: Annotated[int, Field(ge=1, le=365)]
    """How many days, of 24 hours each."""

    @property
    def length(self) -> timedelta:
        """How long the toy is rented."""
        return timedelta(days=self.days)


class Decision(StrEnum):
    """What the owner decides about an order."""

    APPROVED = "Approved"
    DENIED = "Denied"


class RentalApproval(Model):
    """The owner's decision about a paid order. It is final."""

    decision: Decision
    """Approved or Denied."""

    reason: LongText | None = None
    """Why, for the customer."""

    decided_by: UserName | None = None
    """Who decided; filled in by itself, and true."""


class Result(StrEnum):
    """In what state a toy came back."""

    ACCEPTED = "Accepted"
    DAMAGED = "Damaged"


class MissingPart(Model):
    """Pieces that did not come back."""

    name: Text
    """Which piece."""

    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How many of them."""


class Inspection(Model):
    """What the owner found when the toy came back. It is final."""

    result: Result
    """Accepted: the toy can be rented again. Damaged: it goes to repair."""

    notes: LongText | None = None
    """What the owner saw."""

    missing_parts: Annotated[tuple[MissingPart, ...], atomic_list(most=64)] = ()
    """Pieces that did not come back."""

    inspected_by: UserName | None = None
    """Who inspected; filled in by itself, and true."""


_ANEW = "cancel it and make a new one"


class RentalSpec(Model):
    """An order, and what customer and owner decide about it."""

    RULES = (
        Rule(
            "has(self.toyRef) != has(self.toySelector)",
            "name the toy by exactly one of toyRef and toySelector",
        ),
        Rule(
            "has(self.toyRef) == has(oldSelf.toyRef)",
            "an order keeps the way it names its toy; cancel it and make a new one",
        ),
        Rule(
            "has(self.paymentMethod) != has(self.paymentMethodSecretRef)",
            "pay by exactly one of paymentMethod and paymentMethodSecretRef",
        ),
        Rule(
            "oldSelf.desiredState == 'Rented' || self.desiredState == oldSelf.desiredState",
            "a cancellation or a return cannot be taken back; make a new Rental",
        ),
        Rule(
            "!has(oldSelf.approval) || (has(self.approval) && self.approval == oldSelf.approval)",
            "the decision about an order is final; it cannot be changed or removed",
        ),
        Rule(
            "!has(oldSelf.inspection)"
            " || (has(self.inspection) && self.inspection == oldSelf.inspection)",
            "an inspection is final; it cannot be changed or removed",
        ),
        Rule(
            "!(self.desiredState == 'Cancelled' && has(self.approval)"
            " && self.approval.decision == 'Approved')",
            "an order is either cancelled or approved, whichever came first;"
            " return the toy with desiredState: Returned",
        ),
        Rule(
            "!has(self.inspection) || self.desiredState == 'Returned'",
            "a toy is inspected once the customer has returned it (desiredState: Returned)",
        ),
    )

    customer: Annotated[
        str,
        Field(min_length=1, max_length=253),
        immutable("the customer of an order", _ANEW),
    ]
    """Who rents: the user name the customer signs in with."""

    toy_ref: Annotated[NameRef, immutable("the toy of an order", _ANEW)] | None = None
    """The one toy that is wanted."""

    toy_selector: (
        Annotated[ToySelector, immutable("the choice of toys of an order", _ANEW)] | None
    ) = None
    """Or any toy whose labels match; the operator chooses."""

    period: Annotated[Period, immutable("the period of an order", _ANEW)]
    """For how long, and from when."""

    payment_method: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """The provider's one-time or test token to charge. Replace it after a decline."""

    payment_method_secret_ref: SecretKeyRef | None = None
    """Or where a reusable token is kept."""

    desired_state: DesiredState = DesiredState.RENTED
    """What the customer wants: Rented, then Cancelled (until approved) or Returned."""

    approval: RentalApproval | None = None
    """The owner's decision, once the order is paid."""

    inspection: Inspection | None = None
    """What the owner found, once the toy is back."""


class RentalStatus(Status):
    """How far an order has come."""

    RULES = (
        Rule(
            "!has(oldSelf.phase)"
            " || !(oldSelf.phase in ['Completed', 'Cancelled', 'Rejected', 'Expired'])"
            " || (has(self.phase) && self.phase == oldSelf.phase)",
            "a final phase does not change; make a new Rental",
        ),
        Rule(
            "!has(self.phase) || !(self.phase in ['Paid', 'Approved', 'Rented'])"
            " || (has(self.conditions)"
            " && self.conditions.exists(c, c.type == 'Paid' && c.status == 'True'))",
            "no payment, no transaction: the condition Paid must be True first",
        ),
    )

    phase: RentalPhase | None = None
    """The order's state in one word, for people."""

    toy_ref: ObjectRef | None = None
    """The toy that is booked."""

    payment_ref: NameRef | None = None
    """The Payment of this order."""

    price: Money | None = None
    """What the whole period costs, fixed when the toy is booked."""

    start_time: Time | None = None
    """When the period starts, or started."""

    due_time: Time | None = None
    """When the toy is due back."""

    conditions: Conditions = ()
    """Booked, Paid, Approved, Returned, Inspected, Overdue, Ready: each with its reason."""


_DECIDES = "has(self.spec.approval) && !(oldSelf.hasValue() && has(oldSelf.value().spec.approval))"
_PAID = (
    "has(self.status) && has(self.status.conditions)"
    " && self.status.conditions.exists(c, c.type == 'Paid' && c.status == 'True')"
)
_PHASE_IN = "has(self.status) && has(self.status.phase) && self.status.phase in "


class Rental(Resource):
    """An order of a toy by a customer. It is never lost, whatever is down when it is made."""

    SERVED: ClassVar = Served(
        kind="Rental",
        plural="rentals",
        short_names=("rent",),
        columns=(
            Column("Customer", ".spec.customer"),
            Column("Toy", ".status.toyRef.name"),
            Column("Phase", ".status.phase"),
            Column("Due", ".status.dueTime"),
            Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
            Column("Days", ".spec.period.days", type="integer", wide=True),
            Column("Price", ".status.price.minorUnits", type="integer", wide=True),
            Column("Currency", ".status.price.currency", wide=True),
            Column("Paid", ".status.conditions[?(@.type=='Paid')].status", wide=True),
            Column("Overdue", ".status.conditions[?(@.type=='Overdue')].status", wide=True),
            Column("Message", ".status.conditions[?(@.type=='Ready')].message", wide=True),
            Column("Age", ".metadata.creationTimestamp", type="date"),
        ),
        selectable=(".spec.customer", ".spec.desiredState", ".status.phase", ".status.toyRef.name"),
    )
    RULES = (
        KEEPS_STATUS,
        Rule(
            "self.metadata.name.size() <= 63",
            "the name of a Rental has at most 63 characters; shorten it",
        ),
        Rule(
            f"!({_DECIDES}) || ({_PAID})",
            "no payment, no transaction: an order can be approved or denied once it is paid"
            " (condition Paid is True)",
            on_create=True,
        ),
        Rule(
            f"!({_DECIDES}) || !({_PHASE_IN}['Cancelled', 'Rejected', 'Expired', 'Completed'])",
            "this order has ended; there is nothing left to decide",
            on_create=True,
        ),
        Rule(
            "self.spec.desiredState != 'Cancelled' || (oldSelf.hasValue()"
            " && oldSelf.value().spec.desiredState == 'Cancelled')"
            f" || !({_PHASE_IN}['Approved', 'Rented', 'Returned', 'Completed'])",
            "an approved order cannot be cancelled; return the toy with desiredState: Returned",
            on_create=True,
        ),
        Rule(
            "self.spec.desiredState != 'Returned' || (oldSelf.hasValue()"
            " && oldSelf.value().spec.desiredState == 'Returned')"
            " || (has(self.spec.approval) && self.spec.approval.decision == 'Approved')"
            f" || ({_PHASE_IN}['Approved', 'Rented'])",
            "a toy can be returned once the order is approved; cancel it with"
            " desiredState: Cancelled instead",
            on_create=True,
        ),
    )

    spec: RentalSpec
    status: RentalStatus = RentalStatus()

    @property
    def phase(self) -> RentalPhase:
        """The phase; an order nobody looked at yet is Pending."""
        return self.status.phase or RentalPhase.PENDING

    @property
    def rental_uid(self) -> str:
        """The uid of this rental."""
        return self.uid

    @property
    def settled(self) -> bool:
        """Whether the rental has ended."""
        return self.phase.final

    @property
    def awaits_decision(self) -> bool:
        """Whether it is paid, and the owner has not decided on it."""
        undecided = self.phase is RentalPhase.PAID and self.spec.approval is None
        return undecided and self.spec.desired_state is DesiredState.RENTED

    @property
    def awaits_inspection(self) -> bool:
        """Whether the toy is back, and the owner has not looked at it."""
        return self.phase is RentalPhase.RETURNED and self.spec.inspection is None

    @property
    def overdue(self) -> bool:
        """Whether the customer has the toy for longer than agreed."""
        return self.phase is RentalPhase.RENTED and is_true(self.status.conditions, "Overdue")

    def wants(self, name: str, labels: dict[str, str]) -> bool:
        """Tell whether a toy of that name and those labels is one the customer asked for."""
        if self.spec.toy_ref is not None:
            return self.spec.toy_ref.name == name
        return self.spec.toy_selector is not None and self.spec.toy_selector.matches(labels)

    @property
    def payment_name(self) -> str:
        """The name of this order's Payment: readable, and never that of a namesake's."""
        return f"{self.name}-{self.uid[:8]}"

    @property
    def ticket_name(self) -> ObjectName:
        """The name of the RepairTicket for damage found after this rental."""
        return self.uid
