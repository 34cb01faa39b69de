"""How old the numbers of a Dashboard are while rentals live.

Two numbers of a shop only ever grow: orders taken, and orders completed. Each of these changes is
timed as the watch of the rentals tells of it; a Dashboard shows the n-th of them once its own count
has reached n. Both are heard by one client, so the difference of their times is how long the change
was not shown.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from time import monotonic

from dev.cluster import ControlPlane

from . import lives, programs, shop
from .api import Access, Api, Json
from .arms import Load
from .errors import BenchError
from .progress import Progress

DASHBOARD = "shop"
CATCH_UP_SECONDS = 30


@dataclass
class Count:
    """A number that only grows: when it reached 1, 2, 3 …, and when the Dashboard said so."""

    happened: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)

    def delays(self) -> list[float]:
        """Return for how many seconds each change was not shown."""
        pairs = zip(self.happened, self.shown, strict=True)
        return [max(shown - happened, 0.0) for happened, shown in pairs]


@dataclass(frozen=True)
class Staleness:
    """What was measured."""

    lives: int
    seconds: float
    delays: list[float]
    writes: list[float]

    @property
    def percentiles(self) -> list[float]:
        """The first is exceeded by 99% of the delays, the last by 1%."""
        return quantiles(self.delays, n=100, method="inclusive")

    @property
    def rest(self) -> float | None:
        """The seconds between two writes of the Dashboard, on the average."""
        pauses = len(self.writes) - 1
        return (self.writes[-1] - self.writes[0]) / pauses if pauses > 0 else None


def run(load: Load, progress: Progress) -> Staleness:
    """Play lives on a control plane of its own, and measure how old the Dashboard is meanwhile."""
    with tempfile.TemporaryDirectory(prefix="toyrental-bench-") as name:
        folder = Path(name)
        plane = ControlPlane(folder / "plane", ephemeral=True, apply=programs.brought())
        with plane as cluster, programs.simulator(folder) as provider:
            operator = programs.operator(cluster.kubeconfig, folder / "operator.log")
            with operator:
                measured = _measured(Access.read(cluster.kubeconfig), provider.url, load, progress)
                try:
                    return asyncio.run(asyncio.wait_for(measured, load.limit_seconds))
                except TimeoutError:
                    limit = f"{load.limit_seconds:g} s"
                    raise BenchError(f"the lives took longer than {limit}") from None


async def _measured(access: Access, provider: str, load: Load, progress: Progress) -> Staleness:
    async with Api(access) as api:
        stock = await shop.open_shop(api, provider, load.in_flight)
        await api.create(f"{shop.PLACE}/dashboards", shop.dashboard(DASHBOARD))
        users, observer = lives.Users(api), _Observer()
        async with users.watching(), observer.watching(api):
            began = monotonic()
            life = progress.counting(users.live)
            await lives.play(range(load.lives), load.in_flight, stock, life)
            seconds = monotonic() - began
            await observer.caught_up(load.lives)
        return Staleness(load.lives, seconds, observer.delays, observer.writes)


class _Observer:
    """Listens to rentals and to the Dashboard, and times both."""

    def __init__(self) -> None:
        self.taken, self.completed = Count(), Count()
        self.writes: list[float] = []
        self._done: set[str] = set()

    @property
    def delays(self) -> list[float]:
        """How long each change was not shown."""
        return [*self.taken.delays(), *self.completed.delays()]

    @asynccontextmanager
    async def watching(self, api: Api) -> AsyncIterator[None]:
        """Listen meanwhile."""
        heard = {"rentals": self._rental, "dashboards": self._dashboard}
        watches = [
            asyncio.create_task(_listen(api, resource, await _version(api, resource), hear))
            for resource, hear in heard.items()
        ]
        try:
            yield
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.wait(watches)

    async def caught_up(self, lives: int) -> None:
        """Return once the Dashboard shows all that happened."""
        deadline = monotonic() + CATCH_UP_SECONDS
        while min(len(each) for each in (self.completed.happened, self.completed.shown)) < lives:
            if monotonic() > deadline:
                shown = len(self.completed.shown)
                raise BenchError(f"the Dashboard shows {shown} of {lives} completed orders")
            await asyncio.sleep(0.1)

    def _rental(self, event: Json) -> None:
        rental = event["object"]
        name = rental["metadata"]["name"]
        if event["type"] == "ADDED":
            self.taken.happened.append(monotonic())
        if rental.get("status", {}).get("phase") == "Completed" and name not in self._done:
            self._done.add(name)
            self.completed.happened.append(monotonic())

    def _dashboard(self, event: Json) -> None:
        status = event["object"].get("status", {})
        if not status:
            return
        now = monotonic()
        self.writes.append(now)
        counts = {each["phase"]: each["count"] for each in status["rentals"]["byPhase"]}
        for count, shown in (
            (self.taken, sum(counts.values())),
            (self.completed, counts.get("Completed", 0)),
        ):
            count.shown += [now] * (shown - len(count.shown))


async def _version(api: Api, resource: str) -> str:
    """Return from when on a watch tells of all that happens after this call."""
    found = await api.get(f"{shop.PLACE}/{resource}?limit=1")
    return str(found["metadata"]["resourceVersion"])


async def _listen(api: Api, resource: str, since: str, hear: Callable[[Json], None]) -> None:
    async for event in api.watch(f"{shop.PLACE}/{resource}", since):
        hear(event)
