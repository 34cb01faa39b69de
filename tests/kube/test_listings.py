"""What kopf gets: of a list nothing, once the kind was swept, and of a watch what is news."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from toyrental.kinds import KINDS
from toyrental.kube.listings import NOBODY, Listings

ALL = "/apis/toyrental.dev/v1alpha1/rentals"
SHOP = "/apis/toyrental.dev/v1alpha1/namespaces/shop/rentals"


class Server:
    """Notes what it is asked; refuses where told so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.status = 200
        self.swept: list[tuple[str, str | None]] = []
        self.heard: list[str] = []
        self.watched: list[bytes] = []
        self.known: set[str] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, dict(request.query)))
        if self.watched:
            return await self.stream(request)
        return web.json_response({"metadata": {"resourceVersion": "7"}}, status=self.status)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in self.watched:
            await response.write(part)
        return response

    def knows(self, raw: dict[str, Any]) -> bool:
        return raw["metadata"]["resourceVersion"] in self.known

    async def sweep(self, kind: str, namespace: str | None) -> None:
        assert self.asked, "a sweep before the list may miss what comes between the two"
        self.swept.append((kind, namespace))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def kopf_session(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    middleware = Listings(KINDS, server.sweep, server.heard.append, server.knows)
    async with (
        TestServer(app) as running,
        aiohttp.ClientSession(running.make_url("/"), middlewares=(middleware,)) as session,
    ):
        yield session


@pytest.mark.parametrize(("path", "namespace"), [(ALL, None), (SHOP, "shop")])
async def test_a_list_is_of_nobody_and_the_kind_is_swept(
    server: Server, kopf_session: aiohttp.ClientSession, path: str, namespace: str | None
) -> None:
    async with kopf_session.get(path, params={"limit": "500"}) as response:
        assert (await response.json())["metadata"]["resourceVersion"] == "7"
    assert server.asked == [(path, {"limit": "500", "fieldSelector": NOBODY})]
    assert server.swept == [("Rental", namespace)]


@pytest.mark.parametrize(
    "path", [ALL + "?watch=true&resourceVersion=7", SHOP + "?watch=true", "/apis/toyrental.dev"]
)
async def test_whatever_is_no_list_passes_as_it_is(
    server: Server, kopf_session: aiohttp.ClientSession, path: str
) -> None:
    async with kopf_session.get(path):
        pass
    assert NOBODY not in server.asked[0][1].values()
    assert server.swept == []


async def test_a_list_that_was_refused_is_followed_by_no_sweep(
    server: Server, kopf_session: aiohttp.ClientSession
) -> None:
    server.status = 503
    async with kopf_session.get(ALL) as response:
        assert response.status == 503
    assert server.swept == []


@pytest.mark.parametrize(("status", "heard"), [(200, ["Rental"]), (503, [])])
async def test_a_watch_that_opens_is_heard_of(
    server: Server, kopf_session: aiohttp.ClientSession, status: int, heard: list[str]
) -> None:
    server.status = status
    async with kopf_session.get(ALL + "?watch=true"):
        pass
    assert server.heard == heard


def told(kind: str, version: str, name: str = "drill") -> bytes:
    found = {"kind": "Rental", "metadata": {"name": name, "resourceVersion": version}}
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


async def read(session: aiohttp.ClientSession) -> bytes:
    async with session.get(ALL + "?watch=true") as response:
        return b"".join([part async for part in response.content.iter_chunked(1024 * 1024)])


async def test_what_is_known_is_left_out_of_a_watch(
    server: Server, kopf_session: aiohttp.ClientSession
) -> None:
    server.known = {"7", "8"}
    news = [told("ADDED", "6"), told("MODIFIED", "9")]
    server.watched = [news[0], told("ADDED", "7") + told("MODIFIED", "8") + news[1]]
    assert await read(kopf_session) == b"".join(news)


@pytest.mark.parametrize(
    "line",
    [
        told("DELETED", "7"),
        told("BOOKMARK", "7"),
        b'{"type": "ERROR", "object": {"kind": "Status", "code": 410}}\n',
        b'{"type": "MODIFIED", "object": {}}\n',
        b"[]\n",
        b"no JSON\n",
        b'{"type": "MODIFIED", "obj',
    ],
)
async def test_whatever_is_no_known_object_is_not_left_out_of_a_watch(
    server: Server, kopf_session: aiohttp.ClientSession, line: bytes
) -> None:
    server.known = {"7"}
    server.watched = [told("ADDED", "7") + line]
    assert await read(kopf_session) == line


@pytest.mark.parametrize("size", [1, 10, 1000])
async def test_what_comes_in_pieces_is_put_together(
    server: Server, kopf_session: aiohttp.ClientSession, size: int
) -> None:
    server.known = {"7"}
    text = told("ADDED", "6", name="é" * 50) + told("MODIFIED", "7") + told("MODIFIED", "8")
    server.watched = [text[at : at + size] for at in range(0, len(text), size)]
    assert await read(kopf_session) == told("ADDED", "6", name="é" * 50) + told("MODIFIED", "8")


async def test_a_watch_is_heard_of_also_when_it_tells_what_is_known(
    server: Server, kopf_session: aiohttp.ClientSession
) -> None:
    server.known = {"7"}
    server.watched = [told("MODIFIED", "7")]
    await read(kopf_session)
    assert len(server.heard) > 1, "heard of when it was opened, and when something came"
