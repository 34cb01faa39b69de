"""Brings up the cluster that a person works on, and that goes on after the command that did it."""

import os
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from rich.console import Console

from . import build, manifests, processes, programs
from .cluster import Cluster
from .controlplane import ControlPlane
from .errors import ClusterError
from .oidc import Provider
from .select import Choice, adopt, choose


class Auth(StrEnum):
    """How people sign in to the cluster that is brought up."""

    TOKEN = "token"  # noqa: S105 -- the administrator only, by the token in the kubeconfig
    OIDC = "oidc"


def bring_up(
    state_dir: Path, *, apply: Sequence[Path], console: Console, auth: Auth = Auth.TOKEN
) -> Cluster:
    """Start the chosen cluster, or find it up, with `apply` applied. Raises ClusterError.

    An embedded one may have to be built first, which shows its progress. With `Auth.OIDC` its
    people sign in at a provider of its own, and have a context each in the kubeconfig.
    """
    choice = choose(os.environ)
    control_plane = ControlPlane(state_dir, apply=apply, console=console)
    _refuse_a_mixture(choice, control_plane)
    provider = Provider(control_plane.layout) if auth is Auth.OIDC else None
    if choice.kind == "embedded":
        return _start(control_plane, provider, console)
    if provider:
        raise ClusterError(
            "AUTH=oidc is for the embedded control plane. How people sign in to a cluster that "
            "others run is set there: docs/how-to/sign-in.md."
        )
    cluster = adopt(choice, control_plane.layout, console)
    manifests.apply(cluster, apply)
    console.print(f"Using the cluster at {cluster.server}.")
    return cluster


def _start(control_plane: ControlPlane, provider: Provider | None, console: Console) -> Cluster:
    before = control_plane.status()
    if before.up:
        _sign_in_again(provider, console)
        cluster = control_plane.start()
        manifests.apply(cluster, control_plane.apply)
        console.print(f"The control plane is up already, at {cluster.server}.")
        return cluster
    build.program(console)  # may take minutes, and shows its own progress
    programs.stop(control_plane.layout)  # they were for a control plane that is gone
    try:
        if provider:
            _trust(control_plane, provider, console)
        started = time.monotonic()
        with console.status("Starting the control plane"):
            cluster = control_plane.start()
    except BaseException:
        programs.stop(control_plane.layout)
        raise
    console.print(
        f"The control plane is ready at {cluster.server}, after {time.monotonic() - started:.1f} s."
    )
    if provider:
        provider.introduce()
    return cluster


def _trust(control_plane: ControlPlane, provider: Provider, console: Console) -> None:
    """Start the provider before the API server, which looks for it again only after 10 s."""
    provider.start(console)
    control_plane.apiserver_flags = [f"--authentication-config={provider.authentication}"]
    console.print(f"The identity provider listens at {provider.issuer}.")


def _sign_in_again(provider: Provider | None, console: Console) -> None:
    """See to it that the provider runs which an API server that is up was told of."""
    if provider and not provider.exists:
        raise ClusterError(
            "The control plane is up and was not told of an identity provider: "
            "take it down first by `make down`, then say AUTH=oidc again."
        )
    if provider:
        provider.start(console)


def _refuse_a_mixture(choice: Choice, control_plane: ControlPlane) -> None:
    """Each state directory has one cluster at a time, so that `down` knows what to take down."""
    layout = control_plane.layout
    embedded = bool(processes.find(layout))
    made_by_kind = layout.kind_name.exists()
    if (embedded and choice.kind != "embedded") or (made_by_kind and choice.kind != "kind"):
        other = "An embedded control plane" if embedded else "A kind cluster"
        raise ClusterError(f"{other} is up in {layout.root}: take it down first by `make down`.")
