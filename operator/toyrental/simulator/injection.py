"""Carries out on a request what the faults that strike it say.

A turn is one request's way past the faults: `before` anything is done, in the provider's conduct
while it is done, and `after`. What a client then sees is real: sockets are reset, not imitated.
"""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from toyrental.simulator import answers, wire
from toyrental.simulator.answers import RefusedError
from toyrental.simulator.fault_kinds import (
    Decline,
    Drop,
    Error,
    Facts,
    Garble,
    KeyExpiry,
    Latency,
    LookupLag,
    Outage,
    RateLimit,
    RefundFailure,
    Reset,
    Trickle,
    When,
)
from toyrental.simulator.faults import Faults
from toyrental.simulator.models import RefundStatus
from toyrental.simulator.provider import NORMAL, Conduct, LateFailure
from toyrental.simulator.tokens import DECLINES, CardDecline

TRANSPORT = "transport"
"""Where a request's scope holds the connection it came on (in its `state`)."""

_MOMENT_SECONDS = 2
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_OTHER_CURRENCY = "XTS"  # reserved for tests by ISO 4217
_HTML = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"

Act = Callable[[Conduct], Awaitable[Response]]


class Injector:
    """Leads requests past the faults."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._released = asyncio.Event()
        self._leading: set[asyncio.Task[Any]] = set()

    def release(self) -> None:
        """Let go of all requests that wait: what has not been done by now will not be."""
        self._released.set()
        self._released = asyncio.Event()

    async def released(self) -> None:
        """Let go of all requests that wait, and give them a moment to end."""
        held = self._leading - {asyncio.current_task()}
        self.release()
        if held:
            await asyncio.wait(held, timeout=_MOMENT_SECONDS)

    async def lead(self, request: Request, facts: Facts, act: Act) -> Response:
        """Answer a request by `act`, or as the faults that strike it say."""
        if not self._faults:
            return await act(NORMAL)
        self._follow(asyncio.current_task())
        turn = _Turn(self._faults, facts, self._released)
        early = await turn.before(request)
        if early is not None:
            return early
        try:
            response = await act(turn)
        except RefusedError as error:
            response = wire.refused(error)
        return await turn.after(response)

    def _follow(self, task: asyncio.Task[Any] | None) -> None:
        if task is not None:
            self._leading.add(task)
            task.add_done_callback(self._leading.discard)


class _Turn(Conduct):
    def __init__(self, faults: Faults, facts: Facts, released: asyncio.Event) -> None:
        self._faults = faults
        self._facts = facts
        self._released = released
        self._lags: list[float] | None = None

    async def before(self, request: Request) -> Response | None:
        """Wait, and give the answer that the request gets without anything being done."""
        await self._wait(When.BEFORE)
        if self._released.is_set():
            return _Cut()
        for outage in self._faults.strike(Outage, self._facts):
            if outage.definition.answer == "hang":
                await _first_of(self._released.wait(), _gone(request.receive))
                return _Cut()
            return wire.response(answers.outage())
        for _ in self._faults.strike(Reset, self._facts):
            return _Cut(reset=True)
        for limit in self._faults.strike(RateLimit, self._facts):
            seconds = limit.definition.retry_after_seconds
            return wire.response(answers.rate_limited(), {"Retry-After": str(seconds)})
        return self._error(When.BEFORE)

    async def after(self, response: Response) -> Response:
        """Wait, and give what becomes of the answer."""
        await self._wait(When.AFTER)
        for _ in self._faults.strike(Drop, self._facts):
            return _Cut()
        error = self._error(When.AFTER)
        if error is not None:
            return error
        for garble in self._faults.strike(Garble, self._facts):
            response = _garbled(response, garble.definition.form)
            break
        if isinstance(response, _Cut):
            return response  # half an answer is not made a whole one by coming slowly
        for trickle in self._faults.strike(Trickle, self._facts):
            return self._trickled(response, trickle.definition.bytes_per_second)
        return response

    def forgets(self, age: float) -> bool:
        expiries = self._faults.strike(
            KeyExpiry, self._facts, lambda fault: age >= fault.key_life_seconds
        )
        return any(True for _ in expiries)

    def decline(self) -> CardDecline | None:
        for fault in self._faults.strike(Decline, self._facts):
            return DECLINES[fault.definition.decline_code]
        return None

    def late_failure(self) -> LateFailure | None:
        for fault in self._faults.strike(RefundFailure, self._facts):
            return LateFailure(RefundStatus(fault.definition.first), fault.definition.seconds)
        return None

    def hides(self, age: float) -> bool:
        # Drawn once a request, and only if there is something to hide.
        if self._lags is None:
            lagging = self._faults.strike(LookupLag, self._facts, lambda fault: age < fault.seconds)
            lags = [fault.definition.seconds for fault in lagging]
            if not lags:
                return False
            self._lags = lags
        return any(age < lag for lag in self._lags)

    def _error(self, when: When) -> Response | None:
        for fault in self._faults.strike(Error, self._facts, lambda fault: fault.when == when):
            return wire.response(answers.faulty(fault.definition.status))
        return None

    async def _wait(self, when: When) -> None:
        slow = self._faults.strike(Latency, self._facts, lambda fault: fault.when == when)
        await self._pause(sum(fault.definition.seconds(fault.amounts) for fault in slow))

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await _first_of(self._released.wait(), asyncio.sleep(seconds))

    def _trickled(self, response: Response, bytes_per_second: float) -> Response:
        body = bytes(response.body)

        async def drops() -> AsyncIterator[bytes]:
            for at in range(len(body)):
                await self._pause(1 / bytes_per_second)
                yield body[at : at + 1]

        return StreamingResponse(drops(), response.status_code, dict(response.headers))


class _Cut(Response):
    """No answer, or the first part of one, and then the end of the connection."""

    def __init__(
        self, first: bytes = b"", *, reset: bool = False, whole: Response | None = None
    ) -> None:
        super().__init__()
        self._first = first
        self._reset = reset
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["state"][TRANSPORT]
        if self._whole is not None:
            await send(
                {
                    "type": "http.response.start",
                    "status": self._whole.status_code,
                    "headers": self._whole.raw_headers,
                }
            )
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
        if self._reset:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
            transport.abort()
        else:
            transport.close()
        await _gone(receive)


def _garbled(response: Response, form: str) -> Response:
    body = bytes(response.body)
    half = body[: len(body) // 2]
    match form:
        case "html":
            return Response(_HTML, 502, media_type="text/html")
        case "malformed":
            return Response(half, response.status_code, media_type="application/json")
        case "truncated":
            return _Cut(half, whole=response)
        case "empty":
            return Response(b"", response.status_code, media_type="application/json")
        case "contentType":
            return Response(body, response.status_code, media_type="text/plain")
        case "redirect":
            return Response(b"", 302, {"Location": "/elsewhere"})
        case "otherAmount":
            return _changed(response, "amount", lambda amount: amount + 1)
        case _:
            return _changed(response, "currency", lambda _: _OTHER_CURRENCY)


def _changed(response: Response, name: str, change: Callable[[Any], Any]) -> Response:
    """Give the answer with a field changed, in it and in each entry of a list."""
    content = json.loads(bytes(response.body))
    for resource in (content, *content.get("data", [])):
        if name in resource:
            resource[name] = change(resource[name])
    return Response(answers.to_json(content), response.status_code, media_type="application/json")


async def _gone(receive: Receive) -> None:
    """Wait until the other end of the connection is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first_of(*waits: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
