"""A cluster made by kind in a Docker engine, for those who ask for one."""

import hashlib
import shutil
import subprocess
from pathlib import Path

from rich.console import Console

from .errors import ClusterError
from .layout import Layout, write_private

CONFIG = Path(__file__).parent.parent / "kind" / "config.yaml"


def name(layout: Layout) -> str:
    """Return the cluster's name: kind's are the machine's, so each directory has its own."""
    return "toyrental-" + hashlib.sha256(str(layout.root).encode()).hexdigest()[:8]


def create(layout: Layout, console: Console) -> None:
    """Make the cluster unless it is there, and write its kubeconfig. Raises ClusterError."""
    _require("kind", "install it, or leave CLUSTER unset for an embedded control plane")
    _require("docker", "kind needs a Docker engine; leave CLUSTER unset to do without")
    _run("docker", "info")
    own = name(layout)
    if own not in _run("kind", "get", "clusters").split():
        console.print(f"Making the kind cluster {own}; its node image may have to be pulled first.")
        # Written first: a creation that is interrupted leaves something to delete.
        write_private(layout.kind_name, own.encode())
        _run(
            "kind",
            "create",
            "cluster",
            f"--name={own}",
            f"--config={CONFIG}",
            "--wait=180s",
            f"--kubeconfig={layout.kubeconfig}",
        )
    write_private(layout.kind_name, own.encode())
    write_private(layout.kubeconfig, _run("kind", "get", "kubeconfig", f"--name={own}").encode())


def delete(layout: Layout) -> bool:
    """Delete the cluster that `create` made for this layout; return whether there was one."""
    if not layout.kind_name.exists():
        return False
    own = layout.kind_name.read_text()
    _run("kind", "delete", "cluster", f"--name={own}", f"--kubeconfig={layout.kubeconfig}")
    layout.kind_name.unlink()
    return True


def _require(program: str, advice: str) -> None:
    if shutil.which(program) is None:
        raise ClusterError(f"CLUSTER=kind was asked for, but there is no `{program}`: {advice}.")


def _run(*command: str) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed: {answer.stderr.strip()}")
    return answer.stdout
