"""An API server in memory, small enough to read: versions, owners, finalizers, and the laws.

It does to a write what the real one does: refuses it where it rests on an old version (409), where
the object is there already, or where a law forbids it (422). It keeps every version, so that an
operator may be shown an old one.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tests.rules import laws
from tests.rules.laws import RefusedError
from toyrental.shared.decisions import Write
from toyrental.shared.resource import Key, Resource

SHOP = "shop"
MONDAY = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)

R = TypeVar("R", bound=Resource)

Watcher = Callable[[Resource | None, Resource | None], None]
"""Told of each change: the object before, and after; None before creation and after the end."""


class ConflictError(Exception):
    """409: the write rests on an old version, or the object is gone or another."""


class ExistsError(Exception):
    """409: there is an object of that name already."""


def key(kind: type[Resource], name: str) -> Key:
    """Return the key of an object in the shop."""
    return Key(kind.SERVED.kind, SHOP, name)


class World:
    """Every object of one shop, each with all its versions, and a clock."""

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self.now = MONDAY
        self.history: dict[Key, list[Resource | None]] = {}
        self.writes: list[tuple[str, Write]] = []
        self._say = say
        self._watchers: list[Watcher] = []
        self._revisions = itertools.count(1)
        self._births = itertools.count(1)

    def say(self, line: str) -> None:
        """Narrate."""
        self._say(f"{self.now:%d %H:%M:%S}  {line}")

    def watch(self, watcher: Watcher) -> None:
        """Have a watcher told of every change from now on."""
        self._watchers.append(watcher)

    def pass_time(self, span: timedelta) -> None:
        """Let the clock advance."""
        self.now += span

    # --- Reading ---

    def find(self, key: Key) -> Resource | None:
        """Return the object of that key as it is now, if there is one."""
        versions = self.history.get(key)
        return versions[-1] if versions else None

    def get(self, kind: type[R], name: str) -> R:
        """Return the object of that kind and name; it must be there."""
        found = self.find(key(kind, name))
        if not isinstance(found, kind):
            raise LookupError(f"there is no {kind.SERVED.kind} {name}")
        return found

    def all(self, kind: type[R]) -> list[R]:
        """Return the objects of a kind, by name."""
        return sorted(self._all(kind), key=lambda found: found.name)

    def _all(self, kind: type[R]) -> Iterator[R]:
        for versions in self.history.values():
            if isinstance(versions[-1], kind):
                yield versions[-1]

    def objects(self) -> list[Resource]:
        """Return every object there is."""
        return [versions[-1] for versions in self.history.values() if versions[-1] is not None]

    # --- Writing, as people do ---

    def create(self, resource: R, by: str) -> R:
        """Create an object: uid, version and time are the server's, and status starts empty."""
        if self.find(resource.key) is not None:
            raise ExistsError(str(resource.key))
        metadata = resource.metadata.model_copy(
            update={
                "uid": str(uuid.uuid5(uuid.NAMESPACE_OID, str(next(self._births)))),
                "generation": 1,
                "creation_timestamp": self.now.replace(microsecond=0),
            }
        )
        empty = type(resource).model_fields["status"].get_default()
        born = resource.model_copy(update={"metadata": metadata, "status": empty})
        laws.check(None, born)
        self.say(f"{by} creates {_brief(born.key)}: {_dump(born.spec)}")
        self._store(None, born)
        return self.get(type(resource), resource.name)

    def edit(self, kind: type[R], name: str, by: str, **spec: Any) -> R:
        """Change fields of a spec, as it is now, whatever was seen before."""
        before = self.get(kind, name)
        self._update(before, before.with_spec(**spec), by)
        return self.get(kind, name)

    def delete(self, kind: type[Resource], name: str, by: str, *, force: bool = False) -> None:
        """Delete an object; finalizers hold it back. By force where a policy is in the way."""
        found = self.get(kind, name)
        if not force:
            laws.check_deletion(found)
        self._delete(found, by)

    def _delete(self, found: Resource, by: str) -> None:
        if found.deleting:
            return
        self.say(f"{by} deletes {_brief(found.key)}")
        if not found.metadata.finalizers:
            self._store(found, None)
            return
        metadata = found.metadata.model_copy(
            update={
                "deletion_timestamp": self.now.replace(microsecond=0),
                "generation": found.metadata.generation + 1,
            }
        )
        self._store(found, found.model_copy(update={"metadata": metadata}))

    # --- Writing, as the operator does ---

    def apply(self, write: Write, by: str) -> None:
        """Do what was decided, guarded by the version it was decided on."""
        if write.before is None:
            self.create(write.after, by)
            self.writes.append((by, write))
            return
        before = self.find(write.before.key)
        if before is None or before.metadata.resource_version != _version(write.before):
            raise ConflictError(str(write.before.key))
        changed = [
            write.before.status != write.after.status,
            write.before.spec != write.after.spec,
            write.before.metadata.finalizers != write.after.metadata.finalizers,
        ]
        assert changed.count(True) == 1, f"a write changes exactly one part: {write}"
        self.writes.append((by, write))
        self._update(before, write.after, by)

    def _update(self, before: Resource, after: Resource, by: str) -> None:
        stored = _as_stored(after)
        if _same(before, stored):
            return
        laws.check(before, stored)
        self.say(f"{by} writes {_brief(before.key)}: {_difference(before, stored)}")
        generation = before.metadata.generation + (before.spec != stored.spec)
        metadata = stored.metadata.model_copy(update={"generation": generation})
        stored = stored.model_copy(update={"metadata": metadata})
        gone = stored.deleting and not stored.metadata.finalizers
        self._store(before, None if gone else stored)

    def _store(self, before: Resource | None, after: Resource | None) -> None:
        version = str(next(self._revisions))
        if after is not None:
            metadata = after.metadata.model_copy(update={"resource_version": version})
            after = _as_stored(after.model_copy(update={"metadata": metadata}))
        either = after or before
        assert either is not None
        self.history.setdefault(either.key, []).append(after)
        for watcher in self._watchers:
            watcher(before, after)

    # --- The cluster's own controllers ---

    def collect_garbage(self) -> bool:
        """Delete every object all of whose owners are gone; tell whether there was one."""
        alive = {found.uid for found in self.objects()}
        orphans = [
            found
            for found in self.objects()
            if found.metadata.owner_references
            and not found.deleting
            and not any(owner.uid in alive for owner in found.metadata.owner_references)
        ]
        for orphan in orphans:
            self._delete(orphan, "the garbage collector")
        return bool(orphans)


def _version(resource: Resource) -> str:
    return resource.metadata.resource_version


def _same(before: Resource, after: Resource) -> bool:
    return (
        before.spec == after.spec
        and before.status == after.status
        and before.metadata.finalizers == after.metadata.finalizers
        and before.metadata.deletion_timestamp == after.metadata.deletion_timestamp
    )


def _as_stored(resource: R) -> R:
    """Send an object through JSON, as the wire does."""
    raw = resource.model_dump(mode="json", by_alias=True, exclude_none=True)
    return type(resource).model_validate(raw)


def _brief(key: Key) -> str:
    return f"{key.kind} {key.name}"


def _dump(part: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in _fields(part).items())


def _fields(part: Any) -> dict[str, Any]:
    fields: dict[str, Any] = part.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return fields


def _difference(before: Resource, after: Resource) -> str:
    """Say what a write changes, without the dates of conditions."""
    said = []
    for part in ("spec", "status"):
        old, new = _fields(getattr(before, part)), _fields(getattr(after, part))
        for fields in (old, new):
            fields.pop("observedGeneration", None)
            if "conditions" in fields:
                fields["conditions"] = {
                    c["type"]: f"{c['status']}/{c['reason']}" for c in fields["conditions"]
                }
        for name in sorted(old.keys() | new.keys()):
            was, becomes = old.get(name), new.get(name)
            if isinstance(was, dict) and isinstance(becomes, dict):
                becomes = {k: v for k, v in becomes.items() if was.get(k) != v}
                was = None
            if becomes not in (was, {}):
                said.append(f"{name}={becomes}")
    if before.metadata.finalizers != after.metadata.finalizers:
        said.append(f"finalizers={list(after.metadata.finalizers)}")
    return ", ".join(said)


__all__ = ["MONDAY", "SHOP", "ConflictError", "ExistsError", "RefusedError", "World", "key"]
