"""Builds the image without a registry of images: on a base made of Debian's packages.

That needs root, and Debian's buildah, mmdebstrap and runc. The base is kept in the user's cache.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import platformdirs
import pytest

from dev.cluster.manifests import REPOSITORY

TOOLS = ("buildah", "mmdebstrap", "runc")
SUITE = "bookworm"
PACKAGES = ("python3", "python3-pip", "python3-venv", "ca-certificates")
PYTHON = "3.11"
"""What the suite has."""


def tools_or_skip() -> None:
    """Skip the test, saying what is missing, where no image can be built."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here: apt-get install {' '.join(TOOLS)}")
    if os.geteuid() != 0:
        pytest.skip("images are built as root")


def base() -> Path:
    """Return the root file system of the base as a tar file, made now if it was not yet."""
    cache = platformdirs.user_cache_path("toyrental") / "image"
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / f"{SUITE}-{'-'.join(PACKAGES)}.tar"
    with filelock.FileLock(cache / "lock"):
        if not made.exists():
            unfinished = cache / "unfinished.tar"
            included = f"--include={','.join(PACKAGES)}"
            run("mmdebstrap", "--quiet", "--variant=minbase", included, SUITE, str(unfinished))
            unfinished.rename(made)
    return made


def wheels(target: Path) -> None:
    """Download what the image needs, checked by hash, for the Python of the base."""
    shutil.rmtree(target, ignore_errors=True)
    platforms = [f"--platform=manylinux{tag}_{platform.machine()}" for tag in ("2014", "_2_28")]
    for name in ("build", "run"):
        locked = REPOSITORY / "requirements" / f"{name}.txt"
        run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes"),
            *("--only-binary=:all:", f"--python-version={PYTHON}", *platforms),
            *(f"--dest={target}", f"--requirement={locked}"),
        )


@dataclass(frozen=True)
class Builder:
    """buildah, with a storage of its own that is gone with the directory."""

    directory: Path

    def buildah(self, *arguments: str) -> str:
        """Run buildah."""
        storage = [f"--root={self.directory}/root", f"--runroot={self.directory}/run"]
        return run("buildah", *storage, *arguments)

    def import_base(self, name: str) -> None:
        """Make an image of the base."""
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, str(base()), "/")
        self.buildah("commit", "--quiet", "--rm", container, name)

    def build(self, name: str, context: Path, **arguments: str) -> None:
        """Build the Dockerfile of a context without any network."""
        given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        alone = ["--network=none", "--pull-never", "--isolation=oci", "--runtime=runc"]
        self.buildah("bud", "--quiet", *alone, *given, f"--tag={name}", str(context))

    def config(self, name: str) -> Mapping[str, Any]:
        """Return the configuration of an image, as the OCI defines it."""
        content = json.loads(self.buildah("inspect", "--type=image", name))
        config: Mapping[str, Any] = content["OCIv1"]["config"]
        return config

    def unpack(self, name: str) -> Path:
        """Return the root file system of an image as a folder."""
        container = self.buildah("from", "--pull-never", name).strip()
        return Path(self.buildah("mount", container).strip())

    def remove(self) -> None:
        """Unmount and remove everything."""
        self.buildah("umount", "--all")
        self.buildah("rm", "--all")
        shutil.rmtree(self.directory, ignore_errors=True)


def context(target: Path) -> Path:
    """Return a copy of what the image is built from, wheels included."""
    for name in ("operator", "requirements"):
        shutil.copytree(
            REPOSITORY / name, target / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, target)
    wheels(target / "dist" / "wheels")
    return target


def run(*command: str) -> str:
    """Run a program and return what it prints; fail with what it said."""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{' '.join(command)}:\n{answer.stderr[-3000:]}"
    return answer.stdout


def isolated(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of an image as its user, with no network, on files that cannot be written."""
    script = (
        'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"'
        ' && exec chroot --userspec=65532:65532 "$0" "$@"'
    )
    return subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", script, root, *command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
