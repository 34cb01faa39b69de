"""The metrics reference, from the registry: what is declared is what is told."""

from collections.abc import Iterable, Iterator

from prometheus_client import Metric

import toyrental.operate as _  # noqa: F401 - all that runs has declared its metrics then
from toyrental.shared.metrics import REGISTRY

PREFIX = "toyrental_"

INTRODUCTION = """\
<!-- Made from the registry by `make generate`; change what it says there, not this file. -->
# Metrics

`toyrental run --metrics http://127.0.0.1:9090/metrics` shows these to Prometheus. Times are in
seconds, and no label names an object but a shop's PaymentGateways, of which it has one or two:
their number does not grow with the shop. Beside them are the `process_…` metrics (CPU, memory, file
descriptors) that every client of Prometheus has.

How many payments are deferred, unknown or in review is told by `toyrental_shop_payments`, how much
money was taken and given back by `toyrental_shop_captured_minor_units` and
`toyrental_shop_refunded_minor_units`: the context dashboards shows them of every shop.

A histogram `x` is read as `x_bucket`, `x_sum` and `x_count`. `kind` is a kind of resource, which
tells the context as well: each kind is reconciled by one.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def metrics_reference() -> str:
    """Return the page."""
    return INTRODUCTION + "".join(f"{row}\n" for row in sorted(_rows()))


def _rows() -> Iterator[str]:
    for metric, labels in _declared():
        if metric.name.startswith(PREFIX):
            suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
            names = ", ".join(f"`{name}`" for name in labels)
            meaning = metric.documentation.replace("|", "\\|")
            yield f"| `{metric.name}{suffix}` | {metric.type} | {names} | {meaning} |"


def _declared() -> Iterator[tuple[Metric, Iterable[str]]]:
    """Yield each metric with its labels, of which the library tells only once there is a value."""
    for collector in list(REGISTRY._collector_to_names):
        for metric in getattr(collector, "describe", tuple)():
            one = ("version",) if metric.type == "info" else ()
            labels = getattr(metric, "_labelnames", None) or getattr(collector, "_labelnames", None)
            yield metric, labels or one
