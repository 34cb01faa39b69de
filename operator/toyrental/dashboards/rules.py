"""The rules of dashboards: what the numbers are, and when they are written down."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from toyrental.dashboards import counts as counted
from toyrental.dashboards.counts import Counts
from toyrental.dashboards.models import (
    MOST_GROUPS,
    CurrencyCounts,
    Dashboard,
    Group,
    GroupBy,
    PhaseCount,
    RentalCounts,
    RepairCounts,
    ToyCounts,
)
from toyrental.rentals.models import RentalPhase
from toyrental.shared import conditions
from toyrental.shared.decisions import NOTHING, Decision, Write
from toyrental.shared.money import Currency
from toyrental.stores.models import ToyPhase

REST = timedelta(seconds=5)
"""A Dashboard is written at most that often."""

OTHER = "other"
NONE = "(none)"

_CURRENT = conditions.true("Current", "The numbers follow the shop within seconds.")


def decide(dashboard: Dashboard, counts: Counts, now: datetime) -> Decision:
    """Write the numbers down if they say anything new; that time goes by is nothing new."""
    if dashboard.deleting:
        return NOTHING
    status = dashboard.status
    after = dashboard.with_status(
        toys=toys(counts),
        rentals=rentals(counts),
        payments=payments(counts),
        repairs=RepairCounts(open=counts.get((counted.REPAIRS_OPEN,), 0)),
        groups=groups(counts, dashboard.spec.group_by),
        conditions=conditions.update(
            status.conditions,
            conditions.readiness(_CURRENT),
            generation=dashboard.metadata.generation,
            now=now,
        ),
    )
    if after.status == status:
        return NOTHING
    return Decision(write=Write(dashboard, after.with_status(observed_time=now)))


def toys(counts: Counts) -> ToyCounts:
    """Count the stock."""
    by_phase = _sums(counts, counted.TOYS, position=1)
    return ToyCounts(
        total=sum(by_phase.values()),
        out_of_order=by_phase[ToyPhase.DAMAGED] + by_phase[ToyPhase.IN_REPAIR],
        by_phase=_phases(ToyPhase, by_phase),
    )


def rentals(counts: Counts) -> RentalCounts:
    """Count the orders, and what they wait for."""
    by_phase = _sums(counts, counted.RENTALS, position=1)
    return RentalCounts(
        by_phase=_phases(RentalPhase, by_phase),
        overdue=counts.get((counted.OVERDUE,), 0),
        waiting=by_phase[RentalPhase.PENDING],
        unpaid=by_phase[RentalPhase.RESERVED],
        awaiting_approval=by_phase[RentalPhase.PAID],
        awaiting_inspection=by_phase[RentalPhase.RETURNED],
    )


def payments(counts: Counts) -> tuple[CurrencyCounts, ...]:
    """Sum the money up, by currency."""
    found = (
        CurrencyCounts(
            currency=currency,
            captured_minor_units=counts.get((counted.CAPTURED, currency), 0),
            refunded_minor_units=counts.get((counted.REFUNDED, currency), 0),
            deferred=counts.get((counted.DEFERRED, currency), 0),
        )
        for currency in Currency
    )
    return tuple(c for c in found if c.captured_minor_units or c.deferred)


def groups(counts: Counts, group_by: Iterable[GroupBy]) -> tuple[Group, ...]:
    """Count the stock by what the owner asks for, the largest first, the smallest as `other`."""
    total: Counter[str] = Counter()
    available: Counter[str] = Counter()
    by = tuple(group_by)
    for fact, count in counts.items():
        if fact[0] != counted.TOYS or not count or not by:
            continue
        _, phase, category, model = fact
        values = {GroupBy.CATEGORY: category, GroupBy.MODEL: model}
        key = ",".join(f"{each}={values[each] or NONE}" for each in by)
        total[key] += count
        available[key] += count if phase == ToyPhase.AVAILABLE else 0
    ordered = sorted(total, key=lambda key: (-total[key], key))
    shown = ordered if len(ordered) <= MOST_GROUPS else ordered[: MOST_GROUPS - 1]
    found = [Group(key=key, total=total[key], available=available[key]) for key in shown]
    if rest := ordered[len(shown) :]:
        others = sum(total[key] for key in rest), sum(available[key] for key in rest)
        found.append(Group(key=OTHER, total=others[0], available=others[1]))
    return tuple(found)


def _sums(counts: Counts, what: str, *, position: int) -> Counter[str]:
    sums: Counter[str] = Counter()
    for fact, count in counts.items():
        if fact[0] == what:
            sums[fact[position]] += count
    return sums


def _phases(phases: type[StrEnum], sums: Counter[str]) -> tuple[PhaseCount, ...]:
    """Return every phase with its count, 0 included: what is not there prints as nothing."""
    return tuple(PhaseCount(phase=phase, count=sums[phase]) for phase in phases)
