"""The API server is away, refuses, or says nonsense; the provider hangs: the operator lives on."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.cluster import Cluster
from tests.faults.conftest import GATEWAY
from tests.faults.lives import Life, advance, look_at
from tests.faults.test_caches import WATCHED, detour, phase, proxy
from tests.support import Shop, eventually, objects
from tests.support.audit import audit
from tests.support.operator import OperatorProcess, SimulatorProcess
from tests.support.proxy import Harm, Proxy, Request
from toyrental.rentals.models import Rental

__all__ = ["detour", "proxy"]


def live(shop: Shop, lives: list[Life]) -> None:
    eventually(
        lambda: advance(look_at(shop), lives), within=90, explain=lambda: "\n".join(map(str, lives))
    )


@pytest.mark.parametrize("status", [401, 403, 503, 0])
def test_an_api_server_that_refuses_everything_for_a_while(
    status: int,
    served: Shop,
    proxy: Proxy,
    operator: OperatorProcess,
    simulator: SimulatorProcess,
) -> None:
    """Orders that come meanwhile, by another way, are served when it is over."""
    shop = served
    for name in ("before", "during"):
        shop.create(objects.toy(name))
    lives = [Life(shop, name, name).happy() for name in ("before", "during")]
    live(shop, lives[:1])
    trouble = Harm.refuse(status) if status else Harm.lose()
    proxy.plan = lambda _: trouble
    proxy.cut_watches()
    tried = {"toys", "rentals", "payments"}
    seen, logged = len(proxy.requests), len(operator.log)
    lives[1].advance(look_at(shop))
    eventually(lambda: tried <= {request.resource for request in proxy.requests[seen:]})
    assert operator.running
    proxy.plan = lambda _: None
    live(shop, lives)
    eventually(lambda: audit(shop, simulator.ledger()))
    assert "Traceback" not in operator.log[logged:]


def test_a_watch_that_says_nonsense_is_begun_anew(
    served: Shop, proxy: Proxy, operator: OperatorProcess
) -> None:
    """kopf ends itself on such an error; the operator does not."""
    shop = served
    shop.create(objects.toy("bear"))
    told: list[str] = []
    logged = len(operator.log)

    def nonsense(event: dict[str, object]) -> dict[str, object]:
        if told:
            return event
        told.append(str(event))
        return {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "oops"}}

    proxy.garble = nonsense
    live(shop, [Life(shop, "order", "bear").happy()])
    assert told
    eventually(lambda: "begun anew" in operator.log[logged:])
    eventually(lambda: proxy.open_watches == WATCHED)
    assert operator.running


def test_sigterm_between_two_runs_of_the_watch(
    served: Shop, proxy: Proxy, operator: OperatorProcess
) -> None:
    logged = len(operator.log)
    proxy.garble = lambda _: {"type": "ERROR", "object": {"kind": "Status", "code": 500}}
    served.create(objects.toy("bear"))
    eventually(lambda: "begun anew" in operator.log[logged:])
    assert operator.terminate() == 0
    proxy.behave()
    operator.start()


HANGING: dict[str, Callable[[Request], bool]] = {
    "everything": lambda _: True,
    "writes": lambda request: request.writes,
    "watches": lambda request: request.watches,
}


@pytest.mark.parametrize("what", HANGING)
def test_sigterm_while_the_api_server_hangs(
    what: str, served: Shop, proxy: Proxy, operator: OperatorProcess
) -> None:
    shop = served
    go_on = threading.Event()
    proxy.plan = lambda request: Harm.hold(go_on) if HANGING[what](request) else None
    if what == "watches":
        proxy.cut_watches()
    shop.create(objects.toy("bear"))
    shop.create(objects.rental("order", toy="bear"))
    seen = len(proxy.requests)
    eventually(lambda: any(HANGING[what](request) for request in proxy.requests[seen - 1 :]))
    try:
        assert operator.terminate() == 0
    finally:
        go_on.set()
    proxy.behave()
    operator.start()
    phase(shop, "order", "Paid")


def test_sigterm_while_the_provider_hangs(
    cluster: Cluster, shop: Shop, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """The charge that was under way is asked about at the next start, not sent as another one."""
    go_on = threading.Event()
    with Proxy(simulator.url) as provider:
        shop.create(objects.gateway(GATEWAY, provider.url, timeoutSeconds=60))
        shop.create(objects.store(gateway=GATEWAY))
        shop.create(objects.toy("bear"))
        with OperatorProcess(cluster, tmp_path, namespaces=[shop.name]) as operator:
            provider.plan = lambda r: Harm.hold(go_on) if r.method == "POST" else None
            rental = shop.create(objects.rental("order", toy="bear"))
            eventually(lambda: any(r.method == "POST" for r in provider.requests))
            assert operator.terminate() == 0
            go_on.set()
            operator.start()
            phase(shop, "order", "Paid")
            assert operator.terminate() == 0
    assert len(simulator.ledger().of(rental).charges) == 1
    assert shop.get(Rental, "order").status.phase == "Paid"
