"""What the operator knows of the cluster: the newest version it saw of each object.

A cache may lag behind the API server and never decides anything by itself: writes carry the version
they rest on, and what it lacks is read from the API server before anybody acts on that.
"""

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from toyrental.shared.resource import Key, Resource

logger = logging.getLogger(__name__)

Listener = Callable[[Resource | None, Resource | None, Key | None], None]
"""Told of each change: the object before, the object after, and for whom it was written."""

IndexKeys = Callable[[Resource], Iterable[str]]

_REMEMBERED_DELETIONS = 10_000


class Identity(NamedTuple):
    """Which object it is, of all that ever had its name, and in which version."""

    uid: str
    version: str


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
    def kinds(self) -> tuple[type[Resource], ...]:
        """The kinds that are kept."""
        return tuple(self._models.values())

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

    def live_keys(self, kind: str) -> list[Key]:
        """Return the keys of the objects of a kind that are not settled."""
        found = self._objects[kind].items()
        return [Key(kind, *place) for place, held in found if not isinstance(held, _Packed)]

    def identity(self, key: Key) -> Identity | None:
        """Return which object is known by that key, and which version of it."""
        found = self._objects[key.kind].get((key.namespace, key.name))
        return None if found is None else _identity(found)

    def identities(self, kind: str) -> dict[Key, Identity]:
        """Return which objects of a kind are known, and which version of each."""
        found = self._objects[kind].items()
        return {Key(kind, *place): _identity(held) for place, held in found}

    def knows(self, raw: dict[str, Any]) -> bool:
        """Tell whether an object, as the API server sent it, is no news.

        That is one that is known in that version or a later one, or as deleted.
        """
        return self._is_past(raw["metadata"], self.identity(_key(raw)))

    def _is_past(self, metadata: dict[str, Any], known: Identity | None) -> bool:
        if known is not None and int(known.version) >= int(metadata["resourceVersion"]):
            return True
        return metadata["uid"] in self._deleted

    # --- Writing ---

    def put(self, raw: dict[str, Any], written_for: Key | None = None) -> None:
        """Take in an object as the API server sent it, unless it is not understood.

        An older version than the one known changes nothing, nor does an object known as deleted.
        Of a new object under an old name follows that the old one was deleted.
        """
        key = _key(raw)
        known = self.identity(key)
        if self._is_past(raw["metadata"], known):
            return
        model = self._models[key.kind]
        try:
            after = model.model_validate(raw)
        except ValidationError as error:
            logger.error("%s is not understood: %s", key, error)
            return
        if known is not None and known.uid != after.uid:
            self.drop(key, known)
        before = self.get(key)
        place = (key.namespace, key.name)
        self._objects[key.kind][place] = _Packed(after) if after.settled else after
        self._namespaces[key.kind][key.namespace][key.name] = None
        self._changed(key.kind, place, before, after, written_for)

    def drop(self, key: Key, gone: Identity) -> None:
        """Forget an object that was deleted, unless a later one has taken its place."""
        self._deleted[gone.uid] = None
        while len(self._deleted) > _REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        known = self.identity(key)
        if known is None or (known.uid != gone.uid and int(known.version) > int(gone.version)):
            return
        before = self.get(key)
        place = (key.namespace, key.name)
        del self._objects[key.kind][place]
        names = self._namespaces[key.kind][key.namespace]
        del names[key.name]
        if not names:
            del self._namespaces[key.kind][key.namespace]
        self._changed(key.kind, place, before, None, None)

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


def _key(raw: dict[str, Any]) -> Key:
    metadata = raw["metadata"]
    return Key(raw["kind"], metadata["namespace"], metadata["name"])


def _identity(held: "Resource | _Packed") -> Identity:
    if isinstance(held, _Packed):
        return Identity(held.uid, held.version)
    return Identity(held.uid, held.metadata.resource_version)


class _Packed:
    """A settled object: history, kept as the JSON it is read from again when looked at."""

    __slots__ = ("json", "uid", "version")

    def __init__(self, resource: Resource) -> None:
        self.uid = resource.uid
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
