"""Toss Payments: what is sent, and what its documented codes mean."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.payments.servers import Asked, Scripted, says
from tests.payments.stands import charge_of, inquiry_of, refund_of
from toyrental.payments.providers.port import (
    Account,
    ApiKey,
    Captured,
    Declined,
    Missing,
    OutcomeUnknown,
    Refunded,
    Refused,
    TryLater,
    Unauthorized,
    UnderWay,
)
from toyrental.payments.providers.toss import API, TossProvider
from toyrental.payments.providers.toss.answers import DECLINES
from toyrental.shared.money import Currency, Money

UID = "5d0e37b9-6f6c-4a31-9a3b-0c2d6f1f9b11"
CHARGE = charge_of("bill/key==", uid=UID, attempt=2)
KEY = "live_sk_shop"


def payment(**changes: Any) -> dict[str, Any]:
    return {
        "mId": "toyshop",
        "paymentKey": "toss1",
        "orderId": f"{UID}-2",
        "status": "DONE",
        "currency": "KRW",
        "totalAmount": 15000,
        "cancels": None,
    } | changes


def code(code: str) -> dict[str, Any]:
    return {"code": code, "message": "A message that may repeat what was sent"}


@pytest.fixture
async def toss(scripted: Scripted) -> AsyncIterator[TossProvider]:
    provider = TossProvider(scripted.url, timedelta(seconds=10), ApiKey(KEY))
    yield provider
    await provider.close()
    basic = base64.b64encode(f"{KEY}:".encode()).decode()
    for asked in scripted.asked:
        assert asked.headers["Authorization"] == f"Basic {basic}"
        key = asked.headers.get("Idempotency-Key", "")
        assert (asked.method == "POST") is bool(key)
        assert len(key) <= 300


async def test_a_charge_is_one_request(toss: TossProvider, scripted: Scripted) -> None:
    scripted.then = says(200, payment())
    assert await toss.charge(CHARGE) == Captured("toss1")
    (asked,) = scripted.asked
    assert (asked.method, asked.path) == ("POST", "/v1/billing/bill%2Fkey%3D%3D")
    assert asked.headers["Idempotency-Key"] == f"{UID}:charge:2"
    assert asked.json == {
        "customerKey": "mina",
        "amount": 15000,
        "orderId": f"{UID}-2",
        "orderName": "Toy rental rental-1",
    }


async def test_a_refund_tells_its_step_in_its_reason(
    toss: TossProvider, scripted: Scripted
) -> None:
    cancel = {"cancelReason": f"Refund 3 of payment {UID}", "cancelAmount": 4000}
    scripted.then = says(200, payment(status="PARTIAL_CANCELED", cancels=[cancel]))
    refund = refund_of(CHARGE, "toss1", 4000, step=3)
    assert await toss.refund(refund) == Refunded()
    (asked,) = scripted.asked
    assert (asked.method, asked.path) == ("POST", "/v1/payments/toss1/cancel")
    assert asked.headers["Idempotency-Key"] == f"{UID}:refund:3"
    assert asked.json == cancel
    waits = cancel | {"cancelStatus": "IN_PROGRESS"}
    scripted.then = says(200, payment(status="PARTIAL_CANCELED", cancels=[waits]))
    assert type(await toss.refund(refund)) is OutcomeUnknown


def test_its_own_endpoint_is_toss() -> None:
    assert API == "https://api.tosspayments.com"


async def test_what_toss_cannot_charge_is_never_sent(
    toss: TossProvider, scripted: Scripted
) -> None:
    dollars = Money(currency=Currency.USD, minor_units=500)
    for charge in (replace(CHARGE, amount=dollars), replace(CHARGE, customer=None)):
        assert type(await toss.charge(charge)) is Refused
    assert scripted.asked == []


ANSWERS: list[tuple[int, dict[str, Any], type]] = [
    *((403, code(each), Declined) for each in sorted(DECLINES)),
    (200, payment(status="ABORTED", failure={"code": "REJECT_CARD_PAYMENT"}), Declined),
    (200, payment(status="IN_PROGRESS"), OutcomeUnknown),
    (200, payment(totalAmount=14000), Refused),
    (200, payment(currency="USD"), Refused),
    (200, payment(orderId="another"), Refused),
    (400, code("INVALID_REQUEST"), Refused),
    (400, code("BELOW_MINIMUM_AMOUNT"), Refused),
    (403, code("SOMETHING_NEW"), Refused),
    (404, code("NOT_FOUND"), Refused),
    (400, code("INVALID_API_KEY"), Unauthorized),
    (401, code("UNAUTHORIZED_KEY"), Unauthorized),
    (403, code("INCORRECT_BASIC_AUTH_FORMAT"), Unauthorized),
    (403, code("FORBIDDEN_REQUEST"), Unauthorized),
    (409, code("IDEMPOTENT_REQUEST_PROCESSING"), UnderWay),
    (429, code("TOO_MANY_REQUESTS"), TryLater),
    (400, code("PROVIDER_ERROR"), OutcomeUnknown),
    (500, code("FAILED_INTERNAL_SYSTEM_PROCESSING"), OutcomeUnknown),
    (500, code("REJECT_CARD_PAYMENT"), OutcomeUnknown),
]


@pytest.mark.parametrize(("status", "body", "kind"), ANSWERS)
async def test_answers_to_a_charge(
    toss: TossProvider, scripted: Scripted, status: int, body: dict[str, Any], kind: type
) -> None:
    scripted.then = says(status, body)
    answer = await toss.charge(CHARGE)
    assert type(answer) is kind
    assert "may repeat" not in repr(answer)


@pytest.mark.parametrize("seen", ["ALREADY_PROCESSED_PAYMENT", "DUPLICATED_ORDER_ID"])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, payment(), Captured),
        (200, payment(totalAmount=1), Refused),
        (200, payment(status="ABORTED"), Declined),
        (200, payment(status="READY"), OutcomeUnknown),
        (404, code("NOT_FOUND_PAYMENT"), OutcomeUnknown),
        (500, {}, OutcomeUnknown),
        (401, code("UNAUTHORIZED_KEY"), Unauthorized),
    ],
)
async def test_an_order_seen_before_is_settled_by_a_get(
    *, toss: TossProvider, scripted: Scripted, seen: str, status: int, body: Any, kind: type
) -> None:
    async def answer(asked: Asked) -> Any:
        first = says(400, code(seen))
        return await (first if asked.method == "POST" else says(status, body))(asked)

    scripted.then = answer
    assert type(await toss.charge(CHARGE)) is kind
    assert scripted.asked[-1].path == f"/v1/payments/orders/{UID}-2"


@pytest.mark.parametrize("refusal", ["ALREADY_CANCELED_PAYMENT", "NOT_CANCELABLE_AMOUNT"])
@pytest.mark.parametrize(("step", "kind"), [(1, Refunded), (2, Refused)])
async def test_a_refund_refused_is_settled_by_a_get(
    toss: TossProvider, scripted: Scripted, refusal: str, step: int, kind: type
) -> None:
    cancels = [
        {"cancelReason": f"Refund 1 of payment {UID}", "cancelStatus": "DONE"},
        {"cancelReason": "Refund 2 of payment another", "cancelStatus": "DONE"},
        {"cancelReason": "by hand"},
    ]

    async def answer(asked: Asked) -> Any:
        known = says(200, payment(status="CANCELED", cancels=cancels))
        return await (says(403, code(refusal)) if asked.method == "POST" else known)(asked)

    scripted.then = answer
    assert type(await toss.refund(refund_of(CHARGE, "toss1", 1000, step=step))) is kind


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, payment(status="EXPIRED"), Missing),
        (200, payment(status="WAITING_FOR_DEPOSIT"), OutcomeUnknown),
        (200, payment(orderId="another-1"), Refused),
        (404, code("NOT_FOUND_PAYMENT"), Missing),
        (404, code("NOT_FOUND"), Refused),
    ],
)
async def test_only_what_took_money_counts(
    toss: TossProvider, scripted: Scripted, status: int, body: Any, kind: type
) -> None:
    scripted.then = says(status, body)
    assert type(await toss.look_up(inquiry_of(CHARGE))) is kind


async def test_the_shop_is_named_once_there_is_a_transaction(
    toss: TossProvider, scripted: Scripted
) -> None:
    scripted.then = says(200, [])
    assert await toss.validate() == Account("live")
    scripted.then = says(200, [{"mId": "toyshop"}])
    assert await toss.validate() == Account("live/toyshop")


@pytest.mark.parametrize(
    ("account", "known", "same"),
    [
        ("live", "live", True),
        ("live", "live/toyshop", True),
        ("live/toyshop", "live", True),
        ("live/toyshop", "live/toyshop", True),
        ("live/other", "live/toyshop", False),
        ("test", "live", False),
        ("live/toyshop2", "live/toyshop", False),
        ("acct_1", "acct_10", False),
    ],
)
def test_accounts_that_agree(account: str, known: str, same: bool) -> None:
    assert Account(account).agrees_with(known) is same
