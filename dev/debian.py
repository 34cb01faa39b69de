"""Debian's packages, for tests and pictures: unpacked into the user's cache, not installed.

So a package starts no service, needs no root, and is gone with its folder.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import filelock
import platformdirs

PATIENCE_SECONDS = 300


class NotToBeHad(Exception):
    """A program is not here, and cannot be had; `str()` says why and what to do."""


def unpacked(package: str, *, with_needs: bool = False) -> Path:
    """Return where a package is unpacked; the first time it is downloaded.

    With `with_needs` also what it depends on and this machine lacks. Raises NotToBeHad.
    """
    cache = platformdirs.user_cache_path("toyrental") / package
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(cache / "lock"):
        return _cached(cache, package) or _download(cache, package, with_needs=with_needs)


def _cached(cache: Path, package: str) -> Path | None:
    """Return the newest that was unpacked; a version is there whole or not at all."""
    versions = [path for path in cache.glob(f"{package}_*") if path.is_dir()]
    return max(versions, key=lambda path: path.stat().st_mtime, default=None)


def _download(cache: Path, package: str, *, with_needs: bool) -> Path:
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        folder = Path(scratch)
        try:
            _fetch(folder, package, (), with_needs=with_needs)
        except NotToBeHad:
            # A fresh machine knows of no packages, or only of older ones.
            lists = _own_lists(folder)
            _run("apt-get", *lists, "update")
            _fetch(folder, package, lists, with_needs=with_needs)
        for archive in folder.glob("*.deb"):
            _run("dpkg", "-x", archive.name, "unpacked", of=folder)
        (main,) = folder.glob(f"{package}_*.deb")
        target = cache / main.stem
        (folder / "unpacked").rename(target)
        target.touch()
    return target


def _fetch(folder: Path, package: str, flags: Sequence[str], *, with_needs: bool) -> None:
    wanted = [package]
    if with_needs:
        told = _run("apt-get", *flags, *_WOULD_INSTALL, package)
        lines = (line.split() for line in told.splitlines())
        wanted = [words[1] for words in lines if words[:1] == ["Inst"]]
    _run("apt-get", *flags, "download", *wanted, of=folder)


_WOULD_INSTALL = ("install", "--simulate", "--no-install-recommends")


def _own_lists(folder: Path) -> Sequence[str]:
    """Return how apt is told to keep what it knows of packages here, which needs no root."""
    (folder / "lists" / "partial").mkdir(parents=True)
    settings = (f"Dir::State::lists={folder / 'lists'}", *_NO_CACHES, "Acquire::http::Timeout=20")
    return [word for setting in settings for word in ("-o", setting)]


_NO_CACHES = ("Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=")


def _run(*command: str, of: Path | None = None) -> str:
    remedy = "install the program itself"
    try:
        done = subprocess.run(
            command, cwd=of, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
    except FileNotFoundError:
        raise NotToBeHad(f"there is no {command[0]} here; {remedy}") from None
    except subprocess.CalledProcessError as error:
        raise NotToBeHad(f"{' '.join(command)}: {error.stderr.strip()}; {remedy}") from error
    except subprocess.TimeoutExpired as error:
        raise NotToBeHad(f"{error}; {remedy}") from error
    return done.stdout
