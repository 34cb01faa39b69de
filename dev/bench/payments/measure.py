"""One measurement: orders at a steady rate, and a fault in the middle third of their time.

Each has a control plane, a simulator and an operator of its own: a history of earlier orders would
weigh on the later ones.
"""

import asyncio
import math
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp
import httpx

from dev.bench import programs, shop
from dev.bench.api import Access, Api, Json
from dev.bench.errors import BenchError
from dev.cluster import Cluster, ControlPlane
from dev.cluster.ports import free

from .faults import FAULTS, GATEWAY_TIMEOUT_SECONDS, SETTINGS, is_of_webhooks
from .hooks import Hooks
from .relay import Relay
from .watching import Sample, Watcher

TOYS = 200
"""Each is ordered for other days every time, so that no order waits for a toy."""

DAYS_APART = 3

UNDER_WAY_SECONDS = 1.0
"""How long a call is on its way from the operator's circuit to the provider, at most."""

KEEPS_UP_SECONDS = 1.0
"""Within what half of the orders before a fault are paid by a machine that keeps up."""


@dataclass(frozen=True)
class Load:
    """What is asked of the shop."""

    seconds: float
    rate: float
    limit_seconds: float

    @property
    def offered(self) -> int:
        """How many orders there are."""
        return round(self.seconds * self.rate)


@dataclass(frozen=True)
class Figures:
    """What one measurement showed; times are in seconds.

    Waits are from order to paid: `median` and `p99` of all orders placed outside the fault, and of
    these the medians of those before and of those after it. Orders placed after it while the
    provider was still left alone are among them.
    """

    fault: str
    setting: str
    seconds: float
    rate: float
    offered: int
    accepted: int
    accepted_a_second: float
    paid: int
    declined: int
    deferred: int
    lost: int
    charged_twice: int
    calls_while_open: int
    probes_allowed: int
    to_open: float | None
    to_last_deferred: float | None
    median: float | None
    p99: float | None
    median_before: float | None
    median_after: float | None
    when: str
    took: float
    cores: int
    others: float
    """How many cores were busy with other work than this, on average."""

    @property
    def faults(self) -> list[str]:
        """What must not be, in a sentence each."""
        found = []
        if self.accepted < self.offered:
            found.append(f"{self.offered - self.accepted} orders were not accepted")
        if self.lost:
            found.append(f"{self.lost} orders were lost")
        if self.charged_twice:
            found.append(f"{self.charged_twice} orders were charged twice")
        if self.calls_while_open > self.probes_allowed:
            found.append(
                f"{self.calls_while_open} calls while open, and {self.probes_allowed} probes"
            )
        return [f"{self.fault}, {self.setting}: {each}" for each in found]

    @property
    def kept_up(self) -> bool:
        """Whether the machine kept up with the orders while nothing was wrong."""
        return self.median_before is not None and self.median_before <= KEEPS_UP_SECONDS

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return asdict(self)


def run(fault: str, setting: str, load: Load, on_order: Callable[[], None]) -> Figures:
    """Measure one fault under one setting. Raises BenchError."""
    use = _Use()
    with tempfile.TemporaryDirectory(prefix="toyrental-bench-") as name:
        folder = Path(name)
        hooks = Hooks.prepare(folder) if is_of_webhooks(fault) else None
        plane = ControlPlane(folder / "plane", ephemeral=True, apply=programs.brought())
        told = () if hooks is None else hooks.of_simulator
        with plane as cluster, programs.faulty_simulator(folder, *told) as provider:
            one = _Measurement(
                fault, setting, load, folder, cluster, provider, on_order, hooks, use
            )
            return asyncio.run(one.run())


class _Use:
    """How long it takes, and what other work the machine has meanwhile."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._ours = programs.own_cpu_seconds()
        self._all = programs.machine_cpu_seconds()

    @property
    def seconds(self) -> float:
        """The time so far."""
        return time.monotonic() - self._began

    @property
    def others(self) -> float:
        """How many cores were busy with other work, on average."""
        busy = programs.machine_cpu_seconds() - self._all
        return max(busy - (programs.own_cpu_seconds() - self._ours), 0.0) / self.seconds


@dataclass
class _Measurement:
    fault: str
    setting: str
    load: Load
    folder: Path
    cluster: Cluster
    provider: programs.Simulator
    on_order: Callable[[], None]
    hooks: Hooks | None
    use: _Use

    async def run(self) -> Figures:
        (port,) = free(1)
        metrics = f"http://127.0.0.1:{port}/metrics"
        log = self.folder / "operator.log"
        hears = () if self.hooks is None else self.hooks.of_operator
        operator = programs.operator(self.cluster.kubeconfig, log, "--metrics", metrics, *hears)
        access = Access.read(self.cluster.kubeconfig)
        async with (
            Api(access) as api,
            Api(access) as customers,
            Relay(self.provider.url) as relay,
        ):
            # A relay would turn a connection refused into one that breaks.
            endpoint = self.provider.url if self.fault == "refuse" else relay.url
            with operator:
                await _open_shop(api, endpoint, SETTINGS[self.setting].spec)
                if self.hooks is not None:
                    await self.hooks.share(api)
                watcher = Watcher(api, metrics)
                async with watcher.watching():
                    began = time.monotonic()
                    self._set_fault()
                    await self._order(customers, watcher, began)
                    ordered = time.monotonic()
                    await self._all_ended(watcher)
                books = await self._books()
                return self._figures(watcher, relay, books, (began, ordered))

    def _set_fault(self) -> None:
        third = self.load.seconds / 3
        fault = FAULTS[self.fault] | {"from": third}
        if "times" not in fault:
            fault["for"] = third
        answer = httpx.post(f"{self.provider.admin_url}/faults", json=fault, trust_env=False)
        if not answer.is_success:
            raise BenchError(f"the simulator does not take the fault {fault}: {answer.text}")

    async def _order(self, api: Api, watcher: Watcher, began: float) -> None:
        """Place every order at its time, whether those before were answered or not."""
        async with asyncio.TaskGroup() as placing:
            for number in range(self.load.offered):
                await asyncio.sleep(began + number / self.load.rate - time.monotonic())
                placing.create_task(self._place(api, watcher, number))

    async def _place(self, api: Api, watcher: Watcher, number: int) -> None:
        name = f"order-{number:05}"
        watcher.orders.placed[name] = time.monotonic()
        with suppress(BenchError, aiohttp.ClientError, TimeoutError):  # then it is not accepted
            made = await api.create(f"{shop.PLACE}/rentals", _order(name, number))
            watcher.orders.uids[name] = made["metadata"]["uid"]
        self.on_order()

    async def _all_ended(self, watcher: Watcher) -> None:
        """Wait until every order is paid or declined; who is not by the limit counts as lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.load.limit_seconds):
                await watcher.all_ended()

    async def _books(self) -> Json:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            books: Json = (await client.get(f"{self.provider.url}/ledger")).json()
        return books

    def _figures(
        self, watcher: Watcher, relay: Relay, books: Json, span: tuple[float, float]
    ) -> Figures:
        began, ordered = span
        third = self.load.seconds / 3
        orders, samples = watcher.orders, watcher.samples
        charges = [charge["rentalUID"] for charge in books["charges"]]
        charged = set(charges)
        unpaid = {name for name, uid in orders.uids.items() if uid not in charged}
        lost = set(orders.left) | (orders.paid.keys() & unpaid)
        before = orders.waits(began, began + third)
        after = orders.waits(began + 2 * third, math.inf)
        put_off = [orders.paid[name] for name in orders.deferred if name in orders.paid]
        calls = _calls_while_open(samples, relay, directly=self.fault == "refuse")
        probes = SETTINGS[self.setting].probes
        return Figures(
            fault=self.fault,
            setting=self.setting,
            seconds=self.load.seconds,
            rate=self.load.rate,
            offered=self.load.offered,
            accepted=len(orders.uids),
            accepted_a_second=len(orders.uids) / (ordered - began),
            paid=len(orders.paid),
            declined=len(orders.declined - orders.paid.keys()),
            deferred=len(orders.deferred),
            lost=len(lost),
            charged_twice=len(charges) - len(charged),
            calls_while_open=sum(calls.values()),
            # A probe that fails ends its spell, but any of them may be the one.
            probes_allowed=probes * sum(watcher.half_opened.values()),
            to_open=_to_open(samples),
            to_last_deferred=max(put_off) - (began + 2 * third) if put_off else None,
            median=_median(before + after),
            p99=_p99(before + after),
            median_before=_median(before),
            median_after=_median(after),
            when=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            took=self.use.seconds,
            cores=os.cpu_count() or 1,
            others=self.use.others,
        )


def _median(waits: list[float]) -> float | None:
    return median(waits) if waits else None


def _p99(waits: list[float]) -> float | None:
    return quantiles(waits, n=100)[98] if len(waits) > 1 else None


def _to_open(samples: list[Sample]) -> float | None:
    """Return the seconds from the first failed charge to the open circuit."""
    failed = next((s.moment for s in samples if s.failed > samples[0].failed), None)
    opened = next((s.moment for s in samples if s.circuits.get("charges") == "Open"), None)
    return max(opened - failed, 0.0) if failed is not None and opened is not None else None


def _calls_while_open(samples: list[Sample], relay: Relay, *, directly: bool) -> dict[str, int]:
    """Return how many calls of each class were sent while its circuit was not closed.

    Calls that were let through just before it opened are still on their way then: what comes in its
    first second is theirs. Where calls do not go through the relay they are counted as they end, by
    the operator.
    """
    found = {}
    for calls, sent in (("charges", relay.charges), ("refunds", relay.others)):
        count, closed_until = 0.0, samples[0].moment
        for before, after in pairwise(samples):
            if "Closed" in {before.circuits.get(calls), after.circuits.get(calls)}:
                closed_until = after.moment  # closed at one end: part of that time it was
            if before.moment < closed_until + UNDER_WAY_SECONDS:
                continue
            if directly:
                charges = calls == "charges"
                count += after.asked(charges=charges) - before.asked(charges=charges)
            else:
                count += sum(before.moment <= moment < after.moment for moment in sent)
        found[calls] = round(count)
    return found


async def _open_shop(api: Api, endpoint: str, breaker: Json) -> None:
    """Open a shop with its toys in stock, and a gateway that is Ready."""
    gateway = {
        "simulator": {"endpoint": endpoint},
        "timeoutSeconds": GATEWAY_TIMEOUT_SECONDS,
        "circuitBreaker": breaker,
    }
    await shop.open_for_orders(api, gateway, [f"toy-{number:03}" for number in range(TOYS)])


def _order(name: str, number: int) -> Json:
    """Return an order of a toy, for days on which nobody else wants it."""
    toy, turn = number % TOYS, number // TOYS
    start = datetime.now(UTC) + timedelta(days=1 + DAYS_APART * turn)
    ordered = shop.order(name, f"toy-{toy:03}")
    ordered["spec"]["period"] = {"days": 1, "startTime": f"{start:%Y-%m-%dT%H:%M:%SZ}"}
    return ordered
