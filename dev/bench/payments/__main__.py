"""The command behind `make bench-payments`."""

import json
import math
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated

import typer

from dev.bench.console import for_people
from dev.bench.progress import Progress
from dev.cluster import build
from dev.cluster.console import plain

from . import measure, report
from .faults import FAULTS, SETTINGS, SUITE
from .measure import Figures, Load

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

BROKEN = 1
AROUND_SECONDS = {"breaker": 30, "disabled": 75, "course": 70}
"""What a measurement takes besides its orders, about: to start, to pay what waits, to end."""

EJECTED_SECONDS = 180
"""For how long the course project's setting leaves a provider alone."""


@app.command()
def bench(  # noqa: PLR0913, PLR0917 # one an option
    faults: Annotated[
        str, typer.Option(metavar="NAMES", help=f"Some of {', '.join(FAULTS)}; all if left out.")
    ] = "",
    settings: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help=f"Some of {', '.join(SETTINGS)}. Left out: all, with the faults that tell most.",
        ),
    ] = "",
    seconds: Annotated[
        float, typer.Option(min=3, help="How long orders come; the fault is in the middle third.")
    ] = 60,
    rate: Annotated[float, typer.Option(min=0.1, help="How many orders come a second.")] = 20,
    limit: Annotated[
        float,
        typer.Option(min=1, help="Seconds after the last order by which all must have ended."),
    ] = 300,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Add each measurement to this file, and leave out what it has already.",
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help="Begin no measurement that would not end by then; the rest are left out.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    to_page: Annotated[
        bool, typer.Option("--page", help="Put the tables into docs/payments.md as well.")
    ] = False,
) -> None:
    """Measure what faults of the payment provider do to a shop.

    Orders come at a steady rate, and the provider fails in the middle third of their time: on a
    real API server, with the operator and the simulator as processes of their own. A quick look:
    --faults drop,outage --seconds 15 --rate 5. Says first how many minutes it takes. Exits with 1
    if an order was not accepted, was lost or charged twice, or if an open circuit let more through
    than its probes.
    """
    console = plain()
    chosen = _chosen(_names(faults, FAULTS, "--faults"), _names(settings, SETTINGS, "--settings"))
    load = Load(seconds, rate, limit)
    with for_people(console), Progress(console) as progress:
        known = _recorded(record, load)
        todo = [each for each in chosen if each not in known]
        if todo:
            build.program(console)  # may take minutes the first time, and shows its own progress
        for figures in _measured(todo, load, within, progress):
            known[figures.fault, figures.setting] = figures
            if record is not None:
                with record.open("a") as file:
                    file.write(json.dumps(figures.as_json()) + "\n")
    found = [known[each] for each in chosen if each in known]
    if not found:
        raise typer.BadParameter("no measurement ends so soon", param_hint="--within")
    if to_page:
        report.write(found)
    if as_json:
        print(json.dumps([each.as_json() for each in found], indent=2))
    elif as_markdown:
        print(report.markdown(found))
    else:
        report.show(found)
    broken = [fault for each in found for fault in each.faults]
    for fault in broken:
        console.print(f"Broken: {fault}")
    raise typer.Exit(BROKEN if broken else 0)


def _measured(
    todo: list[tuple[str, str]], load: Load, within: float | None, progress: Progress
) -> Iterator[Figures]:
    minutes = sum(_takes(setting, load) for _, setting in todo) / 60
    progress.say(f"{len(todo)} measurements, about {minutes:.0f} minutes in all")
    ends = math.inf if within is None else time.monotonic() + 60 * within
    for number, (fault, setting) in enumerate(todo, 1):
        what = f"{number} of {len(todo)}: {fault}, {setting}"
        if time.monotonic() + _takes(setting, load) > ends:
            progress.say(f"{what}: left out, it would not end in time")
            continue
        progress.begin(what, load.offered)
        figures = measure.run(fault, setting, load, progress.advance)
        yield figures
        progress.say(
            f"{what}: {figures.accepted_a_second:.1f} orders a second accepted,"
            f" {figures.deferred} put off, {figures.lost} lost; it took {figures.took:.0f} s"
        )


def _takes(setting: str, load: Load) -> float:
    orders = load.seconds
    if setting == "course":
        orders = max(orders, load.seconds / 3 + EJECTED_SECONDS)
    return orders + AROUND_SECONDS[setting]


def _recorded(record: Path | None, load: Load) -> dict[tuple[str, str], Figures]:
    if record is None or not record.exists():
        return {}
    fields = Figures.__dataclass_fields__.keys()
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    found = [Figures(**line) for line in lines if line.keys() == fields]  # others are of old
    ours = [each for each in found if (each.seconds, each.rate) == (load.seconds, load.rate)]
    return {(each.fault, each.setting): each for each in ours}


def _chosen(faults: list[str], settings: list[str]) -> list[tuple[str, str]]:
    if settings:
        return [(fault, setting) for setting in settings for fault in faults or list(FAULTS)]
    return [each for each in SUITE if not faults or each[0] in faults]


def _names(text: str, known: Collection[str], flag: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name} is none of {', '.join(known)}", param_hint=flag)
    return names


if __name__ == "__main__":
    app(prog_name="python -m dev.bench.payments")
