"""What was measured, beside what is aimed for: a table for people, JSON for machines."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from .arms import Arm, Figures
from .settled import Start
from .staleness import Staleness

PEER = "a Go operator"
PEER_SOURCE = (
    "The Go operator was measured earlier on such a machine: controller-runtime 0.25,\n"
    "typed, cached, 8 workers, the same life. The aims are twice its CPU and memory, and 0.9\n"
    "of its speed, which is 0.81 of the ceiling: it reached 0.9 of that."
)
WRITES_A_LIFE = 12


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    value: float | None
    unit: str = ""
    goal: str = ""
    met: bool | None = None
    peer: str = ""


class Lives:
    """The rounds of lives, and what they say together."""

    def __init__(self, rounds: Sequence[dict[Arm, Figures]]) -> None:
        self.rounds = rounds

    def median_of(self, arm: Arm, figure: Callable[[Figures], float]) -> float | None:
        """Return the median of a figure over the rounds, if that arm was measured."""
        found = [figure(each[arm]) for each in self.rounds if arm in each]
        return median(found) if found else None

    def ratio(self, arm: Arm, figure: Callable[[Figures], float]) -> float | None:
        """Return the median over the rounds of operator to another arm, measured side by side."""
        found = [
            figure(each[Arm.OPERATOR]) / figure(each[arm]) for each in self.rounds if arm in each
        ]
        return median(found) if found else None

    def rows(self) -> list[Row]:
        """Return the table."""
        return [*self._speed(), *self._cpu(), *self._memory(), *self._writes()]

    def _speed(self) -> list[Row]:
        ratio = self.ratio(Arm.CEILING, _speed)
        return [
            Row("lives a second, operator", self.median_of(Arm.OPERATOR, _speed)),
            Row("lives a second, ceiling", self.median_of(Arm.CEILING, _speed)),
            Row("operator to ceiling", ratio, "", "≥ 0.81", _at_least(ratio, 0.81), "0.9"),
            Row("ceiling without Events", self.median_of(Arm.BARE_CEILING, _speed)),
            Row("operator to that", self.ratio(Arm.BARE_CEILING, _speed)),
            Row("all CPU, ceiling to operator", _inverse(self.ratio(Arm.CEILING, _all_cpu))),
        ]

    def _cpu(self) -> list[Row]:
        own = self.median_of(Arm.OPERATOR, lambda f: f.cpu_ms_a_life("operator"))
        rows = [Row("CPU a life, operator", own, "ms", "≤ 36", _at_most(own, 36), "18")]
        for process in ("kube-apiserver", "etcd", "kube-controller-manager", "simulator", "client"):
            rows += [
                Row(f"  {process}, {arm}", self.median_of(arm, _cpu_of(process)), "ms")
                for arm in (Arm.OPERATOR, Arm.CEILING)
            ]
        busy = (
            Row(f"  cores busy with other work, {arm}", self.median_of(arm, _others))
            for arm in (Arm.OPERATOR, Arm.CEILING)
        )
        return [*rows, *busy]

    def _memory(self) -> list[Row]:
        peak = self.median_of(Arm.OPERATOR, lambda f: f.peak_mib or 0.0)
        return [Row("peak memory, operator", peak, "MiB", "≤ 82", _at_most(peak, 82), "41")]

    def _writes(self) -> list[Row]:
        last = self.rounds[-1][Arm.OPERATOR]
        own = {name: n for name, n in last.operator_wrote.items() if name != "create events"}
        total = sum(own.values()) / last.lives
        goal = f"≤ {WRITES_A_LIFE}"
        rows = [
            Row("writes a life, operator", total, "", goal, total <= WRITES_A_LIFE, "12"),
            *(_count(name, n, last) for name, n in sorted(own.items())),
            _count("create events", last.operator_wrote["create events"], last),
            Row("writes a life, users", last.users_wrote.total() / last.lives),
            *(_count(name, n, last) for name, n in sorted(last.users_wrote.items())),
        ]
        return [*rows, Row("refused a life", last.refused.total() / last.lives)]

    def as_json(self) -> dict[str, Any]:
        """Return all there is."""
        return {
            "summary": [asdict(row) for row in self.rows() if row.value is not None],
            "rounds": [
                {str(arm): asdict(figures) for arm, figures in each.items()} for each in self.rounds
            ],
        }


def settled_rows(without: Start, with_history: Start) -> list[Row]:
    """Return the table of two starts."""
    comparable = with_history.settled == 10_000
    cpu, peak = with_history.cpu_seconds, with_history.peak_mib
    wrote = float(with_history.wrote.total())
    return [
        Row(f"CPU to start with {without.settled} settled", without.cpu_seconds, "s"),
        Row(f"peak memory with {without.settled}", without.peak_mib, "MiB"),
        Row(
            f"CPU to start with {with_history.settled} settled",
            cpu,
            "s",
            "≤ 17" if comparable else "",
            cpu <= 17 if comparable else None,
            "8.5" if comparable else "",
        ),
        Row("seconds until idle", with_history.seconds, "s"),
        Row(
            "peak memory",
            peak,
            "MiB",
            "≤ 318" if comparable else "",
            peak <= 318 if comparable else None,
            "159" if comparable else "",
        ),
        Row("memory once idle", with_history.resident_mib, "MiB"),
        Row("writes", wrote, "", "0", wrote == 0, "0"),
    ]


def staleness_rows(found: Staleness) -> list[Row]:
    """Return the table of how old a Dashboard was."""
    p50, p95 = found.percentiles[49], found.percentiles[94]
    return [
        Row("lives a second meanwhile", found.lives / found.seconds),
        Row("changes timed", float(len(found.delays))),
        Row("a change is not shown for (median)", p50, "s"),
        Row("a change is not shown for (95%)", p95, "s", "≤ 5", p95 <= 5),
        Row("a change is not shown for (longest)", max(found.delays), "s"),
        Row("writes of the Dashboard", float(len(found.writes))),
        Row(
            "time between two, on the average", found.rest, "s", "≥ 5", _at_least(found.rest, 4.99)
        ),
    ]


def show(rows: Sequence[Row], title: str) -> None:
    """Print a table for people."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("figure")
    for column in ("measured", "aim", "", PEER):
        table.add_column(column, justify="right")
    for row in rows:
        if row.value is not None:
            verdict = "" if row.met is None else "met" if row.met else "MISSED"
            value = f"{row.value:.2f} {row.unit}".strip()
            table.add_row(row.name, value, row.goal, verdict, row.peer)
    console = Console(highlight=False)
    console.print(table)
    if any(row.peer for row in rows):
        console.print(PEER_SOURCE)


def _speed(figures: Figures) -> float:
    return figures.lives_a_second


def _all_cpu(figures: Figures) -> float:
    return sum(n for name, n in figures.cpu_seconds.items() if name != "others")


def _others(figures: Figures) -> float:
    return figures.cpu_seconds["others"] / figures.seconds


def _cpu_of(process: str) -> Callable[[Figures], float]:
    return lambda figures: figures.cpu_ms_a_life(process)


def _count(name: str, count: int, figures: Figures) -> Row:
    return Row(f"  {name}", count / figures.lives)


def _at_least(value: float | None, aim: float) -> bool | None:
    return None if value is None else value >= aim


def _at_most(value: float | None, aim: float) -> bool | None:
    return None if value is None else value <= aim


def _inverse(value: float | None) -> float | None:
    return None if value is None else 1 / value
