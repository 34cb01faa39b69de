"""Building programs from Go modules: once, whole, and with progress a person can follow."""

import threading
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dev.cluster import golang, progress


@pytest.fixture
def module(tmp_path: Path) -> Path:
    for name in ("main.go", "go.mod", "go.sum"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_the_hash_is_the_same_for_the_same_content(module: Path) -> None:
    assert golang.content_hash(module) == golang.content_hash(module)


@pytest.mark.parametrize("name", ["main.go", "go.mod", "go.sum", "new.go"])
def test_the_hash_changes_with_whatever_is_compiled(module: Path, name: str) -> None:
    before = golang.content_hash(module)
    (module / name).write_text("changed")
    assert golang.content_hash(module) != before


def test_the_hash_is_of_names_and_contents_not_just_of_all_the_text(module: Path) -> None:
    (module / "a.go").write_text("one")
    before = golang.content_hash(module)
    (module / "a.go").rename(module / "b.go")
    assert golang.content_hash(module) != before


@pytest.mark.parametrize(
    ("said", "version"),
    [("go1.26.8\n", (1, 26)), ("go1.27rc1", (1, 27)), ("devel +abc", (0, 0)), ("", (0, 0))],
)
def test_go_versions_are_compared_as_numbers(said: str, version: tuple[int, int]) -> None:
    assert golang.parse_go_version(said) == version


def test_the_hash_changes_with_the_flags(module: Path) -> None:
    assert golang.content_hash(module, ["-trimpath"]) != golang.content_hash(module, ["-race"])


def test_two_builds_at_once_are_one(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = []

    def slow_build(_program: golang.GoProgram, built: Path, _console: Console) -> None:
        builds.append(built)
        time.sleep(0.2)
        built.parent.mkdir()
        built.touch()

    monkeypatch.setattr(golang, "cache", lambda: tmp_path)
    monkeypatch.setattr(golang, "_build", slow_build)
    program = golang.GoProgram("tool", "A tool", "1.0", module, flags=())
    console = Console(file=StringIO())
    threads = [threading.Thread(target=program.path, args=(console,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builds == [program.path(console)]


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    out = StringIO()
    with progress.BuildProgress(Console(file=out, width=200), total=4) as shown:
        for package in ("internal/abi", "k8s.io/api/core/v1", "gopkg.in/inf.v0"):
            now += 15
            assert shown.saw(package)
        assert not shown.saw("go: downloading k8s.io/api v0.37.2")
        assert not shown.saw("./main.go:19:4: could not import x")
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert lines[0].startswith("0 of 4 packages compiled, 0 s so far, about ")
    assert lines[1].startswith("2 of 4 packages compiled, 30 s so far, about ")
    assert lines[2:] == ["compiled and linked in 45 s"]


def test_the_time_left_trusts_this_machine_more_the_further_it_got() -> None:
    assert progress.seconds_left(0, 2700, elapsed=0, cores=2) == pytest.approx(360, rel=0.1)
    slow = progress.seconds_left(2600, 2700, elapsed=2600, cores=2)
    assert slow == pytest.approx(100, rel=0.1)
