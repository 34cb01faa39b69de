"""The line of payments that were put off: first in, first out, and not all at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from toyrental.payments.models import CIRCUIT_OPEN, SUSPENDED, Circuit, Payment

AWAITS_TURN = "AwaitsTurn"
"""Why a payment in line is held although the provider is called again."""

NOT_CALLED = "the shop has suspended its payment gateway"
LEFT_ALONE = "the provider does not respond and is left alone for a while"

NEXT_PROBE = timedelta(seconds=0.1)
"""How soon the next in line looks again while a probe is under way."""

SPREAD = 0.5
"""Which part of the pause between two turns is left to chance."""


@dataclass(frozen=True)
class Held:
    """The gateway does not let a payment be charged now."""

    reason: str
    message: str
    retry_time: datetime | None = None
    """When the provider is tried again, for people."""

    look_again: datetime | None = None
    """When it is this payment's turn, where that is known."""


@dataclass(frozen=True)
class Leave:
    """What the gateway lets a payment do that is to be looked up or given back."""

    held: Held | None = None
    """Why it may not call now, if it may not."""

    turn: bool = False
    """Whether its turn has come, however long it would have paused by itself."""


FREE = Leave()
"""It calls when it is due."""


@dataclass(frozen=True)
class Gate:
    """What a circuit of a gateway says, at one moment."""

    circuit: Circuit
    suspended: bool
    retry_time: datetime | None
    now: datetime
    probing: bool = False
    """Whether a probe is under way: they go one at a time."""

    @property
    def closed(self) -> bool:
        """Whether the provider is called as usual."""
        return self.circuit is Circuit.CLOSED and not self.suspended


def in_order(waiting: Iterable[Payment]) -> list[Payment]:
    """Return those that wait, first come, first served."""
    return sorted(waiting, key=lambda p: (p.created, p.name, p.uid))


def turns(
    uids: Sequence[str], start: datetime, per_second: int, chances: Sequence[float]
) -> dict[str, datetime]:
    """Give each its turn: so many a second, in order, each a little late by chance.

    `chances` are numbers from 0 to 1, one each.
    """
    pause = timedelta(seconds=1 / per_second)
    return {
        uid: start + pause * (place + SPREAD * chance)
        for place, (uid, chance) in enumerate(zip(uids, chances, strict=True))
    }


def hold(gate: Gate, *, in_line: bool, others_in_line: bool, turn: datetime | None) -> Held | None:
    """Say why a payment may not be charged now, if it may not.

    With the circuit half open only those with a turn go, as probes, one at a time; who comes new
    lines up behind those who wait. With it closed those who wait go at their turn, and who comes
    new at once.
    """
    if gate.suspended:
        return Held(SUSPENDED, NOT_CALLED)
    left_alone = Held(CIRCUIT_OPEN, LEFT_ALONE, gate.retry_time)
    if gate.circuit is Circuit.OPEN:
        return left_alone
    if not in_line:
        lines_up = gate.circuit is Circuit.HALF_OPEN and (others_in_line or gate.probing)
        return left_alone if lines_up else None
    return _until(gate, turn)


def leave(gate: Gate, turn: datetime | None) -> Leave:
    """Say whether a payment may be looked up or given back now; there is no suspended gate here.

    With the circuit closed who waited goes at its turn, and who did not when it is due.
    """
    if gate.circuit is Circuit.OPEN:
        return Leave(Held(CIRCUIT_OPEN, LEFT_ALONE, gate.retry_time))
    if gate.closed and turn is None:
        return FREE
    held = _until(gate, turn)
    return Leave(held, turn=held is None)


def _until(gate: Gate, turn: datetime | None) -> Held | None:
    """Hold a payment until its turn; a half-open circuit takes the next when a probe has ended."""
    if turn is None or turn > gate.now:
        return Held(AWAITS_TURN, LEFT_ALONE, gate.retry_time, turn)
    if gate.probing:
        return Held(AWAITS_TURN, LEFT_ALONE, gate.retry_time, gate.now + NEXT_PROBE)
    return None
