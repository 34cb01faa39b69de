"""The simulator's HTTP face: reads requests, writes answers, and knows nothing of money.

Requests are served by asyncio; the ledger is used by one thread of its own, one request after the
other, so that waiting for the disk never keeps another request from being read or answered.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from toyrental.simulator import answers, events, wire
from toyrental.simulator.answers import Answer, RefusedError
from toyrental.simulator.books import Books
from toyrental.simulator.failures import Failures
from toyrental.simulator.fault_kinds import Facts, Operation
from toyrental.simulator.injection import Injector
from toyrental.simulator.keys import ApiKeys
from toyrental.simulator.ledger import Ledger
from toyrental.simulator.models import (
    ChargeQuery,
    ChargeRequest,
    Metadata,
    RefundQuery,
    RefundRequest,
)
from toyrental.simulator.provider import Conduct, Provider, Reply

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_DIRECTORY = (
    "The simulator has /v1/charges, /v1/charges/{id}, /v1/refunds, /v1/account, /ledger, "
    "/ledger/declines and /healthz."
)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Shape(NamedTuple):
    """What sets one simulator apart from another."""

    account: str
    keys: ApiKeys | None = None
    """Without them nobody is asked for a key."""

    tell: Callable[[events.Event, Facts], None] | None = None
    """Sends events to whoever listens."""


def build_app(books: Books, injector: Injector, shape: Shape, failures: Failures) -> Starlette:
    """Make the ASGI application."""
    api = _Api(books, injector, shape, failures)
    routes = [
        wire.route("/v1/charges", GET=api.list_charges, POST=api.create_charge),
        wire.route("/v1/charges/{id}", GET=api.get_charge),
        wire.route("/v1/refunds", GET=api.list_refunds, POST=api.create_refund),
        wire.route("/v1/account", GET=api.get_account),
        wire.route("/ledger", GET=api.get_ledger),
        wire.route("/ledger/declines", GET=api.get_declines),
        wire.route("/healthz", GET=api.get_health),
    ]
    return wire.build(routes, _DIRECTORY)


class _Api:
    def __init__(self, books: Books, injector: Injector, shape: Shape, failures: Failures) -> None:
        self._books = books
        self._failures = failures
        self._provider = Provider(books.ledger)
        self._injector = injector
        self._shape = shape
        self._keys_in_hand: set[str] = set()

    async def create_charge(self, request: Request) -> Response:
        self._admit(request)
        key = _idempotency_key(request)
        asked = await wire.body(request, ChargeRequest)
        facts = _facts(Operation.CHARGE, asked.metadata, asked.method)

        async def charge(conduct: Conduct) -> Response:
            reply = await self._books.use(self._provider.charge, key, asked, conduct)
            _log.info("charge", **_told(reply, key, asked), currency=asked.currency)
            self._tell_of_charge(reply, asked, facts)
            return _reply_response(reply)

        with self._in_hand(key):
            return await self._injector.lead(request, facts, charge)

    async def create_refund(self, request: Request) -> Response:
        self._admit(request)
        key = _idempotency_key(request)
        asked = await wire.body(request, RefundRequest)
        facts = _facts(Operation.REFUND, asked.metadata)

        async def refund(conduct: Conduct) -> Response:
            reply = await self._books.use(self._provider.refund, key, asked, conduct)
            _log.info("refund", **_told(reply, key, asked))
            await self._tell_of_refund(reply, asked, facts)
            self._failures.look()
            return _reply_response(reply)

        with self._in_hand(key):
            return await self._injector.lead(request, facts, refund)

    async def get_charge(self, request: Request) -> Response:
        self._admit(request)
        name: str = request.path_params["id"]

        async def find(conduct: Conduct) -> Response:
            charge = await self._books.use(self._provider.find_charge, name, conduct)
            if charge is None:
                raise RefusedError(answers.unknown_charge("id"))
            return wire.response(answers.ok(charge.resource()))

        return await self._injector.lead(request, Facts(Operation.LOOKUP), find)

    async def list_charges(self, request: Request) -> Response:
        self._admit(request)
        query = wire.query(request, ChargeQuery)

        async def find(conduct: Conduct) -> Response:
            found = await self._books.use(self._provider.find_charges, query, conduct)
            return _list_response([charge.resource() for charge in found], query.limit)

        facts = Facts(Operation.LOOKUP, payment_uid=query.payment_uid)
        return await self._injector.lead(request, facts, find)

    async def list_refunds(self, request: Request) -> Response:
        self._admit(request)
        query = wire.query(request, RefundQuery)

        async def find(conduct: Conduct) -> Response:
            found = await self._books.use(self._provider.find_refunds, query, conduct)
            return _list_response([refund.resource() for refund in found], query.limit)

        facts = Facts(Operation.LOOKUP, payment_uid=query.payment_uid)
        return await self._injector.lead(request, facts, find)

    async def get_account(self, request: Request) -> Response:
        self._admit(request)

        async def show(_conduct: Conduct) -> Response:
            account = {"id": self._shape.account, "object": "account", "chargesEnabled": True}
            return wire.response(answers.ok({**account, "livemode": False}))

        return await self._injector.lead(request, Facts(Operation.ACCOUNT), show)

    async def get_ledger(self, _request: Request) -> Response:
        return wire.response(await self._books.use(_money, self._books.ledger))

    async def get_declines(self, _request: Request) -> Response:
        return wire.response(await self._books.use(_declines, self._books.ledger))

    async def get_health(self, _request: Request) -> Response:
        await self._books.use(self._books.ledger.check)
        return wire.response(answers.ok({"status": "ok"}))

    def _admit(self, request: Request) -> None:
        keys = self._shape.keys
        if keys is not None and not keys.admit(request.headers.get("authorization")):
            raise RefusedError(answers.unauthorized())

    @contextmanager
    def _in_hand(self, key: str) -> Iterator[None]:
        if key in self._keys_in_hand:
            raise RefusedError(answers.key_in_use())
        self._keys_in_hand.add(key)
        try:
            yield
        finally:
            self._keys_in_hand.remove(key)

    def _tell_of_charge(self, reply: Reply, asked: ChargeRequest, facts: Facts) -> None:
        tell = self._shape.tell
        if tell is None or reply.replayed:
            return
        if reply.answer.status == 200:
            tell(events.charged(reply.answer), facts)
        else:
            tell(events.declined(asked, reply.answer), facts)

    async def _tell_of_refund(self, reply: Reply, asked: RefundRequest, facts: Facts) -> None:
        tell = self._shape.tell
        if tell is None or reply.replayed or reply.answer.status != 200:
            return
        charge = await self._books.use(self._books.ledger.charge, asked.charge)
        if charge is not None:
            tell(events.refunded(charge), facts)


def _money(ledger: Ledger) -> Answer:
    # Read and written out in one go: one state of the books, and the event loop stays free.
    return answers.ok(
        {
            "charges": [charge.entry() for charge in ledger.charges()],
            "refunds": [refund.entry() for refund in ledger.refunds()],
        }
    )


def _declines(ledger: Ledger) -> Answer:
    return answers.ok({"declines": [decline.entry() for decline in ledger.declines()]})


def _idempotency_key(request: Request) -> str:
    keys = request.headers.getlist("idempotency-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise RefusedError(
            answers.invalid(
                "idempotency_key_invalid",
                "One Idempotency-Key header of 1 to 255 printable ASCII characters without spaces "
                "is required. Send the same key again whenever this request is repeated.",
                param="Idempotency-Key",
            )
        )
    return keys[0]


def _facts(operation: Operation, metadata: Metadata, method: str | None = None) -> Facts:
    return Facts(operation, method, metadata.payment_uid, metadata.rental_uid)


def _told(reply: Reply, key: str, asked: ChargeRequest | RefundRequest) -> dict[str, object]:
    """Say what the log may: neither the payment method nor the customer."""
    return {
        "status": reply.answer.status,
        "replayed": reply.replayed,
        "idempotencyKey": key,
        "amount": asked.amount,
        "paymentUID": asked.metadata.payment_uid,
        "rentalUID": asked.metadata.rental_uid,
    }


def _reply_response(reply: Reply) -> Response:
    headers = {"Idempotent-Replayed": "true"} if reply.replayed else None
    return wire.response(reply.answer, headers)


def _list_response(found: list[dict[str, object]], limit: int) -> Response:
    return wire.response(
        answers.ok({"object": "list", "data": found[:limit], "hasMore": len(found) > limit})
    )
