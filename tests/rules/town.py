"""A town to search in: people who do all they may to a shop, its provider, and time."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple, TypeVar

from hypothesis import event, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.rules.checks import Checks
from tests.rules.operators import Operator
from tests.rules.provider import BAD, GOOD, TIMEOUT, Fault
from tests.rules.stage import GATEWAY, SECRET, Stage, run_to_rest
from tests.rules.world import ExistsError, RefusedError
from toyrental.payments.models import SETTLE, Payment, PaymentGateway, PaymentPhase, RefundOutcome
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairOutcome, RepairTicket
from toyrental.shared.decisions import Decision, soonest
from toyrental.shared.model import NameRef
from toyrental.shared.resource import Key, Resource
from toyrental.stores.models import Approval, Orders, Toy

T = TypeVar("T")

TOYS = ("ark", "bear", "car")
ORDERS = ("r1", "r2", "r3", "r4", "r5")
TICKETS = ("worn", "torn")
COLOURS = ("red", "blue")

nth = st.integers(min_value=0, max_value=3)


class Attention(NamedTuple):
    """Which operator sees to what just happened, for how many steps, and whether it crashes."""

    operator: int
    steps: int | None
    crash: bool


somebody = st.none() | st.builds(
    Attention,
    operator=st.integers(0, 1),
    steps=st.none() | st.integers(min_value=1, max_value=9),
    crash=st.booleans(),
)
spans = st.sampled_from(
    [
        timedelta(seconds=1),
        timedelta(seconds=1),
        timedelta(seconds=15),
        timedelta(seconds=70),
        timedelta(minutes=10),
        timedelta(minutes=31),
        timedelta(hours=1),
        timedelta(hours=5),
        timedelta(days=1),
    ]
)
methods = st.sampled_from([*GOOD, *GOOD, *BAD, SECRET])


class Order(NamedTuple):
    """What a customer may ask for."""

    name: str
    toy: str | None
    colour: str
    start: timedelta | None
    days: int
    method: str


orders = st.builds(
    Order,
    name=st.sampled_from(ORDERS),
    toy=st.sampled_from([*TOYS, None, None]),
    colour=st.sampled_from(COLOURS),
    start=st.sampled_from([None, None, timedelta(hours=1), timedelta(days=1), timedelta(days=2)]),
    days=st.integers(min_value=1, max_value=3),
    method=methods,
)


class Ground(RuleBasedStateMachine):
    """A shop, its provider and its operators: what every search stands on, and how it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(note)
        self.world = self.stage.world
        self.provider = self.stage.provider
        self.operators = [self.stage.operator]
        self.checks = Checks(self.world, self.provider)

    def operator(self, n: int) -> Operator:
        return self.operators[n % len(self.operators)]

    def attempt(self, act: Callable[[], object]) -> None:
        """Try what the API server may refuse."""
        try:
            act()
        except (RefusedError, ExistsError, LookupError) as refusal:
            note(f"                   refused: {type(refusal).__name__}: {refusal}")

    # --- Time, and the end ---

    def pass_time(self, span: timedelta) -> None:
        note(f"                   {span} passes")
        self.world.pass_time(span)
        self.provider.pass_time(self.world.now)
        for operator in self.operators:
            operator.pass_time()

    @invariant()
    def money_is_right(self) -> None:
        self.checks.money_at_any_time()

    def reviews(self) -> list[Payment]:
        """Return the payments that a person must look into, and can: nothing is on its way."""
        if self.provider.something_late or self.calls_in_hand():
            return []
        return [
            payment
            for payment in self.world.all(Payment)
            if payment.phase is PaymentPhase.MANUAL_REVIEW and payment.spec.resolution is None
        ]

    def failed_refunds(self) -> list[Payment]:
        """Return the payments of which a refund failed, and nobody has said what to do."""
        return [
            payment
            for payment in self.world.all(Payment)
            if payment.refund_failed
            and (failure := payment.status.refund_failure) is not None
            and (
                payment.spec.refund_resolution is None
                or payment.spec.refund_resolution.failure < failure.number
            )
        ]

    def tell(self, key: Key) -> None:
        """Send a webhook about a payment."""
        for operator in self.operators:
            operator.told.add(key)

    def tell_of_failures(self) -> bool:
        """Send those webhooks again that nobody has heeded; tell whether there were some."""
        unheeded = [
            payment.key
            for payment in self.world.all(Payment)
            if payment.captured and self.provider.failed_of(payment.uid) > _known(payment)
        ]
        for key in unheeded:
            self.tell(key)
        return bool(unheeded)

    def calls_in_hand(self) -> bool:
        return any(held.situation for op in self.operators for held in op.in_hand.values())

    def unsettled(self) -> list[Key]:
        """Return the payments that are being asked after, or whose order ended with money to move.

        Whoever waits for a person or for another method is not among them.
        """
        return [
            payment.key
            for payment in self.world.all(Payment)
            if payment.status.next_attempt_time is not None
            or (
                SETTLE in payment.metadata.finalizers
                and self.checks.ended(payment.spec.rental_ref.uid)
            )
        ]

    def settle_all(self) -> None:
        """Let everybody be still, and all faults be over: everything comes to rest."""
        note("--- everybody is still, and all faults are over ---")
        self.stage.secrets.setdefault(SECRET, GOOD[0])
        self.attempt(self.stage.open_till)
        self.pass_time(TIMEOUT)
        for operator in self.operators:
            operator.down, operator.weather = frozenset(), Fault.NONE
            for key in list(operator.in_hand):
                while key in operator.in_hand:
                    operator.act(key)
        self._come_to_rest()
        self.checks.at_rest(self.operators)
        for what in sorted(self.checks.came_to_pass):
            event(what)

    def _come_to_rest(self) -> None:
        for _ in range(200):
            again = run_to_rest(self.world, self.operators)
            if self.reviews():
                self.stage.resolve_review(self.reviews()[0].name)
            elif self.failed_refunds():
                failed = self.failed_refunds()[0]
                self.stage.resolve_refund(failed.name, RefundOutcome.GIVEN_BACK)
            elif self.tell_of_failures():
                pass
            elif not self.unsettled():
                return
            else:
                assert again is not None, f"nobody looks again at {self.unsettled()}"
                self.pass_time(max(again - self.world.now, timedelta(seconds=1)))
        raise AssertionError(f"never settled: {self.unsettled()}")


def _known(payment: Payment) -> int:
    failure = payment.status.refund_failure
    return failure.failed_minor_units if failure is not None else 0


class Town(Ground):
    """A shop, and everybody who acts on it but the operators."""

    def open_shop(self, toys: int, rate: int, orders: list[Order], *, automatic: bool) -> None:
        """Begin with some toys and orders."""
        if automatic:
            self.stage.set_policy(approval=Approval.AUTOMATIC)
        for name, colour in zip(TOYS[:toys], ("red", "red", "blue"), strict=False):
            self.stage.stock(name, rate=rate, color=colour)
        for order in orders:
            self.place(order)

    # --- People ---

    def one(self, kind: type[T], n: int) -> T | None:
        found: Sequence[T] = self.world.all(kind)  # type: ignore[type-var]
        return found[n % len(found)] if found else None

    def attended(self, by: Attention | None) -> None:
        """Let an operator see to what just happened, as far as it comes, or none."""
        raise NotImplementedError

    @rule(order=orders, by=somebody)
    def order(self, order: Order, by: Attention | None) -> None:
        """Order; an order of that name which has ended is deleted first."""
        earlier = [r for r in self.world.all(Rental) if r.name == order.name and r.phase.final]
        for rental in earlier:
            self.world.delete(Rental, rental.name, "a customer")
        self.place(order)
        self.attended(by)

    def place(self, order: Order) -> None:
        labels = {} if order.toy else {"color": order.colour}
        start = None if order.start is None else self.world.now + order.start
        self.attempt(
            lambda: self.stage.order(
                order.name, order.toy, start=start, days=order.days, method=order.method, **labels
            )
        )

    @rule(n=nth, by=somebody)
    def the_provider_tells(self, n: int, by: Attention | None) -> None:
        """Send a webhook about some payment, whatever happened to it, if anything did."""
        payment = self.one(Payment, n)
        if payment is not None:
            self.tell(payment.key)
            self.ring_for(payment.key)
            self.attended(by)

    def ring_for(self, key: Key) -> None:
        """Have an object looked at though nothing changed."""

    @rule(damaged=st.booleans(), by=somebody)
    def go_on(self, damaged: bool, by: Attention | None) -> None:
        """Do with every order what people do next when all goes well."""
        for rental in self.world.all(Rental):
            self.do_the_obvious(rental, damaged=damaged)
        self.attended(by)

    @rule(n=nth, damaged=st.booleans(), by=somebody)
    def go_on_with_one(self, n: int, damaged: bool, by: Attention | None) -> None:
        rental = self.one(Rental, n)
        if rental is not None:
            self.do_the_obvious(rental, damaged=damaged)
            self.attended(by)

    def do_the_obvious(self, rental: Rental, *, damaged: bool) -> None:
        match rental.phase:
            case RentalPhase.PAID:
                self.attempt(lambda: self.stage.approve(rental.name))
            case RentalPhase.RENTED:
                self.attempt(lambda: self.stage.bring_back(rental.name))
            case RentalPhase.RETURNED if damaged:
                self.attempt(lambda: self.stage.find_damage(rental.name))
            case RentalPhase.RETURNED:
                self.attempt(lambda: self.stage.accept(rental.name))
            case _:
                pass

    @rule(n=nth, what=st.sampled_from(["cancel", "cancel", "approve", "deny", "bring_back"]))
    def decide_on_an_order(self, n: int, what: str) -> None:
        rental = self.one(Rental, n)
        if rental is not None:
            self.attempt(lambda: getattr(self.stage, what)(rental.name))

    @rule(n=nth, method=methods, by=somebody)
    def change_the_method(self, n: int, method: str, by: Attention | None) -> None:
        rental = self.one(Rental, n)
        if rental is not None:
            self.attempt(lambda: self.stage.pay_by(rental.name, method))
            self.attended(by)

    @rule(
        kind=st.sampled_from([Rental, Rental, Payment, RepairTicket, Toy]),
        n=nth,
        force=st.sampled_from([False, False, True]),
    )
    def delete(self, kind: type[Resource], n: int, force: bool) -> None:
        """Delete something: who may operate does so even where it is live."""
        found = self.one(kind, n)
        if found is not None:
            if force:
                self.checks.may_be_gone.add(found.uid)
            self.attempt(lambda: self.world.delete(kind, found.name, "somebody", force=force))

    @rule(n=nth, part=st.sampled_from([1, 2, 1_000]))
    def refund(self, n: int, part: int) -> None:
        payment = self.one(Payment, n)
        if payment is not None:
            amount = min(payment.spec.amount.minor_units, part)
            self.attempt(lambda: self.stage.refund(payment.name, amount))

    @rule(
        n=nth,
        toy=st.sampled_from(TOYS),
        what=st.sampled_from(["open", "open", "assign", "repair", "discard"]),
    )
    def see_to_repairs(self, n: int, toy: str, what: str) -> None:
        ticket = self.one(RepairTicket, n)
        if what == "open":
            self.attempt(lambda: self.stage.open_ticket(TICKETS[n % 2], toy))
        elif ticket is not None and what == "assign":
            self.attempt(lambda: self.stage.assign(ticket.name))
        elif ticket is not None:
            outcome = RepairOutcome.REPAIRED if what == "repair" else RepairOutcome.DISCARDED
            self.attempt(lambda: self.stage.end_repair(ticket.name, outcome))

    @rule(
        name=st.sampled_from(TOYS),
        colour=st.sampled_from(COLOURS),
        what=st.sampled_from(["register", "register for free", "withdraw", "offer"]),
    )
    def see_to_the_stock(self, name: str, colour: str, what: str) -> None:
        match what:
            case "withdraw":
                self.attempt(lambda: self.stage.withdraw(name))
            case "offer":
                self.attempt(lambda: self.stage.offer(name))
            case _:
                rate = 0 if what == "register for free" else 3
                self.attempt(lambda: self.stage.stock(name, rate=rate, color=colour))

    @rule(
        policy=st.sampled_from(
            [
                {"approval": Approval.AUTOMATIC},
                {"approval": Approval.MANUAL},
                {"orders": Orders.PAUSED},
                {"orders": Orders.ACCEPTED},
                {"payment_gateway_ref": None},
                {"payment_gateway_ref": NameRef(name=GATEWAY)},
            ]
        )
    )
    def change_the_policy(self, policy: dict[str, object]) -> None:
        self.stage.set_policy(**policy)

    @rule(there=st.booleans())
    def the_gateway_goes_or_comes(self, there: bool) -> None:
        if there:
            self.attempt(self.stage.open_till)
        else:
            self.attempt(lambda: self.world.delete(PaymentGateway, GATEWAY, "somebody"))

    @rule(token=st.sampled_from([None, *GOOD, *BAD]))
    def change_the_secret(self, token: str | None) -> None:
        note(f"                   the secret is now {token}")
        self.stage.secrets.clear()
        if token is not None:
            self.stage.secrets[SECRET] = token

    # --- The world ---

    @rule(what=st.sampled_from(["garbage", "late", "review"]), n=nth)
    def see_to_leftovers(self, what: str, n: int) -> None:
        """Collect garbage, carry out a request that is late, or end a review."""
        match what:
            case "garbage":
                self.world.collect_garbage()
            case "late":
                self.provider.carry_out_one(n)
            case _ if self.reviews():
                self.stage.resolve_review(self.reviews()[0].name)

    @rule(span=spans, by=somebody)
    def time_passes(self, span: timedelta, by: Attention | None) -> None:
        self.pass_time(span)
        self.attended(by)

    @rule(n=nth, by=somebody)
    def wait_for_the_next_moment(self, n: int, by: Attention | None) -> None:
        """Let time pass until an operator wants to look at something again."""
        operator = self.operator(n)
        steps = [operator.decide(key) for key in operator.cache.reconciled()]
        moment = soonest(*(step.look_again for step in steps if isinstance(step, Decision)))
        if moment is not None and moment > self.world.now:
            self.pass_time(moment - self.world.now)
            self.attended(by)

    @rule(fault=st.sampled_from([Fault.NONE, *Fault]))
    def the_provider_turns(self, fault: Fault) -> None:
        """Let the provider answer every request so from now on."""
        note(f"                   the provider is now: {fault}")
        for operator in self.operators:
            operator.weather = fault
