"""A 200 that contradicts what was asked is never a capture, nor a refund, at any provider."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.payments.servers import Scripted, says
from tests.payments.stands import ADAPTERS, charge_of, inquiry_of, refund_of
from toyrental.payments.providers.port import ANSWER_MISMATCH, ApiKey, Refused

UID = "0b8f7a6e-1111-2222-3333-444455556666"
CHARGE = charge_of("pm_card_visa", uid=UID)
AMOUNT = CHARGE.amount.minor_units
Body = dict[str, Any]


def simulated(amount: int, currency: str) -> Body:
    return {"id": "ch_1", "amount": amount, "currency": currency}


def at_stripe(amount: int, currency: str) -> Body:
    return {
        "id": "pi_1",
        "status": "succeeded",
        "amount": amount,
        "amount_received": amount,
        "currency": currency.lower(),
        "metadata": {"paymentUID": UID},
    }


def at_toss(amount: int, currency: str) -> Body:
    return {
        "paymentKey": "tk_1",
        "orderId": UID,
        "status": "DONE",
        "totalAmount": amount,
        "balanceAmount": amount,
        "currency": currency,
        "mId": "tosspayments",
    }


BODIES: dict[str, Callable[[int, str], Body]] = {
    "simulator": simulated,
    "stripe": at_stripe,
    "toss": at_toss,
}


@pytest.mark.parametrize(
    ("amount", "currency"),
    [(AMOUNT + 1, "KRW"), (AMOUNT - 1, "KRW"), (0, "KRW"), (AMOUNT, "USD")],
)
@pytest.mark.parametrize("name", ADAPTERS)
async def test_a_success_of_something_else_goes_to_a_person(
    name: str, amount: int, currency: str, scripted: Scripted
) -> None:
    body = BODIES[name](amount, currency)
    provider = ADAPTERS[name](scripted.url, timedelta(seconds=10), ApiKey("key"))
    scripted.then = says(200, body)
    charged = await provider.charge(CHARGE)
    # And the same where it is found later, in a list or alone
    scripted.then = says(200, body | {"data": [body]})
    found = await provider.look_up(inquiry_of(CHARGE))
    await provider.close()
    for answer in (charged, found):
        assert isinstance(answer, Refused)
        assert answer.code == ANSWER_MISMATCH
        assert "than was asked" in answer.message


@pytest.mark.parametrize(("amount", "currency"), [(999, "KRW"), (1000, "USD")])
async def test_a_refund_of_something_else_is_none(
    amount: int, currency: str, scripted: Scripted
) -> None:
    provider = ADAPTERS["simulator"](scripted.url, timedelta(seconds=10), ApiKey("key"))
    scripted.then = says(200, {"id": "re_1", "amount": amount, "currency": currency})
    answer = await provider.refund(refund_of(CHARGE, "ch_1", 1000))
    await provider.close()
    assert isinstance(answer, Refused)
    assert answer.code == ANSWER_MISMATCH
