"""Lists that kopf asks for: it gets an empty one, once the kind was swept."""

from collections.abc import AsyncIterator

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

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, dict(request.query)))
        return web.json_response({"metadata": {"resourceVersion": "7"}}, status=self.status)

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
    middleware = Listings(KINDS, server.sweep, server.heard.append)
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
