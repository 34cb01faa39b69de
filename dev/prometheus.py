"""Debian's Prometheus, for tests: found, or unpacked into the user's cache without being installed.

Unpacked only, so that the package starts no service; removing the folder removes it.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import filelock
import platformdirs

REMEDY = "install Debian's package prometheus, or run `apt-get update` as root so that it is found"


class NoPrometheus(Exception):
    """There is none, and none can be had; `str()` says why and what to do."""


@dataclass(frozen=True)
class Programs:
    """Where the programs of Prometheus are."""

    prometheus: Path
    promtool: Path


def programs() -> Programs:
    """Return the programs of this machine, else those in the cache, else download them first."""
    found = [shutil.which(name) for name in ("prometheus", "promtool")]
    if all(found):
        return Programs(*(Path(str(path)) for path in found))
    cache = platformdirs.user_cache_path("toyrental") / "prometheus"
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(cache / "lock"):
        unpacked = _cached(cache) or _download(cache)
    return Programs(unpacked / "usr/bin/prometheus", unpacked / "usr/bin/promtool")


def _cached(cache: Path) -> Path | None:
    """Return the newest that was unpacked; a version is there whole or not at all."""
    versions = [path for path in cache.glob("prometheus_*") if path.is_dir()]
    return max(versions, key=lambda path: path.stat().st_mtime, default=None)


def _download(cache: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        folder = Path(scratch)
        _run("apt-get", "download", "prometheus", folder=folder)
        (package,) = folder.glob("prometheus_*.deb")
        _run("dpkg", "-x", str(package), "unpacked", folder=folder)
        target = cache / package.stem
        (folder / "unpacked").rename(target)
        os.utime(target)
    return target


def _run(*command: str, folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NoPrometheus(f"there is no {command[0]} here; {REMEDY}") from None
    except subprocess.CalledProcessError as error:
        raise NoPrometheus(f"{' '.join(command)}: {error.stderr.strip()}; {REMEDY}") from error
