"""A real Prometheus on loopback that scrapes a running operator every second."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.cluster.ports import free
from dev.debian import NotToBeHad
from dev.prometheus import MONITORING, READY, Programs, configure, programs, rules
from tests.support.loopback import NO_TLS
from tests.support.operator import Process

__all__ = ["MONITORING", "PrometheusProcess", "alerts", "programs_or_skip", "rules"]


def programs_or_skip() -> Programs:
    """Return the programs of Prometheus; without any, the test is skipped with the reason."""
    try:
        return programs()
    except NotToBeHad as error:
        pytest.skip(str(error))


def alerts() -> list[dict[str, Any]]:
    """Return the alerts."""
    return [rule for group in rules()["groups"] for rule in group["rules"] if "alert" in rule]


class PrometheusProcess(Process):
    """Prometheus with our rules. Alerts fire without delay."""

    def __init__(self, directory: Path, target_port: int) -> None:
        (port,) = free(1)
        self.url = f"http://127.0.0.1:{port}"
        impatient = rules()
        for group in impatient["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        flags = configure(directory, f"127.0.0.1:{target_port}", impatient)
        address = f"--web.listen-address=127.0.0.1:{port}"
        super().__init__("prometheus", directory, *flags, address)
        self.program = programs_or_skip().prometheus

    def ready(self, log: str) -> bool:
        return READY in log

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives now: a list of `{"metric": labels, "value": [t, text]}`.

        Raises AssertionError with Prometheus' own words where it is not valid.
        """
        answer = httpx.get(
            f"{self.url}/api/v1/query", params={"query": expression}, trust_env=False, verify=NO_TLS
        ).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        found = self.query('ALERTS{alertstate="firing"}')
        return {each["metric"]["alertname"] for each in found}
