"""The life of a rental, row by row of the table that the design begins with."""

from datetime import timedelta

import pytest

from tests.e2e.business import CHARGED, DECLINED, Business, due_in, message, says, toy_of
from tests.support import Refused, objects
from tests.support.objects import time
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import BookingState, Toy

RATE = 3000


# --- From the order to the payment ---


def test_an_order_is_reserved_and_paid(business: Business) -> None:
    business.registers("bear", rate=RATE)
    business.takes_order("order", toy="bear", days=3, customer="mina")

    rental = business.order_becomes(
        "order",
        "Paid",
        Booked="True/Booked",
        Paid="True/Captured",
        Approved="Unknown/AwaitingDecision",
        Returned="False/NotHandedOver",
        Inspected="Unknown/NotReturned",
        Overdue="False/NotDue",
        Ready="False/AwaitingDecision",
        Reconciling="True/AwaitingDecision",
    )
    assert rental.status.price is not None
    assert rental.status.price.minor_units == 3 * RATE
    toy = business.toy_becomes("bear", "Reserved", InService="True", Ready="True")
    (booking,) = toy.status.bookings
    assert (booking.rental_uid, booking.state) == (rental.uid, BookingState.HELD)
    assert booking.end_time - booking.start_time == timedelta(days=3)
    assert (rental.status.start_time, rental.status.due_time) == (
        booking.start_time,
        booking.end_time,
    )
    payment = business.payment_becomes(rental, "Captured", Captured="True/Captured")
    assert payment.owned_by(rental)
    assert payment.spec.customer == "mina"
    assert payment.status.captured_minor_units == 3 * RATE
    (charge,) = business.books(rental).charges
    assert charge["idempotencyKey"] == f"{payment.uid}:charge:1"
    assert (charge["amount"], charge["currency"]) == (3 * RATE, "KRW")
    assert charge["paymentUID"] == payment.uid
    assert charge["id"] == payment.status.gateway_payment_id
    business.told("order", "Reserved", "bear")
    business.told("order", "Paid", "store")
    business.told(payment.name, "Captured", "9,000 KRW was taken")


def test_who_finds_no_toy_waits_in_line_first_come_first_served(business: Business) -> None:
    business.registers("bear")
    business.takes_paid_order("first", toy="bear")
    waiting = [business.takes_order(f"waiting-{n}", toy="bear") for n in range(3)]
    for rental in waiting:
        seen = business.order_becomes(
            rental.name, "Pending", Booked="False/NoToyAvailable", Reconciling="True"
        )
        assert "waits its turn" in message(seen, "Ready")
        assert seen.status.payment_ref is None
    business.told(waiting[0].name, "NoToyAvailable", "waits its turn")

    served = []
    line = sorted(waiting, key=lambda r: (r.created, r.uid))
    leaving = "first"
    for head in line:
        business.cancels(leaving)
        business.order_becomes(head.name, "Paid")
        served.append(head.name)
        behind = [business.shop.get(Rental, r.name) for r in line if r.name not in served]
        assert all(says(r, Booked="False/NoToyAvailable") for r in behind)
        leaving = head.name


def test_any_toy_that_matches_a_selector_will_do(business: Business) -> None:
    business.registers("bear", labels={"kind": "plush", "size": "small"})
    business.registers("lion", labels={"kind": "plush", "size": "large"})
    business.registers("blocks", labels={"kind": "wood"})
    wants = {
        "matchLabels": {"kind": "plush"},
        "matchExpressions": [
            {"key": "size", "operator": "In", "values": ["large", "huge"]},
            {"key": "fragile", "operator": "DoesNotExist"},
        ],
    }
    order = objects.rental("order", labels={}, toySelector=wants)
    business.shop.create(order)
    rental = business.order_becomes("order", "Paid")
    assert rental.status.toy_ref is not None
    assert rental.status.toy_ref.name == "lion"

    business.takes_order("second", labels={"kind": "metal"})
    business.order_becomes("second", "Pending", Booked="False/ToyNotFound")
    business.shop.patch(Toy, "blocks", metadata={"labels": {"kind": "metal"}})
    business.order_becomes("second", "Paid")


def test_a_price_of_nothing_is_paid_without_a_call(business: Business) -> None:
    business.registers("bear", rate=0)
    rental = business.takes_paid_order("order", toy="bear")
    payment = business.payment_becomes(rental, "Captured", Captured="True/NothingToPay")
    assert payment.spec.gateway_ref is None
    business.never_charged(rental)
    business.cancels()
    business.order_becomes("order", "Cancelled", Ready="True/Cancelled")
    business.toy_becomes("bear", "Available")


def test_after_a_decline_a_new_payment_method_is_a_new_attempt(business: Business) -> None:
    business.registers("bear")
    business.takes_order("order", toy="bear", method=DECLINED)
    rental = business.order_becomes(
        "order", "Reserved", Paid="False/Declined", Ready="False/Declined", Stalled="True/Declined"
    )
    assert "Set another payment method" in message(rental, "Paid")
    payment = business.payment_becomes(rental, "Declined", Captured="False/Declined")
    assert payment.status.failure is not None
    assert payment.status.failure.code == "generic_decline"
    business.told("order", "Declined", "Set another payment method")
    with pytest.raises(Refused, match="no payment, no transaction"):
        business.approves()

    business.pays_with(CHARGED)
    business.order_becomes("order", "Paid", Paid="True/Captured")
    payment = business.payment_becomes(rental, "Captured")
    assert payment.status.attempt == 2
    books = business.books(rental)
    assert [d["idempotencyKey"] for d in books.declines] == [f"{payment.uid}:charge:1"]
    assert [c["idempotencyKey"] for c in books.charges] == [f"{payment.uid}:charge:2"]


def test_a_card_that_wants_its_owner_present_is_declined_with_that_reason(
    business: Business,
) -> None:
    business.registers("bear")
    business.takes_order("order", toy="bear", method="pm_card_authenticationRequired")
    rental = business.order_becomes("order", "Reserved", Paid="False/Declined")
    assert "presence" in message(rental, "Paid")
    payment = business.payment_becomes(rental, "Declined")
    assert payment.status.failure is not None
    assert payment.status.failure.code == "authentication_required"


def test_who_does_not_pay_in_time_loses_the_toy_and_is_never_charged(business: Business) -> None:
    business.changes_its_policy(paymentDeadlineSeconds=2)
    business.registers("bear")
    business.takes_order("late", toy="bear", method=DECLINED)
    rental = business.order_becomes(
        "late", "Expired", Booked="False/Expired", Ready="False/Expired", Stalled="True/Expired"
    )
    payment = business.payment_becomes(rental, "Voided", Captured="False")
    assert payment.withheld
    business.told("late", "Expired", "in time")

    business.pays_with(CHARGED, "late")
    business.takes_paid_order("next", toy="bear")
    business.wait(Payment, payment.name, lambda p: p.settled)
    business.never_charged(rental)
    assert business.shop.get(Rental, "late").phase == "Expired"


def test_a_payment_method_may_come_from_a_secret(business: Business) -> None:
    business.registers("bear")
    ref = {"name": "card", "key": "token"}
    business.takes_order("order", toy="bear", paymentMethodSecretRef=ref)
    rental = business.order_becomes("order", "Reserved", Paid="False/MethodMissing", Stalled="True")
    assert "Secret" in message(rental, "Paid")
    business.told("order", "MethodMissing", "Secret")

    business.shop.secret("card", {"token": CHARGED})
    business.order_becomes("order", "Paid", Paid="True/Captured")
    (charge,) = business.books(rental).charges
    assert charge["idempotencyKey"].endswith(":charge:1")


def test_who_never_says_how_to_pay_loses_the_toy(business: Business) -> None:
    business.changes_its_policy(paymentDeadlineSeconds=2)
    business.registers("bear")
    ref = {"name": "card", "key": "token"}
    business.takes_order("late", toy="bear", paymentMethodSecretRef=ref)
    rental = business.order_becomes("late", "Expired")
    business.shop.secret("card", {"token": CHARGED})
    business.takes_paid_order("next", toy="bear")
    business.never_charged(rental)


# --- The store decides ---


def test_an_approved_order_is_handed_over(business: Business) -> None:
    business.registers("bear")
    paid = business.takes_paid_order("order", toy="bear", days=3)
    business.approves()
    rental = business.order_becomes(
        "order",
        "Rented",
        Approved="True/Approved",
        Returned="False/WithCustomer",
        Ready="True/Rented",
    )
    toy = business.toy_becomes("bear", "Rented")
    (booking,) = toy.status.bookings
    assert booking.state is BookingState.OUT
    assert (rental.status.start_time, rental.status.due_time) == (
        booking.start_time,
        booking.end_time,
    )
    assert paid.status.start_time is not None
    assert booking.start_time >= paid.status.start_time
    assert booking.end_time - booking.start_time == timedelta(days=3)
    business.told("order", "Rented", time(booking.end_time))


def test_a_store_may_approve_by_its_policy(business: Business) -> None:
    business.registers("bear")
    business.changes_its_policy(approval="Automatic")
    business.takes_order("order", toy="bear")
    business.order_becomes("order", "Rented", Approved="True/Automatic")


def test_a_denied_order_is_refunded(business: Business) -> None:
    business.registers("bear")
    rental = business.takes_paid_order("order", toy="bear")
    business.denies("order", "It is promised to the nursery")
    seen = business.order_becomes(
        "order", "Rejected", Approved="False/Denied", Ready="False/Denied", Booked="False/Denied"
    )
    assert "It is promised to the nursery." in message(seen, "Ready")
    business.paid_back(rental)
    business.toy_becomes("bear", "Available")
    business.told("order", "Rejected", "denied", "nursery")
    business.told(rental.payment_name, "Refunded", "9,000 KRW")


def test_an_order_that_nobody_decides_on_is_rejected_and_refunded(business: Business) -> None:
    business.registers("bear")
    rental = business.takes_paid_order("order", toy="bear", days=1, start=due_in(5))
    business.order_becomes("order", "Rejected", Ready="False/NoDecision")
    business.paid_back(rental)
    business.toy_becomes("bear", "Available")
    business.told("order", "Rejected", "did not decide")


# --- The customer cancels ---


def test_an_order_that_waits_can_be_cancelled(business: Business) -> None:
    business.takes_order("order", toy="bear")
    business.order_becomes("order", "Pending", Booked="False/ToyNotFound")
    business.cancels()
    rental = business.order_becomes(
        "order", "Cancelled", Ready="True/Cancelled", Paid="Unknown", Approved="False/Cancelled"
    )
    assert not business.shop.exists(Payment, rental.payment_name)
    business.told("order", "Cancelled", "cancelled")


def test_an_order_that_is_not_paid_yet_can_be_cancelled(business: Business) -> None:
    business.registers("bear")
    business.takes_order("order", toy="bear", method=DECLINED)
    rental = business.order_becomes("order", "Reserved", Paid="False/Declined")
    business.cancels()
    business.order_becomes("order", "Cancelled", Ready="True/Cancelled")
    payment = business.payment_becomes(rental, "Voided")
    business.wait(Payment, payment.name, lambda p: p.settled)
    business.toy_becomes("bear", "Available")
    business.never_charged(rental)


def test_a_paid_order_can_be_cancelled_and_is_refunded(business: Business) -> None:
    business.registers("bear")
    rental = business.takes_paid_order("order", toy="bear")
    business.cancels()
    seen = business.order_becomes("order", "Cancelled", Ready="True/Cancelled", Paid="True")
    business.paid_back(rental)
    business.toy_becomes("bear", "Available")
    assert "given back" in message(seen, "Ready")
    business.told("order", "Cancelled", "given back")


# --- The toy comes back ---


def test_a_late_toy_is_overdue_and_offered_to_nobody(business: Business) -> None:
    business.registers("bear")
    rental = business.hands_over("late", toy="bear", days=1, start=due_in(6))
    business.takes_order("after", toy="bear", days=1)
    late = business.order_becomes("late", "Rented", Overdue="True/Overdue", Ready="True/Overdue")
    assert rental.status.due_time is not None
    assert time(rental.status.due_time) in message(late, "Overdue")
    assert late.status.due_time == rental.status.due_time
    (booking,) = business.toy_becomes("bear", "Rented").status.bookings
    assert booking.end_time == rental.status.due_time
    business.order_becomes("after", "Pending", Booked="False/NoToyAvailable")
    business.told("late", "Overdue", "due back")

    business.returns("late")
    business.order_becomes("late", "Returned", Overdue="False/ReturnedLate")
    business.order_becomes("after", "Pending", Booked="False/NoToyAvailable")
    business.inspects("late")
    business.order_becomes("late", "Completed", Overdue="False/ReturnedLate")
    business.order_becomes("after", "Paid")


def test_a_toy_that_came_back_waits_for_its_inspection(business: Business) -> None:
    business.registers("bear")
    rental = business.hands_over("order", toy="bear")
    business.returns()
    business.order_becomes(
        "order",
        "Returned",
        Returned="True/Returned",
        Inspected="Unknown/AwaitingInspection",
        Ready="False/AwaitingInspection",
    )
    (booking,) = business.toy_becomes("bear", "Returned").status.bookings
    assert booking.state is BookingState.RETURNED
    business.takes_order("next", toy="bear")
    business.order_becomes("next", "Pending", Booked="False/NoToyAvailable")
    business.told("order", "Returned", "inspection")

    business.inspects()
    business.order_becomes(
        "order",
        "Completed",
        Inspected="True/Accepted",
        Booked="False/Completed",
        Overdue="False/ReturnedInTime",
        Ready="True/Completed",
    )
    business.told("order", "Completed", "in order")
    business.order_becomes("next", "Paid")
    toy = business.toy_becomes("bear", "Reserved")
    assert toy.status.completed_rentals == 1
    payment = business.payment_becomes(rental, "Captured")
    assert payment.settled
    assert business.books(rental).refunds == []


def test_damage_opens_a_ticket_and_moves_the_toys_other_bookings(business: Business) -> None:
    business.registers("bear-1", "bear-2", labels={"model": "bear"})
    rental = business.hands_over("order", toy="bear-1", days=1)
    assert rental.status.due_time is not None
    later = rental.status.due_time + timedelta(days=1)
    business.takes_paid_order("flexible", labels={"model": "bear"}, days=1, start=later)
    further = later + timedelta(days=1)
    business.takes_paid_order("stubborn", toy="bear-1", days=1, start=further)
    assert len(business.shop.get(Toy, "bear-1").status.bookings) == 3

    business.returns()
    missing = [{"name": "left eye", "count": 1}]
    business.inspects("order", "Damaged", notes="The left eye is gone.", missingParts=missing)
    seen = business.order_becomes("order", "Completed", Inspected="True/Damaged")
    assert rental.uid in message(seen, "Inspected")
    ticket = business.ticket_becomes(rental.uid, "Open", Accepted="True")
    assert ticket.spec.toy_ref.name == "bear-1"
    assert ticket.spec.description == "The left eye is gone.\nMissing: 1 x left eye"
    toy = business.toy_becomes("bear-1", "Damaged", InService="False/Damaged")
    assert toy.status.service.ticket_ref is not None
    assert toy.status.service.ticket_ref.uid == ticket.uid
    business.told("bear-1", "Damaged", ticket.name)
    assert rental.uid not in [b.rental_uid for b in toy.status.bookings]

    moved = business.wait(
        Rental, "flexible", lambda r: says(r, Booked="True") and toy_of(r) != "bear-1"
    )
    assert toy_of(moved) == "bear-2"
    assert moved.phase == "Paid"
    waits = business.order_becomes("stubborn", "Paid", Booked="False/ToyOutOfService")
    assert "repair" in message(waits, "Booked")
    business.told("stubborn", "ToyOutOfService", "repair")

    business.assigns(ticket.name)
    business.ticket_becomes(ticket.name, "InRepair", Ready="False/InRepair")
    business.toy_becomes("bear-1", "InRepair", InService="False/InRepair")
    business.resolves(ticket.name, "Repaired")
    business.ticket_becomes(ticket.name, "Repaired", Ready="True/Repaired")
    business.toy_becomes("bear-1", "Reserved", InService="True/InService")
    business.order_becomes("stubborn", "Paid", Booked="True/Booked", Ready="False/AwaitingDecision")
    business.told("bear-1", "Repaired", "rented again")
    for name in ("flexible", "stubborn"):
        assert len(business.books(business.shop.get(Rental, name)).charges) == 1


def test_a_discarded_toy_is_gone_for_good_and_so_are_orders_of_it(business: Business) -> None:
    business.registers("bear")
    rental = business.hands_over("order", toy="bear", days=1)
    assert rental.status.due_time is not None
    later = rental.status.due_time + timedelta(days=1)
    next_one = business.takes_paid_order("next", toy="bear", days=1, start=later)
    business.returns()
    business.inspects("order", "Damaged")
    business.ticket_becomes(rental.uid, "Open")
    business.resolves(rental.uid, "Discarded")
    business.ticket_becomes(rental.uid, "Discarded", Ready="True/Discarded")
    business.toy_becomes("bear", "Discarded", InService="False/Discarded")
    business.told("bear", "Discarded", "for good")
    business.order_becomes("next", "Rejected", Ready="False/ToyUnavailable")
    business.paid_back(next_one)
    business.wait(Toy, "bear", lambda toy: not toy.status.bookings)
    ticket = business.shop.get(RepairTicket, rental.uid)
    assert ticket.status.finished_time is not None
