"""The rules that conditions of any object keep, at every moment, whatever happened to it.

They are those of the Kubernetes API conventions and of kstatus, by which `kubectl wait`, Argo CD
and Flux understand an object that they know nothing else about.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from tests.support.api import Json
from tests.support.waiting import eventually

CAMEL_CASE = re.compile(r"[A-Z][a-z]*([A-Z][a-z]*)*")
CLOCKS_DIFFER = timedelta(seconds=5)


def check(content: Json) -> None:
    """Fail, with all that is wrong, unless the conditions of an object keep the rules."""
    faults = list(faults_of(content))
    name = f"{content['kind']} {content['metadata']['name']}"
    assert not faults, f"{name}: {'; '.join(faults)}\n{content.get('status')}"


def check_settled(objects: Iterable[Json]) -> None:
    """Fail unless the conditions keep the rules, and speak of each object as it is now."""
    for content in objects:
        check(content)
        generation, status = content["metadata"]["generation"], content.get("status", {})
        seen = {"status": status.get("observedGeneration")} | {
            condition["type"]: condition.get("observedGeneration")
            for condition in status.get("conditions", ())
            if condition["type"] in {"Ready", "Reconciling", "Stalled"}
        }
        behind = [what for what, observed in seen.items() if observed != generation]
        name = f"{content['kind']} {content['metadata']['name']}"
        assert not behind, f"{name} is of generation {generation}, and {behind} are not: {status}"


def faults_of(content: Json) -> Iterable[str]:
    """Yield what is wrong with the conditions of an object, if it has a status yet."""
    status = content.get("status") or {}
    conditions = status.get("conditions", [])
    if not status:
        return
    generation = content["metadata"]["generation"]
    if status.get("observedGeneration", generation + 1) > generation:
        yield "status.observedGeneration is missing, or of the future"
    if not CAMEL_CASE.fullmatch(status.get("phase", "Phase")):
        yield f"phase {status['phase']} is no CamelCase word"
    for type_, count in Counter(condition["type"] for condition in conditions).items():
        if count > 1:
            yield f"{count} conditions of type {type_}"
    for condition in conditions:
        for fault in _faults_of_one(condition, content["metadata"]):
            yield f"condition {condition['type']}: {fault}"
    yield from _faults_for_kstatus({c["type"]: c for c in conditions})


def _faults_of_one(condition: Json, metadata: Json) -> Iterable[str]:
    if condition["status"] not in {"True", "False", "Unknown"}:
        yield f"status {condition['status']}"
    for field in ("type", "reason"):
        if not CAMEL_CASE.fullmatch(condition.get(field, "")):
            yield f"{field} {condition.get(field)!r} is no CamelCase word"
    yield from _faults_of_message(condition.get("message", ""))
    since = datetime.fromisoformat(condition["lastTransitionTime"])
    created = datetime.fromisoformat(metadata["creationTimestamp"])
    if not created - CLOCKS_DIFFER <= since <= datetime.now(UTC) + CLOCKS_DIFFER:
        yield f"lastTransitionTime {since} is outside the object's life"
    observed = condition.get("observedGeneration")
    if observed is None or observed > metadata["generation"]:
        yield f"observedGeneration {observed}"


def _faults_of_message(message: str) -> Iterable[str]:
    """Yield why a message is no sentence for a person."""
    if not message or message[0] != message[0].upper() or message[-1] not in ".!?…":
        yield f"the message is no sentence: {message!r}"
    if len(message) > 1024:
        yield "the message is too long"
    if any(word in message for word in ("None", "()", "  ", "..", "{", "}", "<", ">")):
        yield f"the message looks like a program's: {message!r}"
    if any(one == two for one, two in pairwise(message.lower().split())):
        yield f"the message stutters: {message!r}"


def _faults_for_kstatus(conditions: dict[str, Json]) -> Iterable[str]:
    """Yield how Ready, Reconciling and Stalled contradict each other."""
    ready = conditions.get("Ready")
    if ready is None:
        yield "there is no condition Ready"
        return
    holding = [t for t in ("Reconciling", "Stalled") if t in conditions]
    for type_ in holding:
        if conditions[type_]["status"] != "True":
            yield f"{type_} is there and does not hold"
    if ready["status"] == "True" and holding:
        yield f"Ready holds, and so do {holding}"
    if ready["status"] != "True" and len(holding) != 1:
        yield f"Ready does not hold, and of Reconciling and Stalled there are {holding}"


def settle(find: Callable[[], Iterable[Json]], *, within: float = 30) -> None:
    """Wait until the conditions of all objects found speak of them as they are; then check."""

    def ask() -> bool:
        check_settled(find())
        return True

    eventually(ask, within=within)
