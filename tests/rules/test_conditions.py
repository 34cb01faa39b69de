"""Conditions, as Kubernetes and kstatus have them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.checks import conditions_are_by_the_book
from tests.rules.given import a_toy
from tests.rules.world import MONDAY
from toyrental.rentals.conditions import Reason
from toyrental.shared.conditions import (
    Condition,
    Finding,
    false,
    find,
    is_true,
    readiness,
    true,
    unknown,
    update,
)

NOW = MONDAY
LATER = NOW + timedelta(minutes=5)

findings = st.builds(
    Finding,
    st.sampled_from(["True", "False", "Unknown"]),
    st.sampled_from(["Here", "There"]),
    st.sampled_from(["It is here.", "It is there."]),
)
changes = st.dictionaries(st.sampled_from(["Ready", "Paid", "Booked"]), findings | st.none())


@given(changes, changes)
def test_a_date_moves_with_the_status_and_with_nothing_else(
    first: dict[str, Finding | None], second: dict[str, Finding | None]
) -> None:
    before = update((), first, generation=1, now=NOW)
    after = update(before, second, generation=2, now=LATER)
    for condition in after:
        was = find(before, condition.type)
        kept = was is not None and was.status == condition.status
        assert condition.last_transition_time == (NOW if kept else LATER)


@given(changes, changes)
def test_what_is_found_is_said_and_what_is_not_is_kept(
    first: dict[str, Finding | None], second: dict[str, Finding | None]
) -> None:
    before = update((), first, generation=1, now=NOW)
    after = update(before, second, generation=2, now=LATER)
    for type_ in ("Ready", "Paid", "Booked"):
        found = find(after, type_)
        if type_ not in second:
            assert found == find(before, type_)
        elif second[type_] is None:
            assert found is None
        else:
            assert found is not None
            assert (found.status, found.reason, found.message) == second[type_]
            assert found.observed_generation == 2


@given(changes)
def test_the_same_again_changes_nothing(found: dict[str, Finding | None]) -> None:
    before = update((), found, generation=1, now=NOW)
    assert update(before, found, generation=1, now=LATER) == before


def test_a_message_that_is_too_long_is_cut() -> None:
    (condition,) = update((), {"Ready": true("Here", "x" * 5000)}, generation=1, now=NOW)
    assert len(condition.message) == 1024


@pytest.mark.parametrize(
    ("ready", "stalled", "beside"),
    [
        (true("Here", "m"), False, set()),
        (true("Here", "m"), True, set()),
        (false("Here", "m"), False, {"Reconciling"}),
        (unknown("Here", "m"), False, {"Reconciling"}),
        (false("Here", "m"), True, {"Stalled"}),
    ],
)
def test_reconciling_and_stalled_are_there_only_while_they_hold(
    ready: Finding, stalled: bool, beside: set[str]
) -> None:
    # Given conditions that said both once
    both: dict[str, Finding | None] = {"Reconciling": ready, "Stalled": ready}
    before = update((), both, generation=1, now=NOW)
    # When it is found how ready a thing is
    after = update(before, readiness(ready, stalled=stalled), generation=1, now=NOW)
    # Then kstatus reads it so
    assert {c.type for c in after} == {"Ready", *beside}
    assert all(is_true(after, type_) for type_ in beside)
    toy = a_toy().with_status(conditions=after)
    conditions_are_by_the_book(toy)


def test_every_reason_is_one_that_kubernetes_takes() -> None:
    for reason in Reason:
        Condition(type="Ready", status="True", last_transition_time=NOW, reason=reason, message="m")
