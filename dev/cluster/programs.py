"""Programs that outlive the command that started them: simulator and operator of `make demo`.

Each is on record in the state directory, with its log beside it, so that `down` ends it too. A
process id may have been given to somebody else since, so a process is ours only when its command
line is the recorded one; that one names files of this very state directory.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from .errors import ClusterError
from .layout import Layout

START_SECONDS = 60
STOP_SECONDS = 10
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Program:
    """A program on record."""

    name: str
    pid: int
    command: list[str]

    def process(self) -> psutil.Process | None:
        """Return its process while it runs; a zombie does not."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if process.cmdline() == self.command:
                return process
        return None


def directory(layout: Layout) -> Path:
    """Return where the records, logs and data of programs are."""
    return layout.root / "processes"


def log(layout: Layout, name: str) -> Path:
    """Return the file that a program writes its output to."""
    return directory(layout) / f"{name}.log"


def start(
    layout: Layout,
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    ready: Callable[[str], bool],
) -> Program:
    """Start a program, in place of one of its name, and wait until `ready` says so of its output.

    When that fails or is interrupted, it is gone again. Raises ClusterError with its last words.
    """
    directory(layout).mkdir(parents=True, exist_ok=True)
    _end(program for program in _recorded(layout) if program.name == name)
    program = Program(name, _spawn(command, environment, log(layout, name)), list(command))
    process = psutil.Process(program.pid)
    try:
        _record(layout, name).write_text(json.dumps(asdict(program), indent=2) + "\n")
        _wait_until_ready(layout, name, process, ready)
    except BaseException:
        process.kill()
        process.wait()
        _record(layout, name).unlink(missing_ok=True)
        raise
    return program


def running(layout: Layout) -> list[Program]:
    """Return the programs on record that run."""
    return [program for program in _recorded(layout) if program.process() is not None]


def stop(layout: Layout) -> list[str]:
    """End them all, remove their records, logs and data, and return the names of those that ran."""
    ending = running(layout)
    _end(ending)
    shutil.rmtree(directory(layout), ignore_errors=True)
    return sorted(program.name for program in ending)


def _end(programs: Iterable[Program]) -> None:
    processes = [process for program in programs if (process := program.process())]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=STOP_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


def _record(layout: Layout, name: str) -> Path:
    return directory(layout) / f"{name}.json"


def _recorded(layout: Layout) -> Iterator[Program]:
    for path in sorted(directory(layout).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):  # one half written is none
            yield Program(**json.loads(path.read_text()))


def _spawn(command: Sequence[str], environment: Mapping[str, str], output: Path) -> int:
    """Start a process that is nobody's to wait for: `Popen` would want to see its end."""
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), write, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # In a session of its own: Ctrl-C is for the command that starts it.
    return os.posix_spawn(command[0], list(command), environment, file_actions=files, setsid=True)


def _wait_until_ready(
    layout: Layout, name: str, process: psutil.Process, ready: Callable[[str], bool]
) -> None:
    deadline = time.monotonic() + START_SECONDS
    said = ""
    while not ready(said):
        ended = process.status() == psutil.STATUS_ZOMBIE
        said = log(layout, name).read_text(errors="replace")
        if ended and not ready(said):
            raise ClusterError(f"The {name} could not be started. It said:\n{_last_lines(said)}")
        if time.monotonic() > deadline:
            raise ClusterError(
                f"The {name} was not ready within {START_SECONDS} s. It said:\n{_last_lines(said)}"
            )
        time.sleep(POLL_SECONDS)


def _last_lines(said: str) -> str:
    return "\n".join(said.splitlines()[-8:])
