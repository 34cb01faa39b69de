"""What there is in a shop, kept up to date by watches: looking at it costs the API server nothing.

::

    with Mirror(cluster, shop.name) as mirror:
        mirror.until(lambda: advance(Seen(mirror.resources), lives), within=60)
"""

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import aiohttp

from dev.cluster import Cluster
from tests.support.proxy import closed, connection_of
from tests.support.waiting import eventually
from toyrental.kinds import KINDS
from toyrental.shared.resource import GROUP, VERSION, Key, Resource

START_SECONDS = 30

Json = dict[str, Any]
Listener = Callable[[str, Json], None]
"""Told of each event of a watch: its type, and the object."""


class Mirror:
    """The objects of a namespace, as watches tell of them, in a thread of its own."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._found = connection_of(cluster.kubeconfig)
        self._namespace = namespace
        self._resources: dict[Key, Resource] = {}
        self._listeners: list[Listener] = []
        self._changed = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mirror", daemon=True)
        self._watching: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        complete = threading.Event()
        asyncio.run_coroutine_threadsafe(self._start(complete), self._loop)
        if not complete.wait(START_SECONDS):
            raise TimeoutError("the watches were not begun")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(START_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def resources(self) -> list[Resource]:
        """All that there is now."""
        return list(self._resources.values())

    def listen(self, listener: Listener) -> None:
        """Have every event told, in the mirror's thread."""
        self._listeners.append(listener)

    def leave(self, listener: Listener) -> None:
        """Have no more told."""
        self._listeners.remove(listener)

    def changed(self, within: float) -> None:
        """Wait until something has changed since this was last asked, or the time is up."""
        self._changed.wait(within)
        self._changed.clear()
        if self._watching is not None and self._watching.done():
            self._watching.result()

    def until(
        self, done: Callable[[], bool], *, within: float, explain: Callable[[], str] | None = None
    ) -> None:
        """Ask whenever something has changed, until it is done."""

        def ask() -> bool:
            self.changed(within=0.2)
            return done()

        eventually(ask, within=within, explain=explain)

    async def _start(self, complete: threading.Event) -> None:
        self._watching = asyncio.create_task(self._watch_all(complete))

    async def _end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        await closed()

    async def _watch_all(self, complete: threading.Event) -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._found.as_ssl_context()),
            headers=self._found.as_http_headers(),
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session:
            lists = [(kind, await self._list(session, kind)) for kind in KINDS]
            complete.set()
            await asyncio.gather(*(self._watch(session, kind, since) for kind, since in lists))

    def _url(self, kind: type[Resource]) -> str:
        place = f"/apis/{GROUP}/{VERSION}/namespaces/{self._namespace}/{kind.SERVED.plural}"
        return self._found.server.rstrip("/") + place

    async def _list(self, session: aiohttp.ClientSession, kind: type[Resource]) -> str:
        async with session.get(self._url(kind)) as response:
            response.raise_for_status()
            found = await response.json()
        for raw in found["items"]:
            self._take(kind, "ADDED", raw)
        return str(found["metadata"]["resourceVersion"])

    async def _watch(
        self, session: aiohttp.ClientSession, kind: type[Resource], since: str
    ) -> None:
        """Watch a kind on and on; a test is over long before its history is compacted."""
        while True:
            params = {"watch": "true", "resourceVersion": since}
            async with session.get(self._url(kind), params=params) as response:
                response.raise_for_status()
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for event in map(json.loads, lines):
                        since = event["object"]["metadata"]["resourceVersion"]
                        self._take(kind, event["type"], event["object"])

    def _take(self, kind: type[Resource], type_: str, raw: Json) -> None:
        resource = kind.model_validate(raw)
        if type_ == "DELETED":
            self._resources.pop(resource.key, None)
        else:
            self._resources[resource.key] = resource
        for listener in self._listeners:
            listener(type_, {"kind": kind.SERVED.kind, **raw})
        self._changed.set()
