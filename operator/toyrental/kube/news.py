"""What is news of all that a watch tells: kopf gets no more than that.

Most of it are our own writes, whose answers the cache took in before, and where some shops of many
are served, the others'. kopf would take half a millisecond of CPU for each, to be told the same.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import aiohttp
from pydantic_core import from_json

_OF_OBJECTS = frozenset({"ADDED", "MODIFIED"})


def only_news(
    response: aiohttp.ClientResponse,
    no_news: Callable[[dict[str, Any]], bool],
    heard: Callable[[], None],
) -> None:
    """Leave out of the answer to a watch each object, new or changed, that is no news.

    All else passes as it came, also what cannot be read. Calls `heard` whenever something comes.
    """
    response.content = cast("aiohttp.StreamReader", _News(response.content, no_news, heard))


class _News:
    """The stream of a watch, of which kopf reads whole lines as they come."""

    def __init__(
        self,
        content: aiohttp.StreamReader,
        no_news: Callable[[dict[str, Any]], bool],
        heard: Callable[[], None],
    ) -> None:
        self._content = content
        self._no_news = no_news
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        begun = b""
        async for chunk in self._content.iter_chunked(size):
            self._heard()
            *lines, begun = (begun + chunk).split(b"\n")
            news = [line for line in lines if not self._is_left_out(line)]
            if news:
                yield b"\n".join([*news, b""])
        if begun:
            yield begun

    def _is_left_out(self, line: bytes) -> bool:
        try:
            event = from_json(line)
            return event["type"] in _OF_OBJECTS and self._no_news(event["object"])
        except (ValueError, LookupError, TypeError):
            return False
