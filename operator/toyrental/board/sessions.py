"""Who is signed in. Tokens are kept in the memory of this process, and nowhere else."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from toyrental.board.view import May
from toyrental.kube.client import Client

MOST_SESSIONS = 500
ACCESS_SECONDS = 30.0


@dataclass
class Session:
    """A person who signed in. `say` holds what the next page tells them, and whether it is bad."""

    user: str
    client: Client
    last_used: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    say: tuple[str, bool] | None = None
    may: dict[str, tuple[float, May]] = field(default_factory=dict)
    ended: bool = False

    def take_say(self) -> tuple[str, bool] | None:
        """Return what there is to say, once."""
        said, self.say = self.say, None
        return said


class Sessions:
    """Sessions by an id that only the browser's cookie and this process know."""

    def __init__(self, idle_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle = idle_seconds
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    async def open(self, user: str, client: Client) -> str:
        """Keep a person's client, entered already, and return the id of the session.

        Where there are too many, whoever did nothing for longest is signed out.
        """
        await self.sweep()
        if len(self._sessions) >= MOST_SESSIONS:
            oldest = min(self._sessions, key=lambda each: self._sessions[each].last_used)
            await self.close(oldest)
        name = secrets.token_urlsafe(32)
        self._sessions[name] = Session(user, client, self._clock())
        return name

    async def find(self, name: str, *, active: bool = True) -> Session | None:
        """Return a session that has not ended; what a person does (`active`) keeps it alive."""
        await self.sweep()
        session = self._sessions.get(name)
        if session is not None and active:
            session.last_used = self._clock()
        return session

    async def close(self, name: str) -> None:
        """End a session and forget its token."""
        session = self._sessions.pop(name, None)
        if session is not None:
            session.ended = True
            await session.client.__aexit__(None, None, None)

    async def sweep(self) -> None:
        """End the sessions that nobody used for too long."""
        long_ago = self._clock() - self._idle
        for name in [n for n, each in self._sessions.items() if each.last_used < long_ago]:
            await self.close(name)

    async def close_all(self) -> None:
        """End every session."""
        for name in list(self._sessions):
            await self.close(name)
