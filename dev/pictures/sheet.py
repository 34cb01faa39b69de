"""A Grafana dashboard as one picture, each panel drawn from the answers of a Prometheus."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import httpx
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dev.generate.grafana import ROW_HEIGHT, STAT_HEIGHT, Board, Look, Panel

COLUMNS = 24
STEP_SECONDS = 1
WIDTH_INCHES, UNIT_INCHES, DPI = 14.0, 0.33, 100
VARIABLES = {"$namespace": ".*", "$__rate_interval": "10s"}

LETTERS = 8.2
"""How many small letters fit in a column."""

GREEN, YELLOW, RED = "#299c46", "#e0a100", "#d44a3a"
SERIES = (
    "#5794f2",
    "#73bf69",
    "#f2cc0c",
    "#ff9830",
    "#b877d9",
    "#f2495c",
    "#3ba3a3",
    "#8e8e8e",
    "#a16946",
    "#1f4e9c",
)
INK, SOFT, RULE = "#24292e", "#6a737d", "#e4e7eb"


@dataclass(frozen=True)
class Series:
    """One line of a panel: its legend, and its value at each moment."""

    legend: str
    moments: list[float]
    values: list[float]

    @property
    def known(self) -> list[float]:
        """The values there are."""
        return [value for value in self.values if not math.isnan(value)]


class Source:
    """A Prometheus, and the time of which it is asked."""

    def __init__(self, url: str, start: float, end: float) -> None:
        self._url = url
        self.start, self.end = start, end

    def series(self, panel: Panel) -> list[Series]:
        """Return what a panel shows; missing values are NaN."""
        return [found for answer in panel.answers for found in self._ask(*answer)]

    def _ask(self, expression: str, legend: str) -> Iterator[Series]:
        for variable, value in VARIABLES.items():
            expression = expression.replace(variable, value)
        asked: dict[str, str | float] = {
            "query": expression,
            "start": self.start,
            "end": self.end,
            "step": STEP_SECONDS,
        }
        answer = httpx.get(f"{self._url}/api/v1/query_range", params=asked, trust_env=False).json()
        if answer["status"] != "success":
            raise ValueError(f"{expression}: {answer['error']}")
        steps = range(int((self.end - self.start) / STEP_SECONDS) + 1)
        for found in answer["data"]["result"]:
            at = {round((t - self.start) / STEP_SECONDS): float(v) for t, v in found["values"]}
            values = [at.get(step, math.nan) for step in steps]
            moments = [float(step * STEP_SECONDS) for step in steps]
            yield Series(_legend(legend, found["metric"]), moments, values)


def draw(board: Board, source: Source, path: Path) -> None:
    """Draw a dashboard into a PNG."""
    mpl.rcParams["font.family"] = "DejaVu Sans"
    rows = list(_rows(board.panels))
    heights = [max(_height(panel) for panel in row) for row in rows]
    total = 3 + sum(heights)
    figure = Figure(figsize=(WIDTH_INCHES, total * UNIT_INCHES), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.012, 1 - 1.2 / total, board.title, fontsize=16, weight="bold", color=INK)
    figure.text(0.012, 1 - 2.1 / total, board.description, fontsize=10, color=SOFT)
    grid = GridSpec(
        total, COLUMNS, figure, left=0.012, right=0.988, top=1, bottom=0.01, wspace=0, hspace=0
    )
    top = 3
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for panel in row:
            cell = grid[top : top + height, left : left + panel.span]
            _panel(figure, cell.get_position(figure).bounds, panel, source)
            left += panel.span
        top += height
    figure.savefig(path)


def _rows(panels: Sequence[Panel]) -> Iterator[list[Panel]]:
    """Yield the panels as Grafana places them: from left to right, on to the next row when full."""
    row: list[Panel] = []
    for panel in panels:
        if sum(each.span for each in row) + panel.span > COLUMNS:
            yield row
            row = []
        row.append(panel)
    yield row


def _height(panel: Panel) -> int:
    return STAT_HEIGHT if panel.look is Look.NUMBER else ROW_HEIGHT + 2


def _panel(
    figure: Figure, bounds: tuple[float, float, float, float], panel: Panel, source: Source
) -> None:
    x, y, width, height = bounds
    inch = (1 / WIDTH_INCHES, 1 / figure.get_size_inches()[1])
    pad = (0.06 * inch[0], 0.06 * inch[1])
    card = figure.add_axes(
        (x + pad[0], y + pad[1], width - 2 * pad[0], height - 2 * pad[1]), xticks=[], yticks=[]
    )
    for spine in card.spines.values():
        spine.set_color(RULE)
    left, top = x + 0.16 * inch[0], y + height
    figure.text(left, top - 0.27 * inch[1], panel.title, fontsize=9.5, weight="bold", color=INK)
    series = source.series(panel)
    if panel.look is Look.NUMBER:
        area = (x + pad[0], y + pad[1], width - 2 * pad[0], 0.36 * height)
        _number(figure, (left, top - 0.68 * inch[1]), area, panel, series)
        return
    question = fill(panel.question, width=int(panel.span * LETTERS))
    figure.text(left, top - 0.34 * inch[1], question, fontsize=7.5, color=SOFT, va="top")
    plot = figure.add_axes(
        (
            x + 0.72 * inch[0],
            y + 0.88 * inch[1],
            width - 0.95 * inch[0],
            height - 1.62 * inch[1],
        )
    )
    _lines(plot, panel, series, source.end - source.start)


def _number(
    figure: Figure,
    place: tuple[float, float],
    area: tuple[float, float, float, float],
    panel: Panel,
    series: list[Series],
) -> None:
    """Draw the last value, coloured by its thresholds, above how it came to be."""
    known = series[0].known if series else []
    now = known[-1] if known else None
    colour = _colour(panel, now)
    text = "No data" if now is None else shown(now, panel.unit)
    figure.text(*place, text, fontsize=20, weight="bold", color=colour)
    if known:
        moments, values = series[0].moments, series[0].values
        plot = figure.add_axes(area, facecolor="none")
        plot.axis("off")
        plot.fill_between(moments, values, color=colour, alpha=0.18, linewidth=0)
        plot.plot(moments, values, color=colour, linewidth=1)
        plot.set(xlim=(0, moments[-1]), ylim=(0, max(*known, 1e-9) * 1.1))


def _colour(panel: Panel, value: float | None) -> str:
    if value is None:
        return SOFT
    if panel.bad is not None and value >= panel.bad:
        return RED
    return YELLOW if panel.warn is not None and value >= panel.warn else GREEN


def _lines(plot: Axes, panel: Panel, series: list[Series], seconds: float) -> None:
    colours = [SERIES[n % len(SERIES)] for n in range(len(series))]
    if panel.look is Look.STACK and series:
        heights = [[0.0 if math.isnan(v) else v for v in each.values] for each in series]
        legends = [each.legend for each in series]
        plot.stackplot(series[0].moments, heights, labels=legends, colors=colours, alpha=0.6)
    else:
        for each, colour in zip(series, colours, strict=True):
            plot.plot(each.moments, each.values, label=each.legend, color=colour, linewidth=1.3)
    for value, colour in ((panel.warn, YELLOW), (panel.bad, RED)):
        if value is not None:
            plot.axhline(value, color=colour, linewidth=1, linestyle="--")
    plot.set_xlim(0, seconds)
    plot.set_ylim(bottom=0)
    whole = all(value.is_integer() for each in series for value in each.known)
    plot.yaxis.set_major_locator(MaxNLocator(4, integer=whole))
    plot.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, panel.unit)))
    plot.xaxis.set_major_locator(MaxNLocator(5))
    plot.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
    plot.tick_params(labelsize=7, colors=SOFT, length=0)
    plot.grid(color=RULE, linewidth=0.6)
    plot.set_axisbelow(True)
    for spine in plot.spines.values():
        spine.set_visible(False)
    if series:
        plot.legend(
            loc="upper left",
            bbox_to_anchor=(-0.1, -0.14),
            ncols=_columns(panel, series),
            fontsize=7,
            frameon=False,
            labelcolor=INK,
            handlelength=1.2,
            columnspacing=1.2,
            borderaxespad=0,
        )
    else:
        plot.text(0.5, 0.5, "No data", transform=plot.transAxes, ha="center", color=SOFT)


def _columns(panel: Panel, series: list[Series]) -> int:
    """Return how many legends fit beside each other."""
    longest = max(len(each.legend) for each in series)
    return max(1, int(panel.span * LETTERS) // (longest + 5))


def shown(value: float, unit: str) -> str:
    """Return a value as Grafana writes it in a unit.

    >>> shown(0.0042, "s"), shown(0.25, "percentunit"), shown(142_000, "short"), shown(3, "reqps")
    ('4.2 ms', '25%', '142 K', '3 req/s')
    """
    match unit:
        case "percentunit":
            return f"{value * 100:.3g}%"
        case "s":
            return f"{value * 1000:.3g} ms" if 0 < abs(value) < 1 else f"{value:.3g} s"
        case "reqps":
            return f"{value:.3g} req/s"
        case "ops":
            return f"{value:.3g} ops/s"
    for size, letter in ((1e6, "Mil"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def _legend(template: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return template
