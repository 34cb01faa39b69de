"""The operator killed with SIGKILL, again and again, in the midst of a storm of orders."""

import os
import random
import signal
from collections import Counter
from contextlib import suppress

from dev.cluster import Cluster
from tests.faults.lives import Life, Seen, advance
from tests.support import Shop, eventually, objects
from tests.support.audit import audit
from tests.support.mirror import Mirror
from tests.support.operator import DidNotStart, OperatorProcess, SimulatorProcess
from tests.support.proxy import Harm, Proxy, Request
from tests.support.recount import Writes, agrees
from toyrental.dashboards.rules import REST
from toyrental.rentals.models import Rental
from toyrental.stores.models import Toy

RENTALS, TOYS, KILLS = 100, 30, 6
WRITES = 800
"""At how many writes the last kill comes at the latest; the storm takes some 1,100."""


def script(life: Life, chance: random.Random) -> Life:
    """Return a life as chance will have it."""
    match chance.choices(
        ["happy", "damaged", "cancelled", "hasty", "denied", "declined", "gives up"],
        weights=[30, 15, 15, 10, 10, 10, 10],
    ):
        case ["happy"]:
            return life.happy()
        case ["damaged"]:
            return life.damaged()
        case ["cancelled"]:
            return life.cancelled()
        case ["hasty"]:
            return life.orders_in_haste().cancels()
        case ["denied"]:
            return life.orders().is_denied()
        case ["declined"]:
            return life.is_declined().replaces_card().is_approved().returns().is_accepted()
        case _:
            return life.is_declined().cancels()


class Killer:
    """Kills a process at certain writes: before they are sent on, done, or answered."""

    def __init__(self, victim: OperatorProcess, chance: random.Random) -> None:
        self._victim = victim
        self.kills: list[str] = []
        self._harms = [Harm.lose, Harm.lose_answer, Harm.after_answer]
        self._at = {n: chance.randrange(3) for n in sorted(chance.sample(range(WRITES), KILLS))}
        self._writes = 0

    def plan(self, request: Request) -> Harm | None:
        """Say what happens to a request."""
        if not request.writes:
            return None
        self._writes += 1
        which = self._at.get(self._writes)
        if which is None:
            return None
        self.kills.append(f"at write {self._writes}, {self._harms[which].__name__}: {request}")
        return self._harms[which](lambda: os.kill(self._victim.pid, signal.SIGKILL))


def test_a_storm_with_kills(
    *,
    cluster: Cluster,
    unstarted: OperatorProcess,
    shop: Shop,
    proxy: Proxy,
    mirror: Mirror,
    simulator: SimulatorProcess,
) -> None:
    """N2, N4: nothing is lost or done twice, and the owner's view is what a recount says."""
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - a seed replays it
    for number in range(TOYS):
        shop.create(objects.toy(f"toy-{number}"))
    shop.create(objects.dashboard())
    mirror.listen(writes := Writes())
    lives = [script(Life(shop, f"order-{n}"), chance) for n in range(RENTALS)]

    with unstarted as operator:

        def live() -> bool:
            if not operator.running:
                print(f"killed {killer.kills[-1]}")
                operator.kill()
                with suppress(DidNotStart):  # killed again, before it was ready
                    operator.start()
            return advance(Seen(mirror.resources), lives)

        killer = Killer(operator, chance)
        proxy.plan = killer.plan
        mirror.until(
            live, within=200, explain=lambda: "\n".join(str(x) for x in lives if not x.over)
        )
        eventually(lambda: audit(shop, simulator.ledger()))
        eventually(lambda: agrees(cluster, shop.name))
        assert writes.rested(REST.total_seconds())
        assert len(killer.kills) == KILLS
        print(Counter(rental.phase.value for rental in shop.find(Rental)))
        print(Counter(toy.status.phase for toy in shop.find(Toy)))
        assert operator.terminate() == 0
