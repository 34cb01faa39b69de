"""How far the benchmark is: a bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from .shop import Toy

LINE_EVERY_SECONDS = 10

Life = Callable[[int, Toy], Awaitable[None]]


class Progress:
    """Says what is being done, and how much of it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)
        self._what, self._total, self._done, self._said = "", 0, 0, 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self, what: str, total: int | None = None) -> None:
        """Say what is done next, and how many there are to do."""
        self._what, self._total, self._done = what, total or 0, 0
        self._bar.reset(self._task, description=what, total=total)
        if not self._console.is_terminal:
            self._say(what)

    def say(self, sentence: str) -> None:
        """Say something that stays."""
        self._bar.console.print(sentence)

    def advance(self, by: int = 1) -> None:
        """One more is done."""
        self._done += by
        self._bar.advance(self._task, by)
        if not self._console.is_terminal and time.monotonic() - self._said > LINE_EVERY_SECONDS:
            self._say(f"{self._what}: {self._done} of {self._total}")

    def counting(self, life: Life) -> Life:
        """Return a life whose end is counted."""

        async def counted(number: int, toy: Toy) -> None:
            await life(number, toy)
            self.advance()

        return counted

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self._console.print(line)
