"""The helpers themselves: what every other test on the API server relies on."""

import pytest

from tests.support import Refused, Shop, can, objects
from tests.support.waiting import TookTooLong, eventually
from toyrental.rentals.models import Rental
from toyrental.stores.models import Toy


def test_a_shop_speaks_in_the_models(shop: Shop) -> None:
    bear = shop.create(objects.toy("bear", labels={"shelf": "3"}, category="plush"))
    shop.create(objects.toy("boat"))
    assert bear.uid
    assert shop.get(Toy, "bear") == bear
    assert [toy.name for toy in shop.find(Toy, labels="shelf=3")] == ["bear"]
    assert [toy.name for toy in shop.find(Toy, fields="spec.category=plush")] == ["bear"]
    assert shop.patch(Toy, "bear", spec={"barcode": "8801"}).spec.barcode == "8801"
    assert shop.set_status(Toy, "bear", phase="Available").status.phase == "Available"
    shop.delete(Toy, "bear")
    shop.gone(Toy, "bear")


def test_a_person_may_do_what_the_rules_say_and_no_more(shop: Shop) -> None:
    shop.create(objects.toy("bear"))
    mina = shop.person("mina", can("get", "toys"))
    assert mina.get(Toy, "bear").name == "bear"
    with pytest.raises(Refused, match=r"403 Forbidden.*cannot create") as refused:
        mina.create(objects.rental("first", toy="bear"))
    assert refused.value.status == 403


def test_waiting_in_vain_shows_the_object(shop: Shop) -> None:
    shop.create(objects.rental("first", toy="bear"))
    with pytest.raises(TookTooLong, match=r"not within 0.1 s.\s*apiVersion") as failure:
        shop.wait(Rental, "first", lambda r: r.status.toy_ref, within=0.1)
    assert "customer: mina" in str(failure.value)


def test_waiting_shows_what_was_asserted_last() -> None:
    def ask() -> bool:
        raise AssertionError("seven toys")

    with pytest.raises(TookTooLong) as failure:
        eventually(ask, within=0)
    assert "seven toys" in str(failure.value.__cause__)
