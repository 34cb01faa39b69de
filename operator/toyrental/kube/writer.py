"""Turning decisions into requests: one write each, guarded by the version it was decided on."""

import logging
from collections.abc import Callable
from typing import Any

from toyrental.kube import errors
from toyrental.kube.cache import Cache, Identity
from toyrental.kube.client import Client
from toyrental.kube.events import Recorder
from toyrental.shared.decisions import Write
from toyrental.shared.model import Model
from toyrental.shared.resource import Key, Resource

logger = logging.getLogger(__name__)


class Writer:
    """Writes what was decided, and has the cache know of it at once.

    `leads` is asked before each write: a process that was paused may have lost the lead meanwhile.
    """

    def __init__(
        self,
        client: Client,
        cache: Cache,
        recorder: Recorder,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client = client
        self._cache = cache
        self._recorder = recorder
        self.leads = leads

    async def write(self, write: Write, by: Key) -> None:
        """Do what was decided for `by`.

        Raises errors.Conflict where the object is newer than what the decision rests on; the
        cache has the newer one then. Raises errors.NotLeading where another process works. An
        object that is there already is taken into the cache: the next decision looks at whose it
        is.
        """
        if not self.leads():
            raise errors.NotLeading(f"writing {write.after.key}", "this process leads no more")
        if write.before is None:
            await self._create(write.after, by)
        else:
            await self._patch(write.before, write.after, by)
        if write.event is not None:
            regarding = self._cache.get(write.after.key) or write.after
            logger.info("%s: %s: %s", regarding.key, write.event.reason, write.event.note)
            self._recorder.record(regarding, write.event)

    async def refresh(self, key: Key) -> None:
        """Have the cache know of an object what the API server knows, also that it is gone."""
        known = self._cache.identity(key)
        try:
            raw = await self._client.get(key)
        except errors.NotFound:
            if known is not None:
                self._cache.drop(key, known)
        else:
            self._cache.put(raw)

    async def _create(self, resource: Resource, by: Key) -> None:
        try:
            raw = await self._client.create(resource)
        except errors.AlreadyExists:
            await self.refresh(resource.key)
            return
        self._cache.put(raw, written_for=by)

    async def _patch(self, before: Resource, after: Resource, by: Key) -> None:
        change, subresource = _change(before, after)
        change["metadata"] = change.get("metadata", {}) | {
            "resourceVersion": before.metadata.resource_version,
            "uid": before.uid,
        }
        try:
            raw = await self._client.patch(before.key, change, subresource)
        except (errors.Conflict, errors.NotFound):
            await self.refresh(before.key)
            raise
        metadata = raw["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            # Its last finalizer went, and it with it. The answer bears the version before that.
            self._cache.drop(before.key, Identity(before.uid, metadata["resourceVersion"]))
        else:
            self._cache.put(raw, written_for=by)


def _change(before: Resource, after: Resource) -> tuple[dict[str, Any], str]:
    """Return the merge patch that makes `after` of `before`, and the subresource it is for."""
    if before.status != after.status:
        return {"status": merge_patch(_known(before.status), _dump(after.status))}, "status"
    if before.spec != after.spec:
        return {"spec": merge_patch(_known(before.spec), _dump(after.spec))}, ""
    return {"metadata": {"finalizers": list(after.metadata.finalizers)}}, ""


def _dump(part: Model) -> dict[str, Any]:
    return part.model_dump(mode="json", by_alias=True, exclude_none=True)


def _known(part: Model) -> dict[str, Any]:
    """Dump only what the API server holds: defaults that it does not hold yet are written once."""
    return part.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


def merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7396) that makes `after` of `before`."""
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        old = before.get(name)
        if old == value and name in before:
            continue
        if isinstance(old, dict) and isinstance(value, dict):
            patch[name] = merge_patch(old, value)
        else:
            patch[name] = value
    return patch
