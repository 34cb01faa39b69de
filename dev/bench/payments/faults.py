"""What goes wrong, and the settings of the circuit breaker that are compared."""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

FAULTS: dict[str, Json] = {
    "outage": {"kind": "outage"},
    "silence": {"kind": "outage", "answer": "hang"},
    "refuse": {"kind": "refuse"},
    "reset": {"kind": "reset"},
    "drop": {"kind": "drop"},
    "5xx": {"kind": "error", "status": 503, "probability": 0.6},
    "one-5xx": {"kind": "error", "status": 503, "operations": ["charge"], "times": 1},
    "rate-limit": {"kind": "rateLimit", "retryAfterSeconds": 2},
    "latency": {"kind": "latency", "lognormal": {"median": 3, "p99": 15}},
    "trickle": {"kind": "trickle", "bytesPerSecond": 10},
    "decline": {"kind": "decline", "probability": 0.3},
    "webhook-copies": {"kind": "webhookDuplicate", "copies": 3},
    "webhook-order": {"kind": "webhookReorder"},
}
"""By name, as the simulator's admin API takes them; each lasts for the middle third."""

TOLD = {
    "outage": "full outage: 503 at once",
    "silence": "full outage: no answer at all",
    "refuse": "connections refused",
    "reset": "reset before commit",
    "drop": "commit, then drop the answer",
    "5xx": "60 % of requests answered 503",
    "one-5xx": "one single 503",
    "rate-limit": "429 with Retry-After",
    "latency": "latency: median 3 s, p99 15 s",
    "trickle": "answers at 10 bytes a second",
    "decline": "30 % of cards declined",
    "webhook-copies": "each webhook sent four times",
    "webhook-order": "webhooks out of order",
}

GATEWAY_TIMEOUT_SECONDS = 5


def is_of_webhooks(fault: str) -> bool:
    """Tell whether a fault is about webhooks: without any it would strike nothing."""
    return str(FAULTS[fault]["kind"]).startswith("webhook")


@dataclass(frozen=True)
class Setting:
    """A circuit breaker, as `spec.circuitBreaker` has it."""

    told: str
    spec: Json

    @property
    def probes(self) -> int:
        """How many calls may be made half open before the circuit closes."""
        return int(self.spec["probes"])


SETTINGS = {
    "breaker": Setting(
        "with the circuit breaker",
        {
            "windowSeconds": 5,
            "minimumCalls": 5,
            "failureRatePercent": 50,
            "slowCallSeconds": 2,
            "slowCallRatePercent": 50,
            "openSeconds": 5,
            "maxOpenSeconds": 10,
            "probes": 3,
            "recoveryPerSecond": 20,
        },
    ),
    # There is no switch to turn it off: so many calls never come in one second.
    "disabled": Setting(
        "without a breaker", {"windowSeconds": 1, "minimumCalls": 10_000, "probes": 1}
    ),
    # As near as the settings come to "the first 5xx ejects for 3 minutes, then all at once". A
    # timeout or a reset opens it as well, and one probe goes first.
    "course": Setting(
        "the course project's setting: one 5xx ejects for 3 minutes",
        {
            "windowSeconds": 1,
            "minimumCalls": 1,
            "failureRatePercent": 1,
            "slowCallSeconds": 300,
            "openSeconds": 180,
            "maxOpenSeconds": 180,
            "probes": 1,
            "recoveryPerSecond": 1000,
        },
    ),
}

TELLING = ("outage", "drop", "5xx", "latency", "one-5xx")
"""The faults of which the settings tell most: each is measured with all of them."""

SUITE = [
    *((fault, setting) for setting in SETTINGS for fault in TELLING),
    *((fault, "breaker") for fault in FAULTS if fault not in TELLING),
]
"""Every fault with the breaker; with the other settings those that tell most."""
