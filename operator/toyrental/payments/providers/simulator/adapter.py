"""The simulator behind the port of a payment provider."""

from datetime import timedelta
from typing import Any

import httpx

from toyrental.payments.providers.http import (
    CARD_DECLINED,
    NO_SUCH_METHOD,
    UNREADABLE,
    body_of,
    card_declined,
    code_of,
    contradiction,
    id_of,
    member,
    objects_of,
    open_client,
    send,
)
from toyrental.payments.providers.port import (
    KEY_REUSED,
    Account,
    AccountAnswer,
    ApiKey,
    Capabilities,
    Captured,
    Charge,
    ChargeAnswer,
    Declined,
    Found,
    Inquiry,
    LookUpAnswer,
    Missing,
    OutcomeUnknown,
    Refund,
    RefundAnswer,
    Refunded,
    RefundFailed,
    RefundPending,
    Refused,
    Trouble,
)
from toyrental.shared.money import Money

KEY_LIFE = timedelta(hours=23)
"""As Stripe's 24 hours, less an hour: what is tried here behaves the same there."""

_REFUNDS: dict[str, RefundAnswer] = {
    "succeeded": Refunded(),
    "pending": RefundPending(),
    "failed": RefundFailed("the provider could not carry it out"),
}

MOST_LISTED = 100
"""How many charges or refunds of one payment are looked at."""


class SimulatorProvider:
    """Charges and refunds at a running simulator."""

    capabilities = Capabilities(key_life=KEY_LIFE)

    def __init__(self, endpoint: str, timeout: timedelta, key: ApiKey | None = None) -> None:
        self._client = open_client(endpoint, timeout)
        self._key = key

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """Take the amount; the same key never takes it twice."""
        body = {
            "amount": charge.amount.minor_units,
            "currency": charge.amount.currency.value,
            "method": charge.token,
            "metadata": {"paymentUID": charge.payment_uid, "rentalUID": charge.rental_uid},
        }
        answer = await self._post("/v1/charges", charge.key, body)
        if not isinstance(answer, httpx.Response):
            return answer
        if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
            return _declined(answer)
        if not answer.is_success:
            return _no_such_method(answer) or _refused(answer)
        made = _made(answer, charge.amount)
        return Captured(made) if isinstance(made, str) else made

    async def look_up(self, inquiry: Inquiry) -> LookUpAnswer:
        """Find what became of a payment, by the uid we sent with it."""
        charges = await self._list("/v1/charges", inquiry.payment_uid)
        if not isinstance(charges, list):
            return charges
        if not charges:
            return Missing()
        refunds = await self._list("/v1/refunds", inquiry.payment_uid)
        if not isinstance(refunds, list):
            return refunds
        id_, amount = id_of(member(charges[0], "id")), member(charges[0], "amount")
        if id_ is None or not isinstance(amount, int):
            return UNREADABLE
        if wrong := _mismatch(charges[0], inquiry.amount):
            return wrong
        return _with_refunds(id_, amount, refunds)

    async def refund(self, refund: Refund) -> RefundAnswer:
        """Give the amount back; the same key never gives it twice."""
        body = {
            "charge": refund.gateway_payment_id,
            "amount": refund.amount.minor_units,
            "metadata": {
                "paymentUID": refund.payment_uid,
                "rentalUID": refund.rental_uid,
                "step": str(refund.step),
            },
        }
        answer = await self._post("/v1/refunds", refund.key, body)
        if not isinstance(answer, httpx.Response):
            return answer
        if not answer.is_success:
            return _refused(answer)
        made = _made(answer, refund.amount)
        if not isinstance(made, str):
            return made
        return _REFUNDS.get(str(member(body_of(answer), "status")), UNREADABLE)

    async def validate(self) -> AccountAnswer:
        """Check that it is there, and takes the key."""
        answer = await send(self._client, "GET", "/v1/account", headers=self._headers())
        if not isinstance(answer, httpx.Response):
            return answer
        if not answer.is_success:
            return _refused(answer)
        account = id_of(member(body_of(answer), "id"))
        return Account(account) if account is not None else UNREADABLE

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    def _headers(self, **more: str) -> dict[str, str]:
        return more if self._key is None else more | {"Authorization": f"Bearer {self._key.value}"}

    async def _post(self, path: str, key: str, body: dict[str, Any]) -> httpx.Response | Trouble:
        headers = self._headers(**{"Idempotency-Key": key})
        return await send(self._client, "POST", path, json=body, headers=headers)

    async def _list(self, path: str, payment_uid: str) -> list[dict[str, Any]] | Trouble:
        params = {"paymentUID": payment_uid, "limit": MOST_LISTED}
        answer = await send(self._client, "GET", path, params=params, headers=self._headers())
        if not isinstance(answer, httpx.Response):
            return answer
        if not answer.is_success:
            return _refused(answer)
        listed = objects_of(member(body_of(answer), "data"))
        if listed is None:
            return UNREADABLE
        if member(body_of(answer), "hasMore"):
            return Refused("too_many", f"the payment has more than {MOST_LISTED} entries")
        return listed


def _with_refunds(id_: str, captured: int, refunds: list[dict[str, Any]]) -> Found | OutcomeUnknown:
    """Return what became of a charge: its steps of refund, by how they stand."""
    steps: dict[str, dict[int, int]] = {status: {} for status in _REFUNDS}
    for refund in refunds:
        step, status = str(member(refund, "metadata", "step")), str(member(refund, "status"))
        amount = member(refund, "amount")
        if not step.isdecimal():
            continue
        if status not in steps or not isinstance(amount, int):
            return UNREADABLE
        steps[status][int(step)] = amount
    return Found(
        id_,
        captured,
        *map(frozenset, steps.values()),
        failed_minor_units=sum(steps["failed"].values()),
    )


def _made(answer: httpx.Response, amount: Money) -> str | OutcomeUnknown | Refused:
    """Return the id of the charge or refund that was answered with, if it is the one asked for."""
    body = body_of(answer)
    id_ = id_of(member(body, "id"))
    if id_ is None:
        return UNREADABLE
    return _mismatch(body, amount) or id_


def _mismatch(made: Any, amount: Money) -> Refused | None:
    """Say in what a charge or refund is not of the amount asked for, if it is not."""
    if member(made, "amount") != amount.minor_units:
        return contradiction("amount")
    if member(made, "currency") != amount.currency.value:
        return contradiction("currency")
    return None


def _declined(answer: httpx.Response) -> Declined | OutcomeUnknown:
    """Return a decline in our own words, as a refusal is."""
    error = member(body_of(answer), "error")
    told = member(error, "declineCode") or member(error, "code")
    if not isinstance(told, str):
        return UNREADABLE
    return card_declined(code_of(told, CARD_DECLINED))


def _no_such_method(answer: httpx.Response) -> Declined | None:
    """Tell a mistyped payment method from other refusals: the customer can mend it themselves."""
    error = member(body_of(answer), "error")
    missing = member(error, "code") == "resource_missing" and member(error, "param") == "method"
    return NO_SUCH_METHOD if missing else None


def _refused(answer: httpx.Response) -> Refused:
    """Return a refusal in our own words: what the provider says may repeat what it was sent."""
    error = member(body_of(answer), "error")
    code = code_of(member(error, "code"), f"http_{answer.status_code}")
    if member(error, "type") == KEY_REUSED:
        code = KEY_REUSED
    return Refused(code, f"the provider refused the request ({code})")
