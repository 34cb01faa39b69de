"""What the operator costs the API server: counted, not timed.

The proxy sees each request of the operator's and nobody else's. The API server counts by itself
what it served; on a control plane where only this test is at work, both have to agree.
"""

import re
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import yaml

from dev.cluster import Cluster, kubeconfig
from tests.faults.conftest import GATEWAY, behind
from tests.faults.lives import Life, Seen, advance, look_at
from tests.faults.pieces import Pieces
from tests.support import Api, Shop, eventually, objects
from tests.support.mirror import Mirror
from tests.support.operator import OperatorProcess, SimulatorProcess
from tests.support.proxy import Proxy, Request
from tests.support.shop import body
from toyrental.kinds import KINDS
from toyrental.payments.models import PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.shared.conditions import is_true
from toyrental.stores.models import Store, Toy

LIFE = {"toys": 4, "rentals": 5, "payments": 3}
MOST_EVENTS = 8


def opens(shop: Shop, simulator: SimulatorProcess) -> None:
    shop.create(objects.gateway(GATEWAY, simulator.url))
    shop.create(objects.store(gateway=GATEWAY))


def is_open(shop: Shop) -> bool:
    return is_true(shop.get(Store, "default").status.conditions, "Ready") and is_true(
        shop.get(PaymentGateway, GATEWAY).status.conditions, "Ready"
    )


def let_it_finish(shop: Shop, proxy: Proxy, name: str = "sentinel") -> None:
    """Wait until the operator has done, and told, all that there was to do before this call.

    It begins to tell people one thing after the other: once the second of two is told, all that was
    before the first has been.
    """
    for number in (1, 2):
        uid = shop.create(objects.rental(f"{name}-{number}", toy=f"no-{name}")).uid
        eventually(partial(is_told, proxy, uid), explain=lambda: "\n".join(map(str, proxy.writes)))


def is_told(proxy: Proxy, uid: str) -> bool:
    return any(uid.encode() in event.body for event in proxy.events)


def besides(requests: list[Request], *names: str) -> list[Request]:
    """Return the requests that are not about objects called so."""
    return [
        r for r in requests if not any(name.encode() in r.body + r.name.encode() for name in names)
    ]


def by_resource(requests: list[Request]) -> Counter[str]:
    return Counter(request.resource for request in requests)


def live(shop: Shop, lives: list[Life]) -> None:
    eventually(
        lambda: advance(look_at(shop), lives),
        within=120,
        explain=lambda: "\n".join(map(str, lives)),
    )


def test_a_full_life_costs_twelve_writes_and_few_events(
    unstarted: OperatorProcess, shop: Shop, proxy: Proxy
) -> None:
    shop.create(objects.toy("bear"))
    with unstarted as operator:
        eventually(lambda: is_open(shop) and shop.get(Toy, "bear").status.phase)
        let_it_finish(shop, proxy, "before")
        writes, events = len(proxy.writes), len(proxy.events)
        live(shop, [Life(shop, "order", "bear").happy()])
        let_it_finish(shop, proxy, "after")
        life = besides(proxy.writes[writes:], "after")
        told = besides(proxy.events[events:], "after")
        print("writes:", by_resource(life), "events:", len(told))
        print("\n".join(str(write) for write in life))
        assert by_resource(life) == LIFE
        assert len(told) <= MOST_EVENTS
        refused = [r for r in proxy.requests if r.writes and not r.done]
        assert refused == [], "no write was in vain"
        assert operator.terminate() == 0


def test_the_api_server_counts_the_same(
    own_cluster: Cluster,
    shop_of_its_own: Shop,
    simulator: SimulatorProcess,
    tmp_path: Path,
) -> None:
    """By its own metrics, all writes of our kinds, less those that this test made itself."""
    shop = shop_of_its_own
    with Api(own_cluster.kubeconfig) as admin:
        # What earlier tests left is being deleted: that counts as writes too, until it is done.
        eventually(partial(no_shop_ends, admin), within=60)
    opens(shop, simulator)
    shop.create(objects.toy("bear"))
    with (
        Proxy.to_cluster(own_cluster) as proxy,
        behind(proxy, shop, own_cluster, tmp_path) as operator,
    ):
        eventually(lambda: is_open(shop) and shop.get(Toy, "bear").status.phase)
        let_it_finish(shop, proxy, "before")
        writes, events, counted = len(proxy.writes), len(proxy.events), served(own_cluster)
        live(shop, [Life(shop, "order", "bear").happy()])
        let_it_finish(shop, proxy, "after")
        by_operator = by_resource(proxy.writes[writes:])
        by_us = Counter(rentals=1 + 3 + 2)  # the order, what people said of it, the sentinels
        told = len(proxy.events[events:])
        both = served(own_cluster) - counted
        print("API server:", both, "operator:", by_operator, "events:", told)
        assert both == by_operator + by_us + Counter(events=told)
        assert by_operator - Counter(rentals=2) == LIFE  # two tell the sentinels' customers
        assert operator.terminate() == 0


def no_shop_ends(admin: Api) -> bool:
    return not any("deletionTimestamp" in each["metadata"] for each in admin.find("Namespace"))


def served(cluster: Cluster) -> Counter[str]:
    """Return how many writes of our kinds, and of Events, the API server has done so far."""
    with kubeconfig.client(cluster.kubeconfig) as client:
        text = client.get("/metrics").raise_for_status().text
    found: Counter[str] = Counter()
    for labels, count in re.findall(
        r"^apiserver_request_total\{(.*)\} ([0-9.e+]+)$", text, re.MULTILINE
    ):
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        ours = told["group"] == "toyrental.dev" or told["resource"] == "events"
        if ours and told["verb"] in {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}:
            found[told["resource"]] += round(float(count)) if told["code"].startswith("2") else 0
    return found


def test_a_restart_among_settled_objects_writes_nothing(
    unstarted: OperatorProcess, shop: Shop, proxy: Proxy, mirror: Mirror
) -> None:
    """The shop was served by another operator until now; this one knows nothing of it."""
    pieces = Pieces(proxy.connection, shop.name, mirror)
    for number in range(60):
        shop.create(objects.toy(f"toy-{number}"))
    scripts = [Life.happy, Life.damaged, Life.cancelled]
    lives = [scripts[n % 3](Life(shop, f"order-{n}", f"toy-{n}")) for n in range(60)]
    pieces.run(lambda: advance(Seen(mirror.resources), lives), within=120)
    pieces.run(lambda: is_open(shop))
    before = versions(shop)
    assert len(before) >= 200
    writes, events = len(proxy.writes), len(proxy.events)
    with unstarted as operator:
        let_it_finish(shop, proxy)
        assert besides(proxy.writes[writes:], "sentinel") == []
        assert besides(proxy.events[events:], "sentinel") == []
        assert operator.terminate() == 0
    after = versions(shop)
    assert {key: after[key] for key in before} == before


def versions(shop: Shop) -> dict[tuple[str, str], str]:
    """Return the resourceVersion of all that there is in a shop."""
    return {
        (kind.SERVED.kind, each.name): each.metadata.resource_version
        for kind in KINDS
        for each in shop.find(kind)
    }


@pytest.mark.parametrize("how", ["client", "server"])
def test_a_repeated_apply_writes_nothing(
    how: str, cluster: Cluster, unstarted: OperatorProcess, shop: Shop, proxy: Proxy
) -> None:
    """Neither kubectl does, nor the operator because of it."""
    provider = shop.get(PaymentGateway, GATEWAY).spec.simulator
    assert provider is not None
    resources = [
        objects.gateway(GATEWAY, provider.endpoint),
        objects.store(gateway=GATEWAY),
        objects.toy("bear"),
        objects.toy("lion"),
        objects.rental("order", toy="bear"),
        objects.ticket("ticket", toy="lion", assignee="joon"),
    ]
    content = [body(resource) for resource in resources]

    def apply() -> str:
        where = (f"--namespace={shop.name}", f"--server-side={how == 'server'}".lower(), "-f-")
        return cluster.run_kubectl("apply", *where, stdin=yaml.safe_dump_all(content))

    with unstarted as operator:
        apply()
        shop.wait(Rental, "order", lambda rental: rental.phase == "Paid")
        shop.wait(Toy, "lion", lambda toy: toy.status.phase == "InRepair")
        eventually(lambda: is_open(shop))
        let_it_finish(shop, proxy, "before")
        known, writes, events = versions(shop), len(proxy.writes), len(proxy.events)
        for _ in range(2):
            print(apply())
        assert versions(shop) == known
        let_it_finish(shop, proxy, "after")
        assert besides(proxy.writes[writes:], "after") == []
        assert besides(proxy.events[events:], "after") == []
        assert operator.terminate() == 0
