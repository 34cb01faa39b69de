"""Helm, on the chart of this checkout."""

import json
from functools import cache
from typing import Any

import yaml

from dev.generate.chart import CHART
from dev.helm.run import HelmSays, helm
from tests.support.api import Json

__all__ = ["HelmSays", "helm", "merged", "nested", "render"]

RELEASE = "toyrental"
NAMESPACE = "toyrental-system"


def render(values: Json | None = None, kubernetes: str = "") -> list[Json]:
    """Return the objects that the chart would install with these values. Raises HelmSays.

    Into a cluster of the version of Kubernetes that is named, or of ours.
    """
    return list(_rendered(json.dumps(values or {}), kubernetes))


@cache
def _rendered(values: str, kubernetes: str) -> tuple[Json, ...]:
    flags = [f"--namespace={NAMESPACE}"] + ([f"--kube-version={kubernetes}"] if kubernetes else [])
    said = helm("template", RELEASE, str(CHART), *flags, values=values)
    return tuple(each for each in yaml.load_all(said, Loader=yaml.CSafeLoader) if each)


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
