"""Refunds that fail later: each at its time, which the ledger keeps over a restart."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable

import structlog

from toyrental.simulator import events
from toyrental.simulator.books import Books
from toyrental.simulator.fault_kinds import Facts, Operation
from toyrental.simulator.models import Refund
from toyrental.simulator.provider import Provider

_PAUSE_SECONDS = 1.0
"""How long to wait where the ledger cannot be used."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Failures:
    """Has refunds fail when their time has come, and tells of it."""

    def __init__(self, books: Books, tell: Callable[[events.Event, Facts], None] | None) -> None:
        self._books = books
        self._provider = Provider(books.ledger)
        self._tell = tell
        self._news = asyncio.Event()

    def look(self) -> None:
        """Look at the ledger again: there may be a refund that fails."""
        self._news.set()

    @contextlib.asynccontextmanager
    async def happening(self) -> AsyncIterator[None]:
        """Have them happen as long as the block lasts."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._news.clear()
            try:
                seconds = await self._step()
            except sqlite3.Error:
                _log.exception("the ledger cannot be used")
                seconds = _PAUSE_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()

    async def _step(self) -> float | None:
        """Have those fail that are due, and give the seconds until the next one."""
        for refund in await self._books.use(self._provider.fail_due):
            _log.info("refund failed", id=refund.id, paymentUID=refund.metadata.payment_uid)
            if self._tell is not None:
                self._tell(events.refund_failed(refund), _facts(refund))
        return await self._books.use(self._provider.seconds_to_failure)


def _facts(refund: Refund) -> Facts:
    of = refund.metadata
    return Facts(Operation.REFUND, payment_uid=of.payment_uid, rental_uid=of.rental_uid)
