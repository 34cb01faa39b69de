"""What the operator knows of the cluster: the newest version it saw of each object.

A cache may lag behind the API server and never decides anything by itself: writes carry the version
they rest on, and what it lacks is read from the API server before anybody acts on that.
"""

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from toyrental.shared.resource import Key, Resource

logger = logging.getLogger(__name__)

Listener = Callable[[Resource | None, Resource | None, Key | None], None]
"""Told of each change: the object before, the object after, and for whom it was written."""

IndexKeys = Callable[[Resource], Iterable[str]]

_REMEMBERED_DELETIONS = 10_000


class Cache:
    """The newest known version of every object of the kinds given."""

    def __init__(self, kinds: Iterable[type[Resource]]) -> None:
        self._models = {kind.SERVED.kind: kind for kind in kinds}
        self._objects: dict[str, dict[tuple[str, str], Resource | _Packed]] = {
            kind: {} for kind in self._models
        }
        self._namespaces: dict[str, dict[str, dict[str, None]]] = {
            kind: defaultdict(dict) for kind in self._models
        }
        self._indexes: dict[tuple[str, str], _Index] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._listeners: list[Listener] = []

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are kept."""
        return tuple(self._models)

    def listen(self, listener: Listener) -> None:
        """Have a listener told of every change from now on."""
        self._listeners.append(listener)

    def add_index(self, kind: str, name: str, keys_of: IndexKeys) -> None:
        """Keep an index of a kind: `keys_of` gives the entries under which an object is found."""
        self._indexes[kind, name] = _Index(keys_of)

    # --- Reading ---

    def get(self, key: Key) -> Resource | None:
        """Return the object of that key, if one is known."""
        found = self._objects[key.kind].get((key.namespace, key.name))
        return found.unpack(self._models[key.kind]) if isinstance(found, _Packed) else found

    def in_namespace(self, kind: str, namespace: str) -> Iterator[Resource]:
        """Yield the objects of a kind in a namespace."""
        for name in self._namespaces[kind].get(namespace, ()):
            found = self.get(Key(kind, namespace, name))
            if found is not None:
                yield found

    def find(self, kind: str, index: str, entry: str) -> Sequence[Resource]:
        """Return the objects that an index has under an entry, by namespace and name."""
        keys = sorted(self._indexes[kind, index].entries.get(entry, ()))
        return [found for key in keys if (found := self.get(Key(kind, *key))) is not None]

    def keys_under(self, kind: str, index: str, entry: str) -> list[Key]:
        """Return the keys of the objects that an index has under an entry."""
        return [Key(kind, *key) for key in self._indexes[kind, index].entries.get(entry, ())]

    def keys(self, kind: str) -> list[Key]:
        """Return the keys of all objects of a kind."""
        return [Key(kind, *key) for key in self._objects[kind]]

    def version(self, kind: str, namespace: str, name: str) -> str | None:
        """Return the resourceVersion that is known of an object."""
        found = self._objects[kind].get((namespace, name))
        return (
            None
            if found is None
            else found.version
            if isinstance(found, _Packed)
            else (found.metadata.resource_version)
        )

    # --- Writing ---

    def put(self, raw: dict[str, Any], written_for: Key | None = None) -> Resource | None:
        """Take in an object as the API server sent it; return it, unless it is not understood.

        An older version than the one known changes nothing, nor does an object known as deleted.
        """
        kind, metadata = raw["kind"], raw["metadata"]
        place = (metadata["namespace"], metadata["name"])
        known = self._objects[kind].get(place)
        version = self.version(kind, *place)
        if version is not None and int(version) >= int(metadata["resourceVersion"]):
            return self.get(Key(kind, *place))
        if metadata["uid"] in self._deleted:
            return None
        try:
            after = self._models[kind].model_validate(raw)
        except ValidationError as error:
            logger.error("%s %s/%s is not understood: %s", kind, *place, error)
            return None
        before = known.unpack(self._models[kind]) if isinstance(known, _Packed) else known
        self._objects[kind][place] = _Packed(after) if after.settled else after
        self._namespaces[kind][place[0]][place[1]] = None
        self._changed(kind, place, before, after, written_for)
        return after

    def drop(self, key: Key, uid: str, version: str) -> None:
        """Forget an object that was deleted, unless a later one has taken its place."""
        self._deleted[uid] = None
        while len(self._deleted) > _REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        place = (key.namespace, key.name)
        before = self.get(key)
        if before is None or (before.uid != uid and int(self._version_of(before)) > int(version)):
            return
        del self._objects[key.kind][place]
        names = self._namespaces[key.kind][key.namespace]
        names.pop(key.name, None)
        if not names:
            del self._namespaces[key.kind][key.namespace]
        self._changed(key.kind, place, before, None, None)

    def _version_of(self, resource: Resource) -> str:
        return resource.metadata.resource_version

    def _changed(
        self,
        kind: str,
        place: tuple[str, str],
        before: Resource | None,
        after: Resource | None,
        written_for: Key | None,
    ) -> None:
        for (of_kind, _), index in self._indexes.items():
            if of_kind == kind:
                index.update(place, after)
        for listener in self._listeners:
            listener(before, after, written_for)


class _Packed:
    """A settled object: history, kept as the JSON it is read from again when looked at."""

    __slots__ = ("json", "version")

    def __init__(self, resource: Resource) -> None:
        self.version = resource.metadata.resource_version
        self.json = resource.model_dump_json(by_alias=True, exclude_unset=True).encode()

    def unpack(self, model: type[Resource]) -> Resource:
        return model.model_validate_json(self.json)


class _Index:
    """Entries to objects, and back, so that a change costs what the object has entries."""

    def __init__(self, keys_of: IndexKeys) -> None:
        self.keys_of = keys_of
        self.entries: dict[str, set[tuple[str, str]]] = {}
        self._of_object: dict[tuple[str, str], frozenset[str]] = {}

    def update(self, place: tuple[str, str], after: Resource | None) -> None:
        old = self._of_object.pop(place, frozenset())
        new = frozenset() if after is None else frozenset(self.keys_of(after))
        for entry in old - new:
            places = self.entries[entry]
            places.discard(place)
            if not places:
                del self.entries[entry]
        for entry in new - old:
            self.entries.setdefault(entry, set()).add(place)
        if new:
            self._of_object[place] = new
