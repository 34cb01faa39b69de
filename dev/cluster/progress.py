"""Shows how far a long build is: a bar on a terminal, a line now and then in a log."""

import os
import re
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn

# CPU-minutes for all packages, measured; only for the first guess, before anything is compiled.
CPU_SECONDS_A_PACKAGE = 12 * 60 / 2700
LOG_EVERY_SECONDS = 20
# A package's import path: no spaces, and unlike Go's "go: downloading" no colon.
_PACKAGE = re.compile(r"[\w./~-]+")


class BuildProgress:
    """Counts packages as `go build -v` names them."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.done = 0
        self.started = time.monotonic()
        self.last_line = self.started
        self.bar = Progress(
            TextColumn("  compiling"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("packages"),
            TaskProgressColumn(),
            TextColumn("{task.fields[times]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("", total=max(total, 1), times=self._times())

    def __enter__(self) -> "BuildProgress":
        if not self.console.is_terminal:
            self._print()
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()
        if error is None:
            self.console.print(f"  compiled and linked in {_minutes(self._elapsed())}")

    def saw(self, line: str) -> bool:
        """Take a line of Go's; return whether it was a package, rather than something to read."""
        if not _PACKAGE.fullmatch(line):
            return False
        self.done = min(self.done + 1, self.total)
        self.bar.update(self.task, completed=self.done, times=self._times())
        if not self.console.is_terminal and time.monotonic() - self.last_line > LOG_EVERY_SECONDS:
            self._print()
        return True

    def _print(self) -> None:
        self.last_line = time.monotonic()
        self.console.print(f"  {self.done} of {self.total} packages compiled, {self._times()}")

    def _times(self) -> str:
        if self.done >= self.total:
            return f"{_minutes(self._elapsed())} so far, linking"
        left = seconds_left(self.done, self.total, self._elapsed(), os.cpu_count() or 1)
        return f"{_minutes(self._elapsed())} so far, about {_minutes(left)} to go"

    def _elapsed(self) -> float:
        return time.monotonic() - self.started


def seconds_left(done: int, total: int, elapsed: float, cores: int) -> float:
    """Guess how long the rest takes: from what is known of all machines, then from this one.

    Small packages come first, so this machine's own pace only counts as far as it has got.
    """
    guess = (total - done) * CPU_SECONDS_A_PACKAGE / cores
    if done == 0:
        return guess
    pace = elapsed / done * (total - done)
    weight = done / total
    return weight * pace + (1 - weight) * guess


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
