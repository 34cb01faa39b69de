"""The owner's view (R10, N4): the shop in numbers, on the real API server."""

from pathlib import Path

from dev.cluster import Cluster
from tests.e2e.business import Business
from tests.e2e.test_metrics import FREE_PORT, scrape
from tests.support import Shop, eventually, objects
from tests.support.mirror import Mirror
from tests.support.operator import OperatorProcess, SimulatorProcess
from tests.support.recount import Writes, agrees
from toyrental.dashboards.models import Dashboard
from toyrental.dashboards.rules import REST
from toyrental.shared import conditions

PATIENCE = 60


def test_the_owner_sees_the_shop_at_a_glance(business: Business, cluster: Cluster) -> None:
    """R10: Given toys out, waiting orders and a repair, then `kubectl get dashboards` tells all."""
    shop = business.shop
    business.registers("bear", "lion", "kite")
    shop.create(objects.dashboard("shop"))
    business.hands_over("mina", toy="bear")
    business.takes_order("ryu", toy="bear")
    business.opens_ticket("wheel", toy="lion")
    business.toy_becomes("lion", "Damaged")
    business.order_becomes("ryu", "Pending")
    eventually(lambda: agrees(cluster, shop.name), within=PATIENCE)
    seen = shop.wait(
        Dashboard,
        "shop",
        lambda found: found.status.repairs and found.status.repairs.open == 1,
        within=PATIENCE,
    )
    ready = conditions.find(seen.status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.observed_generation) == ("True", seen.metadata.generation)
    printed = cluster.run_kubectl("get", "dashboards", f"--namespace={shop.name}")
    header, row = (line.split() for line in printed.splitlines())
    columns = dict(zip(header, row, strict=True))
    columns.pop("AGE")
    assert columns == {
        "NAME": "shop",
        "TOYS": "3",
        "AVAILABLE": "1",
        "RENTED": "1",
        "OUT-OF-ORDER": "1",
        "OVERDUE": "0",
        "WAITING": "1",
        "UNPAID": "0",
    }


def test_it_is_rebuilt_after_a_kill_and_writes_nothing_when_nothing_changed(
    cluster: Cluster, own_shop: Shop, own_simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """N4, N5: Given a storm, kills and a time without it, then it says what a recount says."""
    business = Business(own_shop, own_simulator)
    contexts = ("rentals", "stores", "repairs", "payments")
    with (
        Mirror(cluster, own_shop.name) as mirror,
        OperatorProcess(cluster, tmp_path, namespaces=[own_shop.name], contexts=contexts),
        OperatorProcess(
            cluster,
            tmp_path,
            FREE_PORT,
            namespaces=[own_shop.name],
            contexts=["dashboards"],
            name="dashboards",
        ) as dashboards,
    ):
        mirror.listen(writes := Writes())
        business.opens(approval="Automatic")
        own_shop.create(objects.dashboard("shop"))
        toys = [f"toy-{n}" for n in range(6)]
        business.registers(*toys)
        for round_ in range(3):
            for name in toys:
                business.takes_order(f"{name}-{round_}", toy=name)
            dashboards.kill()
            for name in toys:
                business.order_becomes(f"{name}-{round_}", "Rented")
            dashboards.start()
            for name in toys:
                business.gets_back(f"{name}-{round_}")
        eventually(lambda: agrees(cluster, own_shop.name), within=PATIENCE)
        assert writes.rested(REST.total_seconds())

        written = len(writes.times)
        dashboards.kill()
        dashboards.start()
        eventually(
            lambda: scrape(dashboards).value("toyrental_reconciles_total", kind="Dashboard"),
            within=PATIENCE,
        )
        seen = scrape(dashboards)
        assert seen.value("toyrental_api_requests_total", verb="patch") == 0
        assert agrees(cluster, own_shop.name)
        assert len(writes.times) == written
        here = {"namespace": own_shop.name}
        assert seen.value("toyrental_shop_toys", phase="Available", **here) == 6
        assert seen.value("toyrental_shop_rentals", phase="Completed", **here) == 18
        assert seen.value("toyrental_shop_captured_minor_units", currency="KRW", **here) == 162_000
