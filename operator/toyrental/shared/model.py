"""The base of every model, and the marks from which the CRDs' schemas are made."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Rule(NamedTuple):
    """A CEL rule that the API server enforces on every write of the schema it sits on.

    `message` tells a person what to do. A rule that names `oldSelf` runs on updates only, unless
    `on_create`: then `oldSelf` is an optional, empty when the object is created.
    """

    rule: str
    message: str
    on_create: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the entry of `x-kubernetes-validations`."""
        entry: dict[str, Any] = {"rule": self.rule, "message": self.message}
        if self.on_create:
            entry["optionalOldSelf"] = True
        return entry


class Model(BaseModel):
    """An immutable part of a resource: camelCase in YAML, snake_case here.

    Fields that a newer version added are ignored when read, and never touched by our patches.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add this model's CEL rules to its schema."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if cls.RULES:
            schema["x-kubernetes-validations"] = [rule.schema() for rule in cls.RULES]
        return schema


def map_list(*keys: str, most: int) -> Any:
    """Mark a list as a map-list: merged by `keys`, at most `most` entries."""
    extra: dict[str, Any] = {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": list(keys),
    }
    return Field(max_length=most, json_schema_extra=extra)


def set_list(*, most: int) -> Any:
    """Mark a list as a set: no entry twice, at most `most` entries."""
    return Field(max_length=most, json_schema_extra={"x-kubernetes-list-type": "set"})


def atomic_list(*, most: int) -> Any:
    """Mark a list as atomic: replaced as a whole, at most `most` entries."""
    return Field(max_length=most, json_schema_extra={"x-kubernetes-list-type": "atomic"})


def bounded_map(*, most: int, longest: int) -> Any:
    """Bound a map of strings: at most `most` entries, each value at most `longest` characters."""
    values = {"type": "string", "maxLength": longest}
    extra: dict[str, Any] = {"maxProperties": most, "additionalProperties": values}
    return Field(json_schema_extra=extra)


def ruled(rule: Rule) -> Any:
    """Put a rule on a field."""
    return Field(json_schema_extra={"x-kubernetes-validations": [rule.schema()]})


def immutable(what: str, instead: str) -> Any:
    """Mark a field that never changes once the object exists; `instead` says what to do."""
    return ruled(Rule("self == oldSelf", f"{what} cannot be changed; {instead}"))


def _utc_seconds(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs its zone, as in 2026-01-31T09:00:00Z")
    if value.utcoffset():
        try:
            value = value.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("a time is between the years 1 and 9999") from error
    return value.replace(microsecond=0) if value.microsecond else value


Time = Annotated[datetime, AfterValidator(_utc_seconds), Field(json_schema_extra={"maxLength": 32})]
"""A moment, in UTC and whole seconds, as Kubernetes writes it."""

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"),
]
"""The name of an object in the same namespace."""

UID = Annotated[str, Field(min_length=1, max_length=64)]
"""The uid that the API server gave an object."""

Text = Annotated[str, Field(min_length=1, max_length=253)]
"""One line for people."""

UserName = Annotated[str, Field(min_length=1, max_length=1024)]
"""The name of a user, as the API server knows them."""

LongText = Annotated[str, Field(max_length=2048)]
"""A paragraph for people."""

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""How many."""

Generation = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""A generation of a spec. The API server keeps bounds as floats: larger ones lose their end."""


class NameRef(Model):
    """A reference to an object in the same namespace, by name."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    name: ObjectName
    """The name of the object."""


class ObjectRef(NameRef):
    """A reference to one very object in the same namespace, not to a later one of its name."""

    uid: UID
    """The uid of the object."""


class SecretKeyRef(NameRef):
    """A key of a Secret in the same namespace. Who names it must be allowed to read it."""

    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
    """The key in the Secret's data."""
