"""The admin API and the options of the command line that set faults."""

import json
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.conftest import Start
from tests.simulator.running import Running, charge_of, error_of
from tests.simulator.test_bad_input import JSON_VALUES
from tests.simulator.test_command import complaint, run
from toyrental.simulator.fault_kinds import FaultInvalidError, parse


def test_a_fault_is_set_shown_and_removed(faulty: Running) -> None:
    # When a fault is set
    fault = faulty.set_fault("error", status=502, operations=["charge"])
    # Then it is shown with all that applies to it
    assert fault == {
        "id": "f1",
        "state": "active",
        "struck": 0,
        "kind": "error",
        "from": 0,
        "operations": ["charge"],
        "probability": 1,
        "seed": 1,
        "when": "before",
        "status": 502,
    }
    assert faulty.faults() == [fault]
    faulty.charge("key")
    assert faulty.faults() == [fault | {"struck": 1}]
    # And when it is removed, it is gone, and no other
    other = faulty.set_fault("drop", operations=["refund"])
    assert faulty.admin.delete("/faults/f1").status_code == 204
    assert faulty.faults() == [other]
    assert faulty.charge("key").status_code == 200
    # And a second time it is not there
    answer = faulty.admin.delete("/faults/f1")
    assert answer.status_code == 404
    assert error_of(answer)["code"] == "fault_unknown"


def test_all_faults_are_removed_at_once(faulty: Running) -> None:
    faulty.set_fault("error")
    faulty.set_fault("outage")
    assert faulty.admin.delete("/faults").status_code == 204
    assert faulty.faults() == []
    assert faulty.charge("key").status_code == 200


def test_reset_forgets_faults_and_the_ledger_only_when_told(faulty: Running) -> None:
    charge = faulty.charge("key").json()["id"]
    faulty.refund("refund", charge, 1)
    faulty.charge("declined", method="pm_card_chargeDeclined")
    faulty.set_fault("outage")
    assert faulty.admin.post("/reset").status_code == 204
    assert faulty.faults() == []
    assert len(faulty.ledger()["charges"]) == 1
    assert faulty.admin.post("/reset", json={"ledger": True}).status_code == 204
    assert faulty.ledger() == {"charges": [], "refunds": [], "declines": []}
    assert "idempotent-replayed" not in faulty.charge("key").headers
    assert faulty.admin.post("/reset", json={"legder": True}).status_code == 400


def test_reset_lets_go_of_requests_that_wait_and_they_move_no_money(faulty: Running) -> None:
    faulty.set_fault("latency", fixed=600)
    with pytest.raises(httpx.ReadTimeout):
        faulty.client.post(
            "/v1/charges",
            headers={"Idempotency-Key": "key"},
            json=charge_of(),
            timeout=httpx.Timeout(30, read=0.3),
        )
    assert faulty.admin.post("/reset").status_code == 204
    assert faulty.ledger()["charges"] == []
    assert faulty.charge("key").status_code == 200


def test_the_admin_api_is_on_its_own_port_and_off_unless_asked_for(
    faulty: Running, shared: Running
) -> None:
    assert faulty.client.get("/faults").status_code == 404
    assert faulty.admin.get("/v1/account").status_code == 404
    assert "adminUrl" not in json.loads(shared.first_line)
    said = json.loads(faulty.first_line)
    assert said["adminUrl"].startswith("http://127.0.0.1:")
    assert said["adminUrl"] != said["url"]
    assert httpx.get(f"{said['adminUrl']}/healthz").json() == {"status": "ok"}


def test_for_people_both_addresses_are_sentences(start: Start) -> None:
    simulator = start("--admin-port=0", "--log-format=text", ledger=":memory:")
    assert simulator.first_line.startswith("Payment simulator listening on http://127.0.0.1:")
    assert simulator.next_line().startswith("Admin API listening on http://127.0.0.1:")


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ("[]", "A fault is a JSON object"),
        ("{", "not JSON"),
        ("[" * 5000, "not JSON"),
        ("{}", "kind: name one of refuse, latency, "),
        ('{"kind": "explode"}', "kind: name one of"),
        ('{"kind": 1}', "kind: name one of"),
        (
            '{"kind": "drop", "tims": 1}',
            "tims: drop has no such field; it has from, for, operations, ",
        ),
        ('{"kind": "drop", "payment_uid": "p"}', "payment_uid: drop has no such field"),
        ('{"kind": "drop", "times": 0}', "times: "),
        ('{"kind": "drop", "probability": 1.5}', "probability: "),
        ('{"kind": "drop", "probability": 0}', "probability: "),
        ('{"kind": "drop", "operations": ["pay"]}', "operations.0: "),
        ('{"kind": "drop", "from": -1}', "from: "),
        ('{"kind": "drop", "for": 0}', "for: "),
        ('{"kind": "decline", "operations": ["refund"]}', "refund cannot be struck by decline"),
        ('{"kind": "lookupLag", "seconds": 1, "method": "pm_card_visa"}', "carries method"),
        (
            '{"kind": "drop", "operations": ["lookup"], "rentalUID": "r"}',
            "no request for lookup carries rentalUID",
        ),
        ('{"kind": "refuse", "probability": 0.5}', "refuse has no such field; it has from, for"),
        ('{"kind": "latency"}', "exactly one of fixed, uniform, lognormal and percentiles"),
        ('{"kind": "latency", "fixed": 1, "uniform": {"min": 1, "max": 2}}', "exactly one"),
        ('{"kind": "latency", "uniform": {"min": 2, "max": 1}}', "max is less than min"),
        ('{"kind": "latency", "lognormal": {"median": 2, "p99": 1}}', "p99 is less than median"),
        ('{"kind": "latency", "percentiles": {"p50": 1}}', 'write {"50": 0.2, "99": 3}'),
        ('{"kind": "latency", "percentiles": {}}', "name at least one"),
        ('{"kind": "latency", "percentiles": {"50": 2, "99": 1}}', "must not be fewer seconds"),
        ('{"kind": "latency", "percentiles": {"NaN": 2}}', "each from 0 to 100"),
        ('{"kind": "error", "status": 200}', "status: "),
        ('{"kind": "decline", "declineCode": "bad_luck"}', "known are generic_decline, "),
        ('{"kind": "keyExpiry"}', "keyLifeSeconds: keyExpiry needs it"),
        ('{"kind": "garble", "form": "zip"}', "form: Input should be 'html'"),
    ],
)
def test_a_bad_definition_is_told_what_is_wrong_and_where(
    faulty: Running, definition: str, said: str
) -> None:
    answer = faulty.admin.post(
        "/faults", content=definition, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["code"] == "fault_invalid"
    assert said in error["message"]
    assert faulty.faults() == []


def test_there_is_a_limit_to_faults(faulty: Running) -> None:
    for _ in range(100):
        faulty.set_fault("drop", operations=["refund"], times=1)
    answer = faulty.admin.post("/faults", json={"kind": "drop"})
    assert answer.status_code == 400
    assert "remove some first" in error_of(answer)["message"]


@settings(max_examples=300, deadline=None)
@given(
    definition=st.binary(max_size=50)
    | st.dictionaries(
        st.sampled_from(["kind", "operations", "times", "from", "fixed", "percentiles", "status"]),
        JSON_VALUES | st.sampled_from(["drop", "latency", "refuse", "error"]),
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_is_given_the_answer_is_a_fault_or_a_clear_error(definition: bytes) -> None:
    said = "."
    try:
        parse(definition)
    except FaultInvalidError as error:
        said = str(error)
    assert said.endswith(".")


def test_faults_can_be_set_at_the_start(start: Start) -> None:
    simulator = start(
        '--fault={"kind": "error", "times": 1}',
        "--fault",
        '{"kind": "rateLimit", "times": 1, "operations": ["charge"]}',
        "--admin-port=0",
    )
    statuses = [simulator.charge("key").status_code for _ in range(3)]
    assert statuses == [429, 500, 200]
    assert simulator.struck() == [1, 1]


def test_a_window_may_be_open_at_the_start(start: Start) -> None:
    simulator = start('--fault={"kind": "refuse"}', "--admin-port=0")
    with pytest.raises(httpx.ConnectError):
        simulator.charge("key")
    simulator.admin.delete("/faults")
    assert simulator.charge("key").status_code == 200


def test_a_bad_fault_at_the_start_is_one_sentence() -> None:
    said = complaint(run("--port=0", '--fault={"kind": "drop"}', '--fault={"kind": "dorp"}'))
    assert said.startswith("Error: --fault number 2: kind: name one of refuse, latency, ")


def test_an_admin_port_in_use_is_one_sentence(faulty: Running, tmp_path: Path) -> None:
    port = httpx.URL(json.loads(faulty.first_line)["adminUrl"]).port
    said = complaint(run("--port=0", f"--admin-port={port}", f"--ledger={tmp_path / 'l.db'}"))
    assert f"port {port}: Address already in use. Choose another port with --admin-port" in said
    assert not list(tmp_path.iterdir())
