"""Every kind keeps the same conventions: those of Kubernetes' API, and our own.

Each test walks all CRDs. What cannot keep a convention is listed in EXCEPTIONS with the reason;
the list may only shrink, and an entry that nothing needs any more fails.
"""

import re
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.api.schemas import Field, Schema, at, crds, fields, kind, root, version

CRDS = crds()
ALL_FIELDS = [field for crd in CRDS for field in fields(crd) if field.path != "metadata"]

EXCEPTIONS = {
    # Kubernetes checks the length of these itself before it looks at our schema.
    "every string is bounded": {
        *(f"{kind(crd)}.apiVersion" for crd in CRDS),
        *(f"{kind(crd)}.kind" for crd in CRDS),
    },
    # Its values are names of fields, and fields are camelCase; and codes of ISO 4217.
    "values of enums are CamelCase": {"Dashboard.spec.groupBy[]"},
    # As CronJob and Flux call it: people look for this name, and expect a boolean.
    "no booleans": {"PaymentGateway.spec.suspended"},
}

# The API server reads bounds as floats and refuses every integer where one is not exact.
LARGEST_BOUND = 2**53 - 1
# kubectl prints a date as the time since then, and what lies ahead as <invalid>.
AHEAD = {".status.dueTime", ".status.nextAttemptTime", ".status.retryTime"}
CAMEL_CASE = re.compile(r"[a-z]+([A-Z][a-z0-9]+|UID|ID)*")
CAMEL_CASE_VALUE = re.compile(r"([A-Z][a-z]+)+")
CURRENCY = re.compile(r"[A-Z]{3}")
TIMES = re.compile(r"timeout|deadline|window|interval|delay|duration", re.IGNORECASE)


def keep(convention: str, broken: Iterable[Field | str]) -> None:
    """Fail with whatever breaks a convention, and with every exception that nothing needs."""
    found = {str(each) for each in broken}
    allowed = EXCEPTIONS.get(convention, set())
    assert found <= allowed, f"{convention}, but not of: {', '.join(sorted(found - allowed))}"
    assert allowed <= found, f"no longer exceptions: {', '.join(sorted(allowed - found))}"


def typed(type_: str) -> list[Field]:
    return [field for field in ALL_FIELDS if field.schema["type"] == type_]


def test_there_are_the_seven_kinds() -> None:
    assert {kind(crd) for crd in CRDS} == {
        "Dashboard",
        "Payment",
        "PaymentGateway",
        "Rental",
        "RepairTicket",
        "Store",
        "Toy",
    }


def test_every_string_is_bounded() -> None:
    keep(
        "every string is bounded",
        (f for f in typed("string") if "maxLength" not in f.schema and "enum" not in f.schema),
    )


def test_every_list_is_bounded_and_says_how_it_is_merged() -> None:
    keep("every list is bounded", (f for f in typed("array") if "maxItems" not in f.schema))
    keep(
        "every list says how it is merged",
        (f for f in typed("array") if "x-kubernetes-list-type" not in f.schema),
    )


def test_the_keys_of_a_map_list_are_required_or_have_a_default() -> None:
    def loose(field: Field) -> bool:
        item = field.schema["items"]
        keys = field.schema["x-kubernetes-list-map-keys"]
        required = item.get("required", ())
        return any(k not in required and "default" not in item["properties"][k] for k in keys)

    maps = [f for f in typed("array") if f.schema["x-kubernetes-list-type"] == "map"]
    keep("keys of map lists are required", (f for f in maps if loose(f)))


def test_every_map_is_bounded() -> None:
    maps = [f for f in typed("object") if "additionalProperties" in f.schema]
    keep("every map is bounded", (f for f in maps if "maxProperties" not in f.schema))
    others = [f for f in typed("object") if "additionalProperties" not in f.schema]
    keep("every other object has properties", (f for f in others if "properties" not in f.schema))


def test_every_integer_is_bounded_and_says_its_size() -> None:
    keep(
        "every integer is bounded",
        (
            f
            for f in typed("integer")
            if f.schema.get("minimum", -1) < 0 or f.schema.get("maximum", 2**63) > LARGEST_BOUND
        ),
    )
    keep(
        "every integer says its size",
        (
            f
            for f in typed("integer")
            if f.schema.get("format")
            != ("int32" if f.schema.get("maximum", LARGEST_BOUND) < 2**31 else "int64")
        ),
    )


def test_there_are_no_floats_and_no_booleans() -> None:
    """Money and rates are integers; a boolean can never become a third state."""
    keep("no floats", typed("number"))
    keep("no booleans", typed("boolean"))


def test_nothing_is_left_open() -> None:
    for mark in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "nullable"):
        keep(f"no {mark}", (f for f in ALL_FIELDS if mark in f.schema))


def test_everything_is_described() -> None:
    """`kubectl explain` says more than the name does."""

    def says_nothing(field: Field) -> bool:
        description = field.schema.get("description", "")
        words = re.sub(r"[^a-z]", "", description.lower())
        return len(words) < 8 or words in {field.name.lower(), f"the{field.name.lower()}"}

    described = [f for f in ALL_FIELDS if f.named or not f.path]
    keep("everything is described", (f for f in described if says_nothing(f)))
    keep(
        "descriptions are sentences",
        (f for f in described if not f.schema["description"].endswith((".", "?"))),
    )


def test_names_are_camel_case() -> None:
    keep(
        "names are camelCase",
        (f for f in ALL_FIELDS if f.named and not CAMEL_CASE.fullmatch(f.name)),
    )


def test_values_of_enums_are_camel_case() -> None:
    def odd(field: Field) -> bool:
        values = field.schema["enum"]
        form = CURRENCY if field.name == "currency" else CAMEL_CASE_VALUE
        return not all(form.fullmatch(value) for value in values)

    keep("values of enums are CamelCase", (f for f in ALL_FIELDS if "enum" in f.schema and odd(f)))


def test_moments_are_called_time() -> None:
    moments = [f for f in typed("string") if f.schema.get("format") == "date-time"]
    keep("moments are called …Time", (f for f in moments if not f.name.endswith("Time")))
    called = [f for f in ALL_FIELDS if f.name.endswith("Time")]
    keep("what is called …Time is a moment", (f for f in called if f not in moments))


def test_lengths_of_time_are_called_seconds() -> None:
    seconds = [f for f in ALL_FIELDS if f.name.endswith("Seconds")]
    keep("…Seconds are integers", (f for f in seconds if f.schema["type"] != "integer"))
    times = [f for f in typed("integer") if TIMES.search(f.name)]
    keep("lengths of time are in …Seconds", (f for f in times if f not in seconds))


def test_shares_and_money_have_their_unit_in_the_name() -> None:
    keep(
        "rates are in …Percent",
        (f for f in typed("integer") if "Rate" in f.name and not f.name.endswith("Percent")),
    )
    keep(
        "money is in minorUnits",
        (
            f
            for f in typed("integer")
            if re.search(r"amount|price|refunded|captured", f.name, re.IGNORECASE)
            and not f.name.lower().endswith("minorunits")
        ),
    )


def test_references_are_called_ref_and_stay_in_the_namespace() -> None:
    def refers(field: Field) -> bool:
        properties = field.schema.get("properties", {}).keys()
        return "name" in properties and properties <= {"name", "uid", "key"}

    objects = [f for f in typed("object") if f.named]
    keep("references are called …Ref", (f for f in objects if refers(f) != f.name.endswith("Ref")))
    keep("no reference has a namespace", (f for f in ALL_FIELDS if f.name == "namespace"))
    references = [f for f in objects if refers(f)]
    keep(
        "references are replaced as a whole",
        (f for f in references if f.schema.get("x-kubernetes-map-type") != "atomic"),
    )
    keep("references name something", (f for f in references if "name" not in f.schema["required"]))


def test_defaults_are_of_optional_fields_of_the_spec() -> None:
    defaults = [f for f in ALL_FIELDS if "default" in f.schema]
    keep("required fields have no default", (f for f in defaults if f.name in _required(f.parent)))
    keep("a status has no defaults", (f for f in defaults if f.path.startswith("status")))


def test_rules_have_messages_for_people() -> None:
    keep(
        "rules have a message of one line",
        (
            f
            for f in ALL_FIELDS
            for rule in f.schema.get("x-kubernetes-validations", ())
            if len(rule.get("message", "")) < 15 or "\n" in rule["message"]
        ),
    )


@pytest.mark.parametrize("crd", CRDS, ids=kind)
def test_status_is_a_subresource_with_conditions_by_the_book(crd: Schema) -> None:
    assert version(crd)["subresources"] == {"status": {}}
    status = root(crd)["properties"]["status"]["properties"]
    assert status["observedGeneration"]["format"] == "int64"
    conditions = status["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    condition = conditions["items"]
    assert condition["required"] == ["type", "status", "lastTransitionTime", "reason", "message"]
    assert condition["properties"].keys() == {*condition["required"], "observedGeneration"}
    assert condition["properties"]["status"]["enum"] == ["True", "False", "Unknown"]


@pytest.mark.parametrize("crd", CRDS, ids=kind)
def test_a_spec_is_required_and_a_status_is_not(crd: Schema) -> None:
    assert root(crd)["required"] == ["spec"]


@pytest.mark.parametrize("crd", CRDS, ids=kind)
def test_names_of_the_kind(crd: Schema) -> None:
    spec, names = crd["spec"], crd["spec"]["names"]
    assert crd["metadata"]["name"] == f"{names['plural']}.{spec['group']}"
    assert spec["scope"] == "Namespaced"
    assert names["categories"] == ["toyrental"]
    assert names["singular"] == names["kind"].lower()
    assert names["listKind"] == f"{names['kind']}List"


def test_no_name_means_two_kinds() -> None:
    names = [crd["spec"]["names"] for crd in CRDS]
    said = Counter(
        name for each in names for name in (each["plural"], each["singular"], *each["shortNames"])
    )
    keep("no name means two kinds", (name for name, count in said.items() if count > 1))


@pytest.mark.parametrize("crd", CRDS, ids=kind)
def test_columns_tell_the_story_and_point_at_fields(crd: Schema) -> None:
    columns = version(crd)["additionalPrinterColumns"]
    assert columns[-1] == {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    assert len({column["name"] for column in columns}) == len(columns)
    for column in columns[:-1]:
        field = at(crd, column["jsonPath"])
        past = field.get("format") == "date-time" and column["jsonPath"] not in AHEAD
        form = "date" if past else field["type"]
        assert (column["name"], column["type"]) == (column["name"], form)
    said = {column["jsonPath"] for column in columns}
    tells = {
        ".status.phase",
        ".status.conditions[?(@.type=='Ready')].status",
        ".status.toys.total",
    }
    assert said & tells, "a column says how the object does"
    assert sum("priority" not in column for column in columns) <= 9, "a line fits the terminal"


@pytest.mark.parametrize("crd", CRDS, ids=kind)
def test_selectable_fields_point_at_fields(crd: Schema) -> None:
    selectable = version(crd)["selectableFields"]
    assert len(selectable) <= 8, "Kubernetes allows eight"
    for each in selectable:
        assert at(crd, each["jsonPath"])["type"] == "string"
    if "phase" in root(crd)["properties"]["status"]["properties"]:
        assert {"jsonPath": ".status.phase"} in selectable


def _required(schema: Schema) -> list[str]:
    required: list[str] = schema.get("required", [])
    return required
