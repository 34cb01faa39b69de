"""A circuit breaker: when to stop calling a provider, and when to try again.

It is a state machine with a clock handed in, and knows nothing of networks. docs/decisions tells
why it is our own.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from toyrental.payments.line import LEFT_ALONE
from toyrental.payments.models import CIRCUIT_OPEN, LINE, Circuit, CircuitBreaker
from toyrental.payments.providers.port import NotSent, OutcomeUnknown, TryLater, Unauthorized

A = TypeVar("A")
Clock = Callable[[], datetime]

ONE_AT_A_TIME = timedelta(seconds=1)
"""After how long another probe may be asked for while one is under way."""

MOST_NEWS = 16
"""How many transitions are kept until somebody is told of them."""


class Verdict(StrEnum):
    """What an answer says of the provider's health."""

    WELL = "Well"
    ILL = "Ill"
    NEITHER = "Neither"


@dataclass(frozen=True)
class Admission:
    """One call that was let through, and in which state of the circuit."""

    era: int
    began: datetime


@dataclass(frozen=True)
class Transition:
    """The circuit went from one state to another."""

    to: Circuit
    why: str
    retry_time: datetime | None = None


@dataclass(frozen=True)
class News:
    """A transition of one of a gateway's circuits."""

    transition: Transition
    of_refunds: bool = False


@dataclass
class _Second:
    """The calls that ended in one second."""

    began: datetime
    calls: int = 0
    failed: int = 0
    slow: int = 0


def verdict_of(answer: object) -> Verdict:
    """Judge the provider by an answer.

    What it did not answer, or answered by a 5xx or by 429, is ill: more calls make it worse. A
    decline or a refusal is well: it works, and says no. Refused credentials may never have been
    sent, and what our own circuit kept back was not: neither.
    """
    match answer:
        case NotSent(reason=reason) if reason in LINE:
            return Verdict.NEITHER
        case NotSent() | OutcomeUnknown() | TryLater():
            return Verdict.ILL
        case Unauthorized():
            return Verdict.NEITHER
        case _:
            return Verdict.WELL


class Breaker:
    """The circuit of one class of calls to one provider."""

    def __init__(self, settings: CircuitBreaker, clock: Clock) -> None:
        self.settings = settings
        """When to open and for how long; may be replaced at any time."""

        self.circuit = Circuit.CLOSED
        self.retry_time: datetime | None = None
        """When it was or will be tried again, since it last opened."""

        self.era = 0
        """Grows with every transition: an answer to a call of an era before says nothing."""

        self.closings = 0
        """Grows each time it closes: from then on the provider is well again."""

        self.news: deque[Transition] = deque(maxlen=MOST_NEWS)
        """The transitions that nobody was told of yet."""

        self._clock = clock
        self._seconds: deque[_Second] = deque()
        self._spells = 0
        self._probing = False
        self._passed = 0
        self._probed_time: datetime | None = None

    def seed(self, circuit: Circuit, retry_time: datetime | None) -> None:
        """Begin where another process left off."""
        if circuit is Circuit.CLOSED or retry_time is None:
            return
        self.circuit, self.retry_time, self._spells = circuit, retry_time, 1
        self._probed_time = self._clock()
        self.era += 1

    def reset(self) -> None:
        """Forget everything, and begin closed."""
        self.circuit, self.retry_time, self._spells = Circuit.CLOSED, None, 0
        self.era += 1
        self._forget_calls()
        self.news.clear()

    def look(self) -> Circuit:
        """Return the state by now: once its time is up, an open circuit is half open."""
        if self.circuit is Circuit.OPEN and self._time_is_up():
            self._move(Circuit.HALF_OPEN, "the time it was left alone is up", self.retry_time)
        return self.circuit

    @property
    def probing(self) -> bool:
        """Whether it is half open and a probe is under way: nobody else is let through."""
        return self._probing

    def rests(self, pause: timedelta) -> bool:
        """Tell whether it is half open, and nothing was tried for so long."""
        if self.look() is not Circuit.HALF_OPEN or self._probing:
            return False
        return self._probed_time is None or self._clock() >= self._probed_time + pause

    async def call(self, ask: Callable[[], Awaitable[A]]) -> A | NotSent:
        """Ask, if the circuit lets it through, and learn from the answer.

        A call that is broken off says nothing of the provider.
        """
        admission = self.admit()
        if admission is None:
            return self._kept_back()
        verdict = Verdict.NEITHER
        try:
            answer = await ask()
            verdict = verdict_of(answer)
        finally:
            self.settle(admission, verdict)
        return answer

    def admit(self) -> Admission | None:
        """Let a call through, or not. Whoever gets an admission settles it."""
        match self.look():
            case Circuit.OPEN:
                return None
            case Circuit.HALF_OPEN:
                if self._probing:
                    return None
                self._probing = True
                self._probed_time = self._clock()
        return Admission(self.era, self._clock())

    def settle(self, admission: Admission, verdict: Verdict) -> None:
        """Learn how a call ended."""
        if admission.era != self.era:
            return
        now = self._clock()
        slow = now - admission.began >= timedelta(seconds=self.settings.slow_call_seconds)
        if self.circuit is Circuit.HALF_OPEN:
            self._probing = False
            self._probed_time = now
            self._judge_probe(verdict, slow=slow)
        elif verdict is not Verdict.NEITHER:
            self._count(now, failed=verdict is Verdict.ILL, slow=slow)

    # --- Half open ---

    def _judge_probe(self, verdict: Verdict, *, slow: bool) -> None:
        if verdict is Verdict.NEITHER:
            return
        if verdict is Verdict.ILL or slow:
            self._open("a probe failed" if verdict is Verdict.ILL else "a probe was slow")
            return
        self._passed += 1
        if self._passed >= self.settings.probes:
            self._spells = 0
            self._move(Circuit.CLOSED, "the provider answers again")

    # --- Closed ---

    def _count(self, now: datetime, *, failed: bool, slow: bool) -> None:
        second = now.replace(microsecond=0)
        if not self._seconds or self._seconds[-1].began != second:
            self._seconds.append(_Second(second))
        latest = self._seconds[-1]
        latest.calls += 1
        latest.failed += failed
        latest.slow += slow
        self._open_if_ill(now)

    def _open_if_ill(self, now: datetime) -> None:
        since = now - timedelta(seconds=self.settings.window_seconds)
        while self._seconds and self._seconds[0].began <= since:
            self._seconds.popleft()
        calls = sum(second.calls for second in self._seconds)
        if calls < self.settings.minimum_calls:
            return
        failed = 100 * sum(second.failed for second in self._seconds) // calls
        slow = 100 * sum(second.slow for second in self._seconds) // calls
        if failed >= self.settings.failure_rate_percent:
            self._open(f"{failed} % of {calls} calls failed")
        elif slow >= self.settings.slow_call_rate_percent:
            self._open(f"{slow} % of {calls} calls were slow")

    # --- Open ---

    def _open(self, why: str) -> None:
        longest = self.settings.max_open_seconds
        seconds = min(self.settings.open_seconds * 2 ** min(self._spells, 20), longest)
        self._spells += 1
        self._move(Circuit.OPEN, why, self._clock() + timedelta(seconds=seconds))

    def _time_is_up(self) -> bool:
        """Tell whether it may be tried again; a clock that was set back does not hold it for ever.

        Nor does a longest time that was made shorter.
        """
        if self.retry_time is None:
            return True
        left = self.retry_time - self._clock()
        return not timedelta() < left <= timedelta(seconds=self.settings.max_open_seconds + 1)

    def _move(self, to: Circuit, why: str, retry_time: datetime | None = None) -> None:
        self.circuit, self.retry_time = to, retry_time
        self.era += 1
        self.closings += to is Circuit.CLOSED
        self._forget_calls()
        self.news.append(Transition(to, why, retry_time))

    def _forget_calls(self) -> None:
        self._seconds.clear()
        self._probing, self._passed = False, 0
        self._probed_time = self._clock()

    def _kept_back(self) -> NotSent:
        half_open = self.circuit is Circuit.HALF_OPEN
        retry_time = self._clock() + ONE_AT_A_TIME if half_open else self.retry_time
        return NotSent(LEFT_ALONE, CIRCUIT_OPEN, retry_time)
