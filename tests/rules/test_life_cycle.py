"""The life of a rental: every row of the design's table, played on the rules alone."""

from datetime import datetime, timedelta

import pytest

from tests.rules.provider import Fault
from tests.rules.stage import SECRET, Stage, condition
from tests.rules.world import MONDAY, RefusedError
from toyrental.payments.models import SETTLE, PaymentPhase
from toyrental.rentals.models import RentalPhase
from toyrental.repairs.models import RepairOutcome, RepairPhase
from toyrental.shared.model import NameRef
from toyrental.shared.money import Currency
from toyrental.shared.resource import Resource
from toyrental.stores.models import (
    Approval,
    BookingState,
    Orders,
    ServiceState,
    Store,
    ToyPhase,
)

PRICE = 10_000
FINAL = {"Cancelled", "Rejected", "Expired", "Completed"}


@pytest.fixture
def stage() -> Stage:
    shop = Stage()
    shop.stock("robot", color="red")
    return shop


def said(stage: Stage, name: str, type_: str) -> tuple[str, str]:
    found = stage.condition(name, type_)
    return found.status, found.reason


def ordered(stage: Stage, name: str = "order", toy: str = "robot", **how: object) -> None:
    stage.order(name, toy, **how)  # type: ignore[arg-type]
    stage.settle()


def paid(stage: Stage, name: str = "order", toy: str = "robot", **how: object) -> None:
    ordered(stage, name, toy, **how)
    assert stage.rental(name).phase is RentalPhase.PAID


def rented(stage: Stage, name: str = "order", toy: str = "robot", **how: object) -> None:
    paid(stage, name, toy, **how)
    stage.approve(name)
    stage.settle()
    assert stage.rental(name).phase is RentalPhase.RENTED


def returned(stage: Stage, name: str = "order", toy: str = "robot") -> None:
    rented(stage, name, toy)
    stage.bring_back(name)
    stage.settle()
    assert stage.rental(name).phase is RentalPhase.RETURNED


def took_nothing(stage: Stage, name: str = "order") -> bool:
    return not stage.provider.of_rental(stage.rental(name).uid)


def gave_all_back(stage: Stage, name: str = "order") -> bool:
    taken = stage.provider.of_rental(stage.rental(name).uid)
    return len(taken) == 1 and taken[0].kept == 0


def ends(stage: Stage, name: str, phase: RentalPhase, reason: str) -> None:
    """Assert that an order ended so, tells why, and holds neither toy nor money."""
    rental = stage.rental(name)
    assert rental.phase is phase
    ready = "True" if phase is RentalPhase.CANCELLED else "False"
    assert said(stage, name, "Ready") == (ready, reason)
    assert said(stage, name, "Booked") == ("False", reason)
    # Who did not pay is not asked to any more
    told = stage.condition(name, "Ready").message
    assert "True" in said(stage, name, "Paid") or stage.condition(name, "Paid").message == told
    assert all(
        toy.booking_of(rental.uid) is None for toy in stage.world.all(type(stage.toy("robot")))
    )
    types = {c.type for c in rental.status.conditions}
    assert "Reconciling" not in types
    assert ("Stalled" in types) == (phase is not RentalPhase.CANCELLED)
    if stage.has_payment(name):
        assert SETTLE not in stage.payment_of(name).metadata.finalizers


# --- Pending ---


def test_r1_r2_an_order_of_a_free_toy_is_reserved_and_its_payment_asked_for(stage: Stage) -> None:
    # Given a provider that cannot be reached
    stage.set_policy(payment_gateway_ref=NameRef(name="elsewhere"))
    # When a customer orders a free toy
    ordered(stage)
    # Then the toy is held for the period
    rental, toy = stage.rental("order"), stage.toy("robot")
    booking = toy.booking_of(rental.uid)
    assert booking is not None
    assert booking.state is BookingState.HELD
    assert (booking.start_time, booking.end_time) == (MONDAY, MONDAY + timedelta(days=2))
    assert toy.status.phase is ToyPhase.RESERVED
    # And the order is Reserved, at a fixed price
    assert rental.phase is RentalPhase.RESERVED
    assert rental.status.toy_ref is not None
    assert rental.status.toy_ref.uid == toy.uid
    assert rental.status.price == toy.spec.daily_rate.times(2)
    assert rental.status.start_time == booking.start_time
    assert rental.status.due_time == booking.end_time
    assert said(stage, "order", "Booked") == ("True", "Booked")
    # And its Payment is there, with the finalizer from birth
    payment = stage.payment_of("order")
    assert payment.spec.amount == rental.status.price
    assert payment.spec.rental_ref.uid == rental.uid
    assert payment.spec.method.token == "good"
    assert payment.metadata.finalizers == (SETTLE,)
    assert payment.owned_by(rental)
    assert rental.status.payment_ref == NameRef(name=payment.name)


def test_r1_with_no_free_toy_the_order_waits_and_says_so(stage: Stage) -> None:
    # Given a toy that is promised
    ordered(stage, "first")
    # When another customer orders it for the same days
    ordered(stage, "second")
    # Then that order stays Pending, with a reason
    assert stage.rental("second").phase is RentalPhase.PENDING
    assert said(stage, "second", "Booked") == ("False", "NoToyAvailable")
    assert said(stage, "second", "Ready") == ("False", "NoToyAvailable")
    assert stage.condition("second", "Reconciling").status == "True"
    assert not stage.has_payment("second")


def test_r1_who_waits_is_served_first_come_first_served(stage: Stage) -> None:
    # Given a promised toy and two who wait for it
    ordered(stage, "first")
    stage.pass_time(seconds=1)
    ordered(stage, "second")
    stage.pass_time(seconds=1)
    ordered(stage, "third")
    # When it frees up
    stage.cancel("first")
    stage.settle()
    # Then the first of them has it, and the other waits on
    assert stage.rental("second").phase is RentalPhase.PAID
    assert stage.rental("third").phase is RentalPhase.PENDING
    assert [b.rental_ref.name for b in stage.toy("robot").status.bookings] == ["second"]


def test_r1_a_selector_finds_any_free_toy_that_matches(stage: Stage) -> None:
    # Given a red toy that is promised, a blue one, and another red one
    ordered(stage, "first")
    stage.stock("boat", color="blue")
    stage.stock("train", color="red")
    # When somebody orders any red one
    stage.order("any", color="red")
    stage.settle()
    # Then it is the free one
    ref = stage.rental("any").status.toy_ref
    assert ref is not None
    assert ref.name == "train"


def test_r1_orders_of_other_days_do_not_collide(stage: Stage) -> None:
    # Given a toy promised for two days from now
    paid(stage, "first")
    # When it is ordered from the moment that ends
    paid(stage, "second", start=MONDAY + timedelta(days=2))
    # Then both have it
    assert len(stage.toy("robot").status.bookings) == 2


def test_r11_an_order_waits_until_its_toy_is_registered(stage: Stage) -> None:
    # Given an order of a toy that nobody has registered
    ordered(stage, toy="boat")
    assert said(stage, "order", "Booked") == ("False", "ToyNotFound")
    # When the owner registers it
    stage.stock("boat")
    stage.settle()
    # Then the order has it
    assert stage.rental("order").phase is RentalPhase.PAID


def test_n2_new_orders_wait_while_orders_are_paused(stage: Stage) -> None:
    # Given a shop that takes no orders, and one taken before
    ordered(stage, "earlier", method="bad")
    stage.set_policy(orders=Orders.PAUSED)
    stage.stock("boat")
    # When an order comes
    ordered(stage, toy="boat")
    # Then it is kept, and says so
    assert stage.rental("order").phase is RentalPhase.PENDING
    assert said(stage, "order", "Booked") == ("False", "OrdersPaused")
    # And the one taken before goes on
    stage.pay_by("earlier", "good")
    stage.settle()
    assert stage.rental("earlier").phase is RentalPhase.PAID
    # And it is served when orders are taken again
    stage.set_policy(orders=Orders.ACCEPTED)
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.PAID


def test_r2_without_a_gateway_only_free_toys_are_rented() -> None:
    # Given a shop without a gateway
    stage = Stage(payment_gateway_ref=None)
    stage.stock("robot")
    stage.stock("ball", rate=0)
    # When a toy with a price and a free one are ordered
    ordered(stage, "dear", "robot")
    ordered(stage, "gift", "ball")
    # Then the first waits and says for whom, and the other goes on
    assert said(stage, "dear", "Booked") == ("False", "NoPaymentGateway")
    assert stage.condition("dear", "Stalled").status == "True"
    assert stage.rental("gift").phase is RentalPhase.PAID


def test_r2_a_toy_in_another_currency_is_not_rented(stage: Stage) -> None:
    # Given a shop whose currency is not that of its toys
    stage.set_policy(currency=Currency.EUR)
    # When one is ordered
    ordered(stage)
    # Then the order waits for the owner
    assert stage.rental("order").phase is RentalPhase.PENDING
    assert said(stage, "order", "Ready") == ("False", "CurrencyMismatch")
    assert "EUR" in stage.condition("order", "Ready").message
    assert stage.condition("order", "Stalled").status == "True"


def test_a_pending_order_whose_period_went_by_is_rejected(stage: Stage) -> None:
    # Given an order that waits for a toy, for a given day
    rented(stage, "first", days=9)
    ordered(stage, start=MONDAY + timedelta(days=1), days=1)
    # When the day has gone by
    stage.pass_time(days=2)
    stage.settle()
    # Then it is rejected
    ends(stage, "order", RentalPhase.REJECTED, "PeriodOver")


# --- Reserved ---


def test_r2_r3_once_paid_and_only_then_the_store_sees_the_order(stage: Stage) -> None:
    # Given an order whose payment is on its way
    stage.set_policy(payment_gateway_ref=NameRef(name="elsewhere"))
    ordered(stage)
    assert said(stage, "order", "Approved") == ("Unknown", "AwaitingPayment")
    assert stage.rental("order").phase is RentalPhase.RESERVED
    # When another is paid
    stage.set_policy(payment_gateway_ref=NameRef(name="till"))
    stage.stock("boat")
    ordered(stage, "other", "boat")
    # Then the store is asked to decide about that one
    assert stage.rental("other").phase is RentalPhase.PAID
    assert said(stage, "other", "Paid") == ("True", "Captured")
    assert said(stage, "other", "Approved") == ("Unknown", "AwaitingDecision")
    assert said(stage, "other", "Ready") == ("False", "AwaitingDecision")
    assert "Paid" in [event.reason for event in stage.told(type(stage.rental("other")), "other")]
    assert [t.charge.amount.minor_units for t in stage.provider.taken] == [PRICE]


def test_r2_a_price_of_0_is_paid_without_a_call(stage: Stage) -> None:
    # Given a free toy
    stage.stock("ball", rate=0)
    # When it is ordered
    paid(stage, toy="ball")
    # Then it is paid, and nobody was asked
    assert stage.payment_of("order").phase is PaymentPhase.CAPTURED
    assert stage.payment_of("order").spec.gateway_ref is None
    assert stage.provider.calls == []


def test_r2b_an_unpaid_order_can_be_neither_approved_nor_denied(stage: Stage) -> None:
    # Given an order that is not paid
    ordered(stage, method="bad")
    # When the owner decides, then the API server refuses
    with pytest.raises(RefusedError):
        stage.approve("order")
    with pytest.raises(RefusedError):
        stage.deny("order")


def test_r2b_not_even_an_automatic_shop_hands_out_what_is_not_paid(stage: Stage) -> None:
    # Given a shop that approves by itself
    stage.set_policy(approval=Approval.AUTOMATIC)
    # When the payment of an order is declined
    ordered(stage, method="bad")
    # Then the toy stays
    assert stage.rental("order").phase is RentalPhase.RESERVED
    assert stage.toy("robot").out is None


def test_r2_a_declined_payment_waits_for_another_method(stage: Stage) -> None:
    # When the payment is declined
    ordered(stage, method="bad")
    # Then the order says what to do, and keeps the toy
    assert stage.rental("order").phase is RentalPhase.RESERVED
    assert said(stage, "order", "Paid") == ("False", "Declined")
    assert said(stage, "order", "Ready") == ("False", "Declined")
    assert "another payment method" in stage.condition("order", "Ready").message
    assert stage.condition("order", "Stalled").status == "True"
    assert stage.toy("robot").status.phase is ToyPhase.RESERVED
    # And a new method makes a new attempt
    stage.pay_by("order", "good")
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.PAID
    uid = stage.payment_of("order").uid
    assert [c for c in stage.provider.calls if "charge" in c] == [
        f"{uid}:charge:1",
        f"{uid}:charge:2",
    ]
    assert stage.payment_of("order").status.attempt == 2


def test_n3_while_the_provider_is_down_the_payment_is_put_off(stage: Stage) -> None:
    # Given an order whose payment cannot be sent
    stage.order("order", "robot")
    payment = take_in_hand_payment(stage)
    stage.operator.act(payment.key, Fault.NOT_SENT)
    stage.operator.act(payment.key)
    stage.operator.cache.catch_up()
    stage.operator.work(stage.rental("order").key)
    # Then the order is kept, and tells when it is tried next
    assert stage.rental("order").phase is RentalPhase.RESERVED
    assert said(stage, "order", "Paid") == ("False", "Deferred")
    again = stage.payment_of("order").status.next_attempt_time
    assert again is not None
    assert f"{again:%H:%M:%SZ}" in stage.condition("order", "Paid").message
    # And it is paid then, with nobody's help
    assert stage.settle() == again
    assert stage.rental("order").phase is RentalPhase.RESERVED
    stage.pass_time(seconds=(again - stage.world.now).total_seconds())
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.PAID


def take_in_hand_payment(stage: Stage) -> Resource:
    """Let the operator book and ask for the payment, and take the charge in hand."""
    stage.operator.cache.catch_up()
    stage.operator.work(stage.rental("order").key)
    payment = stage.payment_of("order")
    stage.operator.look(payment.key)
    return payment


def test_n2_while_payments_are_not_running_the_order_says_so(stage: Stage) -> None:
    # Given an order that only rentals see
    stage.order("order", "robot")
    stage.operator.cache.catch_up()
    _, again = stage.operator.work(stage.rental("order").key)
    assert said(stage, "order", "Paid") == ("Unknown", "AwaitingPayment")
    # When nobody looks at its Payment for a while
    assert again is not None
    stage.pass_time(seconds=(again - stage.world.now).total_seconds())
    stage.operator.work(stage.rental("order").key)
    # Then the order says so, and is paid when payments run again
    assert said(stage, "order", "Paid") == ("False", "Deferred")
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.PAID


def test_an_order_expires_once_the_customers_time_to_act_is_up(stage: Stage) -> None:
    # Given an order whose payment was declined
    ordered(stage, method="bad")
    # When the deadline passes
    stage.pass_time(seconds=1799)
    assert stage.settle() == MONDAY + timedelta(seconds=1800)
    assert stage.rental("order").phase is RentalPhase.RESERVED
    stage.pass_time(seconds=1)
    before = len(stage.world.writes)
    stage.settle()
    # Then the Payment is told first never to charge, and then the order expires
    written = [write.after.key.kind for _, write in stage.world.writes[before:]]
    assert written.index("Payment") < written.index("Rental")
    ends(stage, "order", RentalPhase.EXPIRED, "Expired")
    assert stage.payment_of("order").phase is PaymentPhase.VOIDED
    assert stage.payment_of("order").withheld
    assert took_nothing(stage)


def test_an_order_whose_secret_is_missing_expires_too(stage: Stage) -> None:
    # Given an order that names a Secret which is not there
    ordered(stage, method=SECRET)
    assert said(stage, "order", "Paid") == ("False", "MethodMissing")
    assert stage.condition("order", "Stalled").status == "True"
    # When the deadline passes
    stage.pass_time(seconds=1800)
    again = stage.settle()
    # Then the order expires, and the payment is called off after two look-ups
    assert stage.rental("order").phase is RentalPhase.EXPIRED
    while again is not None:
        stage.pass_time(seconds=(again - stage.world.now).total_seconds())
        again = stage.settle()
    ends(stage, "order", RentalPhase.EXPIRED, "Expired")
    assert stage.payment_of("order").phase is PaymentPhase.VOIDED


def test_the_deadline_runs_only_while_the_customer_must_act(stage: Stage) -> None:
    # Given an order whose payment the shop cannot take
    stage.order("order", "robot")
    payment = take_in_hand_payment(stage)
    stage.operator.act(payment.key, Fault.UNAUTHORIZED)
    stage.operator.act(payment.key)
    # When far more than the deadline passes, with the fault still there
    for _ in range(20):
        stage.pass_time(hours=1)
        stage.operator.cache.catch_up()
        stage.operator.work(stage.rental("order").key)
        stage.operator.look(payment.key)
        stage.operator.act(payment.key, Fault.UNAUTHORIZED)
        stage.operator.act(payment.key)
    # Then the order has not expired
    assert stage.rental("order").phase is RentalPhase.RESERVED
    assert said(stage, "order", "Paid") == ("False", "Deferred")


def test_n3_a_payment_put_off_for_longer_than_the_window_still_leads_to_a_rental(
    stage: Stage,
) -> None:
    # Given an order for two days from now, whose payment was put off for three
    stage.order("order", "robot")
    payment = take_in_hand_payment(stage)
    stage.operator.act(payment.key, Fault.NOT_SENT)
    stage.operator.act(payment.key)
    stage.pass_time(days=3)
    # When the provider is back
    stage.settle()
    # Then the order is promised the toy anew, and is paid
    assert stage.rental("order").phase is RentalPhase.PAID
    assert stage.rental("order").status.due_time == stage.world.now + timedelta(days=2)
    # And can be approved
    stage.approve("order")
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.RENTED


# --- Paid ---


def test_r4_an_approved_order_whose_time_has_come_gets_its_toy(stage: Stage) -> None:
    # Given a paid order
    paid(stage)
    stage.pass_time(hours=3)
    # When the owner approves it
    stage.approve("order")
    stage.settle()
    # Then the customer has the toy, and the window is counted from now
    rental, toy = stage.rental("order"), stage.toy("robot")
    assert rental.phase is RentalPhase.RENTED
    assert toy.status.phase is ToyPhase.RENTED
    assert toy.out is not None
    assert toy.out.rental_uid == rental.uid
    assert toy.out.start_time == rental.status.start_time == stage.world.now
    assert rental.status.due_time == stage.world.now + timedelta(days=2)
    assert said(stage, "order", "Approved") == ("True", "Approved")
    assert said(stage, "order", "Ready") == ("True", "Rented")
    assert [e.reason for e in stage.told(type(rental), "order")] == ["Reserved", "Paid", "Rented"]


def test_r4_an_automatic_shop_approves_what_is_paid(stage: Stage) -> None:
    # Given a shop that approves by itself
    stage.set_policy(approval=Approval.AUTOMATIC)
    # When an order is paid
    ordered(stage)
    # Then the customer has the toy
    assert stage.rental("order").phase is RentalPhase.RENTED
    assert said(stage, "order", "Approved") == ("True", "Automatic")


def test_r4_orders_that_wait_are_approved_when_the_shop_becomes_automatic(stage: Stage) -> None:
    # Given a paid order
    paid(stage)
    # When the shop begins to approve by itself
    stage.set_policy(approval=Approval.AUTOMATIC)
    stage.settle()
    # Then it is approved, and stays so when the shop turns back
    assert stage.rental("order").phase is RentalPhase.RENTED
    stage.set_policy(approval=Approval.MANUAL)
    stage.settle()
    assert said(stage, "order", "Approved") == ("True", "Automatic")


def test_a_hand_over_that_shifts_the_window_moves_who_it_collides_with(stage: Stage) -> None:
    # Given a paid order of two days, and another of the days right after it, by selector
    stage.stock("train", color="red")
    stage.order("order", color="red")
    stage.settle()
    ref = stage.rental("order").status.toy_ref
    assert ref is not None
    paid(stage, "later", toy=ref.name, start=MONDAY + timedelta(days=2))
    stage.order("any", color="red", start=MONDAY + timedelta(days=4), days=1)
    stage.settle()
    # When it is handed over a day late
    stage.pass_time(days=1)
    stage.approve("order")
    stage.settle()
    # Then the other, which wants that very toy, lost its promise and waits
    assert stage.rental("order").phase is RentalPhase.RENTED
    assert stage.rental("later").phase is RentalPhase.PAID
    assert stage.rental("later").status.toy_ref is None
    assert said(stage, "later", "Booked") == ("False", "NoToyAvailable")


def test_r4_approved_before_its_time_an_order_waits_for_it(stage: Stage) -> None:
    # Given a paid order for tomorrow
    start = MONDAY + timedelta(days=1)
    paid(stage, start=start)
    # When it is approved today
    stage.approve("order")
    again = stage.settle()
    # Then it is Approved, and waits
    assert stage.rental("order").phase is RentalPhase.APPROVED
    assert said(stage, "order", "Ready") == ("False", "AwaitingStart")
    assert again == start
    # And tomorrow the customer has the toy, for the days that were asked for
    stage.pass_time(days=1, minutes=5)
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.RENTED
    assert stage.rental("order").status.start_time == start
    assert stage.rental("order").status.due_time == start + timedelta(days=2)


def approved_for(stage: Stage, start: datetime, toy: str | None = None, **labels: str) -> None:
    stage.order("order", toy, start=start, days=2, method="good", **labels)
    stage.settle()
    stage.approve("order")
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.APPROVED


def test_an_approved_order_whose_toy_is_late_moves_to_another_that_matches(stage: Stage) -> None:
    # Given a toy that is out, and promised to another from tomorrow
    rented(stage, "first", days=1)
    start = MONDAY + timedelta(days=1)
    approved_for(stage, start, color="red")
    # When tomorrow comes, the toy is late, and another one matches
    stage.stock("train", color="red")
    stage.pass_time(days=1)
    stage.settle()
    # Then it moves
    ref = stage.rental("order").status.toy_ref
    assert ref is not None
    assert ref.name == "train"
    assert stage.rental("order").phase is RentalPhase.RENTED
    assert [b.rental_ref.name for b in stage.toy("robot").status.bookings] == ["first"]
    # And it costs what it did
    assert stage.rental("order").status.price == stage.toy("robot").spec.daily_rate.times(2)


@pytest.mark.parametrize("back", [False, True], ids=["still out", "back and not inspected"])
def test_an_approved_order_with_no_toy_by_its_start_is_rejected(stage: Stage, back: bool) -> None:
    # Given a toy that is out, and promised to another from tomorrow
    rented(stage, "first", days=1)
    start = MONDAY + timedelta(days=1)
    approved_for(stage, start, toy="robot")
    if back:
        stage.bring_back("first")
        stage.settle()
    # When tomorrow comes and there is no other
    stage.pass_time(days=1)
    stage.settle()
    # Then it is rejected, and the money goes back
    ends(stage, "order", RentalPhase.REJECTED, "ToyUnavailable")
    assert gave_all_back(stage)
    assert said(stage, "order", "Approved") == ("True", "Approved")


def test_an_approved_order_waits_for_a_toy_in_repair_until_its_start(stage: Stage) -> None:
    # Given an approved order for tomorrow, of a toy that goes to repair today
    start = MONDAY + timedelta(days=1)
    approved_for(stage, start, toy="robot")
    stage.open_ticket("ticket", "robot")
    stage.settle()
    assert said(stage, "order", "Booked") == ("False", "ToyOutOfService")
    assert stage.rental("order").phase is RentalPhase.APPROVED
    # When it is repaired in time
    stage.end_repair("ticket", RepairOutcome.REPAIRED)
    stage.settle()
    assert said(stage, "order", "Booked") == ("True", "Booked")
    stage.pass_time(days=1)
    stage.settle()
    # Then the customer has it
    assert stage.rental("order").phase is RentalPhase.RENTED


def test_an_approved_order_whose_toy_is_not_repaired_by_its_start_is_rejected(stage: Stage) -> None:
    # Given an approved order for tomorrow, of a toy that goes to repair today
    start = MONDAY + timedelta(days=1)
    approved_for(stage, start, toy="robot")
    stage.open_ticket("ticket", "robot")
    stage.settle()
    # When it is not repaired by then
    stage.pass_time(days=1)
    stage.settle()
    # Then the order is rejected
    ends(stage, "order", RentalPhase.REJECTED, "ToyUnavailable")
    assert gave_all_back(stage)


def test_r4_a_denied_order_is_rejected_and_refunded(stage: Stage) -> None:
    # Given a paid order
    paid(stage)
    # When the owner denies it
    stage.deny("order", "we are closed that day")
    stage.settle()
    # Then it is rejected with the reason, and the money goes back
    ends(stage, "order", RentalPhase.REJECTED, "Denied")
    assert "closed that day" in stage.condition("order", "Ready").message
    assert said(stage, "order", "Approved") == ("False", "Denied")
    assert gave_all_back(stage)
    assert stage.told(type(stage.rental("order")), "order")[-1].type == "Warning"


@pytest.mark.parametrize("start", [None, MONDAY], ids=["at once", "from a given time"])
def test_without_a_decision_by_the_end_of_its_period_an_order_is_rejected(
    stage: Stage, start: datetime | None
) -> None:
    # Given a paid order
    paid(stage, start=start)
    # When its period goes by and the owner says nothing
    stage.pass_time(hours=47)
    again = stage.settle()
    assert stage.rental("order").phase is RentalPhase.PAID
    assert again == MONDAY + timedelta(days=2)
    stage.pass_time(hours=1)
    stage.settle()
    # Then it is rejected, and the money goes back
    ends(stage, "order", RentalPhase.REJECTED, "NoDecision")
    assert gave_all_back(stage)


# --- Cancelled ---


def test_r5_r6_r7_an_order_that_waits_is_cancelled(stage: Stage) -> None:
    # Given an order that waits in line
    ordered(stage, "first")
    ordered(stage)
    # When the customer cancels
    stage.cancel("order")
    stage.settle()
    # Then it is Cancelled
    ends(stage, "order", RentalPhase.CANCELLED, "Cancelled")
    assert took_nothing(stage)


def test_r5_r6_r7_an_unpaid_order_is_cancelled_and_never_charged(stage: Stage) -> None:
    # Given an order whose payment was declined
    ordered(stage, method="bad")
    # When the customer cancels
    stage.cancel("order")
    stage.settle()
    # Then the payment is void, and the toy free
    ends(stage, "order", RentalPhase.CANCELLED, "Cancelled")
    assert stage.payment_of("order").phase is PaymentPhase.VOIDED
    assert took_nothing(stage)
    assert stage.toy("robot").status.phase is ToyPhase.AVAILABLE


def test_r5_r6_r7_a_paid_order_is_cancelled_and_refunded(stage: Stage) -> None:
    # Given a paid order
    paid(stage)
    # When the customer cancels
    stage.cancel("order")
    stage.settle()
    # Then the money goes back, and the toy is free
    ends(stage, "order", RentalPhase.CANCELLED, "Cancelled")
    assert stage.payment_of("order").phase is PaymentPhase.REFUNDED
    assert gave_all_back(stage)
    assert stage.toy("robot").status.phase is ToyPhase.AVAILABLE
    assert said(stage, "order", "Approved") == ("False", "Cancelled")


def test_r5_an_approved_order_cannot_be_cancelled_nor_a_cancelled_one_approved(
    stage: Stage,
) -> None:
    # Given two paid orders
    paid(stage)
    stage.stock("boat")
    paid(stage, "other", "boat")
    # When one is approved and the other cancelled, before the operator sees either
    stage.approve("order")
    stage.cancel("other")
    # Then neither can be turned
    with pytest.raises(RefusedError):
        stage.cancel("order")
    with pytest.raises(RefusedError):
        stage.approve("other")


# --- Rented and returned ---


def test_a_toy_that_is_late_is_overdue_and_not_offered(stage: Stage) -> None:
    # Given a rented toy
    rented(stage)
    booking = stage.toy("robot").out
    # When it is not back by its due time
    stage.pass_time(days=2)
    again = stage.settle()
    assert said(stage, "order", "Overdue") == ("False", "NotDue")
    assert again == stage.world.now + timedelta(seconds=1)
    stage.pass_time(seconds=1)
    stage.settle()
    # Then the order says so, and the booking is as it was
    assert said(stage, "order", "Overdue") == ("True", "Overdue")
    assert said(stage, "order", "Ready") == ("True", "Overdue")
    assert stage.toy("robot").out == booking
    # And nobody else is promised the toy, for whatever day
    ordered(stage, "now")
    ordered(stage, "next month", start=stage.world.now + timedelta(days=30))
    assert stage.rental("now").phase is RentalPhase.PENDING
    assert stage.rental("next month").phase is RentalPhase.PENDING


def test_r8_r9_a_returned_toy_waits_for_inspection_and_is_not_offered(stage: Stage) -> None:
    # Given a rented toy, which another customer waits for
    rented(stage)
    ordered(stage, "next")
    # When the customer brings it back
    stage.bring_back("order")
    stage.settle()
    # Then the store is told, and nobody else has it
    assert stage.rental("order").phase is RentalPhase.RETURNED
    assert said(stage, "order", "Returned") == ("True", "Returned")
    assert said(stage, "order", "Inspected") == ("Unknown", "AwaitingInspection")
    assert said(stage, "order", "Ready") == ("False", "AwaitingInspection")
    assert stage.toy("robot").status.phase is ToyPhase.RETURNED
    assert stage.rental("next").phase is RentalPhase.PENDING


def test_r13_an_accepted_toy_is_available_and_the_order_completed(stage: Stage) -> None:
    # Given a toy that is back, which another customer waits for
    returned(stage)
    # When the owner accepts it
    stage.accept("order")
    stage.settle()
    # Then the order is Completed, and paid
    assert stage.rental("order").phase is RentalPhase.COMPLETED
    assert said(stage, "order", "Inspected") == ("True", "Accepted")
    assert said(stage, "order", "Ready") == ("True", "Completed")
    assert stage.provider.taken[0].kept == PRICE
    assert stage.payment_of("order").metadata.finalizers == ()
    # And the toy is available
    toy = stage.toy("robot")
    assert toy.status.phase is ToyPhase.AVAILABLE
    assert toy.status.bookings == ()
    assert toy.status.completed_rentals == 1


def test_r12_a_damaged_toy_gets_a_ticket_and_leaves_the_shelf_in_one_write(stage: Stage) -> None:
    # Given a toy that is back
    returned(stage)
    rental, before = stage.rental("order"), len(stage.world.writes)
    # When the owner finds damage, and a piece missing
    stage.find_damage("order", "a wheel is off", missing="wheel")
    stage.settle()
    # Then a ticket is opened first, named by the order's uid, and belongs to the toy
    kinds = [write.after.key.kind for _, write in stage.world.writes[before:]]
    assert kinds[0] == "RepairTicket"
    ticket = stage.ticket_of("order")
    assert ticket.name == rental.uid
    assert ticket.owned_by(stage.toy("robot"))
    assert ticket.spec.description == "a wheel is off\nMissing: 1 x wheel"
    # And one write removes the booking and names the ticket
    toys = [w for _, w in stage.world.writes[before:] if w.after.key.kind == "Toy"]
    assert len(toys) == 1
    toy = stage.toy("robot")
    assert toy.status.bookings == ()
    assert toy.status.service.state is ServiceState.DAMAGED
    assert toy.status.service.ticket_ref is not None
    assert toy.status.service.ticket_ref.uid == ticket.uid
    assert toy.status.phase is ToyPhase.DAMAGED
    assert condition(toy, "InService").status == "False"
    # And the order is Completed
    assert stage.rental("order").phase is RentalPhase.COMPLETED
    assert said(stage, "order", "Inspected") == ("True", "Damaged")


def test_r12_bookings_of_a_damaged_toy_move_or_wait(stage: Stage) -> None:
    # Given a toy that is back, promised to two others on other days, one of any red toy
    returned(stage)
    stage.order("any", start=MONDAY + timedelta(days=4), color="red")
    stage.order("this", "robot", start=MONDAY + timedelta(days=8))
    stage.settle()
    assert stage.rental("this").phase is RentalPhase.PENDING
    stage.accept("order")
    stage.settle()
    stage.order("mine", "robot")
    stage.settle()
    stage.approve("mine")
    stage.settle()
    stage.bring_back("mine")
    stage.settle()
    stage.stock("train", color="red")
    # When it is found damaged
    stage.find_damage("mine")
    stage.settle()
    # Then one moves to another, and the other waits for this one
    moved = stage.rental("any").status.toy_ref
    assert moved is not None
    assert moved.name == "train"
    assert stage.rental("any").phase is RentalPhase.PAID
    assert said(stage, "this", "Booked") == ("False", "ToyOutOfService")
    assert [b.rental_ref.name for b in stage.toy("robot").status.bookings] == ["this"]


def test_r14_r15_a_repaired_toy_is_available_again(stage: Stage) -> None:
    # Given a damaged toy, which another customer waits for
    returned(stage)
    stage.find_damage("order")
    stage.settle()
    ordered(stage, "next")
    ticket = stage.ticket_of("order").name
    assert stage.ticket_of("order").phase is RepairPhase.OPEN
    # When a repairer takes it on
    stage.assign(ticket)
    stage.settle()
    # Then the toy is in repair
    assert stage.ticket_of("order").phase is RepairPhase.IN_REPAIR
    assert stage.toy("robot").status.phase is ToyPhase.IN_REPAIR
    # When it is repaired
    stage.end_repair(ticket, RepairOutcome.REPAIRED)
    stage.settle()
    # Then the store is told, and the next customer has it
    assert stage.ticket_of("order").phase is RepairPhase.REPAIRED
    assert stage.toy("robot").in_service
    assert "Repaired" in [e.reason for e in stage.told(type(stage.toy("robot")), "robot")]
    assert stage.rental("next").phase is RentalPhase.PAID


def test_r16_r17_a_discarded_toy_is_out_of_stock_for_good(stage: Stage) -> None:
    # Given a damaged toy
    returned(stage)
    stage.find_damage("order")
    stage.settle()
    # When the repairer discards it
    stage.end_repair(stage.ticket_of("order").name, RepairOutcome.DISCARDED)
    stage.settle()
    # Then it is out of stock
    assert stage.ticket_of("order").phase is RepairPhase.DISCARDED
    assert stage.toy("robot").status.phase is ToyPhase.DISCARDED
    # And no ticket brings it back
    stage.open_ticket("again", "robot")
    stage.settle()
    assert stage.toy("robot").status.phase is ToyPhase.DISCARDED
    ordered(stage, "next")
    assert stage.rental("next").phase is RentalPhase.PENDING


def test_r17_an_order_of_a_toy_that_is_discarded_is_rejected_and_refunded(stage: Stage) -> None:
    # Given a paid order of a toy
    paid(stage)
    # When that very toy is discarded
    stage.open_ticket("ticket", "robot")
    stage.end_repair("ticket", RepairOutcome.DISCARDED)
    stage.settle()
    # Then the order is rejected
    ends(stage, "order", RentalPhase.REJECTED, "ToyUnavailable")
    assert gave_all_back(stage)


# --- After the end ---


def test_history_can_be_deleted_without_a_refund(stage: Stage) -> None:
    # Given a completed order
    returned(stage)
    stage.accept("order")
    stage.settle()
    # When it is deleted, and its Payment with it
    stage.world.delete(type(stage.rental("order")), "order", "the owner")
    stage.settle()
    # Then the shop keeps the money
    assert stage.provider.taken[0].kept == PRICE
    assert {found.key.kind for found in stage.world.objects()} == {"PaymentGateway", "Store", "Toy"}


def test_an_order_deleted_before_its_end_gives_toy_and_money_back(stage: Stage) -> None:
    # Given a paid order
    paid(stage)
    # When it is deleted
    stage.world.delete(type(stage.rental("order")), "order", "the owner")
    stage.settle()
    # Then money and toy are back
    assert stage.provider.taken[0].kept == 0
    assert stage.toy("robot").status.phase is ToyPhase.AVAILABLE
    assert {found.key.kind for found in stage.world.objects()} == {"PaymentGateway", "Store", "Toy"}


def test_a_whole_life_costs_the_operator_12_writes(stage: Stage) -> None:
    # Given a shop at rest
    stage.settle()
    before = len(stage.world.writes)
    # When an order lives its whole life
    returned(stage)
    stage.accept("order")
    stage.settle()
    # Then 4 writes are of the toy, 5 of the rental, 3 of the payment
    kinds = [write.after.key.kind for _, write in stage.world.writes[before:]]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"Toy": 4, "Rental": 5, "Payment": 3}
    # And nothing is left to do
    before = len(stage.world.writes)
    stage.pass_time(days=400)
    stage.settle()
    assert len(stage.world.writes) == before


def test_a_life_in_an_automatic_shop_costs_no_more(stage: Stage) -> None:
    # Given a shop that approves by itself, at rest
    stage.set_policy(approval=Approval.AUTOMATIC)
    stage.settle()
    before = len(stage.world.writes)
    # When an order lives its whole life
    ordered(stage)
    stage.bring_back("order")
    stage.settle()
    stage.accept("order")
    stage.settle()
    # Then it took 12 writes
    assert stage.rental("order").phase is RentalPhase.COMPLETED
    assert len(stage.world.writes) - before == 12


def test_a_shop_without_a_store_uses_the_defaults(stage: Stage) -> None:
    # Given a shop whose Store is gone
    stage.stock("ball", rate=0)
    stage.world.delete(Store, "default", "the owner")
    # When a free toy and one with a price are ordered
    paid(stage, "gift", "ball")
    ordered(stage, "dear", "robot")
    # Then the owner approves by hand, and a price waits for a gateway
    assert said(stage, "gift", "Approved") == ("Unknown", "AwaitingDecision")
    assert said(stage, "dear", "Ready") == ("False", "NoPaymentGateway")
