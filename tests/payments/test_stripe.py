"""Stripe: what is sent, held against its public description, and what its answers mean."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.payments import stripe_api
from tests.payments.servers import Asked, Scripted, says
from tests.payments.stands import LocalStripe, charge_of, inquiry_of, refund_of
from toyrental.payments.providers.port import (
    Account,
    ApiKey,
    Captured,
    Declined,
    Found,
    Missing,
    OutcomeUnknown,
    Refunded,
    RefundFailed,
    RefundPending,
    Refused,
    TryLater,
    Unauthorized,
    UnderWay,
)
from toyrental.payments.providers.stripe import API, StripeProvider
from toyrental.payments.providers.stripe.adapter import API_VERSION
from toyrental.shared.money import Currency, Money

UID = "5d0e37b9-6f6c-4a31-9a3b-0c2d6f1f9b11"
CHARGE = charge_of("pm_card_visa", uid=UID)


def intent(**changes: Any) -> dict[str, Any]:
    """Return a PaymentIntent as Stripe answers with it."""
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 15000,
        "amount_received": 15000,
        "currency": "krw",
        "status": "succeeded",
        "metadata": {"paymentUID": UID, "rentalUID": "rental-1"},
        "last_payment_error": None,
    } | changes


def refund(status: str) -> dict[str, Any]:
    """Return a Refund as Stripe answers with it."""
    made = {"id": "re_1", "object": "refund", "payment_intent": "pi_1", "currency": "krw"}
    return made | {"amount": 4000, "status": status}


def error(**error: Any) -> dict[str, Any]:
    return {"error": error}


@pytest.fixture
async def stripe(scripted: Scripted) -> AsyncIterator[StripeProvider]:
    provider = StripeProvider(scripted.url, timedelta(seconds=10), ApiKey("sk_test_shop"))
    yield provider
    await provider.close()
    for asked in scripted.asked:
        parameters = asked.form | asked.query
        assert stripe_api.violations(asked.method, asked.path, parameters) == []
        assert asked.headers["Stripe-Version"] == stripe_api.VERSION == API_VERSION
        assert asked.headers["Authorization"] == "Bearer sk_test_shop"
        key = asked.headers.get("Idempotency-Key", "")
        assert (asked.method == "POST") is bool(key)
        assert len(key) <= stripe_api.IDEMPOTENCY_KEY


# --- Requests ---


async def test_a_charge_is_one_request(stripe: StripeProvider, scripted: Scripted) -> None:
    scripted.then = says(200, intent())
    assert await stripe.charge(CHARGE) == Captured("pi_1")
    (asked,) = scripted.asked
    assert (asked.method, asked.path) == ("POST", "/v1/payment_intents")
    assert asked.headers["Idempotency-Key"] == f"{UID}:charge:1"
    assert asked.form == {
        "amount": "15000",
        "currency": "krw",
        "confirm": "true",
        "payment_method": "pm_card_visa",
        "payment_method_types[]": "card",
        "error_on_requires_action": "true",
        "metadata[paymentUID]": UID,
        "metadata[rentalUID]": "rental-1",
    }


async def test_a_saved_card_is_charged_while_its_owner_is_away(
    stripe: StripeProvider, scripted: Scripted
) -> None:
    scripted.then = says(200, intent())
    await stripe.charge(replace(CHARGE, token="cus_9/pm_8"))
    form = scripted.asked[0].form
    assert (form["customer"], form["payment_method"]) == ("cus_9", "pm_8")
    assert form["off_session"] == "true"
    assert "error_on_requires_action" not in form


async def test_a_refund_keeps_its_step(stripe: StripeProvider, scripted: Scripted) -> None:
    scripted.then = says(200, refund("succeeded"))
    assert await stripe.refund(refund_of(CHARGE, "pi_1", 4000, step=3)) == Refunded()
    (asked,) = scripted.asked
    assert asked.headers["Idempotency-Key"] == f"{UID}:refund:3"
    assert asked.form == {
        "payment_intent": "pi_1",
        "amount": "4000",
        "metadata[paymentUID]": UID,
        "metadata[rentalUID]": "rental-1",
        "metadata[step]": "3",
    }


def test_the_extract_refuses_what_stripe_would() -> None:
    bad = stripe_api.violations
    assert bad("POST", "/v1/payment_intents", {"amount": "5", "currency": "KRW"})
    assert bad("POST", "/v1/payment_intents", {"amount": "1.5", "currency": "krw"})
    assert bad("POST", "/v1/payment_intents", {"amount": "5", "currency": "krw", "colour": "red"})
    assert bad("POST", "/v1/refunds", {"metadata[" + "k" * 41 + "]": "v"})
    assert bad("DELETE", "/v1/refunds", {})


def test_its_own_endpoint_is_stripes() -> None:
    assert API == "https://api.stripe.com"


# --- Amounts ---


@pytest.mark.parametrize("currency", list(Currency))
async def test_amounts_are_in_stripes_minor_units(
    stripe: StripeProvider, scripted: Scripted, currency: Currency
) -> None:
    name = currency.value
    assert name not in stripe_api.SPECIAL, "give it a rule of its own before it is offered"
    expected = 0 if name in stripe_api.ZERO_DECIMALS else 2
    assert currency.exponent == (3 if name in stripe_api.THREE_DECIMALS else expected)
    scripted.then = says(200, intent(currency=name.lower(), amount=5120, amount_received=5120))
    amount = Money(currency=currency, minor_units=5120)
    assert await stripe.charge(replace(CHARGE, amount=amount)) == Captured("pi_1")
    assert scripted.asked[0].form["amount"] == "5120"
    assert scripted.asked[0].form["currency"] == name.lower()


async def test_what_is_finer_than_stripe_takes_is_never_sent(
    stripe: StripeProvider, scripted: Scripted
) -> None:
    amount = Money(currency=Currency.KWD, minor_units=5124)
    for answer in (
        await stripe.charge(replace(CHARGE, amount=amount)),
        await stripe.refund(replace(refund_of(CHARGE, "pi_1", 1), amount=amount)),
    ):
        assert isinstance(answer, Refused)
        assert answer.code == "amount_too_fine"
    assert scripted.asked == []


# --- Answers ---

CARD = {"type": "card_error", "code": "card_declined"}
ANSWERS: list[tuple[int, dict[str, Any], type, str]] = [
    (402, error(**CARD, decline_code="insufficient_funds"), Declined, "insufficient_funds"),
    (402, error(**CARD, decline_code="generic_decline"), Declined, "generic_decline"),
    (402, error(**CARD), Declined, "card_declined"),
    (402, error(type="card_error", code="expired_card"), Declined, "expired_card"),
    (402, error(type="card_error", code="incorrect_cvc"), Declined, "incorrect_cvc"),
    (402, error(type="card_error", code="processing_error"), Declined, "processing_error"),
    (
        402,
        error(type="card_error", code="authentication_required", decline_code="generic_decline"),
        Declined,
        "authentication_required",
    ),
    (200, intent(status="requires_action"), Declined, "authentication_required"),
    (
        200,
        intent(status="requires_payment_method", last_payment_error=CARD),
        Declined,
        "card_declined",
    ),
    (
        400,
        error(type="invalid_request_error", code="resource_missing", param="payment_method"),
        Declined,
        "resource_missing",
    ),
    (400, error(type="idempotency_error"), Refused, "idempotency_error"),
    (400, error(type="invalid_request_error"), Refused, "invalid_request_error"),
    (
        400,
        error(type="invalid_request_error", code="amount_too_small"),
        Refused,
        "amount_too_small",
    ),
    (
        404,
        error(type="invalid_request_error", code="resource_missing"),
        Refused,
        "resource_missing",
    ),
    (200, intent(status="requires_capture"), Refused, "unexpected_status"),
    (200, intent(amount=14000), Refused, "answer_mismatch"),
    (200, intent(amount_received=14000), Refused, "answer_mismatch"),
    (200, intent(currency="usd"), Refused, "answer_mismatch"),
    (200, intent(metadata={"paymentUID": "another"}), Refused, "answer_mismatch"),
    (200, intent(metadata={}), Refused, "answer_mismatch"),
    (401, error(type="invalid_request_error"), Unauthorized, ""),
    (403, error(type="invalid_request_error"), Unauthorized, ""),
    (409, error(type="idempotency_error", code="idempotency_key_in_use"), UnderWay, ""),
    (429, error(type="invalid_request_error", code="lock_timeout"), TryLater, ""),
    (429, error(type="invalid_request_error", code="rate_limit"), TryLater, ""),
    (200, intent(status="processing"), OutcomeUnknown, ""),
    (424, error(type="api_error"), OutcomeUnknown, ""),
    (400, error(type="api_error"), OutcomeUnknown, ""),
    (500, error(type="api_error"), OutcomeUnknown, ""),
]


@pytest.mark.parametrize(("status", "body", "kind", "code"), ANSWERS)
async def test_answers_to_a_charge(
    *,
    stripe: StripeProvider,
    scripted: Scripted,
    status: int,
    body: dict[str, Any],
    kind: type,
    code: str,
) -> None:
    scripted.then = says(status, body)
    answer = await stripe.charge(CHARGE)
    assert type(answer) is kind
    assert getattr(answer, "code", "") == code


async def test_a_card_that_wants_its_owner_says_so(
    stripe: StripeProvider, scripted: Scripted
) -> None:
    scripted.then = says(402, error(type="card_error", code="authentication_required"))
    answer = await stripe.charge(CHARGE)
    assert isinstance(answer, Declined)
    assert "owner's presence" in answer.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("succeeded", Refunded),
        ("pending", RefundPending),
        ("requires_action", RefundPending),
        ("failed", RefundFailed),
        ("canceled", RefundFailed),
        ("whatever", OutcomeUnknown),
    ],
)
async def test_answers_to_a_refund(
    stripe: StripeProvider, scripted: Scripted, status: str, kind: type
) -> None:
    scripted.then = says(200, refund(status))
    assert type(await stripe.refund(refund_of(CHARGE, "pi_1", 4000))) is kind
    assert type(await stripe.refund(refund_of(CHARGE, "pi_1", 4001))) is Refused


async def test_an_account_that_may_not_charge_is_refused(
    stripe: StripeProvider, scripted: Scripted
) -> None:
    scripted.then = says(200, {"id": "acct_1", "charges_enabled": False})
    answer = await stripe.validate()
    assert isinstance(answer, Refused)
    assert "acct_1" in answer.message
    scripted.then = says(200, {"id": "acct_1", "charges_enabled": True})
    assert await stripe.validate() == Account("acct_1")


# --- Look-up ---


def lists(scripted: Scripted, intents: list[Any], refunds: list[Any] | None = None) -> None:
    """Have the server page through these, the newest first."""

    async def answer(asked: Asked) -> Any:
        held = intents if asked.path == "/v1/payment_intents" else refunds or []
        after = asked.query.get("starting_after")
        start = next((n + 1 for n, each in enumerate(held) if each["id"] == after), 0)
        page = held[start : start + int(asked.query["limit"])]
        more = len(held) > start + len(page)
        return await says(200, {"object": "list", "data": page, "has_more": more})(asked)

    scripted.then = answer


def others(count: int) -> list[dict[str, Any]]:
    return [intent(id=f"pi_o{n}", metadata={"paymentUID": f"other-{n}"}) for n in range(count)]


async def test_a_payment_is_found_on_a_later_page(
    stripe: StripeProvider, scripted: Scripted
) -> None:
    failed = intent(id="pi_0", status="requires_payment_method")
    refunds = [
        {"id": "re_3", "status": "failed", "amount": 50, "metadata": {"step": "3"}},
        {"id": "re_2", "status": "pending", "amount": 20, "metadata": {"step": "2"}},
        {"id": "re_1", "status": "succeeded", "amount": 10, "metadata": {"step": "1"}},
        {"id": "re_0", "status": "succeeded", "metadata": {}},
    ]
    lists(scripted, [*others(150), failed, intent()], refunds)
    since = datetime(2026, 3, 1, 9, tzinfo=UTC)
    found = await stripe.look_up(replace(inquiry_of(CHARGE), since=since))
    steps = frozenset({1}), frozenset({2}), frozenset({3})
    assert found == Found("pi_1", 15000, *steps, failed_minor_units=50)
    gte = {asked.query["created[gte]"] for asked in scripted.asked if "created[gte]" in asked.query}
    assert gte == {str(int((since - timedelta(hours=1)).timestamp()))}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("requires_payment_method", Missing),
        ("canceled", Missing),
        ("requires_action", Missing),
        ("processing", OutcomeUnknown),
        ("succeeded", Found),
    ],
)
async def test_only_what_took_money_counts(
    stripe: StripeProvider, scripted: Scripted, status: str, kind: type
) -> None:
    lists(scripted, [*others(3), intent(status=status)])
    assert type(await stripe.look_up(inquiry_of(CHARGE))) is kind


async def test_trouble_on_a_later_page_is_not_missing(
    stripe: StripeProvider, scripted: Scripted
) -> None:
    pages = iter([says(200, {"data": others(1), "has_more": True}), says(500)])

    async def answer(asked: Asked) -> Any:
        return await next(pages)(asked)

    scripted.then = answer
    assert type(await stripe.look_up(inquiry_of(CHARGE))) is OutcomeUnknown


async def test_a_list_without_end_is_not_missing(
    stripe: StripeProvider, scripted: Scripted
) -> None:
    scripted.then = says(200, {"data": others(1), "has_more": True})
    answer = await stripe.look_up(inquiry_of(CHARGE))
    assert isinstance(answer, Refused)
    assert answer.code == "too_many"
    assert len(scripted.asked) == 50


async def test_another_payments_id_is_no_find(stripe: StripeProvider, scripted: Scripted) -> None:
    scripted.then = says(200, intent(metadata={"paymentUID": "another"}))
    assert type(await stripe.look_up(inquiry_of(CHARGE, "pi_1"))) is Refused
    scripted.then = says(404, error(type="invalid_request_error", code="resource_missing"))
    assert await stripe.look_up(inquiry_of(CHARGE, "pi_1")) == Missing()


# --- localstripe ---


async def test_localstripe_and_a_card_that_asks_for_its_owner(localstripe: LocalStripe) -> None:
    card = {"number": "4000000000003220", "exp_month": "12", "exp_year": "2040", "cvc": "123"}
    form = {"type": "card"} | {f"card[{name}]": value for name, value in card.items()}
    async with httpx.AsyncClient(base_url=localstripe.url, trust_env=False) as client:
        headers = {"Authorization": "Bearer sk_test_shop"}
        made = await client.post("/v1/payment_methods", data=form, headers=headers)
    method = made.raise_for_status().json()["id"]
    assert re.fullmatch(r"pm_\w+", method)
    provider = StripeProvider(localstripe.url, timedelta(seconds=10), ApiKey("sk_test_shop"))
    charge = charge_of(method)
    answer = await provider.charge(charge)
    assert isinstance(answer, Declined)
    assert answer.code == "authentication_required"
    assert await provider.look_up(inquiry_of(charge)) == Missing()
    await provider.close()
