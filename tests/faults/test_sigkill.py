"""SIGKILL of the operator before and after every call to the provider and every write, enumerated.

The operator is the real one, a process, and the kill is SIGKILL. Of a charge and its refund, of a
decline and another card, and of a refund in two steps, every request is enumerated: each write of a
resource, and each call that moves money. To each there is a life that is killed

- before it: the request is on its way, and is lost with the operator;
- unanswered: it is done, and the operator dies before it is told;
- after it: the operator is told, and dies before it does anything more;
- late, for calls of the provider: it arrives once another operator has brought it all to an end.

One kill serves several lives. A proxy stops each at its own point: it keeps back the request, or
the answer, or whatever the operator sends next for that life. Once all are there the process is
killed, and what was kept back is lost. The next process takes them up again, while others come to
their points.
"""

import json
import threading
from collections.abc import Callable
from enum import Enum, StrEnum, auto
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from dev.cluster import Cluster
from tests.faults.conftest import GATEWAY, behind
from tests.faults.lives import Life, Seen
from tests.support import Shop, eventually, objects
from tests.support.audit import audit
from tests.support.mirror import Mirror
from tests.support.operator import OperatorProcess, SimulatorProcess
from tests.support.proxy import Harm, Proxy, Request
from toyrental.rentals.models import Rental

PRICE, PART = 9000, 4000

CHARGE_AND_REFUND = (
    "toy Reserved",
    "rental Reserved",
    "payment created",
    "call: charge pm_card_visa",
    "payment Captured",
    "rental Paid",
    "rental Cancelled",
    "payment to go back",
    "toy Available",
    "payment refund step 1",
    "call: refund step 1",
    "payment Refunded",
    "payment let go",
)
DECLINE_AND_ANOTHER_CARD = (
    "call: charge pm_card_chargeDeclined",
    "payment Declined",
    "rental Declined, generation 1",
    "payment by another card",
    "rental Declined, generation 2",
    "payment Processing",
    "rental Processing, generation 2",
)
REFUND_IN_TWO_STEPS = (
    "payment PartiallyRefunded",
    "payment refund step 2",
    "call: refund step 2",
)


class Story(NamedTuple):
    """A life, the requests that it takes beside those of the stories before, and the refunds."""

    live: Callable[[Life], Life]
    requests: tuple[str, ...]
    refunds: tuple[int, ...]


STORIES = {
    "refund": Story(Life.cancelled, CHARGE_AND_REFUND, (PRICE,)),
    "decline": Story(lambda life: life.is_declined().replaces_card(), DECLINE_AND_ANOTHER_CARD, ()),
    "steps": Story(
        lambda life: life.orders().is_given_back(PART).cancels(),
        REFUND_IN_TWO_STEPS,
        (PART, PRICE - PART),
    ),
}
ENUMERATED = {request for story in STORIES.values() for request in story.requests}

PART_OF_A_LIFE = {"toys", "rentals", "payments"}

LIVES_A_KILL = 10
"""Each keeps a worker of the operator busy: that many leave enough of the 8 of each controller."""


class Moment(StrEnum):
    """When the operator dies, seen from a request."""

    BEFORE = "before"
    UNANSWERED = "unanswered"
    AFTER = "after"
    LATE = "late"


class Point(NamedTuple):
    """Where a life is when the operator dies."""

    story: str
    request: str
    moment: Moment


POINTS = [
    Point(name, request, moment)
    for name, story in STORIES.items()
    for request in story.requests
    for moment in Moment
    if moment is not Moment.LATE or request.startswith("call:")
]


def described(request: Request) -> str:
    """Say what a request does, so that it is told from every other of a life."""
    body = json.loads(request.body)
    if not request.ours:
        what = request.path.rpartition("/")[2].removesuffix("s")
        return f"call: {what} {body.get('method') or 'step ' + body['metadata']['step']}"
    spec, status = body.get("spec", {}), body.get("status", {})
    match request.resource, request.subresource:
        case "payments", "" if request.method == "POST":
            return "payment created"
        case "payments", "" if "finalizers" in body["metadata"]:
            return "payment let go"
        case "payments", "":
            return "payment by another card" if "method" in spec else "payment to go back"
        case "payments", "status" if status.get("refundStep"):
            return f"payment refund step {status['refundStep']['number']}"
        case "rentals", "status" if "phase" not in status:
            paid = next(c for c in status["conditions"] if c["type"] == "Paid")
            return f"rental {paid['reason']}, generation {paid['observedGeneration']}"
        case resource, "status" if "phase" in status:
            return f"{resource.removesuffix('s')} {status['phase']}"
    return f"no known step: {request}"


class Place(Enum):
    """Where a life is, seen from its point."""

    ON_THE_WAY = auto()
    THERE = auto()
    BEYOND = auto()


class Gauntlet:
    """The lives of a shop, each stopped once at its point."""

    def __init__(self, shop: Shop, mirror: Mirror) -> None:
        self._shop = shop
        self._mirror = mirror
        self._numbers = count(1)
        self.points: dict[str, Point] = {}
        self.lives: dict[str, Life] = {}
        self.seen: dict[str, list[str]] = {}
        self.late: list[Request] = []
        self.arrive_late = threading.Event()
        self._places: dict[str, Place] = {}
        self._names: dict[str, str] = {}
        self._killed = threading.Event()

    def begin(self, story: str, point: Point | None = None) -> str:
        """Begin a life, with a toy of its own; return its name."""
        name = f"{story}-{next(self._numbers)}"
        self.lives[name] = STORIES[story].live(Life(self._shop, name, toy=name))
        self._shop.create(objects.toy(name))
        self.seen[name] = []
        if point is not None:
            self.points[name] = point
            self._places[name] = Place.ON_THE_WAY
        return name

    def advance(self) -> None:
        """Take every life as far as it goes; one begins once its toy is in stock."""
        seen = Seen(self._mirror.resources)
        for name, life in self.lives.items():
            if name in seen.toys and seen.toys[name].status.phase:
                life.advance(seen)

    def are_over(self) -> bool:
        """Take every life as far as it goes, and tell whether all are over."""
        self.advance()
        return all(life.over for life in self.lives.values())

    def are_there(self) -> bool:
        """Tell whether none is still on the way to its point: it is there, or was never to be."""
        self.advance()
        on_the_way = (n for n, place in self._places.items() if place is Place.ON_THE_WAY)
        return all(self.lives[name].over for name in on_the_way)

    def killed(self) -> list[Point]:
        """Let go of what was kept back; return at which points the operator was killed."""
        there = [name for name, place in self._places.items() if place is Place.THERE]
        for name in self._places:
            self._places[name] = Place.BEYOND
        self._killed.set()
        self._killed = threading.Event()
        return [self.points[name] for name in there]

    def plan(self, request: Request) -> Harm | None:
        """Say what happens to a request, of the API server or of the provider."""
        moves_money = request.path.startswith("/v1/") and request.method == "POST"
        if not moves_money and not (request.writes and request.resource in PART_OF_A_LIFE):
            return None
        if request.resource == "toys" and "bookings" not in json.loads(request.body)["status"]:
            return None  # put in stock: no part of a life
        name, what = self._life_of(request), described(request)
        self.seen[name].append(what)
        point, place = self.points.get(name), self._places.get(name)
        if place is Place.THERE:
            return Harm(forward=False, answer=False, until=self._killed)
        if point is None or place is Place.BEYOND or what != point.request:
            return None
        return self._stopped(name, point.moment, request)

    def _stopped(self, name: str, moment: Moment, request: Request) -> Harm:
        def is_there() -> None:
            self._places[name] = Place.THERE

        match moment:
            case Moment.UNANSWERED:
                return Harm.hold_answer(self._killed, is_there)
            case Moment.AFTER:
                return Harm.after_answer(is_there)
            case Moment.BEFORE:
                is_there()
                return Harm(forward=False, answer=False, until=self._killed)
            case Moment.LATE:
                is_there()
                self.late.append(request)
                return Harm(answer=False, until=self.arrive_late)

    def _life_of(self, request: Request) -> str:
        body = json.loads(request.body)
        if not request.ours:
            return self._names[body["metadata"]["rentalUID"]]
        if request.method == "POST":
            rental = body["spec"]["rentalRef"]
            self._names[rental["uid"]] = rental["name"]
            return str(rental["name"])
        return request.name.rpartition("-")[0] if request.resource == "payments" else request.name


@pytest.fixture
def gauntlet(shop: Shop, mirror: Mirror) -> Gauntlet:
    return Gauntlet(shop, mirror)


def test_sigkill_at_every_request_of_a_charge_and_a_refund(
    *,
    cluster: Cluster,
    shop: Shop,
    proxy: Proxy,
    mirror: Mirror,
    simulator: SimulatorProcess,
    gauntlet: Gauntlet,
    tmp_path: Path,
) -> None:
    with Proxy(simulator.url) as provider:
        # A call that is kept back is not to time out
        shop.create(objects.gateway(GATEWAY, provider.url, timeoutSeconds=60))
        shop.create(objects.store(gateway=GATEWAY))
        proxy.plan = provider.plan = gauntlet.plan
        with behind(proxy, shop, cluster, tmp_path) as operator:
            # Given that all requests are known that these stories take undisturbed
            undisturbed = [gauntlet.begin(story) for story in STORIES]
            mirror.until(gauntlet.are_over, within=60)
            for name in undisturbed:
                assert set(gauntlet.seen[name]) <= ENUMERATED
            # When the operator is killed at each of them, before and after
            killed = kill_at_each(operator, gauntlet, mirror)
            # Then all come to their end, as if nothing had happened
            mirror.until(
                gauntlet.are_over,
                within=120,
                explain=lambda: "\n".join(str(x) for x in gauntlet.lives.values() if not x.over),
            )
            gauntlet.arrive_late.set()
            eventually(lambda: all(request.answer for request in gauntlet.late))
            eventually(lambda: audit(shop, simulator.ledger()))
            assert operator.terminate() == 0
        assert sorted(killed) == sorted(POINTS)
        books = simulator.ledger()
        for name in gauntlet.lives:
            mine = books.of(shop.get(Rental, name))
            assert [charge["amount"] for charge in mine.charges] == [PRICE]
            refunds = sorted(refund["amount"] for refund in mine.refunds)
            assert tuple(refunds) == STORIES[name.partition("-")[0]].refunds


def kill_at_each(operator: OperatorProcess, gauntlet: Gauntlet, mirror: Mirror) -> list[Point]:
    """Kill the operator at each point, several lives at a time; return where it was killed.

    A life that was spared a write, as its story went on so fast, lives again.
    """
    # Those of one story keep the same controllers busy: spread them
    kills = -(-len(POINTS) // LIVES_A_KILL)
    batches = [POINTS[n::kills] for n in range(kills)]
    killed: list[Point] = []
    for number, batch in enumerate(batches, 1):
        for point in batch:
            gauntlet.begin(point.story, point)
        mirror.until(gauntlet.are_there, within=60)
        operator.kill()
        met = gauntlet.killed()
        killed += met
        print(f"kill {number}:", *(f"{point.moment} {point.request};" for point in met))
        missed = [point for point in batch if point not in met]
        assert number < 2 * kills, f"never met: {missed}"
        if missed:
            batches.append(missed)
        operator.start()
    return killed
