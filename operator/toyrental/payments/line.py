"""The line of payments that were put off: first in, first out, and not all at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from toyrental.payments.models import CIRCUIT_OPEN, SUSPENDED, Circuit, Payment

AWAITS_TURN = "AwaitsTurn"
"""Why a payment in line is held although the provider is called again."""

NOT_CALLED = "the shop has suspended its payment gateway"
LEFT_ALONE = "the provider does not respond and is left alone for a while"

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
class Gate:
    """What a gateway says of charging, at one moment."""

    circuit: Circuit
    suspended: bool
    retry_time: datetime | None
    now: datetime


def in_order(waiting: Iterable[Payment]) -> list[str]:
    """Return the uids of those that wait, first come, first served."""
    return [p.uid for p in sorted(waiting, key=lambda p: (p.created, p.name, p.uid))]


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

    With the circuit half open only those with a turn go, as probes; who comes new lines up behind
    those who wait. With it closed those who wait go at their turn, and who comes new at once.
    """
    if gate.suspended:
        return Held(SUSPENDED, NOT_CALLED)
    if gate.circuit is Circuit.OPEN:
        return Held(CIRCUIT_OPEN, LEFT_ALONE, gate.retry_time)
    if not in_line:
        lines_up = gate.circuit is Circuit.HALF_OPEN and others_in_line
        return Held(CIRCUIT_OPEN, LEFT_ALONE, gate.retry_time) if lines_up else None
    if turn is not None and turn <= gate.now:
        return None
    return Held(AWAITS_TURN, LEFT_ALONE, gate.retry_time, turn)
