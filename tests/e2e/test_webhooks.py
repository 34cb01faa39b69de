"""Webhooks wake what waits: the real operator, and the simulator that tells it of money."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from dev.cluster import Cluster
from dev.cluster.ports import free
from tests.e2e.business import GATEWAY, PATIENCE, Business
from tests.support import Shop, objects
from tests.support.operator import OperatorProcess, SimulatorProcess
from toyrental.payments.models import SETTLE, Payment, PaymentPhase
from toyrental.rentals.models import Rental

SECRET = "whsec_canary_e2e_51c0"
LONG = timedelta(minutes=10)


@pytest.fixture
def port() -> int:
    return free(1)[0]


@pytest.fixture
def telling(own_shop: Shop, tmp_path: Path, port: int) -> Iterator[SimulatorProcess]:
    """Give a simulator that tells the operator what happens to money."""
    secret = tmp_path / "whsec"
    secret.write_text(SECRET)
    url = f"http://127.0.0.1:{port}/webhooks/{own_shop.name}/{GATEWAY}"
    flags = ("--admin-port=0", f"--webhook-url={url}", f"--webhook-secret-file={secret}")
    with SimulatorProcess(tmp_path, *flags) as simulator:
        yield simulator


@pytest.fixture
def business(
    cluster: Cluster, own_shop: Shop, telling: SimulatorProcess, tmp_path: Path, port: int
) -> Iterator[Business]:
    """Give an open shop whose operator hears webhooks."""
    flag = f"--webhooks=http://127.0.0.1:{port}/webhooks"
    with OperatorProcess(cluster, tmp_path, flag, namespaces=[own_shop.name]) as operator:
        business = Business(own_shop, telling)
        own_shop.secret("hooks", {"secret": SECRET})
        ref = {"name": "hooks", "key": "secret"}
        own_shop.create(objects.gateway(GATEWAY, telling.url, webhookSecretRef=ref))
        own_shop.create(objects.store(gateway=GATEWAY))
        business.gateway_becomes(Ready="True")
        yield business
        assert operator.terminate() == 0
        assert SECRET not in operator.log


def goes_wrong(simulator: SimulatorProcess, kind: str, **fault: object) -> None:
    """Have something go wrong once."""
    said = json.loads(simulator.log.splitlines()[0])
    content = {"kind": kind, "times": 1, **fault}
    answer = httpx.post(f"{said['adminUrl']}/faults", json=content, trust_env=False)
    assert answer.status_code == 201, answer.text


def test_a_lost_answer_is_found_when_the_provider_tells_and_not_only_when_it_is_asked(
    business: Business, telling: SimulatorProcess
) -> None:
    """N3: Given a charge whose answer is lost, then a webhook resolves it long before a poll."""
    business.registers("bear", "train", "kite")
    # Given a provider that charges, and whose answer is lost; and which is asked in vain then: it
    # wants to be left alone for long. Its webhook comes late, after that of another payment.
    goes_wrong(telling, "drop", operations=["charge"])
    goes_wrong(telling, "rateLimit", operations=["lookup"], retryAfterSeconds=LONG.seconds)
    goes_wrong(telling, "webhookReorder", seconds=600, operations=["charge"])
    lost = business.takes_order("lost", toy="bear")
    unknown = business.wait(
        Payment,
        business.order_becomes("lost", "Reserved").payment_name,
        lambda seen: seen.phase is PaymentPhase.UNKNOWN and seen.status.tries > 1,
    )
    again = unknown.status.next_attempt_time
    assert again is not None
    assert again > datetime.now(UTC) + LONG / 2
    # When the provider tells of the one and then of the other, then both are paid
    business.takes_order("next", toy="train")
    business.order_becomes("next", "Paid")
    business.order_becomes("lost", "Paid")
    assert datetime.now(UTC) < again
    assert len(business.books(lost).charges) == 1

    # And where the provider tells nothing, then it is asked as ever
    goes_wrong(telling, "drop", operations=["charge"])
    goes_wrong(telling, "webhookLoss", operations=["charge"])
    silent = business.takes_order("silent", toy="kite")
    business.order_becomes("silent", "Paid")
    assert len(business.books(silent).charges) == 1


def test_a_refund_that_fails_after_it_was_accepted_is_told_of_and_ended_by_a_person(
    business: Business, telling: SimulatorProcess
) -> None:
    """R6: Given an order that is cancelled, and a refund that fails later, then all say so."""
    business.registers("bear")
    # Given a refund that is accepted, and that the customer's bank sends back
    goes_wrong(telling, "refundFailure", seconds=2)
    rental = business.takes_paid_order("order", toy="bear")
    business.cancels("order")
    business.payment_becomes(rental, "Refunded", Refunded="True/Refunded", Ready="True")
    # When the provider tells of it, then the payment does not say any more that it is done
    failed = business.payment_becomes(
        rental, "Refunded", Refunded="False/RefundFailed", Ready="False", Stalled="True"
    )
    business.told(failed.name, "RefundFailed", "The shop has the money again")
    assert failed.status.failure is not None
    assert failed.status.failure.code == "RefundFailed"
    # And it is as the books say: taken, and not given back; nothing more was sent
    books = business.books(rental)
    assert (books.taken, books.given_back) == (9000, 0)
    assert [refund["status"] for refund in books.refunds] == ["failed"]
    # And the order is cancelled, and its toy free, all the same
    business.order_becomes("order", "Cancelled")
    business.toy_becomes("bear", "Available")

    # When a person has it tried again, then it is given back, once, by a step of its own
    business.shop.patch(Payment, failed.name, spec={"refundResolution": ends(failed, "TryAgain")})
    business.payment_becomes(rental, "Refunded", Refunded="True/Refunded", Ready="True")
    books = business.books(rental)
    assert (books.taken, books.given_back) == (9000, 9000)
    steps = {refund["idempotencyKey"]: refund["status"] for refund in books.refunds}
    assert steps == {f"{failed.uid}:refund:1": "failed", f"{failed.uid}:refund:2": "succeeded"}

    # Given another one, which fails before it is made, and a person who pays in cash
    goes_wrong(telling, "refundFailure", seconds=1, first="pending")
    rental = business.takes_paid_order("next", toy="bear")
    business.shop.delete(Rental, "next")
    failed = business.payment_becomes(rental, "Captured", Refunded="False/RefundFailed")
    assert SETTLE in failed.metadata.finalizers
    assert failed.status.refunded_minor_units is None
    # When they say so, then the payment can go, and nothing more was sent
    business.shop.patch(Payment, failed.name, spec={"refundResolution": ends(failed, "GivenBack")})
    business.shop.gone(Payment, failed.name, within=PATIENCE)
    business.told(failed.name, "GivenBack", business.shop.api.who_am_i(), "9,000 KRW")
    books = business.books(rental)
    assert [refund["status"] for refund in books.refunds] == ["failed"]


def ends(failed: Payment, outcome: str) -> dict[str, object]:
    """Return a person's word on the refund that failed."""
    assert failed.status.refund_failure is not None
    return {"failure": failed.status.refund_failure.number, "outcome": outcome}
