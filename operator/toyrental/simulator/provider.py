"""What the provider decides: declines by token, limits on refunds, and each key's one answer."""

import json
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from toyrental.simulator import answers
from toyrental.simulator.answers import Answer, RefusedError
from toyrental.simulator.ledger import Ledger
from toyrental.simulator.models import Charge, ChargeRequest, Decline, Refund, RefundRequest
from toyrental.simulator.tokens import OUTCOMES, CardDecline


class Reply(NamedTuple):
    """An answer, and whether it had been given before."""

    answer: Answer
    replayed: bool


def _now() -> int:
    return int(time.time())


class Provider:
    """Takes and returns money in a ledger, at most once an idempotency key.

    Once a request has got as far as the ledger, its answer is final, success or not: the same key
    with the same parameters gets it again. A request that is `RefusedError` leaves its key unused.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], int] = _now) -> None:
        self._ledger = ledger
        self._clock = clock

    def charge(self, key: str, request: ChargeRequest) -> Reply:
        """Take the money, or decline as the token says.

        Raises `RefusedError` for an unknown token and for a key used with other parameters.
        """
        if request.method not in OUTCOMES:
            raise RefusedError(answers.unknown_method())
        asked = _asked("charge", request.model_dump())
        return self._once(key, asked, lambda: self._take(key, request))

    def refund(self, key: str, request: RefundRequest) -> Reply:
        """Give money of a charge back, never more than was taken.

        Raises `RefusedError` for a key used with other parameters.
        """
        asked = _asked("refund", request.model_dump())
        return self._once(key, asked, lambda: self._give_back(key, request))

    def _once(self, key: str, asked: str, act: Callable[[], Answer]) -> Reply:
        # One transaction: the money and the memory of having moved it are kept or lost together.
        with self._ledger.transaction():
            earlier = self._ledger.answer(key)
            if earlier is None:
                answer = act()
                self._ledger.add_answer(key, asked, answer)
                return Reply(answer, replayed=False)
        first_asked, answer = earlier
        if first_asked != asked:
            raise RefusedError(answers.key_mismatch(_differing(first_asked, asked)))
        return Reply(answer, replayed=True)

    def _take(self, key: str, request: ChargeRequest) -> Answer:
        decline = OUTCOMES[request.method]
        if decline is not None:
            return self._decline(key, request, decline)
        charge = Charge(
            id=_new_id("ch"),
            idempotency_key=key,
            amount=request.amount,
            amount_refunded=0,
            currency=request.currency,
            customer=request.customer,
            metadata=request.metadata,
            created=self._clock(),
        )
        self._ledger.add_charge(charge)
        return answers.ok(charge.resource())

    def _decline(self, key: str, request: ChargeRequest, decline: CardDecline) -> Answer:
        self._ledger.add_decline(
            Decline(
                idempotency_key=key,
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

    def _give_back(self, key: str, request: RefundRequest) -> Answer:
        charge = self._ledger.charge(request.charge)
        if charge is None:
            return answers.unknown_charge("charge")
        obstacle = _obstacle(charge, request)
        if obstacle is not None:
            return obstacle
        refund = Refund(
            id=_new_id("re"),
            idempotency_key=key,
            charge=charge.id,
            amount=request.amount,
            currency=charge.currency,
            metadata=request.metadata,
            created=self._clock(),
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
