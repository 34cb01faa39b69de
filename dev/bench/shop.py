"""The shop that the benchmark rents from, and what its customers and owner write."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from .api import KINDS, Api, Json
from .errors import BenchError

NAMESPACE = "bench"
PLACE = f"{KINDS}/{NAMESPACE}"
ANY_MODEL = "any"
CARD = "pm_card_visa"
SETTLE_SECONDS = 120

APPROVED: Json = {"spec": {"approval": {"decision": "Approved"}}}
RETURNED: Json = {"spec": {"desiredState": "Returned"}}
ACCEPTED: Json = {"spec": {"inspection": {"result": "Accepted"}}}


@dataclass
class Toy:
    """A toy in stock, and the version of it that was last seen."""

    name: str
    uid: str = ""
    version: str = ""


@dataclass
class Stock:
    """Toys that nobody has: some are ordered by name, some by any of their model."""

    named: list[Toy] = field(default_factory=list)
    of_model: list[Toy] = field(default_factory=list)

    def shelf(self, number: int) -> list[Toy]:
        """Return the toys that the order of that number is for: every other is by name."""
        return self.of_model if number % 2 else self.named


def order(name: str, toy: str | None) -> Json:
    """Return an order of a toy by its name, or of any toy of the model."""
    labels = {"matchLabels": {"model": ANY_MODEL}}
    choice: Json = {"toyRef": {"name": toy}} if toy else {"toySelector": labels}
    return _object(
        "Rental",
        name,
        {"customer": "mina", "period": {"days": 3}, "paymentMethod": CARD, **choice},
    )


def dashboard(name: str) -> Json:
    """Return an owner's view of the shop."""
    return _object("Dashboard", name, {})


async def open_shop(api: Api, provider: str, toys: int) -> Stock:
    """Open a shop with so many toys on each shelf, and wait until the operator has seen it all.

    Of the toys ordered by model there are twice as many, so that no order ever waits.
    """
    await _open(api, {"simulator": {"endpoint": provider}})
    stock = Stock(
        named=[Toy(f"named-{number:03}") for number in range(toys)],
        of_model=[Toy(f"model-{number:03}") for number in range(2 * toys)],
    )
    for toy in stock.named:
        await api.create(f"{PLACE}/toys", _toy(toy.name, "named"))
    for toy in stock.of_model:
        await api.create(f"{PLACE}/toys", _toy(toy.name, ANY_MODEL))
    await _seen(api, [*stock.named, *stock.of_model])
    return stock


async def open_for_orders(api: Api, gateway: Json, toys: Iterable[str]) -> None:
    """Open a shop with that gateway and these toys, and wait until the operator has seen it all."""
    await _open(api, gateway)
    stock = [Toy(name) for name in toys]
    for toy in stock:
        await api.create(f"{PLACE}/toys", _toy(toy.name, "named"))
    await _seen(api, stock)


async def _open(api: Api, gateway: Json) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    await api.create(f"{PLACE}/paymentgateways", _object("PaymentGateway", "simulator", gateway))
    store = {"currency": "KRW", "paymentGatewayRef": {"name": "simulator"}}
    await api.create(f"{PLACE}/stores", _object("Store", "default", store))


async def look(api: Api, stock: Stock) -> None:
    """Take note of the version that each toy has now."""
    found = await _toys(api)
    for toy in (*stock.named, *stock.of_model):
        metadata = found[toy.name]["metadata"]
        toy.uid, toy.version = metadata["uid"], metadata["resourceVersion"]


async def events(api: Api) -> int:
    """Return how many Events there are."""
    return await count(api, f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")


async def count(api: Api, collection: str) -> int:
    """Return how many objects a collection has."""
    found = await api.get(f"{collection}?limit=1")
    return len(found["items"]) + int(found["metadata"].get("remainingItemCount", 0))


async def _seen(api: Api, toys: Iterable[Toy]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    names = {toy.name for toy in toys}
    while waits_for := await _not_seen(api, names):
        if time.monotonic() > deadline:
            raise BenchError(f"after {SETTLE_SECONDS} s the operator has yet to see: {waits_for}")
        await asyncio.sleep(0.5)


async def _not_seen(api: Api, names: set[str]) -> str:
    found = await _toys(api)
    new = [n for n in sorted(names) if found[n].get("status", {}).get("phase") != "Available"]
    gateway = await api.get(f"{PLACE}/paymentgateways/simulator")
    return ", ".join(new + ["the gateway"] * (not _is_ready(gateway)))


async def _toys(api: Api) -> dict[str, Json]:
    items = (await api.get(f"{PLACE}/toys"))["items"]
    return {item["metadata"]["name"]: item for item in items}


def _is_ready(thing: Json) -> bool:
    conditions = thing.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _toy(name: str, model: str) -> Json:
    spec: Json = {
        "title": f"Wooden train, unit {name}",
        "model": model,
        "category": "Vehicles",
        "dailyRate": {"currency": "KRW", "minorUnits": 5000},
        "parts": [{"name": "engine", "count": 1}, {"name": "wagon", "count": 4}],
        "barcode": f"880{name}",
    }
    toy = _object("Toy", name, spec)
    toy["metadata"]["labels"] = {"model": model}
    return toy


def _object(kind: str, name: str, spec: Json) -> Json:
    metadata: Json = {"name": name, "namespace": NAMESPACE}
    return {
        "apiVersion": "toyrental.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }
