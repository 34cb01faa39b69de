"""Who is woken sees to everything: an operator that looks only where it is told to misses nothing.

The operator of the other search looks at every object again and again. The real one looks at an
object only when its reconciler's `wakes` says that a change concerns it, or when the time has come
that it asked for. Here the reconcilers say so, and after each scene nothing may be left to do.
"""

import sys
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.rules.operators import RECONCILED, Operator
from tests.rules.search import SEARCH, SECONDS
from tests.rules.town import Attention, Order, Town, orders
from tests.rules.world import World
from toyrental.contexts import Context, Means, reconcilers
from toyrental.kinds import KINDS
from toyrental.kube.cache import Cache, Identity
from toyrental.payments.gateways import Gateways
from toyrental.shared.decisions import Decision
from toyrental.shared.resource import Key, Resource


class Bell:
    """Rings for the objects that a change concerns, as the reconcilers say, and at set times."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cache = Cache(KINDS)
        # The reconcilers are only asked: they read and write nothing.
        nothing: Any = SimpleNamespace(leads=lambda: True)
        means = Means(nothing, self._cache, nothing, Gateways([]), lambda: world.now)
        self._reconcilers = reconcilers(Context, means)
        self._cache.listen(self._changed)
        self._times: dict[Key, datetime] = {}
        self.rung: dict[Key, None] = {}
        self.seen_to: Key | None = None
        """What is being seen to: its own writes do not ring for it."""
        world.watch(self._heard)
        for found in world.objects():
            self._heard(None, found)

    def _heard(self, before: Resource | None, after: Resource | None) -> None:
        if after is not None:
            raw = after.model_dump(mode="json", by_alias=True, exclude_none=True)
            self._cache.put(raw | {"kind": after.key.kind}, written_for=self.seen_to)
        elif before is not None:
            gone = Identity(before.uid, before.metadata.resource_version)
            self._cache.drop(before.key, gone)

    def _changed(
        self, before: Resource | None, after: Resource | None, written_for: Key | None
    ) -> None:
        for reconciler in self._reconcilers:
            for key in reconciler.wakes(before, after):
                if key != written_for and key.kind in RECONCILED:
                    self.rung[key] = None

    def set(self, key: Key, moment: datetime | None) -> None:
        """Ring for an object at a moment."""
        if moment is not None:
            self._times[key] = moment

    def next_time(self) -> datetime | None:
        """Return when it rings next by the clock."""
        return min(self._times.values(), default=None)

    def tell_time(self) -> None:
        """Ring for all whose time has come."""
        for key, moment in list(self._times.items()):
            if moment <= self._world.now:
                del self._times[key]
                self.rung[key] = None


class Woken(Town):
    """A shop whose operator looks only at what it is woken for."""

    def __init__(self) -> None:
        super().__init__()
        self.bell = Bell(self.world)

    @initialize(
        toys=st.integers(min_value=1, max_value=3),
        orders=st.lists(orders, min_size=1, max_size=3),
        automatic=st.booleans(),
    )
    def open(self, toys: int, orders: list[Order], automatic: bool) -> None:
        self.open_shop(toys, 3, orders, automatic=automatic)

    def attended(self, by: Attention | None) -> None:
        if by is not None:
            self.see_to_all()

    def ring_for(self, key: Key) -> None:
        self.bell.rung[key] = None

    def see_to_all(self) -> None:
        """See to all that is woken, and to nothing else; then look whether anything was missed."""
        operator = self.stage.operator
        for _ in range(2_000):
            self.world.collect_garbage()
            self.bell.tell_time()
            if not self.bell.rung:
                break
            key = next(iter(self.bell.rung))
            del self.bell.rung[key]
            self.see_to(operator, key)
        assert not self.bell.rung, "the bell never rests"
        operator.cache.catch_up()
        for key in operator.cache.reconciled():
            step = operator.decide(key)
            assert isinstance(step, Decision), f"nobody is woken to call the provider for {key}"
            assert step.idle, f"nobody is woken for {key}, where there is to do: {step.write}"

    def see_to(self, operator: Operator, key: Key) -> None:
        operator.cache.catch_up()
        self.bell.seen_to = key
        _, moment = operator.work(key)
        self.bell.seen_to = None
        self.bell.set(key, moment)

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:
            return
        note("--- the operator sees to all that is left ---")
        self.see_to_all()


TestWoken = pytest.mark.timeout(SECONDS)(Woken.TestCase)
TestWoken.settings = SEARCH
