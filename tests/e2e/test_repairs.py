"""Repairs: tickets opened by hand, and which of them decides over a toy."""

from tests.e2e.business import Business, message
from tests.support import objects
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import Toy


def test_a_ticket_takes_an_available_toy_out_of_service(business: Business) -> None:
    business.registers("bear")
    ticket = business.opens_ticket("ticket", toy="bear", description="One ear is loose")
    seen = business.ticket_becomes(
        "ticket", "Open", Accepted="True/Accepted", Ready="False/AwaitingAssignee"
    )
    assert "assignee" in message(seen, "Ready")
    toy = business.toy_becomes("bear", "Damaged", InService="False/Damaged")
    assert toy.status.service.ticket_ref is not None
    assert toy.status.service.ticket_ref.uid == ticket.uid
    assert "RepairTicket ticket" in message(toy, "InService")
    business.told("bear", "Damaged", "One ear is loose")
    business.takes_order("order", toy="bear")
    business.order_becomes("order", "Pending", Booked="False/NoToyAvailable")

    business.assigns("ticket", "joon")
    seen = business.ticket_becomes("ticket", "InRepair", Ready="False/InRepair")
    assert seen.status.started_time is not None
    business.toy_becomes("bear", "InRepair")
    business.resolves("ticket", "Repaired")
    seen = business.ticket_becomes("ticket", "Repaired", Ready="True/Repaired", Accepted="True")
    assert seen.status.finished_time is not None
    business.told("ticket", "Repaired", "rented again")
    business.order_becomes("order", "Paid")


def test_a_ticket_for_a_toy_that_is_out_waits_for_its_inspection(business: Business) -> None:
    business.registers("bear")
    business.hands_over("order", toy="bear")
    business.opens_ticket("ticket", toy="bear")
    seen = business.ticket_becomes("ticket", "Open", Accepted="False/ToyIsOut", Reconciling="True")
    assert "Rental order has the toy" in message(seen, "Ready")
    business.toy_becomes("bear", "Rented")
    business.returns()
    business.ticket_becomes("ticket", "Open", Accepted="False/ToyIsOut")
    business.inspects()
    business.order_becomes("order", "Completed")
    business.ticket_becomes("ticket", "Open", Accepted="True")
    business.toy_becomes("bear", "Damaged")


def test_one_ticket_at_a_time_decides_over_a_toy(business: Business) -> None:
    business.registers("bear")
    business.opens_ticket("first", toy="bear")
    business.ticket_becomes("first", "Open", Accepted="True")
    business.opens_ticket("second", toy="bear")
    seen = business.ticket_becomes("second", "Open", Accepted="False/AnotherTicket")
    assert "RepairTicket first" in message(seen, "Accepted")
    business.resolves("second", "Discarded")
    business.resolves("first", "Repaired")
    business.ticket_becomes("first", "Repaired")
    business.ticket_becomes("second", "Discarded")
    business.toy_becomes("bear", "Discarded")
    business.told("bear", "Repaired")
    business.told("bear", "Discarded")


def test_a_ticket_that_is_deleted_makes_way_for_the_next(business: Business) -> None:
    business.registers("bear")
    business.opens_ticket("first", toy="bear")
    business.ticket_becomes("first", "Open", Accepted="True")
    business.opens_ticket("second", toy="bear")
    business.ticket_becomes("second", "Open", Accepted="False")
    business.shop.delete(RepairTicket, "first")
    business.ticket_becomes("second", "Open", Accepted="True")
    toy = business.toy_becomes("bear", "Damaged")
    assert toy.status.service.ticket_ref is not None
    assert toy.status.service.ticket_ref.name == "second"


def test_a_ticket_waits_for_a_toy_that_is_not_registered_yet(business: Business) -> None:
    business.opens_ticket("ticket", toy="bear")
    business.ticket_becomes("ticket", "Open", Accepted="False/ToyNotFound", Stalled="True")
    business.registers("bear")
    business.ticket_becomes("ticket", "Open", Accepted="True")
    business.toy_becomes("bear", "Damaged")


def test_a_discarded_toy_takes_no_ticket(business: Business) -> None:
    business.registers("bear")
    business.opens_ticket("first", toy="bear")
    business.resolves("first", "Discarded")
    business.toy_becomes("bear", "Discarded")
    business.ticket_becomes("first", "Discarded", Ready="True/Discarded")
    business.opens_ticket("second", toy="bear")
    seen = business.ticket_becomes("second", "Open", Accepted="False/ToyDiscarded", Stalled="True")
    assert "delete this ticket" in message(seen, "Ready")
    business.takes_order("order", toy="bear")
    business.order_becomes("order", "Pending", Booked="False/ToyNotFound")


def test_a_ticket_ends_with_its_toy(business: Business) -> None:
    business.registers("bear")
    business.opens_ticket("ticket", toy="bear")
    business.ticket_becomes("ticket", "Open", Accepted="True")
    business.shop.delete(Toy, "bear")
    business.ticket_becomes("ticket", "Discarded")


def test_a_ticket_in_the_way_of_an_orders_own_is_said_to_be(business: Business) -> None:
    business.registers("bear", "lion")
    rental = business.hands_over("order", toy="bear")
    business.shop.create(objects.ticket(rental.uid, toy="lion"))
    business.returns()
    business.inspects("order", "Damaged")
    stuck = business.order_becomes(
        "order", "Returned", Ready="False/TicketConflict", Stalled="True/TicketConflict"
    )
    assert rental.uid in message(stuck, "Ready")
    business.toy_becomes("bear", "Returned")
    business.told("order", "Returned", "remove it")
    business.shop.delete(RepairTicket, rental.uid)
    business.order_becomes("order", "Completed", Inspected="True/Damaged")
    business.toy_becomes("bear", "Damaged")
    assert business.shop.get(Rental, "order").phase == "Completed"
