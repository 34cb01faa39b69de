"""The API reference, from the same schemas as the CRDs: what it says is what is enforced."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from dev.generate.crds import root_schema
from toyrental.kinds import KINDS
from toyrental.payments.models import Payment
from toyrental.payments.models import Reason as PaymentReason
from toyrental.rentals.conditions import Reason as RentalReason
from toyrental.rentals.models import Rental
from toyrental.shared.resource import API_VERSION, Column, Resource

Schema = dict[str, Any]

REASONS: dict[type[Resource], type[StrEnum]] = {Rental: RentalReason, Payment: PaymentReason}

INTRODUCTION = f"""\
<!-- Made from the models by `make generate`; change them, not this file. -->
# API reference

Every kind is of `{API_VERSION}` and lives in a namespace, which is a shop; no reference
leaves it. `kubectl get toyrental` lists all of them, and `kubectl explain rental.spec` tells what
is told here.

A `spec` is what people want and decide; a `status` is what the operator sees and did. What a rule
refuses, the API server refuses to everybody, the operator included, in the words given here.

Each condition in a status has a `type`, a `status` (`True`, `False` or `Unknown`), a `reason` for
programs, a `message` for people, the `lastTransitionTime` at which its status changed, and the
`observedGeneration` of the spec it was observed of. Every kind has `Ready`. `Reconciling` and
`Stalled` are there only while they hold: something will still happen by itself, or nothing will
until a person acts.
"""


class Field(NamedTuple):
    """A field of a schema, by its path from the root."""

    path: str
    schema: Schema
    required: bool


def api_reference() -> str:
    """Return the page."""
    return "\n".join(
        [INTRODUCTION, *_overview(), *(line for kind in KINDS for line in _kind(kind))]
    )


def _overview() -> Iterator[str]:
    yield "| kind | short name | what it is |"
    yield "|---|---|---|"
    for kind in KINDS:
        short = ", ".join(f"`{name}`" for name in kind.SERVED.short_names)
        name = kind.SERVED.kind
        yield f"| [{name}](#{name.lower()}) | {short} | {root_schema(kind)['description']} |"
    yield ""


def _kind(kind: type[Resource]) -> Iterator[str]:
    schema = root_schema(kind)
    name = kind.SERVED.kind
    yield from (f"## {name}", "", schema["description"], "")
    yield from _columns(kind)
    for part in ("spec", "status"):
        yield from (f"### {name} {part}", "", schema["properties"][part]["description"], "")
        yield from _table(Field(part, schema["properties"][part], required=True))
    yield from _conditions(kind, schema)
    yield from _rules(name, schema)


def _columns(kind: type[Resource]) -> Iterator[str]:
    served = kind.SERVED
    columns = _names(column for column in served.columns if not column.wide)
    wide = _names(column for column in served.columns if column.wide)
    also = f"; `-o wide` adds {wide}" if wide else ""
    yield f"`kubectl get {served.plural}` shows {columns}{also}."
    if served.selectable:
        paths = ", ".join(f"`{path.removeprefix('.')}`" for path in served.selectable)
        yield f"It filters by these (`--field-selector`): {paths}."
    yield ""


def _names(columns: Iterable[Column]) -> str:
    return ", ".join(column.name for column in columns)


def _table(part: Field) -> Iterator[str]:
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for field in _fields(part):
        if ".conditions[]" in field.path:
            continue
        name = f"`{field.path}`" + (" (required)" if field.required else "")
        yield f"| {name} | {_type(field.schema)} | {_meaning(field.schema)} |"
    yield ""


def _fields(field: Field) -> Iterator[Field]:
    """Yield the fields inside a field, each before its own."""
    inner = field.schema
    path = field.path
    if inner["type"] == "array":
        inner, path = inner["items"], f"{path}[]"
    for name, schema in inner.get("properties", {}).items():
        found = Field(f"{path}.{name}", schema, name in inner.get("required", ()))
        yield found
        yield from _fields(found)


def _type(schema: Schema) -> str:
    return f"{_kind_of(schema)}{_bounds(schema)}"


def _kind_of(schema: Schema) -> str:
    match schema:
        case {"enum": values}:
            return " \\| ".join(f"`{value}`" for value in values)
        case {"format": "date-time"}:
            return "moment"
        case {"type": "array", "items": items}:
            inner = "objects" if items["type"] == "object" else f"({_type(items)})"
            keys = schema.get("x-kubernetes-list-map-keys")
            return f"list of {inner}" + (f" by `{', '.join(keys)}`" if keys else "")
        case {"type": "object", "additionalProperties": values}:
            return f"map to {_type(values)}"
        case _:
            return str(schema["type"])


def _bounds(schema: Schema) -> str:
    """Return what a value must be, after a comma."""
    said = []
    if "minimum" in schema:
        said.append(f"{schema['minimum']:,}…{schema['maximum']:,}")
    if "maxLength" in schema and "format" not in schema:
        at_least = schema.get("minLength", 0)
        said.append(f"{at_least}…{schema['maxLength']:,} characters")
    if "pattern" in schema:
        said.append(f"matching `{_cell(schema['pattern'])}`")
    if "maxItems" in schema:
        said.append(f"at most {schema['maxItems']}")
    if "maxProperties" in schema:
        said.append(f"at most {schema['maxProperties']}")
    if schema.get("x-kubernetes-list-type") == "set":
        said.append("none twice")
    return "".join(f", {each}" for each in said)


def _meaning(schema: Schema) -> str:
    default = schema.get("default")
    if default is None or isinstance(default, dict):
        return _cell(schema["description"])
    shown = ", ".join(map(str, default)) if isinstance(default, list) else f"{default}"
    return _cell(f"{schema['description']} Default: `{shown}`.") if shown else schema["description"]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _conditions(kind: type[Resource], schema: Schema) -> Iterator[str]:
    conditions = schema["properties"]["status"]["properties"]["conditions"]
    yield from (f"### {kind.SERVED.kind} conditions", "", conditions["description"], "")
    reasons = REASONS.get(kind)
    if reasons is not None:
        yield from ("Reasons: " + ", ".join(f"`{reason}`" for reason in sorted(reasons)) + ".", "")


def _rules(name: str, schema: Schema) -> Iterator[str]:
    rules = [
        (field.path, rule)
        for field in [Field("", schema, required=True), *_all(schema)]
        for rule in field.schema.get("x-kubernetes-validations", ())
    ]
    if not rules:
        return
    yield from (f"### {name} rules", "")
    for path, rule in rules:
        place = f"`{path}`" if path else name
        yield f"- {place}: {rule['message']}  "
        yield f"  `{rule['rule']}`"
    yield ""


def _all(schema: Schema) -> Iterator[Field]:
    for part in ("spec", "status"):
        whole = Field(part, schema["properties"][part], required=True)
        yield whole
        for field in _fields(whole):
            yield field
            if field.schema["type"] == "array":
                yield Field(f"{field.path}[]", field.schema["items"], required=True)
