"""Writes what a person wants, and waits for what comes of it."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from toyrental.kube.errors import ApiError, NotFound
from toyrental.payments.models import Payment, PaymentPhase
from toyrental.plugin.api import WATCH_SECONDS, Api, path
from toyrental.plugin.near import not_there
from toyrental.plugin.options import TIMED_OUT, WILL_NOT_COME, Failure, Mode, Target
from toyrental.plugin.output import show_object
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairPhase, RepairTicket
from toyrental.shared import conditions
from toyrental.shared.conditions import Condition
from toyrental.shared.resource import API_VERSION, Resource

Json = dict[str, Any]

LONGEST_PREFIX = 50
_GONE = 410


class Deed(NamedTuple):
    """Something a person does: to which kind, how it is called when done, and what it leads to.

    What is waited for is a condition that holds, or a phase.
    """

    kind: type[Resource]
    done: str
    doing: str
    condition: str = ""
    phases: frozenset[str] = frozenset()


_ENDED = frozenset(
    {RentalPhase.CANCELLED, RentalPhase.REJECTED, RentalPhase.EXPIRED, RentalPhase.COMPLETED}
)
_PAYS_ON = frozenset(PaymentPhase) - {PaymentPhase.MANUAL_REVIEW}
_REPAIRED = frozenset({RepairPhase.REPAIRED, RepairPhase.DISCARDED})

ORDERED = Deed(Rental, "ordered", "ordering", condition="Paid")
PAID = Deed(Rental, "is paid by another method", "paying", condition="Paid")
CANCELLED = Deed(Rental, "cancelled", "cancelling", phases=frozenset({RentalPhase.CANCELLED}))
RETURNED = Deed(Rental, "returned", "returning", condition="Returned")
APPROVED = Deed(Rental, "approved", "approving", condition="Approved")
DENIED = Deed(Rental, "denied", "denying", phases=frozenset({RentalPhase.REJECTED}))
INSPECTED = Deed(Rental, "inspected", "inspecting", condition="Inspected")
OPENED = Deed(RepairTicket, "opened", "opening a ticket", condition="Accepted")
TAKEN = Deed(RepairTicket, "taken", "taking", phases=frozenset({RepairPhase.IN_REPAIR, *_REPAIRED}))
RESOLVED = Deed(RepairTicket, "resolved", "resolving", phases=_REPAIRED)

REVIEWED = Deed(Payment, "resolved", "resolving", phases=_PAYS_ON)
REFUND_RESOLVED = Deed(Payment, "resolved", "resolving", condition="Ready")


def create(  # noqa: PLR0913 # what a new object is
    api: Api, target: Target, mode: Mode, deed: Deed, spec: Json, *, name: str | None, like: str
) -> None:
    """Create an object, named so or after something else. Raises ApiError and Failure."""
    served, shop = deed.kind.SERVED, api.access.namespace
    metadata = {"name": name} if name else {"generateName": f"{like[:LONGEST_PREFIX]}-"}
    body = {"apiVersion": API_VERSION, "kind": served.kind, "metadata": metadata, "spec": spec}
    where = path(served.plural, shop)
    made = api.request("POST", where, deed.doing, body=body, query=mode.query)
    _finish(api, target, mode, deed, made)


def payment(api: Api, name: str) -> Payment:
    """Return a payment as it is now. Raises ApiError and Failure."""
    plural, shop = Payment.SERVED.plural, api.access.namespace
    try:
        return Payment.model_validate(api.get(plural, shop, name))
    except NotFound as error:
        raise not_there(api, plural, shop, name) from error


def patch(  # noqa: PLR0913, PLR0917 # what a change is
    api: Api, target: Target, mode: Mode, deed: Deed, name: str, spec: Json
) -> None:
    """Change the spec of an object. Raises ApiError and Failure."""
    plural, shop = deed.kind.SERVED.plural, api.access.namespace
    where, what = path(plural, shop, name), f"{deed.doing} {name}"
    try:
        made = api.request("PATCH", where, what, body={"spec": spec}, query=mode.query)
    except NotFound as error:
        raise not_there(api, plural, shop, name) from error
    _finish(api, target, mode, deed, made)


def _finish(  # what was done, and how
    api: Api, target: Target, mode: Mode, deed: Deed, made: Json
) -> None:
    name = f"{deed.kind.SERVED.kind.lower()}/{made['metadata']['name']}"
    plain = target.output in {"table", "wide"}
    if plain:
        sys.stdout.write(f"{name} {deed.done}{' (server dry run)' if mode.dry_run else ''}\n")
        sys.stdout.flush()
    if mode.wait:
        made = _awaited(api, deed, made, mode.seconds)
    if not plain:
        show_object(made, target.output)
    elif mode.wait:
        sys.stdout.write(f"{_says(deed.kind.model_validate(made))}\n")


def _awaited(api: Api, deed: Deed, made: Json, seconds: float) -> Json:
    """Return the object once what its owner waits for has come. Raises Failure."""
    deadline = time.monotonic() + seconds
    before = _stalled_since(deed.kind.model_validate(made))
    with _spinner() as say:
        for raw in _seen(api, deed, made, deadline):
            made, seen = raw, deed.kind.model_validate(raw)
            if has_come(deed, seen):
                return made
            if _stalled_since(seen) != before:
                before = None  # what held it up before the change does not any more
            if before is None and (why := cannot_come(seen)):
                raise Failure(f"{seen.name} goes no further by itself: {why}", WILL_NOT_COME)
            say(_says(seen))
    seen = deed.kind.model_validate(made)
    told = _says(seen) or "the operator has not looked at it; is it running?"
    raise Failure(f"not within {seconds:g} s: {told}", TIMED_OUT)


def has_come(deed: Deed, seen: Resource) -> bool:
    """Tell whether the operator has done its part since the last change of the spec."""
    if not _looked_at(seen):
        return False
    if deed.condition:
        return conditions.is_true(seen.status.conditions, deed.condition)
    return seen.status.phase in deed.phases


def cannot_come(seen: Resource) -> str:
    """Return why it will not come unless a person acts; nothing while it may."""
    if not _looked_at(seen):
        return ""
    stalled = _stall(seen)
    if stalled is not None:
        return stalled.message
    return _says(seen) or str(seen.status.phase) if seen.status.phase in _ENDED else ""


def _stall(seen: Resource) -> Condition | None:
    """Return the condition that says that nothing moves until a person acts."""
    stalled = conditions.find(seen.status.conditions, "Stalled")
    return stalled if stalled is not None and stalled.status == "True" else None


def _stalled_since(seen: Resource) -> datetime | None:
    stalled = _stall(seen)
    return stalled.last_transition_time if stalled else None


def _looked_at(seen: Resource) -> bool:
    return (seen.status.observed_generation or 0) >= seen.metadata.generation


def _says(seen: Resource) -> str:
    ready = conditions.find(seen.status.conditions, "Ready")
    return ready.message if ready else ""


def _seen(api: Api, deed: Deed, made: Json, deadline: float) -> Iterator[Json]:
    """Yield each state of an object from now until a deadline, as it is watched."""
    yield made
    plural, metadata = deed.kind.SERVED.plural, made["metadata"]
    shop, name, version = metadata["namespace"], metadata["name"], metadata["resourceVersion"]
    while (left := deadline - time.monotonic()) > 0:
        fields, seconds = f"metadata.name={name}", min(math.ceil(left), WATCH_SECONDS)
        try:
            for event in api.watch(plural, shop, version, fields=fields, seconds=seconds):
                if event["type"] == "DELETED":
                    raise Failure(f"{name} was deleted meanwhile", WILL_NOT_COME)
                version = event["object"]["metadata"]["resourceVersion"]
                yield event["object"]
        except ApiError as error:
            if error.status != _GONE:
                raise
            made = api.get(plural, shop, name)
            version = made["metadata"]["resourceVersion"]
            yield made


@contextmanager
def _spinner() -> Iterator[Callable[[str], None]]:
    """Give what shows, on a terminal, that something is waited for, and in which words."""
    if not sys.stderr.isatty():
        yield _in_silence
        return
    from rich.console import Console  # noqa: PLC0415 # programs do without

    console = Console(stderr=True, highlight=False, markup=False)
    with console.status("waiting for the operator") as status:

        def say(words: str) -> None:
            status.update(words or "waiting for the operator")

        yield say


def _in_silence(_words: str) -> None:
    pass
