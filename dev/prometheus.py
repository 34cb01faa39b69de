"""Prometheus: this machine's, else Debian's, unpacked."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from dev import debian


@dataclass(frozen=True)
class Programs:
    """Where the programs of Prometheus are."""

    prometheus: Path
    promtool: Path


def programs() -> Programs:
    """Return the programs; without any on this machine they are downloaded. Raises NotToBeHad."""
    found = [shutil.which(name) for name in ("prometheus", "promtool")]
    if all(found):
        return Programs(*(Path(str(path)) for path in found))
    folder = debian.unpacked("prometheus") / "usr/bin"
    return Programs(folder / "prometheus", folder / "promtool")
