"""A payment provider in memory: it keeps its promises about keys, and no others.

It declines some tokens, and it fails in every way a provider does: it refuses, is not reached,
loses the request, loses its answer, carries a request out after the caller has given up, or twice.
What is late comes in any order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from toyrental.payments.providers.port import (
    Captured,
    Charge,
    ChargeAnswer,
    Declined,
    Found,
    LookUpAnswer,
    Missing,
    NotSent,
    OutcomeUnknown,
    Refund,
    RefundAnswer,
    Refunded,
    Refused,
    TryLater,
    Unauthorized,
    UnderWay,
)

GOOD = ("good", "better")
BAD = ("bad", "worse")

TIMEOUT = timedelta(seconds=10)
"""How long a caller waits for an answer; a request may be carried out that long after."""

KEYS_REMEMBERED = timedelta(hours=24)
KEY_LIFE = timedelta(hours=23)
"""How long callers count on a key: less than it is remembered."""


class Fault(StrEnum):
    """What goes wrong with a request."""

    NONE = "none"
    NOT_SENT = "not sent"
    UNAUTHORIZED = "unauthorized"
    TRY_LATER = "try later"
    LOST_BEFORE = "lost before it arrives"
    LOST_AFTER = "answer lost"
    LATE = "carried out after the caller gave up"
    REPEATED = "carried out, and again later"
    REFUSED = "refused"


@dataclass
class Taken:
    """Money that was taken, and what of it was given back: amounts by step."""

    id: str
    charge: Charge
    given_back: dict[int, int] = field(default_factory=dict)
    failed: dict[int, int] = field(default_factory=dict)
    """What was given back, and came back: the same, of those that failed after all."""

    by_hand: int = 0
    """What the shop gave back in another way."""

    @property
    def left(self) -> int:
        """How much of it the provider has not given back."""
        return self.charge.amount.minor_units - sum(self.given_back.values())

    @property
    def kept(self) -> int:
        """How much of it the shop still has."""
        return self.left - self.by_hand


Definite = Captured | Declined | Refunded | Refused
A = TypeVar("A", ChargeAnswer, RefundAnswer)


@dataclass
class _Late:
    due: datetime
    key: str
    carry_out: Callable[[], object]


class Provider:
    """The ledger of one shop, and the keys it remembers."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.declines = 0
        self.calls: list[str] = []
        self._answers: dict[str, tuple[datetime, Charge | Refund, Definite]] = {}
        self._late: list[_Late] = []

    def of_rental(self, uid: str) -> list[Taken]:
        """Return what was taken for a rental."""
        return [taken for taken in self.taken if taken.charge.rental_uid == uid]

    def of_payment(self, uid: str) -> list[Taken]:
        """Return what was taken under a Payment."""
        return [taken for taken in self.taken if taken.charge.payment_uid == uid]

    @property
    def something_late(self) -> bool:
        """Whether a request is still on its way."""
        return bool(self._late)

    # --- Requests ---

    def charge(self, charge: Charge, now: datetime, fault: Fault = Fault.NONE) -> ChargeAnswer:
        """Take the amount, unless this key was answered before."""
        self.calls.append(charge.key)
        trouble = self._trouble(charge.key, fault)
        if trouble is not None:
            return trouble
        if fault is Fault.LATE:
            self._put_late(now, charge.key, lambda: self._charge(charge, now))
            return OutcomeUnknown("timed out")
        answer = self._charge(charge, now)
        if fault is Fault.REPEATED:
            self._put_late(now, charge.key, lambda: self._charge(charge, now))
        return OutcomeUnknown("answer lost") if fault is Fault.LOST_AFTER else answer

    def refund(self, refund: Refund, now: datetime, fault: Fault = Fault.NONE) -> RefundAnswer:
        """Give the amount back, unless this key was answered before."""
        self.calls.append(refund.key)
        trouble = self._trouble(refund.key, fault)
        if trouble is not None:
            return trouble
        if fault is Fault.LATE:
            self._put_late(now, refund.key, lambda: self._refund(refund, now))
            return OutcomeUnknown("timed out")
        answer = self._refund(refund, now)
        if fault is Fault.REPEATED:
            self._put_late(now, refund.key, lambda: self._refund(refund, now))
        return OutcomeUnknown("answer lost") if fault is Fault.LOST_AFTER else answer

    def look_up(self, payment_uid: str, fault: Fault = Fault.NONE) -> LookUpAnswer:
        """Tell what is known of a payment."""
        self.calls.append(f"{payment_uid}:look-up")
        trouble = self._trouble("", fault)
        if trouble is not None:
            return trouble
        if fault in {Fault.LATE, Fault.LOST_AFTER}:
            return OutcomeUnknown("answer lost")
        for taken in self.of_payment(payment_uid):
            amount = taken.charge.amount.minor_units
            return Found(
                taken.id,
                amount,
                frozenset(taken.given_back),
                failed_steps=frozenset(taken.failed),
                failed_minor_units=sum(taken.failed.values()),
            )
        return Missing()

    def fail_refund(self, payment_uid: str, n: int = 0) -> bool:
        """Have a refund fail that was made; tell whether there was one."""
        for taken in self.of_payment(payment_uid):
            if taken.given_back:
                step = sorted(taken.given_back)[n % len(taken.given_back)]
                taken.failed[step] = taken.given_back.pop(step)
                return True
        return False

    def failed_of(self, payment_uid: str) -> int:
        """Return how much failed of what was given back under a Payment."""
        return sum(sum(taken.failed.values()) for taken in self.of_payment(payment_uid))

    def pass_time(self, now: datetime) -> None:
        """Carry out what is late, by now."""
        for late in [late for late in self._late if late.due <= now]:
            self._carry_out(late)

    def carry_out_one(self, n: int = 0) -> None:
        """Carry out one of the requests that are late, whichever came first."""
        if self._late:
            self._carry_out(self._late[n % len(self._late)])

    # --- What happens ---

    def _trouble(
        self, key: str, fault: Fault
    ) -> NotSent | Unauthorized | TryLater | OutcomeUnknown | Refused | None:
        match fault:
            case Fault.NOT_SENT:
                return NotSent("the circuit is open")
            case Fault.UNAUTHORIZED:
                return Unauthorized("the credentials were refused")
            case Fault.TRY_LATER:
                return TryLater("busy", timedelta(seconds=20))
            case Fault.LOST_BEFORE:
                return OutcomeUnknown("connection reset")
            case Fault.REFUSED:
                return Refused("parameter_invalid", "set up wrongly")
            case _ if any(late.key == key for late in self._late):
                return UnderWay("the same is under way")
            case _:
                return None

    def _put_late(self, now: datetime, key: str, carry_out: Callable[[], object]) -> None:
        self._late.append(_Late(now + TIMEOUT, key, carry_out))

    def _carry_out(self, late: _Late) -> None:
        self._late.remove(late)
        late.carry_out()

    def _charge(self, charge: Charge, now: datetime) -> ChargeAnswer:
        known = self._known(charge.key, charge, now)
        if known is not None:
            assert isinstance(known, Captured | Declined | Refused)
            return known
        answer: ChargeAnswer
        if charge.token in BAD:
            self.declines += 1
            answer = Declined("card_declined", "The card was declined")
        else:
            taken = Taken(f"ch_{len(self.taken) + 1}", charge)
            self.taken.append(taken)
            answer = Captured(taken.id)
        self._answers[charge.key] = (now, charge, answer)
        return answer

    def _refund(self, refund: Refund, now: datetime) -> RefundAnswer:
        known = self._known(refund.key, refund, now)
        if known is not None:
            assert isinstance(known, Refunded | Refused)
            return known
        taken = next((t for t in self.taken if t.id == refund.gateway_payment_id), None)
        amount = refund.amount.minor_units
        if taken is None or amount > taken.left:
            return Refused("amount_too_large", "more than is left")
        assert refund.step not in taken.given_back | taken.failed, (
            "a step of refund moved money twice"
        )
        taken.given_back[refund.step] = amount
        answer = Refunded()
        self._answers[refund.key] = (now, refund, answer)
        return answer

    def _known(self, key: str, request: Charge | Refund, now: datetime) -> Definite | None:
        known = self._answers.get(key)
        if known is None or now > known[0] + KEYS_REMEMBERED:
            return None
        _, first_request, answer = known
        if request != first_request:
            return Refused("idempotency_key_mismatch", "the key was used with other parameters")
        return answer
