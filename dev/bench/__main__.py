"""The command behind `make bench`."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dev.cluster import build
from dev.cluster.console import plain

from . import arms, recording, report, settled, staleness
from .arms import Arm, Load
from .console import for_people
from .progress import Progress

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def bench(  # noqa: PLR0913, PLR0917 # one an option
    lives: Annotated[
        int, typer.Option(min=1, help="How many rentals live their whole life in an arm.")
    ] = 300,
    rounds: Annotated[int, typer.Option(min=1, help="How often each arm has its turn.")] = 3,
    in_flight: Annotated[
        int, typer.Option(min=1, max=200, help="How many lives go on at a time.")
    ] = 24,
    without_events: Annotated[
        bool,
        typer.Option("--without-events", help="Measure the ceiling without Events as well."),
    ] = False,
    settled_rentals: Annotated[
        int,
        typer.Option("--settled", min=0, help="Measure a start with so many settled rentals."),
    ] = 0,
    dashboard: Annotated[
        bool,
        typer.Option("--dashboard", help="Measure how old a Dashboard is while rentals live."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    limit: Annotated[
        float, typer.Option(min=1, help="How many seconds one measurement may take.")
    ] = 600,
) -> None:
    """Measure what the operator costs, on a real API server of its own.

    Whole lives of rentals with the operator take turns with the same requests sent by the client
    alone, the ceiling. A quick look: --lives 60 --rounds 1. With --settled, the start of an
    operator that finds a long history is measured instead; with --dashboard, how old the owner's
    view is under load.
    """
    console = plain()
    with for_people(console), Progress(console) as progress:
        build.program(console)  # may take minutes the first time, and shows its own progress
        if settled_rentals:
            _settled(settled_rentals, limit, progress, as_json=as_json)
        elif dashboard:
            _dashboard(Load(lives, in_flight, limit), progress, as_json=as_json)
        else:
            order = [Arm.OPERATOR, Arm.CEILING] + [Arm.BARE_CEILING] * without_events
            _lives(Load(lives, in_flight, limit), order, rounds, progress, as_json=as_json)


def _lives(load: Load, order: list[Arm], rounds: int, progress: Progress, *, as_json: bool) -> None:
    progress.begin("recording what a life takes")
    with tempfile.TemporaryDirectory(prefix="toyrental-bench-") as name:
        scripts = recording.record(Path(name))
    measured = []
    for number in range(1, rounds + 1):
        figures = {}
        for arm in order:
            progress.begin(f"round {number} of {rounds}: {arm}", load.lives)
            figures[arm] = arms.run(arm, load, scripts, progress)
            speed = figures[arm].lives_a_second
            progress.say(f"round {number} of {rounds}: {arm}: {speed:.1f} lives a second")
        measured.append(figures)
    found = report.Lives(measured)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        report.show(found.rows(), f"{load.lives} lives, {load.in_flight} at a time, x {rounds}")


def _settled(count: int, limit: float, progress: Progress, *, as_json: bool) -> None:
    without, with_history = settled.run(count, limit, progress)
    if as_json:
        starts = {"without": asdict(without), "with_history": asdict(with_history)}
        print(json.dumps(starts, indent=2))
    else:
        rows = report.settled_rows(without, with_history)
        report.show(rows, f"Starting with {count} settled rentals")


def _dashboard(load: Load, progress: Progress, *, as_json: bool) -> None:
    progress.begin("rentals live, and a Dashboard is watched", load.lives)
    found = staleness.run(load, progress)
    if as_json:
        print(json.dumps(asdict(found), indent=2))
    else:
        title = f"A Dashboard, {load.lives} lives, {load.in_flight} at a time"
        report.show(report.staleness_rows(found), title)


if __name__ == "__main__":
    app(prog_name="python -m dev.bench")
