import re
from pathlib import Path
from statistics import median

import pytest

from tests.simulator.running import Running, error_of, metadata
from toyrental.simulator.tokens import OUTCOMES


def test_a_good_card_is_charged(simulator: Running) -> None:
    # When a rental is paid with a good card
    answer = simulator.charge("p:charge:1", customer="cus_mina")
    # Then the answer is the charge
    assert answer.status_code == 200
    charge = answer.json()
    assert charge == {
        "id": charge["id"],
        "object": "charge",
        "status": "succeeded",
        "amount": 15000,
        "amountRefunded": 0,
        "currency": "KRW",
        "customer": "cus_mina",
        "metadata": metadata(),
        "created": charge["created"],
    }
    assert charge["id"].startswith("ch_")
    # And it can be looked up, and is in the ledger
    assert simulator.client.get(f"/v1/charges/{charge['id']}").json() == charge
    assert simulator.ledger() == {
        "charges": [
            {
                "id": charge["id"],
                "idempotencyKey": "p:charge:1",
                "amount": 15000,
                "amountRefunded": 0,
                "currency": "KRW",
                "paymentUID": "payment-1",
                "rentalUID": "rental-1",
                "created": charge["created"],
            }
        ],
        "refunds": [],
        "declines": [],
    }


def test_a_declined_card_takes_no_money_and_is_remembered_as_declined(simulator: Running) -> None:
    # When the card is declined
    answer = simulator.charge("p:charge:1", method="pm_card_chargeDeclined")
    # Then the caller is told so in the provider's words
    assert answer.status_code == 402
    assert error_of(answer) == {
        "type": "card_error",
        "code": "card_declined",
        "declineCode": "generic_decline",
        "message": "The card was declined.",
    }
    # And the ledger has a decline and no money
    books = simulator.ledger()
    assert books["charges"] == []
    assert [(d["idempotencyKey"], d["code"]) for d in books["declines"]] == [
        ("p:charge:1", "card_declined")
    ]


@pytest.mark.parametrize(
    ("token", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("pm_card_chargeDeclinedFraudulent", "card_declined", "fraudulent"),
        (
            "pm_card_chargeDeclinedVelocityLimitExceeded",
            "card_declined",
            "card_velocity_exceeded",
        ),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
        ("pm_card_authenticationRequired", "authentication_required", "authentication_required"),
    ],
)
def test_each_declining_token_declines_in_its_own_way(
    shared: Running, token: str, code: str, decline_code: str
) -> None:
    answer = shared.charge(f"decline:{token}", method=token)
    assert answer.status_code == 402
    error = error_of(answer)
    assert (error["code"], error["declineCode"]) == (code, decline_code)


@pytest.mark.parametrize("token", [token for token, outcome in OUTCOMES.items() if not outcome])
def test_each_good_token_is_charged(shared: Running, token: str) -> None:
    assert shared.charge(f"good:{token}", method=token).json()["status"] == "succeeded"


def test_an_unknown_token_is_refused_with_those_that_exist(shared: Running) -> None:
    # When somebody pays with a token that does not exist
    answer = shared.charge("unknown", method="pm_card_of_my_aunt")
    # Then the answer names the tokens that do, and does not repeat what was sent
    assert answer.status_code == 400
    error = error_of(answer)
    assert (error["type"], error["code"]) == ("invalid_request_error", "resource_missing")
    assert error["param"] == "method"
    assert all(token in error["message"] for token in OUTCOMES)
    assert "aunt" not in answer.text
    # And the key is still free for the corrected request
    assert shared.charge("unknown").status_code == 200


def test_further_metadata_is_kept_and_given_back(shared: Running) -> None:
    sent = metadata() | {"orderedAt": "counter 3"}
    charge = shared.charge("metadata", metadata=sent).json()
    assert charge["metadata"] == sent
    assert shared.client.get(f"/v1/charges/{charge['id']}").json()["metadata"] == sent


def test_charges_are_looked_up_by_payment_newest_first(shared: Running) -> None:
    # Given three charges of one payment, and one of another
    ids = [
        shared.charge(f"listed:{n}", metadata=metadata(payment="listed")).json()["id"]
        for n in range(3)
    ]
    shared.charge("listed:other", metadata=metadata(payment="other"))
    # When they are looked up
    found = shared.client.get("/v1/charges", params={"paymentUID": "listed"}).json()
    # Then exactly these come, newest first
    assert found["object"] == "list"
    assert [charge["id"] for charge in found["data"]] == ids[::-1]
    assert found["hasMore"] is False
    # And a limit says that there are more
    limited = shared.client.get("/v1/charges", params={"paymentUID": "listed", "limit": 2}).json()
    assert [charge["id"] for charge in limited["data"]] == ids[:0:-1]
    assert limited["hasMore"] is True


def test_a_payment_without_charges_has_an_empty_list(shared: Running) -> None:
    found = shared.client.get("/v1/charges", params={"paymentUID": "nobody"})
    assert found.json() == {"object": "list", "data": [], "hasMore": False}


def test_a_charge_that_does_not_exist_is_not_found(shared: Running) -> None:
    answer = shared.client.get("/v1/charges/ch_none")
    assert answer.status_code == 404
    assert error_of(answer)["code"] == "resource_missing"


def test_the_account_tells_whose_credentials_these_are(shared: Running) -> None:
    account = shared.client.get("/v1/account").json()
    assert account["id"] == "acct_simulator"
    assert account["chargesEnabled"] is True
    assert account["livemode"] is False


def test_health_is_reported(shared: Running) -> None:
    assert shared.client.get("/healthz").json() == {"status": "ok"}


def test_the_token_and_the_customer_are_not_logged(simulator: Running) -> None:
    # Given requests of every outcome
    secret = "pm_card_with_a_secret"
    simulator.charge("a", customer="cus_secret")
    simulator.charge("b", method="pm_card_chargeDeclined")
    simulator.charge("c", method=secret)
    simulator.charge("d", amount="secret", method=secret)
    simulator.charge("a", method="pm_card_jcb")
    # Then the log tells of them by key and outcome only
    log = simulator.errors.read_text()
    assert log.count("\n") == 5
    assert '"idempotencyKey": "a"' in log
    assert "pm_card" not in log
    assert "secret" not in log


def test_answers_do_not_wait_for_delayed_acknowledgements(shared: Running) -> None:
    # When many requests follow each other on one connection
    seconds = [shared.client.get("/healthz").elapsed.total_seconds() for _ in range(50)]
    # Then none waits the 40 ms that Nagle's algorithm would add to nearly each
    assert median(seconds) < 0.03


def test_the_documentation_has_all_tokens() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "simulator.md"
    assert set(re.findall(r"`(pm_card_\w+)`", page.read_text())) == set(OUTCOMES)
