from tests.simulator.running import Running, error_of, metadata


def test_a_charge_is_refunded_in_parts_up_to_all_of_it(simulator: Running) -> None:
    # Given a charge
    charge = simulator.charge("c").json()["id"]
    # When it is refunded in two parts
    first = simulator.refund("r1", charge, 5000)
    second = simulator.refund("r2", charge, 10000)
    # Then both are answered with the refund
    assert (first.status_code, second.status_code) == (200, 200)
    refund = first.json()
    assert refund == {
        "id": refund["id"],
        "object": "refund",
        "status": "succeeded",
        "charge": charge,
        "amount": 5000,
        "currency": "KRW",
        "metadata": metadata(),
        "created": refund["created"],
    }
    assert refund["id"].startswith("re_")
    # And the charge shows what was given back
    assert simulator.client.get(f"/v1/charges/{charge}").json()["amountRefunded"] == 15000
    # And the ledger has both, newest first
    assert [
        (r["idempotencyKey"], r["charge"], r["amount"], r["currency"], r["paymentUID"])
        for r in simulator.ledger()["refunds"]
    ] == [("r2", charge, 10000, "KRW", "payment-1"), ("r1", charge, 5000, "KRW", "payment-1")]


def test_no_more_is_refunded_than_was_charged(shared: Running) -> None:
    # Given a charge of which a part has been refunded
    charge = shared.charge("more:c").json()["id"]
    shared.refund("more:r1", charge, 5000)
    # When more than the rest is asked for
    answer = shared.refund("more:r2", charge, 10001)
    # Then it is refused with what is left
    assert answer.status_code == 400
    error = error_of(answer)
    assert (error["code"], error["param"]) == ("amount_too_large", "amount")
    assert "10000 are left" in error["message"]
    # And the refusal is final for its key, as with every answer
    assert shared.refund("more:r2", charge, 10001).headers["idempotent-replayed"] == "true"
    assert shared.client.get(f"/v1/charges/{charge}").json()["amountRefunded"] == 5000


def test_a_charge_that_was_refunded_in_full_says_so(shared: Running) -> None:
    charge = shared.charge("full:c").json()["id"]
    shared.refund("full:r1", charge, 15000)
    answer = shared.refund("full:r2", charge, 1)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "charge_already_refunded"


def test_a_refund_of_no_charge_is_refused(shared: Running) -> None:
    answer = shared.refund("none:r", "ch_none", 1)
    assert answer.status_code == 404
    assert error_of(answer)["code"] == "resource_missing"


def test_a_refund_in_the_name_of_another_payment_is_refused(shared: Running) -> None:
    # Given a charge of one payment
    charge = shared.charge("name:c").json()["id"]
    # When a refund names another
    answer = shared.refund("name:r", charge, 1, metadata=metadata(payment="payment-2"))
    # Then no money moves
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "charge_mismatch"
    assert shared.client.get(f"/v1/charges/{charge}").json()["amountRefunded"] == 0


def test_refunds_are_looked_up_by_charge_and_by_payment(shared: Running) -> None:
    # Given two charges of one payment, each with a refund
    mine = metadata(payment="looked-up")
    first = shared.charge("look:c1", metadata=mine).json()["id"]
    second = shared.charge("look:c2", metadata=mine).json()["id"]
    of_first = shared.refund("look:r1", first, 1, metadata=mine).json()
    of_second = shared.refund("look:r2", second, 2, metadata=mine).json()

    def found(**filters: str) -> list[dict[str, object]]:
        data: list[dict[str, object]] = shared.client.get("/v1/refunds", params=filters).json()[
            "data"
        ]
        return data

    # Then a charge has its own, the payment has both, and filters narrow each other
    assert found(charge=first) == [of_first]
    assert found(paymentUID="looked-up") == [of_second, of_first]
    assert found(charge=first, paymentUID="looked-up") == [of_first]
    assert found(charge=first, paymentUID="another") == []
    assert found()[:2] == [of_second, of_first]
