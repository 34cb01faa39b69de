"""A rule that is new since the version before must not hold up what was stored by it.

The API server forgives an old object a new rule where the part under the rule has not changed, but
a rule near the root is asked with every write. So whatever is stricter than before is listed here
with the reason why no old object is held up by it, and `tests/shipping/test_release.py` tries
an object of each phase.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.manifests import REPOSITORY
from tests.support import Json

BEFORE = Path(__file__).parent / "v0.1.0" / "crds"
NOW = REPOSITORY / "crds"
NAMES = sorted(path.name for path in BEFORE.glob("*.yaml"))

NARROWER: dict[str, Callable[[Any, Any], bool]] = {
    "maximum": lambda old, new: new < old,
    "maxLength": lambda old, new: new < old,
    "maxItems": lambda old, new: new < old,
    "maxProperties": lambda old, new: new < old,
    "minimum": lambda old, new: new > old,
    "minLength": lambda old, new: new > old,
    "enum": lambda old, new: not set(old) <= set(new),
    "required": lambda old, new: not set(new) <= set(old),
    "pattern": lambda old, new: new != old,
    "type": lambda old, new: new != old,
}

HARMLESS = {
    "paymentgateways.spec: !has(self.toss) || !has(self.webhookSecretRef)": (
        "webhookSecretRef is new, so nothing that was stored has it"
    ),
    "rentals.spec.period: !has(self.startTime)"
    " || (self.startTime >= timestamp('2000-01-01T00:00:00Z')"
    " && self.startTime < timestamp('2200-01-01T00:00:00Z'))": (
        "a period never changes, so it is forgiven; no such order was ever served"
    ),
    "rentals.spec.period.startTime: pattern": (
        "a period never changes, so it is forgiven; no such order was ever served"
    ),
    "toys.spec.dailyRate: self.minorUnits <= 2500000000": (
        "a rate is forgiven until it is changed; it is no field near the root"
    ),
}
"""Stricter parts, by kind and path, with the reason why nothing stored before is held up."""


def schema(folder: Path, name: str) -> Json:
    crd = yaml.safe_load((folder / name).read_text())
    (version,) = crd["spec"]["versions"]
    found: Json = version["schema"]["openAPIV3Schema"]
    return found


def stricter(old: Json, new: Json, path: str = "") -> Iterator[str]:
    """Yield what the new schema asks for, of what the old one knew already, and the old did not."""
    for key, narrower in NARROWER.items():
        if key in new and (narrower(old[key], new[key]) if key in old else key != "required"):
            yield f"{path}: {key}"
    if set(new.get("required", ())) - set(old.get("required", ())) and "required" not in old:
        yield f"{path}: required"
    rules = {each["rule"] for each in old.get("x-kubernetes-validations", ())}
    for each in new.get("x-kubernetes-validations", ()):
        if each["rule"] not in rules and "oldSelf" not in each["rule"]:
            yield f"{path}: {each['rule']}"
    for name in old.get("properties", {}):
        gone = name not in new.get("properties", {})
        if gone:
            yield f"{path}.{name}: gone"
        else:
            yield from stricter(old["properties"][name], new["properties"][name], f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(old.get(inner), dict) and isinstance(new.get(inner), dict):
            yield from stricter(old[inner], new[inner], f"{path}[]")


def test_nothing_is_stricter_than_it_was_without_a_reason() -> None:
    found = {
        f"{name.removeprefix('toyrental.dev_').removesuffix('.yaml')}{part}"
        for name in NAMES
        for part in stricter(schema(BEFORE, name), schema(NOW, name))
    }
    assert found - HARMLESS.keys() == set(), "say why no old object is held up, or loosen it"
    assert HARMLESS.keys() - found == set(), "no longer so"


def test_no_kind_has_gone() -> None:
    assert set(NAMES) <= {path.name for path in NOW.glob("*.yaml")}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"maximum": 9}, {"maximum": 8}, [": maximum"]),
        ({"maximum": 8}, {"maximum": 9}, []),
        ({}, {"maxLength": 9}, [": maxLength"]),
        ({"enum": ["A"]}, {"enum": ["A", "B"]}, []),
        ({"enum": ["A", "B"]}, {"enum": ["A"]}, [": enum"]),
        ({}, {"required": ["a"]}, [": required"]),
        ({"properties": {"a": {}}}, {"properties": {}}, [".a: gone"]),
        ({"properties": {"a": {}}}, {"properties": {"a": {}, "b": {"maximum": 1}}}, []),
        ({}, {"x-kubernetes-validations": [{"rule": "self.a"}]}, [": self.a"]),
        ({}, {"x-kubernetes-validations": [{"rule": "self.a == oldSelf.a"}]}, []),
        ({"items": {"minimum": 1}}, {"items": {"minimum": 2}}, ["[]: minimum"]),
    ],
)
def test_what_is_stricter_is_found(old: Json, new: Json, found: list[str]) -> None:
    assert list(stricter(old, new)) == found
