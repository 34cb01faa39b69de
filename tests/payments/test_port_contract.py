"""What every provider promises, held against each: the port's words, and what money did."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.payments.servers import (
    Answer,
    Scripted,
    breaks_off,
    resets,
    says,
    says_nothing,
    says_text,
    trickles,
)
from tests.payments.stands import (
    ADAPTERS,
    CANARY,
    Stand,
    charge_of,
    inquiry_of,
    refund_of,
)
from toyrental.payments.models import PaymentGatewaySpec
from toyrental.payments.providers.port import (
    Account,
    ApiKey,
    Captured,
    Declined,
    Found,
    Missing,
    NotSent,
    OutcomeUnknown,
    Provider,
    Refunded,
    Refused,
    TryLater,
    Unauthorized,
    UnderWay,
)

# --- At each provider's stand ---


async def captured(at: Stand, **changes: Any) -> tuple[Any, str]:
    charge = charge_of(at.charged, **changes)
    answer = await at.provider.charge(charge)
    assert isinstance(answer, Captured)
    return charge, answer.gateway_payment_id


async def test_a_charge_is_taken(at: Stand) -> None:
    charge, id_ = await captured(at)
    assert id_
    assert at.takings(charge.payment_uid) == 1


async def test_the_same_charge_again_is_the_same_charge(at: Stand) -> None:
    charge, id_ = await captured(at)
    assert await at.provider.charge(charge) == Captured(id_)
    assert at.takings(charge.payment_uid) == 1


async def test_the_same_charge_at_once_is_taken_once(at: Stand) -> None:
    charge = charge_of(at.charged)
    first, second = await asyncio.gather(at.provider.charge(charge), at.provider.charge(charge))
    assert Captured in {type(first), type(second)}
    assert {type(first), type(second)} <= {Captured, UnderWay}
    assert at.takings(charge.payment_uid) == 1


async def test_a_card_that_says_no_is_declined_and_stays_so(at: Stand) -> None:
    charge = charge_of(at.declined)
    first = await at.provider.charge(charge)
    assert isinstance(first, Declined)
    assert first.code
    assert not first.message.endswith(".")
    assert await at.provider.charge(charge) == first
    assert at.takings(charge.payment_uid) == 0


async def test_after_a_decline_another_attempt_may_be_taken(at: Stand) -> None:
    declined = charge_of(at.declined)
    assert isinstance(await at.provider.charge(declined), Declined)
    charge, id_ = await captured(at, uid=declined.payment_uid, attempt=2)
    found = await at.provider.look_up(inquiry_of(charge))
    assert found == Found(id_, 15000)


async def test_a_payment_is_found_by_our_uid_and_by_its_id(at: Stand) -> None:
    charge, id_ = await captured(at)
    await captured(at)
    for inquiry in (inquiry_of(charge), inquiry_of(charge, id_)):
        assert await at.provider.look_up(inquiry) == Found(id_, 15000)


async def test_a_payment_that_was_never_taken_is_missing(at: Stand) -> None:
    declined = charge_of(at.declined)
    assert isinstance(await at.provider.charge(declined), Declined)
    for charge in (charge_of(at.charged), declined):
        assert await at.provider.look_up(inquiry_of(charge)) == Missing()


async def test_money_goes_back_in_steps_each_once(at: Stand) -> None:
    charge, id_ = await captured(at)
    first = refund_of(charge, id_, 4000, step=1)
    second = refund_of(charge, id_, 11000, step=2)
    assert await at.provider.refund(first) == Refunded()
    assert await at.provider.refund(first) == Refunded()
    assert await at.provider.look_up(inquiry_of(charge)) == Found(id_, 15000, frozenset({1}))
    assert await at.provider.refund(second) == Refunded()
    assert await at.provider.refund(second) == Refunded()
    found = await at.provider.look_up(inquiry_of(charge, id_))
    assert found == Found(id_, 15000, frozenset({1, 2}))


async def test_a_refund_of_nothing_is_refused(at: Stand) -> None:
    answer = await at.provider.refund(refund_of(charge_of(at.charged), "pi_unknown", 1000))
    assert isinstance(answer, Refused)


async def test_the_account_is_told(at: Stand) -> None:
    await captured(at)
    answer = await at.provider.validate()
    assert isinstance(answer, Account)
    assert answer.agrees_with(at.account)


async def test_a_wrong_key_is_unauthorized(at: Stand) -> None:
    provider = ADAPTERS[at.name](at.endpoint, timedelta(seconds=10), ApiKey(CANARY))
    charge = charge_of(at.charged)
    answers = [
        await provider.validate(),
        await provider.charge(charge),
        await provider.look_up(inquiry_of(charge)),
        await provider.refund(refund_of(charge, "pi_1", 1000)),
    ]
    await provider.close()
    assert [type(answer) for answer in answers] == [Unauthorized] * 4
    assert CANARY not in repr(answers)


# --- Whatever happens on the way ---

Call = Callable[[Provider], Awaitable[Any]]

CHARGE = charge_of(CANARY, uid="0b8f7a6e-1111-2222-3333-444455556666")
CALLS: dict[str, Call] = {
    "charge": lambda provider: provider.charge(CHARGE),
    "look-up": lambda provider: provider.look_up(inquiry_of(CHARGE)),
    "look-up by id": lambda provider: provider.look_up(inquiry_of(CHARGE, "pi_1")),
    "refund": lambda provider: provider.refund(refund_of(CHARGE, "pi_1", 1000)),
    "validate": lambda provider: provider.validate(),
}


@pytest.fixture(params=list(ADAPTERS))
def provider_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def adapter(provider_name: str, scripted: Scripted) -> AsyncIterator[Provider]:
    """Give each provider in turn, facing the scripted server."""
    made = ADAPTERS[provider_name](scripted.url, timedelta(seconds=30), ApiKey(CANARY))
    yield made
    await made.close()


@pytest.fixture
async def hurried(provider_name: str, scripted: Scripted) -> AsyncIterator[Provider]:
    """Give each provider in turn, with less patience than the scripted server has."""
    made = ADAPTERS[provider_name](scripted.url, timedelta(seconds=0.5), ApiKey(CANARY))
    yield made
    await made.close()


@pytest.fixture(params=list(CALLS))
def call(request: pytest.FixtureRequest) -> Call:
    return CALLS[request.param]


@pytest.mark.parametrize(
    "then",
    [
        breaks_off,
        resets,
        says(500),
        says(502, {"error": {"type": "api_error"}}),
        says(503),
        says(504),
        says_text(200, "<html>maintenance</html>"),
        says_text(200, ""),
        says_text(200, '{"id": "pi_1", "st'),
        says_text(200, "[" * 100_000),
        says(200, {}),
        says(200, {"id": 7, "paymentKey": 7}),
        says(200, {"id": None, "data": {}, "paymentKey": {}}),
    ],
)
async def test_what_may_have_happened_is_unknown(
    adapter: Provider, scripted: Scripted, call: Call, then: Answer
) -> None:
    scripted.then = then
    assert type(await call(adapter)) is OutcomeUnknown


@pytest.mark.parametrize("then", [says_nothing, trickles])
async def test_what_takes_too_long_is_unknown(
    hurried: Provider, scripted: Scripted, call: Call, then: Answer
) -> None:
    scripted.then = then
    assert type(await call(hurried)) is OutcomeUnknown


@pytest.mark.parametrize(
    ("then", "kind"),
    [
        (says(401), Unauthorized),
        (says(401, {"code": "UNAUTHORIZED_KEY", "message": CANARY}), Unauthorized),
        (says(429), TryLater),
        (says(409, {"error": {"type": "invalid_request_error", "code": "x"}}), UnderWay),
        (says(302, {}, Location="http://127.0.0.1:1/"), Refused),
        (says(400), Refused),
        (says_text(400, f"<html>{CANARY}</html>"), Refused),
        (says(422, {"error": {"code": f"bad {CANARY}", "message": CANARY}}), Refused),
        (says(418, {"code": CANARY + "!", "message": CANARY}), Refused),
    ],
)
async def test_what_did_not_happen_is_told_apart(
    adapter: Provider, scripted: Scripted, call: Call, then: Answer, kind: type
) -> None:
    scripted.then = then
    answer = await call(adapter)
    assert type(answer) is kind
    assert CANARY not in repr(answer)
    assert len(scripted.asked) == 1, "a redirect was followed"


async def test_a_pause_that_is_asked_for_is_kept(adapter: Provider, scripted: Scripted) -> None:
    for asked, kept in (("7", 7), ("99999999999999", 3600), ("-5", None), ("soon", None)):
        scripted.then = says(429, {}, **{"Retry-After": asked})
        answer = await adapter.charge(CHARGE)
        assert isinstance(answer, TryLater)
        assert answer.after == (None if kept is None else timedelta(seconds=kept))


@pytest.mark.parametrize("name", list(ADAPTERS))
async def test_where_nobody_listens_nothing_was_sent(name: str, call: Call) -> None:
    provider = ADAPTERS[name]("http://127.0.0.1:9", timedelta(seconds=1), ApiKey(CANARY))
    assert type(await call(provider)) is NotSent
    await provider.close()


async def test_an_endless_answer_is_not_read_to_its_end(
    adapter: Provider, scripted: Scripted
) -> None:
    scripted.then = says_text(200, " " * (5 * 1024 * 1024))
    assert type(await adapter.validate()) is OutcomeUnknown


async def test_secrets_show_nowhere(
    adapter: Provider, scripted: Scripted, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    seen = [
        repr(CHARGE),
        repr(ApiKey(CANARY)),
        str(ApiKey(CANARY)),
        repr(adapter),
        str(vars(adapter)),
    ]
    for then in (
        resets,
        says(500, {"error": {"message": CANARY}}),
        says_text(400, f"<p>{CANARY}</p>"),
    ):
        scripted.then = then
        answer = await call(adapter)
        seen += [repr(answer), str(answer)]
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("toyrental")]
    assert CANARY not in "".join(seen + ours)


def test_every_provider_is_tried() -> None:
    assert {name for name in PaymentGatewaySpec.model_fields if name in ADAPTERS} == set(ADAPTERS)
