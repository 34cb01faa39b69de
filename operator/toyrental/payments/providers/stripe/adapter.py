"""Stripe behind the port of a payment provider: PaymentIntents and Refunds.

How a payment is found again is in docs/decisions/look-up-at-stripe.md.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx

from toyrental.payments.providers.http import (
    UNREADABLE,
    body_of,
    id_of,
    member,
    objects_of,
    open_client,
    send,
)
from toyrental.payments.providers.port import (
    Account,
    AccountAnswer,
    ApiKey,
    Capabilities,
    Charge,
    ChargeAnswer,
    Found,
    Inquiry,
    LookUpAnswer,
    Missing,
    OutcomeUnknown,
    Refund,
    RefundAnswer,
    Refused,
    Trouble,
)
from toyrental.payments.providers.stripe import answers
from toyrental.shared.money import Currency, Money

API = "https://api.stripe.com"
API_VERSION = "2026-09-30.endive"

KEY_LIFE = timedelta(hours=23)
"""Stripe may forget a key once it is 24 hours old."""

CLOCKS_APART = timedelta(hours=1)
"""How far the API server's clock may be ahead of Stripe's, when payments are listed by time."""

PAGE = 100
MOST_PAGES = 50

_STEPS = {Currency.KWD: 10}
"""Of currencies with three decimals, Stripe takes amounts whose last digit is 0."""


class StripeProvider:
    """Charges and refunds at Stripe."""

    capabilities = Capabilities(key_life=KEY_LIFE)

    def __init__(self, endpoint: str, timeout: timedelta, key: ApiKey) -> None:
        self._client = open_client(endpoint, timeout)
        self._key = key

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """Take the amount; the same key never takes it twice."""
        answer = _too_fine(charge.amount) or await self._send(
            "POST", "/v1/payment_intents", key=charge.key, data=_intent(charge)
        )
        if not isinstance(answer, httpx.Response):
            return answer
        return answers.charged(answer, charge.amount, charge.payment_uid)

    async def look_up(self, inquiry: Inquiry) -> LookUpAnswer:
        """Find what became of a payment: by its id, else in the list of all since it came to be."""
        if inquiry.gateway_payment_id is not None:
            intent = await self._retrieve(inquiry.gateway_payment_id)
        else:
            intent = await self._find(inquiry)
        if not isinstance(intent, dict):
            return intent
        match member(intent, "status"), id_of(member(intent, "id")):
            case "succeeded", str():
                pass
            case "processing", _:
                return OutcomeUnknown("the payment is still being processed")
            case str(), str():
                return Missing()
            case _:
                return UNREADABLE
        wrong = answers.mismatch(intent, inquiry.amount, inquiry.payment_uid)
        return wrong or await self._with_refunds(intent)

    async def refund(self, refund: Refund) -> RefundAnswer:
        """Give the amount back; the same key never gives it twice."""
        form = {
            "payment_intent": refund.gateway_payment_id,
            "amount": str(refund.amount.minor_units),
            "metadata[paymentUID]": refund.payment_uid,
            "metadata[rentalUID]": refund.rental_uid,
            "metadata[step]": str(refund.step),
        }
        answer = _too_fine(refund.amount) or await self._send(
            "POST", "/v1/refunds", key=refund.key, data=form
        )
        if not isinstance(answer, httpx.Response):
            return answer
        return answers.refunded(answer, refund)

    async def validate(self) -> AccountAnswer:
        """Check the credentials: whose account it is, and whether it may take money."""
        answer = await self._send("GET", "/v1/account")
        if not isinstance(answer, httpx.Response):
            return answer
        if not answer.is_success:
            return answers.refused(answer)
        account = body_of(answer)
        id_ = id_of(member(account, "id"))
        if id_ is None:
            return UNREADABLE
        if member(account, "charges_enabled") is False:
            return Refused("charges_disabled", f"Stripe lets account {id_} take no charges")
        return Account(id_)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    # --- Requests ---

    async def _send(
        self, method: str, path: str, key: str | None = None, **request: Any
    ) -> httpx.Response | Trouble:
        headers = {"Authorization": f"Bearer {self._key.value}", "Stripe-Version": API_VERSION}
        if key is not None:
            headers["Idempotency-Key"] = key
        return await send(self._client, method, path, headers=headers, **request)

    async def _retrieve(self, id_: str) -> dict[str, Any] | Missing | Trouble:
        answer = await self._send("GET", f"/v1/payment_intents/{quote(id_, safe='')}")
        if not isinstance(answer, httpx.Response):
            return answer
        if answers.knows_no_such(answer):
            return Missing()
        if not answer.is_success:
            return answers.refused(answer)
        intent = body_of(answer)
        return intent if isinstance(intent, dict) else UNREADABLE

    async def _find(self, inquiry: Inquiry) -> dict[str, Any] | Missing | Trouble:
        """Return the payment's PaymentIntent: the one that took money, if one did."""
        since = int((inquiry.since - CLOCKS_APART).timestamp())
        undecided = None
        async for intent in self._all("/v1/payment_intents", {"created[gte]": str(since)}):
            if not isinstance(intent, dict):
                return intent
            if member(intent, "metadata", "paymentUID") != inquiry.payment_uid:
                continue
            if member(intent, "status") == "succeeded":
                return intent
            if member(intent, "status") == "processing":
                undecided = intent
        return undecided or Missing()

    async def _with_refunds(self, intent: dict[str, Any]) -> LookUpAnswer:
        done, pending, failed = dict[int, int](), dict[int, int](), dict[int, int]()
        by_status = {
            "succeeded": done,
            **dict.fromkeys(answers.PENDING, pending),
            **dict.fromkeys(answers.FAILED, failed),
        }
        async for refund in self._all("/v1/refunds", {"payment_intent": intent["id"]}):
            if not isinstance(refund, dict):
                return refund
            step = str(member(refund, "metadata", "step"))
            if not step.isdecimal():
                continue
            steps, amount = by_status.get(str(member(refund, "status"))), member(refund, "amount")
            if steps is None or not isinstance(amount, int):
                return UNREADABLE
            steps[int(step)] = amount
        by_step = map(frozenset, (done, pending, failed))
        return Found(
            intent["id"], intent["amount"], *by_step, failed_minor_units=sum(failed.values())
        )

    async def _all(
        self, path: str, filters: dict[str, str]
    ) -> AsyncIterator[dict[str, Any] | Trouble]:
        """Yield each of a list, the newest first; last of all the trouble, if there is some.

        Lists say at once what was done, whereas Stripe's search lags by up to an hour.
        """
        params = filters | {"limit": str(PAGE)}
        for _ in range(MOST_PAGES):
            answer = await self._send("GET", path, params=params)
            if not isinstance(answer, httpx.Response):
                yield answer
                return
            if not answer.is_success:
                yield answers.refused(answer)
                return
            page = body_of(answer)
            listed = objects_of(member(page, "data"))
            if listed is None:
                yield UNREADABLE
                return
            for each in listed:
                yield each
            if not member(page, "has_more"):
                return
            params["starting_after"] = str(member(listed[-1] if listed else None, "id"))
        yield Refused("too_many", f"Stripe lists more than {PAGE * MOST_PAGES} payments since then")


def _intent(charge: Charge) -> dict[str, str]:
    """Return the form that creates and confirms a PaymentIntent in one request.

    A card only, so that there is no other end than a charge or a decline. A saved method, given as
    `cus_…/pm_…`, is charged while its owner is away; any other one may not ask for them either.
    """
    customer, _, method = charge.token.rpartition("/")
    form = {
        "amount": str(charge.amount.minor_units),
        "currency": charge.amount.currency.value.lower(),
        "confirm": "true",
        "payment_method": method,
        "payment_method_types[]": "card",
        "metadata[paymentUID]": charge.payment_uid,
        "metadata[rentalUID]": charge.rental_uid,
    }
    if customer:
        return form | {"customer": customer, "off_session": "true"}
    return form | {"error_on_requires_action": "true"}


def _too_fine(amount: Money) -> Refused | None:
    step = _STEPS.get(amount.currency, 1)
    if amount.minor_units % step == 0:
        return None
    return Refused(
        "amount_too_fine",
        f"Stripe takes {amount.currency} in steps of {step} minor units;"
        " nothing was sent; price the toys accordingly",
    )
