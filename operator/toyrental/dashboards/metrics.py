"""The shops in numbers, from the read model of the Dashboards."""

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from toyrental.dashboards import counts
from toyrental.dashboards.counts import ReadModel
from toyrental.payments.models import STUCK
from toyrental.rentals.models import RentalPhase
from toyrental.shared.metrics import REGISTRY
from toyrental.shared.resource import Key
from toyrental.stores.models import ToyPhase

STALENESS = Histogram(
    "toyrental_dashboard_staleness_seconds",
    "How long changes waited until a Dashboard showed them.",
    registry=REGISTRY,
    buckets=(0.1, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 30, 60),
)
OLDEST_CHANGE = Gauge(
    "toyrental_dashboard_oldest_change_seconds",
    "How old the oldest change is that a Dashboard does not show yet; 0 where all is shown.",
    registry=REGISTRY,
)

_BY_FACT = {
    counts.TOYS: ("toyrental_shop_toys", "Toys of a shop, by phase.", "phase"),
    counts.RENTALS: ("toyrental_shop_rentals", "Orders of a shop, by phase.", "phase"),
    counts.PAYMENTS: ("toyrental_shop_payments", "Payments of a shop, by phase.", "phase"),
    counts.STALLED: (
        "toyrental_shop_payments_stalled",
        "Payments that do not end by themselves, by the reason of their condition Stalled.",
        "reason",
    ),
    counts.CAPTURED: (
        "toyrental_shop_captured_minor_units",
        "Money taken, in minor units of the currency: won, cents, fils.",
        "currency",
    ),
    counts.REFUNDED: (
        "toyrental_shop_refunded_minor_units",
        "Money given back, in minor units of the currency.",
        "currency",
    ),
    counts.DEFERRED: (
        "toyrental_shop_payments_deferred",
        "Payments that wait for the provider, by currency.",
        "currency",
    ),
}
_PLAIN = {
    "toyrental_shop_rentals_overdue": ("Toys out past their due time.", (counts.OVERDUE,)),
    "toyrental_shop_rentals_waiting": (
        "Orders that wait for a toy.",
        (counts.RENTALS, RentalPhase.PENDING),
    ),
    "toyrental_shop_rentals_unpaid": (
        "Booked orders that wait for their payment.",
        (counts.RENTALS, RentalPhase.RESERVED),
    ),
    "toyrental_shop_rentals_awaiting_approval": (
        "Paid orders that wait for the owner's decision.",
        (counts.RENTALS, RentalPhase.PAID),
    ),
    "toyrental_shop_rentals_awaiting_inspection": (
        "Returned toys that wait for the owner's inspection.",
        (counts.RENTALS, RentalPhase.RETURNED),
    ),
    "toyrental_shop_repairs_open": ("Repairs that have not ended.", (counts.REPAIRS_OPEN,)),
}


class Shops(Collector):
    """The numbers of every shop at the moment of a scrape, which comes in a thread of its own.

    Who stands by (`works` says no) tells nothing: of two that tell, sums would be double.
    """

    def __init__(self) -> None:
        self.model = ReadModel()
        self.works: Callable[[], bool] = lambda: True

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the metrics without a value."""
        return [*self._by_fact().values(), *self._plain().values()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the metrics of all shops; every phase and what got stuck, 0 included."""
        by_fact, plain = self._by_fact(), self._plain()
        for shop in self.model.shops if self.works() else ():
            sums = self.model.of_shop(shop)
            for (what, value), count in _flat(sums).items():
                by_fact[what].add_metric([shop, value], count)
            for name, (_, fact) in _PLAIN.items():
                plain[name].add_metric([shop], sums.get(fact, 0))
        yield from by_fact.values()
        yield from plain.values()

    @staticmethod
    def _by_fact() -> dict[str, GaugeMetricFamily]:
        return {
            what: GaugeMetricFamily(name, meaning, labels=["namespace", label])
            for what, (name, meaning, label) in _BY_FACT.items()
        }

    @staticmethod
    def _plain() -> dict[str, GaugeMetricFamily]:
        return {
            name: GaugeMetricFamily(name, meaning, labels=["namespace"])
            for name, (meaning, _) in _PLAIN.items()
        }


def _flat(sums: counts.Counts) -> dict[tuple[str, str], int]:
    """Sum up what is told apart by more than the metrics tell."""
    flat: dict[tuple[str, str], int] = {(counts.TOYS, phase): 0 for phase in ToyPhase}
    flat |= {(counts.RENTALS, phase): 0 for phase in RentalPhase}
    flat |= {(counts.STALLED, reason): 0 for reason in STUCK}
    for fact, count in sums.items():
        if fact[0] in _BY_FACT:
            place = (fact[0], str(fact[1]))
            flat[place] = flat.get(place, 0) + count
    return flat


SHOPS = Shops()
REGISTRY.register(SHOPS)


def show(model: ReadModel, unshown: dict[Key, list[float]], works: Callable[[], bool]) -> None:
    """Have the metrics tell of this read model, and of changes that wait to be shown."""
    SHOPS.model, SHOPS.works = model, works
    OLDEST_CHANGE.set_function(
        lambda: max((time.monotonic() - came[0] for came in list(unshown.values())), default=0)
    )


def shown(came: Iterable[float]) -> None:
    """Measure how long changes waited that a Dashboard shows now."""
    now = time.monotonic()
    for moment in came:
        STALENESS.observe(now - moment)
