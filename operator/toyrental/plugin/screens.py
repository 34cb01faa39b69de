"""How things look on a terminal: rich renderables of what was worked out elsewhere. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from toyrental.payments.models import PaymentPhase
from toyrental.plugin.glance import Attention, Gateway, Glance, Takings
from toyrental.plugin.options import colourful
from toyrental.rentals.models import RentalPhase
from toyrental.repairs.models import RepairPhase
from toyrental.shared.resource import Resource
from toyrental.stores.models import Orders, Toy, ToyPhase

UNWRAPPED = 10_000
"""The width of lists: a line is never cut."""
MOST = 20
"""How many things that need attention are shown; the rest is counted."""
BAR = 30
"""The length of the longest bar."""

STYLES = {
    "good": "green",
    "busy": "cyan",
    "warn": "yellow",
    "bad": "bold red",
    "off": "bright_black",
}

# In this order the stock is shown.
TOYS = {
    ToyPhase.AVAILABLE: "good",
    ToyPhase.RESERVED: "busy",
    ToyPhase.RENTED: "busy",
    ToyPhase.RETURNED: "warn",
    ToyPhase.IN_REPAIR: "warn",
    ToyPhase.DAMAGED: "bad",
    ToyPhase.WITHDRAWN: "off",
    ToyPhase.DISCARDED: "off",
}
RENTALS = {
    RentalPhase.PENDING: "off",
    RentalPhase.RESERVED: "busy",
    RentalPhase.PAID: "warn",
    RentalPhase.APPROVED: "busy",
    RentalPhase.RENTED: "good",
    RentalPhase.RETURNED: "warn",
    RentalPhase.COMPLETED: "good",
    RentalPhase.CANCELLED: "off",
    RentalPhase.REJECTED: "off",
    RentalPhase.EXPIRED: "off",
}
PAYMENTS = {
    PaymentPhase.PENDING: "off",
    PaymentPhase.DEFERRED: "warn",
    PaymentPhase.PROCESSING: "busy",
    PaymentPhase.CAPTURED: "good",
    PaymentPhase.DECLINED: "bad",
    PaymentPhase.VOIDED: "off",
    PaymentPhase.PARTIALLY_REFUNDED: "busy",
    PaymentPhase.REFUNDED: "off",
    PaymentPhase.UNKNOWN: "bad",
    PaymentPhase.MANUAL_REVIEW: "bad",
}
REPAIRS = {
    RepairPhase.OPEN: "bad",
    RepairPhase.IN_REPAIR: "warn",
    RepairPhase.REPAIRED: "good",
    RepairPhase.DISCARDED: "off",
}
_TONES: dict[str, Mapping[Any, str]] = {
    "Toy": TOYS,
    "Rental": RENTALS,
    "Payment": PAYMENTS,
    "RepairTicket": REPAIRS,
}


def console(width: int | None = None) -> Console:
    """Return standard output: with colours only on a terminal, and without NO_COLOR."""
    return Console(
        width=width, color_system="auto" if colourful() else None, highlight=False, emoji=False
    )


def listing_console() -> Console:
    """Return a console for lists: a line is never cut, and it is the terminal that wraps it."""
    return console(UNWRAPPED)


def styled(words: str, tone: str) -> Text:
    """Return words in the colour of their tone."""
    return Text(words, STYLES.get(tone, ""))


def age(since: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in one unit, as in 5m, 3h or 12d."""
    if since is None:
        return ""
    seconds = max(int((now - since).total_seconds()), 0)
    for length, unit, most in ((1, "s", 120), (60, "m", 120 * 60), (3600, "h", 48 * 3600)):
        if seconds < most:
            return f"{seconds // length}{unit}"
    return f"{seconds // 86400}d"


def grid(*columns: str) -> Table:
    """Return a table without lines; a column that starts with > is right-aligned, * may wrap."""
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        justify = "right" if column == ">" else "left"
        table.add_column(justify=justify, no_wrap=column != "*", overflow="fold")  # type: ignore[arg-type] # it is one of these
    return table


def tone_of(resource: Resource) -> str:
    """Return the style of the phase of an object."""
    return STYLES[_TONES[resource.SERVED.kind].get(resource.status.phase, "off")]


# --- The shop at a glance ---


def of_glance(found: Glance, now: datetime, *, wide: bool = False) -> RenderableType:
    """Return the shop at a glance."""
    parts: list[RenderableType] = [_title(found)]
    if found.toys is not None:
        parts += [Text(), _stock(found.toys)]
    if found.rentals is not None:
        parts += [Text(), _orders(found.rentals)]
    if found.gateways is not None or found.takings is not None:
        parts += [Text(), _money(found, now)]
    parts += [Text(), _attention(found.attention, now, wide=wide)]
    if found.complaints:
        parts += [Text(), complaints(found.complaints)]
    return Group(*parts)


def _title(found: Glance) -> Text:
    title = Text.assemble("Shop ", (found.shop, "bold"))
    if found.orders is Orders.PAUSED:
        title.append("   orders are paused", STYLES["warn"])
    return title


def _stock(toys: dict[ToyPhase, int]) -> RenderableType:
    table = grid("", ">", "")
    total, most = sum(toys.values()), max(toys.values(), default=1)
    table.add_row(Text("Toys", "bold"), str(total), "" if total else "none registered yet")
    for phase, tone in TOYS.items():
        if count := toys.get(phase, 0):
            table.add_row(f"  {phase}", str(count), styled(bar(count, most), tone))
    return table


def bar(count: int, most: int) -> str:
    """Return a bar; the longest stands for `most`, and what is there at all is seen."""
    return "█" * max(1, round(BAR * count / most))


def _orders(rentals: dict[RentalPhase, int]) -> RenderableType:
    words = Text("   ").join(
        Text.assemble((str(phase), STYLES[tone]), f" {rentals[phase]}")
        for phase, tone in RENTALS.items()
        if phase in rentals
    )
    table = grid("", ">", "*")
    table.add_row(
        Text("Orders", "bold"), str(sum(rentals.values())), words if rentals else "none goes on"
    )
    return table


def _money(found: Glance, now: datetime) -> RenderableType:
    table = grid("", "*")
    head = Text("Money", "bold")
    for takings in found.takings or ():
        table.add_row(head, _takings(takings))
        head = Text()
    for gateway in found.gateways or ():
        table.add_row(head, _gateway(gateway, now))
        head = Text()
    if not table.rows:
        table.add_row(head, "nothing was taken yet")
    return table


def _takings(takings: Takings) -> str:
    return f"{takings.taken} taken, {takings.given_back} given back, {takings.kept} kept"


def _gateway(gateway: Gateway, now: datetime) -> Text:
    words = Text.assemble(f"{gateway.name}: ", (gateway.state, STYLES[gateway.tone]))
    if gateway.deferred:
        words.append(f", {gateway.deferred} put off")
    if gateway.retry is not None and gateway.retry > now:
        words.append(f", tried again in {age(now, gateway.retry)}")
    return words


def _attention(found: tuple[Attention, ...], now: datetime, *, wide: bool) -> RenderableType:
    if not found:
        return Text("Nothing needs your attention.", STYLES["good"])
    table = grid("", ">", "*")
    for each in found if wide else found[:MOST]:
        words = Text.assemble((each.object, "bold"), f"  {each.words}\n", (each.command, "dim"))
        table.add_row(styled(each.what, each.tone), age(each.since, now), words)
    parts: list[RenderableType] = [Text(f"Needs attention ({len(found)})", "bold"), table]
    if not wide and len(found) > MOST:
        parts.append(Text(f"and {len(found) - MOST} more: -o wide shows all"))
    return Group(*parts)


def complaints(found: Iterable[str]) -> RenderableType:
    """Return what could not be read; it comes last."""
    table = grid("*")
    table.add_row(Text("Not shown", STYLES["bad"]))
    for each in found:
        table.add_row(Text(each))
    return table


def of_shops(found: Iterable[Glance]) -> Table:
    """Return a line a shop."""
    heads = "SHOP TOYS AVAILABLE RENTED OUT-OF-ORDER ORDERS APPROVE INSPECT OVERDUE PAYMENTS"
    table = listing(*heads.split())
    for each in found:
        toys = each.toys
        waits = [sum(a.what == what for a in each.attention) for what in _WAITS]
        table.add_row(
            each.shop,
            *("?" if toys is None else str(number) for number in _stock_numbers(toys or {})),
            *("?" if each.rentals is None else str(sum(each.rentals.values())),),
            *("?" if each.rentals is None else str(number) for number in waits),
            _payments(each),
        )
    return table


_WAITS = ("approve", "inspect", "overdue")


def _stock_numbers(toys: dict[ToyPhase, int]) -> tuple[int, ...]:
    out_of_order = toys.get(ToyPhase.DAMAGED, 0) + toys.get(ToyPhase.IN_REPAIR, 0)
    return (
        sum(toys.values()),
        toys.get(ToyPhase.AVAILABLE, 0),
        toys.get(ToyPhase.RENTED, 0),
        out_of_order,
    )


def _payments(found: Glance) -> Text:
    if found.gateways is None:
        return Text("?")
    words = [styled(each.state, each.tone) for each in found.gateways]
    return Text(", ").join(words) if words else Text("no gateway", STYLES["off"])


# --- Lists ---


def listing(*heads: str) -> Table:
    """Return a list as kubectl prints one."""
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="", show_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=True, overflow="fold")
    return table


def of_toys(
    toys: Iterable[Toy], now: datetime, *, wide: bool = False, everywhere: bool = False
) -> Table:
    """Return the stock, a toy a line."""
    heads = ["SHOP"] * everywhere + ["NAME", "TITLE", "STATE", "DAILY-RATE", "PROMISED-TO"]
    table = listing(*heads, *["MODEL", "CATEGORY", "RENTALS", "TICKET", "AGE"] * wide)
    for toy in toys:
        phase, status = toy.status.phase, toy.status
        ticket = status.service.ticket_ref
        table.add_row(
            *[toy.namespace] * everywhere,
            toy.name,
            toy.spec.title,
            styled(phase, TOYS[phase]) if phase else "",
            str(toy.spec.daily_rate),
            ",".join(booking.rental_ref.name for booking in status.bookings),
            *[
                toy.spec.model or "",
                toy.spec.category or "",
                str(status.completed_rentals),
                ticket.name if ticket else "",
                age(toy.created, now),
            ]
            * wide,
        )
    return table
