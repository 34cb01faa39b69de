from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulator.running import Running

Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start simulators, all on one ledger file unless told; they end with the test."""
    started: list[Running] = []

    def start_one(
        *options: str,
        ledger: Path | str = tmp_path / "ledger.db",
        env: dict[str, str] | None = None,
    ) -> Running:
        started.append(Running(ledger, tmp_path / "errors.log", *options, env=env))
        return started[-1]

    yield start_one
    for one in started:
        one.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Give one simulator to all tests of a module: those that only look at their own keys."""
    running = Running(":memory:", tmp_path_factory.mktemp("simulator") / "errors.log")
    yield running
    running.close()


@pytest.fixture
def simulator(start: Start) -> Running:
    """Give a simulator whose ledger is empty."""
    return start(ledger=":memory:")


@pytest.fixture(scope="module")
def shared_faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    errors = tmp_path_factory.mktemp("simulator") / "errors.log"
    running = Running(":memory:", errors, "--admin-port=0")
    yield running
    running.close()


@pytest.fixture
def faulty(shared_faulty: Running) -> Running:
    """Give a simulator that takes faults; it has none, and an empty ledger."""
    answer = shared_faulty.admin.post("/reset", json={"ledger": True})
    assert answer.status_code == 204
    return shared_faulty
