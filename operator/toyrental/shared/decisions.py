"""What a rule decides: at most one write, guarded by the version it was decided on.

A reconciler asks its rules again after each write, so that every rule is one small step, and a
crash between two steps leaves nothing but a step to be taken.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from toyrental.shared.resource import Key, Resource


@dataclass(frozen=True)
class Event:
    """What people are told of a step: a Kubernetes Event on an object. It may be lost."""

    reason: str
    note: str
    type: Literal["Normal", "Warning"] = "Normal"
    action: str = "Reconcile"


@dataclass(frozen=True)
class Write:
    """Turn an object into another state of it, or create it where `before` is None.

    Of `after`, exactly one part differs from `before`: status, spec, or finalizers. The write
    carries the resourceVersion of `before`, so it fails where the decision rests on an old state.
    """

    before: Resource | None
    after: Resource
    event: Event | None = None


@dataclass(frozen=True)
class Decision:
    """What to do now, and when to look again.

    `confirm` names objects that must be read from the API server, rather than from a cache, before
    the write: what a cache lacks may yet be there.
    """

    write: Write | None = None
    confirm: tuple[Key, ...] = ()
    look_again: datetime | None = None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do now."""
        return self.write is None


NOTHING = Decision()
"""Nothing to do, and nothing to wait for."""


def status_write(before: Resource, after: Resource, event: Event | None = None) -> Write | None:
    """Return the write that makes `after` of `before`, or None where they say the same."""
    return None if before.status == after.status else Write(before, after, event)


def soonest(*moments: datetime | None) -> datetime | None:
    """Return the first of the moments that are given at all."""
    return min((moment for moment in moments if moment is not None), default=None)
