"""What the provider decides: declines by token, limits on refunds, and each key's one answer."""

import json
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from toyrental.simulator import answers
from toyrental.simulator.answers import Answer, RefusedError
from toyrental.simulator.ledger import Ledger, Remembered
from toyrental.simulator.models import (
    Charge,
    ChargeQuery,
    ChargeRequest,
    Decline,
    Refund,
    RefundQuery,
    RefundRequest,
    RefundStatus,
)
from toyrental.simulator.tokens import OUTCOMES, CardDecline


class Reply(NamedTuple):
    """An answer, and whether it had been given before."""

    answer: Answer
    replayed: bool


class KeyLife(NamedTuple):
    """An idempotency key, and how many times it has been new."""

    key: str
    number: int


class LateFailure(NamedTuple):
    """How a refund fails after it was accepted: how it stands until then, and for how long."""

    first: RefundStatus
    seconds: float


class Conduct:
    """How the provider conducts itself in one request: here, as it should.

    Each question is asked only when its answer matters.
    """

    def forgets(self, age: float) -> bool:  # noqa: ARG002
        """Tell whether an idempotency key first used `age` seconds ago is forgotten."""
        return False

    def decline(self) -> CardDecline | None:
        """Decline a charge whose card would pay."""
        return None

    def late_failure(self) -> LateFailure | None:
        """Have a refund that can be made fail later."""
        return None

    def hides(self, age: float) -> bool:  # noqa: ARG002
        """Tell whether look-up does not find yet what was recorded `age` seconds ago."""
        return False


NORMAL = Conduct()


class Provider:
    """Takes and returns money in a ledger, at most once an idempotency key.

    Once a request has got as far as the ledger, its answer is final, success or not: the same key
    with the same parameters gets it again. A request that is `RefusedError` leaves its key unused.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock

    def charge(self, key: str, request: ChargeRequest, conduct: Conduct = NORMAL) -> Reply:
        """Take the money, or decline as the token says.

        Raises `RefusedError` for an unknown token and for a key used with other parameters.
        """
        if request.method not in OUTCOMES:
            raise RefusedError(answers.unknown_method())
        asked = _asked("charge", request.model_dump())
        return self._once(key, asked, conduct, lambda life: self._take(life, request, conduct))

    def refund(self, key: str, request: RefundRequest, conduct: Conduct = NORMAL) -> Reply:
        """Give money of a charge back, never more than was taken.

        Raises `RefusedError` for a key used with other parameters.
        """
        asked = _asked("refund", request.model_dump())
        return self._once(key, asked, conduct, lambda life: self._give_back(life, request, conduct))

    def fail_due(self) -> list[Refund]:
        """Have those refunds fail whose time has come, and give them."""
        now = self._clock()
        with self._ledger.transaction():
            due = [refund for refund in self._ledger.failing() if (refund.fails or 0.0) <= now]
            for refund in due:
                self._ledger.fail_refund(refund)
        return [refund.model_copy(update={"status": RefundStatus.FAILED}) for refund in due]

    def seconds_to_failure(self) -> float | None:
        """Tell in how many seconds the next refund fails; None when none will."""
        failing = self._ledger.failing()
        return max((failing[0].fails or 0.0) - self._clock(), 0.0) if failing else None

    def find_charge(self, charge_id: str, conduct: Conduct = NORMAL) -> Charge | None:
        """Look a charge up by its id."""
        charge = self._ledger.charge(charge_id)
        return None if charge is None or self._hidden(charge, conduct) else charge

    def find_charges(self, query: ChargeQuery, conduct: Conduct = NORMAL) -> list[Charge]:
        """Look charges up, newest first: as many as asked for, and one more if there is one."""
        most = query.limit + 1
        # What is hidden does not count, so its number has to be known before the limit can be.
        limit = most if conduct is NORMAL else -1
        found = self._ledger.charges(payment_uid=query.payment_uid, limit=limit)
        return [charge for charge in found if not self._hidden(charge, conduct)][:most]

    def find_refunds(self, query: RefundQuery, conduct: Conduct = NORMAL) -> list[Refund]:
        """Look refunds up, newest first: as many as asked for, and one more if there is one."""
        most = query.limit + 1
        limit = most if conduct is NORMAL else -1
        found = self._ledger.refunds(
            charge=query.charge, payment_uid=query.payment_uid, limit=limit
        )
        return [refund for refund in found if not self._hidden(refund, conduct)][:most]

    def _hidden(self, entry: Charge | Refund, conduct: Conduct) -> bool:
        return conduct is not NORMAL and conduct.hides(self._clock() - entry.created)

    def _once(
        self, key: str, asked: str, conduct: Conduct, act: Callable[[KeyLife], Answer]
    ) -> Reply:
        # One transaction: the money and the memory of having moved it are kept or lost together.
        with self._ledger.transaction():
            earlier = self._ledger.answer(key)
            life = KeyLife(key, 1)
            if earlier is not None and conduct.forgets(self._clock() - earlier.created):
                self._ledger.forget_answer(key)
                life = KeyLife(key, earlier.key_life + 1)
                earlier = None
            if earlier is None:
                answer = act(life)
                made = Remembered(asked, answer, self._clock(), life.number)
                self._ledger.add_answer(key, made)
                return Reply(answer, replayed=False)
        if earlier.request != asked:
            raise RefusedError(answers.key_mismatch(_differing(earlier.request, asked)))
        return Reply(earlier.answer, replayed=True)

    def _take(self, life: KeyLife, request: ChargeRequest, conduct: Conduct) -> Answer:
        decline = OUTCOMES[request.method] or conduct.decline()
        if decline is not None:
            return self._decline(life, request, decline)
        charge = Charge(
            id=_new_id("ch"),
            idempotency_key=life.key,
            key_life=life.number,
            amount=request.amount,
            amount_refunded=0,
            currency=request.currency,
            customer=request.customer,
            metadata=request.metadata,
            created=self._clock(),
        )
        self._ledger.add_charge(charge)
        return answers.ok(charge.resource())

    def _decline(self, life: KeyLife, request: ChargeRequest, decline: CardDecline) -> Answer:
        self._ledger.add_decline(
            Decline(
                idempotency_key=life.key,
                key_life=life.number,
                amount=request.amount,
                currency=request.currency,
                payment_uid=request.metadata.payment_uid,
                rental_uid=request.metadata.rental_uid,
                code=decline.code,
                decline_code=decline.decline_code,
                created=self._clock(),
            )
        )
        return answers.declined(decline)

    def _give_back(self, life: KeyLife, request: RefundRequest, conduct: Conduct) -> Answer:
        charge = self._ledger.charge(request.charge)
        if charge is None:
            return answers.unknown_charge("charge")
        obstacle = _obstacle(charge, request)
        if obstacle is not None:
            return obstacle
        now, failure = self._clock(), conduct.late_failure()
        refund = Refund(
            id=_new_id("re"),
            idempotency_key=life.key,
            key_life=life.number,
            charge=charge.id,
            amount=request.amount,
            currency=charge.currency,
            metadata=request.metadata,
            created=now,
            status=RefundStatus.SUCCEEDED if failure is None else failure.first,
            fails=None if failure is None else now + failure.seconds,
        )
        self._ledger.add_refund(refund)
        return answers.ok(refund.resource())


def _obstacle(charge: Charge, request: RefundRequest) -> Answer | None:
    """Say why the charge cannot be refunded as asked, if it cannot."""
    theirs = (request.metadata.payment_uid, request.metadata.rental_uid)
    if theirs != (charge.metadata.payment_uid, charge.metadata.rental_uid):
        return answers.invalid(
            "charge_mismatch",
            "The charge was taken for another payment or rental than this refund names. Send the "
            "charge's own paymentUID and rentalUID, or the right charge.",
            param="metadata",
        )
    left = charge.amount - charge.amount_refunded
    if left == 0:
        return answers.invalid(
            "charge_already_refunded",
            "The charge has been refunded in full; GET /v1/refunds?charge=… lists its refunds.",
            param="charge",
        )
    if request.amount > left:
        return answers.invalid(
            "amount_too_large",
            f"Of the charge's {charge.amount} {charge.currency} (minor units) {left} are left to "
            f"refund, {request.amount} were asked for.",
            param="amount",
        )
    return None


def _asked(operation: str, parameters: dict[str, object]) -> str:
    """Write a request down so that equal requests are equal texts."""
    return json.dumps({"operation": operation, **parameters}, sort_keys=True)


def _differing(first: str, second: str) -> list[str]:
    """Name the parameters in which two requests differ."""
    one, other = json.loads(first), json.loads(second)
    return sorted(name for name in one | other if one.get(name) != other.get(name))


def _new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"
