"""What the plugin shows, of resources that stand still."""

from datetime import timedelta

import pytest

from tests.plugin import screens as still
from tests.support import condition, objects
from toyrental.plugin import screens, timeline
from toyrental.plugin.doing import APPROVED, ORDERED, cannot_come, has_come
from toyrental.plugin.glance import document, glance
from toyrental.plugin.shop import Seen


def test_the_page_shows_the_screens_as_they_are() -> None:
    text = still.PAGE.read_text()
    assert still.BEGIN in text
    assert still.with_screens(text) == text, "run `python -m tests.plugin.screens`"


@pytest.mark.parametrize("width", [80, 120])
def test_no_screen_is_wider_than_the_terminal(width: int) -> None:
    for screen in still.all_screens(width).values():
        assert max(map(len, screen.splitlines())) <= width


def test_the_most_pressing_comes_first_with_what_to_type_next() -> None:
    view = glance("toy-library", still.seen(), " -n toy-library")
    assert [each.what for each in view.attention] == ["overdue", "approve", "repair"]
    assert view.attention[1].command == "kubectl toyrental approve mina-bike -n toy-library"


def test_what_may_not_be_seen_is_unknown_and_not_zero() -> None:
    view = glance("toy-library", Seen(toys=None, rentals=None, complaints=("no toys",)))
    told = document(view)
    assert told["toys"] is told["rentals"] is None
    shown = still.drawn(screens.of_glance(view, still.NOW), 80)
    assert "Toys" not in shown
    assert shown.endswith("no toys")


@pytest.mark.parametrize(
    ("since", "told"),
    [
        ({"seconds": 119}, "119s"),
        ({"minutes": 119}, "119m"),
        ({"hours": 47}, "47h"),
        ({"days": 9}, "9d"),
    ],
)
def test_ages_are_one_number(since: dict[str, int], told: str) -> None:
    assert screens.age(still.NOW - timedelta(**since), still.NOW) == told


def test_what_a_condition_and_an_event_say_alike_is_said_once() -> None:
    told = timeline.tell(still.life().everything, still.events())
    assert [each.words for each in told].count(still.WAITS) == 1
    assert told[0].words == "mina orders balance-bike."


def test_a_wait_minds_the_generation_and_ends_where_nothing_moves() -> None:
    paid = [condition("Paid", "True")]
    raw = objects.rental("a", toy="bear").model_dump(by_alias=True, mode="json", exclude_none=True)
    raw["metadata"] |= {"generation": 2}
    kind = ORDERED.kind
    seen = kind.model_validate(raw | {"status": {"observedGeneration": 1, "conditions": paid}})
    assert not has_come(ORDERED, seen)
    seen = kind.model_validate(raw | {"status": {"observedGeneration": 2, "conditions": paid}})
    assert has_come(ORDERED, seen)
    stalled = [condition("Stalled", "True", "Declined", "Another card, please.")]
    seen = kind.model_validate(raw | {"status": {"observedGeneration": 2, "conditions": stalled}})
    assert cannot_come(seen) == "Another card, please."
    ended = {"observedGeneration": 2, "phase": "Expired"}
    assert cannot_come(kind.model_validate(raw | {"status": ended})) == "Expired"
    assert not has_come(APPROVED, seen)
