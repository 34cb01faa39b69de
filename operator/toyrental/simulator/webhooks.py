"""Tells another server what happened to money: webhooks, signed in Stripe's scheme.

Each event is tried a bounded number of times. Events are sent one after the other in the order in
which things happened, except where a fault says otherwise and where an event has to be tried
again. They are not kept over a restart: whoever relies on them alone will miss some, as with any
provider.
"""

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import structlog

from toyrental.simulator.events import Event
from toyrental.simulator.fault_kinds import (
    Facts,
    WebhookDelay,
    WebhookDuplicate,
    WebhookLoss,
    WebhookReorder,
)
from toyrental.simulator.faults import Faults

SIGNATURE_HEADER = "Stripe-Signature"
ATTEMPTS = 5
_FIRST_PAUSE_SECONDS = 0.5
_TIMEOUT_SECONDS = 5.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class UrlUnusableError(Exception):
    """Webhooks cannot go there; the message is one sentence for a person."""


def require_usable(url: str, *, anywhere: bool) -> None:
    """Raise `UrlUnusableError` unless webhooks may be sent to the URL."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise UrlUnusableError("--webhook-url is no URL.") from None
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
        raise UrlUnusableError(
            "--webhook-url must be http:// or https:// and a host, without a user name."
        )
    if not anywhere and not _is_loopback(host):
        raise UrlUnusableError(
            f"--webhook-url leads to {host}, off this machine. Use a loopback address, or say "
            "--webhook-anywhere if that is meant."
        )


def signature(secret: str, body: bytes, now: int) -> str:
    """Sign a body in Stripe's scheme: HMAC-SHA256 of the time, a dot and the body."""
    mac = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256)
    return f"t={now},v1={mac.hexdigest()}"


class Webhooks:
    """Sends events to one URL, in the background, as long as its context lasts."""

    def __init__(self, url: str, secret: str, faults: Faults) -> None:
        self._url = url
        self._secret = secret
        self._faults = faults
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._held: list[list[Event]] = []
        self._waiting: set[asyncio.Task[None]] = set()
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False)

    async def __aenter__(self) -> Self:
        self._sender = asyncio.create_task(self._send_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.clear()
        self._sender.cancel()
        await asyncio.gather(self._sender, *self._waiting, return_exceptions=True)
        await self._client.aclose()

    def clear(self) -> None:
        """Forget the events that have not been sent."""
        for task in self._waiting:
            task.cancel()
        self._held.clear()
        while not self._queue.empty():
            self._queue.get_nowait()

    def tell(self, event: Event, facts: Facts) -> None:
        """Send an event, as the faults that strike it say."""
        for _ in self._faults.strike(WebhookLoss, facts):
            return
        delay = sum(one.definition.seconds for one in self._faults.strike(WebhookDelay, facts))
        hold = next((one.definition for one in self._faults.strike(WebhookReorder, facts)), None)
        again = sum(one.definition.copies for one in self._faults.strike(WebhookDuplicate, facts))
        self._after(delay, lambda: self._line_up([event] * (1 + again), hold))

    def _line_up(self, copies: list[Event], hold: WebhookReorder | None) -> None:
        if hold is not None:
            self._held.append(copies)
            self._after(hold.seconds, lambda: self._release([copies]))
            return
        self._put(copies)
        self._release(list(self._held))

    def _release(self, held: list[list[Event]]) -> None:
        for copies in held:
            if copies in self._held:
                self._held.remove(copies)
                self._put(copies)

    def _put(self, events: list[Event]) -> None:
        for event in events:
            self._queue.put_nowait(event)

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        if seconds:
            self._spawn(self._later(seconds, act))
        else:
            act()

    async def _later(self, seconds: float, act: Callable[[], None]) -> None:
        await asyncio.sleep(seconds)
        act()

    async def _send_all(self) -> None:
        while True:
            event = await self._queue.get()
            if not await self._attempt(event, 1):
                self._spawn(self._try_again(event))

    async def _try_again(self, event: Event) -> None:
        for attempt in range(2, ATTEMPTS + 1):
            await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 2))
            if await self._attempt(event, attempt):
                return
        _log.warning("webhook given up", id=event.id, type=event.type, attempts=ATTEMPTS)

    async def _attempt(self, event: Event, attempt: int) -> bool:
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: signature(self._secret, event.body, int(time.time())),
        }
        said = "no answer"
        with contextlib.suppress(httpx.HTTPError):
            answer = await self._client.post(self._url, content=event.body, headers=headers)
            said = str(answer.status_code)
        _log.info("webhook", id=event.id, type=event.type, attempt=attempt, answer=said)
        return said.startswith("2")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
