"""Conditions, by the Kubernetes API conventions and kstatus."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from toyrental.shared.model import Generation, Model, Time, map_list

Truth = Literal["True", "False", "Unknown"]


class Condition(Model):
    """One observation of an object's state, in the standard shape of Kubernetes."""

    type: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z]*$")]
    """What is observed."""

    status: Truth
    """Whether it holds: True, False, or Unknown."""

    observed_generation: Generation | None = None
    """The generation of the spec that this was observed of."""

    last_transition_time: Time
    """When the status last changed."""

    reason: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Z][A-Za-z]*$")]
    """Why, in one CamelCase word for programs."""

    message: Annotated[str, Field(max_length=1024)]
    """Why, and what to do, in a sentence for people."""


Conditions = Annotated[tuple[Condition, ...], map_list("type", most=16)]


class Finding(NamedTuple):
    """What a rule found about a condition, before it is dated."""

    status: Truth
    reason: str
    message: str


def true(reason: StrEnum | str, message: str) -> Finding:
    """Say that a condition holds."""
    return Finding("True", str(reason), message)


def false(reason: StrEnum | str, message: str) -> Finding:
    """Say that a condition does not hold."""
    return Finding("False", str(reason), message)


def unknown(reason: StrEnum | str, message: str) -> Finding:
    """Say that it is not known, or not decided yet, whether a condition holds."""
    return Finding("Unknown", str(reason), message)


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """Return the condition of that type, if it was ever set."""
    return next((c for c in conditions if c.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Tell whether the condition of that type is True."""
    return any(c.type == type_ and c.status == "True" for c in conditions)


def update(
    conditions: tuple[Condition, ...],
    findings: dict[str, Finding | None],
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return `conditions` with the findings in them, keyed by type; None removes one.

    The time of transition moves only when the status does, as the conventions ask. What was not
    found anew keeps its place and its words.
    """
    kept = {c.type: c for c in conditions}
    for type_, finding in findings.items():
        if finding is None:
            kept.pop(type_, None)
        else:
            kept[type_] = _dated(type_, finding, kept.get(type_), generation=generation, now=now)
    return tuple(kept.values())


def seen_at(conditions: tuple[Condition, ...], generation: int) -> tuple[Condition, ...]:
    """Return conditions that hold of this generation of the spec as of the one before."""
    return tuple(c.model_copy(update={"observed_generation": generation}) for c in conditions)


def _dated(
    type_: str, finding: Finding, before: Condition | None, *, generation: int, now: datetime
) -> Condition:
    said = finding._replace(message=finding.message[:1024])
    since = now
    if before is not None and before.status == said.status:
        same = said == (before.status, before.reason, before.message)
        if same and before.observed_generation == generation:
            return before  # as most are, and it is dear to make a new one
        since = before.last_transition_time
    return Condition(
        type=type_,
        status=said.status,
        observed_generation=generation,
        last_transition_time=since,
        reason=said.reason,
        message=said.message,
    )


def readiness(ready: Finding, *, stalled: bool = False) -> dict[str, Finding | None]:
    """Return Ready with the two conditions that kstatus reads beside it.

    `Reconciling` and `Stalled` are there only while they hold: Stalled where nothing will move
    until a person acts, Reconciling where Ready is yet to come by itself.
    """
    waiting = ready.status != "True"
    return {
        "Ready": ready,
        "Reconciling": true(ready.reason, ready.message) if waiting and not stalled else None,
        "Stalled": true(ready.reason, ready.message) if waiting and stalled else None,
    }
