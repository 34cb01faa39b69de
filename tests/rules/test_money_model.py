"""One payment, its operators and its provider: whatever is lost, late, repeated or out of order.

The same things happen as in the life of a whole shop (test_life_model), but to the money of one
order alone, and so far deeper: each request to the provider is a step of its own, and goes wrong in
any way. At every step at most one charge, and no more given back than was taken; when the faults
are over, everything is settled.
"""

import sys
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.rules.provider import BAD, GOOD, Fault
from tests.rules.search import SEARCH, SECONDS
from tests.rules.stage import run_to_rest
from tests.rules.town import Ground, nth
from toyrental.payments.models import Payment, RefundOutcome
from toyrental.rentals.models import Rental
from toyrental.shared.decisions import Decision
from toyrental.shared.resource import Key

ORDER = "order"
PRICE = 6

WELL, LOST, LATE = Fault.NONE, Fault.LOST_AFTER, Fault.LATE
faults = st.sampled_from([WELL, WELL, WELL, LATE, LATE, LOST, Fault.REPEATED, *Fault])
spans = st.sampled_from(
    [
        timedelta(seconds=1),
        timedelta(seconds=4),
        timedelta(seconds=11),
        timedelta(seconds=70),
        timedelta(hours=23),
        timedelta(hours=25),
    ]
)


class Money(Ground):
    """The money of one order."""

    @initialize(two=st.booleans(), method=st.sampled_from([*GOOD, *BAD]))
    def owe(self, *, two: bool, method: str) -> None:
        """Begin with an order whose payment is on record, and was not asked for."""
        if two:
            self.operators.append(self.stage.another_operator("the other operator"))
        self.checks.alone = not two
        self.stage.stock("bear", rate=PRICE // 2)
        self.stage.order(ORDER, "bear", method=method)
        self.operators[0].down = frozenset({"Payment"})
        run_to_rest(self.world, self.operators[:1])
        self.operators[0].down = frozenset()
        for operator in self.operators:
            operator.cache.catch_up()

    @property
    def payment(self) -> Payment | None:
        return next(iter(self.world.all(Payment)), None)

    # --- The operators ---

    @rule(n=nth, faults=st.lists(faults, min_size=1, max_size=3), waits=st.booleans())
    def tries(self, n: int, faults: list[Fault], waits: bool) -> None:
        """Wait until an operator wants to look again, and let it go on until it waits again.

        Its requests meet these faults, one after the other, and the last of them from then on.
        """
        operator, key = self.operator(n), self._key(n)
        if key is None:
            return
        if waits:
            self._wait_for(operator.decide(key))
        for fault in faults[:-1]:
            while key not in operator.in_hand:
                if operator.look(key) is not None or key not in operator.in_hand:
                    return
            operator.act(key, fault)
        operator.weather = faults[-1]
        operator.work(key)
        operator.weather = Fault.NONE

    tries_once_more = tries

    @rule(n=nth, fault=faults)
    def goes_a_step(self, n: int, fault: Fault) -> None:
        """Decide, or do what was decided: a write, or a request that may go wrong."""
        operator, key = self.operator(n), self._key(n)
        if key is None:
            return
        if key in operator.in_hand:
            operator.act(key, fault)
        else:
            operator.look(key)

    def _key(self, n: int) -> Key | None:
        known = self.operator(n).cache.reconciled()
        return next((key for key in known if key.kind == "Payment"), None)

    def _wait_for(self, step: object) -> None:
        moment = step.look_again if isinstance(step, Decision) else None
        if moment is not None and moment > self.world.now:
            self.pass_time(moment - self.world.now)

    @rule(n=nth, crashes=st.booleans())
    def learns_the_news(self, n: int, crashes: bool) -> None:
        """Learn all that changed, perhaps by a restart, and let the other parts work."""
        operator = self.operator(n)
        if crashes:
            operator.crash()
        operator.cache.catch_up()
        for key in operator.cache.reconciled():
            if key.kind != "Payment":
                operator.work(key)

    # --- Time, and people ---

    @rule(span=spans, late=st.booleans(), n=nth)
    def time_passes(self, span: timedelta, late: bool, n: int) -> None:
        """Let something late arrive, whichever was sent first, or let time pass."""
        if late:
            self.provider.carry_out_one(n)
        else:
            self.pass_time(span)

    @rule(
        what=st.sampled_from(["card", "part", "cancel", "deny", "delete", "review"]),
        method=st.sampled_from([*GOOD, *BAD]),
        part=st.integers(min_value=1, max_value=PRICE),
    )
    def people_act(self, what: str, method: str, part: int) -> None:
        payment = self.payment
        match what:
            case "card":
                self.attempt(lambda: self.stage.pay_by(ORDER, method))
            case "part" if payment is not None:
                self.attempt(lambda: self.stage.refund(payment.name, part))
            case "cancel" | "deny":
                self.attempt(lambda: getattr(self.stage, what)(ORDER))
            case "delete":
                self.attempt(lambda: self.world.delete(Rental, ORDER, "somebody"))
                self.world.collect_garbage()
            case "review":
                for each in self.reviews():
                    self.stage.resolve_review(each.name)

    @rule(what=st.sampled_from(["fails", "fails", *RefundOutcome]), n=nth)
    def refunds_fail(self, what: str, n: int) -> None:
        """Have a refund fail that was made, or end such a failure."""
        payment = self.payment
        if what != "fails":
            for each in self.failed_refunds():
                self.stage.resolve_refund(each.name, RefundOutcome(what))
        elif payment is not None and self.provider.fail_refund(payment.uid, n):
            self.tell(payment.key)

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:
            self.settle_all()


TestMoney = pytest.mark.timeout(SECONDS)(Money.TestCase)
TestMoney.settings = settings(
    SEARCH,
    max_examples=4 * SEARCH.max_examples,
    stateful_step_count=SEARCH.stateful_step_count // 4,
)
