"""The stock is shown as it is, no booking outlives its rental, and a shop says what it lacks."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules import laws
from tests.rules.checks import conditions_are_by_the_book
from tests.rules.given import OPEN_SHOP, a_booking, a_toy, an_order, days, metadata, uid_of
from tests.rules.test_bookings import toys
from tests.rules.world import MONDAY
from toyrental.payments.models import PaymentGateway, PaymentGatewaySpec, Simulator
from toyrental.shared.conditions import find
from toyrental.shared.decisions import Decision
from toyrental.shared.model import ObjectRef
from toyrental.shared.resource import Key
from toyrental.stores.models import (
    Availability,
    Booking,
    BookingState,
    Orders,
    Service,
    ServiceState,
    Store,
    StoreSpec,
    Toy,
    ToyPhase,
    toy_phase,
)
from toyrental.stores.rules import ToySituation, decide_store, decide_toy

NOW = MONDAY


def written(decision: Decision) -> Toy:
    assert decision.write is not None
    before, after = decision.write.before, decision.write.after
    assert isinstance(after, Toy)
    laws.check(before, after)
    conditions_are_by_the_book(after)
    return after


def booked_by(*names: str, state: BookingState = BookingState.HELD) -> list[Booking]:
    return [a_booking(n, NOW + days(i), NOW + days(i + 1), state) for i, n in enumerate(names)]


# --- Toys ---


def test_r10_r11_a_new_toy_is_taken_into_stock() -> None:
    toy = written(decide_toy(ToySituation(a_toy(), {}, NOW)))
    assert toy.status.phase is ToyPhase.AVAILABLE
    assert toy.status.observed_generation == 1
    assert find(toy.status.conditions, "Ready") is not None
    assert find(toy.status.conditions, "InService") is not None


@given(toys())
def test_once_its_status_is_true_nothing_is_written(toy: Toy) -> None:
    rentals = {b.rental_ref.name: an_order(b.rental_ref.name) for b in toy.status.bookings}
    assert decide_toy(ToySituation(toy.updated(NOW), dict(rentals), NOW + days(1))).idle


def test_the_owner_withdraws_and_offers_a_toy() -> None:
    toy = a_toy().updated(NOW).with_spec(availability=Availability.WITHDRAWN)
    withdrawn = written(decide_toy(ToySituation(toy, {}, NOW)))
    assert withdrawn.status.phase is ToyPhase.WITHDRAWN
    offered = withdrawn.with_spec(availability=Availability.OFFERED)
    assert written(decide_toy(ToySituation(offered, {}, NOW))).status.phase is ToyPhase.AVAILABLE


@pytest.mark.parametrize("state", BookingState)
def test_a_booking_whose_rental_is_gone_is_released_after_a_look_at_the_api_server(
    state: BookingState,
) -> None:
    # Given a toy with two bookings, the rental of one of which is not known
    toy = a_toy(bookings=booked_by("gone", state=state) + booked_by("x", "there")[1:])
    rentals = {"gone": None, "there": an_order("there")}
    # When it is looked at
    decision = decide_toy(ToySituation(toy, rentals, NOW))
    # Then that one goes, once the API server confirms it
    assert [b.rental_ref.name for b in written(decision).status.bookings] == ["there"]
    assert decision.confirm == (Key("Rental", "shop", "gone"),)


def test_a_namesake_does_not_stand_behind_the_booking_of_an_earlier_rental() -> None:
    booking = a_booking("order", NOW, NOW + days(1))
    earlier = ObjectRef(name="order", uid=uid_of("earlier"))
    update = {"rental_uid": earlier.uid, "rental_ref": earlier}
    toy = a_toy(bookings=[booking.model_copy(update=update)])
    decision = decide_toy(ToySituation(toy, {"order": an_order()}, NOW))
    assert written(decision).status.bookings == ()
    assert decision.confirm == (Key("Rental", "shop", "order"),)


@given(
    st.sampled_from(ServiceState),
    st.sampled_from(Availability),
    st.lists(st.sampled_from(BookingState), max_size=3),
)
def test_a_phase_follows_from_the_rest_alone(
    state: ServiceState, availability: Availability, states: list[BookingState]
) -> None:
    bookings = [
        a_booking(f"o{n}", NOW + days(n), NOW + days(n + 1), s) for n, s in enumerate(states)
    ]
    toy = a_toy().with_spec(availability=availability)
    toy = toy.updated(NOW, bookings=bookings, service=Service(state=state))
    phase = toy.status.phase
    assert phase is toy_phase(toy.spec, toy.status)
    offered = phase in {ToyPhase.AVAILABLE, ToyPhase.RESERVED}
    if offered:
        assert toy.in_service
        assert all(s is BookingState.HELD for s in states)
    if phase is ToyPhase.AVAILABLE:
        assert not states
        assert availability is Availability.OFFERED


def test_every_phase_of_a_toy_is_reached() -> None:
    bookings = [[], *([a_booking("o", NOW, NOW + days(1), state)] for state in BookingState)]
    phases = {
        a_toy()
        .with_spec(availability=availability)
        .updated(NOW, bookings=promises, service=Service(state=state))
        .status.phase
        for availability, promises, state in product(Availability, bookings, ServiceState)
    }
    assert phases == set(ToyPhase)


# --- Shops ---


def a_store(spec: StoreSpec) -> Store:
    return Store(metadata=metadata("default"), spec=spec)


def told(store: Store, gateway: PaymentGateway | None) -> tuple[str, str, bool]:
    decision = decide_store(store, gateway, NOW)
    assert decision.write is not None
    after = decision.write.after
    conditions_are_by_the_book(after)
    ready = find(after.status.conditions, "Ready")
    assert ready is not None
    # And it is told once
    assert isinstance(after, Store)
    assert decide_store(after, gateway, NOW + days(1)).idle
    return ready.status, ready.reason, find(after.status.conditions, "Stalled") is not None


def test_a_shop_says_what_it_lacks() -> None:
    simulator = PaymentGatewaySpec(simulator=Simulator(endpoint="http://127.0.0.1:1"))
    gateway = PaymentGateway(metadata=metadata("till"), spec=simulator)
    assert told(a_store(OPEN_SHOP), gateway) == ("True", "Open", False)
    assert told(a_store(OPEN_SHOP), None) == ("False", "PaymentGatewayNotFound", True)
    assert told(a_store(StoreSpec()), None) == ("False", "NoPaymentGateway", True)
    suspended = gateway.with_spec(suspended=True)
    assert told(a_store(OPEN_SHOP), suspended) == ("False", "PaymentGatewaySuspended", True)


def test_a_shop_that_has_paused_orders_does_not_say_that_it_takes_them() -> None:
    simulator = PaymentGatewaySpec(simulator=Simulator(endpoint="http://127.0.0.1:1"))
    gateway = PaymentGateway(metadata=metadata("till"), spec=simulator)
    paused = OPEN_SHOP.model_copy(update={"orders": Orders.PAUSED})
    assert told(a_store(paused), gateway) == ("True", "OrdersPaused", False)
