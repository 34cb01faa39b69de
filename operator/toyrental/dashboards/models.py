"""The resource of dashboards: the shop in numbers, never a list of objects."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from toyrental.rentals.models import ToySelector
from toyrental.shared.conditions import Conditions
from toyrental.shared.model import Count, Model, Time, map_list, set_list
from toyrental.shared.money import Currency
from toyrental.shared.resource import Column, Resource, Served, Status

MOST_GROUPS = 100
"""How many groups a Dashboard shows; of more, the smallest are summed up in the last."""

Sum = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""A sum of money in minor units; the API server keeps bounds as floats, exact up to this one."""


class GroupBy(StrEnum):
    """By what toys are counted together."""

    CATEGORY = "category"
    MODEL = "model"


class DashboardSpec(Model):
    """What the owner wants to see."""

    group_by: Annotated[tuple[GroupBy, ...], set_list(most=2)] = (GroupBy.CATEGORY,)
    """By what toys are counted together."""

    selector: ToySelector | None = None
    """Count only toys whose labels match, and what belongs to them: orders that name or hold them,
    their payments and repairs. An order of any toy belongs to none before it holds one."""


class PhaseCount(Model):
    """How many objects are in one phase."""

    phase: Annotated[str, Field(min_length=1, max_length=32)]
    """The phase, as the kind's `status.phase` says it."""

    count: Count
    """How many are in it."""


class ToyCounts(Model):
    """The stock in numbers."""

    total: Count = 0
    """How many toys there are."""

    out_of_order: Count = 0
    """How many of them are damaged or in repair."""

    by_phase: Annotated[tuple[PhaseCount, ...], map_list("phase", most=16)] = ()
    """How many are in each phase."""


class RentalCounts(Model):
    """The orders in numbers."""

    by_phase: Annotated[tuple[PhaseCount, ...], map_list("phase", most=16)] = ()
    """How many are in each phase."""

    overdue: Count = 0
    """How many toys are out past their due time."""

    waiting: Count = 0
    """How many orders wait for a toy."""

    unpaid: Count = 0
    """How many booked orders wait for their payment."""

    awaiting_approval: Count = 0
    """How many paid orders wait for the owner's decision."""

    awaiting_inspection: Count = 0
    """How many returned toys wait for the owner's inspection."""


class CurrencyCounts(Model):
    """Money of one currency."""

    currency: Currency
    """ISO 4217 code of the currency."""

    captured_minor_units: Sum = 0
    """How much was taken, in minor units."""

    refunded_minor_units: Sum = 0
    """How much of it was given back, in minor units."""

    deferred: Count = 0
    """How many payments wait for the provider."""


class RepairCounts(Model):
    """The repairs in numbers."""

    open: Count = 0
    """How many repairs have not ended."""


class Group(Model):
    """Toys counted together."""

    key: Annotated[str, Field(min_length=1, max_length=340)]
    """What they share, as in `category=puzzles`. Beyond a hundred, `other` sums the smallest."""

    total: Count = 0
    """How many there are."""

    available: Count = 0
    """How many of them are available."""


class DashboardStatus(Status):
    """The shop in numbers."""

    observed_time: Time | None = None
    """When the numbers last changed. While nothing does, nothing is written."""

    toys: ToyCounts | None = None
    """The toys in stock."""

    rentals: RentalCounts | None = None
    """The orders of the shop."""

    payments: Annotated[tuple[CurrencyCounts, ...], map_list("currency", most=16)] = ()
    """The money, by currency."""

    repairs: RepairCounts | None = None
    """The repairs that are under way."""

    groups: Annotated[tuple[Group, ...], map_list("key", most=MOST_GROUPS)] = ()
    """The stock by category or model, the largest group first."""

    conditions: Conditions = ()
    """Ready: the numbers are current."""


class Dashboard(Resource):
    """The owner's view of the shop."""

    SERVED: ClassVar = Served(
        kind="Dashboard",
        plural="dashboards",
        short_names=("dash",),
        columns=(
            Column("Toys", ".status.toys.total", type="integer"),
            Column("Available", ".status.toys.byPhase[?(@.phase=='Available')].count", "integer"),
            Column("Rented", ".status.toys.byPhase[?(@.phase=='Rented')].count", type="integer"),
            Column("Out-Of-Order", ".status.toys.outOfOrder", type="integer"),
            Column("Overdue", ".status.rentals.overdue", type="integer"),
            Column("Waiting", ".status.rentals.waiting", type="integer"),
            Column("Unpaid", ".status.rentals.unpaid", type="integer"),
            Column("Repairs", ".status.repairs.open", type="integer", wide=True),
            Column("To-Approve", ".status.rentals.awaitingApproval", type="integer", wide=True),
            Column("To-Inspect", ".status.rentals.awaitingInspection", type="integer", wide=True),
            Column("Observed", ".status.observedTime", type="date", wide=True),
            Column("Age", ".metadata.creationTimestamp", type="date"),
        ),
    )

    spec: DashboardSpec = DashboardSpec()
    status: DashboardStatus = DashboardStatus()
