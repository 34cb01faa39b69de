"""Toss Payments behind the port of a payment provider: billing keys and cancels."""

from datetime import timedelta, timezone
from typing import Any
from urllib.parse import quote

import httpx

from toyrental.payments.providers.http import (
    UNREADABLE,
    body_of,
    contradiction,
    exchange,
    member,
    objects_of,
    open_client,
)
from toyrental.payments.providers.port import (
    Account,
    AccountAnswer,
    ApiKey,
    Capabilities,
    Charge,
    ChargeAnswer,
    Inquiry,
    LookUpAnswer,
    Missing,
    NotSent,
    OutcomeUnknown,
    Refund,
    RefundAnswer,
    Refunded,
    Refused,
)
from toyrental.payments.providers.toss import answers
from toyrental.shared.clock import utc_now
from toyrental.shared.money import Currency, Money

API = "https://api.tosspayments.com"

KEY_LIFE = timedelta(days=14)
"""Toss remembers a key for 15 days."""

_SEOUL = timezone(timedelta(hours=9))
_ACCOUNT_SHOWN = timedelta(days=30)


class TossProvider:
    """Charges billing keys and cancels payments at Toss Payments."""

    capabilities = Capabilities(key_life=KEY_LIFE, currencies=frozenset({Currency.KRW}))

    def __init__(self, endpoint: str, timeout: timedelta, key: ApiKey) -> None:
        self._client = open_client(endpoint, timeout)
        self._key = key

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """Take the amount; the same key, and the same order, never takes it twice."""
        obstacle = _obstacle(charge)
        if obstacle is not None:
            return obstacle
        order_id = _order_id(charge.payment_uid, charge.attempt)
        body = {
            "customerKey": charge.customer,
            "amount": charge.amount.minor_units,
            "orderId": order_id,
            "orderName": f"Toy rental {charge.rental_uid}"[:100],
        }
        path = f"/v1/billing/{quote(charge.token, safe='')}"
        answer = await self._send("POST", path, key=charge.key, json=body)
        if not isinstance(answer, httpx.Response):
            return answer
        if answer.is_success:
            return answers.captured(body_of(answer), charge.amount, order_id)
        if answers.error_code(answer) in answers.PERHAPS_CHARGED:
            return await self._settle(order_id, charge.amount)
        return answers.declined(answer) or answers.trouble(answer)

    async def _settle(self, order_id: str, amount: Money) -> ChargeAnswer:
        """Find out what became of an order that Toss has seen before."""
        answer = await self._send("GET", f"/v1/payments/orders/{order_id}")
        if not isinstance(answer, httpx.Response):
            return answer
        if answer.is_success:
            return answers.captured(body_of(answer), amount, order_id)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return OutcomeUnknown("the provider has processed the order, and does not know it")
        return answers.trouble(answer)

    async def look_up(self, inquiry: Inquiry) -> LookUpAnswer:
        """Find what became of a payment: by its id, else by the orders of its attempts."""
        if inquiry.gateway_payment_id is not None:
            id_ = quote(inquiry.gateway_payment_id, safe="")
            return await self._look_up(f"/v1/payments/{id_}", inquiry)
        # All attempts but the last one were declined for certain.
        order_id = _order_id(inquiry.payment_uid, inquiry.attempt)
        return await self._look_up(f"/v1/payments/orders/{order_id}", inquiry)

    async def _look_up(self, path: str, inquiry: Inquiry) -> LookUpAnswer:
        answer = await self._send("GET", path)
        if not isinstance(answer, httpx.Response):
            return answer
        if answer.is_success:
            return answers.found(body_of(answer), inquiry.amount, inquiry.payment_uid)
        if answers.error_code(answer) == "NOT_FOUND_PAYMENT":
            return Missing()
        return answers.trouble(answer)

    async def refund(self, refund: Refund) -> RefundAnswer:
        """Give the amount back; the same key never gives it twice."""
        id_ = quote(refund.gateway_payment_id, safe="")
        body = {
            "cancelReason": answers.reason(refund.step, refund.payment_uid),
            "cancelAmount": refund.amount.minor_units,
        }
        answer = await self._send("POST", f"/v1/payments/{id_}/cancel", key=refund.key, json=body)
        if not isinstance(answer, httpx.Response):
            return answer
        if answer.is_success:
            return _refunded(answer, refund)
        if answers.error_code(answer) in answers.PERHAPS_CANCELLED:
            return await self._settle_refund(id_, refund, answer)
        return answers.trouble(answer)

    async def _settle_refund(
        self, id_: str, refund: Refund, refusal: httpx.Response
    ) -> RefundAnswer:
        """Find out whether a refund that is refused was made before."""
        answer = await self._send("GET", f"/v1/payments/{id_}")
        if not isinstance(answer, httpx.Response):
            return answer
        if answer.is_success and refund.step in answers.steps(body_of(answer), refund.payment_uid):
            return Refunded()
        code = answers.error_code(refusal)
        return Refused(code, f"the provider refused the refund ({code})")

    async def validate(self) -> AccountAnswer:
        """Check the credentials.

        Toss names the shop (its MID) with transactions only: before the first, the account is just
        `live` or `test`.
        """
        now = utc_now().astimezone(_SEOUL)
        params = {
            "startDate": f"{now - _ACCOUNT_SHOWN:%Y-%m-%dT%H:%M:%S}",
            "endDate": f"{now:%Y-%m-%dT%H:%M:%S}",
            "limit": "1",
        }
        answer = await self._send("GET", "/v1/transactions", params=params)
        if not isinstance(answer, httpx.Response):
            return answer
        if not answer.is_success:
            return answers.trouble(answer)
        return _account(answer, self._mode)

    @property
    def _mode(self) -> str:
        return "live" if self._key.value.startswith("live_") else "test"

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def _send(
        self, method: str, path: str, key: str | None = None, **request: Any
    ) -> httpx.Response | NotSent | OutcomeUnknown:
        headers = {} if key is None else {"Idempotency-Key": key}
        auth = httpx.BasicAuth(self._key.value, "")
        return await exchange(self._client, method, path, headers=headers, auth=auth, **request)


def _order_id(payment_uid: str, attempt: int) -> str:
    """Return the order of an attempt: 6 to 64 letters, digits and dashes, as Toss asks."""
    return f"{payment_uid}-{attempt}"


def _obstacle(charge: Charge) -> Refused | None:
    """Say why Toss would not take such a charge; nothing is sent then."""
    if charge.amount.currency is not Currency.KRW:
        return Refused("currency_not_supported", "billing keys are charged in KRW only")
    if charge.customer is None:
        return Refused("customer_missing", "a billing key is charged for a customer, by their key")
    return None


def _refunded(answer: httpx.Response, refund: Refund) -> RefundAnswer:
    payment = body_of(answer)
    if not isinstance(member(payment, "paymentKey"), str):
        return UNREADABLE
    if member(payment, "paymentKey") != refund.gateway_payment_id:
        return contradiction("payment")
    steps = answers.steps(payment, refund.payment_uid)
    if refund.step not in steps:
        return OutcomeUnknown("the refund is still in hand")
    if steps[refund.step] != refund.amount.minor_units:
        return contradiction("amount")
    return Refunded()


def _account(answer: httpx.Response, mode: str) -> Account | OutcomeUnknown:
    transactions = objects_of(body_of(answer))
    if transactions is None:
        return UNREADABLE
    shop = member(transactions[0], "mId") if transactions else None
    return Account(f"{mode}/{shop}" if isinstance(shop, str) else mode)
