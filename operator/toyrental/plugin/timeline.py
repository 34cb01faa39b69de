"""`timeline`: what happened to an order and why, from conditions and Events, the oldest first."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from toyrental.kube.errors import ApiError
from toyrental.payments.models import Payment
from toyrental.plugin import life, screens
from toyrental.plugin.api import Api
from toyrental.plugin.options import Target
from toyrental.plugin.output import show as show_document
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.shared.conditions import Condition
from toyrental.shared.resource import Resource
from toyrental.stores.models import Toy

Json = dict[str, Any]

# Ready says the same as these two.
_LEFT_OUT = frozenset({"Reconciling", "Stalled"})
# These were so before: that they are not any more is news; so is what holds an order up.
_ENDS = frozenset({"InService", "Booked", "Ready", "Captured", "Paid"})
# What comes first of what happened within a second: conditions know no shorter time.
_STAGES = ("Created", "Booked", "Reserved", "Captured", "Paid", "Approved", "Rented", "Returned")


class Entry(NamedTuple):
    """Something that happened: when, to which object, what in a word, and why in a sentence."""

    time: datetime
    object: str
    what: str
    words: str
    stage: str = ""
    warning: bool = False

    @property
    def order(self) -> tuple[datetime, int]:
        """Where it belongs among the others."""
        stage = _STAGES.index(self.stage) if self.stage in _STAGES else len(_STAGES)
        return self.time.replace(microsecond=0), stage


def show(api: Api, target: Target, name: str) -> bool:
    """Show what happened to an order; tell whether all could be read. Raises ApiError, Failure."""
    found = life.read(api, name)
    complaints = list(found.complaints)
    events: list[Json] = []
    try:
        for each in found.everything:
            events += _events_of(api, each)
    except ApiError as error:
        complaints.append(str(error))
    entries = tell(found.everything, events)
    if target.output in {"json", "yaml"}:
        shown = [_document(each) for each in entries]
        show_document({"entries": shown, "notShown": complaints}, target.output)
    elif target.output == "name":
        for each in found.everything:
            screens.listing_console().print(_ref(each))
    else:
        screens.console().print(of_entries(entries, complaints))
    return not complaints


def _events_of(api: Api, resource: Resource) -> list[Json]:
    where = f"/apis/events.k8s.io/v1/namespaces/{resource.namespace}/events"
    query = {"fieldSelector": f"regarding.uid={resource.uid}"}
    found: list[Json] = api.request("GET", where, "listing events", query=query)["items"]
    return found


def tell(resources: Iterable[Resource], events: Iterable[Json]) -> list[Entry]:
    """Return what happened to an order, which comes first, and to what belongs to it.

    Of the toy only what happened since the order was made; where a condition and an Event say the
    same of one moment, it is said once. Pure.
    """
    rental, *others = resources
    entries = [*_of_objects(rental, others), *map(_of_event, events)]
    since = rental.created
    entries = sorted((each for each in entries if each.time >= since), key=lambda each: each.order)
    told: dict[tuple[str, str], Entry] = {}
    kept: list[Entry] = []
    for each in entries:
        before = told.get((each.object, each.words))
        if before is None or (each.time - before.time).total_seconds() > 1:
            kept.append(each)
            told[each.object, each.words] = each
    return kept


def _of_objects(rental: Resource, others: Iterable[Resource]) -> Iterator[Entry]:
    for each in (rental, *others):
        yield Entry(each.created, _ref(each), "Created", _made(each), "Created")
        for condition in each.status.conditions:
            if _happened(condition):
                yield _of_condition(_ref(each), condition, _decider(each, condition.type))


def _happened(condition: Condition) -> bool:
    """Tell whether a condition tells of something that happened, not of what is yet to come."""
    if condition.type in _LEFT_OUT or condition.status == "Unknown":
        return False
    return condition.status == "True" or condition.type in _ENDS


def _decider(resource: Resource, type_: str) -> str:
    """Return who decided what a condition tells of, where that is on record."""
    match resource, type_:
        case Rental(spec=spec), "Approved" if spec.approval is not None:
            return spec.approval.decided_by or ""
        case Rental(spec=spec), "Inspected" if spec.inspection is not None:
            return spec.inspection.inspected_by or ""
        case RepairTicket(spec=spec), "Ready" if spec.resolution is not None:
            return spec.resolution.resolved_by or ""
        case _:
            return ""


def _of_condition(ref: str, condition: Condition, by: str) -> Entry:
    what = condition.reason if condition.status == "True" else f"{condition.type}=False"
    moment = condition.last_transition_time
    words = f"{condition.message} (by {by})" if by else condition.message
    return Entry(moment, ref, what, words, condition.type, condition.status == "False")


def _made(resource: Resource) -> str:
    match resource:
        case Rental(spec=spec):
            wanted = spec.toy_ref.name if spec.toy_ref else "any toy that fits"
            return f"{spec.customer} orders {wanted}."
        case Payment(spec=spec):
            return f"{spec.amount} is to be paid."
        case Toy(spec=spec):
            return f"{spec.title} is registered."
        case _:
            return "A repair is asked for."


def _of_event(event: Json) -> Entry:
    moment = event.get("eventTime") or event.get("deprecatedLastTimestamp")
    regarding = event["regarding"]
    return Entry(
        datetime.fromisoformat(moment or event["metadata"]["creationTimestamp"]),
        f"{regarding['kind'].lower()}/{regarding['name']}",
        event["reason"],
        event.get("note", ""),
        event["reason"],
        event.get("type") == "Warning",
    )


def of_entries(entries: Iterable[Entry], complaints: Iterable[str]) -> RenderableType:
    """Return what happened, a line each; day and object are named where they change."""
    table = screens.grid("", "*")
    day, last = "", ""
    for each in entries:
        if (today := f"{each.time:%Y-%m-%d}") != day:
            table.add_row(Text(today, "bold"), Text("(UTC)", "dim"))
        if each.object != last or today != day:
            table.add_row("", Text(each.object, "bold"))
        what = (each.what, screens.STYLES["warn" if each.warning else "busy"])
        table.add_row(f"  {each.time:%H:%M:%S}", Text.assemble(what, f"  {each.words}"))
        day, last = today, each.object
    told = list(complaints)
    return Group(table, Text(), screens.complaints(told)) if told else table


def _ref(resource: Resource) -> str:
    return f"{resource.SERVED.kind.lower()}/{resource.name}"


def _document(entry: Entry) -> Json:
    return {
        "time": f"{entry.time:%Y-%m-%dT%H:%M:%SZ}",
        "object": entry.object,
        "what": entry.what,
        "message": entry.words,
        "warning": entry.warning,
    }
