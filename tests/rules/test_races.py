"""What went wrong once, or would without a rule easily lost: races, crashes, stale caches."""

from datetime import timedelta

import pytest

from tests.rules.operators import Operator
from tests.rules.provider import Fault
from tests.rules.stage import SECRET, Stage, run_to_rest
from tests.rules.world import MONDAY, RefusedError
from toyrental.payments.models import SETTLE, Payment, PaymentPhase
from toyrental.payments.situation import SendCharge
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairPhase, RepairTicket
from toyrental.shared.conditions import is_true
from toyrental.shared.model import NameRef
from toyrental.shared.resource import Key
from toyrental.stores.models import Approval, BookingState, Toy


@pytest.fixture
def stage() -> Stage:
    shop = Stage()
    shop.stock("robot", color="red")
    shop.settle()
    return shop


def key_of(stage: Stage, name: str = "order") -> Key:
    return stage.rental(name).key


def see_all(operator: Operator) -> Operator:
    operator.cache.catch_up()
    return operator


def paid(stage: Stage, toy: str = "robot", name: str = "order") -> None:
    stage.order(name, toy)
    stage.settle()
    assert stage.rental(name).phase is RentalPhase.PAID


def wait_for_all(stage: Stage, most: int = 50) -> None:
    """Let time pass, as long as somebody wants to look again at a payment."""
    for _ in range(most):
        again = stage.settle()
        payments = stage.world.all(Payment)
        if again is None or all(SETTLE not in p.metadata.finalizers for p in payments):
            return
        stage.world.now = max(again, stage.world.now)
        stage.pass_time()
    raise AssertionError("no end")


# --- The hand-over ---


def test_an_automatic_approval_is_on_record_before_the_toy_goes_out(stage: Stage) -> None:
    # Given an automatic shop, and an operator that is about to hand a paid order its toy
    stage.set_policy(approval=Approval.AUTOMATIC)
    stage.order("order", "robot")
    operator = see_all(stage.operator)
    for _ in range(20):
        operator.cache.catch_up()
        for key in operator.cache.reconciled():
            if key not in operator.in_hand:
                operator.look(key)
            if key in operator.in_hand and "Out" not in str(operator.in_hand[key].step):
                operator.act(key)
    assert stage.rental("order").phase is RentalPhase.APPROVED
    # When the customer cancels right then
    # Then it is too late: cancelled and handed over exclude each other
    with pytest.raises(RefusedError):
        stage.cancel("order")
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.RENTED


def test_a_cancellation_before_an_automatic_approval_wins(stage: Stage) -> None:
    # Given a paid order in a shop that becomes automatic, and an operator about to approve it
    paid(stage)
    stage.set_policy(approval=Approval.AUTOMATIC)
    operator = see_all(stage.operator)
    operator.look(key_of(stage))
    # When the customer cancels first
    stage.cancel("order")
    operator.act(key_of(stage))
    stage.settle()
    # Then the order is cancelled, and the toy never went out
    assert stage.rental("order").phase is RentalPhase.CANCELLED
    assert stage.toy("robot").status.bookings == ()
    assert not is_true(stage.rental("order").status.conditions, "Approved")


def test_a_hand_over_interrupted_for_longer_than_the_period_stands(stage: Stage) -> None:
    # Given an approved order whose toy went out, and a crash before that was noted
    stage.order("order", "robot", start=MONDAY)
    stage.settle()
    stage.approve("order")
    operator = see_all(stage.operator)
    operator.look(key_of(stage))
    operator.act(key_of(stage))
    assert stage.toy("robot").out is not None
    operator.crash()
    # When the operator is back after the period
    stage.pass_time(days=5)
    stage.settle()
    # Then the customer has the toy, late as they are
    assert stage.rental("order").phase is RentalPhase.RENTED
    assert is_true(stage.rental("order").status.conditions, "Overdue")


def test_a_hand_over_beats_a_denial_that_comes_after_it(stage: Stage) -> None:
    # Given an automatic shop and a toy that went out, which is not noted yet
    paid(stage)
    stage.set_policy(approval=Approval.AUTOMATIC)
    operator = see_all(stage.operator)
    for _ in range(2):
        operator.look(key_of(stage))
        operator.act(key_of(stage))
    assert stage.toy("robot").out is not None
    # When the owner denies
    stage.deny("order")
    stage.settle()
    # Then it is too late
    assert stage.rental("order").phase is RentalPhase.RENTED


def test_a_hand_over_decided_before_a_move_is_taken_up(stage: Stage) -> None:
    # Given an approved order, and an operator about to hand its toy over at the last moment
    stage.stock("train", color="red")
    stage.order("order", color="red", days=1)
    stage.settle()
    stage.approve("order")
    slow = see_all(stage.another_operator("slow"))
    slow.look(key_of(stage))
    first = stage.rental("order").status.toy_ref
    assert first is not None
    # When another moves the order, as its window has gone by, and then the first one writes
    stage.pass_time(days=1)
    quick = see_all(stage.operator)
    quick.look(key_of(stage))
    quick.act(key_of(stage))
    assert stage.rental("order").status.toy_ref is None
    slow.act(key_of(stage))
    run_to_rest(stage.world, [slow, quick])
    # Then the order takes up the toy that is out, and holds no other
    ref = stage.rental("order").status.toy_ref
    assert ref == first
    assert stage.rental("order").phase is RentalPhase.RENTED
    uid = stage.rental("order").uid
    assert [t.name for t in stage.world.all(Toy) if t.booking_of(uid)] == [first.name]


# --- The window ---


def test_a_payment_later_than_the_window_leaves_the_store_time_to_decide(stage: Stage) -> None:
    # Given an order whose payment is put off until its window has gone by, and whose toy is
    # promised to another by then
    stage.order("order", "robot", days=1)
    operator = see_all(stage.operator)
    operator.work(key_of(stage))
    payment = stage.payment_of("order").key
    operator.look(payment)
    operator.act(payment, Fault.NOT_SENT)
    operator.act(payment)
    stage.order("other", "robot", start=MONDAY + timedelta(days=1), days=3)
    stage.settle()
    stage.pass_time(days=1, minutes=1)
    # When it is paid
    stage.settle()
    # Then the store has as long to decide as the period is
    assert stage.rental("order").phase is RentalPhase.PAID
    stage.pass_time(hours=23)
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.PAID
    stage.pass_time(hours=1)
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.REJECTED


def test_a_cancellation_at_the_last_moment_is_no_missing_decision(stage: Stage) -> None:
    # Given a paid order that its customer cancels while the operator is down
    paid(stage)
    stage.cancel("order")
    # When the operator is back after the period
    stage.pass_time(days=3)
    stage.settle()
    # Then it is cancelled, as the customer wanted
    assert stage.rental("order").phase is RentalPhase.CANCELLED


# --- The payment ---


def test_a_payment_deleted_while_its_rental_lives_ends_the_rental(stage: Stage) -> None:
    # Given a paid order
    paid(stage)
    uid = stage.rental("order").uid
    # When somebody deletes its Payment, and only payments run
    stage.world.delete(Payment, stage.payment_of("order").name, "the owner")
    name = stage.rental("order").payment_name
    for _ in range(5):
        see_all(stage.operator).work(Key("Payment", "shop", name))
    # Then the money is back, and the Payment stays until the rental knows
    assert stage.provider.taken[0].kept == 0
    assert stage.payment_of("order").phase is PaymentPhase.REFUNDED
    # And the order ends, charged once and not again
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.REJECTED
    assert not stage.has_payment("order")
    assert len(stage.provider.of_rental(uid)) == 1


def test_an_unpaid_payment_that_is_deleted_is_not_made_anew(stage: Stage) -> None:
    # Given an order whose payment was declined
    stage.order("order", "robot", method="bad")
    stage.settle()
    # When somebody deletes the Payment
    stage.world.delete(Payment, stage.payment_of("order").name, "the owner")
    stage.settle()
    # Then the order ends
    assert stage.rental("order").phase is RentalPhase.REJECTED
    assert not stage.has_payment("order")


def test_a_free_payment_that_is_deleted_at_birth_goes(stage: Stage) -> None:
    # Given the Payment of a free order, which nobody has looked at
    stage.stock("ball", rate=0)
    stage.order("order", "ball")
    see_all(stage.operator).work(key_of(stage))
    # When it is deleted
    stage.world.delete(Payment, stage.payment_of("order").name, "the owner")
    stage.settle()
    # Then it does not wait for a provider that it has not got
    assert all(not p.deleting for p in stage.world.all(Payment))


def test_a_namesakes_completed_rental_does_not_earn_a_payment(stage: Stage) -> None:
    # Given an order that is deleted while it is paid, and a namesake that is completed
    stage.stock("boat")
    paid(stage)
    stage.world.delete(Rental, "order", "the owner")
    first = stage.provider.taken[0]
    stage.order("order", "boat")
    stage.settle()
    stage.approve("order")
    stage.settle()
    stage.bring_back("order")
    stage.accept("order")
    stage.settle()
    # Then the first one's money is back, the other's is kept
    assert first.kept == 0
    assert [taken.kept for taken in stage.provider.taken] == [0, 10_000]


def test_an_order_completes_after_its_partial_refund_so_that_pruning_gives_no_more_back(
    stage: Stage,
) -> None:
    # Given a toy that is back, and a partial refund that the provider does not answer
    paid(stage)
    stage.approve("order")
    stage.settle()
    stage.bring_back("order")
    stage.settle()
    stage.refund(stage.payment_of("order").name, 3_000)
    operator, payment = see_all(stage.operator), stage.payment_of("order").key
    operator.look(payment)
    operator.act(payment)
    operator.look(payment)
    operator.act(payment, Fault.LOST_BEFORE)
    operator.act(payment)
    # When the owner accepts the toy
    stage.accept("order")
    stage.settle()
    # Then the toy is free at once, and the order waits for the refund and says so
    assert stage.toy("robot").status.bookings == ()
    assert stage.rental("order").phase is RentalPhase.RETURNED
    assert stage.condition("order", "Ready").reason == "Refunding"
    assert stage.condition("order", "Inspected").status == "True"
    # And completes after it; deleted then, it gives no more back
    wait_for_all(stage)
    assert stage.rental("order").phase is RentalPhase.COMPLETED
    stage.world.delete(Rental, "order", "the owner")
    stage.settle()
    assert stage.provider.taken[0].kept == 7_000


def test_an_order_is_not_completed_on_an_old_view_of_its_payment(stage: Stage) -> None:
    # Given an operator that has not seen the Payment of an order, whose toy is inspected
    paid(stage)
    late = stage.another_operator("late")
    stage.approve("order")
    stage.settle()
    stage.bring_back("order")
    stage.settle()
    stage.accept("order")
    late.cache.catch_up(["Toy", "Rental", "Store"])
    # When it goes as far as it can
    late.work(key_of(stage))
    # Then the Payment was let go before the order was completed
    assert stage.rental("order").phase is RentalPhase.COMPLETED
    assert SETTLE not in stage.payment_of("order").metadata.finalizers


def test_a_refund_under_way_keeps_a_payment_from_going(stage: Stage) -> None:
    # Given a rented toy, whose Payment somebody deletes, and a refund that is on its way
    paid(stage)
    stage.approve("order")
    stage.settle()
    payment = stage.payment_of("order").key
    stage.world.delete(Payment, payment.name, "the owner")
    operator = see_all(stage.operator)
    operator.look(payment)
    operator.act(payment)
    operator.look(payment)
    operator.act(payment, Fault.LOST_AFTER)
    # When the order completes before the answer is known
    operator.crash()
    stage.bring_back("order")
    stage.accept("order")
    for _ in range(6):
        see_all(operator).work(key_of(stage))
    assert stage.rental("order").phase is RentalPhase.COMPLETED
    # Then the Payment goes only after it is
    see_all(operator).look(payment)
    assert isinstance(operator.in_hand[payment].step, object)
    wait_for_all(stage)
    taken = stage.provider.taken[0]
    assert (taken.kept, list(taken.given_back)) == (0, [1])


def test_a_charge_is_not_sent_on_an_old_view_of_a_payment_called_off(stage: Stage) -> None:
    # Given a payment that two operators know as put off
    stage.order("order", "robot")
    see_all(stage.operator).work(key_of(stage))
    payment = stage.payment_of("order").key
    stage.operator.look(payment)
    stage.operator.act(payment, Fault.NOT_SENT)
    stage.operator.act(payment)
    blind = see_all(stage.another_operator("blind"))
    # When the customer cancels, and one operator makes sure that nothing is charged
    stage.cancel("order")
    wait_for_all(stage)
    assert stage.payment_of("order").phase is PaymentPhase.VOIDED
    # Then the other, which saw nothing of it, does not charge
    step = blind.decide(payment)
    assert isinstance(step, SendCharge)
    assert step.confirm == (payment,)
    blind.work(payment)
    assert stage.provider.taken == []


def test_the_end_of_a_review_holds_for_one_review_only(stage: Stage) -> None:
    # Given a payment in review, which was not charged, and a person who says so
    stage.order("order", "robot")
    see_all(stage.operator).work(key_of(stage))
    payment = stage.payment_of("order")
    stage.operator.look(payment.key)
    stage.operator.act(payment.key, Fault.REFUSED)
    stage.operator.act(payment.key)
    assert stage.payment_of("order").phase is PaymentPhase.MANUAL_REVIEW
    stage.resolve_review(payment.name)
    stage.settle()
    assert stage.payment_of("order").phase is PaymentPhase.DECLINED
    assert "Order again" in stage.condition("order", "Paid").message
    # When the customer gives another method
    stage.pay_by("order", "better")
    stage.settle()
    # Then it is not charged: were that in review once more, the old word would end it
    assert stage.provider.taken == []
    # And the order expires
    stage.pass_time(minutes=30)
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.EXPIRED


def test_a_method_given_in_time_counts_though_payments_are_down(stage: Stage) -> None:
    # Given a declined payment, and a new method just in time, which payments do not see yet
    stage.order("order", "robot", method="bad")
    stage.settle()
    stage.pass_time(minutes=29)
    stage.pay_by("order", "good")
    see_all(stage.operator).work(key_of(stage))
    # When the deadline passes
    stage.pass_time(minutes=5)
    see_all(stage.operator).work(key_of(stage))
    # Then the order is not held to it: it is not the customer who must act
    assert stage.rental("order").phase is RentalPhase.RESERVED
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.PAID


def test_an_order_that_expired_for_want_of_a_secret_says_so_whoever_is_first(
    stage: Stage,
) -> None:
    # Given an order whose Secret is missing, at its deadline
    stage.order("order", "robot", method=SECRET)
    stage.settle()
    stage.pass_time(minutes=30)
    operator = see_all(stage.operator)
    # When the Payment is told never to charge, and payments act on that before rentals go on
    operator.look(key_of(stage))
    operator.act(key_of(stage))
    see_all(operator).work(stage.payment_of("order").key)
    stage.settle()
    # Then the order has expired, and was not called off by the shop
    assert stage.rental("order").phase is RentalPhase.EXPIRED


def test_an_order_whose_shop_lost_its_gateway_waits_for_one(stage: Stage) -> None:
    # Given an order with a toy, and a shop that loses its gateway before the payment is asked for
    stage.order("order", "robot")
    operator = see_all(stage.operator)
    for _ in range(2):
        operator.look(key_of(stage))
        operator.act(key_of(stage))
    stage.set_policy(payment_gateway_ref=None)
    # When the operator goes on
    stage.settle()
    # Then the order waits, and says for what
    assert stage.condition("order", "Paid").reason == "NoPaymentGateway"
    assert stage.condition("order", "Stalled").status == "True"
    stage.set_policy(payment_gateway_ref=NameRef(name="till"))
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.PAID


def without_method_at_its_deadline(stage: Stage) -> Key:
    """Let an order come to its deadline for want of a Secret, which is there at last."""
    stage.order("order", "robot", method=SECRET)
    stage.settle()
    stage.pass_time(minutes=30)
    stage.secrets[SECRET] = "good"
    return stage.payment_of("order").key


def test_an_expiry_before_the_capture_is_noted_gives_the_money_back(stage: Stage) -> None:
    # Given an order at its deadline, and a charge that was taken and is not noted yet
    payment = without_method_at_its_deadline(stage)
    payments = see_all(stage.operator)
    payments.look(payment)
    payments.act(payment)
    assert len(stage.provider.taken) == 1
    # When the order is let expire first, and then the capture would be noted
    rentals = see_all(stage.another_operator("rentals"))
    rentals.look(key_of(stage))
    rentals.act(key_of(stage))
    assert stage.payment_of("order").withheld
    payments.act(payment)
    assert not stage.payment_of("order").captured
    wait_for_all(stage)
    # Then the order has ended, and what was taken is back
    assert stage.rental("order").phase.final
    assert stage.provider.taken[0].kept == 0


def test_a_capture_noted_before_the_expiry_keeps_the_order(stage: Stage) -> None:
    # Given an order at its deadline, that is about to be let expire
    payment = without_method_at_its_deadline(stage)
    rentals = see_all(stage.another_operator("rentals"))
    rentals.look(key_of(stage))
    # When a charge is taken and noted first
    see_all(stage.operator).work(payment)
    rentals.act(key_of(stage))
    stage.settle()
    # Then the order is paid
    assert stage.rental("order").phase is RentalPhase.PAID
    assert stage.provider.taken[0].kept == 10_000


def test_no_payment_is_made_for_an_order_that_has_ended_unseen(stage: Stage) -> None:
    # Given an operator that knows an order with its toy, and not yet a Payment
    stage.order("order", "robot")
    operator = see_all(stage.operator)
    for _ in range(2):
        operator.look(key_of(stage))
        operator.act(key_of(stage))
    late = see_all(stage.another_operator("late"))
    # When the order is cancelled, and the late one goes on
    stage.cancel("order")
    stage.settle()
    late.work(key_of(stage))
    # Then nothing is asked for, and nothing charged
    assert not stage.has_payment("order")
    assert stage.provider.calls == []


def test_a_method_that_was_replaced_is_not_handed_on_again(stage: Stage) -> None:
    # Given an operator that knows an order by its first method, and a second that was declined too
    stage.order("order", "robot", method="bad")
    stage.settle()
    late = see_all(stage.another_operator("late"))
    stage.pay_by("order", "worse")
    stage.settle()
    late.cache.catch_up(["Payment"])
    # When it goes on
    late.work(key_of(stage))
    # Then the Payment keeps the newest one
    assert stage.payment_of("order").spec.method.token == "worse"


def test_an_order_does_not_expire_on_an_old_view_of_it(stage: Stage) -> None:
    # Given an operator that knows an order by its declined method
    stage.order("order", "robot", method="bad")
    stage.settle()
    late = see_all(stage.another_operator("late"))
    # When the customer gives another at the last moment, and the late one finds the deadline over
    stage.pay_by("order", "good")
    stage.pass_time(minutes=30)
    late.work(key_of(stage))
    # Then it hands that on
    assert stage.rental("order").phase is RentalPhase.RESERVED
    stage.settle()
    assert stage.rental("order").phase is RentalPhase.PAID


# --- Bookings and stale caches ---


def test_a_cache_that_lacks_a_rental_does_not_release_its_booking(stage: Stage) -> None:
    # Given an operator that has seen the toy's booking, but not the rental
    paid(stage)
    late = stage.another_operator("late")
    late.cache.catch_up(["Toy"])
    # When it looks at the toy
    late.work(stage.toy("robot").key)
    # Then it reads the rental first, and keeps the booking
    assert len(stage.toy("robot").status.bookings) == 1


def test_the_booking_of_an_earlier_namesake_is_released(stage: Stage) -> None:
    # Given a paid order that is deleted and made again, under the same name
    paid(stage)
    stage.world.delete(Rental, "order", "the owner")
    stage.order("order", "robot")
    # When the operator works
    stage.settle()
    # Then the later one has the toy
    assert [b.rental_uid for b in stage.toy("robot").status.bookings] == [stage.rental("order").uid]
    assert stage.rental("order").phase is RentalPhase.PAID


def test_two_operators_that_book_two_toys_for_one_order_keep_one(stage: Stage) -> None:
    # Given two operators that see an order, and different stocks
    left, right = see_all(stage.operator), see_all(stage.another_operator("right"))
    stage.stock("train", color="red")
    stage.order("order", color="red")
    for operator, toy in ((left, "robot"), (right, "train")):
        operator.cache.refresh(key_of(stage))
        operator.cache.refresh(stage.toy("train").key)
        other = {"robot": "train", "train": "robot"}[toy]
        operator.cache.hide(stage.toy(other).key)
        operator.look(key_of(stage))
        operator.act(key_of(stage))
    assert all(len(toy.status.bookings) == 1 for toy in stage.world.all(Toy))
    # When both go on
    run_to_rest(stage.world, [left, right])
    # Then one toy is kept, the one that the order names
    ref = stage.rental("order").status.toy_ref
    assert ref is not None
    booked = [toy.uid for toy in stage.world.all(Toy) if toy.status.bookings]
    assert booked == [ref.uid]


def test_a_toy_made_anew_under_the_same_name_is_another_toy(stage: Stage) -> None:
    # Given a paid order of a toy that is deleted and registered again
    paid(stage)
    first = stage.toy("robot").uid
    stage.world.delete(Toy, "robot", "the owner")
    stage.stock("robot", color="red")
    # When the operator works
    stage.settle()
    # Then the order is promised the new one
    ref = stage.rental("order").status.toy_ref
    assert ref is not None
    assert ref.uid == stage.toy("robot").uid != first
    booking = stage.toy("robot").booking_of(stage.rental("order").uid)
    assert booking is not None
    assert booking.state is BookingState.HELD


# --- Repairs ---


def test_a_ticket_ends_with_its_toy_and_leaves_a_namesake_alone(stage: Stage) -> None:
    # Given a ticket that decides over a toy, which is deleted and registered again
    stage.open_ticket("ticket", "robot")
    stage.settle()
    stage.world.delete(Toy, "robot", "the owner")
    stage.stock("robot")
    # When the operator works
    stage.settle()
    # Then the ticket has ended, and the new toy is in service
    assert stage.world.get(RepairTicket, "ticket").phase is RepairPhase.DISCARDED
    assert stage.toy("robot").in_service


def test_a_ticket_deleted_meanwhile_takes_no_toy_out_of_service(stage: Stage) -> None:
    # Given an operator that has not seen that a ticket was deleted
    stage.open_ticket("ticket", "robot")
    late = see_all(stage.another_operator("late"))
    stage.world.delete(RepairTicket, "ticket", "the owner")
    # When it looks at the ticket
    late.work(Key("RepairTicket", "shop", "ticket"))
    # Then the toy stays in service
    assert stage.toy("robot").in_service
