"""Whatever people, providers and operators do, in whatever order: the shop stays right.

A shop with a few toys and orders is played by people who do everything they may, one or two
operators whose caches lag, and a provider that fails in every way. After each change the laws hold;
in the end, when everybody is still and all faults are over, everything comes to rest where it
should.
"""

import sys

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.rules.operators import RECONCILED, AwayError
from tests.rules.provider import Fault
from tests.rules.search import SEARCH, SECONDS
from tests.rules.stage import run_to_rest
from tests.rules.town import Attention, Order, Town, nth, orders, somebody


class Life(Town):
    """A shop, and everybody who acts on it."""

    @initialize(
        two=st.booleans(),
        toys=st.integers(min_value=1, max_value=3),
        rate=st.sampled_from([0, 3, 3]),
        orders=st.lists(orders, min_size=1, max_size=3),
        automatic=st.booleans(),
    )
    def open(
        self, *, two: bool, toys: int, rate: int, orders: list[Order], automatic: bool
    ) -> None:
        if two:
            self.operators.append(self.stage.another_operator("the other operator"))
        self.checks.alone = not two
        self.open_shop(toys, rate, orders, automatic=automatic)
        for operator in self.operators:
            operator.cache.catch_up()

    # --- Operators, in small steps ---

    def attended(self, by: Attention | None) -> None:
        """Let an operator see to everything at once, or as far as it comes, or none."""
        if by is None:
            return
        operator = self.operator(by.operator)
        operator.steps_left = by.steps
        try:
            run_to_rest(self.world, [operator])
        except AwayError:
            note(f"                   {operator.name} is interrupted")
        operator.steps_left = None
        if by.crash:
            operator.crash()

    @rule(n=nth, key=st.integers(min_value=0, max_value=20))
    def look(self, n: int, key: int) -> None:
        operator = self.operator(n)
        up = [key for key in operator.cache.reconciled() if key.kind not in operator.down]
        keys = [key for key in up if key not in operator.in_hand]
        if keys:
            operator.look(keys[key % len(keys)])

    @rule(n=nth, key=nth, fault=st.sampled_from([Fault.NONE, *Fault]))
    def act(self, n: int, key: int, fault: Fault) -> None:
        operator = self.operator(n)
        keys = sorted(operator.in_hand)
        if keys:
            operator.act(keys[key % len(keys)], fault)

    @rule(n=nth, kinds=st.sets(st.sampled_from(RECONCILED), max_size=4), key=nth)
    def hear(self, n: int, kinds: set[str], key: int) -> None:
        """Let an operator hear all news of some kinds, or one piece of news."""
        cache = self.operator(n).cache
        behind = cache.behind()
        if kinds:
            cache.catch_up(kinds)
        elif behind:
            cache.hear_of(behind[key % len(behind)])

    @rule(n=nth, kinds=st.sets(st.sampled_from(RECONCILED), min_size=1), fresh=st.booleans())
    def work(self, n: int, kinds: set[str], fresh: bool) -> None:
        """Take everything of some kinds as far as it goes, with a cache that is fresh or not."""
        operator = self.operator(n)
        for key in operator.cache.reconciled():
            if key.kind in kinds:
                if fresh:
                    operator.cache.catch_up()
                operator.work(key)

    @rule(by=somebody)
    def work_on_all(self, by: Attention | None) -> None:
        self.attended(by)

    @rule(n=nth)
    def crash(self, n: int) -> None:
        self.operator(n).crash()

    @rule(kinds=st.sets(st.sampled_from(["Toy", "Rental", "RepairTicket", "Payment"]), max_size=3))
    def parts_go_down(self, kinds: set[str]) -> None:
        """Let parts of every operator be down from now on, and the others be up."""
        note(f"                   down: {', '.join(sorted(kinds)) or 'nothing'}")
        for operator in self.operators:
            operator.down = frozenset(kinds)

    # --- The end ---

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:
            return  # a step failed: that is what counts
        self.settle_all()


TestLife = pytest.mark.timeout(SECONDS)(Life.TestCase)
TestLife.settings = SEARCH
