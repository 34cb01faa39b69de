"""A crash, a lost answer, a refusal: at every single write of a life, one after the other.

Sampling misses what matters: the writes are enumerated. To each there is a life to which the harm
comes at just this one; all lives go on side by side, so that what is a crash at a certain write to
one is a crash just anywhere to the others. All come to the same end, as if nothing had happened.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from tests.faults.conftest import GATEWAY
from tests.faults.lives import Life, Seen, advance
from tests.faults.pieces import Pieces
from tests.support import Shop, eventually, objects
from tests.support.audit import audit
from tests.support.mirror import Mirror
from tests.support.operator import SimulatorProcess
from tests.support.proxy import Harm, Proxy, Request
from toyrental.payments.models import PaymentGateway
from toyrental.shared.conditions import is_true
from toyrental.stores.models import Store

LIVES: dict[str, Callable[[Life], Life]] = {
    "happy": Life.happy,
    "damaged": Life.damaged,
    "cancelled": Life.cancelled,
}
MOST_WRITES = {"happy": 12, "damaged": 19, "cancelled": 11}
"""What a life costs the operator when nothing goes wrong, the toy being in stock."""


class Town:
    """Many lives in one shop, each with a toy and a name of its own, and harm to some of them."""

    def __init__(self, shop: Shop, proxy: Proxy, mirror: Mirror) -> None:
        self.shop = shop
        self._mirror = mirror
        self.writes: Counter[str] = Counter()
        self.met: dict[str, Request] = {}
        self._proxy = proxy
        self._lives: list[Life] = []
        self._harms: dict[str, tuple[int, Harm]] = {}
        self.by_uid: dict[str, str] = {}

    def add(self, kind: str, name: str, number: int = 0, harm: Harm | None = None) -> None:
        """Add a life, to which harm is done at its write of that number."""
        self.shop.create(objects.toy(name))
        self._lives.append(LIVES[kind](Life(self.shop, name, toy=name)))
        if harm is not None:
            self._harms[name] = number, harm

    def begin(self, pieces: Pieces) -> None:
        """Have the toys put in stock; what is written from here on counts."""
        self._proxy.plan = lambda _: None
        pieces.run(self._all_in_stock)
        self._proxy.plan = self._plan

    def _all_in_stock(self) -> bool:
        toys = self._seen().toys.values()
        return len(toys) == len(self._lives) and all(toy.status.phase for toy in toys)

    def advance(self) -> bool:
        """Take every life as far as it goes."""
        seen = self._seen()
        self._note_names(seen)
        return advance(seen, self._lives)

    def name_of(self, uid: str) -> str:
        """Return which life has an order of that uid; the mirror may lag behind the operator."""

        def known() -> str | None:
            self._note_names(self._seen())
            return self.by_uid.get(uid)

        return self.by_uid.get(uid) or str(eventually(known))

    def _note_names(self, seen: Seen) -> None:
        self.by_uid |= {rental.uid: rental.name for rental in seen.rentals.values()}

    def _seen(self) -> Seen:
        return Seen(self._mirror.resources)

    def _plan(self, request: Request) -> Harm | None:
        if not request.writes:
            return None
        name = self._life_of(request)
        self.writes[name] += 1
        number, harm = self._harms.get(name, (0, None))
        if self.writes[name] != number:
            return None
        self.met[name] = request
        return harm

    def _life_of(self, request: Request) -> str:
        """Toys and rentals are called as the life is, payments nearly so, tickets by its uid."""
        name = request.name or json.loads(request.body)["metadata"]["name"]
        if request.resource == "payments":
            return name.rpartition("-")[0]
        return self.by_uid.get(name, name)


def open_shop(shop: Shop, proxy: Proxy, mirror: Mirror, provider: str) -> Pieces:
    """Open a shop; return an operator behind the proxy, that has put it in order."""
    shop.create(objects.gateway(GATEWAY, provider))
    shop.create(objects.store(gateway=GATEWAY))
    pieces = Pieces(proxy.connection, shop.name, mirror)
    pieces.run(
        lambda: (
            is_true(shop.get(Store, "default").status.conditions, "Ready")
            and is_true(shop.get(PaymentGateway, GATEWAY).status.conditions, "Ready")
        )
    )
    return pieces


@pytest.fixture
def pieces(shop: Shop, proxy: Proxy, mirror: Mirror, simulator: SimulatorProcess) -> Pieces:
    """Give an operator behind the proxy, in a shop that is in order."""
    return open_shop(shop, proxy, mirror, simulator.url)


@pytest.fixture
def town(shop: Shop, proxy: Proxy, mirror: Mirror) -> Town:
    """Give a shop with no lives in it yet."""
    return Town(shop, proxy, mirror)


Harmed = dict[str, tuple[str, int, Harm]]
"""Lives by name: of what kind, and what is done to which of its writes."""


def play(town: Town, harmed: Harmed, run: Callable[[], None]) -> None:
    """Live all these lives, some of them again, until each has met the harm meant for it.

    To be restarted in time can spare a life a write, and so keep it from its harm.
    """
    rounds = 0
    while harmed:
        rounds += 1
        assert rounds <= 10, f"harm is never met by {harmed}"
        for name, (kind, number, harm) in harmed.items():
            town.add(kind, f"{name}-r{rounds}", number, harm)
        run()
        for name in list(harmed):
            if met := town.met.get(f"{name}-r{rounds}"):
                print(f"{name}: {met}, of {town.writes[f'{name}-r{rounds}']} writes")
                del harmed[name]


def every_write() -> Iterator[tuple[str, int]]:
    """Yield each kind of life with each number of a write of it."""
    for kind, most in MOST_WRITES.items():
        yield from product([kind], range(1, most + 1))


def test_what_a_life_costs_when_nothing_goes_wrong(town: Town, pieces: Pieces) -> None:
    for kind in LIVES:
        town.add(kind, kind)
    town.begin(pieces)
    pieces.run(town.advance)
    assert town.writes == MOST_WRITES


CRASHES = {"before": Harm.lose, "unanswered": Harm.lose_answer, "after": Harm.after_answer}


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_at_any_write(
    crash: str, town: Town, pieces: Pieces, simulator: SimulatorProcess
) -> None:
    """The operator is killed before the write, before its answer, or right after that."""
    harm = CRASHES[crash](pieces.kill)
    kills = 0

    def run() -> None:
        nonlocal kills
        town.begin(pieces)
        kills += pieces.run_whatever_happens(town.advance)

    play(town, {f"{kind}-{n}": (kind, n, harm) for kind, n in every_write()}, run)
    print(f"killed {kills} times")
    eventually(lambda: audit(town.shop, simulator.ledger()))


TROUBLES = {
    "reset": Harm.lose(),
    "lost": Harm.lose_answer(),
    "409": Harm.refuse(409),
    "429": Harm.refuse(429),
    "500": Harm.refuse(500),
}


def test_trouble_with_any_write(town: Town, pieces: Pieces, simulator: SimulatorProcess) -> None:
    """The operator lives on, and does not know what became of a write, or is refused it."""
    harmed = {
        f"{kind}-{trouble}-{n}": (kind, n, harm)
        for (kind, n), (trouble, harm) in product(every_write(), TROUBLES.items())
        if kind == "happy" or trouble in {"lost", "409"}
    }

    def run() -> None:
        town.begin(pieces)
        pieces.run(town.advance)

    play(town, harmed, run)
    eventually(lambda: audit(town.shop, simulator.ledger()))


def test_trouble_and_crashes_at_any_move_of_money(
    shop: Shop, proxy: Proxy, mirror: Mirror, simulator: SimulatorProcess
) -> None:
    """Whatever becomes of a request to the provider, money moves once."""
    with Proxy(simulator.url) as provider:
        pieces = open_shop(shop, proxy, mirror, provider.url)
        town = Town(shop, proxy, mirror)
        crashes = {name: crash(pieces.kill) for name, crash in CRASHES.items()}
        harms = TROUBLES | {"401": Harm.refuse(401), "503": Harm.refuse(503)} | crashes
        met: dict[str, str] = {}

        def plan(request: Request) -> Harm | None:
            if request.method != "POST":
                return None
            rental = json.loads(request.body)["metadata"]["rentalUID"]
            what, _, harm = town.name_of(rental).partition("-")
            path = {"charge": "/v1/charges", "refund": "/v1/refunds"}[what]
            if request.path != path or f"{what}-{harm}" in met:
                return None
            met[f"{what}-{harm}"] = request.path
            return harms[harm]

        for harm in harms:
            town.add("happy", f"charge-{harm}")
            town.add("cancelled", f"refund-{harm}")
        town.begin(pieces)
        provider.plan = plan
        kills = pieces.run_whatever_happens(town.advance)
        assert kills <= 2 * len(crashes)
        assert len(met) == 2 * len(harms)
        eventually(lambda: audit(shop, simulator.ledger()))
