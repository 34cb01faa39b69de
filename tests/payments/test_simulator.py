"""The simulator's refunds that are not done at once, as its adapter reads them."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.payments.servers import Asked, Scripted, says
from tests.payments.stands import charge_of, inquiry_of, refund_of
from toyrental.payments.providers.http import NO_SUCH_METHOD
from toyrental.payments.providers.port import (
    Found,
    OutcomeUnknown,
    Refunded,
    RefundFailed,
    RefundPending,
)
from toyrental.payments.providers.simulator import SimulatorProvider

CHARGE = charge_of("pm_card_visa")
MADE = {"id": "ch_1", "amount": CHARGE.amount.minor_units, "currency": "KRW"}


@pytest.fixture
async def provider(scripted: Scripted) -> AsyncIterator[SimulatorProvider]:
    provider = SimulatorProvider(scripted.url, timedelta(seconds=5))
    yield provider
    await provider.close()


async def test_a_mistyped_method_is_for_the_customer_to_mend(
    provider: SimulatorProvider, scripted: Scripted
) -> None:
    error = {"type": "invalid_request_error", "code": "resource_missing", "param": "method"}
    scripted.then = says(400, {"error": error})
    assert await provider.charge(CHARGE) == NO_SUCH_METHOD


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("succeeded", Refunded),
        ("pending", RefundPending),
        ("failed", RefundFailed),
        ("whatever", OutcomeUnknown),
    ],
)
async def test_a_refund_is_what_its_status_says(
    provider: SimulatorProvider, scripted: Scripted, status: str, kind: type
) -> None:
    scripted.then = says(200, MADE | {"amount": 4000, "status": status})
    assert type(await provider.refund(refund_of(CHARGE, "ch_1", 4000))) is kind


async def test_a_look_up_tells_apart_how_refunds_stand(
    provider: SimulatorProvider, scripted: Scripted
) -> None:
    refunds = [
        refund("4", "failed", 20),
        refund("3", "pending", 300),
        refund("2", "failed", 1),
        refund("1", "succeeded", 4000),
    ]

    async def answer(asked: Asked) -> Any:
        data = [MADE] if asked.path == "/v1/charges" else refunds
        return await says(200, {"data": data})(asked)

    scripted.then = answer
    # Then each step is where it belongs, and how much failed is told
    found = await provider.look_up(inquiry_of(CHARGE))
    assert found == Found(
        "ch_1",
        CHARGE.amount.minor_units,
        frozenset({1}),
        frozenset({3}),
        frozenset({2, 4}),
        failed_minor_units=21,
    )
    # And one that cannot be read is no answer
    refunds.append(refund("5", "whatever", 1))
    assert isinstance(await provider.look_up(inquiry_of(CHARGE)), OutcomeUnknown)


def refund(step: str, status: str, amount: int) -> dict[str, Any]:
    return {"id": f"re_{step}", "status": status, "amount": amount, "metadata": {"step": step}}
