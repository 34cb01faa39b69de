"""An operator in memory: it sees the world through a cache that lags, and goes step by step.

Between any two steps everything may happen, and a crash forgets what was in hand: a decision not
yet written, a call not yet sent, an answer not yet noted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from tests.rules.provider import KEY_LIFE, TIMEOUT, Fault, Provider
from tests.rules.world import SHOP, ConflictError, ExistsError, World
from toyrental.payments import answers
from toyrental.payments import rules as payment_rules
from toyrental.payments import situation as payments
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.payments.providers import port
from toyrental.payments.situation import LookUp, MethodMissing, SendCharge, SendRefund
from toyrental.rentals import rules as rental_rules
from toyrental.rentals.bookings import place_in_line
from toyrental.rentals.conditions import Situation
from toyrental.rentals.models import Rental
from toyrental.rentals.reconciler import waits
from toyrental.repairs import rules as repair_rules
from toyrental.repairs.models import RepairTicket
from toyrental.shared.decisions import NOTHING, Decision, Write
from toyrental.shared.money import Money
from toyrental.shared.resource import Key, Resource
from toyrental.stores import rules as store_rules
from toyrental.stores.models import STORE_NAME, Store, StoreSpec, Toy

R = TypeVar("R", bound=Resource)

RECONCILED = ("Toy", "Store", "Rental", "RepairTicket", "Payment")
MOST_STEPS = 32
"""How many steps one object may take at once; more is a rule at odds with another."""


class Cache:
    """What an operator knows: of each object one version, not always the newest."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: dict[Key, int] = {}

    def get(self, key: Key) -> Resource | None:
        """Return an object as it is known."""
        seen = self._seen.get(key, 0)
        return self._world.history[key][seen - 1] if seen else None

    def find(self, kind: type[R], name: str) -> R | None:
        """Return an object of a kind as it is known."""
        found = self.get(Key(kind.SERVED.kind, SHOP, name))
        return found if isinstance(found, kind) else None

    def all(self, kind: type[R]) -> Iterator[R]:
        """Yield the objects of a kind as they are known, by name."""
        for key in sorted(self._seen):
            found = self.get(key)
            if isinstance(found, kind):
                yield found

    def reconciled(self) -> list[Key]:
        """Return the key of each object that is known and reconciled."""
        known = (key for key in self._seen if self.get(key) is not None)
        return sorted(key for key in known if key.kind in RECONCILED)

    def refresh(self, key: Key) -> None:
        """Read the newest version of an object."""
        if key in self._world.history:
            self._seen[key] = len(self._world.history[key])

    def catch_up(self, kinds: Iterable[str] | None = None) -> None:
        """Read the newest version of everything, or of some kinds."""
        wanted = None if kinds is None else set(kinds)
        for key in self._world.history:
            if wanted is None or key.kind in wanted:
                self.refresh(key)

    def hear_of(self, key: Key) -> None:
        """Let one more version of an object be known."""
        newest = len(self._world.history.get(key, ()))
        self._seen[key] = min(self._seen.get(key, 0) + 1, newest)

    def hide(self, key: Key) -> None:
        """Let an object be unknown, as if it were too new."""
        self._seen.pop(key, None)

    def behind(self) -> list[Key]:
        """Return the keys of what changed unseen."""
        history = self._world.history
        return sorted(key for key in history if self._seen.get(key, 0) < len(history[key]))


class CachedShop:
    """A shop as the rentals of an operator see it."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def toys(self) -> Iterable[Toy]:
        return self._cache.all(Toy)

    def toy(self, name: str) -> Toy | None:
        return self._cache.find(Toy, name)

    def toys_booked_by(self, rental_uid: str) -> Sequence[Toy]:
        return [toy for toy in self.toys() if toy.booking_of(rental_uid) is not None]

    def line(self) -> Sequence[Rental]:
        waiting = (rental for rental in self._cache.all(Rental) if waits(rental))
        return sorted(waiting, key=place_in_line)


class AwayError(Exception):
    """An operator was interrupted at its work, between two steps."""


@dataclass(frozen=True)
class InHand:
    """What an operator is about to do for an object: a write, or a call of the provider."""

    step: Write | payments.Call
    decided: datetime
    situation: payments.Situation | None = None

    def __str__(self) -> str:
        if isinstance(self.step, Write):
            what = "create" if self.step.before is None else "write"
            return f"{what} {self.step.after.key.kind} {self.step.after.key.name}"
        return type(self.step).__name__


@dataclass
class Operator:
    """One process: a cache, and at most one thing in hand for each object."""

    name: str
    world: World
    provider: Provider
    secrets: dict[str, str]
    cache: Cache = field(init=False)
    in_hand: dict[Key, InHand] = field(default_factory=dict)
    steps_left: int | None = None
    """After how many steps it is interrupted, if it is."""
    weather: Fault = Fault.NONE
    """What goes wrong with every request to the provider, unless something else does."""
    down: frozenset[str] = frozenset()
    """The kinds that it does not see to, as that part of it is down."""
    told: set[Key] = field(default_factory=set)
    """The payments of which the provider said that something happened, not heeded yet."""
    _confirmed: dict[Key, set[Key]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cache = Cache(self.world)

    def crash(self) -> None:
        """Forget everything, and start again with what there is now."""
        for key, step in self.in_hand.items():
            self.world.say(f"{self.name} crashes before it can {step} for {key.name}")
        self.in_hand.clear()
        self.told.clear()
        self._confirmed.clear()
        self.cache = Cache(self.world)
        self.cache.catch_up()

    def pass_time(self) -> None:
        """Give up requests that were not sent in time: a caller's timeout bounds them."""
        for key, held in list(self.in_hand.items()):
            late = self.world.now > held.decided + TIMEOUT
            if late and not isinstance(held.step, Write):
                self._drop(key)

    # --- To look, and to decide ---

    def decide(self, key: Key) -> Decision | payments.Call:
        """Return what the rules say of an object as it is known."""
        match self.cache.get(key):
            case Rental() as rental:
                return rental_rules.decide(self._rental_situation(rental))
            case Toy() as toy:
                return store_rules.decide_toy(self._toy_situation(toy))
            case Store() as store:
                gateway = self._gateway_of(store.spec.payment_gateway_ref)
                return store_rules.decide_store(store, gateway, self.world.now)
            case RepairTicket() as ticket:
                return repair_rules.decide(self._repair_situation(ticket))
            case Payment() as payment:
                return payment_rules.decide(self._payment_situation(payment))
            case _:
                return NOTHING

    def look(self, key: Key) -> datetime | None:
        """Decide the next step for an object and take it in hand; return when to look again.

        What a decision wants confirmed is read from the API server, and then it is decided anew.
        """
        assert key not in self.in_hand, "an object is not reconciled twice at once"
        confirmed = self._confirmed.setdefault(key, set())
        while True:
            step = self.decide(key)
            if isinstance(step, Decision) and step.write is None:
                self._drop(key)
                self.told.discard(key)
                return step.look_again
            unseen = set(_wants_confirmed(step)) - confirmed
            if not unseen:
                break
            for other in unseen:
                self.cache.refresh(other)
            confirmed |= unseen
        if isinstance(step, Decision):
            assert step.write is not None
            self.in_hand[key] = InHand(step.write, self.world.now)
        else:
            payment = self.cache.get(key)
            assert isinstance(payment, Payment)
            situation = self._payment_situation(payment)
            self.in_hand[key] = InHand(step, self.world.now, situation)
        self.told.discard(key)
        return None

    def act(self, key: Key, fault: Fault | None = None) -> datetime | None:
        """Do what is in hand for an object: write it, or call and take the answer in hand.

        Return when to look again, where the answer is to wait.
        """
        if self.steps_left == 0:
            raise AwayError
        if self.steps_left is not None:
            self.steps_left -= 1
        held = self.in_hand.pop(key)
        if isinstance(held.step, Write):
            self._write(key, held.step)
            return None
        assert held.situation is not None
        answer = self._call(held.situation, held.step, fault or self.weather)
        if isinstance(answer, Decision):
            if answer.write is None:
                self._drop(key)
                return answer.look_again
            self.in_hand[key] = InHand(answer.write, self.world.now)
        else:
            self.in_hand[key] = InHand(answer, self.world.now, held.situation)
        return None

    def _write(self, key: Key, write: Write) -> None:
        """Write. The cache knows the outcome, and what it was that stood against it."""
        try:
            self.world.apply(write, self.name)
        except (ConflictError, ExistsError) as error:
            self.world.say(f"{self.name} may not: {type(error).__name__} {error}")
            self._drop(key)
        else:
            self._confirmed.setdefault(key, set()).add(write.after.key)
        self.cache.refresh(write.after.key)

    def _drop(self, key: Key) -> None:
        self.in_hand.pop(key, None)
        self._confirmed.pop(key, None)

    def work(self, key: Key) -> tuple[int, datetime | None]:
        """Take an object as far as it goes; return the writes it took, and when to look again."""
        if key.kind in self.down:
            return 0, None
        before = len(self.world.writes)
        for _ in range(MOST_STEPS):
            if key not in self.in_hand:
                look_again = self.look(key)
                if key not in self.in_hand:
                    return len(self.world.writes) - before, look_again
            look_again = self.act(key)
            if look_again is not None:
                return len(self.world.writes) - before, look_again
        raise AssertionError(f"{self.name} finds no end to {key}: one rule undoes another")

    # --- The provider ---

    def _call(
        self, s: payments.Situation, call: payments.Call, fault: Fault
    ) -> Decision | payments.Call:
        payment, now = s.payment, self.world.now
        told = replace(s, now=now)
        rental_uid = payment.spec.rental_ref.uid
        match call:
            case SendCharge(idempotency_key):
                token = self._token(payment)
                if token is None:
                    self.world.say(f"{self.name} finds no method for {payment.name}")
                    return answers.learn_charge(told, MethodMissing())
                charge = port.Charge(
                    key=idempotency_key,
                    amount=payment.spec.amount,
                    token=token,
                    customer=payment.spec.customer,
                    payment_uid=payment.uid,
                    rental_uid=rental_uid,
                )
                charged = self.provider.charge(charge, now, fault)
                self.world.say(f"{self.name} charges {payment.name} by {token}: {charged}")
                return answers.learn_charge(told, charged)
            case LookUp():
                known = self.provider.look_up(payment.uid, fault)
                self.world.say(f"{self.name} looks {payment.name} up: {known}")
                return answers.learn_look_up(told, known)
            case SendRefund(idempotency_key, gateway_payment_id, step):
                refund = port.Refund(
                    key=idempotency_key,
                    gateway_payment_id=gateway_payment_id,
                    amount=Money(
                        currency=payment.spec.amount.currency, minor_units=step.minor_units
                    ),
                    step=step.number,
                    payment_uid=payment.uid,
                    rental_uid=rental_uid,
                )
                back = self.provider.refund(refund, now, fault)
                self.world.say(f"{self.name} refunds {step.minor_units} of {payment.name}: {back}")
                return answers.learn_refund(told, step, back)

    def _token(self, payment: Payment) -> str | None:
        method = payment.spec.method
        return (
            method.token if method.secret_ref is None else self.secrets.get(method.secret_ref.name)
        )

    # --- What bears on an object ---

    def _rental_situation(self, rental: Rental) -> Situation:
        store = self.cache.find(Store, STORE_NAME)
        return Situation(
            rental=rental,
            store=store.spec if store else StoreSpec(),
            shop=CachedShop(self.cache),
            payment=self.cache.find(Payment, rental.payment_name),
            ticket=self.cache.find(RepairTicket, rental.ticket_name),
            now=self.world.now,
        )

    def _toy_situation(self, toy: Toy) -> store_rules.ToySituation:
        names = {booking.rental_ref.name for booking in toy.status.bookings}
        rentals = {name: self.cache.find(Rental, name) for name in names}
        return store_rules.ToySituation(toy, rentals, self.world.now)

    def _repair_situation(self, ticket: RepairTicket) -> repair_rules.Situation:
        toy = self.cache.find(Toy, ticket.spec.toy_ref.name)
        ref = toy.status.service.ticket_ref if toy else None
        toys_ticket = self.cache.find(RepairTicket, ref.name) if ref else None
        return repair_rules.Situation(ticket, toy, toys_ticket, self.world.now)

    def _payment_situation(self, payment: Payment) -> payments.Situation:
        rental = self.cache.find(Rental, payment.spec.rental_ref.name)
        ours = rental is not None and rental.uid == payment.spec.rental_ref.uid
        gateway = self._gateway_of(payment.spec.gateway_ref)
        return payments.Situation(
            payment=payment,
            rental=rental if ours else None,
            terms=payments.Terms(TIMEOUT, port.Capabilities(KEY_LIFE)) if gateway else None,
            obstacle="" if gateway else "there is no such PaymentGateway",
            now=self.world.now,
            told=payment.key in self.told,
        )

    def _gateway_of(self, ref: object) -> PaymentGateway | None:
        name = getattr(ref, "name", None)
        return None if name is None else self.cache.find(PaymentGateway, name)


def _wants_confirmed(step: Decision | payments.Call) -> tuple[Key, ...]:
    return getattr(step, "confirm", ())
