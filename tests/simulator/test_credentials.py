"""API keys: asked for only if there are some, compared, and told to nobody."""

from pathlib import Path

import pytest

from tests.simulator.conftest import Start
from tests.simulator.running import Running, error_of
from tests.simulator.test_command import complaint, run

KEY = "sk_test_canary"
OTHER = "sk_test_other"
PATHS = ("/v1/account", "/v1/charges", "/v1/charges/ch_1", "/v1/refunds")


@pytest.fixture
def guarded(start: Start) -> Running:
    return start(ledger=":memory:", env={"TOYRENTAL_SIMULATOR_API_KEYS": f"{KEY},{OTHER}"})


def status(simulator: Running, key: str, path: str = "/v1/account") -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return simulator.client.get(path, headers=headers).status_code


@pytest.mark.parametrize("path", PATHS)
def test_without_the_right_key_nothing_is_told(guarded: Running, path: str) -> None:
    for sent in (
        b"",
        b"Bearer sk_test_wrong",
        f"Bearer {KEY}x".encode(),
        KEY.encode(),
        b"Bearer",
        b"Basic !",
        b"Basic \xff",
        b"Bearer \xff",
    ):
        answer = guarded.client.get(path, headers={b"Authorization": sent} if sent else None)
        assert answer.status_code == 401
        assert error_of(answer)["code"] == "api_key_invalid"


def test_without_the_right_key_nothing_is_done(guarded: Running) -> None:
    assert guarded.charge("key").status_code == 401
    assert guarded.refund("key", "ch_1", 1).status_code == 401
    # The ledger is for those who test, not for those who pay, and asks for no key
    assert guarded.ledger()["charges"] == []


def test_each_key_is_admitted_in_both_ways(guarded: Running) -> None:
    assert status(guarded, KEY) == status(guarded, OTHER) == 200
    assert guarded.client.get("/v1/account", auth=(KEY, "")).status_code == 200
    assert status(guarded, f"{KEY},{OTHER}") == 401


def test_keys_are_not_told(guarded: Running) -> None:
    status(guarded, KEY)
    status(guarded, "sk_test_wrong")
    assert "sk_test" not in guarded.errors.read_text()


def test_a_key_can_be_replaced_while_it_runs(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n")
    simulator = start(f"--api-key-file={file}")
    assert (status(simulator, KEY), status(simulator, OTHER)) == (200, 401)
    # When the file has another key, as when a secret is rotated
    file.write_text(f"{OTHER}\n\n{OTHER}2\n")
    assert (status(simulator, KEY), status(simulator, OTHER)) == (401, 200)
    # And when it is gone for a moment, nothing changes
    file.unlink()
    assert status(simulator, OTHER) == 200


def test_a_file_of_keys_that_is_missing_or_empty_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    assert "No such file" in complaint(run("--port=0", f"--api-key-file={file}"))
    file.write_text("\n")
    assert "has none" in complaint(run("--port=0", f"--api-key-file={file}"))


def test_the_account_has_the_name_it_was_given(start: Start) -> None:
    simulator = start("--account=acct_other", ledger=":memory:")
    assert simulator.client.get("/v1/account").json()["id"] == "acct_other"
