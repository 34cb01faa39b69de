import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.simulator.conftest import Start
from tests.simulator.running import ENDED_SECONDS, TOYRENTAL
from toyrental.simulator.ledger import Ledger


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOYRENTAL, "simulator", *options],
        capture_output=True,
        text=True,
        timeout=ENDED_SECONDS,
        check=False,
    )


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """Give the one line that a failed start says."""
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    return lines[0]


def test_the_first_line_says_where_it_listens(start: Start, tmp_path: Path) -> None:
    simulator = start()
    said = json.loads(simulator.first_line)
    assert said["event"] == "listening"
    assert said["url"] == f"http://127.0.0.1:{said['port']}"
    assert said["ledger"] == str(tmp_path / "ledger.db")
    assert httpx.get(f"{said['url']}/healthz").status_code == 200


def test_for_people_the_first_line_is_a_sentence(tmp_path: Path) -> None:
    with subprocess.Popen(
        [TOYRENTAL, "simulator", "--port=0", "--ledger=:memory:"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert re.fullmatch(
            r"Payment simulator listening on http://127\.0\.0\.1:\d+ \(ledger: :memory:\)\n", line
        )
        # And Ctrl-C is a normal end
        process.send_signal(signal.SIGINT)
        assert process.wait(ENDED_SECONDS) == 0
    assert list(tmp_path.iterdir()) == []


def test_help_explains_the_options_and_their_variables() -> None:
    result = subprocess.run(
        [TOYRENTAL, "simulator", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "120", "TERM": "dumb"},
    )
    for name in (
        *("PORT", "LEDGER", "HOST", "LOG_FORMAT", "LOG_LEVEL", "ACCESS_LOG", "ADMIN_PORT"),
        *("ADMIN_HOST", "ACCOUNT", "API_KEY_FILE", "API_KEYS", "WEBHOOK_URL", "WEBHOOK_SECRET"),
        *("WEBHOOK_SECRET_FILE", "WEBHOOK_ANYWHERE"),
    ):
        assert f"TOYRENTAL_SIMULATOR_{name}" in result.stdout


def test_the_command_line_does_not_import_the_server() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, toyrental.simulator.command; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"starlette", "uvicorn", "pydantic", "sqlite3", "httpx"} & set(loaded)


def test_a_port_in_use_is_one_sentence() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        said = complaint(run(f"--port={port}", "--ledger=:memory:"))
    assert f"port {port}: Address already in use" in said


def test_a_host_that_does_not_exist_is_one_sentence() -> None:
    assert "Cannot listen on nowhere.invalid" in complaint(
        run("--host=nowhere.invalid", "--port=0", "--ledger=:memory:")
    )


def test_a_port_that_is_none_is_a_wrong_use() -> None:
    assert run("--port=70000").returncode == 2


def test_a_ledger_in_no_directory_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "ledger.db"
    assert f"The ledger {path} cannot be used" in complaint(run("--port=0", f"--ledger={path}"))


def test_a_ledger_that_is_a_directory_is_one_sentence(tmp_path: Path) -> None:
    assert "cannot be used" in complaint(run("--port=0", f"--ledger={tmp_path}"))


def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear aunt, " * 100)
    assert "file is not a database" in complaint(run("--port=0", f"--ledger={path}"))
    assert path.read_text() == "Dear aunt, " * 100


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE accounts (id)")
    before = path.read_bytes()
    assert "database of another program" in complaint(run("--port=0", f"--ledger={path}"))
    assert path.read_bytes() == before


def test_a_ledger_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(str(path)).close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    assert "version 99" in complaint(run("--port=0", f"--ledger={path}"))


@pytest.mark.parametrize("journal", ["", "-wal", "-shm"])
def test_a_clean_end_leaves_one_file(start: Start, tmp_path: Path, journal: str) -> None:
    simulator = start()
    simulator.charge("key")
    simulator.ask_to_end()
    assert simulator.wait() == 0
    assert (tmp_path / f"ledger.db{journal}").exists() == (journal == "")
