"""How the demo is shown: a live table below the story on a terminal, plain lines elsewhere."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dev.demo.watch import Change, Thing, Watch

COLOURS = {
    "Available": "green",
    "Reserved": "yellow",
    "Rented": "cyan",
    "Returned": "magenta",
    "Damaged": "red",
    "InRepair": "red",
    "Discarded": "bright_black",
    "Pending": "yellow",
    "Paid": "blue",
    "Approved": "blue",
    "Completed": "green",
    "Cancelled": "bright_black",
    "Rejected": "bright_black",
    "Captured": "green",
    "Declined": "red",
    "Refunded": "bright_black",
    "Voided": "bright_black",
    "Repaired": "green",
}


class Screen:
    """Prints the story; on a terminal, the shop as it is now stays below it."""

    def __init__(self) -> None:
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self.console = Console(highlight=False, markup=False, soft_wrap=True)
        self.live = self.console.is_terminal and not plain
        self._table: Live | None = None

    def say(self, text: str = "", style: str = "") -> None:
        """Print a line of the story."""
        self.console.print(text, style=style if self.live else "")

    def title(self, title: str, text: str) -> None:
        """Begin a scene."""
        self.say(f"\n{title}", style="bold")
        for line in text.splitlines():
            self.say(f"   {line}".rstrip())

    def command(self, text: str) -> None:
        """Show a command, as it can be typed."""
        self.say(f"   $ {text}", style="bold cyan")

    def output(self, text: str) -> None:
        """Show what a command printed."""
        for line in text.rstrip("\n").splitlines():
            self.say(f"     {line}".rstrip(), style="bright_black")

    def change(self, change: Change) -> None:
        """Show what became of an object, where a person would care."""
        told = told_of(change)
        if told is None:
            return
        what, phase, note = told
        line = Text(f"     {what:<22} ")
        line.append(f"{phase:<10}", style=COLOURS.get(phase, "") if self.live else "")
        line.append(f" {note}" if note else "")
        line.rstrip()
        self.console.print(line)

    def refresh(self) -> None:
        """Show the shop as it is now."""
        if self._table is not None:
            self._table.refresh()

    @contextmanager
    def showing(self, watch: Watch) -> Iterator[None]:
        """Keep the shop in view below the story, on a terminal."""
        if not self.live:
            yield
            return
        self._table = Live(
            get_renderable=lambda: shop_table(watch),
            console=self.console,
            auto_refresh=False,  # it is drawn anew with each change
            transient=True,
        )
        with self._table:
            yield

    def pause(self) -> None:
        """Wait for Enter, where somebody is there to press it."""
        if not sys.stdin.isatty():
            return
        if self._table is not None:
            self._table.stop()
            self.console.print(self._table.get_renderable())
        self.console.input("   (Enter goes on) ")
        if self._table is not None:
            self._table.start()


def told_of(change: Change) -> tuple[str, str, str] | None:
    """Return what, its phase and a note, where a change is worth a line."""
    before, after = change
    if after is None:
        return None if before is None else (f"{before.kind}/{before.name}", "gone", "")
    now = _said(after)
    if not after.phase or (before is not None and _said(before) == now):
        return None
    if after.kind == "toy" and (before is None or not before.phase):
        return None  # that it is in stock is said by `kubectl get toys`
    return (_short(after), *now)


def _short(thing: Thing) -> str:
    kind = {"repairticket": "repair"}.get(thing.kind, thing.kind)
    rental = thing.spec.get("rentalRef", {}).get("name")
    toy = thing.spec.get("toyRef", {}).get("name") if thing.kind == "repairticket" else None
    return f"{kind} {rental or toy or thing.name}"


def _said(thing: Thing) -> tuple[str, str]:
    """Return the phase, and what to say beside it."""
    match thing.kind:
        case "toy":
            return thing.phase, ", ".join(promised_to(thing))
        case "payment":
            return thing.phase, amounts(thing)
        case _:
            return thing.phase, thing.condition("Ready").get("message", "")


def promised_to(toy: Thing) -> list[str]:
    """Return for whom a toy is held or out, first the first."""
    bookings = sorted(toy.status.get("bookings", ()), key=lambda booking: booking["startTime"])
    return [booking["rentalRef"]["name"] for booking in bookings]


def amounts(payment: Thing) -> str:
    """Return what was taken and what was given back, or why nothing was taken."""
    currency = payment.spec["amount"]["currency"]
    taken = payment.status.get("capturedMinorUnits", 0)
    given_back = payment.status.get("refundedMinorUnits", 0)
    if payment.phase == "Declined":
        return str(payment.status.get("failure", {}).get("message", ""))
    if not taken:
        return ""
    return f"{taken:,} {currency} taken" + (f", {given_back:,} given back" if given_back else "")


def shop_table(watch: Watch) -> RenderableType:
    """Return toys and orders side by side."""
    toys = _table("Toys", "toy", "phase", "for")
    for toy in watch.of("toy"):
        toys.add_row(toy.name, _phase(toy), ", ".join(promised_to(toy)))
    orders = _table("Orders", "customer", "phase", "toy")
    for rental in watch.of("rental"):
        toy_ref = rental.status.get("toyRef", {}).get("name", "")
        orders.add_row(rental.spec["customer"], _phase(rental), toy_ref)
    both = Table.grid(padding=(0, 3))
    both.add_row(toys, orders)
    return Group(Text(), both)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_style="bold", box=None, padding=(0, 1), min_width=36)
    for column in columns:
        table.add_column(column, style="bright_black" if column != "phase" else "", no_wrap=True)
    return table


def _phase(thing: Thing) -> Text:
    return Text(thing.phase, style=COLOURS.get(thing.phase, ""))
