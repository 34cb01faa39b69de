"""Who may have a toy, when, and who is next in line."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules import laws
from tests.rules.given import OPEN_SHOP, Shelf, a_booking, a_toy, an_order, days, hours, uid_of
from tests.rules.world import MONDAY
from toyrental.rentals import bookings
from toyrental.rentals.bookings import MOST_BOOKINGS, Window, free, place_in_line, toy_for
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.shared.model import ObjectRef
from toyrental.stores.models import (
    Availability,
    BookingState,
    Orders,
    Service,
    ServiceState,
    Toy,
    ToyPhase,
)

NOW = MONDAY
COLOURS = st.sampled_from(["red", "blue"])


@st.composite
def toys(draw: st.DrawFn, name: str = "robot") -> Toy:
    """Any toy that can be: promised here and there, out on time or late, in service or not."""
    toy = a_toy(name, colour=draw(COLOURS))
    moment = NOW - days(draw(st.integers(0, 4)))
    promises = []
    for n in range(draw(st.integers(0, 4))):
        start = moment + hours(draw(st.integers(0, 48)))
        moment = start + hours(draw(st.integers(1, 72)))
        promises.append(a_booking(f"{name}-{n}", start, moment))
    if promises and promises[0].start_time <= NOW:
        state = draw(st.sampled_from(BookingState))
        promises[0] = promises[0].model_copy(update={"state": state})
    service = Service(state=draw(st.sampled_from([ServiceState.IN_SERVICE, *ServiceState])))
    availability = draw(st.sampled_from([Availability.OFFERED, *Availability]))
    toy = toy.with_spec(availability=availability)
    return toy.updated(NOW, bookings=promises, service=service)


@st.composite
def orders(draw: st.DrawFn, name: str = "order") -> Rental:
    """Any order: of one toy or of any of a colour, for now or for later."""
    start = draw(st.none() | st.integers(0, 96).map(lambda n: NOW + hours(n)))
    return an_order(
        name,
        draw(st.none() | st.sampled_from(["ark", "bear", "car"])),
        colour=draw(COLOURS),
        created=NOW - timedelta(seconds=draw(st.integers(0, 3))),
        start=start,
        days=draw(st.integers(1, 4)),
    )


stocks = st.tuples(toys("ark"), toys("bear"), toys("car"))
lines = st.tuples(*(orders(f"order-{n}") for n in range(4)))
windows = st.builds(
    lambda start, length: Window(NOW + hours(start), NOW + hours(start + length)),
    st.integers(0, 200),
    st.integers(1, 100),
)


# --- Free ---


@given(toys(), orders())
def test_what_is_free_can_be_held_and_no_law_is_broken(toy: Toy, order: Rental) -> None:
    # Given a toy that is free for an order
    if not free(toy, bookings.window(order, NOW), NOW):
        return
    # When it is held, then no promise overlaps another, and the API server takes it
    held = bookings.hold(toy, order, NOW)
    laws.check(toy, held)
    booking = held.booking_of(order.uid)
    assert booking is not None
    assert booking.end_time - booking.start_time == order.spec.period.length


@given(toys(), windows)
def test_what_is_not_free_has_a_reason(toy: Toy, wanted: Window) -> None:
    # Given a toy that is not free
    if free(toy, wanted, NOW):
        return
    # Then it is out of service, withdrawn, promised to another, late, or not inspected
    out = toy.out
    late = out is not None and (out.end_time <= NOW or out.state is BookingState.RETURNED)
    assert not toy.offered or late or any(b.overlaps(*wanted) for b in toy.status.bookings)


def test_a_toy_that_is_late_or_not_inspected_is_promised_to_nobody_for_any_day() -> None:
    next_year = Window(NOW + days(300), NOW + days(301))
    late = a_booking("other", NOW - days(2), NOW, BookingState.OUT)
    in_time = a_booking("other", NOW - days(2), NOW + hours(1), BookingState.OUT)
    back = a_booking("other", NOW - days(2), NOW + days(9), BookingState.RETURNED)
    assert not free(a_toy(bookings=[late]), next_year, NOW)
    assert not free(a_toy(bookings=[back]), next_year, NOW)
    assert free(a_toy(bookings=[in_time]), next_year, NOW)


def test_promises_may_touch_and_not_overlap() -> None:
    toy = a_toy(bookings=[a_booking("other", NOW + days(1), NOW + days(2))])
    assert free(toy, Window(NOW, NOW + days(1)), NOW)
    assert free(toy, Window(NOW + days(2), NOW + days(3)), NOW)
    assert not free(toy, Window(NOW, NOW + days(1) + timedelta(seconds=1)), NOW)
    assert not free(toy, Window(NOW + days(2) - timedelta(seconds=1), NOW + days(3)), NOW)


def test_a_toy_carries_as_many_promises_as_the_schema_allows() -> None:
    full = [a_booking(f"o{n}", NOW + days(n), NOW + days(n + 1)) for n in range(MOST_BOOKINGS)]
    after = Window(NOW + days(MOST_BOOKINGS), NOW + days(MOST_BOOKINGS + 1))
    assert not free(a_toy(bookings=full), after, NOW)
    assert free(a_toy(bookings=full[:-1]), after, NOW)


# --- The line ---


def test_who_came_first_is_first_and_within_a_second_the_uid_decides() -> None:
    early, late = an_order("late-name"), an_order("a-name", created=NOW + timedelta(seconds=1))
    assert place_in_line(early) < place_in_line(late)
    one, other = an_order("one"), an_order("other")
    assert (place_in_line(one) < place_in_line(other)) == (one.uid < other.uid)


@given(stocks, lines)
def test_all_who_ask_at_once_can_be_served_at_once(
    stock: tuple[Toy, ...], line: tuple[Rental, ...]
) -> None:
    # Given a line, each of whom asks which toy is theirs, of the same shop
    shelf = Shelf(stock, line)
    theirs = [(order, toy_for(order, shelf, OPEN_SHOP, NOW)) for order in line]
    # When all are held, in whatever order
    for order, toy in theirs:
        if toy is not None:
            known = shelf.toy(toy.name)
            assert known is not None
            held = bookings.hold(known, order, NOW)
            # Then no promise overlaps another
            laws.check(known, held)
            shelf = shelf.with_toy(held)


@given(stocks, lines, st.permutations(range(4)))
def test_the_same_toys_fall_to_the_same_people_whoever_asks_first(
    stock: tuple[Toy, ...], line: tuple[Rental, ...], turns: list[int]
) -> None:
    def serve(turns: list[int]) -> dict[str, str]:
        shelf, served = Shelf(stock, line), {}
        for turn in turns:
            toy = toy_for(line[turn], shelf, OPEN_SHOP, NOW)
            if toy is not None:
                shelf = shelf.with_toy(bookings.hold(toy, line[turn], NOW)).without(line[turn])
                served[line[turn].name] = toy.name
        return served

    by_place = sorted(range(4), key=lambda turn: place_in_line(line[turn]))
    assert serve(turns) == serve(by_place)


@given(stocks, lines)
def test_nobody_further_back_changes_what_falls_to_one(
    stock: tuple[Toy, ...], line: tuple[Rental, ...]
) -> None:
    shelf = Shelf(stock, line)
    for order in line:
        ahead = [other for other in line if place_in_line(other) <= place_in_line(order)]
        alone = toy_for(order, Shelf(stock, ahead), OPEN_SHOP, NOW)
        assert toy_for(order, shelf, OPEN_SHOP, NOW) == alone


@given(stocks, lines)
def test_the_first_in_line_has_the_first_toy_that_suits(
    stock: tuple[Toy, ...], line: tuple[Rental, ...]
) -> None:
    first = min(line, key=place_in_line)
    wanted = bookings.window(first, NOW)
    suits = [
        toy
        for toy in stock
        if first.wants(toy.name, toy.metadata.labels) and free(toy, wanted, NOW)
    ]
    expected = suits[0] if suits else None
    assert toy_for(first, Shelf(stock, line), OPEN_SHOP, NOW) == expected


def test_who_cannot_be_served_keeps_nobody_else_waiting() -> None:
    # Given one toy, promised from tomorrow, and a line whose first wants it for three days
    toy = a_toy("robot", bookings=[a_booking("other", NOW + days(1), NOW + days(2))])
    first = an_order("first", "robot", days=3, created=NOW - hours(1))
    second = an_order("second", "robot", days=1)
    shelf = Shelf([toy], [first, second])
    # Then the second, who wants it for one, has it today
    assert toy_for(first, shelf, OPEN_SHOP, NOW) is None
    assert toy_for(second, shelf, OPEN_SHOP, NOW) == toy


def test_nobody_overtakes_who_can_be_served() -> None:
    # Given one toy and two who want it for the same days
    toy = a_toy("robot")
    first, second = an_order("first", created=NOW - hours(1)), an_order("second")
    shelf = Shelf([toy], [first, second])
    # Then it is the first one's, whoever asks
    assert toy_for(second, shelf, OPEN_SHOP, NOW) is None
    assert toy_for(first, shelf, OPEN_SHOP, NOW) == toy


def test_paused_orders_keep_their_place_and_let_others_by() -> None:
    # Given a paused shop with a new order, and one after it whose toy broke
    toy, paused = a_toy("robot"), OPEN_SHOP.model_copy(update={"orders": Orders.PAUSED})
    new = an_order("new", created=NOW - hours(1))
    moving = an_order("moving").with_status(phase=RentalPhase.RESERVED)
    shelf = Shelf([toy], [new, moving])
    # Then the earlier promise is kept
    assert toy_for(new, shelf, paused, NOW) is None
    assert toy_for(moving, shelf, paused, NOW) == toy
    # And when orders are taken again, the line is as it was
    assert toy_for(new, shelf, OPEN_SHOP, NOW) == toy


@given(stocks, lines)
def test_a_toy_that_cannot_be_paid_for_is_given_to_nobody(
    stock: tuple[Toy, ...], line: tuple[Rental, ...]
) -> None:
    no_gateway = OPEN_SHOP.model_copy(update={"payment_gateway_ref": None})
    shelf = Shelf(stock, line)
    assert all(toy_for(order, shelf, no_gateway, NOW) is None for order in line)


# --- The way of a booking ---


@given(toys(), orders(), st.integers(0, 96))
def test_a_hand_over_moves_only_whom_it_collides_with(toy: Toy, order: Rental, later: int) -> None:
    # Given a toy that is held for an order, and free to go out
    wanted = bookings.window(order, NOW)
    if not free(toy, wanted, NOW) or toy.out is not None:
        return
    held = bookings.hold(toy, order, NOW)
    promise = held.booking_of(order.uid)
    assert promise is not None
    now = max(NOW + hours(later), promise.start_time)
    # When it is handed over
    out = bookings.hand_over(held, order, promise, now)
    # Then no law is broken, and the window is the one asked for, or begins now
    laws.check(held, out)
    booking = out.booking_of(order.uid)
    assert booking is not None
    assert booking.start_time == (order.spec.period.start_time or now)
    assert booking.end_time - booking.start_time == order.spec.period.length
    assert out.status.phase is ToyPhase.RENTED
    # And all others are as they were, but those it collides with
    for other in held.status.bookings:
        collides = other.overlaps(booking.start_time, booking.end_time)
        if other.rental_uid != order.uid:
            assert out.booking_of(other.rental_uid) == (None if collides else other)


@pytest.mark.parametrize("start", [None, NOW], ids=["from now on", "from a given time"])
def test_no_moment_is_finer_than_a_second(start: datetime | None) -> None:
    order = an_order(start=start)
    held = bookings.hold(a_toy(), order, NOW + timedelta(microseconds=7))
    promise = held.booking_of(order.uid)
    assert promise is not None
    out = bookings.hand_over(held, order, promise, NOW + timedelta(seconds=3, microseconds=7))
    for booking in (*held.status.bookings, *out.status.bookings):
        assert booking.start_time.microsecond == booking.end_time.microsecond == 0


@given(toys())
def test_a_toy_that_came_back_is_inspected_and_shelved_or_repaired(toy: Toy) -> None:
    if toy.out is None or toy.out.state is not BookingState.OUT:
        return
    name = toy.out.rental_ref.name
    order, others = an_order(name), [b for b in toy.status.bookings if not b.with_customer]
    # When the customer brings it back
    back = bookings.take_back(toy, order, NOW)
    laws.check(toy, back)
    assert back.out is not None
    assert back.out.state is BookingState.RETURNED
    # Then inspection ends its booking and counts it, and leaves all others
    shelved = bookings.shelve(back, order, NOW)
    ticket = ObjectRef(name="ticket", uid=uid_of("ticket"))
    damaged = bookings.send_to_repair(back, order, ticket, NOW)
    for after in (shelved, damaged):
        assert list(after.status.bookings) == others
        assert after.status.completed_rentals == toy.status.completed_rentals + 1
    assert shelved.status.service == toy.status.service
    assert damaged.status.service == Service(state=ServiceState.DAMAGED, ticket_ref=ticket)


@given(toys(), st.sets(st.integers(0, 3)))
def test_bookings_are_released_by_uid_and_no_other_way(toy: Toy, which: set[int]) -> None:
    gone = {uid_of(f"robot-{n}") for n in which}
    left = bookings.release(toy, gone, NOW)
    kept = [b for b in toy.status.bookings if b.rental_uid not in gone]
    assert list(left.status.bookings) == kept


# --- Whether a promise can be kept ---


def test_a_toy_is_fit_for_its_promise_until_it_is_out_of_service_or_late() -> None:
    order = an_order(start=NOW + days(1))
    promise = a_booking("order", NOW + days(1), NOW + days(3))
    other = a_booking("other", NOW - days(1), NOW + days(1), BookingState.OUT)
    toy = a_toy(bookings=[other, promise])
    # Before its start it does not matter who has it
    assert bookings.fit_for(toy, order, promise, NOW)
    # At its start it does, back or not
    assert not bookings.fit_for(toy, order, promise, NOW + days(1))
    returned = other.model_copy(update={"state": BookingState.RETURNED})
    back = toy.updated(NOW, bookings=[returned, promise])
    assert not bookings.fit_for(back, order, promise, NOW + days(1))
    # And a toy out of service is fit for nothing
    broken = toy.updated(NOW, bookings=[promise], service=Service(state=ServiceState.DAMAGED))
    assert not bookings.fit_for(broken, order, promise, NOW)


def test_a_promise_from_now_on_that_went_by_unused_is_made_anew() -> None:
    promise = a_booking("order", NOW, NOW + days(2))
    toy = a_toy(bookings=[promise])
    at_once, dated = an_order(), an_order(start=NOW)
    end = NOW + days(2)
    assert bookings.fit_for(toy, at_once, promise, end - timedelta(seconds=1))
    assert not bookings.fit_for(toy, at_once, promise, end)
    assert bookings.fit_for(toy, dated, promise, end)
