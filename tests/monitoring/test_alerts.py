"""Each alert fires when it should, resolves when that is over, and says what to do.

promtool plays made-up series through the rules, minute by minute.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.manifests import REPOSITORY
from tests.support.prometheus import MONITORING, alerts, programs_or_skip, rules

SECTIONS = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"]


@dataclass(frozen=True)
class Case:
    """Series as promtool writes them; the minutes when the alert is quiet, fires, is over."""

    series: dict[str, str]
    quiet: int
    fires: int
    over: int


def trouble(name: str) -> Case:
    """Return a gauge that is bad from minute 10 to 50."""
    return Case({name: "0x9 3x40 0x60"}, quiet=9, fires=45, over=60)


CASES = {
    "ToyrentalOperatorDown": Case(
        {"toyrental_build_info": "1x9 stale _x19 1x30"}, quiet=12, fires=18, over=31
    ),
    "ToyrentalNobodyLeads": Case(
        {
            'toyrental_leader{lease="toyrental-operator",pod="a"}': "1x9 0x20 0x30",
            'toyrental_leader{lease="toyrental-operator",pod="b"}': "0x9 0x20 1x30",
        },
        quiet=10,
        fires=25,
        over=31,
    ),
    "ToyrentalNotReconciling": Case(
        {
            'toyrental_queue_depth{kind="Rental"}': "5x100",
            'toyrental_reconciles_total{kind="Rental",result="done"}': "0+10x10 100x20 100+10x60",
        },
        quiet=10,
        fires=25,
        over=40,
    ),
    "ToyrentalReconcilesFail": Case(
        {
            'toyrental_reconciles_total{kind="Toy",result="done"}': "0+10x100",
            'toyrental_reconciles_total{kind="Toy",result="error"}': "0x10 0+10x30 300x60",
        },
        quiet=10,
        fires=35,
        over=60,
    ),
    "ToyrentalQueueGrowing": Case(
        {'toyrental_queue_depth{kind="Payment"}': "0x10 10+10x30 0x60"},
        quiet=10,
        fires=38,
        over=60,
    ),
    "ToyrentalWatchStale": Case(
        {'toyrental_watch_age_seconds{kind="Toy"}': "30x10 60+60x20 5x60"},
        quiet=14,
        fires=25,
        over=40,
    ),
    "ToyrentalAccessDenied": Case(
        {
            'toyrental_api_requests_total{verb="patch",kind="Toy",code="403"}': (
                "0x10 0+3x30 90x60"
            ),
            'toyrental_api_requests_total{verb="patch",kind="Toy",code="200"}': "0+10x100",
        },
        quiet=10,
        fires=30,
        over=60,
    ),
    "ToyrentalDashboardStale": Case(
        {"toyrental_dashboard_oldest_change_seconds": "3x10 60+60x20 3x60"},
        quiet=12,
        fires=25,
        over=45,
    ),
    "ToyrentalCircuitOpen": Case(
        {
            f'toyrental_gateway_circuit{{namespace="shop",gateway="main",{labels}}}': values
            for labels, values in {
                'calls="charges",state="Closed"': "1x9 0x40 1x60",
                'calls="charges",state="Open"': "0x9 " + "1x3 0x0 " * 8 + "0x80",
                'calls="charges",state="HalfOpen"': "0x9 " + "0x3 1x0 " * 8 + "0x80",
            }.items()
        },
        quiet=20,
        fires=40,
        over=60,
    ),
    "ToyrentalGatewayCredentials": Case(
        {
            'toyrental_gateway_ready{namespace="shop",gateway="main",reason="Ready"}': (
                "1x9 stale _x39 1x60"
            ),
            'toyrental_gateway_ready{namespace="shop",gateway="main",reason="SecretMissing"}': (
                "_x10 0x39 stale"
            ),
        },
        quiet=14,
        fires=20,
        over=55,
    ),
    "ToyrentalPaymentsDeferred": trouble(
        'toyrental_shop_payments{namespace="shop",phase="Deferred"}'
    ),
    "ToyrentalPaymentUnknown": trouble('toyrental_shop_payments{namespace="shop",phase="Unknown"}'),
    "ToyrentalPaymentInReview": trouble(
        'toyrental_shop_payments{namespace="shop",phase="ManualReview"}'
    ),
    "ToyrentalRefundFailed": trouble(
        'toyrental_shop_payments_stalled{namespace="shop",reason="RefundFailed"}'
    ),
    "ToyrentalPaymentStuck": trouble(
        'toyrental_shop_payments_stalled{namespace="shop",reason="GatewayUnusable"}'
    ),
    "ToyrentalOverdueRising": Case(
        {'toyrental_shop_rentals_overdue{namespace="shop"}': "1x1500 8x300 1x200"},
        quiet=1490,
        fires=1600,
        over=1850,
    ),
}


def test_the_rules_are_valid(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules()))
    promtool(tmp_path, "check", "rules", "rules.yml")


def test_every_alert_has_a_case() -> None:
    assert sorted(CASES) == sorted(alert["alert"] for alert in alerts())


def test_every_alert_fires_and_resolves(tmp_path: Path) -> None:
    """Given trouble that comes and goes, then each alert is quiet, fires, and is over."""
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules()))
    played = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [played_case(name, case) for name, case in CASES.items()],
    }
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(played))
    promtool(tmp_path, "test", "rules", "tests.yml")


def played_case(name: str, case: Case) -> dict[str, Any]:
    def at(minute: int, samples: list[dict[str, Any]]) -> dict[str, Any]:
        expression = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
        return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": samples}

    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": k, "values": v} for k, v in case.series.items()],
        "promql_expr_test": [
            at(case.quiet, []),
            at(case.fires, [{"labels": "{}", "value": 1}]),
            at(case.over, []),
        ],
    }


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_every_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    said = alert["annotations"]
    assert said["summary"]
    assert said["description"]
    assert said["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    page = (REPOSITORY / said["runbook_url"]).read_text()
    assert [line for line in page.splitlines() if line.startswith("## ")] == SECTIONS


def test_every_runbook_has_its_alert() -> None:
    pages = {page.stem for page in (REPOSITORY / "docs" / "runbooks").glob("*.md")}
    assert pages - {"README"} == {alert["alert"] for alert in alerts()}


def test_shops_keep_their_own_namespace_label() -> None:
    monitor = yaml.safe_load((MONITORING / "pod-monitor.yaml").read_text())
    assert all(each["honorLabels"] for each in monitor["spec"]["podMetricsEndpoints"])


def promtool(folder: Path, *arguments: str) -> None:
    told = subprocess.run(
        [programs_or_skip().promtool, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
