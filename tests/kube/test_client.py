"""The client of the API server: what it makes of answers, of none, and of refused credentials."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import kopf
import pytest
from aiohttp import web

from toyrental.kinds import KINDS
from toyrental.kube import errors
from toyrental.kube.client import Client
from toyrental.kube.connection import NoConnection
from toyrental.shared.resource import Key

BEAR = Key("Toy", "shop", "bear")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def api_server(handler: Handler) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _, port, *_ = runner.addresses[0]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def answering(status: int, body: str, kind: str = "application/json") -> Handler:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text=body, content_type=kind)

    return answer


def client_of(url: str) -> Client:
    return Client(lambda: kopf.ConnectionInfo(server=url), KINDS)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, '{"reason": "NotFound", "message": "toys \\"bear\\" not found"}', errors.NotFound),
        (500, "<html>oops</html>", errors.Unavailable),
        (200, "<html>a captive portal</html>", errors.Unavailable),
        (502, "", errors.Unavailable),
        (429, '{"reason": "TooManyRequests"}', errors.Unavailable),
        (403, '{"reason": "Forbidden", "message": "no"}', errors.Forbidden),
        (401, '{"reason": "Unauthorized"}', errors.ApiError),
    ],
)
async def test_whatever_is_answered_is_a_value_or_an_api_error(
    status: int, body: str, expected: type[errors.ApiError]
) -> None:
    async with api_server(answering(status, body)) as url, client_of(url) as client:
        with pytest.raises(errors.ApiError) as caught:
            await client.get(BEAR)
    assert type(caught.value) is expected
    assert "reading Toy shop/bear" in str(caught.value)


async def test_no_answer_is_an_api_error() -> None:
    async def reset(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with api_server(reset) as url, client_of(url) as client:
        with pytest.raises(errors.Unavailable, match="no answer"):
            await client.get(BEAR)
    async with client_of(url) as client:
        with pytest.raises(errors.Unavailable, match="no answer"):
            await client.patch(BEAR, {"spec": {}})


async def test_a_write_is_sent_once() -> None:
    """A write whose answer is lost is not sent again unasked: the decision is made anew."""
    seen = []

    async def reset(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.method)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with api_server(reset) as url, client_of(url) as client:
        with pytest.raises(errors.Unavailable):
            await client.patch(BEAR, {"spec": {}})
    assert seen == ["PATCH"]


async def test_pages_are_followed_to_the_end() -> None:
    async def pages(request: web.BaseRequest) -> web.StreamResponse:
        token = request.query.get("continue", "")
        following = {"": "second", "second": "third"}.get(token, "")
        metadata = {"resourceVersion": "7", "continue": following}
        return web.json_response({"items": [{"page": token}], "metadata": metadata})

    async with api_server(pages) as url, client_of(url) as client:
        found = [item["page"] async for page in client.list("Toy") for item in page["items"]]
    assert found == ["", "second", "third"]


def guard(tokens: set[str], seen: list[str]) -> Handler:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        seen.append(token)
        if token in tokens:
            return web.json_response({"token": token})
        return web.json_response({"reason": "Unauthorized"}, status=401)

    return answer


async def test_credentials_that_changed_are_read_again_once_for_all_requests() -> None:
    seen: list[str] = []
    reads = []
    current = "old"

    async with api_server(guard({"new"}, seen)) as url:

        def connect() -> kopf.ConnectionInfo:
            reads.append(current)
            return kopf.ConnectionInfo(server=url, token=current)

        async with Client(connect, KINDS) as client:
            current = "new"
            answers = await asyncio.gather(*(client.get(BEAR) for _ in range(5)))
            assert answers == [{"token": "new"}] * 5
            assert await client.get(BEAR) == {"token": "new"}
    assert reads == ["old", "new"]
    assert seen.count("old") <= 5


async def test_credentials_that_did_not_change_are_not_tried_twice() -> None:
    seen: list[str] = []
    async with api_server(guard(set(), seen)) as url:
        connection = kopf.ConnectionInfo(server=url, token="old")
        async with Client(lambda: connection, KINDS) as client:
            with pytest.raises(errors.ApiError) as caught:
                await client.get(BEAR)
    assert caught.value.status == 401
    assert seen == ["old"]


async def test_credentials_that_cannot_be_read_again_are_an_api_error_like_any() -> None:
    async with api_server(guard(set(), [])) as url:
        answers = iter([kopf.ConnectionInfo(server=url, token="old")])

        def connect() -> kopf.ConnectionInfo:
            for found in answers:
                return found
            raise NoConnection("the kubeconfig is being written")

        async with Client(connect, KINDS) as client:
            with pytest.raises(errors.ApiError):
                await client.get(BEAR)


async def test_another_certificate_needs_new_connections() -> None:
    """A client certificate is shown when a connection is opened, so the old ones are of no use."""
    async with api_server(guard({"new"}, [])) as url:
        current = kopf.ConnectionInfo(server=url, token="old")
        async with Client(lambda: current, KINDS) as client:
            before = client._session
            current = kopf.ConnectionInfo(server=url, token="new", insecure=True)
            assert await client.get(BEAR) == {"token": "new"}
            assert client._session is not before
            assert before is not None
            assert before.closed
