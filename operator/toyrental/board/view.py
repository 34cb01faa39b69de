"""What the page says, worked out from the resources of a shop. Pure: no network, no clock."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, tzinfo
from typing import Generic, NamedTuple, TypeVar

from toyrental.payments.models import Circuit, PaymentGateway
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairPhase, RepairTicket
from toyrental.shared import conditions
from toyrental.stores.models import Toy, ToyPhase

MOST = 300
"""How many cards a list shows at most; the rest is counted."""

C = TypeVar("C")
R = TypeVar("R")


class Seen(NamedTuple):
    """The resources of a shop; None where the person may not list them."""

    toys: tuple[Toy, ...] | None = ()
    rentals: tuple[Rental, ...] | None = ()
    tickets: tuple[RepairTicket, ...] | None = ()
    gateways: tuple[PaymentGateway, ...] | None = ()


class May(NamedTuple):
    """What the person may do in the shop, as far as RBAC says."""

    approve: bool = False
    inspect: bool = False
    repair: bool = False


class Badge(NamedTuple):
    """A state in a word; its tone (good, busy, warn, bad, off) only colours it."""

    word: str
    tone: str


class Card(NamedTuple):
    """An object in a list: what it is, how it is, and what more is known of it."""

    name: str
    uid: str
    title: str
    badge: Badge
    facts: tuple[str, ...]
    note: str = ""
    can_act: bool = False


class Cards(NamedTuple, Generic[C]):
    """A list of cards, cut at `MOST`; `hidden` where the person may not see it."""

    shown: tuple[C, ...] = ()
    more: int = 0
    hidden: bool = False

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.shown) + self.more


class Tile(NamedTuple):
    """A number with its name."""

    label: str
    number: int
    tone: str


class ShopView(NamedTuple):
    """The whole page of a shop."""

    shop: str
    tiles: tuple[Tile, ...]
    saying: str
    approvals: Cards[Card]
    inspections: Cards[Card]
    overdue: Cards[Card]
    today: Cards[Card]
    stock: Cards[Card]
    repairs: Cards[Card]
    circuits: Cards[Card]


def shop_view(shop: str, seen: Seen, may: May, now: datetime, zone: tzinfo) -> ShopView:
    """Return the page of a shop at a moment; times and days are those of the zone."""
    titles = {toy.name: toy.spec.title for toy in seen.toys or ()}

    def rentals(which: Callable[[Rental], bool], *, can_act: bool = False) -> Cards[Card]:
        found = _only(seen.rentals, which)
        return _cards(found, lambda rental: _rental_card(rental, titles, zone, can_act=can_act))

    approvals = rentals(lambda rental: rental.awaits_decision, can_act=may.approve)
    inspections = rentals(lambda rental: rental.awaits_inspection, can_act=may.inspect)
    overdue = rentals(lambda rental: rental.overdue)
    today = rentals(lambda rental: _is_of_today(rental, now, zone))
    return ShopView(
        shop=shop,
        tiles=_tiles(seen, approvals.total, inspections.total, overdue.total),
        saying=_saying(approvals.total, inspections.total, overdue.total),
        approvals=approvals,
        inspections=inspections,
        overdue=overdue,
        today=today,
        stock=_cards(_in_stock_order(seen.toys), lambda toy: _toy_card(toy, may)),
        repairs=_cards(_only(seen.tickets, lambda t: not t.settled), lambda t: _ticket(t, titles)),
        circuits=_cards(seen.gateways, lambda gateway: _circuit(gateway, zone)),
    )


def known_as(user: str) -> str:
    """Return by what name a person goes: of a service account its own, without its namespace."""
    account = user.removeprefix("system:serviceaccount:")
    return user if account == user else account.rpartition(":")[2]


def _is_of_today(rental: Rental, now: datetime, zone: tzinfo) -> bool:
    """Tell whether a rental is handed over, out or due on this day."""
    if rental.phase is RentalPhase.RENTED:
        return True
    start = rental.status.start_time or rental.spec.period.start_time
    today = now.astimezone(zone).date()
    return (
        rental.phase.before_hand_over
        and start is not None
        and start.astimezone(zone).date() == today
    )


def _rental_card(rental: Rental, titles: dict[str, str], zone: tzinfo, *, can_act: bool) -> Card:
    status = rental.status
    toy = status.toy_ref.name if status.toy_ref else ""
    wanted = rental.spec.toy_ref.name if rental.spec.toy_ref else "any toy that fits"
    facts = [f"for {rental.spec.customer}", _days(rental.spec.period.days)]
    if status.price is not None:
        facts.append(str(status.price))
    if status.due_time is not None:
        facts.append(f"due {_moment(status.due_time, zone)}")
    elif status.start_time is not None:
        facts.append(f"from {_moment(status.start_time, zone)}")
    ready = conditions.find(status.conditions, "Ready")
    badge = Badge("Overdue", "bad") if rental.overdue else _RENTALS[rental.phase]
    title = titles.get(toy, toy) or wanted
    note = ready.message if ready else ""
    return Card(rental.name, rental.uid, title, badge, tuple(facts), note, can_act)


def _toy_card(toy: Toy, may: May) -> Card:
    phase = toy.status.phase
    badge = _TOYS[phase] if phase else Badge("New", "off")
    facts = [f"{toy.spec.daily_rate} a day"]
    if toy.spec.category:
        facts.insert(0, toy.spec.category)
    ahead = len(toy.status.bookings)
    if ahead:
        facts.append("1 booking" if ahead == 1 else f"{ahead} bookings")
    can_act = may.repair and toy.in_service and toy.out is None
    return Card(toy.name, toy.uid, toy.spec.title, badge, tuple(facts), can_act=can_act)


def _ticket(ticket: RepairTicket, titles: dict[str, str]) -> Card:
    toy = ticket.spec.toy_ref.name
    facts = (f"with {ticket.spec.assignee}" if ticket.spec.assignee else "nobody has taken it",)
    badge = _REPAIRS[ticket.phase]
    title = titles.get(toy, toy)
    return Card(ticket.name, ticket.uid, title, badge, facts, ticket.spec.description)


def _circuit(gateway: PaymentGateway, zone: tzinfo) -> Card:
    status = gateway.status
    badge = Badge("Suspended", "warn") if gateway.spec.suspended else _circuit_badge(status.circuit)
    facts = []
    if status.deferred_payments:
        facts.append(f"{status.deferred_payments} put off")
    if status.retry_time is not None:
        facts.append(f"tried again {_moment(status.retry_time, zone)}")
    ready = conditions.find(status.conditions, "Ready")
    note = ready.message if ready else ""
    return Card(gateway.name, gateway.uid, gateway.name, badge, tuple(facts), note)


def _circuit_badge(circuit: Circuit | None) -> Badge:
    return Badge("Not tried yet", "off") if circuit is None else _CIRCUITS[circuit]


def _tiles(seen: Seen, approvals: int, inspections: int, overdue: int) -> tuple[Tile, ...]:
    tiles: list[Tile] = []
    if seen.toys is not None:
        phases = Counter(toy.status.phase for toy in seen.toys)
        tiles += [
            Tile("toys available", phases[ToyPhase.AVAILABLE], "good"),
            Tile("with customers", phases[ToyPhase.RENTED], "busy"),
            Tile("out of order", phases[ToyPhase.DAMAGED] + phases[ToyPhase.IN_REPAIR], "warn"),
        ]
    if seen.rentals is not None:
        tiles += [
            Tile("to approve", approvals, "warn"),
            Tile("to inspect", inspections, "warn"),
            Tile("overdue", overdue, "bad"),
        ]
    return tuple(tile._replace(tone=tile.tone if tile.number else "off") for tile in tiles)


def _saying(approvals: int, inspections: int, overdue: int) -> str:
    """Return what is read out to those who do not see the page."""
    counts = ((approvals, "to approve"), (inspections, "to inspect"), (overdue, "overdue"))
    return ", ".join(f"{count} {what}" for count, what in counts if count) or "Nothing waits."


def _in_stock_order(toys: tuple[Toy, ...] | None) -> tuple[Toy, ...] | None:
    if toys is None:
        return None
    order = {phase: number for number, phase in enumerate(_TOYS)}
    return tuple(
        sorted(toys, key=lambda toy: (order.get(toy.status.phase, -1), toy.spec.title))  # type: ignore[arg-type]
    )


def _only(found: tuple[R, ...] | None, holds: Callable[[R], bool]) -> tuple[R, ...] | None:
    return None if found is None else tuple(each for each in found if holds(each))


def _cards(found: Iterable[R] | None, card: Callable[[R], Card]) -> Cards[Card]:
    if found is None:
        return Cards(hidden=True)
    every = tuple(found)
    return Cards(tuple(card(each) for each in every[:MOST]), max(0, len(every) - MOST))


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _moment(time: datetime, zone: tzinfo) -> str:
    return f"{time.astimezone(zone):%a %d %b, %H:%M %Z}"


_RENTALS = {
    RentalPhase.PENDING: Badge("In line", "off"),
    RentalPhase.RESERVED: Badge("Being paid", "busy"),
    RentalPhase.PAID: Badge("Paid", "warn"),
    RentalPhase.APPROVED: Badge("Approved", "busy"),
    RentalPhase.RENTED: Badge("With the customer", "busy"),
    RentalPhase.RETURNED: Badge("Came back", "warn"),
    RentalPhase.COMPLETED: Badge("Completed", "good"),
    RentalPhase.CANCELLED: Badge("Cancelled", "off"),
    RentalPhase.REJECTED: Badge("Rejected", "off"),
    RentalPhase.EXPIRED: Badge("Expired", "off"),
}

# In this order the stock is shown.
_TOYS = {
    ToyPhase.DAMAGED: Badge("Damaged", "bad"),
    ToyPhase.IN_REPAIR: Badge("In repair", "warn"),
    ToyPhase.RETURNED: Badge("Came back", "warn"),
    ToyPhase.RENTED: Badge("With a customer", "busy"),
    ToyPhase.RESERVED: Badge("Reserved", "busy"),
    ToyPhase.AVAILABLE: Badge("Available", "good"),
    ToyPhase.WITHDRAWN: Badge("Withdrawn", "off"),
    ToyPhase.DISCARDED: Badge("Discarded", "off"),
}

_REPAIRS = {
    RepairPhase.OPEN: Badge("Open", "bad"),
    RepairPhase.IN_REPAIR: Badge("In repair", "warn"),
    RepairPhase.REPAIRED: Badge("Repaired", "good"),
    RepairPhase.DISCARDED: Badge("Discarded", "off"),
}

_CIRCUITS = {
    Circuit.CLOSED: Badge("Payments work", "good"),
    Circuit.HALF_OPEN: Badge("Payments are tried again", "warn"),
    Circuit.OPEN: Badge("Payments are put off", "bad"),
}
