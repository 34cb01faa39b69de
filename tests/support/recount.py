"""Counts a shop anew from what kubectl prints, to hold a Dashboard against it.

It knows nothing of the models and the rules: a second opinion.
"""

import json
import time
from collections import Counter
from typing import Any

from dev.cluster import Cluster
from tests.support.api import Json

COUNTED = "toys,rentals,payments,repairtickets"
HEARD_LATE_SECONDS = 1.0
"""How much later than others a watch may tell of a write, on a busy machine."""


def agrees(cluster: Cluster, namespace: str, dashboard: str = "shop") -> bool:
    """Fail, with both, unless a Dashboard says what a recount says. Of a quiet shop it must."""
    said, counted = shown(cluster, namespace, dashboard), recounted(cluster, namespace)
    assert said == counted, f"the Dashboard says {said}, a recount {counted}"
    return True


def shown(cluster: Cluster, namespace: str, dashboard: str) -> Json:
    """Return the numbers of a Dashboard, zeros left out."""
    status = _kubectl(cluster, namespace, "dashboard", dashboard).get("status", {})
    toys, rentals = status.get("toys", {}), status.get("rentals", {})
    return {
        "toys": _by_phase(toys),
        "total": toys.get("total", 0),
        "outOfOrder": toys.get("outOfOrder", 0),
        "rentals": _by_phase(rentals),
        "waits": {name: count for name, count in rentals.items() if name != "byPhase" and count},
        "money": {each["currency"]: _money(each) for each in status.get("payments", ())},
        "openRepairs": status.get("repairs", {}).get("open", 0),
        "groups": {
            each["key"]: (each["total"], each["available"]) for each in status.get("groups", ())
        },
    }


def recounted(cluster: Cluster, namespace: str) -> Json:
    """Return the same numbers, counted from the objects themselves."""
    items = _kubectl(cluster, namespace, COUNTED)["items"]
    toys, rentals, payments, tickets = (
        [item for item in items if item["kind"] == kind]
        for kind in ("Toy", "Rental", "Payment", "RepairTicket")
    )
    by_phase = Counter(_phase(toy) for toy in toys)
    orders = Counter(_phase(rental) for rental in rentals)
    waits = {
        "overdue": sum(_is_overdue(rental) for rental in rentals),
        "waiting": orders["Pending"],
        "unpaid": orders["Reserved"],
        "awaitingApproval": orders["Paid"],
        "awaitingInspection": orders["Returned"],
    }
    return {
        "toys": dict(by_phase),
        "total": len(toys),
        "outOfOrder": by_phase["Damaged"] + by_phase["InRepair"],
        "rentals": dict(orders),
        "waits": {name: count for name, count in waits.items() if count},
        "money": _money_by_currency(payments),
        "openRepairs": sum(_phase(t) not in {"Repaired", "Discarded"} for t in tickets),
        "groups": _groups(toys),
    }


def _kubectl(cluster: Cluster, namespace: str, *what: str) -> Any:
    return json.loads(
        cluster.run_kubectl("get", *what, f"--namespace={namespace}", "--output=json")
    )


def _phase(item: Json) -> str:
    return str(item.get("status", {}).get("phase"))


def _by_phase(counts: Json) -> dict[str, int]:
    return {each["phase"]: each["count"] for each in counts.get("byPhase", ()) if each["count"]}


def _is_overdue(rental: Json) -> bool:
    said = rental.get("status", {}).get("conditions", ())
    return any(each["type"] == "Overdue" and each["status"] == "True" for each in said)


def _money(counts: Json) -> tuple[int, int, int]:
    return counts["capturedMinorUnits"], counts["refundedMinorUnits"], counts["deferred"]


def _money_by_currency(payments: list[Json]) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = {}
    for payment in payments:
        status, currency = payment.get("status", {}), payment["spec"]["amount"]["currency"]
        captured, refunded, deferred = found.get(currency, (0, 0, 0))
        found[currency] = (
            captured + status.get("capturedMinorUnits", 0),
            refunded + status.get("refundedMinorUnits", 0),
            deferred + (_phase(payment) == "Deferred"),
        )
    return {currency: sums for currency, sums in found.items() if any(sums)}


def _groups(toys: list[Json]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for toy in toys:
        key = f"category={toy['spec'].get('category', '(none)')}"
        total, available = found.get(key, (0, 0))
        found[key] = total + 1, available + (_phase(toy) == "Available")
    return found


class Writes:
    """When the Dashboards of a shop were written: a listener of a Mirror."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, type_: str, raw: Json) -> None:
        """Take note of a change."""
        if raw["kind"] == "Dashboard" and type_ == "MODIFIED":
            self.times.append(time.monotonic())

    def rested(self, seconds: float) -> bool:
        """Fail unless there was at most one in so many seconds, over the time they took in all."""
        taken = self.times[-1] - self.times[0]
        most = 1 + (taken + HEARD_LATE_SECONDS) / seconds
        assert len(self.times) <= most, f"{len(self.times)} writes of a Dashboard in {taken:.1f} s"
        return True
