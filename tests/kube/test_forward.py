"""What passes on requests does so as whom it is told to, and lends its own rights to nobody."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import kopf
import pytest
import trustme
from aiohttp import web

from dev.cluster import Cluster
from toyrental.kube import connection, errors
from toyrental.kube.forward import Forwarder, Outgoing


@pytest.fixture
async def mirror(tmp_path: Path) -> AsyncIterator[kopf.ConnectionInfo]:
    """Serve what one shows of oneself, to who has a client certificate and who has none."""
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.verify_mode = ssl.CERT_OPTIONAL
    authority.configure_trust(tls)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    ours = authority.issue_cert("operator@example.com")
    for name, blob in (
        ("ca", authority.cert_pem),
        ("crt", ours.cert_chain_pems[0]),
        ("key", ours.private_key_pem),
    ):
        blob.write_to_path(tmp_path / name)

    async def show(request: web.Request) -> web.Response:
        assert request.transport is not None
        shown = request.transport.get_extra_info("peercert")
        names = ("Authorization", "Cookie", "Accept-Encoding")
        sent = {name: request.headers.get(name) for name in names}
        answer = {"certificate": bool(shown), "path": request.raw_path, **sent}
        return web.json_response(answer, headers={"Set-Cookie": "kept=yes"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", show)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    yield kopf.ConnectionInfo(
        server=f"https://127.0.0.1:{port}",
        ca_path=tmp_path / "ca",
        certificate_path=tmp_path / "crt",
        private_key_path=tmp_path / "key",
    )
    await runner.cleanup()


async def test_a_caller_is_not_taken_for_the_program(mirror: kopf.ConnectionInfo) -> None:
    """A client certificate counts before a token: on a caller's connection there is none."""
    request = Outgoing("GET", "/a%2Fb/../c?d=%5C", {})
    async with Forwarder(lambda: mirror) as forwarder:
        for token in (None, "minas", None, "joons"):
            async with forwarder.send(request, token) as answer:
                shown = await answer.read()
            certificate = b'"certificate": true' in shown
            assert certificate is (token is None)
            told = b'"Authorization": null' if token is None else f'"Bearer {token}"'.encode()
            assert told in shown
            # And what is sent is what was to be sent, to the letter, and no more
            assert b'"path": "/a%2Fb/../c?d=%5C"' in shown
            assert b'"Cookie": null, "Accept-Encoding": null' in shown


async def test_credentials_that_are_refused_are_read_anew(cluster: Cluster) -> None:
    """In a pod the token changes."""
    good = connection.find(cluster.kubeconfig)
    found = [good, replace(good, token="an-old-one")]
    async with Forwarder(found.pop) as forwarder:
        request = Outgoing("GET", "/version", {})
        async with forwarder.send(request) as answer:
            assert answer.status == 200
        # But a caller's are the caller's
        async with forwarder.send(request, "a-guess") as answer:
            assert answer.status == 401


async def test_an_api_server_that_is_away_is_unavailable() -> None:
    nowhere = kopf.ConnectionInfo(server="http://127.0.0.1:1")
    async with Forwarder(lambda: nowhere) as forwarder:
        with pytest.raises(errors.Unavailable, match="GET to the API server"):
            async with forwarder.send(Outgoing("GET", "/version", {})):
                pass


async def test_an_answer_comes_no_faster_than_it_is_taken() -> None:
    """Who reads a long list slowly holds up the API server, and does not fill the memory."""
    chunk, held_up = b"x" * 2**16, asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while not held_up.is_set():
            try:
                await asyncio.wait_for(answer.write(chunk), 1)
            except TimeoutError:
                held_up.set()
        return answer

    app = web.Application()
    app.router.add_get("/list", endless)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = kopf.ConnectionInfo(server=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with (
        Forwarder(lambda: server) as forwarder,
        forwarder.send(Outgoing("GET", "/list", {}), "minas") as answer,
    ):
        assert await anext(answer.chunks())
        async with asyncio.timeout(30):
            await held_up.wait()
    await runner.cleanup()
