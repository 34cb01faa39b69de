"""Merge patches: what is sent makes of the old object just the new one, if it is sent at all."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import objects as shop_objects
from toyrental.kinds import KINDS
from toyrental.kube import errors
from toyrental.kube.cache import Cache
from toyrental.kube.writer import Writer, merge_patch
from toyrental.shared.decisions import Write

Json = dict[str, Any]

names = st.sampled_from(["a", "b", "c", "d"])
scalars = st.one_of(st.booleans(), st.integers(-2, 2), st.text("xy", max_size=2))
values = st.recursive(
    scalars | st.lists(scalars, max_size=3),
    lambda inner: st.dictionaries(names, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)
objects = st.dictionaries(names, values, max_size=4)


def applied(patch: Any, target: Any) -> Any:
    """Apply a merge patch, word for word as RFC 7396 defines it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(value, result.get(name))
    return result


@given(objects, objects)
def test_applying_the_patch_gives_what_should_be(before: Json, after: Json) -> None:
    assert applied(merge_patch(before, after), before) == after


@given(objects)
def test_what_is_the_same_needs_no_patch(same: Json) -> None:
    assert merge_patch(same, same) == {}


@given(objects, objects)
def test_what_others_added_is_left_alone(before: Json, after: Json) -> None:
    others = {"z": 1}
    assert applied(merge_patch(before, after), before | others) == after | others


def test_only_what_differs_is_sent() -> None:
    before = {"phase": "Reserved", "price": {"currency": "KRW", "minorUnits": 1}, "old": 1}
    after = {"phase": "Paid", "price": {"currency": "KRW", "minorUnits": 2}}
    assert merge_patch(before, after) == {"phase": "Paid", "price": {"minorUnits": 2}, "old": None}


async def test_a_process_that_leads_no_more_sends_nothing() -> None:
    """Given one that was paused in the midst of a reconcile, then its own clock tells it so."""
    nobody = cast("Any", None)
    writer = Writer(nobody, Cache(KINDS), nobody, leads=lambda: False)
    toy = shop_objects.toy("bear")
    with pytest.raises(errors.NotLeading, match="leads no more"):
        await writer.write(Write(None, toy), by=toy.key)
