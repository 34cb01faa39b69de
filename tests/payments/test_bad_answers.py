"""Bad answers, of every provider to every question: never taken for what was asked.

Each begins as the very answer that would be a success, and is spoiled in one way. What is said of
it then is put to the rules: a charge is Unknown or in ManualReview, with words for a person, and no
refund has been made.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from tests.payments.servers import Answer, Scripted, says, says_raw, says_text
from tests.payments.stands import ADAPTERS, CANARY, charge_of, inquiry_of, refund_of
from tests.rules.given import a_payment
from tests.rules.test_payments import situation
from toyrental.payments import answers
from toyrental.payments.models import Payment, PaymentPhase, RefundStep
from toyrental.payments.providers.port import (
    ANSWER_MISMATCH,
    Account,
    ApiKey,
    Captured,
    Found,
    OutcomeUnknown,
    Provider,
    Refunded,
    Refused,
    Unauthorized,
)
from toyrental.shared.conditions import find
from toyrental.shared.decisions import Decision

UID = "0b8f7a6e-1111-2222-3333-444455556666"
ID = "id_1"
CHARGE = charge_of(CANARY, uid=UID)
AMOUNT = CHARGE.amount.minor_units
REFUND = refund_of(CHARGE, ID, 1000)

QUESTIONS: dict[str, Callable[[Provider], Awaitable[Any]]] = {
    "charge": lambda provider: provider.charge(CHARGE),
    "look-up": lambda provider: provider.look_up(inquiry_of(CHARGE)),
    "look-up by id": lambda provider: provider.look_up(inquiry_of(CHARGE, ID)),
    "refund": lambda provider: provider.refund(REFUND),
    "validate": lambda provider: provider.validate(),
}
SUCCESS = {
    "charge": Captured,
    "look-up": Found,
    "look-up by id": Found,
    "refund": Refunded,
    "validate": Account,
}


def simulated(question: str, amount: int, currency: str, id_: Any) -> Any:
    made = {"id": id_, "amount": amount, "currency": currency, "status": "succeeded", "data": []}
    listed = [{**made, "metadata": {"step": "1"}}]
    return made | {"data": listed} if question.startswith("look-up") else made


def at_stripe(question: str, amount: int, currency: str, id_: Any) -> Any:
    made: dict[str, Any] = {"id": id_, "amount": amount, "currency": currency.lower()}
    if question == "refund":
        return made | {"payment_intent": ID, "status": "succeeded"}
    made |= {"status": "succeeded", "amount_received": amount, "metadata": {"paymentUID": UID}}
    return made | {"data": [made], "charges_enabled": True}


def at_toss(question: str, amount: int, currency: str, id_: Any) -> Any:
    if question == "validate":
        return [{"mId": id_}]
    cancel = {"cancelReason": f"Refund 1 of payment {UID}", "cancelAmount": amount}
    payment = {"paymentKey": id_, "orderId": f"{UID}-1", "status": "DONE", "currency": currency}
    return payment | {"totalAmount": amount, "cancels": [cancel] if question == "refund" else None}


BODIES = {"simulator": simulated, "stripe": at_stripe, "toss": at_toss}


class Asking(NamedTuple):
    """A provider, a question to it, and what it answers."""

    name: str
    provider: Provider
    question: str
    scripted: Scripted

    @property
    def amount(self) -> int:
        return REFUND.amount.minor_units if self.question == "refund" else AMOUNT

    def body(self, *, more: int = 0, currency: str = "KRW", id_: Any = ID) -> Any:
        """Return the body of a success: of that much more, in that currency, by that id."""
        return BODIES[self.name](self.question, self.amount + more, currency, id_)

    async def is_told(self, then: Answer) -> Any:
        self.scripted.then = then
        return await QUESTIONS[self.question](self.provider)


@pytest.fixture(params=list(QUESTIONS))
def question(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(ADAPTERS))
async def asking(
    request: pytest.FixtureRequest, question: str, scripted: Scripted
) -> AsyncIterator[Asking]:
    """Ask each provider in turn each question in turn."""
    provider = ADAPTERS[request.param](scripted.url, timedelta(seconds=5), ApiKey(CANARY))
    yield Asking(request.param, provider, question, scripted)
    await provider.close()


def noted(question: str, answer: Any) -> Payment | None:
    """Return the Payment once an answer was noted, if that changes anything."""
    step = RefundStep(number=1, minor_units=1000, started_time=a_payment().created)
    captured: dict[str, Any] = {
        "captured_minor_units": AMOUNT,
        "gateway_payment_id": ID,
        "refund_step": step,
    }
    match question:
        case "charge":
            decision: Any = answers.learn_charge(situation(a_payment(amount=AMOUNT)), answer)
        case "refund":
            payment = a_payment(amount=AMOUNT, phase=PaymentPhase.CAPTURED, **captured)
            decision = answers.learn_refund(situation(payment), step, answer)
        case "look-up":
            unknown = a_payment(amount=AMOUNT, phase=PaymentPhase.UNKNOWN)
            decision = answers.learn_look_up(situation(unknown), answer)
        case _:
            payment = a_payment(amount=AMOUNT, phase=PaymentPhase.CAPTURED, **captured)
            decision = answers.learn_look_up(situation(payment), answer)
    assert isinstance(decision, Decision), "something more was sent"
    after = decision.write.after if decision.write else None
    assert after is None or isinstance(after, Payment)
    return after


def is_not_taken_for_done(question: str, answer: Any) -> None:
    """Put an answer to the rules: no money counts as moved, and a person can read why."""
    assert CANARY not in repr(answer)
    if question == "validate":
        assert not isinstance(answer, Account)
        return
    after = noted(question, answer)
    assert after is not None
    assert CANARY not in after.model_dump_json(exclude={"spec"})
    ready = find(after.status.conditions, "Ready")
    assert ready is not None
    assert ready.message
    if question in {"charge", "look-up"}:
        assert after.phase in {PaymentPhase.UNKNOWN, PaymentPhase.MANUAL_REVIEW}
        assert after.status.captured_minor_units is None
    else:
        assert after.phase is PaymentPhase.CAPTURED
        assert after.status.refunded_minor_units is None
        assert after.status.refund_step is not None, "the step is still under way"


async def test_what_is_spoiled_here_would_be_a_success(asking: Asking) -> None:
    answer = await asking.is_told(says(200, asking.body()))
    assert type(answer) is SUCCESS[asking.question]
    for type_ in ("application/json;charset=utf-8", "application/problem+json", "Application/JSON"):
        raw = ("HTTP/1.1 200 OK", f"Content-Type: {type_}", "", json.dumps(asking.body()))
        assert await asking.is_told(says_raw(*raw)) == answer


def half(body: Any) -> str:
    text = json.dumps(body)
    return text[: len(text) // 2]


JSON = "Content-Type: application/json"
UNREADABLE: dict[str, Callable[[Any], Answer]] = {
    "text/html": lambda body: says_text(200, json.dumps(body)),
    "text/plain": lambda body: says_text(200, json.dumps(body), "text/plain"),
    "octets": lambda body: says_text(200, json.dumps(body), "application/octet-stream"),
    "no type": lambda body: says_raw("HTTP/1.1 200 OK", "", json.dumps(body)),
    "malformed": lambda body: says_text(200, half(body), "application/json"),
    "doubled": lambda body: says_text(200, json.dumps(body) * 2, "application/json"),
    "truncated": lambda body: says_raw(
        "HTTP/1.1 200 OK", JSON, f"Content-Length: {len(json.dumps(body))}", "", half(body)
    ),
    "truncated chunk": lambda body: says_raw(
        "HTTP/1.1 200 OK", JSON, "Transfer-Encoding: chunked", "", "ffff", json.dumps(body)
    ),
    "no gzip": lambda body: says_raw(
        "HTTP/1.1 200 OK", JSON, "Content-Encoding: gzip", "", json.dumps(body)
    ),
    "no HTTP": lambda body: says_raw("220 mail.example ESMTP", json.dumps(body)),
    "a page": lambda _: says_text(200, f"<html>{CANARY}</html>"),
    "a page as JSON": lambda _: says_text(200, f"<html>{CANARY}</html>", "application/json"),
    "empty": lambda _: says_text(200, "", "application/json"),
    "no content": lambda _: says_raw("HTTP/1.1 204 No Content", "", ""),
    "accepted": lambda _: says(202, {"status": CANARY}),
    "another shape": lambda _: says(200, [[CANARY]]),
    "null": lambda _: says_text(200, "null", "application/json"),
}


async def test_what_cannot_be_read_is_unknown(asking: Asking) -> None:
    for spoiled, then in UNREADABLE.items():
        answer = await asking.is_told(then(asking.body()))
        assert type(answer) is OutcomeUnknown, spoiled
        is_not_taken_for_done(asking.question, answer)


IDS = ("", " ", "two words", "line\nbreak", "é", "x" * 256, 7, None)


async def test_an_id_that_cannot_be_kept_is_none(asking: Asking) -> None:
    """The API server would refuse it, and the charge would never be noted."""
    if asking.question == "validate" and asking.name == "toss":
        pytest.skip("Toss names no account there but the mode")
    for id_ in IDS:
        answer = await asking.is_told(says(200, asking.body(id_=id_)))
        another = asking.question == "refund" and asking.name == "toss" and isinstance(id_, str)
        assert type(answer) is (Refused if another else OutcomeUnknown), repr(id_)
        is_not_taken_for_done(asking.question, answer)


REDIRECTS = (300, 301, 302, 303, 304, 305, 307, 308)


async def test_a_redirect_is_refused_and_not_followed(asking: Asking) -> None:
    location = f"{asking.scripted.url}/{CANARY}"
    for number, status in enumerate(REDIRECTS, 1):
        answer = await asking.is_told(says(status, asking.body(), Location=location))
        assert isinstance(answer, Refused), status
        assert "redirects" in answer.message
        assert len(asking.scripted.asked) == number
        is_not_taken_for_done(asking.question, answer)


ERRORS = (400, 402, 404, 405, 410, 413, 422, 500, 502, 503, 504, 521)


async def test_a_page_instead_of_an_error_is_no_answer_of_the_provider(asking: Asking) -> None:
    """A 404 of somebody's proxy does not say that nothing was taken, nor a 402 that it declines."""
    for status in ERRORS:
        answer = await asking.is_told(says_text(status, f"<html>{CANARY}</html>"))
        assert isinstance(answer, OutcomeUnknown | Refused), status
        is_not_taken_for_done(asking.question, answer)


async def test_a_page_that_forbids_moves_no_money(asking: Asking) -> None:
    for status in (401, 403):
        answer = await asking.is_told(says_text(status, f"<html>{CANARY}</html>"))
        assert isinstance(answer, Unauthorized | Refused), status
        assert CANARY not in repr(answer)


CONTRADICTIONS = ((1, "KRW"), (-1, "KRW"), (0, "USD"), (0, "JPY"))


@pytest.mark.parametrize("question", ["charge", "look-up", "look-up by id", "refund"])
async def test_a_success_of_something_else_goes_to_a_person(asking: Asking) -> None:
    for more, currency in CONTRADICTIONS:
        if asking.name == "toss" and asking.question == "refund" and currency != "KRW":
            continue  # Toss gives back won only, and names no currency of a cancel
        answer = await asking.is_told(says(200, asking.body(more=more, currency=currency)))
        assert isinstance(answer, Refused), (more, currency)
        assert answer.code == ANSWER_MISMATCH
        assert "than was asked" in answer.message
        is_not_taken_for_done(asking.question, answer)
        if asking.question in {"charge", "look-up"}:
            after = noted(asking.question, answer)
            assert after is not None
            assert after.phase is PaymentPhase.MANUAL_REVIEW


@pytest.mark.parametrize("question", ["charge"])
async def test_a_decline_is_told_in_our_own_words(asking: Asking) -> None:
    error = {"type": "card_error", "declineCode": f"no {CANARY}", "decline_code": f"no {CANARY}"}
    told = {"error": error | {"code": "card_declined", "message": CANARY}}
    toss = {"code": "REJECT_CARD_PAYMENT", "message": CANARY}
    answer = await asking.is_told(says(402, told | toss))
    after = noted("charge", answer)
    assert after is not None
    assert after.phase is PaymentPhase.DECLINED
    assert CANARY not in repr(answer) + after.model_dump_json(exclude={"spec"})
