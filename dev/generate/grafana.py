"""The Grafana dashboards: one for the owner of a shop, one for who runs the operator.

Each panel answers a question that a person has; the question is its description.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)

SOURCE = models.DataSourceRef(type_val="prometheus", uid="$datasource")
P = TypeVar("P", stat.Panel, timeseries.Panel)

ROW_HEIGHT = 8
STAT_HEIGHT = 4


class Look(StrEnum):
    """How a panel shows its values."""

    NUMBER = "number"
    LINES = "lines"
    STACK = "stack"


@dataclass(frozen=True)
class Panel:
    """A question, and the expressions that answer it; `span` is in 24ths of the width.

    The value is green below `warn`, yellow from there, red from `bad` on.
    """

    title: str
    question: str
    answers: tuple[tuple[str, str], ...]
    look: Look = Look.LINES
    unit: str = "short"
    span: int = 8
    warn: float | None = None
    bad: float | None = None


@dataclass(frozen=True)
class Board:
    """A dashboard; `shops`: the metric whose label `namespace` names the shops to choose from."""

    name: str
    title: str
    description: str
    panels: tuple[Panel, ...]
    shops: str | None = None


def _number(title: str, question: str, expression: str, **look: float) -> Panel:
    answers = ((expression, ""),)
    return Panel(title, question, answers, Look.NUMBER, span=3, **look)  # type: ignore[arg-type]


def _quantile(histogram: str, share: float, labels: str) -> str:
    """Return the expression of what this share of the observations stays below."""
    rates = f"rate({histogram}_bucket[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({labels}) ({rates}))"


OPERATOR = Board(
    "operator",
    "Toy rental: the operator",
    "Does the operator work, does it keep up, and what does it cost?",
    (
        Panel(
            "Operators",
            "How many run?",
            (("count(toyrental_build_info) or vector(0)", ""),),
            Look.NUMBER,
            span=3,
        ),
        Panel(
            "Working",
            "How many of them work? The others stand by for one that leads.",
            (("sum(toyrental_leader)", ""),),
            Look.NUMBER,
            span=3,
        ),
        Panel(
            "Failing",
            "What share of reconciles fails, of the kind that does worst?"
            " Each is tried again; above 10% somebody is alerted.",
            (("max(kind:toyrental_reconcile_failures:ratio_rate5m)", ""),),
            Look.NUMBER,
            "percentunit",
            3,
            0.01,
            0.1,
        ),
        Panel(
            "Waiting",
            "How many objects wait to be reconciled?",
            (("sum(toyrental_queue_depth)", ""),),
            Look.NUMBER,
            span=3,
            warn=50,
            bad=500,
        ),
        Panel(
            "Retried",
            "How many objects did not go well, and wait to be tried again?",
            (("sum(toyrental_queue_retrying)", ""),),
            Look.NUMBER,
            span=3,
            warn=10,
        ),
        Panel(
            "Oldest watch",
            "When was the most silent watch last heard of? A live one is opened anew each minute.",
            (("max(toyrental_watch_age_seconds)", ""),),
            Look.NUMBER,
            "s",
            3,
            120,
            300,
        ),
        Panel(
            "Refused",
            "Does the API server refuse requests for want of rights or credentials?",
            (
                (
                    'sum(rate(toyrental_api_requests_total{code=~"401|403"}[5m])) or vector(0)',
                    "",
                ),
            ),
            Look.NUMBER,
            "reqps",
            3,
            bad=0.001,
        ),
        Panel(
            "Events lost",
            "How many Events could not be told to people in the last hour?",
            (("sum(increase(toyrental_events_lost_total[1h]))", ""),),
            Look.NUMBER,
            span=3,
            warn=1,
        ),
        Panel(
            "Reconciles",
            "How much is done, and how does it end? Conflicts are daily business.",
            (
                (
                    "sum by (result) (rate(toyrental_reconciles_total[$__rate_interval]))",
                    "{{result}}",
                ),
            ),
            Look.STACK,
            "ops",
        ),
        Panel(
            "Time in the queue (95%)",
            "How long do objects wait before they are looked at?",
            (
                (
                    _quantile("toyrental_queue_latency_seconds", 0.95, "kind, le"),
                    "{{kind}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Time of a reconcile (95%)",
            "How long does it take to look at one object? Payments wait for their provider.",
            (
                (
                    _quantile("toyrental_reconcile_duration_seconds", 0.95, "kind, le"),
                    "{{kind}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Requests to the API server",
            "What does the operator ask of the API server, and does it answer?",
            (
                (
                    "sum by (verb, code) (rate(toyrental_api_requests_total[$__rate_interval]))",
                    "{{verb}} {{code}}",
                ),
            ),
            Look.STACK,
            "reqps",
        ),
        Panel(
            "Answers of the API server (95%)",
            "How fast does the API server answer?",
            (
                (
                    _quantile("toyrental_api_request_duration_seconds", 0.95, "verb, le"),
                    "{{verb}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "What providers answer",
            "What are payment providers asked, and what do they answer?"
            " unknown, not_sent and try_later are trouble.",
            (
                (
                    (
                        "sum by (operation, outcome)"
                        " (rate(toyrental_gateway_requests_total[$__rate_interval]))"
                    ),
                    "{{operation}} {{outcome}}",
                ),
            ),
            Look.STACK,
            "reqps",
        ),
        Panel(
            "Answers of providers (95%)",
            "How fast do payment providers answer?",
            (
                (
                    _quantile(
                        "toyrental_gateway_request_duration_seconds",
                        0.95,
                        "namespace, gateway, operation, le",
                    ),
                    "{{namespace}}/{{gateway}} {{operation}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Gateways in trouble",
            "Which providers are left alone, their circuits not closed? Which cannot be charged?",
            (
                (
                    (
                        "sum by (namespace, gateway) (max by (namespace, gateway, calls)"
                        ' (toyrental_gateway_circuit{state!="Closed"}))'
                    ),
                    "{{namespace}}/{{gateway}} circuits",
                ),
                (
                    "1 - min by (namespace, gateway) (toyrental_gateway_ready)",
                    "{{namespace}}/{{gateway}} not Ready",
                ),
            ),
        ),
        Panel(
            "CPU and lag",
            "Is the operator short of CPU? It works on one core; near 1, divide its work.",
            (
                ("sum(rate(process_cpu_seconds_total[$__rate_interval]))", "cores in use"),
                (
                    _quantile("toyrental_event_loop_lag_seconds", 0.99, "le"),
                    "lag of the event loop, seconds (99%)",
                ),
            ),
        ),
    ),
)


_OF_SHOP = '{namespace=~"$namespace"}'
SHOP = Board(
    "shop",
    "Toy rental: the shop",
    "The stock, the orders and the money of a shop, and what waits for its owner.",
    (
        _number("Toys", "How many toys are in stock?", f"sum(toyrental_shop_toys{_OF_SHOP})"),
        _number(
            "Available",
            "How many toys could be handed out at once?",
            'sum(toyrental_shop_toys{namespace=~"$namespace",phase="Available"})',
        ),
        _number(
            "Out of order",
            "How many toys are damaged or in repair?",
            'sum(toyrental_shop_toys{namespace=~"$namespace",phase=~"Damaged|InRepair"})',
            warn=1,
        ),
        _number(
            "Open repairs",
            "How many repairs have not ended?",
            f"sum(toyrental_shop_repairs_open{_OF_SHOP})",
        ),
        _number(
            "To approve",
            "How many paid orders wait for your decision?",
            f"sum(toyrental_shop_rentals_awaiting_approval{_OF_SHOP})",
            warn=1,
        ),
        _number(
            "To inspect",
            "How many toys came back and wait for you to look at them?",
            f"sum(toyrental_shop_rentals_awaiting_inspection{_OF_SHOP})",
            warn=1,
        ),
        _number(
            "Overdue",
            "How many toys should have come back?",
            f"sum(toyrental_shop_rentals_overdue{_OF_SHOP})",
            bad=1,
        ),
        _number(
            "In line",
            "How many orders wait for a toy to become free? Many: buy more of what they ask for.",
            f"sum(toyrental_shop_rentals_waiting{_OF_SHOP})",
        ),
        Panel(
            "Stock",
            "What are the toys doing?",
            ((f"sum by (phase) (toyrental_shop_toys{_OF_SHOP}) > 0", "{{phase}}"),),
            Look.STACK,
            span=12,
        ),
        Panel(
            "Orders under way",
            "Where do the orders stand that have not ended?",
            (
                (
                    (
                        'sum by (phase) (toyrental_shop_rentals{namespace=~"$namespace",'
                        'phase!~"Completed|Cancelled|Rejected|Expired"}) > 0'
                    ),
                    "{{phase}}",
                ),
            ),
            Look.STACK,
            span=12,
        ),
        Panel(
            "Money",
            "How much was taken and given back? In minor units of the currency: won, cents.",
            (
                (
                    f"sum by (currency) (toyrental_shop_captured_minor_units{_OF_SHOP})",
                    "{{currency}} taken",
                ),
                (
                    f"sum by (currency) (toyrental_shop_refunded_minor_units{_OF_SHOP})",
                    "{{currency}} given back",
                ),
            ),
            span=12,
        ),
        Panel(
            "Payments in trouble",
            "Which payments are not simply taken? Unknown and ManualReview need a person.",
            (
                (
                    (
                        'sum by (phase) (toyrental_shop_payments{namespace=~"$namespace",'
                        'phase=~"Declined|Deferred|Unknown|ManualReview"})'
                    ),
                    "{{phase}}",
                ),
            ),
            span=12,
        ),
    ),
    shops="toyrental_shop_toys",
)
BOARDS = (OPERATOR, SHOP)


def grafana_dashboards() -> dict[str, str]:
    """Return each dashboard as JSON, by its file's name."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{board.name}.json": encoder.encode(_built(board)) + "\n" for board in BOARDS}


def _built(board: Board) -> models.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"toyrental-{board.name}")
        .description(board.description)
        .tags(["toyrental"])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .readonly()
        .link(
            dashboard.DashboardLink("Toy rental")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["toyrental"])
            .keep_time(keep_time=True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    if board.shops is not None:
        made = made.with_variable(
            dashboard.QueryVariable("namespace")
            .label("Shop")
            .description("A namespace is a shop.")
            .datasource(SOURCE)
            .query(f"label_values({board.shops}, namespace)")
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .multi(multi=True)
            .include_all(include_all=True)
            .all_value(".*")
        )
    for panel in board.panels:
        made = made.with_panel(_stat(panel) if panel.look is Look.NUMBER else _lines(panel))
    return made.build()


def _stat(panel: Panel) -> stat.Panel:
    made = stat.Panel().height(STAT_HEIGHT).graph_mode(BigValueGraphMode.AREA)
    return _common(made, panel).targets(_queries(panel))


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .height(ROW_HEIGHT)
        .min(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
    )
    if panel.look is Look.STACK:
        made = made.fill_opacity(40).stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return _common(made, panel).targets(_queries(panel))


def _common(made: P, panel: Panel) -> P:
    return (
        made.title(panel.title)
        .description(panel.question)
        .datasource(SOURCE)
        .span(panel.span)
        .unit(panel.unit)
        .thresholds(dashboard.ThresholdsConfig().steps(list(_steps(panel))))
    )


def _steps(panel: Panel) -> Iterable[models.Threshold]:
    yield models.Threshold(value=None, color="green")
    for value, color in ((panel.warn, "yellow"), (panel.bad, "red")):
        if value is not None:
            yield models.Threshold(value=value, color=color)


def _queries(panel: Panel) -> list[Builder[Dataquery]]:
    return [
        prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + n))
        for n, (expression, legend) in enumerate(panel.answers)
    ]
