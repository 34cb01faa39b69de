"""Runs Helm."""

import subprocess
from pathlib import Path

from dev.cluster import Cluster
from dev.cluster.console import plain
from dev.helm import HELM


class HelmSays(Exception):
    """Helm refused; `str()` is what it said."""


def helm(
    *arguments: str, values: str = "", cluster: Cluster | None = None, home: Path | None = None
) -> str:
    """Run Helm, on a cluster if one is given, and return what it prints. Raises HelmSays.

    It is told nothing by the environment: neither plugins nor a kubeconfig of the user's count.
    """
    where = [f"--kubeconfig={cluster.kubeconfig}"] if cluster else []
    given = ["--values=-"] if values else []
    answer = subprocess.run(
        [HELM.path(plain()), *arguments, *given, *where],
        input=values,
        env={"HOME": str(home or "/nonexistent")},
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise HelmSays(answer.stderr)
    return answer.stdout
