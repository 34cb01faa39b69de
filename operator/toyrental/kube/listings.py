"""What kopf gets: of a list nothing, and the kind is swept; of a watch only what is news.

kopf lists a kind when it starts, and when a watch was lost for too long. Of a list it does not tell
what is gone since, and it runs a task for each object in it. All that it needs is the version from
which to watch on. So its list is narrowed to an object that cannot be, and before it goes on to
watch, a sweep of our own makes the cache agree with what is there.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import aiohttp
from yarl import URL

from toyrental.kube.news import only_news
from toyrental.shared.resource import Resource

NOBODY = "metadata.name=-"
"""A field selector that no object matches: no name begins with a hyphen."""


class Listings:
    """A middleware of kopf's session.

    Calls `sweep` with the kind and the namespace listed, and `heard` with a kind whose watch opens
    or tells of something. Of what watches tell, kopf gets nothing that is `no_news`.
    """

    def __init__(
        self,
        kinds: Iterable[type[Resource]],
        sweep: Callable[[str, str | None], Awaitable[None]],
        heard: Callable[[str], None],
        no_news: Callable[[dict[str, Any]], bool],
    ) -> None:
        self._kinds = {kind.SERVED.plural: kind.SERVED.kind for kind in kinds}
        self._sweep = sweep
        self._heard = heard
        self._no_news = no_news

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Pass a request on; of a list only the version comes back, once the kind was swept."""
        kind = self._kinds.get(request.url.name)
        if kind is None:
            return await handler(request)
        if "watch" in request.url.query:
            response = await handler(request)
            if response.ok:
                self._heard(kind)
                only_news(response, self._no_news, partial(self._heard, kind))
            return response
        request.url = request.url.update_query(fieldSelector=NOBODY)
        response = await handler(request)
        if response.ok:
            await self._sweep(kind, _namespace(request.url))
        return response


def _namespace(url: URL) -> str | None:
    parts = url.parts
    return parts[parts.index("namespaces") + 1] if "namespaces" in parts else None
