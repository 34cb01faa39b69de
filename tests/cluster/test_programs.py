"""Programs that outlive the command that started them are found again, and never mistaken."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from dev.cluster import ClusterError, programs
from dev.cluster.layout import Layout

SAYS_READY = "import signal; print('ready', flush=True); signal.pause()"
REFUSES = "print('no port is free'); raise SystemExit(3)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SAYS_READY


def start(layout: Layout, code: str, name: str = "operator") -> programs.Program:
    command = [sys.executable, "-c", code]
    return programs.start(layout, name, command, {}, ready=lambda said: "ready" in said)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_started_program_is_found_by_another_command_and_stopped(layout: Layout) -> None:
    started = start(layout, SAYS_READY)
    assert programs.running(layout) == [started]
    assert programs.stop(layout) == ["operator"]
    assert not psutil.pid_exists(started.pid)
    assert programs.running(layout) == []
    assert not programs.directory(layout).exists()


def test_a_program_takes_the_place_of_an_earlier_one_and_of_no_other(layout: Layout) -> None:
    simulator = start(layout, SAYS_READY, name="simulator")
    first, second = start(layout, SAYS_READY), start(layout, SAYS_READY)
    assert not psutil.pid_exists(first.pid)
    assert programs.running(layout) == [second, simulator]
    assert programs.stop(layout) == ["operator", "simulator"]


def test_what_cannot_start_says_why_and_leaves_no_record(layout: Layout) -> None:
    with pytest.raises(ClusterError, match="no port is free"):
        start(layout, REFUSES)
    assert programs.running(layout) == []
    assert programs.stop(layout) == []


def test_a_program_that_does_not_listen_is_killed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "STOP_SECONDS", 0.2)
    started = start(layout, DEAF)
    assert programs.stop(layout) == ["operator"]
    assert not psutil.pid_exists(started.pid)


def test_a_process_that_got_the_id_since_is_left_alone(layout: Layout) -> None:
    with subprocess.Popen([sys.executable, "-c", SAYS_READY], stdout=subprocess.PIPE) as other:
        record = {"name": "operator", "pid": other.pid, "command": ["something", "else"]}
        programs.directory(layout).mkdir()
        (programs.directory(layout) / "operator.json").write_text(json.dumps(record))
        assert programs.running(layout) == []
        assert programs.stop(layout) == []
        assert other.poll() is None
        other.kill()


def test_a_record_half_written_is_none(layout: Layout) -> None:
    programs.directory(layout).mkdir()
    (programs.directory(layout) / "operator.json").write_text('{"name": "oper')
    assert programs.stop(layout) == []
