"""What the page says, from resources alone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.support import condition, objects
from toyrental.board import actions
from toyrental.board.view import MOST, Badge, May, Seen, known_as, shop_view
from toyrental.intents import Unusable
from toyrental.rentals.models import Rental
from toyrental.stores.models import Toy

NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)


def order(name: str, phase: str, **status: object) -> Rental:
    raw = objects.rental(name, toy="bear").model_dump(by_alias=True, mode="json", exclude_none=True)
    raw["metadata"]["uid"] = f"uid-{name}"
    return Rental.model_validate(raw | {"status": {"phase": phase} | status})


def test_orders_that_wait_are_those_that_are_paid_and_undecided() -> None:
    rentals = (order("a", "Reserved"), order("b", "Paid"), order("c", "Returned"))
    view = shop_view("toys", Seen(rentals=rentals), May(), NOW, UTC)
    assert [card.name for card in view.approvals.shown] == ["b"]
    assert [card.name for card in view.inspections.shown] == ["c"]
    assert view.saying == "1 to approve, 1 to inspect"


def test_overdue_is_told_in_a_word_and_times_are_those_of_the_zone() -> None:
    late = order(
        "late",
        "Rented",
        dueTime=objects.time(NOW - timedelta(hours=1)),
        conditions=[condition("Overdue", "True")],
    )
    view = shop_view("toys", Seen(rentals=(late,)), May(), NOW, ZoneInfo("Asia/Seoul"))
    (card,) = view.overdue.shown
    assert card.badge == Badge("Overdue", "bad")
    assert "due Tue 05 May, 20:00 KST" in card.facts


def test_what_may_not_be_listed_is_hidden_and_not_empty() -> None:
    view = shop_view("toys", Seen(toys=None, rentals=None), May(), NOW, UTC)
    assert view.stock.hidden
    assert view.approvals.hidden
    assert not view.repairs.hidden
    assert view.tiles == ()


def test_people_are_called_by_their_name() -> None:
    assert known_as("system:serviceaccount:toy-library:hana") == "hana"
    assert known_as("https://accounts.example#mina") == "https://accounts.example#mina"


def test_a_long_list_is_cut_and_the_rest_counted() -> None:
    toys = tuple(objects.toy(f"toy-{n}") for n in range(MOST + 7))
    view = shop_view("toys", Seen(toys=toys), May(), NOW, UTC)
    assert (len(view.stock.shown), view.stock.more) == (MOST, 7)


def test_who_may_approve_need_not_be_who_may_inspect() -> None:
    rentals = (order("a", "Paid"), order("b", "Returned"))
    view = shop_view("toys", Seen(rentals=rentals), May(inspect=True), NOW, UTC)
    assert [card.can_act for card in view.approvals.shown] == [False]
    assert [card.can_act for card in view.inspections.shown] == [True]


def test_a_toy_that_is_out_cannot_be_sent_to_repair() -> None:
    free = objects.toy("free")
    booking = {
        "rentalUID": "u",
        "rentalRef": {"name": "r", "uid": "u"},
        "startTime": objects.time(NOW),
        "endTime": objects.time(NOW + timedelta(days=1)),
        "state": "Out",
    }
    raw = free.model_dump(by_alias=True, mode="json", exclude_none=True)
    out = Toy.model_validate(raw | {"status": {"phase": "Rented", "bookings": [booking]}})
    view = shop_view("toys", Seen(toys=(out, free)), May(repair=True), NOW, UTC)
    assert {card.badge.word: card.can_act for card in view.stock.shown} == {
        "With a customer": False,
        "New": True,
    }


def test_a_write_names_the_very_order_it_is_about() -> None:
    change = actions.on_rental("toys", "a", "deny", {"uid": "u", "words": " broken "})
    assert change.patch == {
        "metadata": {"uid": "u"},
        "spec": {"approval": {"decision": "Denied", "reason": "broken"}},
    }


@pytest.mark.parametrize(
    ("action", "form"),
    [
        ("approve", {}),
        ("inspect", {"uid": "u", "result": "Perhaps"}),
        ("sell", {"uid": "u"}),
        ("deny", {"uid": "u", "words": "x" * 2049}),
    ],
)
def test_a_form_that_makes_no_sense_makes_no_write(action: str, form: dict[str, str]) -> None:
    with pytest.raises(Unusable):
        actions.on_rental("toys", "a", action, form)
