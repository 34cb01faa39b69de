"""Probes mean something: a watch that is dead is no life, an API server that is away is no death.

The engine runs here as it does in the operator, with kopf and all, but with less patience; and in a
thread, for kopf takes all that begins on its loop for its own.
"""

import asyncio
import itertools
import threading
from collections.abc import Iterator

import pytest

from tests.support import Shop, eventually
from tests.support.proxy import Harm, Proxy, closed
from toyrental.kube import engine as module
from toyrental.kube.cache import Cache
from toyrental.kube.client import Client
from toyrental.kube.engine import Engine, Scope
from toyrental.kube.health import Check, Health
from toyrental.kube.leadership import Alone
from toyrental.rentals.models import Rental
from toyrental.stores.models import Toy

KINDS = (Rental, Toy)


@pytest.fixture
def health(shop: Shop, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Health]:
    """Give the health of an engine that takes a watch for dead after some seconds."""
    monkeypatch.setattr(module, "WATCH_SECONDS", 1)
    monkeypatch.setattr(module, "DEAD_WATCH_SECONDS", 2.5)
    monkeypatch.setattr(module, "MINDING_SECONDS", 0.2)
    monkeypatch.setattr(module._Patience, "__iter__", lambda _: itertools.repeat(0.2))
    health, stop, loop = Health(), asyncio.Event(), asyncio.new_event_loop()

    async def run() -> None:
        async with Client(lambda: proxy.connection, KINDS) as client:
            scope = Scope([shop.name])
            engine = Engine(client, Cache(KINDS), [], scope=scope, leadership=Alone(), stop=stop)
            health.part = engine
            await engine.run(proxy.connection)
        await closed()

    running = threading.Thread(target=loop.run_until_complete, args=[run()])
    running.start()
    try:
        eventually(lambda: ready(health))
        yield health
    finally:
        loop.call_soon_threadsafe(stop.set)
        running.join()
        loop.close()


def alive(health: Health) -> bool:
    assert health.part is not None
    return all(check.ok for check in health.part.liveness())


def ready(health: Health) -> bool:
    return all(check.ok for check in health.readiness())


def test_a_watch_that_is_dead_is_told_of_and_so_is_its_return(health: Health, proxy: Proxy) -> None:
    assert alive(health)
    go_on = threading.Event()
    proxy.plan = lambda r: Harm.hold(go_on) if r.watches and r.resource == "rentals" else None
    try:
        eventually(lambda: not alive(health))
        said = [check for check in health.liveness() if check.name == "watches"]
        assert said == [Check("watches", ok=False, state="nothing is heard of Rental")]
    finally:
        go_on.set()
        proxy.behave()
    eventually(lambda: alive(health))


def test_an_api_server_that_is_away_is_nothing_that_a_restart_would_heal(
    health: Health, proxy: Proxy
) -> None:
    asked = len(proxy.requests)
    proxy.plan = lambda _: Harm.refuse(503)
    proxy.cut_watches()

    def questions() -> int:
        return sum(request.path.endswith("/v1alpha1") for request in proxy.requests[asked:])

    eventually(lambda: questions() > 3)
    assert alive(health), "it was asked whether watches are dead, or the API server is away"
    proxy.behave()
    eventually(lambda: proxy.open_watches == len(KINDS))
    assert alive(health)
