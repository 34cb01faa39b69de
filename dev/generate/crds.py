"""CustomResourceDefinitions, from the models."""

from typing import Any

from toyrental.shared.resource import API_VERSION, GROUP, VERSION, Column, Resource

_FROM_MODELS = frozenset(
    {
        "type",
        "format",
        "description",
        "default",
        "enum",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "maxItems",
        "maxProperties",
        "required",
        "additionalProperties",
        "properties",
        "items",
    }
)


_API_VERSION = "The version of this schema: " + API_VERSION + "."
_KIND = "The kind of object that this is, in CamelCase."
_INT32 = 2**31 - 1


def custom_resource_definition(kind: type[Resource]) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind, as it goes into YAML."""
    served = kind.SERVED
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{served.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": served.kind,
                "listKind": f"{served.kind}List",
                "plural": served.plural,
                "singular": served.kind.lower(),
                "shortNames": list(served.short_names),
                "categories": ["toyrental"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in served.columns],
                    "selectableFields": [{"jsonPath": path} for path in served.selectable],
                    "schema": {"openAPIV3Schema": root_schema(kind)},
                }
            ],
        },
    }


def root_schema(kind: type[Resource]) -> dict[str, Any]:
    """Return the structural schema of a kind, spec and status in it."""
    raw = kind.model_json_schema(by_alias=True, mode="validation")
    definitions = raw.pop("$defs", {})
    schema = structural(raw, definitions)
    schema["properties"] = {
        "apiVersion": {"type": "string", "description": _API_VERSION},
        "kind": {"type": "string", "description": _KIND},
        "metadata": {"type": "object"},
        "spec": {k: v for k, v in schema["properties"]["spec"].items() if k != "default"},
        "status": _without_default(schema["properties"]["status"]),
    }
    schema["required"] = ["spec"]
    return schema


def structural(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema as a structural one: no references, no unions, nothing foreign.

    Raises ValueError for what a structural schema cannot say, so that a model which would lose a
    bound on its way to the API server is found out when the CRDs are made.
    """
    schema = _resolved(schema, definitions)
    result = {key: value for key, value in schema.items() if key in _FROM_MODELS}
    result |= {key: value for key, value in schema.items() if key.startswith("x-kubernetes-")}
    if "const" in schema:
        result |= {"type": "string", "enum": [schema["const"]]}
    if result.get("type") == "integer":
        result["format"] = "int32" if result.get("maximum", _INT32 + 1) <= _INT32 else "int64"
    if result.get("default", "") is None or result.get("default") in ([], {}):
        del result["default"]
    if "properties" in result:
        result["properties"] = {
            name: structural(value, definitions) for name, value in result["properties"].items()
        }
    for inner in ("items", "additionalProperties"):
        if isinstance(result.get(inner), dict):
            result[inner] = structural(result[inner], definitions)
    if "type" not in result:
        raise ValueError(f"a structural schema needs a type: {schema}")
    return result


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Follow references and unwrap `X | None`; what stands outside wins over what it wraps."""
    own = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf", "allOf"}}
    if "$ref" in schema:
        target = definitions[schema["$ref"].removeprefix("#/$defs/")]
        return _merged(_resolved(target, definitions), own)
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option != {"type": "null"}]
        if len(options) != 1:
            raise ValueError(f"a structural schema has no unions: {schema}")
        return _merged(_resolved(options[0], definitions), own)
    return schema


def _merged(inner: dict[str, Any], outer: dict[str, Any]) -> dict[str, Any]:
    validations = "x-kubernetes-validations"
    rules = inner.get(validations, []) + outer.get(validations, [])
    return inner | outer | ({validations: rules} if rules else {})


def _without_default(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without the defaults in it: a status says what was observed, nothing else."""
    result = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in result:
        result["properties"] = {
            name: _without_default(value) for name, value in result["properties"].items()
        }
    if "items" in result:
        result["items"] = _without_default(result["items"])
    return result


def _column(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.wide:
        entry["priority"] = 1
    return entry
