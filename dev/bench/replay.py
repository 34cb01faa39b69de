"""The ceiling: the requests of a life, sent by the client itself, with no operator there."""

import json
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from . import lives, shop
from .api import CONNECTIONS, Api
from .errors import BenchError
from .recording import (
    FRESH,
    PAYMENT,
    PAYMENT_UID,
    RENTAL,
    RENTAL_UID,
    TOY,
    TOY_UID,
    VERSION,
    Request,
    Script,
)


class Provider:
    """Charges at the simulator as the operator does."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def charge(self, payment_uid: str, rental_uid: str) -> None:
        """Take the price of a rental."""
        if self._session is None:
            raise RuntimeError("the provider is used as a context manager")
        body: dict[str, Any] = {
            "amount": 15000,
            "currency": "KRW",
            "method": shop.CARD,
            "metadata": {"paymentUID": payment_uid, "rentalUID": rental_uid},
        }
        key = {"Idempotency-Key": f"{payment_uid}:charge:1"}
        async with self._session.post(
            f"{self._endpoint}/v1/charges", json=body, headers=key
        ) as answer:
            if answer.status != 200:
                raise BenchError(f"the simulator answered {answer.status}")
            await answer.read()


class Replay:
    """Sends what operator and users sent, in the same order and with the same preconditions."""

    def __init__(self, api: Api, provider: Provider, scripts: tuple[Script, Script]) -> None:
        self._api = api
        self._provider = provider
        self._scripts = scripts

    async def live(self, number: int, toy: shop.Toy) -> None:
        """Send the requests of one life."""
        known = {RENTAL: lives.name_of(number), TOY: toy.name, TOY_UID: toy.uid}
        toy_path = f"{shop.PLACE}/toys/{toy.name}"
        versions = {toy_path: toy.version}
        for request in self._scripts[number % 2]:
            if request.needs_capture:
                await self._provider.charge(known[PAYMENT_UID], known[RENTAL_UID])
            await self._send(request, known, versions)
        toy.version = versions[toy_path]

    async def _send(
        self, request: Request, known: dict[str, str], versions: dict[str, str]
    ) -> None:
        path = _filled(request.path, known)
        thing = path.removesuffix("/status")
        fill = {**known, VERSION: versions.get(thing, ""), FRESH: f"event.{uuid.uuid4().hex[:16]}"}
        body = json.loads(_filled(request.body, fill))
        if request.verb == "create":
            metadata = (await self._api.create(path, body))["metadata"]
            thing = f"{path}/{metadata['name']}"
            known |= _learned(request, metadata)
        else:
            metadata = (await self._api.patch(path, body))["metadata"]
        versions[thing] = metadata["resourceVersion"]


def _learned(request: Request, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what is known once an object was created: the uid that the API server gave it."""
    match request.counted_as:
        case "create rentals":
            uid = metadata["uid"]
            return {RENTAL_UID: uid, PAYMENT: f"{metadata['name']}-{uid[:8]}"}
        case "create payments":
            return {PAYMENT_UID: metadata["uid"]}
        case _:
            return {}


def _filled(text: str, known: Mapping[str, str]) -> str:
    for token, value in known.items():
        text = text.replace(token, value)
    return text
