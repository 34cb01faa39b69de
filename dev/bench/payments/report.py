"""The figures as tables: for the terminal, and for docs/payments.md."""

from collections.abc import Sequence
from statistics import mean
from textwrap import wrap

from rich.console import Console
from rich.table import Table

from dev.cluster.manifests import REPOSITORY

from .faults import SETTINGS, TOLD
from .measure import KEEPS_UP_SECONDS, Figures

PAGE = REPOSITORY / "docs" / "payments.md"
BEGIN = "<!-- begin: {setting}, measured by `make bench-payments` -->\n"
END = "<!-- end: {setting} -->\n"

COLUMNS = (
    "fault",
    "accepted",
    "lost",
    "charged twice",
    "put off",
    "calls while open",
    "first failure to open",
    "recovery to last one put off",
    "p50 before it",
    "p50 after it",
    "p50 of both",
    "p99 of both",
)

WIDE = 150
"""Columns of a table that goes to a file."""

PROSE = 104
"""Columns of prose in the pages."""


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
        _seconds(figures.median_before, 2),
        _seconds(figures.median_after, 2),
        _seconds(figures.median, 2),
        _seconds(figures.p99, 2),
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
        console.print(told(ours), width=min(console.width, 100))


def told(found: Sequence[Figures]) -> str:
    """Say of which load and which machine the figures are, and what of them cannot be relied on."""
    one = found[0]
    days = sorted({each.when.split()[0] for each in found})
    rates = [each.accepted_a_second for each in found]
    others = [each.others for each in found]
    behind = sum(not each.kept_up for each in found)
    return (
        f"Measured on {' to '.join(dict.fromkeys([days[0], days[-1]]))}:"
        f" {one.rate:g} orders a second for {one.seconds:g} s ({min(rates):.1f} to"
        f" {max(rates):.1f} were accepted), a fault in the middle third, on a machine of"
        f" {one.cores} cores of which others used {mean(others):.1f} on average, and"
        f" {max(others):.1f} at most. "
        + (
            f"In {behind} of {len(found)} measurements the machine did not keep up: even before the"
            f" fault half of the orders were paid later than {KEEPS_UP_SECONDS:g} s. Times of these"
            " tell of the machine; counts hold."
            if behind
            else "It kept up in all of them: before the fault half of the orders were paid within"
            f" {KEEPS_UP_SECONDS:g} s at most."
        )
    )


def write(found: Sequence[Figures]) -> None:
    """Put the tables into docs/payments.md: those of the settings that were measured."""
    page = PAGE.read_text()
    for setting, ours in _by_setting(found):
        begin, end = BEGIN.format(setting=setting), END.format(setting=setting)
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}{_section(setting, ours)}\n{end}{after}"
    PAGE.write_text(page)


def markdown(found: Sequence[Figures]) -> str:
    """Return the same tables in Markdown."""
    return "\n".join(_section(setting, ours) for setting, ours in _by_setting(found))


def _section(setting: str, ours: Sequence[Figures]) -> str:
    title = SETTINGS[setting].told
    lines = [f"**{title[0].upper()}{title[1:]}**", "", *wrap(told(ours), PROSE), ""]
    lines += [_line(COLUMNS), _line(["---"] + ["---:"] * (len(COLUMNS) - 1))]
    lines += [*(_line(cells(each)) for each in ours), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _by_setting(found: Sequence[Figures]) -> list[tuple[str, list[Figures]]]:
    by_setting = [(name, [f for f in found if f.setting == name]) for name in SETTINGS]
    return [(name, ours) for name, ours in by_setting if ours]


def _seconds(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f} s"
