"""Two operators and one Lease: one works, the other is ready to, and never do both.

Each goes through a proxy of its own, which knows what it wrote, and when.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dev.cluster import Cluster
from tests.e2e.test_metrics import FREE_PORT, scrape
from tests.faults.lives import Life, advance, look_at
from tests.support import Api, Shop, eventually, objects
from tests.support.audit import audit
from tests.support.loopback import NO_TLS
from tests.support.operator import OperatorProcess, SimulatorProcess
from tests.support.proxy import Harm, Proxy, Request
from toyrental.kube.election import LEASE_SECONDS, RENEW_DEADLINE_SECONDS
from toyrental.kube.leadership import SERVES

LEASE = "toyrental-operator"
FAIL_OVER_SECONDS = 15


class Pair:
    """Two operators of one shop."""

    def __init__(self, cluster: Cluster, shop: Shop, directory: Path) -> None:
        self.shop = shop
        self.proxies = {name: Proxy.to_cluster(cluster) for name in ("one", "other")}
        self._cluster = cluster
        self._directory = directory
        self.operators: dict[str, OperatorProcess] = {}

    def open(self, name: str) -> OperatorProcess:
        """Start one of them; it leads, or stands by, on return."""
        kubeconfig = self.proxies[name].kubeconfig(self._directory / f"{name}.kubeconfig")
        flags = (
            f"--kubeconfig={kubeconfig}",
            "--leader-election",
            "--health=http://127.0.0.1:0",
            FREE_PORT,
            f"--lease-namespace={self.shop.name}",
            f"--identity={name}",
        )
        operator = OperatorProcess(
            self._cluster, self._directory, *flags, namespaces=[self.shop.name], name=name
        )
        self.operators[name] = operator
        operator.start()
        return operator

    @property
    def leader(self) -> str:
        """The name of the one that holds the Lease; empty where none has made it yet."""
        leases = self.shop.api.find("Lease", self.shop.name, fields=f"metadata.name={LEASE}")
        return "".join(str(each["spec"]["holderIdentity"]).partition("_")[0] for each in leases)

    def writes(self, name: str) -> list[Request]:
        return self.proxies[name].writes


@pytest.fixture
def pair(cluster: Cluster, open_for_business: Shop, tmp_path: Path) -> Iterator[Pair]:
    """Give a leader, `one`, and the `other`, which stands by."""
    pair = Pair(cluster, open_for_business, tmp_path)
    with pair.proxies["one"], pair.proxies["other"]:
        try:
            pair.open("one")
            eventually(lambda: pair.leader == "one")
            pair.open("other")
            yield pair
        finally:
            for operator in pair.operators.values():
                operator.close()


def rents(pair: Pair, toy: str, within: float = 60) -> None:
    """Live a whole life."""
    shop = pair.shop
    shop.create(objects.toy(toy))
    life = Life(shop, f"order-of-{toy}", toy).happy()
    eventually(lambda: advance(look_at(shop), [life]), within=within, explain=lambda: str(life))


def leads(pair: Pair, name: str) -> float:
    """Wait until one leads; return for how long that took."""
    begun = time.monotonic()
    eventually(lambda: pair.leader == name, within=60, explain=lambda: f"{pair.leader} leads")
    return time.monotonic() - begun


def is_ready(operator: OperatorProcess) -> str:
    """Return in what way an operator is ready, once it is."""
    (_, ready) = re.findall(r"http://[^ ,\"]+z", operator.log)[-2:]

    def ask() -> httpx.Response | None:
        answer = httpx.get(ready, trust_env=False, verify=NO_TLS)
        return answer if answer.status_code == 200 else None

    answer = eventually(ask)
    assert answer is not None
    return str(answer.json()["checks"][-1]["state"])


def test_the_other_leads_when_the_leader_is_gone(
    pair: Pair, simulator: SimulatorProcess, admin: Api
) -> None:
    """N5: Killed, it is replaced when the Lease runs out; stopped in good order, at once."""
    rents(pair, "bear")
    assert pair.writes("one")
    assert pair.writes("other") == [], "it stands by"
    assert is_ready(pair.operators["other"]) == "stands by"
    told = [scrape(operator) for operator in pair.operators.values()]
    assert [each.value("toyrental_leader", lease=LEASE) for each in told] == [1, 0]
    assert [each.value("toyrental_shop_toys") for each in told] == [1, 0], "no toy counts twice"
    assert told[0].value("toyrental_gateway_ready") == 1
    assert "toyrental_gateway_ready" not in {s.name for f in told[1].values() for s in f.samples}

    pair.operators["one"].kill()
    took = leads(pair, "other")
    print(f"fail-over after SIGKILL: {took:.1f} s")
    assert took < FAIL_OVER_SECONDS + 10, "it has to begin when the Lease runs out"
    rents(pair, "lion")

    one = pair.open("one")
    lease = admin.get("Lease", LEASE, pair.shop.name)
    assert lease["spec"]["holderIdentity"].startswith("other_")
    assert lease["spec"]["leaseDurationSeconds"] == LEASE_SECONDS
    assert lease["spec"]["leaseTransitions"] == 1
    contexts = "dashboards,payments,rentals,repairs,stores"
    assert lease["metadata"]["annotations"] == {SERVES: f"{contexts} of {pair.shop.name}"}
    assert "needs another --lease-name" not in pair.operators["one"].log
    written = len(pair.writes("one"))
    begun = time.monotonic()
    assert pair.operators["other"].terminate() == 0
    stopped = time.monotonic()
    took = leads(pair, "one")
    print(f"SIGTERM: ended after {stopped - begun:.1f} s, the other led {took:.1f} s later")
    released = [r for r in pair.proxies["other"].requests if is_renewal(r)][-1]
    assert b'"holderIdentity":""' in released.body, "it let go of the Lease"
    assert released.done
    assert len(pair.writes("one")) == written, "there was nothing to do"
    rents(pair, "boat")
    notes = [event["note"] for event in pair.shop.events(LEASE)]
    assert any(note.startswith("other_") and note.endswith(" leads") for note in notes)
    assert one.terminate() == 0
    eventually(lambda: audit(pair.shop, simulator.ledger()))


def is_renewal(request: Request) -> bool:
    return request.resource == "leases" and request.method == "PATCH"


def test_a_leader_that_is_cut_off_from_the_lease_stops_before_the_other_begins(
    pair: Pair, simulator: SimulatorProcess
) -> None:
    """It could write on: only its own rule keeps it from that. Then it stands by, and may lead."""
    shop, proxy = pair.shop, pair.proxies["one"]
    lives: list[Life] = []
    proxy.plan = lambda request: Harm.lose() if request.resource == "leases" else None
    cut_off = time.monotonic()

    def busy() -> bool:
        """Have more and more to do, until the other one leads; then have it end."""
        others = pair.leader == "other"
        if not others:
            shop.create(objects.toy(f"toy-{len(lives)}"))
            lives.append(Life(shop, f"order-{len(lives)}", f"toy-{len(lives)}").happy())
        return advance(look_at(shop), lives) and others

    eventually(busy, within=90, explain=lambda: "\n".join(map(str, lives)))
    rents(pair, "bear")
    last = max(request.at for request in pair.writes("one"))
    first = min(request.at for request in pair.writes("other"))
    print(f"cut off, it wrote for {last - cut_off:.1f} s; {first - last:.1f} s later the other did")
    assert cut_off < last < first
    assert last < cut_off + RENEW_DEADLINE_SECONDS + 2
    assert "leads no more" in pair.operators["one"].log
    assert pair.operators["one"].running

    proxy.behave()
    assert pair.operators["other"].terminate() == 0
    leads(pair, "one")
    rents(pair, "lion")
    eventually(lambda: audit(shop, simulator.ledger()))
    assert pair.operators["one"].terminate() == 0


def test_a_leader_that_was_paused_writes_nothing_when_it_goes_on(
    pair: Pair, simulator: SimulatorProcess
) -> None:
    """It is stopped in the midst of orders for longer than the Lease, as a machine may be.

    What it sent before, and what was under way all that time, the API server refuses.
    """
    shop, one, proxy = pair.shop, pair.operators["one"], pair.proxies["one"]
    for number in range(6):
        shop.create(objects.toy(f"toy-{number}"))
    lives = [Life(shop, f"order-{number}", f"toy-{number}").happy() for number in range(6)]
    eventually(lambda: not advance(look_at(shop), lives) and len(proxy.writes) > 12)
    go_on = threading.Event()
    under_way: list[Request] = []

    def hold(request: Request) -> Harm | None:
        if not (request.writes and request.resource == "rentals"):
            return None
        under_way.append(request)
        return Harm.hold(go_on)

    proxy.plan = hold
    eventually(lambda: not advance(look_at(shop), lives) and under_way)
    os.kill(one.pid, signal.SIGSTOP)
    try:
        leads(pair, "other")
        eventually(lambda: advance(look_at(shop), lives), within=60)
    finally:
        paused = time.monotonic()
        proxy.behave()
        go_on.set()
        os.kill(one.pid, signal.SIGCONT)
    eventually(lambda: "leads no more" in one.log)
    eventually(lambda: one.log.count("stands by: other_") == 1)
    assert [request.status for request in under_way] == [409] * len(under_way)
    late = [str(request) for request in proxy.writes if request.at > paused]
    assert late == []
    rents(pair, "bear")
    eventually(lambda: audit(shop, simulator.ledger()))
    assert one.terminate() == 0

    # And the API server hangs, then the leader ends in time, its Lease left to run out
    go_on = threading.Event()
    pair.proxies["other"].plan = lambda _: Harm.hold(go_on)
    try:
        assert pair.operators["other"].terminate() == 0
    finally:
        go_on.set()
    assert "left to run out" in pair.operators["other"].log
