"""The files that people apply: each is what the models and the API server take, and they agree."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import Json, Shop
from toyrental.kinds import KINDS
from toyrental.payments.models import PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.shared.model import Model
from toyrental.shared.resource import Resource
from toyrental.stores.models import Store, Toy

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
FILES = sorted(SAMPLES.glob("*.yaml"))
BY_KIND = {kind.SERVED.kind: kind for kind in KINDS}


def documents(path: Path) -> list[Json]:
    return list(yaml.safe_load_all(path.read_text()))


def resource(document: Json) -> Resource:
    return BY_KIND[document["kind"]].model_validate(document)


def all_of(kind: type[Any]) -> list[Any]:
    everything = [resource(each) for path in FILES for each in documents(path)]
    return [each for each in everything if isinstance(each, kind)]


def unknown(given: Any, model: Any) -> list[str]:
    """Return the fields of a document that its model does not know."""
    if isinstance(given, list):
        return [
            name for item, part in zip(given, model, strict=True) for name in unknown(item, part)
        ]
    if not isinstance(model, Model):
        return []
    known = {
        field.alias or name: getattr(model, name)
        for name, field in type(model).model_fields.items()
    }
    return [name for name in given if name not in known] + [
        f"{name}.{inner}"
        for name, value in given.items()
        if name in known
        for inner in unknown(value, known[name])
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_models_know_every_field(path: Path) -> None:
    for document in documents(path):
        assert unknown(document["spec"], resource(document).spec) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_api_server_takes_it(shop: Shop, path: Path) -> None:
    for document in documents(path):
        made = shop.create_raw(document)
        kept = made["spec"]
        assert {name: kept[name] for name in document["spec"]}.keys() == document["spec"].keys()
        # Applied once more, it changes nothing.
        again = shop.api.apply(document, shop.name)
        assert again["metadata"]["generation"] == made["metadata"]["generation"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_says_what_it_is_for(path: Path) -> None:
    assert path.read_text().startswith("# "), "begins with a comment"


def test_there_is_a_dozen_toys_of_many_kinds() -> None:
    toys = all_of(Toy)
    assert len(toys) == 12
    assert len({toy.spec.barcode for toy in toys}) == 12
    assert len({toy.spec.category for toy in toys}) >= 5
    (store,) = all_of(Store)
    assert {toy.spec.daily_rate.currency for toy in toys} == {store.spec.currency}
    assert all(toy.spec.parts for toy in toys)


def test_the_files_are_one_story() -> None:
    """Whatever a file refers to is in another one."""
    (store,) = all_of(Store)
    assert store.spec.payment_gateway_ref.name in {each.name for each in all_of(PaymentGateway)}
    for rental in all_of(Rental):
        assert any(rental.wants(toy.name, toy.metadata.labels) for toy in all_of(Toy)), rental.key
    (train,) = [rental for rental in all_of(Rental) if rental.spec.toy_selector]
    wanted = {toy.name for toy in all_of(Toy) if train.wants(toy.name, toy.metadata.labels)}
    assert wanted == {"brio-train-1", "brio-train-2"}
    names = [each.key for kind in KINDS for each in all_of(kind)]
    assert len(set(names)) == len(names)
