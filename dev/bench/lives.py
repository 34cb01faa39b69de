"""Playing the users' part in lives of rentals: order and pay, approve, return, inspect."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from . import shop
from .api import Api, Json
from .errors import BenchError
from .shop import Stock, Toy

STEP_SECONDS = 60
_BAD_ENDS = ("Cancelled", "Rejected", "Expired")

Life = Callable[[int, Toy], Awaitable[None]]


async def play(numbers: range, in_flight: int, stock: Stock, life: Life) -> None:
    """Play the lives of these numbers, so many at a time, each with a toy that nobody has."""
    left = iter(numbers)

    async def worker() -> None:
        for number in left:
            shelf = stock.shelf(number)
            toy = shelf.pop(0)
            await life(number, toy)
            shelf.append(toy)

    async with asyncio.TaskGroup() as workers:
        for _ in range(in_flight):
            workers.create_task(worker())


def name_of(number: int) -> str:
    """Return the name of the rental of that number."""
    return f"order-{number:05}"


class Users:
    """Customers and owner, who watch the rentals to know when to do their next step."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._phases: dict[str, str] = {}
        self._awaited: dict[str, tuple[str, asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch the shop's rentals meanwhile."""
        since = (await self._api.get(f"{shop.PLACE}/rentals?limit=1"))["metadata"]
        watch = asyncio.create_task(self._watch(since["resourceVersion"]))
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    async def live(self, number: int, toy: Toy) -> None:
        """Play the users' part in one life; the toy is asked for by its name, or by its model."""
        name = name_of(number)
        rental = f"{shop.PLACE}/rentals/{name}"
        asked_for = None if number % 2 else toy.name
        await self._api.create(f"{shop.PLACE}/rentals", shop.order(name, asked_for))
        await self._reached(name, "Paid")
        await self._api.patch(rental, shop.APPROVED)
        await self._reached(name, "Rented")
        await self._api.patch(rental, shop.RETURNED)
        await self._reached(name, "Returned")
        await self._api.patch(rental, shop.ACCEPTED)
        await self._reached(name, "Completed")

    async def _reached(self, name: str, phase: str) -> None:
        if self._phases.get(name) == phase:
            return
        reached = asyncio.get_running_loop().create_future()
        self._awaited[name] = (phase, reached)
        try:
            await asyncio.wait_for(reached, STEP_SECONDS)
        except TimeoutError:
            is_now = self._phases.get(name, "not seen")
            raise BenchError(
                f"Rental {name} is {is_now}, not {phase}, after {STEP_SECONDS} s"
            ) from None
        finally:
            del self._awaited[name]

    async def _watch(self, since: str) -> None:
        try:
            async for event in self._api.watch(f"{shop.PLACE}/rentals", since):
                self._saw(event["object"])
            raise BenchError("the API server ended the watch of the rentals")
        except Exception as error:
            for _, reached in self._awaited.values():
                if not reached.done():
                    reached.set_exception(error)
            raise

    def _saw(self, rental: Json) -> None:
        name, phase = rental["metadata"]["name"], rental.get("status", {}).get("phase")
        if phase is None or phase == self._phases.get(name):
            return
        self._phases[name] = phase
        awaited, reached = self._awaited.get(name, ("", None))
        if reached is None or reached.done():
            return
        if phase == awaited:
            reached.set_result(None)
        elif phase in _BAD_ENDS:
            reached.set_exception(BenchError(f"Rental {name} ended {phase}, not {awaited}"))
