"""The arms that are compared: lives with the operator, and the same requests without it.

Each measurement has a control plane, a simulator and a shop of its own. On one that had served
earlier arms, etcd and the API server's heap and caches would be larger for the later ones, and the
operator would load their rentals as history. Both arms begin alike: the operator opens the shop
and some lives are lived to warm everything up; for the ceiling it is then stopped. The users watch
their rentals in every arm, so that the operator is all that differs. The clock stops when the last
Event is there: the operator sends them beside its work, and what it has yet to send is not done.
Arms take turns (A B A B ...), so that what else the machine does meanwhile falls on both.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dev.cluster import Cluster, ControlPlane

from . import lives, measure, programs, shop
from .api import Access, Api
from .errors import BenchError
from .progress import Progress
from .recording import Script
from .replay import Provider, Replay

WARM_UP_LIVES = 20
QUIET_SECONDS = 1.0


class Arm(StrEnum):
    """What is measured in turn."""

    OPERATOR = "operator"
    CEILING = "ceiling"
    BARE_CEILING = "ceiling without Events"


@dataclass(frozen=True)
class Load:
    """How much is measured."""

    lives: int
    in_flight: int
    limit_seconds: float


@dataclass(frozen=True)
class Figures:
    """What one arm showed."""

    arm: Arm
    lives: int
    seconds: float
    cpu_seconds: dict[str, float]
    users_wrote: Counter[str]
    operator_wrote: Counter[str]
    refused: Counter[str]
    peak_mib: float | None

    @property
    def lives_a_second(self) -> float:
        """How fast it went."""
        return self.lives / self.seconds

    def cpu_ms_a_life(self, process: str) -> float:
        """Return the CPU milliseconds of a process for one life."""
        return 1000 * self.cpu_seconds.get(process, 0.0) / self.lives


def run(arm: Arm, load: Load, scripts: tuple[Script, Script], progress: Progress) -> Figures:
    """Measure one arm on a control plane of its own."""
    with tempfile.TemporaryDirectory(prefix="toyrental-bench-") as name:
        folder = Path(name)
        plane = ControlPlane(folder / "plane", ephemeral=True, apply=programs.brought())
        with plane as cluster, programs.simulator(folder) as provider:
            measured = _measured(_Setting(arm, load, folder, cluster, provider), scripts, progress)
            try:
                return asyncio.run(asyncio.wait_for(measured, load.limit_seconds))
            except TimeoutError:
                raise BenchError(
                    f"the arm '{arm}' took longer than {load.limit_seconds:g} s"
                ) from None


@dataclass(frozen=True)
class _Setting:
    arm: Arm
    load: Load
    folder: Path
    cluster: Cluster
    provider: programs.Simulator

    @property
    def pids(self) -> dict[str, int]:
        """The processes that are there in any case."""
        return {**self.cluster.pids, "simulator": self.provider.pid}


async def _measured(
    setting: _Setting, scripts: tuple[Script, Script], progress: Progress
) -> Figures:
    access = Access.read(setting.cluster.kubeconfig)
    operator = programs.operator(setting.cluster.kubeconfig, setting.folder / "operator.log")
    async with Api(access) as api, Provider(setting.provider.url) as provider:
        users = lives.Users(api)
        async with users.watching():
            with operator as pid:
                stock = await shop.open_shop(api, setting.provider.url, setting.load.in_flight)
                await lives.play(range(WARM_UP_LIVES), setting.load.in_flight, stock, users.live)
                if setting.arm is Arm.OPERATOR:
                    pids = {**setting.pids, "operator": pid}
                    return await _play(setting, api, stock, users.live, pids, progress)
            await shop.look(api, stock)
            replay = Replay(api, provider, _replayed(setting.arm, scripts))
            return await _play(setting, api, stock, replay.live, setting.pids, progress)


def _replayed(arm: Arm, scripts: tuple[Script, Script]) -> tuple[Script, Script]:
    if arm is Arm.CEILING:
        return scripts
    by_name, by_model = (tuple(r for r in script if not r.is_event) for script in scripts)
    return by_name, by_model


async def _play(  # noqa: PLR0913, PLR0917 # what is played, for whom, and who is measured
    setting: _Setting,
    api: Api,
    stock: shop.Stock,
    life: Callable[[int, shop.Toy], Awaitable[None]],
    pids: dict[str, int],
    progress: Progress,
) -> Figures:
    load = setting.load
    await _last_event(api)
    api.written.clear()
    before = await measure.requests(api)
    meter, started = measure.CpuMeter(pids), time.monotonic()
    counted = progress.counting(life)
    await lives.play(
        range(WARM_UP_LIVES, WARM_UP_LIVES + load.lives), load.in_flight, stock, counted
    )
    seconds = await _last_event(api) - started
    used = meter.read()
    wrote = (await measure.requests(api)).since(before)
    operator = pids.get("operator")
    return Figures(
        arm=setting.arm,
        lives=load.lives,
        seconds=seconds,
        cpu_seconds=used,
        users_wrote=Counter(api.written),
        operator_wrote=wrote.written - api.written,
        refused=wrote.refused,
        peak_mib=programs.memory_mib(operator)[0] if operator else None,
    )


async def _last_event(api: Api) -> float:
    """Wait until no more Events come in; return when the last one had come, or now."""
    came, count = time.monotonic(), await shop.events(api)
    while time.monotonic() < came + QUIET_SECONDS:
        await asyncio.sleep(0.1)
        now = await shop.events(api)
        if now != count:
            came, count = time.monotonic(), now
    return came
