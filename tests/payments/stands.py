"""Each provider at a stand of its own, for the tests that all of them must pass."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.payments.servers import Toss
from tests.simulator.running import Running
from tests.support.loopback import NO_TLS
from toyrental.payments.providers.port import ApiKey, Charge, Inquiry, Provider, Refund
from toyrental.payments.providers.simulator import SimulatorProvider
from toyrental.payments.providers.stripe import StripeProvider
from toyrental.payments.providers.toss import TossProvider
from toyrental.shared.money import Currency, Money

CANARY = "sk_test_canary_4f1d"
SIMULATOR_KEY = "sim_test_shop"
TIMEOUT = timedelta(seconds=10)

Adapter = Callable[[str, timedelta, ApiKey], Provider]

ADAPTERS: dict[str, Adapter] = {
    "simulator": SimulatorProvider,
    "stripe": StripeProvider,
    "toss": TossProvider,
}


@dataclass(frozen=True)
class Stand:
    """A provider, what it charges and declines, and how often it has charged a payment."""

    name: str
    provider: Provider
    endpoint: str
    charged: str
    declined: str
    account: str
    takings: Callable[[str], int]


class LocalStripe:
    """localstripe, in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.payments.localstripe_server"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        said = ""
        for line in self._process.stdout:
            said += line
            if found := re.search(r"http://[\d.:]+", line):
                self.url = found[0]
                return
        raise AssertionError(f"localstripe did not start: {said}")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def accept(self, **accounts: str) -> None:
        """Accept these keys only, each for its account."""
        answer = httpx.post(
            f"{self.url}/_config/accounts", json=accounts, trust_env=False, verify=NO_TLS
        )
        answer.raise_for_status()

    def forget(self) -> None:
        """Forget every payment."""
        httpx.delete(f"{self.url}/_config/data", trust_env=False, verify=NO_TLS).raise_for_status()

    def books(self) -> list[dict[str, Any]]:
        """Return every PaymentIntent and Refund."""
        answer = httpx.get(f"{self.url}/_config/books", trust_env=False, verify=NO_TLS)
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    def taken(self, payment_uid: str) -> int:
        """Return how often a payment was charged."""
        ours = [each for each in self.books() if each["metadata"].get("paymentUID") == payment_uid]
        return sum(each["object"] == "payment_intent" for each in ours if _succeeded(each))


def _succeeded(entry: dict[str, Any]) -> bool:
    return bool(entry["status"] == "succeeded")


@asynccontextmanager
async def stand(name: str, simulator: Running, stripe: LocalStripe) -> AsyncIterator[Stand]:
    """Open a provider at its stand."""
    if name == "simulator":
        provider: Provider = SimulatorProvider(simulator.url, TIMEOUT, ApiKey(SIMULATOR_KEY))
        yield Stand(
            name,
            provider,
            simulator.url,
            "pm_card_visa",
            "pm_card_chargeDeclined",
            "acct_simulator",
            lambda uid: sum(each["paymentUID"] == uid for each in simulator.ledger()["charges"]),
        )
    elif name == "stripe":
        provider = StripeProvider(stripe.url, TIMEOUT, ApiKey("sk_test_shop"))
        fails = "pm_card_chargeCustomerFail"
        yield Stand(name, provider, stripe.url, "pm_card_visa", fails, "acct_shop", stripe.taken)
    else:
        async with Toss() as toss:
            provider = TossProvider(toss.url, TIMEOUT, ApiKey("test_sk_shop"))
            orders = toss.shops["test_sk_shop"].orders
            yield Stand(
                name,
                provider,
                toss.url,
                "charged==",
                "declined",
                "test",
                lambda uid: sum(order.startswith(uid) for order in orders),
            )
            await provider.close()
            return
    await provider.close()


def won(amount: int) -> Money:
    return Money(currency=Currency.KRW, minor_units=amount)


def charge_of(
    token: str, *, uid: str = "", amount: Money | None = None, attempt: int = 1
) -> Charge:
    uid = uid or str(uuid4())
    return Charge(
        key=f"{uid}:charge:{attempt}",
        amount=amount or won(15000),
        token=token,
        customer="mina",
        payment_uid=uid,
        rental_uid="rental-1",
        attempt=attempt,
    )


def inquiry_of(charge: Charge, gateway_payment_id: str | None = None) -> Inquiry:
    return Inquiry(
        payment_uid=charge.payment_uid,
        amount=charge.amount,
        since=datetime.now(UTC) - timedelta(minutes=5),
        attempt=charge.attempt,
        gateway_payment_id=gateway_payment_id,
    )


def refund_of(charge: Charge, id_: str, amount: int, step: int = 1) -> Refund:
    return Refund(
        key=f"{charge.payment_uid}:refund:{step}",
        gateway_payment_id=id_,
        amount=Money(currency=charge.amount.currency, minor_units=amount),
        step=step,
        payment_uid=charge.payment_uid,
        rental_uid=charge.rental_uid,
    )
