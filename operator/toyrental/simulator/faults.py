"""The faults that are set: when they strike, and how often they did. Nothing here knows HTTP."""

import math
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Generic, TypeGuard, TypeVar

import structlog

from toyrental.simulator.fault_kinds import Drawn, Facts, Fault, FaultInvalidError, Refuse

MAX_FAULTS = 100

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_D = TypeVar("_D", bound=Drawn)
_F = TypeVar("_F", bound=Fault)


class SetFault(Generic[_F]):
    """A fault that has been set: its definition, its chances, and how often it struck."""

    def __init__(self, name: str, definition: _F, seed: int, now: float) -> None:
        self.name = name
        self.definition = definition
        self.struck = 0
        self.seed = seed
        # The seed may be a person's, so that the same one may come with several faults; what is
        # drawn for one purpose must not shift what is drawn for the other.
        self._strikes = Random(f"{seed} strikes")  # noqa: S311 # for repetition, not for secrecy
        self.amounts = Random(f"{seed} amounts")  # noqa: S311
        self._begins = now + definition.begins
        self._ends = math.inf if definition.lasts is None else self._begins + definition.lasts

    def active(self, now: float) -> bool:
        """Tell whether the fault may strike."""
        return self._begins <= now < self._ends and self._left() > 0

    def next_change(self, now: float) -> float:
        """Tell when the fault's window next opens or closes."""
        return min((at for at in (self._begins, self._ends) if at > now), default=math.inf)

    def view(self, now: float) -> dict[str, Any]:
        """Give the fault as the API shows it."""
        shown = self.definition.model_dump(mode="json", exclude_none=True)
        if isinstance(self.definition, Drawn):
            shown |= {"seed": self.seed, "operations": list(self.definition.struck_operations())}
        return {"id": self.name, "state": self._state(now), "struck": self.struck, **shown}

    def _state(self, now: float) -> str:
        if now < self._begins:
            return "waiting"
        return "active" if self.active(now) else "over"

    def draw(self) -> bool:
        """Draw whether the fault strikes now, and count it if so."""
        definition = self.definition
        if isinstance(definition, Drawn) and self._strikes.random() >= definition.probability:
            return False
        self.struck += 1
        return True

    def _left(self) -> float:
        if not isinstance(self.definition, Drawn) or self.definition.times is None:
            return math.inf
        return self.definition.times - self.struck


class Faults:
    """All faults that are set."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._set: tuple[SetFault[Fault], ...] = ()
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._set)

    def add(self, definition: Fault) -> dict[str, Any]:
        """Set a fault; its window begins now. Raises `FaultInvalidError` if there are too many."""
        if len(self._set) >= MAX_FAULTS:
            raise FaultInvalidError(f"{MAX_FAULTS} faults are set; remove some first.")
        self._count += 1
        seed = definition.seed if isinstance(definition, Drawn) else None
        chosen = self._count if seed is None else seed
        fault = SetFault(f"f{self._count}", definition, chosen, self._clock())
        self._set = (*self._set, fault)
        return fault.view(self._clock())

    def remove(self, name: str) -> bool:
        """Remove a fault, and tell whether there was one of this name."""
        before = len(self._set)
        self._set = tuple(fault for fault in self._set if fault.name != name)
        return len(self._set) < before

    def clear(self) -> None:
        """Remove all faults; the next one is `f1` again, so that a run can be repeated."""
        self._set = ()
        self._count = 0

    def view(self) -> list[dict[str, Any]]:
        """Give all faults as the API shows them, in the order they were set."""
        now = self._clock()
        return [fault.view(now) for fault in self._set]

    def strike(
        self, kind: type[_D], facts: Facts, when: Callable[[_D], bool] = lambda _: True
    ) -> Iterator[SetFault[_D]]:
        """Draw the faults of a kind that strike such a request, each when it is asked for."""
        for fault in self._set:
            if _is_a(fault, kind) and when(fault.definition) and self._strikes(fault, facts):
                yield fault

    def refusing(self) -> bool:
        """Tell whether connections are refused now."""
        now = self._clock()
        return any(_is_a(fault, Refuse) and fault.active(now) for fault in self._set)

    def count_refusal(self) -> None:
        """Count that the port has been closed."""
        now = self._clock()
        for fault in self._set:
            if _is_a(fault, Refuse) and fault.active(now):
                fault.draw()

    def seconds_to_change(self) -> float:
        """Tell in how many seconds connections may begin to be refused, or accepted."""
        now = self._clock()
        changes = [fault.next_change(now) for fault in self._set if _is_a(fault, Refuse)]
        return min(changes, default=math.inf) - now

    def _strikes(self, fault: SetFault[_D], facts: Facts) -> bool:
        if not (fault.definition.matches(facts) and fault.active(self._clock()) and fault.draw()):
            return False
        _log.info("fault", id=fault.name, kind=fault.definition.kind, operation=facts.operation)
        return True


def _is_a(fault: SetFault[Any], kind: type[_F]) -> TypeGuard[SetFault[_F]]:
    return isinstance(fault.definition, kind)
