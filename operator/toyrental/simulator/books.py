"""The ledger as servers have it: used by one thread, whoever asks."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple, ParamSpec, TypeVar

from toyrental.simulator.ledger import Ledger

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Books(NamedTuple):
    """An open ledger, and the one thread that may use it."""

    ledger: Ledger
    thread: Executor

    async def use(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do some work with the ledger, on its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.thread, lambda: work(*args, **kwargs))
