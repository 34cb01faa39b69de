"""The shop at a glance, worked out from its resources. Pure: no network, no clock."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from toyrental.payments.models import Circuit, Payment, PaymentGateway
from toyrental.plugin.shop import Seen
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairTicket
from toyrental.shared import conditions
from toyrental.shared.money import Currency, Money
from toyrental.shared.resource import Resource
from toyrental.stores.models import Orders, Toy, ToyPhase, toy_phase

Json = dict[str, Any]


class Attention(NamedTuple):
    """Something that waits for a person: what, on which object, since when, what to type next."""

    what: str
    tone: str
    object: str
    words: str
    since: datetime | None
    command: str


class Gateway(NamedTuple):
    """How a payment provider does."""

    name: str
    state: str
    tone: str
    deferred: int
    retry: datetime | None


class Takings(NamedTuple):
    """Money of one currency."""

    taken: Money
    given_back: Money

    @property
    def kept(self) -> Money:
        """What is left of it."""
        return Money(
            currency=self.taken.currency,
            minor_units=self.taken.minor_units - self.given_back.minor_units,
        )


class Glance(NamedTuple):
    """What a shop is like; None where the person may not see it."""

    shop: str
    orders: Orders | None
    toys: dict[ToyPhase, int] | None
    rentals: dict[RentalPhase, int] | None
    gateways: tuple[Gateway, ...] | None
    takings: tuple[Takings, ...] | None
    attention: tuple[Attention, ...]
    complaints: tuple[str, ...]


def glance(shop: str, seen: Seen, flags: str = "") -> Glance:
    """Return the shop at a glance: of the orders those that go on, commands with these flags."""
    rentals, toys = seen.rentals, seen.toys
    return Glance(
        shop=shop,
        orders=_orders(seen),
        toys=None if toys is None else _counted(ToyPhase, map(_toy_phase, toys)),
        rentals=None if rentals is None else _counted(RentalPhase, (r.phase for r in rentals)),
        gateways=None if seen.gateways is None else tuple(map(_gateway, seen.gateways)),
        takings=_takings(seen),
        attention=tuple(_with_flags(_attention(seen), flags)),
        complaints=seen.complaints,
    )


def _orders(seen: Seen) -> Orders | None:
    if seen.stores is None:
        return None
    return next((store.spec.orders for store in seen.stores), Orders.ACCEPTED)


def _toy_phase(toy: Toy) -> ToyPhase:
    return toy.status.phase or toy_phase(toy.spec, toy.status)


def _counted(phases: Any, found: Iterable[Any]) -> dict[Any, int]:
    counts = Counter(found)
    return {phase: counts[phase] for phase in phases if counts[phase]}


def _takings(seen: Seen) -> tuple[Takings, ...] | None:
    if seen.dashboard is not None:
        return tuple(
            _sum(each.currency, each.captured_minor_units, each.refunded_minor_units)
            for each in seen.dashboard.status.payments
        )
    if seen.takings is None:
        return None
    taken, given_back = Counter[Currency](), Counter[Currency]()
    for payment in seen.takings:
        taken[payment.spec.amount.currency] += payment.status.captured_minor_units or 0
        given_back[payment.spec.amount.currency] += payment.status.refunded_minor_units or 0
    return tuple(_sum(each, taken[each], given_back[each]) for each in Currency if taken[each])


def _sum(currency: Currency, taken: int, given_back: int) -> Takings:
    return Takings(
        Money.model_construct(currency=currency, minor_units=taken),
        Money.model_construct(currency=currency, minor_units=given_back),
    )


def _gateway(gateway: PaymentGateway) -> Gateway:
    status = gateway.status
    if gateway.spec.suspended:
        state, tone = "suspended", "bad"
    elif status.circuit is None:
        state, tone = "not tried yet", "off"
    else:
        state, tone = _CIRCUITS[status.circuit]
    return Gateway(gateway.name, state, tone, status.deferred_payments, status.retry_time)


_CIRCUITS = {
    Circuit.CLOSED: ("payments work (circuit Closed)", "good"),
    Circuit.HALF_OPEN: ("payments are tried again (circuit HalfOpen)", "warn"),
    Circuit.OPEN: ("payments are put off (circuit Open)", "bad"),
}


def _with_flags(found: Iterable[Attention], flags: str) -> Iterator[Attention]:
    return (each._replace(command=each.command + flags) for each in found)


def _attention(seen: Seen) -> Iterator[Attention]:
    """Yield what needs a person, the most pressing first."""
    titles = {toy.name: toy.spec.title for toy in seen.toys or ()}
    rentals = seen.rentals or ()
    yield from (found for each in seen.gateways or () if (found := _of_gateway(each)))
    yield from map(_review, seen.payments or ())
    yield from (_overdue(each, titles) for each in rentals if each.overdue)
    yield from (_to_inspect(each, titles) for each in rentals if each.awaits_inspection)
    yield from (_to_approve(each, titles) for each in rentals if each.awaits_decision)
    yield from (found for each in rentals if (found := _stuck(each)))
    tickets = seen.tickets or ()
    yield from (_to_repair(each, titles) for each in tickets if each.spec.assignee is None)


def _of_gateway(gateway: PaymentGateway) -> Attention | None:
    ready = conditions.find(gateway.status.conditions, "Ready")
    if ready is None or ready.status == "True":
        return None
    since, words = ready.last_transition_time, ready.message
    command = f"kubectl describe paymentgateway {gateway.name}"
    return Attention("payments", "bad", _ref(gateway), words, since, command)


def _review(payment: Payment) -> Attention:
    ready = conditions.find(payment.status.conditions, "Ready")
    words, since = (ready.message, ready.last_transition_time) if ready else ("", None)
    command = f"kubectl describe payment {payment.name}"
    return Attention("review", "bad", _ref(payment), words, since, command)


def _overdue(rental: Rental, titles: dict[str, str]) -> Attention:
    command = f"kubectl toyrental tree {rental.name}"
    words = _what_for_whom(rental, titles)
    return Attention("overdue", "bad", _ref(rental), words, rental.status.due_time, command)


def _to_inspect(rental: Rental, titles: dict[str, str]) -> Attention:
    command = f"kubectl toyrental inspect {rental.name} accepted"
    since = _since(rental, "Returned")
    return Attention(
        "inspect", "warn", _ref(rental), _what_for_whom(rental, titles), since, command
    )


def _to_approve(rental: Rental, titles: dict[str, str]) -> Attention:
    price = f", {rental.status.price} paid" if rental.status.price else ""
    words = f"{_what_for_whom(rental, titles)}, {_days(rental.spec.period.days)}{price}"
    command = f"kubectl toyrental approve {rental.name}"
    return Attention("approve", "warn", _ref(rental), words, _since(rental, "Paid"), command)


def _stuck(rental: Rental) -> Attention | None:
    """Return what an order that goes no further by itself waits for."""
    stalled = conditions.find(rental.status.conditions, "Stalled")
    if stalled is None or stalled.status != "True":
        return None
    since, words = stalled.last_transition_time, stalled.message
    command = f"kubectl toyrental tree {rental.name}"
    return Attention("stuck", "warn", _ref(rental), words, since, command)


def _to_repair(ticket: RepairTicket, titles: dict[str, str]) -> Attention:
    toy = ticket.spec.toy_ref.name
    said = f": {ticket.spec.description}" if ticket.spec.description else ""
    words = f"{titles.get(toy, toy)}{said}"
    command = f"kubectl toyrental repair take {ticket.name}"
    return Attention("repair", "warn", _ref(ticket), words, ticket.created, command)


def _what_for_whom(rental: Rental, titles: dict[str, str]) -> str:
    toy = rental.status.toy_ref.name if rental.status.toy_ref else ""
    return f"{titles.get(toy, toy)} for {rental.spec.customer}"


def _since(rental: Rental, type_: str) -> datetime | None:
    found = conditions.find(rental.status.conditions, type_)
    return found.last_transition_time if found else None


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _ref(resource: Resource) -> str:
    return f"{resource.SERVED.kind.lower()}/{resource.name}"


def document(found: Glance) -> Json:
    """Return the same for programs."""
    return {
        "shop": found.shop,
        "orders": found.orders,
        "toys": None if found.toys is None else dict(found.toys),
        "rentals": None if found.rentals is None else dict(found.rentals),
        "gateways": None
        if found.gateways is None
        else [
            {
                "name": each.name,
                "state": each.state,
                "deferredPayments": each.deferred,
                "retryTime": _written(each.retry),
            }
            for each in found.gateways
        ],
        "takings": None
        if found.takings is None
        else [
            {
                "currency": each.taken.currency,
                "capturedMinorUnits": each.taken.minor_units,
                "refundedMinorUnits": each.given_back.minor_units,
            }
            for each in found.takings
        ],
        "attention": [
            {
                "what": each.what,
                "object": each.object,
                "message": each.words,
                "since": _written(each.since),
                "command": each.command,
            }
            for each in found.attention
        ],
        "notShown": list(found.complaints),
    }


def _written(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else None
