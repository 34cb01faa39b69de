"""What is measured of payment gateways: what their providers are asked, and how they do.

Their labels name the gateway. That is an object, but one that a shop has once or twice; with the
gateway its series go as well.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from toyrental.payments.guard import Guard
from toyrental.payments.models import Circuit, PaymentGateway
from toyrental.payments.providers import port
from toyrental.payments.providers.port import Provider
from toyrental.shared import conditions
from toyrental.shared.metrics import REGISTRY

A = TypeVar("A")


class Operation(StrEnum):
    """What a provider is asked."""

    CHARGE = "charge"
    LOOK_UP = "look_up"
    REFUND = "refund"
    ACCOUNT = "account"


OUTCOMES: dict[type, str] = {
    port.Captured: "captured",
    port.Declined: "declined",
    port.Refunded: "refunded",
    port.RefundPending: "pending",
    port.RefundFailed: "failed",
    port.Found: "found",
    port.Missing: "missing",
    port.Account: "answered",
    port.NotSent: "not_sent",
    port.Unauthorized: "unauthorized",
    port.TryLater: "try_later",
    port.UnderWay: "try_later",
    port.OutcomeUnknown: "unknown",
    port.Refused: "refused",
}
BROKEN_OFF = "broken_off"

REQUESTS = Counter(
    "toyrental_gateway_requests_total",
    "What providers were asked, by gateway, operation (charge, look_up, refund, account) and"
    " outcome: captured, declined, refunded, pending, failed (a refund), found, missing, answered"
    " (the account); not_sent, unauthorized, try_later, unknown, refused; broken_off: the operator"
    " ended meanwhile. What an open circuit keeps back is not asked.",
    ["namespace", "gateway", "operation", "outcome"],
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "toyrental_gateway_request_duration_seconds",
    "How long providers took to answer, by gateway and operation.",
    ["namespace", "gateway", "operation"],
    registry=REGISTRY,
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)

WEBHOOKS = Counter(
    "toyrental_webhooks_total",
    "What was sent to the paths of webhooks, by result: accepted (the payment is looked up),"
    " duplicate, not_ours (an event of something else); unsigned, stale, malformed, too_large,"
    " too_slow, too_many; stands_by (another operator leads).",
    ["result"],
    registry=REGISTRY,
)


class Place(NamedTuple):
    """Which gateway: where it is, and its name."""

    namespace: str
    gateway: str


@dataclass(frozen=True)
class _Shown:
    """A gateway as it was last looked at, and its circuits, which move on."""

    ready: bool
    reason: str
    guard: Guard


class Gateways(Collector):
    """How every gateway does at the moment of a scrape, which comes in a thread of its own."""

    def __init__(self) -> None:
        self._shown: dict[Place, _Shown] = {}

    def show(self, gateway: PaymentGateway, guard: Guard) -> None:
        """Tell of a gateway from now on, as it is now."""
        ready = conditions.find(gateway.status.conditions, "Ready")
        reason = ready.reason if ready is not None else "NotChecked"
        self._shown[Place(gateway.namespace, gateway.name)] = _Shown(gateway.ready, reason, guard)

    def forget(self, place: Place) -> None:
        """Tell nothing more of a gateway that is gone."""
        self._shown.pop(place, None)
        for metric in (REQUESTS, REQUEST_SECONDS):
            metric.remove_by_labels(place._asdict())

    def clear(self) -> None:
        """Tell nothing more of any gateway. What was counted stays counted."""
        self._shown.clear()

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the metrics without a value."""
        return self._families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the metrics of all gateways."""
        circuits, ready = self._families()
        for place, shown in list(self._shown.items()):
            ready.add_metric([*place, shown.reason], shown.ready)
            for calls, breaker in (
                ("charges", shown.guard.charges),
                ("refunds", shown.guard.inquiries),
            ):
                now = breaker.circuit
                for state in Circuit:
                    circuits.add_metric([*place, calls, state], now is state)
        yield from (circuits, ready)

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily(
                "toyrental_gateway_circuit",
                "1 for the state that a gateway's circuit is in, of this operator: Closed (the"
                " provider is called), Open (it is left alone), HalfOpen (it is probed). calls:"
                " charges, or refunds, which look-ups go with.",
                labels=["namespace", "gateway", "calls", "state"],
            ),
            GaugeMetricFamily(
                "toyrental_gateway_ready",
                "1 where a gateway can be charged, else 0; reason is that of its condition Ready.",
                labels=["namespace", "gateway", "reason"],
            ),
        )


GATEWAYS = Gateways()
REGISTRY.register(GATEWAYS)


class MeasuredProvider:
    """A provider of which it is measured what it is asked and what it answers."""

    def __init__(self, provider: Provider, place: Place) -> None:
        self.capabilities = provider.capabilities
        self._provider = provider
        self._place = place

    async def charge(self, charge: port.Charge) -> port.ChargeAnswer:
        """Take the amount; the same key never takes it twice."""
        return await self._ask(Operation.CHARGE, lambda: self._provider.charge(charge))

    async def look_up(self, inquiry: port.Inquiry) -> port.LookUpAnswer:
        """Find what became of a payment, by the uid we sent with it."""
        return await self._ask(Operation.LOOK_UP, lambda: self._provider.look_up(inquiry))

    async def refund(self, refund: port.Refund) -> port.RefundAnswer:
        """Give the amount back; the same key never gives it twice."""
        return await self._ask(Operation.REFUND, lambda: self._provider.refund(refund))

    async def validate(self) -> port.AccountAnswer:
        """Check the credentials, without moving money."""
        return await self._ask(Operation.ACCOUNT, self._provider.validate)

    async def close(self) -> None:
        """Let go of connections."""
        await self._provider.close()

    async def _ask(self, operation: Operation, ask: Callable[[], Awaitable[A]]) -> A:
        began = time.monotonic()
        outcome = BROKEN_OFF
        try:
            answer = await ask()
            outcome = OUTCOMES[type(answer)]
        finally:
            REQUESTS.labels(*self._place, operation, outcome).inc()
            REQUEST_SECONDS.labels(*self._place, operation).observe(time.monotonic() - began)
        return answer
