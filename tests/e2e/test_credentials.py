"""Credentials of a gateway, with the real operator: rotated, refused, gone, and never shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev.cluster import Cluster
from tests.e2e.business import says
from tests.payments.stands import LocalStripe
from tests.support import Shop, eventually, objects
from tests.support.operator import OperatorProcess
from toyrental.kinds import KINDS
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.rentals.models import Rental

FIRST = "sk_test_canary_first_8c1f"
SECOND = "sk_test_canary_second_77aa"
OTHERS = "sk_test_canary_others_09de"
CARD = "pm_card_visa"


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    running = LocalStripe()
    running.accept(**{FIRST: "acct_shop", SECOND: "acct_shop", OTHERS: "acct_other"})
    yield running
    running.close()


@pytest.fixture
def operator(cluster: Cluster, own_shop: Shop, tmp_path: Path) -> Iterator[OperatorProcess]:
    flags = ("--log-level=debug", "--sweep-seconds=5")
    with OperatorProcess(cluster, tmp_path, *flags, namespaces=[own_shop.name]) as operator:
        yield operator


@pytest.fixture
def shop(own_shop: Shop, stripe: LocalStripe) -> Shop:
    spec = {"endpoint": stripe.url, "secretRef": {"name": "stripe", "key": "apiKey"}}
    metadata = {"name": "main"}
    own_shop.create(PaymentGateway.model_validate({"metadata": metadata, "spec": {"stripe": spec}}))
    own_shop.create(objects.store(gateway="main", approval="Manual"))
    own_shop.create(objects.toy("bear"))
    own_shop.create(objects.toy("train"))
    own_shop.create(objects.toy("kite"))
    return own_shop


def set_key(shop: Shop, key: str | None) -> None:
    """Write the gateway's Secret anew, or remove it."""
    path = f"/api/v1/namespaces/{shop.name}/secrets"
    if key is None:
        shop.api.request("delete", f"{path}/stripe")
        return
    found = shop.api.find("Secret", shop.name, fields="metadata.name=stripe")
    if found:
        shop.api.patch("Secret", "stripe", shop.name, {"stringData": {"apiKey": key}})
    else:
        shop.secret("stripe", {"apiKey": key})


def gateway_says(shop: Shop, ready: str) -> PaymentGateway:
    return shop.wait(PaymentGateway, "main", lambda each: says(each, Ready=ready), within=45)


def order(shop: Shop, toy: str) -> None:
    shop.create(objects.rental(toy, toy=toy, method=CARD))


def becomes(shop: Shop, toy: str, phase: str) -> Rental:
    return shop.wait(Rental, toy, lambda each: each.phase == phase, within=120)


def test_a_gateways_credentials_through_their_life(
    shop: Shop, stripe: LocalStripe, operator: OperatorProcess
) -> None:
    # There is no Secret yet: the gateway says so, and orders wait.
    missing = gateway_says(shop, "False/SecretMissing")
    assert missing.status.account is None
    order(shop, "bear")
    payment = shop.wait(Rental, "bear", lambda each: each.phase == "Reserved").payment_name
    shop.wait(Payment, payment, lambda each: each.phase == "Deferred")

    # A wrong key defers as well; a right one pays, without a restart.
    set_key(shop, "sk_test_canary_wrong_5b5b")
    gateway_says(shop, "False/AuthenticationFailed")
    set_key(shop, FIRST)
    assert gateway_says(shop, "True/Ready").status.account == "acct_shop"
    bear = becomes(shop, "bear", "Paid")
    assert stripe.taken(shop.get(Payment, bear.payment_name).uid) == 1

    # The first key ends, and another of the account takes its place.
    stripe.accept(**{SECOND: "acct_shop", OTHERS: "acct_other"})
    order(shop, "train")
    gateway_says(shop, "False/AuthenticationFailed")
    set_key(shop, SECOND)
    train = becomes(shop, "train", "Paid")
    assert stripe.taken(shop.get(Payment, train.payment_name).uid) == 1

    # Credentials of another account are refused while money is out at the one before.
    set_key(shop, OTHERS)
    changed = gateway_says(shop, "False/AccountChanged")
    assert changed.status.account == "acct_shop"
    order(shop, "kite")
    kite = shop.wait(Rental, "kite", lambda each: each.phase == "Reserved")
    shop.wait(Payment, kite.payment_name, lambda each: each.phase == "Deferred")
    set_key(shop, SECOND)
    becomes(shop, "kite", "Paid")
    assert stripe.taken(shop.get(Payment, kite.payment_name).uid) == 1

    # With the Secret gone, money still goes back.
    set_key(shop, None)
    shop.patch(Rental, "bear", spec={"desiredState": "Cancelled"})
    shop.wait(Payment, bear.payment_name, lambda each: each.phase == "Refunded", within=60)

    shows_no_secret(shop, operator)


def shows_no_secret(shop: Shop, operator: OperatorProcess) -> None:
    """Look for the keys in logs, in Events, and in everything the operator wrote."""
    eventually(lambda: operator.running)
    objects_ = [each for kind in KINDS for each in shop.api.find(kind.SERVED.kind, shop.name)]
    events = shop.api.find("Event", shop.name)
    assert objects_
    assert events
    assert "canary" not in operator.log
    assert "canary" not in yaml.safe_dump(objects_ + events)
