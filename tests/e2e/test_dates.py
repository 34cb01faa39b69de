"""Orders for later: who may have a toy when, and what happens when an earlier customer is late."""

from datetime import timedelta

from tests.e2e.business import Business, message, now, says, soon, toy_of
from tests.support import eventually
from tests.support.objects import time
from toyrental.rentals.models import Rental
from toyrental.stores.models import Toy

A_DAY = timedelta(days=1)
TIME_TO_PREPARE = 8
"""Seconds until a start: enough for all that a test does before it, on a busy machine too."""


def test_an_order_approved_long_before_is_handed_over_when_its_time_comes(
    business: Business,
) -> None:
    business.registers("bear")
    start = soon(TIME_TO_PREPARE)
    business.takes_paid_order("order", toy="bear", days=2, start=start)
    business.approves()
    waiting = business.order_becomes(
        "order", "Approved", Ready="False/AwaitingStart", Approved="True", Reconciling="True"
    )
    assert time(start) in message(waiting, "Ready")
    business.toy_becomes("bear", "Reserved")
    business.told("order", "Approved", time(start))

    rental = business.order_becomes("order", "Rented", Ready="True/Rented")
    assert now() >= start
    assert (rental.status.start_time, rental.status.due_time) == (start, start + 2 * A_DAY)
    (booking,) = business.toy_becomes("bear", "Rented").status.bookings
    assert (booking.start_time, booking.end_time) == (start, start + 2 * A_DAY)


def test_periods_that_do_not_overlap_share_a_toy(business: Business) -> None:
    business.registers("bear")
    start = soon(30 * 86400)
    business.takes_paid_order("first", toy="bear", days=2, start=start)
    business.takes_paid_order("second", toy="bear", days=2, start=start + 2 * A_DAY)
    business.takes_order("between", toy="bear", days=2, start=start + A_DAY)
    business.order_becomes("between", "Pending", Booked="False/NoToyAvailable")
    business.takes_paid_order("today", toy="bear", days=3)
    assert len(business.shop.get(Toy, "bear").status.bookings) == 3
    business.approves("today")
    business.order_becomes("today", "Rented")


def test_an_order_whose_toy_is_late_gets_another_one(business: Business) -> None:
    business.registers("bear-1", "bear-2", labels={"model": "bear"})
    start = soon(TIME_TO_PREPARE)
    business.hands_over("late", toy="bear-1", days=1, start=start - A_DAY)
    order = business.takes_paid_order("next", labels={"model": "bear"}, days=1, start=start)
    assert toy_of(order) == "bear-1"
    business.approves("next")
    business.order_becomes("next", "Approved", Booked="True")

    rental = business.order_becomes("next", "Rented", Booked="True")
    assert toy_of(rental) == "bear-2"
    assert rental.status.start_time == start
    business.order_becomes("late", "Rented", Overdue="True")
    (booking,) = business.toy_becomes("bear-1", "Rented").status.bookings
    assert booking.rental_ref.name == "late"
    business.told("next", "Moved", "bear-2")
    assert len(business.books(rental).charges) == 1


def test_an_order_whose_toy_is_late_and_has_no_twin_is_refunded(business: Business) -> None:
    business.registers("bear")
    start = soon(TIME_TO_PREPARE)
    business.hands_over("late", toy="bear", days=1, start=start - A_DAY)
    order = business.takes_paid_order("next", toy="bear", days=1, start=start)
    business.approves("next")
    rental = business.order_becomes(
        "next", "Rejected", Ready="False/ToyUnavailable", Approved="True", Stalled="True"
    )
    assert "is given back" in message(rental, "Ready")
    business.paid_back(order)
    business.told("next", "Rejected", "No toy", "given back")
    (booking,) = business.toy_becomes("bear", "Rented").status.bookings
    assert booking.rental_ref.name == "late"


def test_an_order_whose_toy_is_under_repair_waits_until_its_start(business: Business) -> None:
    business.registers("bear")
    start = soon(TIME_TO_PREPARE)
    business.takes_paid_order("order", toy="bear", days=1, start=start)
    business.approves()
    business.opens_ticket("ticket", toy="bear", description="One ear is loose")
    business.toy_becomes("bear", "Damaged")
    business.order_becomes("order", "Approved", Booked="False/ToyOutOfService")
    business.resolves("ticket", "Repaired")
    business.order_becomes("order", "Approved", Booked="True/Booked")
    business.order_becomes("order", "Rented")


def test_an_order_whose_toy_is_not_repaired_by_its_start_is_refunded(business: Business) -> None:
    business.registers("bear")
    order = business.takes_paid_order("order", toy="bear", days=1, start=soon(TIME_TO_PREPARE))
    business.approves()
    business.opens_ticket("ticket", toy="bear")
    business.order_becomes("order", "Approved", Booked="False/ToyOutOfService")
    business.order_becomes("order", "Rejected", Ready="False/ToyUnavailable")
    business.paid_back(order)
    business.wait(Toy, "bear", lambda toy: not toy.status.bookings)


def test_an_order_for_later_moves_off_a_damaged_toy_at_once(business: Business) -> None:
    business.registers("bear-1", "bear-2", labels={"model": "bear"})
    start = soon(30 * 86400)
    order = business.takes_paid_order("order", labels={"model": "bear"}, start=start)
    assert toy_of(order) == "bear-1"
    business.opens_ticket("ticket", toy="bear-1")
    business.wait(Rental, "order", lambda r: toy_of(r) == "bear-2" and says(r, Booked="True"))
    business.wait(Toy, "bear-1", lambda toy: not toy.status.bookings)
    business.told("order", "Moved", "bear-2")


def test_a_hand_over_counts_from_now_and_moves_what_it_collides_with(business: Business) -> None:
    business.registers("bear-1", "bear-2", labels={"model": "bear"})
    first = business.takes_paid_order("first", toy="bear-1", days=1)
    end = first.status.due_time
    assert end is not None
    flexible = business.takes_paid_order("flexible", labels={"model": "bear"}, days=1, start=end)
    assert toy_of(flexible) == "bear-1"
    eventually(lambda: now() > end - A_DAY)
    business.approves("first")
    rented = business.order_becomes("first", "Rented")
    assert rented.status.due_time is not None
    assert rented.status.due_time > end
    moved = business.wait(
        Rental, "flexible", lambda r: toy_of(r) == "bear-2" and says(r, Booked="True")
    )
    assert moved.phase == "Paid"
    assert (moved.status.start_time, moved.status.due_time) == (end, end + A_DAY)
    assert len(business.books(flexible).charges) == 1


def test_who_is_pushed_off_a_toy_and_wants_no_other_waits_for_it(business: Business) -> None:
    business.registers("bear")
    first = business.takes_paid_order("first", toy="bear", days=1)
    end = first.status.due_time
    assert end is not None
    stubborn = business.takes_paid_order("stubborn", toy="bear", days=1, start=end)
    eventually(lambda: now() > end - A_DAY)
    business.approves("first")
    business.order_becomes("first", "Rented")
    business.order_becomes("stubborn", "Paid", Booked="False/NoToyAvailable")
    (booking,) = business.toy_becomes("bear", "Rented").status.bookings
    assert booking.rental_ref.name == "first"

    business.gets_back("first")
    business.order_becomes("stubborn", "Paid", Booked="True/Booked")
    assert len(business.books(stubborn).charges) == 1


def test_an_order_that_waited_through_its_whole_period_is_rejected(business: Business) -> None:
    business.takes_order("order", toy="bear", days=1, start=soon(4) - A_DAY)
    business.order_becomes("order", "Pending", Booked="False/ToyNotFound")
    business.order_becomes("order", "Rejected", Ready="False/PeriodOver", Stalled="True")
    business.told("order", "Rejected", "period went by")
