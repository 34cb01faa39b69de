"""Starting with history: what rentals that ended long ago cost an operator that starts.

They are copies of rentals that were really lived, with their Payments, each with names and uids of
its own. The copies are put straight into etcd, as another API server of the same cluster would:
asking for them would take six requests each. The API server and its clients see what they would
have seen.
"""

import asyncio
import base64
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from dev.cluster import Cluster, ControlPlane, certificates

from . import lives, measure, programs, shop
from .api import Access, Api
from .errors import BenchError
from .progress import Progress

TOYS = 20
LIVES = 2
CATCH_UP_SECONDS = 120

IDLE_SECONDS = 4.0
IDLE_CPU_SECONDS = 0.15
LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Start:
    """What one start of the operator took, until it had nothing more to do."""

    settled: int
    cpu_seconds: float
    seconds: float
    peak_mib: float
    resident_mib: float
    wrote: Counter[str]


def run(settled: int, limit_seconds: float, progress: Progress) -> tuple[Start, Start]:
    """Measure a start with next to no history, then one with so many settled rentals."""
    with tempfile.TemporaryDirectory(prefix="toyrental-bench-") as name:
        folder = Path(name)
        plane = ControlPlane(folder / "plane", ephemeral=True, apply=programs.brought())
        with plane as cluster, programs.simulator(folder) as provider:
            lived = programs.operator(cluster.kubeconfig, folder / "operator.log")
            with lived:
                asyncio.run(_live(cluster, provider.url))
            without = _start(cluster, folder, LIVES, limit_seconds, progress)
            _make_history(cluster, plane, settled - LIVES, progress)
            return without, _start(cluster, folder, settled, limit_seconds, progress)


async def _live(cluster: Cluster, provider: str) -> None:
    async with Api(Access.read(cluster.kubeconfig)) as api:
        stock = await shop.open_shop(api, provider, TOYS)
        users = lives.Users(api)
        async with users.watching():
            await lives.play(range(LIVES), LIVES, stock, users.live)


def _make_history(cluster: Cluster, plane: ControlPlane, copies: int, progress: Progress) -> None:
    progress.begin("making settled rentals", copies)
    tls = certificates.client_context(plane.layout.certificates)
    with httpx.Client(base_url=_etcd_url(cluster), verify=tls, trust_env=False, timeout=60) as etcd:
        originals = [_Original.read(etcd, lives.name_of(number)) for number in range(LIVES)]
        for number in range(copies):
            # One write a request: an API server never gives two objects the same version.
            for key, value in originals[number % LIVES].copy(LIVES + number).items():
                put = {"key": _base64(key), "value": _base64(value)}
                etcd.post("/v3/kv/put", json=put).raise_for_status()
            progress.advance()
    progress.begin("waiting for the API server to know of them")
    asyncio.run(_known(cluster, LIVES + copies))


async def _known(cluster: Cluster, count: int) -> None:
    deadline = time.monotonic() + CATCH_UP_SECONDS
    async with Api(Access.read(cluster.kubeconfig)) as api:
        for kind in ("rentals", "payments"):
            while await shop.count(api, f"{shop.PLACE}/{kind}") != count:
                if time.monotonic() > deadline:
                    raise BenchError(f"the API server does not serve the {count} {kind} made")
                await asyncio.sleep(0.5)


@dataclass(frozen=True)
class _Original:
    """A rental that ended, and its Payment, as etcd has them."""

    rental_uid: str
    payment_uid: str
    name: str
    stored: dict[str, str]

    @classmethod
    def read(cls, etcd: httpx.Client, name: str) -> "_Original":
        rental_key = f"/registry/toyrental.dev/rentals/{shop.NAMESPACE}/{name}"
        payments = f"/registry/toyrental.dev/payments/{shop.NAMESPACE}/{name}-"
        stored = _range(etcd, rental_key) | _range(etcd, payments, prefix=True)
        uids = [_uid(stored[key]) for key in sorted(stored, reverse=True)]
        if len(uids) != 2:
            raise BenchError(f"etcd has {len(uids)} objects for the rental {name}, not 2")
        return cls(rental_uid=uids[0], payment_uid=uids[1], name=name, stored=stored)

    def copy(self, number: int) -> dict[str, str]:
        """Return what is stored for another rental of this life."""
        uid = str(uuid.uuid4())
        new = {
            f"{self.name}-{self.rental_uid[:8]}": f"{lives.name_of(number)}-{uid[:8]}",
            self.name: lives.name_of(number),
            self.rental_uid: uid,
            self.payment_uid: str(uuid.uuid4()),
        }
        return {_replaced(key, new): _replaced(value, new) for key, value in self.stored.items()}


def _range(etcd: httpx.Client, key: str, *, prefix: bool = False) -> dict[str, str]:
    asked = {"key": _base64(key)}
    if prefix:
        asked["range_end"] = _base64(key[:-1] + chr(ord(key[-1]) + 1))
    answer = etcd.post("/v3/kv/range", json=asked).raise_for_status().json()
    return {_text(found["key"]): _text(found["value"]) for found in answer.get("kvs", ())}


def _uid(stored: str) -> str:
    return stored.partition('"uid":"')[2].partition('"')[0]


def _replaced(text: str, new: dict[str, str]) -> str:
    for old, other in new.items():
        text = text.replace(old, other)
    return text


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


def _etcd_url(cluster: Cluster) -> str:
    """Return where etcd is, as its own process was told."""
    flag = "--advertise-client-urls="
    told = psutil.Process(cluster.pids["etcd"]).cmdline()
    return next(word.removeprefix(flag) for word in told if word.startswith(flag))


def _start(
    cluster: Cluster, folder: Path, settled: int, limit_seconds: float, progress: Progress
) -> Start:
    """Start the operator and wait until it has nothing more to do."""
    progress.begin(f"starting the operator with {settled} settled rentals")
    access = Access.read(cluster.kubeconfig)
    before = asyncio.run(_requests(access))
    log = folder / f"operator-{settled}.log"
    with programs.operator(cluster.kubeconfig, log) as pid:
        seconds = wait_until_idle(pid, log, limit_seconds)
        used = programs.cpu_seconds(pid)
        peak, resident = programs.memory_mib(pid)
    wrote = asyncio.run(_requests(access)).since(before)
    return Start(settled, used, seconds, peak, resident, wrote.written + wrote.refused)


async def _requests(access: Access) -> measure.Requests:
    async with Api(access) as api:
        return await measure.requests(api)


def wait_until_idle(pid: int, log: Path, limit_seconds: float) -> float:
    """Wait until an operator is ready and has hardly used the CPU for a while.

    Returns after how many seconds that began. Until it is ready it may only seem idle: a busy
    machine may not let it run.
    """
    started = quiet_since = time.monotonic()
    used = programs.cpu_seconds(pid)
    while time.monotonic() < started + limit_seconds:
        time.sleep(LOOK_EVERY_SECONDS)
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            raise BenchError(f"the operator ended by itself:\n{log.read_text()[-2000:]}")
        now = programs.cpu_seconds(pid)
        if now - used > IDLE_CPU_SECONDS or '"ready"' not in log.read_text():
            quiet_since, used = time.monotonic(), now
        elif time.monotonic() > quiet_since + IDLE_SECONDS:
            return quiet_since - started
    raise BenchError(f"the operator was not idle within {limit_seconds:g} s")
