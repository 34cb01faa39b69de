"""What happened to the orders and to the gateway, as watches and the operator's metrics tell it."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from dev.bench import shop
from dev.bench.api import Api, Json

SAMPLED_EVERY_SECONDS = 0.1
SAMPLED = ("toyrental_gateway_circuit", "toyrental_gateway_requests_total")
"""No other metrics: to gather all, ten times a second, would weigh on the operator."""

FAILED = frozenset({"not_sent", "try_later", "unknown"})

_SAMPLE = re.compile(r"^toyrental_gateway_(circuit|requests_total)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass
class Sample:
    """The operator's metrics at one moment: calls by operation and outcome, and open circuits."""

    moment: float
    calls: dict[tuple[str, str], float] = field(default_factory=dict)
    circuits: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> float:
        """How many charges failed so far."""
        return sum(
            count
            for (operation, outcome), count in self.calls.items()
            if operation == "charge" and outcome in FAILED
        )

    def asked(self, *, charges: bool) -> float:
        """Return how many calls of a class have ended so far."""
        return sum(
            n for (operation, _), n in self.calls.items() if (operation == "charge") == charges
        )


@dataclass
class Orders:
    """When orders came, were put off, and ended; by name, in seconds of the monotonic clock."""

    placed: dict[str, float] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)
    paid: dict[str, float] = field(default_factory=dict)
    declined: set[str] = field(default_factory=set)
    deferred: set[str] = field(default_factory=set)

    @property
    def left(self) -> list[str]:
        """Those that were accepted and have not ended yet."""
        return [name for name in self.uids if name not in self.paid and name not in self.declined]

    def waits(self, since: float, until: float) -> list[float]:
        """Return how long those waited to be paid that were placed in a span of time."""
        return [
            self.paid[name] - placed
            for name, placed in self.placed.items()
            if name in self.paid and since <= placed < until
        ]


class Watcher:
    """Keeps the books of one measurement."""

    def __init__(self, api: Api, metrics_url: str) -> None:
        self._api = api
        self._metrics_url = metrics_url
        self.orders = Orders()
        self.samples: list[Sample] = []
        self.half_opened = {"charges": 0, "refunds": 0}
        """How often each circuit was tried again."""

        self._circuits: dict[str, str] = {}
        self._ended = asyncio.Event()

    async def all_ended(self) -> None:
        """Wait until every order accepted so far is paid or declined."""
        while self.orders.left:
            self._ended.clear()
            await self._ended.wait()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch meanwhile."""
        since = (await self._api.get(f"{shop.PLACE}/rentals?limit=1"))["metadata"]
        version = since["resourceVersion"]
        tasks = [
            asyncio.create_task(self._watch("rentals", version)),
            asyncio.create_task(self._watch("payments", version)),
            asyncio.create_task(self._watch("paymentgateways", version)),
            asyncio.create_task(self._sample()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for each in ended:
            if isinstance(each, Exception):
                raise each

    async def _watch(self, plural: str, since: str) -> None:
        saw = {"rentals": self._rental, "payments": self._payment, "paymentgateways": self._gateway}
        async for event in self._api.watch(f"{shop.PLACE}/{plural}", since):
            saw[plural](event["object"])

    def _rental(self, rental: Json) -> None:
        name, status = rental["metadata"]["name"], rental.get("status", {})
        if status.get("phase") == "Paid":
            self.orders.paid.setdefault(name, time.monotonic())
        for condition in status.get("conditions", ()):
            if condition["type"] == "Paid" and condition["reason"] == "Declined":
                self.orders.declined.add(name)
        self._ended.set()

    def _payment(self, payment: Json) -> None:
        if payment.get("status", {}).get("phase") == "Deferred":
            self.orders.deferred.add(payment["spec"]["rentalRef"]["name"])

    def _gateway(self, gateway: Json) -> None:
        status = gateway.get("status", {})
        for calls, name in (("charges", "circuit"), ("refunds", "refundCircuit")):
            now = status.get(name, "Closed")
            if now == "HalfOpen" != self._circuits.get(calls):
                self.half_opened[calls] += 1
            self._circuits[calls] = now

    async def _sample(self) -> None:
        wanted = [("name[]", name) for name in SAMPLED]
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(self._metrics_url, params=wanted) as answer:
                    text = await answer.text()
                self.samples.append(_parsed(text, time.monotonic()))
                await asyncio.sleep(SAMPLED_EVERY_SECONDS)


def _parsed(text: str, moment: float) -> Sample:
    sample = Sample(moment)
    for what, labels, value in _SAMPLE.findall(text):
        label = dict(_LABEL.findall(labels))
        if what == "requests_total":
            sample.calls[label["operation"], label["outcome"]] = float(value)
        elif float(value):
            sample.circuits[label["calls"]] = label["state"]
    return sample
