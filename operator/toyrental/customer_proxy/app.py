"""The proxy, as a web application: it speaks the API server's own paths, so that kubectl fits."""

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from toyrental.customer_proxy import rules
from toyrental.customer_proxy.callers import AGENT, Callers
from toyrental.customer_proxy.rules import OneRental, OwnRentals, Query
from toyrental.kube.errors import ApiError, Unavailable
from toyrental.kube.forward import Answer, Forwarder, Outgoing
from toyrental.rentals.models import Rental
from toyrental.shared.resource import GROUP, VERSION

LIVE = "/livez"
LONGEST_BODY = 1024 * 1024
BODY_SECONDS = 30.0
MOST_AT_ONCE = 32
"""Requests of one customer, watches among them."""

_RENTALS = Rental.SERVED.plural
_SENT_ON = ("accept", "content-type", "user-agent")
_SENT_BACK = ("content-type", "content-length", "cache-control", "etag", "retry-after", "warning")
_OK = 200

logger = logging.getLogger(__name__)


class Refused(Exception):
    """The proxy answers by itself, in the form of the API server: a Status."""

    def __init__(self, code: int, reason: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.details = code, reason, details

    def response(self) -> Response:
        """Return the answer."""
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        headers = {"Retry-After": "1"} if self.code in {429, 503} else {}
        return JSONResponse(status, self.code, headers)


class CustomerProxy:
    """An ASGI application, as uvicorn serves it."""

    def __init__(self, forwarder: Forwarder, callers: Callers) -> None:
        self._forwarder = forwarder
        self._callers = callers
        self._under_way: Counter[str] = Counter()
        self._watches: set[Answer] = set()

    def end_watches(self) -> None:
        """End the watches as the API server ends them, in good order: the process is to end."""
        for watch in self._watches:
            watch.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        request = Request(scope, receive)
        try:
            await self._serve(request, noting)
        except Refused as refused:
            await refused.response()(scope, receive, send)
        except ClientDisconnect:
            pass
        except ApiError as error:
            logger.warning("%s", error)
            if not begun:  # else it is cut off, as the API server's answer was
                away = Refused(503, "ServiceUnavailable", "the API server does not answer")
                await away.response()(scope, receive, send)

    async def _serve(self, request: Request, send: Send) -> None:
        path = request.scope["raw_path"].decode("latin-1")
        if path == LIVE:
            await _send(PlainTextResponse("ok\n"), request, send)
            return
        token = _token(request)
        customer = await self._callers.whose(token)
        if customer is None:
            raise _unauthorized()
        if self._under_way[customer] >= MOST_AT_ONCE:
            raise Refused(429, "TooManyRequests", f"{MOST_AT_ONCE} requests at once are enough")
        self._under_way[customer] += 1
        try:
            await self._judged(request, path, token, customer, send)
        except rules.Ambiguous as error:
            raise Refused(400, "BadRequest", str(error)) from error
        finally:
            self._under_way[customer] -= 1
            if not self._under_way[customer]:
                del self._under_way[customer]

    async def _judged(
        self, request: Request, path: str, token: str, customer: str, send: Send
    ) -> None:
        match rules.judge(request.method, path):
            case None:
                raise _forbidden(
                    "not served here: customers see their own rentals, and toys, in a namespace"
                )
            case OwnRentals(None):
                raise _forbidden("name the shop whose orders to see: kubectl -n NAMESPACE")
            case OwnRentals(str(shop)):
                own = rules.own_list(_query(request), customer)
                await self._list(request, shop, own, send)
            case OneRental(shop, name) if request.method == "GET":
                own = rules.own_one(_query(request), customer, name)
                await self._read(request, OneRental(shop, name), own, send)
            case OneRental() as one:
                await self._refuse_anothers(one, customer)
                await self._pass(request, path, token, send)
            case _:
                await self._pass(request, path, token, send)

    async def _list(self, request: Request, shop: str, own: Query, send: Send) -> None:
        """Stream a list or a watch of what is the customer's."""
        listing = _listing(shop, own, request.headers.get("accept", "*/*"))
        async with self._forwarder.send(listing) as answer:
            _refuse_unserved(answer, shop)
            await self._stream(request, answer, send, watch=listing.watches)

    async def _read(self, request: Request, one: OneRental, own: Query, send: Send) -> None:
        """Answer with the one object of a list, which has it only if it is the customer's.

        So there is no moment between looking whose it is and reading it.
        """
        accept = rules.as_list(request.headers.get("accept", ""))
        async with self._forwarder.send(_listing(one.shop, own, accept)) as answer:
            _refuse_unserved(answer, one.shop)
            if answer.status != _OK:
                await self._stream(request, answer, send)
                return
            found = json.loads(await answer.read())
        is_table = found["kind"] == "Table"
        items = found["rows"] if is_table else found["items"]
        if not items:
            raise _not_found(one.name)
        await _send(JSONResponse(found if is_table else items[0]), request, send)

    async def _refuse_anothers(self, one: OneRental, customer: str) -> None:
        """Raise Refused where that rental is another customer's, as if there were none.

        The API server would refuse the write, but on the way to that it answers questions: whether
        a JSON patch's `test` holds, say.
        """
        query = rules.anothers(customer, one.name)
        listing = _listing(one.shop, query, rules.LIST_OF_NAMES)
        async with self._forwarder.send(listing) as answer:
            _refuse_unserved(answer, one.shop)
            if answer.status != _OK:
                raise Unavailable("looking whose a rental is", f"answer {answer.status}")
            if json.loads(await answer.read())["items"]:
                raise _not_found(one.name)

    async def _pass(self, request: Request, path: str, token: str, send: Send) -> None:
        """Have the API server judge and do it, as the caller."""
        query = request.scope["query_string"].decode("latin-1")
        target = path + (f"?{query}" if query else "")
        headers, watches = _of(request.headers, _SENT_ON), rules.watches(_query(request))
        outgoing = Outgoing(request.method, target, headers, await _body(request), watches)
        async with self._forwarder.send(outgoing, token) as answer:
            await self._stream(request, answer, send, watch=watches)

    async def _stream(
        self, request: Request, answer: Answer, send: Send, *, watch: bool = False
    ) -> None:
        if watch:
            self._watches.add(answer)
        try:
            headers = _of(answer.headers, _SENT_BACK)
            response = StreamingResponse(answer.chunks(), answer.status, headers)
            await _send(response, request, send)
        finally:
            self._watches.discard(answer)


def _listing(shop: str, query: Query, accept: str) -> Outgoing:
    """Return a list or a watch of rentals, to be made as the proxy."""
    target = f"/apis/{GROUP}/{VERSION}/namespaces/{shop}/{_RENTALS}?{urlencode(query)}"
    headers = {"Accept": accept, "User-Agent": AGENT}
    return Outgoing("GET", target, headers, watches=rules.watches(query))


async def _send(response: Response, request: Request, send: Send) -> None:
    await response(request.scope, request.receive, send)


def _query(request: Request) -> Query:
    return parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _of(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """Return these headers: all others, hop-by-hop ones and who one says one is, go no further."""
    return {name: headers[name] for name in names if name in headers}


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not re.fullmatch(r"[\x21-\x7e]+", token.strip()):
        raise _unauthorized()
    return token.strip()


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LONGEST_BODY:
                    raise Refused(
                        413, "RequestEntityTooLarge", f"a body has at most {LONGEST_BODY} bytes"
                    )
    except TimeoutError as error:
        raise Refused(408, "Timeout", "the body did not come in time") from error
    return bytes(body)


def _unauthorized() -> Refused:
    return Refused(401, "Unauthorized", "Unauthorized")


def _forbidden(message: str) -> Refused:
    return Refused(403, "Forbidden", message)


def _not_found(name: str) -> Refused:
    """Return what the API server says of a rental that is not there, to the letter."""
    message = f'{_RENTALS}.{GROUP} "{name}" not found'
    return Refused(404, "NotFound", message, name=name, group=GROUP, kind=_RENTALS)


def _refuse_unserved(answer: Answer, shop: str) -> None:
    """Raise Refused where this proxy may not read the shop, Unavailable where it is not known."""
    if answer.status == 403:
        raise _forbidden(f"this proxy serves no shop named {shop}")
    if answer.status == 401:
        raise Unavailable("reading orders", "the credentials of this proxy are refused")
