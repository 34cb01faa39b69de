"""The CRDs as they stand in crds/, and a walk over every field of their schemas."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parents[2] / "crds"

Schema = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A place in a schema. `path` is as people write it: `spec.parts[].name`, `spec.labels{}`."""

    kind: str
    path: str
    schema: Schema
    parent: Schema

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def named(self) -> bool:
        """Whether it is a property, rather than what a list or a map holds, or the root."""
        return bool(self.path) and not self.path.endswith(("[]", "{}"))

    def __str__(self) -> str:
        return f"{self.kind}.{self.path}" if self.path else self.kind


@functools.cache
def crds() -> list[Schema]:
    found = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("toyrental.dev_*.yaml"))]
    assert found, f"no CRDs in {CRDS}; run `make generate`"
    return found


def root(crd: Schema) -> Schema:
    schema: Schema = version(crd)["schema"]["openAPIV3Schema"]
    return schema


def version(crd: Schema) -> Schema:
    (only,) = crd["spec"]["versions"]
    served: Schema = only
    return served


def kind(crd: Schema) -> str:
    name: str = crd["spec"]["names"]["kind"]
    return name


def fields(crd: Schema) -> Iterator[Field]:
    """Yield every place in a CRD's schema, the root first."""
    schema = root(crd)
    return _walk(kind(crd), "", schema, schema)


def _walk(kind: str, path: str, schema: Schema, parent: Schema) -> Iterator[Field]:
    yield Field(kind, path, schema, parent)
    for name, inner in schema.get("properties", {}).items():
        yield from _walk(kind, f"{path}.{name}".lstrip("."), inner, schema)
    if "items" in schema:
        yield from _walk(kind, f"{path}[]", schema["items"], schema)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _walk(kind, path + "{}", schema["additionalProperties"], schema)


def at(crd: Schema, json_path: str) -> Schema:
    """Return the schema that a simple JSON path of a column points at, or raise LookupError."""
    schema = root(crd)
    for step in re.sub(r"\[[^]]*]", "[]", json_path.removeprefix(".")).split("."):
        name = step.removesuffix("[]")
        if name not in schema.get("properties", {}):
            raise LookupError(json_path)
        schema = schema["properties"][name]
        if step != name:
            schema = schema["items"]
    return schema
