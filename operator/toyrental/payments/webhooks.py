"""Webhooks: a provider says that something happened to a payment, and that is looked up at once.

It is a hint and no more: nothing that it says is believed or kept, and without any all goes on as
well, only later. docs/decisions/webhooks.md has the reasons.
"""

import asyncio
import json
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from toyrental.kube.cache import Cache
from toyrental.payments import metrics, signatures
from toyrental.payments.gateways import Gateways
from toyrental.payments.metrics import Place
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.payments.providers.http import member
from toyrental.payments.signatures import Verdict
from toyrental.shared.resource import Key, Resource
from toyrental.shared.web import configured

PATH = "/webhooks"

LONGEST_BODY = 256 * 1024
"""Bytes: Stripe's events are some kilobytes long."""

BODY_SECONDS = 10.0
CONNECTION_SECONDS = 15.0
"""How long a connection lasts at most, from its first byte to the answer."""

MOST_CONNECTIONS = 64
PER_SECOND, BURST = 50.0, 200.0
"""How many requests are looked at for each path; whoever sends them."""

MOST_PATHS = 1024
MOST_EVENTS = 10_000
"""How many paths' rates and how many events are remembered."""

REFUSAL_SECONDS = 0.1
"""How long an unsigned request waits for its answer: as long with a gateway as with none."""

BY_UID = "payments/by-uid"

logger = logging.getLogger(__name__)


class Result(StrEnum):
    """What became of a request."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    NOT_OURS = "not_ours"
    UNSIGNED = "unsigned"
    STALE = "stale"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    TOO_MANY = "too_many"
    STANDS_BY = "stands_by"


ANSWERS: dict[Result, tuple[int, str]] = {
    Result.ACCEPTED: (200, "The payment is looked up."),
    Result.DUPLICATE: (200, "That was told before."),
    Result.NOT_OURS: (200, "That is about no payment of this gateway."),
    Result.UNSIGNED: (401, "No gateway of this name shares the secret this was signed with."),
    Result.STALE: (400, "The signature is not of now: it is too old, or a clock is wrong."),
    Result.MALFORMED: (400, "That is no event: it takes a JSON object with an id."),
    Result.TOO_LARGE: (413, f"An event has at most {LONGEST_BODY} bytes."),
    Result.TOO_SLOW: (408, "The body did not come in time."),
    Result.TOO_MANY: (429, "Too many requests; try later."),
    Result.STANDS_BY: (503, "This operator stands by; another one works."),
}


class Receiver:
    """Judges what is sent, and has the payments looked up that it is about."""

    def __init__(
        self,
        cache: Cache,
        gateways: Gateways,
        look_at: Callable[[Key], None],
        leads: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._gateways = gateways
        self._look_at = look_at
        self._leads = leads
        self._clock = clock
        self._events: OrderedDict[tuple[Place, str], None] = OrderedDict()
        cache.add_index("Payment", BY_UID, lambda payment: [payment.uid])

    async def receive(self, place: Place, signature: str, body: bytes) -> Result:
        """Take in what was sent to a gateway's path."""
        if not self._leads():
            return Result.STANDS_BY
        gateway = self._cache.get(Key("PaymentGateway", *place))
        secret = None
        if isinstance(gateway, PaymentGateway):
            secret = await self._gateways.webhook_secret(gateway)
        # Without a secret the same is done, in vain: the time it takes shall not tell.
        shared = secret.value if secret is not None else "none"
        verdict = signatures.judge(signature, body, shared.encode(), self._clock())
        if secret is None or verdict is Verdict.FORGED:
            return Result.UNSIGNED
        return Result.STALE if verdict is Verdict.STALE else self._heed(place, body)

    def _heed(self, place: Place, body: bytes) -> Result:
        """Have the payment looked up that an event of the provider is about."""
        event = _read(body)
        id_ = member(event, "id")
        if not isinstance(id_, str) or not 0 < len(id_) <= 255:
            return Result.MALFORMED
        if (place, id_) in self._events:
            return Result.DUPLICATE
        self._events[place, id_] = None
        if len(self._events) > MOST_EVENTS:
            self._events.popitem(last=False)
        uid = member(event, "data", "object", "metadata", "paymentUID")
        key = self._payment(place, uid) if isinstance(uid, str) else None
        if key is None:
            return Result.NOT_OURS
        self._gateways.tell(key)
        self._look_at(key)
        return Result.ACCEPTED

    def _payment(self, place: Place, uid: str) -> Key | None:
        for key in self._cache.keys_under("Payment", BY_UID, uid):
            payment = self._cache.get(key)
            if _is_of(payment, place):
                return key
        return None


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _is_of(payment: Resource | None, place: Place) -> bool:
    """Tell whether a payment is one of this gateway."""
    if not isinstance(payment, Payment) or payment.spec.gateway_ref is None:
        return False
    return Place(payment.namespace, payment.spec.gateway_ref.name) == place


class Rates:
    """How often something may be asked for each path: a bucket of tokens each, of few paths."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[Place, tuple[float, float]] = OrderedDict()

    def admit(self, place: Place) -> bool:
        """Tell whether one more may be looked at."""
        now = self._clock()
        tokens, since = self._buckets.pop(place, (BURST, now))
        tokens = min(tokens + (now - since) * PER_SECOND, BURST)
        admitted = tokens >= 1
        self._buckets[place] = (tokens - admitted, now)
        if len(self._buckets) > MOST_PATHS:
            self._buckets.popitem(last=False)
        return admitted


# --- HTTP ---


def build_app(receiver: Receiver) -> Starlette:
    """Return the web application: one path a gateway."""
    rates = Rates()

    async def result_of(request: Request, place: Place) -> Result:
        if not rates.admit(place):
            return Result.TOO_MANY
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request)
        except (TimeoutError, ClientDisconnect):
            return Result.TOO_SLOW
        if body is None:
            return Result.TOO_LARGE
        signature = request.headers.get(signatures.HEADER, "")
        return await receiver.receive(place, signature, body)

    async def endpoint(request: Request) -> Response:
        began = time.monotonic()
        place = Place(request.path_params["namespace"], request.path_params["gateway"])
        result = await result_of(request, place)
        metrics.WEBHOOKS.labels(result).inc()
        logger.debug("webhook: %s", result)
        if result is Result.UNSIGNED:
            await asyncio.sleep(max(began + REFUSAL_SECONDS - time.monotonic(), 0))
        status, text = ANSWERS[result]
        # One request a connection: so that each can be given an end.
        return PlainTextResponse(f"{text}\n", status, headers={"Connection": "close"})

    return Starlette(
        routes=[Route(f"{PATH}/{{namespace}}/{{gateway}}", endpoint, methods=["POST"])]
    )


async def _body(request: Request) -> bytes | None:
    """Return the body, as far as it is not too long."""
    told = request.headers.get("Content-Length", "")
    if told.isdecimal() and (len(told) > 9 or int(told) > LONGEST_BODY):
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            return None
    return bytes(body)


class _Protocol(H11Protocol):
    """Uvicorn's, but no connection lasts for long, however slowly it speaks."""

    def connection_made(  # type: ignore[override] # as uvicorn's own
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._end = self.loop.call_later(CONNECTION_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """Uvicorn, but leaving signals to the operator."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(receiver: Receiver, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    """Receive webhooks as long as the block lasts; give the task that does.

    The listener stays open: it is whoever opened it that closes it.
    """
    # What strangers send is counted, and not logged: that would be theirs to fill.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = configured(
        build_app(receiver),
        http=_Protocol,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener.dup()]))
    try:
        yield task
    finally:
        server.should_exit = True
        await task
