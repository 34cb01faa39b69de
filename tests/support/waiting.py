"""Waiting for what takes its time: ask, pause a little longer each time, give up at a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5


class TookTooLong(AssertionError):
    """What was waited for did not come."""


def eventually(
    ask: Callable[[], T], *, within: float = 30, explain: Callable[[], str] | None = None
) -> T:
    """Ask until the answer is true, and return it.

    Fails after `within` seconds with what `explain` says then. An AssertionError of `ask` counts as
    "not yet"; the last one is shown.
    """
    deadline = time.monotonic() + within
    pause = FIRST_PAUSE
    while True:
        why: AssertionError | None = None
        try:
            if answer := ask():
                return answer
        except AssertionError as error:
            why = error
        if time.monotonic() > deadline:
            told = explain() if explain else ""
            raise TookTooLong(f"not within {within:g} s. {told}") from why
        time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
        pause = min(pause * 1.5, LONGEST_PAUSE)
