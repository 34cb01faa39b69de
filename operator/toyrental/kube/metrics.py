"""What the controllers measure of themselves."""

import asyncio
import time
from enum import StrEnum
from functools import partial
from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram, Info

from toyrental.shared.metrics import REGISTRY

LAG_EVERY_SECONDS = 1.0

_SHORT = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Result(StrEnum):
    """How a reconcile ended. Whatever is not done is tried again."""

    DONE = "done"
    CONFLICT = "conflict"
    UNFINISHED = "unfinished"
    TIMEOUT = "timeout"
    ERROR = "error"


BUILD = Info("toyrental_build", "The version of the operator that runs.", registry=REGISTRY)
BUILD.info({"version": version("toyrental")})

RECONCILES = Counter(
    "toyrental_reconciles_total",
    "Reconciles that ended, by kind and result: done, conflict (the object had changed, or its"
    " namespace goes), unfinished (too many steps at once), timeout, error. Whatever is not done is"
    " tried again.",
    ["kind", "result"],
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    "toyrental_reconcile_duration_seconds",
    "How long reconciles took, by kind.",
    ["kind"],
    registry=REGISTRY,
    buckets=_SHORT,
)
QUEUE_DEPTH = Gauge(
    "toyrental_queue_depth",
    "Objects that wait to be reconciled now, by kind.",
    ["kind"],
    registry=REGISTRY,
)
QUEUE_RETRYING = Gauge(
    "toyrental_queue_retrying",
    "Objects whose last reconcile did not go well, and that wait to be tried again, by kind.",
    ["kind"],
    registry=REGISTRY,
)
QUEUE_SECONDS = Histogram(
    "toyrental_queue_latency_seconds",
    "How long objects waited in the queue before they were reconciled, by kind.",
    ["kind"],
    registry=REGISTRY,
    buckets=_SHORT,
)
REQUESTS = Counter(
    "toyrental_api_requests_total",
    "Requests to the API server, by verb, kind, and HTTP status code; code none: no answer came."
    " Watches are not among them.",
    ["verb", "kind", "code"],
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "toyrental_api_request_duration_seconds",
    "How long requests to the API server took, by verb.",
    ["verb"],
    registry=REGISTRY,
    buckets=_SHORT,
)
WATCH_AGE = Gauge(
    "toyrental_watch_age_seconds",
    "Seconds since a watch of the kind said anything, or was opened. It is opened anew once a"
    " minute, so a watch of which nothing was heard for several minutes is dead.",
    ["kind"],
    registry=REGISTRY,
)
LOOP_LAG = Histogram(
    "toyrental_event_loop_lag_seconds",
    "How late the event loop was to wake a task, measured once a second.",
    registry=REGISTRY,
    buckets=_SHORT,
)
LEADER = Gauge(
    "toyrental_leader",
    "1 where this process works: it leads, by the Lease named, or there is no leader election; 0"
    " where it stands by.",
    ["lease"],
    registry=REGISTRY,
)
EVENTS_LOST = Counter(
    "toyrental_events_lost_total",
    "Kubernetes Events that were not sent: too many waited, or the API server refused them.",
    registry=REGISTRY,
)


class Watches:
    """When each kind's watch was last heard of."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._heard = dict.fromkeys(kinds, time.monotonic())
        self.unopened = set(kinds)
        for kind in kinds:
            WATCH_AGE.labels(kind).set_function(partial(self.age, kind))

    def heard(self, kind: str) -> None:
        """Note that the watch of a kind lives."""
        self._heard[kind] = time.monotonic()
        self.unopened.discard(kind)

    def age(self, kind: str) -> float:
        """Return for how many seconds nothing was heard of it."""
        return time.monotonic() - self._heard[kind]

    def silent(self, seconds: float) -> list[str]:
        """Return the kinds of which nothing was heard for so long."""
        return [kind for kind in self._heard if self.age(kind) > seconds]


async def measure_lag() -> None:
    """Measure how late the event loop is, until cancelled."""
    while True:
        due = time.monotonic() + LAG_EVERY_SECONDS
        await asyncio.sleep(LAG_EVERY_SECONDS)
        LOOP_LAG.observe(max(time.monotonic() - due, 0.0))
