"""A busy day in a toy library, in two minutes: something for every panel and list to show.

Nobody follows a script. Every half second each person looks at the shop and does, by chance, what
they might do next.
"""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from dev.bench.api import KINDS, Api, Json

LOOK_EVERY_SECONDS = 0.5
MOST_ORDERS = 14
CUSTOMERS = ("mina", "ryu", "sora", "juno", "nari", "haru", "yuna", "theo")
KEEPER = "theo"
"""Whose orders are never brought back: there is something overdue in the evening."""
DECLINED, CHARGED = "pm_card_chargeDeclined", "pm_card_visa"

TROUBLE = (0.45, 0.6)
"""From when until when, as shares of the day, payments are suspended."""
EVENING = 0.9
"""From when on nobody is in the shop: what comes in then waits for the owner."""


class Day:
    """The people of a shop, and what they do."""

    def __init__(self, api: Api, namespace: str, toys: list[str], chance: random.Random) -> None:
        self._api = api
        self._place = f"{KINDS}/{namespace}"
        self._toys = toys
        self._chance = chance
        self._number = count(1)
        self._suspended = False

    async def play(self, seconds: float) -> None:
        """Play a day of so many seconds."""
        began = time.monotonic()
        await self._orders(KEEPER, due_in_seconds=seconds / 4)
        while (gone := (time.monotonic() - began) / seconds) < 1:
            await self._provider(suspended=TROUBLE[0] < gone < TROUBLE[1])
            await self._look(owner_is_there=gone < EVENING)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _provider(self, *, suspended: bool) -> None:
        if suspended != self._suspended:
            change = {"spec": {"suspended": suspended}}
            await self._api.patch(f"{self._place}/paymentgateways/simulator", change)
            self._suspended = suspended

    async def _look(self, *, owner_is_there: bool) -> None:
        rentals = (await self._api.get(f"{self._place}/rentals"))["items"]
        under_way = [each for each in rentals if _phase(each) not in _ENDED]
        most = MOST_ORDERS if owner_is_there else 2 * MOST_ORDERS
        if len(under_way) < most and self._happens(0.6):
            await self._orders(self._chance.choice(CUSTOMERS[:-1]))
        for rental in under_way:
            change = self._customer(rental)
            if change is None and owner_is_there:
                change = self._owner(rental)
            if change is not None:
                await self._change("rentals", rental, change)
        if owner_is_there:
            for ticket in (await self._api.get(f"{self._place}/repairtickets"))["items"]:
                if (change := self._repairer(ticket)) is not None:
                    await self._change("repairtickets", ticket, change)

    async def _orders(self, customer: str, due_in_seconds: float | None = None) -> None:
        period: Json = {"days": self._chance.randint(1, 14)}
        if due_in_seconds is not None:
            start = datetime.now(UTC) + timedelta(seconds=due_in_seconds) - timedelta(days=1)
            period = {"days": 1, "startTime": f"{start:%Y-%m-%dT%H:%M:%SZ}"}
        method = DECLINED if customer != KEEPER and self._happens(0.12) else CHARGED
        name = f"{customer}-{next(self._number):03}"
        spec = {
            "customer": customer,
            "toyRef": {"name": self._chance.choice(self._toys)},
            "period": period,
            "paymentMethod": method,
        }
        order = {"apiVersion": "toyrental.dev/v1alpha1", "kind": "Rental", "spec": spec}
        await self._api.create(f"{self._place}/rentals", order | {"metadata": {"name": name}})

    def _customer(self, rental: Json) -> Json | None:
        spec, phase = rental["spec"], _phase(rental)
        if spec["customer"] == KEEPER:
            return None
        if phase == "Rented" and self._happens(0.06):
            return {"desiredState": "Returned"}
        if phase == "Reserved" and spec.get("paymentMethod") == DECLINED and self._happens(0.05):
            return {"paymentMethod": CHARGED}
        if phase == "Pending" and self._happens(0.01):
            return {"desiredState": "Cancelled"}
        return None

    def _owner(self, rental: Json) -> Json | None:
        spec, phase = rental["spec"], _phase(rental)
        if phase == "Paid" and "approval" not in spec and self._happens(0.3):
            if self._happens(0.1):
                return {"approval": {"decision": "Denied", "reason": "It is promised already."}}
            return {"approval": {"decision": "Approved"}}
        if phase == "Returned" and "inspection" not in spec and self._happens(0.3):
            return {"inspection": {"result": "Damaged" if self._happens(0.2) else "Accepted"}}
        return None

    def _repairer(self, ticket: Json) -> Json | None:
        phase, spec = _phase(ticket), ticket["spec"]
        if phase == "Open" and "assignee" not in spec and self._happens(0.1):
            return {"assignee": "hana"}
        if phase == "InRepair" and "resolution" not in spec and self._happens(0.05):
            return {"resolution": {"outcome": "Repaired"}}
        return None

    def _happens(self, share: float) -> bool:
        return self._chance.random() < share

    async def _change(self, plural: str, found: Json, change: Json) -> None:
        name: Any = found["metadata"]["name"]
        await self._api.patch(f"{self._place}/{plural}/{name}", {"spec": change})


_ENDED = frozenset({"Completed", "Cancelled", "Rejected", "Expired"})


def _phase(found: Json) -> str:
    return str(found.get("status", {}).get("phase", ""))
