"""The simulator behind the port of a payment provider."""

from datetime import timedelta
from typing import Any

import httpx

from toyrental.payments.providers.http import open_client, send
from toyrental.payments.providers.port import (
    Account,
    AccountAnswer,
    Capabilities,
    Captured,
    Charge,
    ChargeAnswer,
    Declined,
    Found,
    LookUpAnswer,
    Missing,
    Refund,
    RefundAnswer,
    Refunded,
    Refused,
    Trouble,
)

KEY_LIFE = timedelta(hours=23)
"""As Stripe's 24 hours, less an hour: what is tried here behaves the same there."""

MOST_LISTED = 100
"""How many charges or refunds of one payment are looked at."""


class SimulatorProvider:
    """Charges and refunds at a running simulator."""

    capabilities = Capabilities(key_life=KEY_LIFE)

    def __init__(self, endpoint: str, timeout: timedelta) -> None:
        self._client = open_client(endpoint, timeout)

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
            error = answer.json()["error"]
            return Declined(error.get("declineCode") or error["code"], _clause(error["message"]))
        return Captured(answer.json()["id"]) if answer.is_success else _refused(answer)

    async def look_up(self, payment_uid: str) -> LookUpAnswer:
        """Find what became of a payment, by the uid we sent with it."""
        charges = await self._list("/v1/charges", payment_uid)
        if not isinstance(charges, list):
            return charges
        if not charges:
            return Missing()
        refunds = await self._list("/v1/refunds", payment_uid)
        if not isinstance(refunds, list):
            return refunds
        steps = frozenset(int(refund["metadata"].get("step", 0)) for refund in refunds)
        return Found(charges[0]["id"], charges[0]["amount"], steps)

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
        return Refunded() if answer.is_success else _refused(answer)

    async def validate(self) -> AccountAnswer:
        """Check that it is there."""
        answer = await send(self._client, "GET", "/v1/account")
        if not isinstance(answer, httpx.Response):
            return answer
        return Account(answer.json()["id"]) if answer.is_success else _refused(answer)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def _post(self, path: str, key: str, body: dict[str, Any]) -> httpx.Response | Trouble:
        return await send(self._client, "POST", path, json=body, headers={"Idempotency-Key": key})

    async def _list(self, path: str, payment_uid: str) -> list[dict[str, Any]] | Trouble:
        params = {"paymentUID": payment_uid, "limit": MOST_LISTED}
        answer = await send(self._client, "GET", path, params=params)
        if not isinstance(answer, httpx.Response):
            return answer
        if not answer.is_success:
            return _refused(answer)
        listed: list[dict[str, Any]] = answer.json()["data"]
        if answer.json()["hasMore"]:
            return Refused("too_many", f"the payment has more than {MOST_LISTED} entries")
        return listed


def _refused(answer: httpx.Response) -> Refused:
    """Return a refusal in our own words: what the provider says may repeat what it was sent."""
    try:
        code = str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        code = f"http_{answer.status_code}"
    return Refused(code[:128], f"the provider refused the request ({code[:128]})")


def _clause(message: str) -> str:
    """Return a provider's sentence as a part of one of ours."""
    clause = message.strip().rstrip(".")[:500]
    return clause if clause[1:2].isupper() else clause[:1].lower() + clause[1:]
