"""The operator and the simulator as processes of their own, and what any process has used."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from dev.cluster import manifests

from .errors import BenchError

TOYRENTAL = Path(sys.executable).parent / "toyrental"
STOP_SECONDS = 15
START_SECONDS = 30


@dataclass(frozen=True)
class Simulator:
    """A payment simulator that runs."""

    url: str
    pid: int
    admin_url: str = ""
    """Where faults are set, if it takes any."""


def brought() -> list[Path]:
    """Return what the product brings to a cluster: CRDs, policies and roles."""
    return manifests.present()


@contextlib.contextmanager
def operator(kubeconfig: Path, log: Path, *flags: str) -> Iterator[int]:
    """Run the operator as users do, with JSON logs to a file; give its process id."""
    command = [
        *("run", "--kubeconfig", str(kubeconfig), "--gateway-endpoints", "http://127.0.0.1:*"),
        *("--log-format", "json"),
        *flags,
    ]
    with _running(command, log) as process:
        yield process.pid


@contextlib.contextmanager
def simulator(folder: Path) -> Iterator[Simulator]:
    """Run the payment simulator on a free port, its ledger in a file."""
    ledger, log = folder / "ledger.db", folder / "simulator.log"
    command = ["simulator", "--port", "0", "--ledger", str(ledger), "--log-level", "warning"]
    with _running(command, log) as process:
        yield Simulator(_addresses(process, log, 1)[0], process.pid)


@contextlib.contextmanager
def faulty_simulator(folder: Path, *more: str) -> Iterator[Simulator]:
    """Run a payment simulator that takes faults."""
    ledger, log = folder / "ledger.db", folder / "simulator.log"
    flags = ("--port", "0", "--admin-port", "0", "--log-level", "error")
    with _running(["simulator", "--ledger", str(ledger), *flags, *more], log) as process:
        url, admin_url = _addresses(process, log, 2)
        yield Simulator(url, process.pid, admin_url)


@contextlib.contextmanager
def _running(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(TOYRENTAL), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us; we stop it
        )
    try:
        yield process
        if process.poll() is not None:
            raise BenchError(
                f"`toyrental {arguments[0]}` ended by itself with {process.returncode}:\n"
                + log.read_text(errors="replace")[-2000:]
            )
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _addresses(process: subprocess.Popen[bytes], log: Path, count: int) -> list[str]:
    """Return where a program says that it listens, once it has said so of so many addresses."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        told = log.read_text(errors="replace")
        found = [word for word in told.split() if word.startswith("http://")]
        if len(found) >= count and told.endswith("\n"):
            return found
        time.sleep(0.05)
    raise BenchError(f"the simulator did not start:\n{log.read_text(errors='replace')[-2000:]}")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used since it began, user and system."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def own_cpu_seconds() -> float:
    """Return the CPU time used so far by this process and by all that it started, ended or not."""
    me = psutil.Process()
    ended = me.cpu_times()
    used = ended.user + ended.system + ended.children_user + ended.children_system
    for child in me.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            used += cpu_seconds(child.pid)
    return used


def machine_cpu_seconds() -> float:
    """Return the CPU time that all processes of the machine, and its neighbours, have used."""
    times = psutil.cpu_times()
    busy = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(getattr(times, name, 0.0) for name in busy))


def memory_mib(pid: int) -> tuple[float, float]:
    """Return the most memory a process ever had resident, and what it has now, in MiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        raise BenchError("memory is measured by /proc, which only Linux has") from None
    fields = dict(line.split(":", 1) for line in lines)
    most, now = (int(fields[name].split()[0]) / 1024 for name in ("VmHWM", "VmRSS"))
    return most, now
