"""A Dashboard stays bounded, however large the shop: counts, never a list of objects."""

import json

import pytest

from tests.rules.test_dashboards import NOW, SHOP, dashboard, made
from tests.support import Json, Refused, Shop, objects
from toyrental.dashboards import rules
from toyrental.dashboards.counts import ReadModel
from toyrental.dashboards.models import Dashboard, GroupBy
from toyrental.shared.money import Currency
from toyrental.stores.models import Toy

TOYS, CATEGORIES = 5_000, 300
LONGEST_CATEGORY, LONGEST_MODEL = 63, 253
MOST_BYTES = 128 * 1024
"""All told: the API server notes for each of a hundred keys who wrote it."""


def large_status() -> Json:
    """Return what the rules make of so large a shop, with names as long as can be."""
    model = ReadModel()
    for n in range(TOYS):
        number = f"{n % CATEGORIES:03}"
        spec = {
            "title": number,
            "dailyRate": {"currency": "KRW", "minorUnits": 3000},
            "category": number.ljust(LONGEST_CATEGORY, "x"),
            "model": number.ljust(LONGEST_MODEL, "x"),
        }
        phase = "Available" if n % 2 else "Rented"
        model.change(None, made(Toy, f"toy-{n}", spec, {"phase": phase}))
    counts = dict(model.of_shop(SHOP))
    most = 2**53 - 1
    for currency in Currency:
        counts |= {("captured", currency): most, ("refunded", currency): most}
    by_both = dashboard(spec={"groupBy": [GroupBy.CATEGORY, GroupBy.MODEL]})
    decision = rules.decide(by_both, counts, NOW)
    assert decision.write is not None
    raw = decision.write.after.model_dump(mode="json", by_alias=True, exclude_none=True)
    status: Json = raw["status"]
    return status


def test_five_thousand_toys_fit_in_one_bounded_status(shop: Shop) -> None:
    """R10: Given 5,000 toys in 300 categories, then the API server takes it, and no group more."""
    shop.create(objects.dashboard())
    status = large_status()
    assert len(status["groups"]) == 100
    stored = shop.set_status(Dashboard, "shop", **status)
    assert stored.status.toys is not None
    assert stored.status.toys.total == sum(group.total for group in stored.status.groups) == TOYS
    assert len(json.dumps(shop.get_raw(Dashboard, "shop"))) < MOST_BYTES
    more = [*status["groups"], {"key": "category=one-more", "total": 1}]
    with pytest.raises(Refused, match=r"status\.groups.*must have at most 100 items"):
        shop.set_status(Dashboard, "shop", groups=more)
