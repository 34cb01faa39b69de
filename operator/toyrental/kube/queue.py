"""A queue of keys to look at: each once, no two at once, later where asked, ever later on errors.

The shape is client-go's work queue, for asyncio.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF_SECONDS = 0.05
LONGEST_BACKOFF_SECONDS = 60.0


class WorkQueue(Generic[K]):
    """Keys to look at. A key that is added while it is worked on comes up once more after that.

    `waited` is told of each key for how many seconds it was ready before it was taken up.
    """

    def __init__(self, waited: Callable[[float], None] = lambda _: None) -> None:
        self._waited = waited
        self._ready: deque[K] = deque()
        self._waiting: dict[K, float] = {}
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def retrying(self) -> int:
        """How many keys failed when they were last worked on."""
        return len(self._failures)

    @property
    def idle(self) -> bool:
        """Whether nothing is ready and nothing is being worked on; timers may yet be set."""
        return not self._ready and not self._working

    def add(self, key: K) -> None:
        """Have a key looked at soon."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = time.monotonic()
            self._ready.append(key)
            self._arrived.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Have a key looked at in a while; of several times set for a key the soonest counts."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_later(max(seconds, 0.0), self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def get(self) -> K:
        """Return the next key, once there is one; the caller says `done` when it is through."""
        while not self._ready:
            self._arrived.clear()
            await self._arrived.wait()
        key = self._ready.popleft()
        self._working.add(key)
        self._waited(time.monotonic() - self._waiting.pop(key))
        return key

    def done(self, key: K) -> None:
        """Say that a key was worked on; it comes up again if it was added meanwhile."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def retry(self, key: K) -> float:
        """Have a key looked at again after an error: ever later, and never all at once.

        Returns after how many seconds.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        longest = min(FIRST_BACKOFF_SECONDS * 2 ** min(failures, 20), LONGEST_BACKOFF_SECONDS)
        seconds = random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """Forget the failures of a key: it went well."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """Cancel every timer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
