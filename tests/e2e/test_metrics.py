"""What the operator shows Prometheus of itself, while it works in earnest."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from dev.cluster import Cluster
from tests.e2e.business import GATEWAY, Business
from tests.support import Shop, eventually
from tests.support.loopback import NO_TLS
from tests.support.operator import OperatorProcess, SimulatorProcess
from toyrental.kinds import KINDS
from toyrental.payments.models import PaymentGateway

FREE_PORT = "--metrics=http://127.0.0.1:0/metrics"
PROBES = "--liveness=http://127.0.0.1:0/healthz"

CONTROLLERS = {"kind", "result", "verb", "code", "le", "version", "lease"}
SHOPS = {"namespace", "phase", "currency"}
GATEWAYS = {"namespace", "gateway", "operation", "outcome", "calls", "state", "reason", "le"}
"""The labels there are: none names an object but a gateway, of which a shop has one or two."""


class Scraped(dict[str, Metric]):
    """The metrics at one moment, by the name of their family."""

    def value(self, name: str, /, **labels: str) -> float:
        """Return the sum of all samples of a name that bear these labels."""
        samples = (sample for family in self.values() for sample in family.samples)
        return sum(
            s.value for s in samples if s.name == name and labels.items() <= s.labels.items()
        )


def scrape(operator: OperatorProcess) -> Scraped:
    """Read the metrics of an operator that runs with FREE_PORT."""
    url = re.findall(r"metrics at (http://[^\s\"]+)", operator.log)[-1]
    text = httpx.get(url, trust_env=False, verify=NO_TLS).raise_for_status().text
    return Scraped({family.name: family for family in text_string_to_metric_families(text)})


@pytest.fixture
def measured(cluster: Cluster, own_shop: Shop, tmp_path: Path) -> Iterator[OperatorProcess]:
    """Give an operator that shows its metrics."""
    flags = (FREE_PORT, PROBES)
    with OperatorProcess(cluster, tmp_path, *flags, namespaces=[own_shop.name]) as operator:
        yield operator
        assert operator.terminate() == 0


def test_the_controllers_tell_what_they_do(
    measured: OperatorProcess, own_shop: Shop, own_simulator: SimulatorProcess
) -> None:
    """R10: Given a rental's whole life, then the metrics tell of the work it took."""
    business = Business(own_shop, own_simulator)
    business.opens()
    business.registers("bear")
    business.hands_over("order", toy="bear")
    business.gets_back("order", "Accepted")
    business.order_becomes("order", "Completed")

    seen = scrape(measured)
    for kind in ("Toy", "Rental", "Payment"):
        assert seen.value("toyrental_reconciles_total", kind=kind, result="done") > 0
        done = seen.value("toyrental_reconciles_total", kind=kind)
        assert seen.value("toyrental_reconcile_duration_seconds_count", kind=kind) == done
        assert seen.value("toyrental_queue_latency_seconds_count", kind=kind) >= done
    assert seen.value("toyrental_reconciles_total", result="error") == 0
    requests = "toyrental_api_requests_total"
    assert seen.value(requests, verb="create", kind="Payment", code="201") == 1
    assert seen.value(requests, verb="patch", kind="Rental", code="200") == 5
    assert seen.value(requests, verb="patch", kind="Toy", code="200") >= 4
    assert seen["toyrental_event_loop_lag_seconds"]
    assert seen.value("toyrental_build_info") == 1
    assert seen.value("process_resident_memory_bytes") > 0
    ages = {s.labels["kind"]: s.value for s in seen["toyrental_watch_age_seconds"].samples}
    assert set(ages) >= {"Store", "Toy", "Rental", "Payment", "PaymentGateway", "RepairTicket"}
    assert min(ages.values()) >= 0

    # What was asked of the provider is told by gateway, for as long as there is one.
    ours = {"namespace": own_shop.name, "gateway": GATEWAY}
    asked = "toyrental_gateway_requests_total"
    assert seen.value(asked, operation="charge", outcome="captured", **ours) == 1
    assert seen.value(asked, operation="account", outcome="answered", **ours) >= 1
    took = "toyrental_gateway_request_duration_seconds_count"
    assert seen.value(took, operation="charge", **ours) == 1
    for calls in ("charges", "refunds"):
        assert seen.value("toyrental_gateway_circuit", calls=calls, state="Closed", **ours) == 1
    assert seen.value("toyrental_gateway_ready", reason="Ready", **ours) == 1

    own_shop.delete(PaymentGateway, GATEWAY)

    def left() -> list[str]:
        samples = (s for family in scrape(measured).values() for s in family.samples)
        return [s.name for s in samples if s.labels.get("gateway") == GATEWAY]

    eventually(lambda: not left(), within=30, explain=lambda: str(left()))


def test_it_says_that_it_lives_and_is_ready(measured: OperatorProcess) -> None:
    """Given an operator that works, then probes are told so, each check by its name."""
    addresses = re.search(r"probes at ([^\"]+)", measured.log)
    assert addresses
    alive, also_alive, ready = addresses[1].split(", ")
    assert (alive.endswith("/healthz"), also_alive.endswith("/livez")) == (True, True)
    for address in (alive, also_alive):
        answer = httpx.get(address, trust_env=False, verify=NO_TLS)
        names = [check["name"] for check in answer.json()["checks"]]
        assert (answer.status_code, names) == (
            200,
            ["event loop", "watches", "workers", "reconciles"],
        )
    eventually(lambda: httpx.get(ready, trust_env=False, verify=NO_TLS).status_code == 200)
    states = {
        c["name"]: c["state"]
        for c in httpx.get(ready, trust_env=False, verify=NO_TLS).json()["checks"]
    }
    assert states == {"caches": "filled", "watches": "open", "leadership": "works"}
    assert scrape(measured).value("toyrental_leader") == 1


def test_names_and_labels_keep_to_the_rules(measured: OperatorProcess) -> None:
    """Given any scrape, then names bear our prefix, and no label names an object."""
    for name, family in scrape(measured).items():
        assert name.startswith(("toyrental_", "process_"))
        assert family.documentation
        for sample in family.samples:
            labels = SHOPS if "_shop_" in name else GATEWAYS if "_gateway_" in name else CONTROLLERS
            assert sample.labels.keys() <= labels
            assert sample.labels.get("kind", "Event") in {
                "Secret",
                "Event",
                "APIResourceList",
                "SelfSubjectAccessReview",
                *(kind.SERVED.kind for kind in KINDS),
            }
