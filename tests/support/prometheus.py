"""A real Prometheus on loopback that scrapes a running operator every second."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from dev.cluster.manifests import REPOSITORY
from dev.cluster.ports import free
from dev.debian import NotToBeHad
from dev.prometheus import Programs, programs
from tests.support.operator import Process

MONITORING = REPOSITORY / "manifests" / "monitoring"


def programs_or_skip() -> Programs:
    """Return the programs of Prometheus; without any, the test is skipped with the reason."""
    try:
        return programs()
    except NotToBeHad as error:
        pytest.skip(str(error))


def rules() -> dict[str, Any]:
    """Return the groups of rules of manifests/monitoring, as Prometheus itself reads them."""
    resource = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    return {"groups": resource["spec"]["groups"]}


def alerts() -> list[dict[str, Any]]:
    """Return the alerts."""
    return [rule for group in rules()["groups"] for rule in group["rules"] if "alert" in rule]


class PrometheusProcess(Process):
    """Prometheus with our rules. Alerts fire without delay."""

    def __init__(self, directory: Path, target_port: int) -> None:
        (port,) = free(1)
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(
            "prometheus",
            directory,
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        )
        self.program = programs_or_skip().prometheus
        impatient = rules()
        for group in impatient["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {
                    "job_name": "toyrental-operator",
                    "honor_labels": True,
                    "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}],
                }
            ],
        }
        (directory / "rules.yml").write_text(yaml.safe_dump(impatient))
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))

    def ready(self, log: str) -> bool:
        return "Server is ready to receive web requests" in log

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives now: a list of `{"metric": labels, "value": [t, text]}`.

        Raises AssertionError with Prometheus' own words where it is not valid.
        """
        answer = httpx.get(
            f"{self.url}/api/v1/query", params={"query": expression}, trust_env=False
        ).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        found = self.query('ALERTS{alertstate="firing"}')
        return {each["metric"]["alertname"] for each in found}
