"""`tree`: an order, its toy, payment and repair, and the conditions of each."""

from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from toyrental.payments.models import Payment
from toyrental.plugin import life, screens
from toyrental.plugin.api import Api
from toyrental.plugin.life import Life
from toyrental.plugin.options import Target
from toyrental.plugin.output import show_objects
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.shared.clock import utc_now
from toyrental.shared.conditions import Condition
from toyrental.shared.resource import Resource
from toyrental.stores.models import Toy

MARKS = {"True": "✓", "False": "✗", "Unknown": "?"}

# Ready says the same as these two.
_LEFT_OUT = frozenset({"Reconciling", "Stalled"})
# Good news is that this does not hold.
_TROUBLE = frozenset({"Overdue"})
# That it is not so is as it should be.
_QUIET = frozenset({"NotDue", "NotHandedOver", "NotRequested", "NotReturned", "WithCustomer"})


def show(api: Api, target: Target, name: str) -> bool:
    """Show an order; tell whether all of it could be read. Raises ApiError and Failure."""
    found = life.read(api, name)
    if target.output in {"json", "yaml", "name"}:
        show_objects(found.raw, target.output)
    else:
        screens.console().print(of_life(found, utc_now(), wide=target.output == "wide"))
    return not found.complaints


def of_life(found: Life, now: datetime, *, wide: bool = False) -> RenderableType:
    """Return an order as a tree."""
    tree = Tree(_head(found.rental, now), guide_style="bright_black")
    tree.add(_conditions(found.rental, now, wide=wide))
    for each in found.others:
        tree.add(_head(each, now)).add(_conditions(each, now, wide=wide))
    if not found.complaints:
        return tree
    return Group(tree, Text(), screens.complaints(found.complaints))


def _head(resource: Resource, now: datetime) -> Text:
    phase = str(resource.status.phase or "new")
    facts = [fact for fact in _facts(resource, now) if fact]
    return Text.assemble(
        f"{resource.SERVED.kind} ",
        (resource.name, "bold"),
        "  ",
        (phase, screens.tone_of(resource)),
        *(f"  {', '.join(facts)}" if facts else "",),
        (f"  {screens.age(resource.created, now)} old", "dim"),
    )


def _facts(resource: Resource, now: datetime) -> Iterator[str]:
    match resource:
        case Rental(spec=spec, status=status):
            yield f"for {spec.customer}"
            yield f"{spec.period.days} d"
            yield str(status.price) if status.price else ""
            if status.due_time is not None and not resource.settled:
                late = now > status.due_time
                since = screens.age(status.due_time, now)
                yield f"due {since} ago" if late else f"due in {screens.age(now, status.due_time)}"
        case Toy(spec=spec):
            yield spec.title
        case Payment(spec=spec, status=status):
            yield str(spec.amount)
            if status.refunded_minor_units:
                yield f"{status.refunded_minor_units:,} given back"
            if status.attempt > 1:
                yield f"attempt {status.attempt}"
        case RepairTicket(spec=spec):
            yield f"with {spec.assignee}" if spec.assignee else "nobody has taken it"


def _conditions(resource: Resource, now: datetime, *, wide: bool) -> Table:
    table = screens.grid("", "", ">", "*")
    for each in resource.status.conditions:
        if each.type not in _LEFT_OUT:
            table.add_row(*_condition(each, now, wide=wide))
    return table


def _condition(condition: Condition, now: datetime, *, wide: bool) -> tuple[Text, ...]:
    tone = _tone(condition)
    quiet = tone != "warn" and condition.type not in {"Ready", *_TROUBLE}
    words = condition.reason if quiet and not wide else f"{condition.reason}: {condition.message}"
    return (
        screens.styled(MARKS[condition.status], tone),
        Text(condition.type),
        Text(screens.age(condition.last_transition_time, now), "dim"),
        Text(words),
    )


def _tone(condition: Condition) -> str:
    if condition.type in _TROUBLE:
        return "bad" if condition.status == "True" else "good"
    if condition.status == "True":
        return "good"
    return "off" if condition.reason in _QUIET else "warn"
