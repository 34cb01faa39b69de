"""Keeps the listener closed while faults say that connections are refused, and open otherwise."""

import asyncio
import math
from typing import Protocol

import structlog

from toyrental.simulator.faults import Faults

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Door(Protocol):
    """What can be closed and opened."""

    async def shut(self) -> None:
        """Refuse connections from now on."""

    async def reopen(self) -> None:
        """Accept connections again."""


class Gate:
    """Closes and opens a door as the windows of faults do."""

    def __init__(self, faults: Faults, door: Door) -> None:
        self._faults = faults
        self._door = door
        self._shut = False
        self._changing = asyncio.Lock()
        self._alarm: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    async def settle(self) -> None:
        """Make the door agree with the faults, now and whenever a window opens or closes."""
        async with self._changing:
            refusing = self._faults.refusing()
            if refusing and not self._shut:
                self._faults.count_refusal()
                await self._door.shut()
                _log.info("refusing connections")
            elif self._shut and not refusing:
                await self._door.reopen()
                _log.info("accepting connections again")
            self._shut = refusing
            self._set_alarm(self._faults.seconds_to_change())

    def stop(self) -> None:
        """Leave the door as it is."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _set_alarm(self, seconds: float) -> None:
        self.stop()
        if seconds < math.inf:
            self._alarm = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.settle())
