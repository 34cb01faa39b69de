"""What the commands say to people, and how they end."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import typer
from rich.console import Console

from dev.cluster import ClusterError

from .errors import BenchError

CANNOT_MEASURE = 1
INTERRUPTED = 130


@contextlib.contextmanager
def for_people(console: Console) -> Iterator[None]:
    """Say what went wrong in a sentence; let an end by signal tidy up as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        yield
    except (BenchError, ClusterError) as error:
        console.print(f"Error: {error}")
        raise typer.Exit(CANNOT_MEASURE) from None
    except KeyboardInterrupt:
        console.print("Interrupted: what had been started is stopped again.")
        raise typer.Exit(INTERRUPTED) from None


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
