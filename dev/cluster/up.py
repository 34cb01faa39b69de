"""Brings up the cluster that a person works on, and that goes on after the command that did it."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from . import build, manifests, processes, programs
from .cluster import Cluster
from .controlplane import ControlPlane
from .errors import ClusterError
from .select import Choice, adopt, choose


def bring_up(state_dir: Path, *, apply: Sequence[Path], console: Console) -> Cluster:
    """Start the chosen cluster, or find it up, with `apply` applied. Raises ClusterError.

    An embedded one may have to be built first, which shows its progress.
    """
    choice = choose(os.environ)
    control_plane = ControlPlane(state_dir, apply=apply, console=console)
    _refuse_a_mixture(choice, control_plane)
    if choice.kind == "embedded":
        return _start(control_plane, console)
    cluster = adopt(choice, control_plane.layout, console)
    manifests.apply(cluster, apply)
    console.print(f"Using the cluster at {cluster.server}.")
    return cluster


def _start(control_plane: ControlPlane, console: Console) -> Cluster:
    before = control_plane.status()
    if before.up:
        cluster = control_plane.start()
        manifests.apply(cluster, control_plane.apply)
        console.print(f"The control plane is up already, at {cluster.server}.")
        return cluster
    build.program(console)  # may take minutes, and shows its own progress
    programs.stop(control_plane.layout)  # they were for a control plane that is gone
    started = time.monotonic()
    with console.status("Starting the control plane"):
        cluster = control_plane.start()
    console.print(
        f"The control plane is ready at {cluster.server}, after {time.monotonic() - started:.1f} s."
    )
    return cluster


def _refuse_a_mixture(choice: Choice, control_plane: ControlPlane) -> None:
    """Each state directory has one cluster at a time, so that `down` knows what to take down."""
    layout = control_plane.layout
    embedded = bool(processes.find(layout))
    made_by_kind = layout.kind_name.exists()
    if (embedded and choice.kind != "embedded") or (made_by_kind and choice.kind != "kind"):
        other = "An embedded control plane" if embedded else "A kind cluster"
        raise ClusterError(f"{other} is up in {layout.root}: take it down first by `make down`.")
