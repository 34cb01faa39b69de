"""Prometheus: this machine's, else Debian's, unpacked."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dev import debian
from dev.cluster.manifests import REPOSITORY

MONITORING = REPOSITORY / "manifests" / "monitoring"
READY = "Server is ready to receive web requests"
"""What Prometheus says once it answers."""


@dataclass(frozen=True)
class Programs:
    """Where the programs of Prometheus are."""

    prometheus: Path
    promtool: Path


def programs() -> Programs:
    """Return the programs; without any on this machine they are downloaded. Raises NotToBeHad."""
    found = [shutil.which(name) for name in ("prometheus", "promtool")]
    if all(found):
        return Programs(*(Path(str(path)) for path in found))
    folder = debian.unpacked("prometheus") / "usr/bin"
    return Programs(folder / "prometheus", folder / "promtool")


def configure(
    folder: Path, target: str, rules: dict[str, Any], *, every_seconds: int = 1
) -> Sequence[str]:
    """Write what a Prometheus needs that scrapes one operator; return its flags but the address.

    `target` is host and port of the operator's metrics; `rules` are what `rules()` returns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    interval = f"{every_seconds}s"
    config = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {
                "job_name": "toyrental-operator",
                "honor_labels": True,
                "static_configs": [{"targets": [target]}],
            }
        ],
    }
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
    )


def rules() -> dict[str, Any]:
    """Return the groups of rules of manifests/monitoring, as Prometheus itself reads them."""
    resource = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    return {"groups": resource["spec"]["groups"]}
