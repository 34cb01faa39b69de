import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.simulator.conftest import Start
from tests.simulator.running import Running, charge_of, error_of, metadata


def test_the_same_request_again_gets_the_first_answer_and_moves_no_money(
    simulator: Running,
) -> None:
    # Given a charge, refunded in part since
    first = simulator.charge("key")
    simulator.refund("refund", first.json()["id"], 5000)
    # When the same request comes again
    again = simulator.charge("key")
    # Then it gets the first answer, byte for byte, marked as a replay
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    # And money has moved once
    assert len(simulator.ledger()["charges"]) == 1


def test_a_refund_again_gives_money_back_once(simulator: Running) -> None:
    charge = simulator.charge("key").json()["id"]
    first = simulator.refund("refund", charge, 5000)
    again = simulator.refund("refund", charge, 5000)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert simulator.client.get(f"/v1/charges/{charge}").json()["amountRefunded"] == 5000


def test_a_decline_is_replayed_too(simulator: Running) -> None:
    first = simulator.charge("key", method="pm_card_chargeDeclined")
    again = simulator.charge("key", method="pm_card_chargeDeclined")
    assert (again.status_code, again.content) == (402, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert len(simulator.ledger()["declines"]) == 1


def test_the_order_of_fields_does_not_make_another_request(shared: Running) -> None:
    shared.charge("order")
    reordered = dict(reversed(charge_of().items()))
    again = shared.client.post("/v1/charges", headers={"Idempotency-Key": "order"}, json=reordered)
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"amount": 15001}, "different: amount)"),
        ({"currency": "JPY"}, "different: currency)"),
        ({"method": "pm_card_jcb"}, "different: method)"),
        ({"customer": "cus_mina"}, "different: customer)"),
        ({"amount": 1, "metadata": metadata(rental="rental-2")}, "different: amount, metadata)"),
    ],
)
def test_the_same_key_with_other_parameters_is_an_error(
    simulator: Running, changes: dict[str, Any], named: str
) -> None:
    # Given a charge
    first = simulator.charge("key")
    # When its key comes with another request
    answer = simulator.charge("key", **changes)
    # Then it is an error that says what differs
    assert answer.status_code == 400
    error = error_of(answer)
    assert (error["type"], error["code"]) == ("idempotency_error", "idempotency_key_mismatch")
    assert named in error["message"]
    # And the first request still has its answer, and nothing else was taken
    assert simulator.charge("key").content == first.content
    assert [c["amount"] for c in simulator.ledger()["charges"]] == [15000]


def test_a_key_of_a_charge_is_no_key_for_a_refund(simulator: Running) -> None:
    charge = simulator.charge("key").json()["id"]
    answer = simulator.refund("key", charge, 1)
    assert answer.status_code == 400
    assert "operation" in error_of(answer)["message"]
    assert simulator.ledger()["refunds"] == []


async def test_many_duplicates_at_once_move_money_once(simulator: Running) -> None:
    # When the same request comes thirty times at once
    async with httpx.AsyncClient(base_url=simulator.url, timeout=30) as client:
        answers = await asyncio.gather(
            *(
                client.post("/v1/charges", headers={"Idempotency-Key": "key"}, json=charge_of())
                for _ in range(30)
            )
        )
    # Then money moves once, and each got the one answer or was told to wait
    assert len(simulator.ledger()["charges"]) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1


async def test_while_the_first_is_in_progress_the_second_is_told_to_wait(
    start: Start, tmp_path: Path
) -> None:
    # Given a request that cannot finish because somebody else writes to the ledger
    simulator = start()
    async with httpx.AsyncClient(base_url=simulator.url, timeout=30) as client:
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            both = [
                asyncio.create_task(
                    client.post("/v1/charges", headers={"Idempotency-Key": "key"}, json=charge_of())
                )
                for _ in range(2)
            ]
            # When the same request comes again
            done, waiting = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            # Then one of them is told that the other is in progress
            told = done.pop().result()
            assert told.status_code == 409
            assert error_of(told)["code"] == "idempotency_key_in_use"
            # And the other is carried out once it can be
            other.execute("ROLLBACK")
        assert (await waiting.pop()).status_code == 200
    assert simulator.charge("key").headers["idempotent-replayed"] == "true"
    assert len(simulator.ledger()["charges"]) == 1


def test_a_ledger_that_cannot_be_written_is_a_clear_answer_and_leaves_the_key_free(
    start: Start, tmp_path: Path
) -> None:
    simulator = start()
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        # Given somebody else who does not stop writing to the ledger
        other.execute("BEGIN IMMEDIATE")
        # When a charge is asked for
        answer = simulator.charge("key")
        # Then the caller is told in time, and the log says why
        assert answer.status_code == 503
        assert error_of(answer)["code"] == "ledger_unavailable"
        assert "database is locked" in simulator.errors.read_text()
        other.execute("ROLLBACK")
    # And the same key is charged once it can be
    again = simulator.charge("key")
    assert again.status_code == 200
    assert "idempotent-replayed" not in again.headers


def test_two_simulators_on_one_ledger_charge_a_key_once(start: Start) -> None:
    one, other = start(), start()
    first = one.charge("key")
    again = other.charge("key")
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(one.ledger()["charges"]) == 1
