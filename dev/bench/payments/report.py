"""The figures as a table: for the terminal, for docs/payments.md, and as JSON."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .faults import SETTINGS, TOLD
from .measure import Figures

COLUMNS = (
    "fault",
    "accepted",
    "lost",
    "charged twice",
    "put off",
    "calls while open",
    "first failure to open",
    "recovery to last one put off",
    "p50",
    "p99",
)

WIDE = 150
"""Columns of a table that goes to a file."""


def cells(figures: Figures) -> tuple[str, ...]:
    """Return a line of the table."""
    accepted = f"{figures.accepted} of {figures.offered}"
    if figures.declined:
        accepted += f" ({figures.declined} declined)"
    opened = figures.probes_allowed > 0
    return (
        TOLD[figures.fault],
        accepted,
        str(figures.lost),
        str(figures.charged_twice),
        str(figures.deferred),
        f"{figures.calls_while_open} (≤ {figures.probes_allowed})" if opened else "-",
        _seconds(figures.to_open),
        _seconds(figures.to_last_deferred),
        f"{figures.median:.2f} s",
        f"{figures.p99:.2f} s",
    )


def show(found: Sequence[Figures]) -> None:
    """Print tables for people, one a setting."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    for setting, ours in _by_setting(found):
        table = Table(title=SETTINGS[setting].told, title_justify="left", box=None, pad_edge=False)
        for column in COLUMNS:
            table.add_column(column, justify="left" if column == "fault" else "right")
        for each in ours:
            table.add_row(*cells(each))
        console.print(table)


def markdown(found: Sequence[Figures]) -> str:
    """Return the same tables in Markdown."""
    lines = []
    for setting, ours in _by_setting(found):
        told = SETTINGS[setting].told
        lines += [f"**{told[0].upper()}{told[1:]}**", ""]
        lines += [_line(COLUMNS), _line(["---"] + ["---:"] * (len(COLUMNS) - 1))]
        lines += [*(_line(cells(each)) for each in ours), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _by_setting(found: Sequence[Figures]) -> list[tuple[str, list[Figures]]]:
    by_setting = [(name, [f for f in found if f.setting == name]) for name in SETTINGS]
    return [(name, ours) for name, ours in by_setting if ours]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
