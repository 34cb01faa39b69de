"""Finding what kopf does not tell: the objects that were gone when it listed a kind.

kopf lists a kind when it starts, and when a watch was lost for too long. What was known before and
was not in the list may be a ghost: deleted, with nobody to say so.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import aiohttp

from toyrental.kube.cache import Cache
from toyrental.shared.resource import Key

LISTED_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Listings:
    """Compares each list of kopf's with what was known; calls `sweep` on a kind with ghosts."""

    def __init__(self, cache: Cache, sweep: Callable[[str], Awaitable[None]]) -> None:
        self._cache = cache
        self._kinds = {kind.SERVED.plural: kind.SERVED.kind for kind in cache.kinds}
        self._sweep = sweep
        self._unseen: dict[_List, set[str]] = {}
        self._comparing: dict[_List, asyncio.Task[None]] = {}

    def observer(self) -> aiohttp.TraceConfig:
        """Return what has kopf's session tell of its requests, also of a list that is empty."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        return trace

    async def _answered(
        self, _session: aiohttp.ClientSession, _: object, told: aiohttp.TraceRequestEndParams
    ) -> None:
        kind = self._kinds.get(told.url.name)
        query = told.url.query
        if kind is None or "watch" in query or "continue" in query or not told.response.ok:
            return
        parts = told.url.parts
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts else None
        self.began(kind, namespace)

    def began(self, kind: str, namespace: str | None) -> None:
        """Note that a kind is being listed, in one namespace or in all."""
        list_ = _List(kind, namespace)
        self._unseen[list_] = self._known(list_)
        if list_ not in self._comparing:
            self._comparing[list_] = asyncio.create_task(self._compare(list_))

    def showed(self, key: Key, uid: str) -> None:
        """Note that an object was in a list."""
        for namespace in (None, key.namespace):
            self._unseen.get(_List(key.kind, namespace), set()).discard(uid)

    async def _compare(self, list_: "_List") -> None:
        """Sweep if something known was not in a list, nor in another one begun meanwhile."""
        try:
            while list_ in self._unseen:
                await self._all_in(list_)
                if ghosts := self._unseen.pop(list_) & self._known(list_):
                    logger.info("%d %ss were not listed; looking for them", len(ghosts), list_.kind)
                    await self._sweep(list_.kind)
        finally:
            del self._comparing[list_]

    async def _all_in(self, list_: "_List") -> None:
        """Wait until no more of a list comes in. Too early a look only costs a sweep."""
        left = -1
        while left != len(self._unseen[list_]):
            left = len(self._unseen[list_])
            await asyncio.sleep(LISTED_SECONDS)

    def _known(self, list_: "_List") -> set[str]:
        known = self._cache.identities(list_.kind).items()
        return {i.uid for key, i in known if list_.namespace in {None, key.namespace}}

    async def compared(self) -> None:
        """Wait until every list so far was compared, and what it led to is done."""
        await asyncio.gather(*self._comparing.values())

    def close(self) -> None:
        """Look for no more ghosts."""
        for task in self._comparing.values():
            task.cancel()


class _List(NamedTuple):
    """What is listed."""

    kind: str
    namespace: str | None
