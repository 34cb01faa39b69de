"""Each fault as a client sees it, over real sockets, and what the ledger says of it."""

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.simulator.conftest import Start
from tests.simulator.running import Running, charge_of, error_of, metadata
from tests.support import eventually
from toyrental.simulator.tokens import DECLINES


def taken(simulator: Running) -> list[str]:
    """Give the keys under which money was taken, oldest first."""
    return [charge["idempotencyKey"] for charge in simulator.ledger()["charges"]][::-1]


def waited(ask: Callable[[], object]) -> float:
    begun = time.perf_counter()
    ask()
    return time.perf_counter() - begun


def test_drop_commits_and_then_drops_the_response(faulty: Running) -> None:
    faulty.set_fault("drop", operations=["charge"], times=1)
    # When a charge is asked for, the connection ends without an answer
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        faulty.charge("key")
    # But the money has moved: look-up finds it, and the same key gets the answer
    [found] = faulty.look_up()
    again = faulty.charge("key")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == found
    assert taken(faulty) == ["key"]
    assert faulty.struck() == [1]


def test_drop_of_a_refund_gives_the_money_back_once(faulty: Running) -> None:
    charge = faulty.charge("key").json()["id"]
    faulty.set_fault("drop", operations=["refund"], times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        faulty.refund("refund", charge, 5000)
    assert faulty.refund("refund", charge, 5000).status_code == 200
    assert [refund["amount"] for refund in faulty.ledger()["refunds"]] == [5000]


def test_reset_breaks_the_connection_before_anything_is_done(faulty: Running) -> None:
    faulty.set_fault("reset", times=1)
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        faulty.charge("key")
    assert taken(faulty) == []
    # And the key is unused
    assert "idempotent-replayed" not in faulty.charge("key").headers


def test_latency_before_commits_late(faulty: Running) -> None:
    faulty.set_fault("latency", fixed=0.5)
    # Given a client that gives up, and finds nothing
    with pytest.raises(httpx.ReadTimeout):
        faulty.client.post(
            "/v1/charges",
            headers={"Idempotency-Key": "key"},
            json=charge_of(),
            timeout=httpx.Timeout(30, read=0.05),
        )
    early = taken(faulty)
    # When time passes, then the money moves all the same
    deadline = time.monotonic() + 20
    while taken(faulty) == early == [] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert taken(faulty) == ["key"]


def test_latency_after_commits_at_once_and_answers_late(faulty: Running) -> None:
    faulty.set_fault("latency", fixed=60, when="after", operations=["charge"])
    with pytest.raises(httpx.ReadTimeout):
        faulty.client.post(
            "/v1/charges",
            headers={"Idempotency-Key": "key"},
            json=charge_of(),
            timeout=httpx.Timeout(30, read=2),
        )
    assert taken(faulty) == ["key"]
    # And the first request is still in progress, as its duplicate is told
    assert error_of(faulty.charge("key"))["code"] == "idempotency_key_in_use"
    assert len(faulty.look_up()) == 1


@pytest.mark.parametrize(
    "distribution",
    [
        {"fixed": 0.2},
        {"uniform": {"min": 0.2, "max": 0.3}},
        {"lognormal": {"median": 0.2, "p99": 0.2}},
        {"percentiles": {"0": 0.2, "100": 0.3}},
    ],
)
def test_latency_has_distributions(faulty: Running, distribution: dict[str, Any]) -> None:
    faulty.set_fault("latency", operations=["account"], **distribution)
    assert waited(lambda: faulty.client.get("/v1/account")) > 0.19
    assert faulty.struck() == [1]


@pytest.mark.parametrize("status", [400, 401, 403, 409, 500, 502, 503, 599])
def test_error_answers_before_anything_is_done(faulty: Running, status: int) -> None:
    faulty.set_fault("error", status=status, times=1)
    answer = faulty.charge("key")
    assert answer.status_code == status
    assert error_of(answer)["code"] == f"fault_{status}"
    assert taken(faulty) == []
    assert "idempotent-replayed" not in faulty.charge("key").headers


def test_error_after_has_moved_the_money(faulty: Running) -> None:
    faulty.set_fault("error", when="after", times=1)
    assert faulty.charge("key").status_code == 500
    assert taken(faulty) == ["key"]
    assert faulty.charge("key").headers["idempotent-replayed"] == "true"


def test_rate_limit_says_when_to_come_again(faulty: Running) -> None:
    faulty.set_fault("rateLimit", retryAfterSeconds=7, times=1)
    answer = faulty.charge("key")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert error_of(answer)["code"] == "rate_limit"
    assert taken(faulty) == []


@pytest.mark.parametrize("decline_code", DECLINES)
def test_decline_declines_a_card_that_would_pay(faulty: Running, decline_code: str) -> None:
    faulty.set_fault("decline", declineCode=decline_code, times=1)
    answer = faulty.charge("key")
    assert answer.status_code == 402
    assert error_of(answer)["declineCode"] == decline_code
    # And that is final for its key, without the fault striking again
    assert faulty.charge("key").headers["idempotent-replayed"] == "true"
    assert faulty.struck() == [1]
    books = faulty.ledger()
    assert (books["charges"], len(books["declines"])) == ([], 1)


def test_decline_by_token_leaves_other_cards_alone(faulty: Running) -> None:
    faulty.set_fault("decline", method="pm_card_amex")
    assert faulty.charge("amex", method="pm_card_amex").status_code == 402
    assert faulty.charge("visa").status_code == 200


def test_an_outage_strikes_every_operation(faulty: Running) -> None:
    charge = faulty.charge("key").json()["id"]
    faulty.set_fault("outage")
    answers = [
        faulty.charge("other"),
        faulty.refund("refund", charge, 1),
        faulty.client.get("/v1/charges"),
        faulty.client.get("/v1/refunds"),
        faulty.client.get(f"/v1/charges/{charge}"),
        faulty.client.get("/v1/account"),
    ]
    assert {(a.status_code, error_of(a)["code"]) for a in answers} == {(503, "outage")}
    # And nothing is done, and the ledger can be read meanwhile
    assert taken(faulty) == ["key"]
    assert faulty.ledger()["refunds"] == []
    assert faulty.client.get("/healthz").status_code == 200


def test_an_outage_that_hangs_never_answers_and_does_nothing(faulty: Running) -> None:
    faulty.set_fault("outage", answer="hang", times=1)
    with pytest.raises(httpx.ReadTimeout):
        faulty.client.post(
            "/v1/charges",
            headers={"Idempotency-Key": "key"},
            json=charge_of(),
            timeout=httpx.Timeout(30, read=0.3),
        )
    # And once the client has gone, its key is free
    deadline = time.monotonic() + 20
    while (again := faulty.charge("key")).status_code == 409 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert again.status_code == 200
    assert "idempotent-replayed" not in again.headers


def test_a_window_opens_and_closes_by_itself(faulty: Running) -> None:
    faulty.set_fault("outage", **{"from": 0.3, "for": 0.3})
    seen = [faulty.faults()[0]["state"]]
    deadline = time.monotonic() + 20
    while seen[-1] != "over" and time.monotonic() < deadline:
        status = faulty.client.get("/v1/account").status_code
        state = faulty.faults()[0]["state"]
        assert status in {200, 503}
        if state != seen[-1]:
            seen.append(state)
        time.sleep(0.02)
    assert (seen[0], seen[-1]) == ("waiting", "over")
    assert faulty.client.get("/v1/account").status_code == 200


def test_refuse_closes_the_port_and_opens_it_again(faulty: Running) -> None:
    # Given a client with an idle connection
    assert faulty.charge("before").status_code == 200
    # When connections are refused
    faulty.set_fault("refuse")
    # Then there is nothing to connect to, and the idle connection is gone as well
    with pytest.raises(httpx.ConnectError, match="refused"):
        httpx.get(f"{faulty.url}/healthz")
    with pytest.raises(httpx.ConnectError, match="refused"):
        faulty.charge("meanwhile")
    assert faulty.struck() == [1]
    # And when that ends, the same port answers
    assert faulty.admin.delete("/faults").status_code == 204
    assert faulty.charge("after").status_code == 200
    assert taken(faulty) == ["before", "after"]


def test_refuse_ends_with_its_window(faulty: Running) -> None:
    faulty.set_fault("refuse", **{"for": 0.5})
    with pytest.raises(httpx.ConnectError):
        faulty.charge("key")
    deadline = time.monotonic() + 20
    status = 0
    while status != 200 and time.monotonic() < deadline:
        with contextlib.suppress(httpx.ConnectError):
            status = faulty.charge("key").status_code
    assert status == 200
    assert faulty.faults()[0]["state"] == "over"


def test_a_simulator_that_refuses_ends_normally(start: Start) -> None:
    simulator = start("--admin-port=0")
    simulator.charge("key")
    simulator.set_fault("refuse")
    simulator.ask_to_end()
    assert simulator.wait() == 0
    assert "error" not in simulator.errors.read_text()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "latency", "fixed": 600},
        {"kind": "latency", "fixed": 600, "when": "after"},
        {"kind": "outage", "answer": "hang"},
        {"kind": "trickle", "bytesPerSecond": 0.01},
    ],
)
def test_a_request_that_waits_does_not_hold_up_the_end(start: Start, fault: dict[str, Any]) -> None:
    simulator = start(f"--fault={json.dumps(fault)}", "--access-log")
    with pytest.raises(httpx.ReadTimeout):
        simulator.client.get("/v1/account", timeout=httpx.Timeout(30, read=0.3))
    begun = time.monotonic()
    simulator.ask_to_end()
    assert simulator.wait() == 0
    assert time.monotonic() - begun < 8
    assert '"error"' not in simulator.errors.read_text()


def test_a_key_that_expired_moves_money_again(faulty: Running) -> None:
    faulty.set_fault("keyExpiry", keyLifeSeconds=0.5)
    # Given a charge, repeated within the life of its key
    first = faulty.charge("key").json()["id"]
    # When it is repeated after that
    time.sleep(0.6)
    again = faulty.charge("key")
    # Then it is another charge, as with real providers
    assert again.json()["id"] != first
    assert "idempotent-replayed" not in again.headers
    assert taken(faulty) == ["key", "key"]
    assert faulty.struck() == [1]


def test_a_key_within_its_life_is_remembered(faulty: Running) -> None:
    faulty.set_fault("keyExpiry", keyLifeSeconds=3600)
    faulty.charge("key")
    assert faulty.charge("key").headers["idempotent-replayed"] == "true"
    assert faulty.struck() == [0]


def test_look_up_finds_late_what_the_ledger_has_at_once(faulty: Running) -> None:
    old = faulty.charge("old", metadata=metadata("payment-2")).json()["id"]
    faulty.set_fault("lookupLag", seconds=2)
    begun = time.monotonic()
    charge = faulty.charge("key").json()["id"]
    faulty.refund("refund", charge, 1)
    refunds = {"charge": charge}
    found = (
        faulty.look_up(),
        faulty.client.get(f"/v1/charges/{charge}").status_code,
        faulty.client.get("/v1/refunds", params=refunds).json()["data"],
    )
    # Given that the machine was fast enough to ask in time
    if time.monotonic() - begun < 1.8:
        assert found == ([], 404, [])
        assert faulty.struck() == [3]
    assert taken(faulty) == ["old", "key"]
    # When it is old enough, it is found
    time.sleep(2.1)
    assert faulty.look_up() == [charge]
    assert len(faulty.client.get("/v1/refunds", params=refunds).json()["data"]) == 1
    assert faulty.look_up("payment-2") == [old]


def test_what_lags_does_not_take_the_place_of_older_charges(faulty: Running) -> None:
    old = faulty.charge("old").json()["id"]
    time.sleep(0.5)
    faulty.set_fault("lookupLag", seconds=0.5)
    begun = time.monotonic()
    faulty.charge("new")
    found = faulty.client.get("/v1/charges", params={"limit": 1}).json()
    if time.monotonic() - begun < 0.4:
        assert [charge["id"] for charge in found["data"]] == [old]
        assert found["hasMore"] is False


def test_trickle_sends_the_body_byte_by_byte(faulty: Running) -> None:
    whole = faulty.client.get("/v1/account")
    faulty.set_fault("trickle", bytesPerSecond=200)
    with faulty.client.stream("GET", "/v1/account") as slow:
        begun = time.perf_counter()
        pieces = list(slow.iter_raw())
    assert time.perf_counter() - begun > len(whole.content) / 200 * 0.9
    assert len(pieces) > 10
    assert b"".join(pieces) == whole.content


@pytest.mark.parametrize(
    ("form", "status", "content_type"),
    [
        ("html", 502, "text/html"),
        ("malformed", 200, "application/json"),
        ("empty", 200, "application/json"),
        ("contentType", 200, "text/plain"),
        ("redirect", 302, None),
        ("otherAmount", 200, "application/json"),
        ("otherCurrency", 200, "application/json"),
    ],
)
def test_garble_answers_what_it_should_not(
    faulty: Running, form: str, status: int, content_type: str | None
) -> None:
    faulty.set_fault("garble", form=form, times=1)
    answer = faulty.charge("key")
    assert answer.status_code == status
    assert answer.headers.get("content-type", "").partition(";")[0] == (content_type or "")
    # And the charge itself is as it was asked for
    true = faulty.charge("key").json()
    assert (true["amount"], true["currency"]) == (15000, "KRW")
    assert taken(faulty) == ["key"]
    if form == "otherAmount":
        assert answer.json() == true | {"amount": 15001}
    if form == "otherCurrency":
        assert answer.json() == true | {"currency": "XTS"}
    if form in {"html", "malformed", "empty"}:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            answer.json()


def test_garble_truncates(faulty: Running) -> None:
    faulty.set_fault("garble", form="truncated", times=1)
    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        faulty.charge("key")
    assert taken(faulty) == ["key"]


def test_garble_changes_what_look_up_finds(faulty: Running) -> None:
    faulty.charge("key")
    faulty.set_fault("garble", form="otherAmount", operations=["lookup"])
    found = faulty.client.get("/v1/charges", params={"paymentUID": "payment-1"}).json()
    assert [charge["amount"] for charge in found["data"]] == [15001]


def test_nothing_that_was_meant_to_go_wrong_is_a_bug(faulty: Running) -> None:
    log = faulty.errors.read_text()
    assert "Traceback" not in log
    assert "bug" not in log
    assert "pm_card" not in log


def test_a_refund_that_was_accepted_fails_later_and_can_be_made_anew(faulty: Running) -> None:
    # Given a provider that accepts the next refund, and will fail to carry it out
    faulty.set_fault("refundFailure", seconds=0.2, first="pending", times=1)
    charge = faulty.charge("c").json()["id"]
    # When money is to go back, then it is accepted
    refund = faulty.refund("r1", charge, 15000).json()
    assert refund["status"] == "pending"
    # And fails: look-up says so, the ledger too, and the money is with the shop again
    eventually(lambda: faulty.ledger()["charges"][0]["amountRefunded"] == 0, within=10)
    [found] = faulty.client.get("/v1/refunds", params={"charge": charge}).json()["data"]
    assert found == refund | {"status": "failed"}
    assert [entry["status"] for entry in faulty.ledger()["refunds"]] == ["failed"]
    # And the same key gets its first answer, whereas another one moves money
    assert faulty.refund("r1", charge, 15000).json() == refund
    assert faulty.refund("r2", charge, 15000).json()["status"] == "succeeded"
    assert faulty.struck() == [1]


def test_a_refund_fails_at_its_time_although_the_simulator_was_killed(start: Start) -> None:
    # Given a refund that will fail
    simulator = start('--fault={"kind": "refundFailure", "seconds": 1}')
    charge = simulator.charge("c").json()["id"]
    assert simulator.refund("r", charge, 5000).json()["status"] == "succeeded"
    # When the simulator is killed before, and comes back without that fault
    simulator.kill()
    again = start()
    # Then it fails nonetheless
    eventually(lambda: again.ledger()["refunds"][0]["status"] == "failed", within=10)
