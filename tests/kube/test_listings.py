"""Lists that kopf asks for: what was known and is not in them is looked for, and only then."""

import asyncio

import pytest

from tests.kube.test_cache import key, rental
from toyrental.kinds import KINDS
from toyrental.kube import listings as module
from toyrental.kube.cache import Cache, Identity
from toyrental.kube.listings import Listings


class Sweeps:
    """Counts the sweeps, and forgets what is said to be gone."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.kinds: list[str] = []

    async def __call__(self, kind: str) -> None:
        self.kinds.append(kind)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(module, "LISTED_SECONDS", 0.02)
    cache = Cache(KINDS)
    for number, namespace in enumerate(("shop", "shop", "other")):
        cache.put(rental(f"r{number}", uid=f"u{number}", version=number + 1, namespace=namespace))
    return cache


async def test_a_list_with_everything_in_it_costs_nothing(cache: Cache) -> None:
    sweeps = Sweeps(cache)
    listings = Listings(cache, sweeps)
    listings.began("Rental", None)
    for number, namespace in enumerate(("shop", "shop", "other")):
        listings.showed(key(f"r{number}", namespace), f"u{number}")
    await listings.compared()
    assert sweeps.kinds == []


async def test_what_was_not_in_the_list_is_looked_for(cache: Cache) -> None:
    sweeps = Sweeps(cache)
    listings = Listings(cache, sweeps)
    listings.began("Rental", None)
    listings.showed(key("r0"), "u0")
    listings.showed(key("r1"), "another")
    listings.showed(key("r2", "other"), "u2")
    await listings.compared()
    assert sweeps.kinds == ["Rental"]


async def test_an_empty_list_is_a_list(cache: Cache) -> None:
    sweeps = Sweeps(cache)
    listings = Listings(cache, sweeps)
    listings.began("Rental", None)
    await listings.compared()
    assert sweeps.kinds == ["Rental"]


async def test_a_list_of_one_namespace_says_nothing_of_others(cache: Cache) -> None:
    sweeps = Sweeps(cache)
    listings = Listings(cache, sweeps)
    listings.began("Rental", "other")
    listings.showed(key("r2", "other"), "u2")
    await listings.compared()
    assert sweeps.kinds == []


async def test_what_was_deleted_in_plain_sight_is_not_looked_for(cache: Cache) -> None:
    sweeps = Sweeps(cache)
    listings = Listings(cache, sweeps)
    listings.began("Rental", "other")
    cache.drop(key("r2", "other"), Identity("u2", "9"))
    await listings.compared()
    assert sweeps.kinds == []


async def test_a_list_that_comes_in_slowly_is_waited_for(cache: Cache) -> None:
    sweeps = Sweeps(cache)
    listings = Listings(cache, sweeps)
    listings.began("Rental", None)
    for number, namespace in enumerate(("shop", "shop", "other")):
        await asyncio.sleep(0.015)
        listings.showed(key(f"r{number}", namespace), f"u{number}")
    await listings.compared()
    assert sweeps.kinds == []


async def test_a_second_list_during_the_sweep_is_compared_too(cache: Cache) -> None:
    kinds: list[str] = []
    again = asyncio.Event()

    async def sweep(kind: str) -> None:
        kinds.append(kind)
        if len(kinds) == 1:
            listings.began("Rental", None)
        else:
            again.set()

    listings = Listings(cache, sweep)
    listings.began("Rental", None)
    await asyncio.wait_for(again.wait(), 5)
    await listings.compared()
    assert kinds == ["Rental", "Rental"]
