"""Servers for tests of the providers, each on a port of its own of the loopback interface.

`Scripted` answers as a test tells it to, and keeps what it was asked. `Toss` follows the public
documentation of Toss Payments: billing keys, cancels, look-ups, idempotency by key, URL and method.
"""

import asyncio
import base64
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiohttp import web

Json = dict[str, Any]
Answer = Callable[["Asked"], Awaitable[web.StreamResponse]]


class Asked(NamedTuple):
    """A request, as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str]
    json: Json | None
    request: web.Request


class Server:
    """A server of one test."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        form: dict[str, str] = {}
        content: Json | None = None
        if request.content_type == "application/json" and request.can_read_body:
            content = await request.json()
        elif request.can_read_body:
            form = {name: str(value) for name, value in (await request.post()).items()}
        asked = Asked(
            request.method,
            request.raw_path.partition("?")[0],
            dict(request.query),
            dict(request.headers),
            form,
            content,
            request,
        )
        self.asked.append(asked)
        return await self.answer(asked)

    async def answer(self, asked: Asked) -> web.StreamResponse:
        """Answer a request."""
        raise NotImplementedError


class Scripted(Server):
    """Answers as it is told: `then` is asked for each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.then: Answer = says(500)

    async def answer(self, asked: Asked) -> web.StreamResponse:
        return await self.then(asked)


def says(status: int, body: Any = None, **headers: str) -> Answer:
    """Answer with a status and a JSON body."""

    async def answer(_: Asked) -> web.StreamResponse:
        return web.json_response({} if body is None else body, status=status, headers=headers)

    return answer


def says_text(status: int, text: str, type_: str = "text/html") -> Answer:
    """Answer with something that is no JSON, or does not say so."""

    async def answer(_: Asked) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type=type_)

    return answer


async def says_nothing(_: Asked) -> web.StreamResponse:
    """Take the request, and never answer."""
    await asyncio.sleep(60)
    raise AssertionError


async def trickles(asked: Asked) -> web.StreamResponse:
    """Answer a byte at a time, each well within any timeout."""
    response = web.StreamResponse(headers={"Content-Length": "10000"})
    await response.prepare(asked.request)
    for _ in range(10000):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


async def breaks_off(asked: Asked) -> web.StreamResponse:
    """Begin an answer, and reset the connection."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(asked.request)
    await response.write(b"{")
    assert asked.request.transport is not None
    asked.request.transport.abort()
    return response


def says_raw(*lines: str) -> Answer:
    """Answer with these lines, HTTP or not, and close the connection."""

    async def answer(asked: Asked) -> web.StreamResponse:
        transport = asked.request.transport
        assert isinstance(transport, asyncio.Transport)
        transport.write("\r\n".join(lines).encode())
        transport.close()
        return web.Response()

    return answer


async def resets(asked: Asked) -> web.StreamResponse:
    """Reset the connection once the request has come."""
    assert asked.request.transport is not None
    asked.request.transport.abort()
    return web.Response()


CANCELLED = {True: "CANCELED", False: "PARTIAL_CANCELED"}


@dataclass
class TossShop:
    """The books of one shop at Toss."""

    mid: str
    orders: dict[str, Json] = field(default_factory=dict)


class Toss(Server):
    """Toss Payments by its documentation, for shops that are told apart by their keys."""

    def __init__(self) -> None:
        super().__init__()
        self.shops = {"test_sk_shop": TossShop("toyshop"), "test_sk_other": TossShop("other")}
        self.declines = {"declined": (403, "REJECT_CARD_PAYMENT")}
        self._numbers = itertools.count(1)
        self._answers: dict[tuple[str, ...], tuple[int, Json]] = {}

    async def answer(self, asked: Asked) -> web.StreamResponse:
        key = _basic_user(asked)
        shop = self.shops.get(key)
        if shop is None:
            return web.json_response({"code": "UNAUTHORIZED_KEY", "message": "."}, status=401)
        same = (key, asked.method, asked.path, asked.headers.get("Idempotency-Key", ""))
        if asked.method == "POST" and same in self._answers:
            status, body = self._answers[same]
            return web.json_response(body, status=status)
        status, answered = self._act(shop, asked)
        if asked.method == "POST" and isinstance(answered, dict):
            self._answers[same] = (status, answered)
        return web.json_response(answered, status=status)

    def _act(self, shop: TossShop, asked: Asked) -> tuple[int, Json | list[Json]]:
        match asked.method, asked.path.strip("/").split("/"):
            case "POST", ["v1", "billing", billing_key]:
                assert asked.json is not None
                return self._bill(shop, billing_key, asked.json)
            case "POST", ["v1", "payments", id_, "cancel"]:
                assert asked.json is not None
                return self._cancel(_payment(shop, id_), asked.json)
            case "GET", ["v1", "payments", "orders", order]:
                return _found(shop.orders.get(order))
            case "GET", ["v1", "payments", id_]:
                return _found(_payment(shop, id_))
            case "GET", ["v1", "transactions"]:
                taken = [each for each in shop.orders.values() if each["status"] != "ABORTED"]
                return 200, [{"mId": shop.mid, "orderId": each["orderId"]} for each in taken[:1]]
        return _error(404, "NOT_FOUND")

    def _bill(self, shop: TossShop, billing_key: str, body: Json) -> tuple[int, Json]:
        order, known = body["orderId"], shop.orders.get(body["orderId"])
        assert 6 <= len(order) <= 64
        assert order.replace("-", "").replace("_", "").isalnum()
        assert len(body["orderName"]) <= 100
        if known is not None:
            return _error(400, "ALREADY_PROCESSED_PAYMENT")
        if body["customerKey"] != "mina":
            return _error(400, "NOT_MATCHES_CUSTOMER_KEY")
        if billing_key in self.declines:
            status, code = self.declines[billing_key]
            return _error(status, code)
        if billing_key != "charged%3D%3D":
            return _error(400, "INVALID_BILL_KEY_REQUEST")
        number = next(self._numbers)
        shop.orders[order] = {
            "mId": shop.mid,
            "version": "2022-11-16",
            "paymentKey": f"toss{number}",
            "orderId": order,
            "orderName": body["orderName"],
            "status": "DONE",
            "currency": "KRW",
            "totalAmount": body["amount"],
            "balanceAmount": body["amount"],
            "cancels": None,
            "failure": None,
        }
        return 200, dict(shop.orders[order])

    def _cancel(self, payment: Json | None, body: Json) -> tuple[int, Json]:
        if payment is None:
            return _error(404, "NOT_FOUND_PAYMENT")
        if payment["status"] == "CANCELED":
            return _error(400, "ALREADY_CANCELED_PAYMENT")
        if body["cancelAmount"] > payment["balanceAmount"]:
            return _error(403, "NOT_CANCELABLE_AMOUNT")
        assert len(body["cancelReason"]) <= 200
        payment["balanceAmount"] -= body["cancelAmount"]
        payment["status"] = CANCELLED[payment["balanceAmount"] == 0]
        cancel = {
            "cancelReason": body["cancelReason"],
            "cancelAmount": body["cancelAmount"],
            "cancelStatus": "DONE",
            "transactionKey": f"t{next(self._numbers)}",
        }
        payment["cancels"] = [*(payment["cancels"] or []), cancel]
        return 200, dict(payment)


def _basic_user(asked: Asked) -> str:
    scheme, _, encoded = asked.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return ""
    user, colon, password = base64.b64decode(encoded).decode().partition(":")
    return user if colon and not password else ""


def _payment(shop: TossShop, id_: str) -> Json | None:
    return next((each for each in shop.orders.values() if each["paymentKey"] == id_), None)


def _found(payment: Json | None) -> tuple[int, Json]:
    return (200, payment) if payment is not None else _error(404, "NOT_FOUND_PAYMENT")


def _error(status: int, code: str) -> tuple[int, Json]:
    return status, {"code": code, "message": "There is a secret in here: canary"}
