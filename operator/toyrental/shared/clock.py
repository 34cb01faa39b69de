"""The time, as something that can be handed in."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Tells the time: UTC, in whole seconds, as Kubernetes writes times."""


def exact_now() -> datetime:
    """Return the time of this machine, for what is shorter than a second."""
    return datetime.now(UTC)


def utc_now() -> datetime:
    """Return the time of this machine, in whole seconds, comparable with those of a status."""
    return datetime.now(UTC).replace(microsecond=0)
