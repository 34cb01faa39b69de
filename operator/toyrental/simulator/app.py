"""The simulator's HTTP face: reads requests, writes answers, and knows nothing of money.

Requests are served by asyncio; the ledger is used by one thread of its own, one request after the
other, so that waiting for the disk never keeps another request from being read or answered.
"""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import structlog
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from toyrental.simulator import answers
from toyrental.simulator.answers import Answer, RefusedError
from toyrental.simulator.ledger import Ledger
from toyrental.simulator.models import ChargeQuery, ChargeRequest, RefundQuery, RefundRequest
from toyrental.simulator.provider import Provider, Reply

MAX_BODY_BYTES = 64 * 1024
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_MAX_PROBLEMS = 5
_MAX_NAME_LENGTH = 100

_M = TypeVar("_M", bound=BaseModel)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_Handler = Callable[[Request], Awaitable[Response]]

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def build_app(ledger: Ledger, ledger_thread: Executor) -> Starlette:
    """Make the ASGI application over an open ledger, which `ledger_thread` alone may then use."""
    api = _Api(ledger, ledger_thread)
    app = Starlette(
        routes=[
            _route("/v1/charges", GET=api.list_charges, POST=api.create_charge),
            _route("/v1/charges/{id}", GET=api.get_charge),
            _route("/v1/refunds", GET=api.list_refunds, POST=api.create_refund),
            _route("/v1/account", GET=api.get_account),
            _route("/ledger", GET=api.get_ledger),
            _route("/healthz", GET=api.get_health),
        ],
        exception_handlers={404: _on_unknown_path, 405: _on_wrong_method},
    )
    # A redirect would be one more answer that callers have to think about.
    app.router.redirect_slashes = False
    return app


class _Api:
    def __init__(self, ledger: Ledger, ledger_thread: Executor) -> None:
        self._ledger = ledger
        self._provider = Provider(ledger)
        self._ledger_thread = ledger_thread
        self._keys_in_hand: set[str] = set()

    async def create_charge(self, request: Request) -> Response:
        key = _idempotency_key(request)
        asked = await _body(request, ChargeRequest)
        with self._in_hand(key):
            reply = await self._on_ledger(self._provider.charge, key, asked)
        _log.info(
            "charge",
            status=reply.answer.status,
            replayed=reply.replayed,
            idempotencyKey=key,
            amount=asked.amount,
            currency=asked.currency,
            paymentUID=asked.metadata.payment_uid,
            rentalUID=asked.metadata.rental_uid,
        )
        return _reply_response(reply)

    async def create_refund(self, request: Request) -> Response:
        key = _idempotency_key(request)
        asked = await _body(request, RefundRequest)
        with self._in_hand(key):
            reply = await self._on_ledger(self._provider.refund, key, asked)
        _log.info(
            "refund",
            status=reply.answer.status,
            replayed=reply.replayed,
            idempotencyKey=key,
            amount=asked.amount,
            paymentUID=asked.metadata.payment_uid,
            rentalUID=asked.metadata.rental_uid,
        )
        return _reply_response(reply)

    async def get_charge(self, request: Request) -> Response:
        charge = await self._on_ledger(self._ledger.charge, request.path_params["id"])
        if charge is None:
            raise RefusedError(answers.unknown_charge("id"))
        return _response(answers.ok(charge.resource()))

    async def list_charges(self, request: Request) -> Response:
        query = _query(request, ChargeQuery)
        found = await self._on_ledger(
            self._ledger.charges, payment_uid=query.payment_uid, limit=query.limit + 1
        )
        return _list_response([charge.resource() for charge in found], query.limit)

    async def list_refunds(self, request: Request) -> Response:
        query = _query(request, RefundQuery)
        found = await self._on_ledger(
            self._ledger.refunds,
            charge=query.charge,
            payment_uid=query.payment_uid,
            limit=query.limit + 1,
        )
        return _list_response([refund.resource() for refund in found], query.limit)

    async def get_account(self, _request: Request) -> Response:
        account = {"id": "acct_simulator", "object": "account", "chargesEnabled": True}
        return _response(answers.ok({**account, "livemode": False}))

    async def get_ledger(self, _request: Request) -> Response:
        return _response(await self._on_ledger(_whole_ledger, self._ledger))

    async def get_health(self, _request: Request) -> Response:
        await self._on_ledger(self._ledger.check)
        return _response(answers.ok({"status": "ok"}))

    @contextmanager
    def _in_hand(self, key: str) -> Iterator[None]:
        if key in self._keys_in_hand:
            raise RefusedError(answers.key_in_use())
        self._keys_in_hand.add(key)
        try:
            yield
        finally:
            self._keys_in_hand.remove(key)

    async def _on_ledger(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._ledger_thread, lambda: work(*args, **kwargs))


def _whole_ledger(ledger: Ledger) -> Answer:
    # Read and written out in one go: one state of the books, and the event loop stays free.
    return answers.ok(
        {
            "charges": [charge.entry() for charge in ledger.charges()],
            "refunds": [refund.entry() for refund in ledger.refunds()],
            "declines": [decline.entry() for decline in ledger.declines()],
        }
    )


def _route(path: str, **handlers: _Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        handler = handlers["GET" if request.method == "HEAD" else request.method]
        try:
            return await handler(request)
        except RefusedError as refused:
            _log.info("refused", status=refused.answer.status, code=refused.code)
            return _response(refused.answer)
        except sqlite3.Error as error:
            _log.error("ledger unavailable", reason=str(error))
            return _response(answers.unavailable())
        except Exception:  # noqa: BLE001 # the answer to a bug is JSON as well
            _log.exception("bug")
            return _response(answers.broken())

    return Route(path, endpoint, methods=list(handlers))


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


async def _body(request: Request, model: type[_M]) -> _M:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise RefusedError(
            answers.invalid(
                "content_type_unsupported",
                "The body must be JSON, sent with Content-Type: application/json.",
                status=415,
            )
        )
    body = await _read(request)
    try:
        return model.model_validate_json(body, by_name=False)
    except ValidationError as error:
        raise RefusedError(_problems(error)) from None


async def _read(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise RefusedError(
                    answers.invalid(
                        "body_too_large",
                        f"The body has more than {MAX_BODY_BYTES} bytes; no request needs as many.",
                        status=413,
                    )
                )
    except ClientDisconnect:
        raise RefusedError(answers.invalid("body_incomplete", "The body ended too soon.")) from None
    return bytes(body)


def _query(request: Request, model: type[_M]) -> _M:
    parameters = request.query_params
    if len(parameters.multi_items()) != len(parameters):
        raise RefusedError(
            answers.invalid("parameter_invalid", "A query parameter is given more than once.")
        )
    try:
        return model.model_validate(dict(parameters), by_name=False)
    except ValidationError as error:
        raise RefusedError(_problems(error)) from None


def _problems(error: ValidationError) -> Answer:
    """Say what is wrong and where, without what was sent."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    named = [
        (".".join(map(str, problem["loc"]))[:_MAX_NAME_LENGTH], problem["msg"])
        for problem in problems
    ]
    message = "; ".join(
        f"{where}: {what}" if where else what for where, what in named[:_MAX_PROBLEMS]
    )
    return answers.invalid("parameter_invalid", f"{message}.", param=named[0][0])


def _response(answer: Answer, headers: Mapping[str, str] | None = None) -> Response:
    return Response(answer.body, answer.status, headers, media_type="application/json")


def _reply_response(reply: Reply) -> Response:
    return _response(reply.answer, {"Idempotent-Replayed": "true"} if reply.replayed else None)


def _list_response(found: list[dict[str, object]], limit: int) -> Response:
    return _response(
        answers.ok({"object": "list", "data": found[:limit], "hasMore": len(found) > limit})
    )


async def _on_unknown_path(_request: Request, _error: Exception) -> Response:
    return _response(
        answers.invalid(
            "path_unknown",
            "There is nothing here. The simulator has /v1/charges, /v1/charges/{id}, /v1/refunds, "
            "/v1/account, /ledger and /healthz.",
            status=404,
        )
    )


async def _on_wrong_method(_request: Request, error: Exception) -> Response:
    allowed = error.headers if isinstance(error, HTTPException) else None
    return _response(
        answers.invalid(
            "method_unsupported",
            "This path does not take this method; the Allow header names those it takes.",
            status=405,
        ),
        allowed,
    )
