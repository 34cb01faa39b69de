"""Which cluster to use: the one the user named, or kind when asked for, else an embedded one."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from . import build, kind, kubeconfig, manifests
from .cluster import Cluster
from .console import plain
from .controlplane import ControlPlane
from .errors import ClusterError
from .layout import Layout, write_private

KUBECONFIG_VARIABLE = "TOYRENTAL_KUBECONFIG"
CLUSTER_VARIABLE = "CLUSTER"


@dataclass(frozen=True)
class Choice:
    """What the user chose; `kubeconfig` is set for an existing cluster only."""

    kind: Literal["embedded", "kind", "existing"]
    kubeconfig: Path | None = None


def choose(environment: Mapping[str, str]) -> Choice:
    """Return which cluster the environment asks for.

    The variable KUBECONFIG and ~/.kube/config never count: what is current there may be
    somebody's production. Raises ClusterError for a file that is not there and an unknown word.
    """
    named = environment.get(KUBECONFIG_VARIABLE, "")
    if named:
        path = Path(named).expanduser().absolute()
        if not path.is_file():
            raise ClusterError(
                f"{KUBECONFIG_VARIABLE} names {path}, which is no file: name the kubeconfig of "
                "the cluster to use, or unset it for an embedded one."
            )
        return Choice("existing", path)
    word = environment.get(CLUSTER_VARIABLE, "") or "embedded"
    if word == "kind":
        return Choice("kind")
    if word == "embedded":
        return Choice("embedded")
    raise ClusterError(
        f"{CLUSTER_VARIABLE}={word} is not known: say `embedded` (the default) or `kind`, "
        f"or name a cluster of your own by {KUBECONFIG_VARIABLE}=<its kubeconfig>."
    )


@contextlib.contextmanager
def select_cluster(  # noqa: PLR0913 -- all but one are by name and have a usual value
    state_dir: Path,
    *,
    apply: Sequence[Path] = (),
    apiserver_flags: Sequence[str] = (),
    audited: bool = False,
    environment: Mapping[str, str] = os.environ,
    console: Console | None = None,
) -> Iterator[Cluster]:
    """Give the chosen cluster with `apply` applied, for as long as the context lasts.

    An embedded or kind one is made and removed again. An existing one keeps what was applied, and
    `apiserver_flags` and `audited` cannot count there: ask `cluster.kind` before relying on them.
    Raises ClusterError.
    """
    console = console or plain()
    choice = choose(environment)
    if choice.kind == "embedded":
        control_plane = ControlPlane(
            state_dir,
            ephemeral=True,
            apply=apply,
            apiserver_flags=apiserver_flags,
            audited=audited,
            console=console,
        )
        with control_plane as cluster:
            yield cluster
        return
    layout = Layout(state_dir.resolve())
    try:
        cluster = adopt(choice, layout, console)
        manifests.apply(cluster, apply)
        yield cluster
    finally:
        release(layout)


def adopt(choice: Choice, layout: Layout, console: Console) -> Cluster:
    """Make the files of the layout point at a cluster that is not embedded.

    The kubeconfig there has everything in it and only the one context. When that fails, all that
    is new is removed again. Raises ClusterError.
    """
    was_there = layout.kubeconfig.exists()
    try:
        return _adopt(choice, layout, console)
    except BaseException:
        if not was_there:
            release(layout)
        raise


def _adopt(choice: Choice, layout: Layout, console: Console) -> Cluster:
    kubectl = _kubectl(console)
    layout.kubectl.parent.mkdir(parents=True, exist_ok=True)
    layout.kubectl.unlink(missing_ok=True)
    layout.kubectl.symlink_to(kubectl)
    if choice.kubeconfig:
        named = Cluster("existing", choice.kubeconfig, layout.kubectl, server="")
        whole = named.run_kubectl("config", "view", "--flatten", "--minify")
        write_private(layout.kubeconfig, whole.encode())
    else:
        kind.create(layout, console)
    cluster = Cluster(
        kind=choice.kind,
        kubeconfig=layout.kubeconfig,
        kubectl=layout.kubectl,
        server=kubeconfig.server(layout.kubeconfig),
    )
    cluster.run_kubectl("version", timeout=30)  # says in kubectl's words when it cannot be reached
    return cluster


def release(layout: Layout) -> None:
    """Undo `adopt`: remove the files, and the kind cluster if one was made."""
    kind.delete(layout)
    layout.kubeconfig.unlink(missing_ok=True)
    layout.kubectl.unlink(missing_ok=True)


def _kubectl(console: Console) -> Path:
    # Ours is of the version that everything here is tested with. But whoever has a cluster has a
    # kubectl too, and need not wait for a whole control plane to build.
    installed = shutil.which("kubectl")
    if installed and not build.destination().exists():
        return Path(installed).absolute()
    return build.program(console)
