"""Whose a token is: asked of a real API server, remembered for a moment, and of few."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import Shop
from tests.support.proxy import Harm, Proxy
from toyrental.customer_proxy import callers
from toyrental.customer_proxy.callers import REMEMBERED_SECONDS, Callers
from toyrental.kube import connection
from toyrental.kube.errors import Unavailable
from toyrental.kube.forward import Forwarder


@pytest.fixture
async def forwarder(account: Path) -> AsyncIterator[Forwarder]:
    found = connection.find(account)
    async with Forwarder(lambda: found) as forwarder:
        yield forwarder


async def test_the_api_server_is_asked_anew_after_a_moment(
    forwarder: Forwarder, house: Shop, to_api_server: Proxy
) -> None:
    now = 0.0
    known = Callers(forwarder, lambda: now)
    person = house.person("aya").api
    token, user = person._token or "", person.who_am_i()
    before = len(to_api_server.requests)
    for moment, asked in ((0.0, 1), (REMEMBERED_SECONDS - 0.1, 1), (REMEMBERED_SECONDS, 2)):
        now = moment
        assert await known.whose(token) == user
        assert len(to_api_server.requests) - before == asked
    # And what it said once does not hold where it says nothing now
    now = 2 * REMEMBERED_SECONDS
    to_api_server.plan = lambda _: Harm.refuse(500)
    with pytest.raises(Unavailable):
        await known.whose(token)
    to_api_server.behave()


async def test_few_are_remembered_and_no_token_is(
    forwarder: Forwarder, house: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "MOST_REMEMBERED", 1)
    known = Callers(forwarder)
    for name in ("hana", "ryu"):
        person = house.person(name).api
        token, user = person._token or "", person.who_am_i()
        assert await known.whose(token) == user
        assert len(known._known) == 1
        assert token not in str(known.__dict__)
