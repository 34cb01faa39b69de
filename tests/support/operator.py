"""The operator and the simulator as their users have them: processes of their own.

::

    with SimulatorProcess(tmp_path) as simulator, OperatorProcess(cluster, tmp_path) as operator:
        shop.create(objects.gateway("simulator", simulator.url))
        ...
        operator.kill()                    # SIGKILL; `start()` runs it again, as it was
        assert operator.terminate() == 0   # SIGTERM; the exit code
        simulator.kill(); simulator.start()     # on the same port, with the same ledger
        assert simulator.ledger().charges_of(rental) == []

Both are gone when the context ends, and when the test process does, however that ends. What they
logged is in `log`; a conftest.py that imports `pytest_runtest_makereport` from here has the end of
it shown with each test that fails.
"""

import json
import re
import subprocess
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
import pytest

from dev.cluster import Cluster
from tests.support import accounts
from tests.support.api import Json
from tests.support.loopback import NO_TLS
from tests.support.waiting import TookTooLong, eventually
from toyrental.rentals.models import Rental

TOYRENTAL = Path(sys.executable).with_name("toyrental")
LOOPBACK = "http://127.0.0.1:*"

START_SECONDS = 60
STOP_SECONDS = 10
"""How long SIGTERM may take: longer is a fault of the program."""

SHOWN_LINES = 40

_used: dict["Process", None] = {}
"""The processes whose logs say what happened, should the test fail that is running now."""

_LEASH = 'read -r _; kill -9 "$1"'
"""Waits for the end of its standard input, which is the end of us, and then kills."""


class Process:
    """A program that is started, killed, ended and started again."""

    def __init__(self, name: str, directory: Path, *arguments: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.program = TOYRENTAL
        self.arguments: tuple[str, ...] = arguments
        self.log_file = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._leash: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id, while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it wrote so far, in all its runs."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def start(self) -> None:
        """Start it, and return once it says that it is ready."""
        assert not self.running, f"{self.name} runs already"
        seen = len(self.log)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests; they end it in good order
            )
        self._leash = subprocess.Popen(
            ["/bin/sh", "-c", _LEASH, "sh", str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        _used[self] = None
        eventually(
            lambda: self._started(self.log[seen:]),
            within=START_SECONDS,
            explain=lambda: f"{self.name} is not ready:\n{self.log[seen:]}",
        )

    def _started(self, log: str) -> bool:
        if self.ready(log):
            return True
        if not self.running:
            raise DidNotStart(f"{self.name} ended before it was ready:\n{log}")
        return False

    def ready(self, log: str) -> bool:
        """Tell from what it wrote in this run whether it is ready."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it at once, as a power failure would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
        self._ended()

    def terminate(self) -> int:
        """Ask it to end (SIGTERM), and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise TookTooLong(
                f"{self.name} did not end within {STOP_SECONDS} s:\n{self.log}"
            ) from None
        self._ended()
        return code

    def wait(self, within: float = STOP_SECONDS) -> int:
        """Return the exit code of a run that ends by itself."""
        assert self._process is not None
        code = self._process.wait(within)
        self._ended()
        return code

    def _ended(self) -> None:
        if self._leash is not None:
            self._leash.kill()
            self._leash.wait()
            assert self._leash.stdin is not None
            self._leash.stdin.close()
            self._leash = None
        if self._process is not None:
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Kill it if it runs."""
        self.kill()


class DidNotStart(Exception):
    """The program ended before it was ready."""


class OperatorProcess(Process):
    """`toyrental run`: only those namespaces and contexts that are given, or all.

    It runs as the account of the tests' operators, where the cluster has it: with the operator's
    roles and no others. `flags` come last, and so win over the others.
    """

    def __init__(
        self,
        cluster: Cluster,
        directory: Path,
        *flags: str,
        namespaces: Iterable[str] = (),
        contexts: Iterable[str] = (),
        name: str = "operator",
        gateway_endpoints: str = LOOPBACK,
    ) -> None:
        super().__init__(
            name,
            directory,
            "run",
            f"--kubeconfig={accounts.kubeconfig(cluster)}",
            f"--gateway-endpoints={gateway_endpoints}",
            "--log-format=json",
            *_list("--namespaces", namespaces),
            *_list("--contexts", contexts),
            *flags,
        )

    def ready(self, log: str) -> bool:
        said = any(record.get("event") == "ready" for record in records(log))
        return said or re.search(r"\] ready\s*$", log, re.MULTILINE) is not None

    @property
    def records(self) -> list[Json]:
        """What it logged, as JSON."""
        return records(self.log)


class SimulatorProcess(Process):
    """`toyrental simulator` on a free port, which it keeps when it is started again."""

    def __init__(self, directory: Path, *flags: str, name: str = "simulator") -> None:
        super().__init__(name, directory)
        self._ledger = directory / f"{name}-ledger.db"
        self._flags = flags
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self.arguments = (
            "simulator",
            f"--port={self._port}",
            f"--ledger={self._ledger}",
            "--log-format=json",
            *self._flags,
        )
        super().start()

    def ready(self, log: str) -> bool:
        listening = re.search(r'"port": (\d+)', log)
        if listening is not None:
            self._port = int(listening[1])
        return listening is not None

    def ledger(self) -> "Ledger":
        """Return all that was taken and given back. It must be running."""
        books: dict[str, list[dict[str, Any]]] = {}
        with httpx.Client(
            base_url=self.url, timeout=STOP_SECONDS, trust_env=False, verify=NO_TLS
        ) as client:
            for page in ("/ledger", "/ledger/declines"):
                books |= client.get(page).raise_for_status().json()
        return Ledger(books["charges"], books["refunds"], books["declines"])


class Ledger(NamedTuple):
    """The provider's books: money taken, money given back, and cards that said no."""

    charges: list[dict[str, Any]]
    refunds: list[dict[str, Any]]
    declines: list[dict[str, Any]]

    def of(self, rental: Rental) -> "Ledger":
        """Return what is about one rental."""
        return Ledger(*([e for e in book if e["rentalUID"] == rental.uid] for book in self))

    @property
    def taken(self) -> int:
        """How much was taken in all, in minor units."""
        return sum(charge["amount"] for charge in self.charges)

    @property
    def given_back(self) -> int:
        """How much was given back in all, in minor units: what failed was not."""
        return sum(refund["amount"] for refund in self.refunds if refund["status"] != "failed")


def records(log: str) -> list[Json]:
    """Return the lines of a log in JSON; others, and one half written, are left out."""
    whole = log[: log.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def _list(flag: str, values: Iterable[str]) -> list[str]:
    text = ",".join(values)
    return [f"{flag}={text}"] if text else []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the logs with a test that fails."""
    report = yield
    for process in list(_used):
        if report.failed:
            lines = process.log.splitlines()[-SHOWN_LINES:]
            report.sections.append((f"log of the {process.name}", "\n".join(lines)))
        if call.when == "teardown" and not process.running:
            del _used[process]
    return report
