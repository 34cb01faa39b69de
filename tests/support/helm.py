"""Helm, on the chart of this checkout."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dev.cluster import Cluster
from dev.cluster.console import plain
from dev.generate.chart import CHART
from dev.helm import HELM
from tests.support.api import Json

RELEASE = "toyrental"
NAMESPACE = "toyrental-system"


class HelmSays(Exception):
    """Helm refused; `str()` is what it said."""


def render(values: Json | None = None, chart: Path = CHART) -> list[Json]:
    """Return the objects that the chart would install with these values. Raises HelmSays."""
    return list(_rendered(json.dumps(values or {}), chart))


@cache
def _rendered(values: str, chart: Path) -> tuple[Json, ...]:
    said = helm("template", RELEASE, str(chart), f"--namespace={NAMESPACE}", values=values)
    return tuple(each for each in yaml.load_all(said, Loader=yaml.CSafeLoader) if each)


def helm(
    *arguments: str, values: str = "", cluster: Cluster | None = None, home: Path | None = None
) -> str:
    """Run Helm, on a cluster if one is given, and return what it prints. Raises HelmSays.

    It is told nothing by the environment: neither plugins nor a kubeconfig of the user's count.
    """
    where = [f"--kubeconfig={cluster.kubeconfig}"] if cluster else []
    given = ["--values=-"] if values else []
    answer = subprocess.run(
        [HELM.path(plain()), *arguments, *given, *where],
        input=values,
        env={"HOME": str(home or "/nonexistent")},
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise HelmSays(answer.stderr)
    return answer.stdout


def nested(path: str, value: Any) -> Json:
    """Return the values in which the one at `path`, such as `image.tag`, is set."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def merged(one: Json, other: Json) -> Json:
    """Return both, as Helm merges values: maps into each other, all else replaced."""
    both = dict(one)
    for key, value in other.items():
        inner = both.get(key)
        both[key] = (
            merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
        )
    return both
