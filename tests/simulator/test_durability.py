import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.simulator.conftest import Start
from tests.simulator.running import charge_of, error_of

CUSTOMERS = 8


def test_the_ledger_and_the_keys_survive_a_kill(start: Start) -> None:
    # Given a charge, a decline and a refund
    before = start()
    charge = before.charge("c")
    decline = before.charge("d", method="pm_card_chargeDeclined")
    refund = before.refund("r", charge.json()["id"], 5000)
    books = before.ledger()
    # When the simulator is killed and started again
    before.kill()
    after = start()
    # Then the ledger is as before
    assert after.ledger() == books
    # And each key has the answer it had
    assert after.charge("c").content == charge.content
    assert after.charge("d", method="pm_card_chargeDeclined").content == decline.content
    assert after.refund("r", charge.json()["id"], 5000).content == refund.content
    assert after.ledger() == books


async def test_killed_in_a_storm_it_keeps_what_it_answered_and_charges_nobody_twice(
    start: Start,
) -> None:
    before = start()
    answered: dict[str, bytes] = {}
    tried: set[str] = set()

    async def order_until_the_server_is_gone(customer: int, client: httpx.AsyncClient) -> None:
        order = 0
        while True:
            key = f"{customer}:{order}"
            tried.add(key)
            try:
                answer = await client.post(
                    "/v1/charges", headers={"Idempotency-Key": key}, json=charge_of()
                )
            except httpx.TransportError:
                return
            answered[key] = answer.content
            order += 1
            if len(answered) == 100:
                before.kill()

    # Given customers who order as fast as they can
    async with httpx.AsyncClient(base_url=before.url, timeout=30) as client:
        await asyncio.gather(
            *(order_until_the_server_is_gone(customer, client) for customer in range(CUSTOMERS))
        )
    # When the simulator was killed meanwhile and started again
    after = start()
    # Then all that it had answered is there, and at most what was asked for
    taken = {entry["idempotencyKey"] for entry in after.ledger()["charges"]}
    assert set(answered) <= taken <= tried
    # And when every request is repeated, the answered ones get the same answer
    repeated = {key: after.charge(key) for key in sorted(tried)}
    assert all(answer.status_code == 200 for answer in repeated.values())
    assert {key: repeated[key].content for key in answered} == answered
    # And each was charged once
    charges = [entry["idempotencyKey"] for entry in after.ledger()["charges"]]
    assert sorted(charges) == sorted(tried)


async def test_sigterm_finishes_what_is_in_hand(start: Start, tmp_path: Path) -> None:
    simulator = start()
    async with httpx.AsyncClient(base_url=simulator.url, timeout=30) as client:

        async def charge() -> httpx.Response:
            return await client.post(
                "/v1/charges", headers={"Idempotency-Key": "key"}, json=charge_of()
            )

        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            # Given a charge that is in hand: its duplicate is told so
            other.execute("BEGIN IMMEDIATE")
            both = [asyncio.create_task(charge()) for _ in range(2)]
            done, in_hand = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            assert done.pop().result().status_code == 409
            # When the simulator is told to end, and has stopped listening
            simulator.ask_to_end()
            while await _listens(simulator.url):
                pass
            other.execute("ROLLBACK")
        # Then the charge gets its answer
        assert (await in_hand.pop()).status_code == 200
    # And the end is a normal one, without complaints
    assert simulator.wait() == 0
    assert "error" not in simulator.errors.read_text()
    # And the charge is in the ledger
    assert [entry["idempotencyKey"] for entry in start().ledger()["charges"]] == ["key"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_failure_of_the_simulator_is_told_without_its_insides(
    start: Start, tmp_path: Path, log_format: str
) -> None:
    simulator = start(f"--log-format={log_format}")
    simulator.charge("key")
    # Given a ledger that somebody has damaged
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other, other:
        other.execute("UPDATE answers SET request = 'scribble'")
    # When a request makes the simulator fail on it
    answer = simulator.charge("key")
    # Then the caller gets a clear answer and the log the whole story, but for the payment method
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal_error"
    log = simulator.errors.read_text()
    assert "JSONDecodeError" in log
    assert "pm_card" not in log
    # And other requests are served
    assert simulator.charge("other").status_code == 200


async def _listens(url: str) -> bool:
    address = httpx.URL(url)
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except ConnectionError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
