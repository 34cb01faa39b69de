"""What must hold of a shop: after every change, and when everything has come to rest."""

from datetime import timedelta
from itertools import combinations

from tests.rules.operators import CachedShop, Operator
from tests.rules.provider import Provider
from tests.rules.stage import run_to_rest
from tests.rules.world import World
from toyrental.payments.models import SETTLE, Payment, PaymentPhase
from toyrental.rentals import bookings
from toyrental.rentals.models import Decision, DesiredState, Rental, RentalPhase
from toyrental.rentals.reconciler import waits
from toyrental.repairs.models import RepairTicket
from toyrental.shared import decisions
from toyrental.shared.conditions import find, is_true
from toyrental.shared.resource import Resource
from toyrental.stores.models import STORE_NAME, BookingState, Store, StoreSpec, Toy

P = RentalPhase
MAY_FOLLOW: dict[RentalPhase | None, set[RentalPhase]] = {
    None: {P.PENDING, P.RESERVED, P.CANCELLED, P.REJECTED},
    P.PENDING: {P.RESERVED, P.CANCELLED, P.REJECTED},
    P.RESERVED: {P.PAID, P.APPROVED, P.CANCELLED, P.REJECTED, P.EXPIRED},
    P.PAID: {P.APPROVED, P.RENTED, P.CANCELLED, P.REJECTED},
    P.APPROVED: {P.RENTED, P.REJECTED},
    P.RENTED: {P.RETURNED},
    P.RETURNED: {P.COMPLETED},
}


class Checks:
    """Watches every change of a shop, and remembers what it needs to judge the next."""

    def __init__(self, world: World, provider: Provider) -> None:
        self._world = world
        self._provider = provider
        self.alone = True
        """Whether one operator works alone."""
        self.orders: dict[str, Rental] = {}
        """Every order there ever was, by uid, as it last was."""
        self.may_be_gone: set[str] = set()
        """What somebody who may operate deleted, live as it was."""
        self.came_to_pass: set[str] = set()
        """What happened, for the statistics: a search that never gets there proves nothing."""
        self._handed_over: dict[str, str] = {}
        self._asked_back: dict[str, int] = {}
        self._payment_deleted: set[str] = set()
        world.watch(self._changed)

    def ended(self, rental_uid: str) -> bool:
        """Tell whether an order is over, or gone."""
        alive = self._living(rental_uid)
        return alive is None or alive.phase.final

    def _living(self, rental_uid: str) -> Rental | None:
        return next((r for r in self._world.all(Rental) if r.uid == rental_uid), None)

    # --- After every change ---

    def _changed(self, before: Resource | None, after: Resource | None) -> None:
        match after or before:
            case Toy():
                assert before is None or isinstance(before, Toy)
                assert after is None or isinstance(after, Toy)
                self._toy_changed(before, after)
            case Rental():
                assert before is None or isinstance(before, Rental)
                assert after is None or isinstance(after, Rental)
                if after is not None:
                    self._order_changed(before, after)
            case Payment():
                assert before is None or isinstance(before, Payment)
                assert after is None or isinstance(after, Payment)
                self._payment_changed(before, after)
        if before is not None and after is not None:
            conditions_keep_their_dates(before, after)
        if after is not None:
            conditions_are_by_the_book(after)

    def _toy_changed(self, before: Toy | None, after: Toy | None) -> None:
        was = {b.rental_uid: b for b in before.status.bookings} if before else {}
        now = {b.rental_uid: b for b in after.status.bookings} if after else {}
        out = [
            b
            for b in now.values()
            if b.state is BookingState.OUT
            and (b.rental_uid not in was or was[b.rental_uid].state is BookingState.HELD)
        ]
        for booking in out:
            assert after is not None
            self._handed_over_to(booking.rental_uid, after)
        if after is None:
            return
        for uid in was.keys() - now.keys():
            lost, order = was[uid], self._living(uid)
            ref = order.status.toy_ref if order else None
            if order is None or order.phase.final or ref is None or ref.uid != after.uid:
                continue
            displaced = any(b.overlaps(lost.start_time, lost.end_time) for b in out)
            if displaced:
                self.came_to_pass.add("a hand-over displaces another booking")
            dealt_with = order.spec.inspection is not None
            stray_no_more = not self.alone and not lost.with_customer
            assert dealt_with or displaced or stray_no_more, (
                f"the booking of {order.name}, which holds {after.name}, was released"
            )

    def _handed_over_to(self, uid: str, toy: Toy) -> None:
        order = self._living(uid)
        if order is None and uid in self.may_be_gone:
            return
        assert order is not None, f"{toy.name} was handed over to nobody"
        assert is_true(order.status.conditions, "Paid"), f"{order.name} has {toy.name} unpaid"
        assert _approved(order), f"{order.name} has {toy.name} and was not approved"
        assert order.spec.desired_state is not DesiredState.CANCELLED
        assert not order.phase.final or (not self.alone and order.phase is P.REJECTED)
        self._paid_in_full(order)
        self._handed_over[uid] = toy.uid

    def _order_changed(self, before: Rental | None, after: Rental) -> None:
        self.orders[after.uid] = after
        if before is None:
            return
        was, phase = before.status.phase, after.status.phase
        ref, now_at = before.status.toy_ref, after.status.toy_ref
        if ref is not None and now_at is None:
            self.came_to_pass.add("an order looks for another toy")
        if phase is not was:
            self.came_to_pass.add(f"an order is {phase}")
            assert phase in MAY_FOLLOW.get(was, set()), f"{after.name} went from {was} to {phase}"
            if phase in {P.PAID, P.APPROVED, P.RENTED}:
                self._paid_in_full(after)
            if phase in {P.PAID, P.CANCELLED}:
                assert not is_true(after.status.conditions, "Approved") or after.spec.approval
            if phase is P.CANCELLED:
                assert after.uid not in self._handed_over, f"{after.name} has its toy"
            if phase in {P.REJECTED, P.EXPIRED}:
                assert not self.alone or after.uid not in self._handed_over
            if phase in {P.RENTED, P.APPROVED}:
                assert _approved(after)
                assert after.spec.desired_state is not DesiredState.CANCELLED
        assert before.status.price in {None, after.status.price}, "the price is fixed"

    def _paid_in_full(self, order: Rental) -> None:
        price = order.status.price
        assert price is not None
        taken = self._provider.of_rental(order.uid)
        assert sum(t.charge.amount.minor_units for t in taken) == price.minor_units

    def _payment_changed(self, before: Payment | None, after: Payment | None) -> None:
        payment = after or before
        assert payment is not None
        self._asked_back[payment.uid] = payment.spec.refund_minor_units
        if payment.deleting and SETTLE in payment.metadata.finalizers:
            self._payment_deleted.add(payment.spec.rental_ref.uid)
        if before is None or after is None:
            return
        was, now = before.status, after.status
        if now.phase is not was.phase:
            self.came_to_pass.add(f"a payment is {now.phase}")
        if now.attempt != was.attempt:
            assert now.attempt == was.attempt + 1
            assert was.phase is PaymentPhase.DECLINED, "a new attempt follows a decline only"
        if was.refund_step is not None and now.refund_step is not None:
            assert now.refund_step == was.refund_step, "one step ends before the next begins"
        if was.refund_failure != now.refund_failure:
            self.came_to_pass.add("a refund fails")
        if now.refund_step is not None and before.refund_failed:
            self.came_to_pass.add("a refund that failed is tried again")
        if now.given_back_minor_units != was.given_back_minor_units:
            self.came_to_pass.add("a person gives back what the provider could not")
        if was.phase is PaymentPhase.VOIDED:
            assert now.phase in {PaymentPhase.VOIDED, PaymentPhase.REFUNDED}

    def money_at_any_time(self) -> None:
        """Nobody is charged twice, and nothing is given back that was not taken."""
        for uid in self.orders:
            assert len(self._provider.of_rental(uid)) <= 1, "a customer was charged twice"
        for taken in self._provider.taken:
            assert taken.kept >= 0

    # --- At rest ---

    def at_rest(self, operators: list[Operator]) -> None:
        """Check a shop in which everybody is still, and nothing is left to do."""
        before = len(self._world.writes)
        run_to_rest(self._world, operators)
        assert len(self._world.writes) == before, "at rest, nothing is written"
        for order in self.orders.values():
            self._money_is_where_it_belongs(order)
        for payment in self._world.all(Payment):
            if self.ended(payment.spec.rental_ref.uid):
                assert SETTLE not in payment.metadata.finalizers, f"{payment.name} is not let go"
        for toy in self._world.all(Toy):
            self._bookings_are_right(toy)
        for order in self._world.all(Rental):
            self._holds_what_it_should(order)
        self._line_is_served(operators[0])
        self._tickets_have_ended()
        self._nothing_happens_before_it_was_said_to(operators[0])

    def _money_is_where_it_belongs(self, order: Rental) -> None:
        kept = sum(taken.kept for taken in self._provider.of_rental(order.uid))
        alive = self._living(order.uid)
        mine = [p for p in self._world.all(Payment) if p.spec.rental_ref.uid == order.uid]
        unseen = not mine and any(t.failed for t in self._provider.of_rental(order.uid))
        if unseen:
            # With its Payment gone, nobody hears of a refund that fails.
            assert order.status.price is None or 0 <= kept <= order.status.price.minor_units
        elif order.phase is P.COMPLETED:
            price = order.status.price
            assert price is not None
            asked = max((self._asked_back[p.uid] for p in mine), default=None)
            if order.uid in self._payment_deleted or asked is None:
                assert 0 <= kept <= price.minor_units
            else:
                assert kept == price.minor_units - asked, f"{order.name}: {kept} kept"
        elif alive is None or alive.phase.final:
            assert kept == 0, f"{order.name} did not come about, and {kept} is not given back"
        else:
            noted = [
                (p.status.captured_minor_units or 0) - (p.status.refunded_minor_units or 0)
                for p in mine
            ]
            assert kept == sum(noted), f"{order.name}: the books say {kept}, we say {noted}"

    def _bookings_are_right(self, toy: Toy) -> None:
        for one, other in combinations(toy.status.bookings, 2):
            assert not one.overlaps(other.start_time, other.end_time)
        for booking in toy.status.bookings:
            order = self._living(booking.rental_uid)
            assert order is not None, f"{toy.name} is booked for an order that is gone"
            assert not order.phase.final, f"{toy.name} is booked for {order.name}, which ended"
            ref = order.status.toy_ref
            assert ref is not None
            assert ref.uid == toy.uid, f"{toy.name} is booked astray for {order.name}"

    def _holds_what_it_should(self, order: Rental) -> None:
        if order.phase.final or order.phase is P.PENDING or order.spec.inspection is not None:
            return
        ref = order.status.toy_ref
        toy = next((t for t in self._world.all(Toy) if ref and t.uid == ref.uid), None)
        booking = toy.booking_of(order.uid) if toy else None
        state = booking.state if booking else None
        if order.phase is P.RENTED:
            assert toy is None or state is BookingState.OUT
        elif order.phase is P.RETURNED:
            assert toy is None or state is BookingState.RETURNED
        elif ref is not None:
            assert state is BookingState.HELD
            assert is_true(order.status.conditions, "Booked") or waits(order)
        else:
            assert waits(order)

    def _line_is_served(self, operator: Operator) -> None:
        """Nobody waits for a toy that is there and would fall to them."""
        store = operator.cache.find(Store, STORE_NAME)
        policy = store.spec if store else StoreSpec()
        shop = CachedShop(operator.cache)
        for place, order in enumerate(shop.line()):
            falls_to = bookings.toy_for(order, shop, policy, self._world.now)
            if bookings.served(order, policy) and not order.deleting:
                assert falls_to is None, f"{order.name} waits, and {falls_to.name} is there for it"
            wanted = bookings.window(order, self._world.now)
            if place == 0 and bookings.served(order, policy):
                for toy in bookings.candidates(order, shop):
                    there = toy.offered and toy.out is None and bookings.payable(toy, policy)
                    clash = any(b.overlaps(*wanted) for b in toy.status.bookings)
                    assert not there or clash, f"the first in line waits for {toy.name}, in vain"

    def _tickets_have_ended(self) -> None:
        toys = {toy.name: toy for toy in self._world.all(Toy)}
        for ticket in self._world.all(RepairTicket):
            toy = toys.get(ticket.spec.toy_ref.name)
            ref = toy.status.service.ticket_ref if toy else None
            if ref is not None and ref.uid == ticket.uid and toy is not None:
                resolved = ticket.spec.resolution is not None
                assert resolved == ticket.phase.final
                assert not resolved or toy.discarded

    def _nothing_happens_before_it_was_said_to(self, operator: Operator) -> None:
        """Let time pass until just before somebody wants to look again: nothing is to be done."""
        moments = []
        for key in operator.cache.reconciled():
            step = operator.decide(key)
            assert isinstance(step, decisions.Decision)
            assert step.idle
            moments.append(step.look_again)
        first, now = decisions.soonest(*moments), self._world.now
        just_before = first - timedelta(seconds=1) if first else now + timedelta(days=1_000)
        for moment in (now + (just_before - now) / 2, just_before):
            self._world.now = max(moment.replace(microsecond=0), now)
            for key in operator.cache.reconciled():
                step = operator.decide(key)
                assert isinstance(step, decisions.Decision)
                assert step.idle, f"{key} has something to do at {self._world.now}, unasked: {step}"
        self._world.now = now


def _approved(order: Rental) -> bool:
    approval = order.spec.approval
    if approval is not None:
        return approval.decision is Decision.APPROVED or order.phase is P.RENTED
    return is_true(order.status.conditions, "Approved")


def conditions_are_by_the_book(resource: Resource) -> None:
    """Check the conditions of one object, as Kubernetes and kstatus ask."""
    found = getattr(resource.status, "conditions", ())
    types = [c.type for c in found]
    assert len(types) == len(set(types)), "a condition is there once"
    for condition in found:
        assert condition.reason
        assert condition.message, f"{resource.key}: {condition.type} says nothing"
        assert condition.observed_generation is not None
        assert condition.observed_generation <= resource.metadata.generation
    ready = find(found, "Ready")
    beside = {"Reconciling", "Stalled"} & set(types)
    if ready is None:
        assert not types
        return
    assert len(beside) == (0 if ready.status == "True" or _ended(resource) else 1) or (
        _ended(resource) and beside == {"Stalled"}
    ), f"{resource.key}: Ready={ready.status}, beside it {beside}"


def _ended(resource: Resource) -> bool:
    return isinstance(resource, Rental) and resource.phase.final


def conditions_keep_their_dates(before: Resource, after: Resource) -> None:
    """Check that a condition's date moves when its status does, and only then."""
    for condition in getattr(after.status, "conditions", ()):
        was = find(before.status.conditions, condition.type)
        if was is not None and was.status == condition.status:
            assert was.last_transition_time == condition.last_transition_time
