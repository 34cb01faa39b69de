"""Tools in Python that are too heavy for .venv: each in an environment of its own, locked by hash.

`python -m dev.tools sbom` runs one. The environment is made once a machine, in the user's cache
under the hash of its lock (requirements/NAME.txt).
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import filelock
import platformdirs

from dev.cluster.manifests import REPOSITORY

SBOM = REPOSITORY / "dist" / "sbom.json"


def environment(name: str) -> Path:
    """Return the folder of programs of an environment, made now if it was not yet."""
    lock = REPOSITORY / "requirements" / f"{name}.txt"
    cache = platformdirs.user_cache_path("toyrental") / "tools"
    made = cache / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(cache / f"{name}.lock"):
        if not made.exists():
            _make(made, lock)
    return made / "bin"


def _make(made: Path, lock: Path) -> None:
    print(f"Installing {lock.stem} into {made}, pinned by hash: once a machine.", file=sys.stderr)
    uv: list[str | Path] = [sys.executable, "-m", "uv"]
    with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
        unfinished = Path(scratch) / "environment"
        # Its programs name their Python by its path, which changes when the folder is renamed.
        subprocess.run([*uv, "venv", "--quiet", "--relocatable", str(unfinished)], check=True)
        python = str(unfinished / "bin" / "python")
        sync = ["pip", "sync", "--quiet", f"--python={python}", "--require-hashes", str(lock)]
        subprocess.run([*uv, *sync], check=True)
        unfinished.rename(made)


def write_sbom(target: Path = SBOM) -> Path:
    """Write what the image has of Python, as CycloneDX in JSON, and return where."""
    target.parent.mkdir(parents=True, exist_ok=True)
    program = environment("sbom") / "cyclonedx-py"
    run = REPOSITORY / "requirements" / "run.txt"
    flags = ["--output-reproducible", f"--output-file={target}"]
    project = f"--pyproject={REPOSITORY / 'pyproject.toml'}"
    subprocess.run([program, "requirements", *flags, project, run], check=True)
    return target


if __name__ == "__main__":
    if sys.argv[1:] != ["sbom"]:
        sys.exit("usage: python -m dev.tools sbom")
    print(f"wrote {write_sbom().relative_to(REPOSITORY)}")
