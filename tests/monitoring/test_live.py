"""A real Prometheus watches a real operator: every expression answers, alerts come and go."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import toyrental.operate as _  # noqa: F401 - all that runs has declared its metrics then
from dev.cluster import Cluster
from dev.cluster.manifests import REPOSITORY
from dev.cluster.ports import free
from dev.generate.grafana import BOARDS
from tests.conftest import open_shop
from tests.e2e.business import DECLINED, GATEWAY, Business
from tests.support import Api, Shop, eventually
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport
from tests.support.prometheus import PrometheusProcess, alerts, rules
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.shared.metrics import REGISTRY

__all__ = ["pytest_runtest_makereport"]

WITHIN = 60
REFUSED = "pm_card_discover"
METRIC = re.compile(r"\b(?:[a-z_]+:)?(?:toyrental|process)_[a-z_]+(?::[a-z0-9_]+)?")


def panel_expressions() -> list[str]:
    variables = {"$namespace": ".*", "$__rate_interval": "30s"}
    found = [a[0] for board in BOARDS for panel in board.panels for a in panel.answers]
    for variable, value in variables.items():
        found = [expression.replace(variable, value) for expression in found]
    return found


def runbook_expressions() -> list[str]:
    pages = (REPOSITORY / "docs" / "runbooks").glob("*.md")
    return [e for p in pages for e in re.findall(r"```promql\n(.*?)```", p.read_text(), re.DOTALL)]


def recorded() -> dict[str, str]:
    every = [rule for group in rules()["groups"] for rule in group["rules"]]
    return {rule["record"]: rule["expr"] for rule in every if "record" in rule}


def all_expressions() -> list[str]:
    told = [str(alert["expr"]) for alert in alerts()]
    return [*panel_expressions(), *runbook_expressions(), *recorded().values(), *told]


def names(expression: str) -> set[str]:
    return set(METRIC.findall(expression))


@pytest.fixture(scope="module")
def shop(admin: Api, cluster: Cluster) -> Iterator[Shop]:
    yield from open_shop(admin, cluster, "monitored")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("monitoring")


@pytest.fixture(scope="module")
def port() -> int:
    return free(1)[0]


@pytest.fixture(scope="module")
def prometheus(directory: Path, port: int) -> Iterator[PrometheusProcess]:
    with PrometheusProcess(directory, port) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def simulator(directory: Path) -> Iterator[SimulatorProcess]:
    refused = json.dumps({"kind": "error", "method": REFUSED, "status": 400})
    with SimulatorProcess(directory, f"--fault={refused}") as simulator:
        yield simulator


@pytest.fixture(scope="module")
def operator(
    cluster: Cluster, shop: Shop, directory: Path, port: int, prometheus: PrometheusProcess
) -> Iterator[OperatorProcess]:
    """Give an operator that Prometheus scrapes."""
    flag = f"--metrics=http://127.0.0.1:{port}/metrics"
    with OperatorProcess(cluster, directory, flag, namespaces=[shop.name]) as operator:
        eventually(lambda: prometheus.query("toyrental_build_info"), within=WITHIN)
        yield operator


def test_every_metric_that_is_named_exists() -> None:
    exist = {*REGISTRY._names_to_collectors, *recorded(), "process_cpu_seconds_total"}
    named = {name for expression in all_expressions() for name in names(expression)}
    assert named - exist == set()


def test_every_metric_that_exists_is_documented() -> None:
    page = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    described = {m.name for m in REGISTRY.collect() if m.name.startswith("toyrental_")}
    assert [name for name in sorted(described) if f"`{name}" not in page] == []


def test_every_expression_answers(
    operator: OperatorProcess,
    prometheus: PrometheusProcess,
    shop: Shop,
    simulator: SimulatorProcess,
) -> None:
    """Given a day in a shop, then every panel, runbook and recording has data.

    An alert is silent while all is well: of those, each metric they speak of has data.
    """
    assert operator.running
    business = Business(shop, simulator)
    business.opens()
    business.registers("bear", "train", "bike")
    business.hands_over("lent", toy="bear")
    declined = business.takes_order("declined", toy="train", method=DECLINED)
    business.payment_becomes(declined, "Declined")
    business.hands_over("broken", toy="bike")
    business.gets_back("broken", "Damaged")

    asked = {*panel_expressions(), *runbook_expressions(), *recorded().values()}
    asked |= {name for alert in alerts() for name in names(str(alert["expr"]))}

    def silent() -> list[str]:
        return sorted(each for each in asked if not prometheus.query(each))

    eventually(lambda: not silent(), within=WITHIN, explain=lambda: "\n".join(silent()))
    assert "ToyrentalOperatorDown" not in prometheus.firing()


def test_the_dashboards_can_be_drawn(
    operator: OperatorProcess, prometheus: PrometheusProcess, tmp_path: Path
) -> None:
    """Given a Prometheus, then `make pictures` has a picture of every dashboard."""
    # It takes a second, of each worker, and one of them needs it.
    from dev.pictures import sheet  # noqa: PLC0415

    assert operator.running
    now = time.time()
    for board in BOARDS:
        sheet.draw(board, sheet.Source(prometheus.url, now - 30, now), tmp_path / "picture.png")
        assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_a_provider_that_is_gone_is_told_of(
    operator: OperatorProcess,
    prometheus: PrometheusProcess,
    shop: Shop,
    simulator: SimulatorProcess,
) -> None:
    """N3: Given payments that are put off, then somebody is alerted until they are taken."""
    assert operator.running
    alert = "ToyrentalPaymentsDeferred"
    if not shop.api.find("PaymentGateway", shop.name):
        Business(shop, simulator).opens()
    shop.patch(PaymentGateway, GATEWAY, spec={"suspended": True})
    Business(shop, simulator).registers("puzzle")
    Business(shop, simulator).takes_order("waiting", toy="puzzle")
    eventually(lambda: alert in prometheus.firing(), within=WITHIN)
    shop.patch(PaymentGateway, GATEWAY, spec={"suspended": False})
    eventually(lambda: alert not in prometheus.firing(), within=WITHIN)


def test_a_payment_that_needs_a_person_is_told_of(
    operator: OperatorProcess,
    prometheus: PrometheusProcess,
    shop: Shop,
    simulator: SimulatorProcess,
) -> None:
    """Given a charge that the provider refuses, then somebody is alerted until a person decides."""
    assert operator.running
    alert = "ToyrentalPaymentInReview"
    business = Business(shop, simulator)
    if not shop.api.find("PaymentGateway", shop.name):
        business.opens()
    business.registers("map")
    order = business.takes_order("refused", toy="map", method=REFUSED)
    payment = business.payment_becomes(order, "ManualReview")
    eventually(lambda: alert in prometheus.firing(), within=WITHIN)
    shop.patch(Payment, payment.name, spec={"resolution": {"outcome": "NotCharged"}})
    eventually(lambda: alert not in prometheus.firing(), within=WITHIN)


def test_an_operator_that_is_gone_is_told_of(
    operator: OperatorProcess, prometheus: PrometheusProcess
) -> None:
    """Given an operator that is killed, then somebody is alerted until it is back."""
    alert = "ToyrentalOperatorDown"
    operator.kill()
    eventually(lambda: alert in prometheus.firing(), within=WITHIN)
    operator.start()
    eventually(lambda: alert not in prometheus.firing(), within=WITHIN)
