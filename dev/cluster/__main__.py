"""The commands behind `make up` and `make down`."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from . import build, manifests, oidc, programs
from .cluster import Cluster
from .console import plain
from .controlplane import ControlPlane
from .errors import ClusterError
from .select import release
from .up import Auth, bring_up

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="A real Kubernetes API server for development, on loopback, gone without a trace.",
    epilog=(
        "Which cluster: the one whose kubeconfig [bold]TOYRENTAL_KUBECONFIG[/bold] names; else, "
        "with [bold]CLUSTER=kind[/bold], one made by kind; else an embedded control plane. "
        "Your current kubeconfig is never used by accident."
    ),
)

StateDir = Annotated[
    Path,
    typer.Option(
        "--state-dir", help="Where the kubeconfig, kubectl, data and logs are.", file_okay=False
    ),
]
VENV_PROGRAMS = manifests.REPOSITORY / ".venv" / "bin"
DEFAULT_STATE_DIR = manifests.REPOSITORY / ".local"


Bare = Annotated[
    bool, typer.Option("--bare", help="Do not apply the CRDs, policies and roles of this checkout.")
]


SignIn = Annotated[
    Auth,
    typer.Option(
        "--auth",
        envvar="AUTH",
        help="How people sign in: only the administrator, by a token, or everybody, by oidc.",
    ),
]


@app.command()
def up(
    state_dir: StateDir = DEFAULT_STATE_DIR, bare: Bare = False, auth: SignIn = Auth.TOKEN
) -> None:
    """Start it, or say that it is up; apply CRDs, policies, roles; say what to do next.

    The first time on a machine the control plane is built from its Go modules, which takes some
    minutes. After that it is ready in seconds.
    """
    console = plain()
    with _for_people(console):
        apply = () if bare else manifests.present()
        _what_next(bring_up(state_dir, apply=apply, console=console, auth=auth), auth)


@app.command()
def down(state_dir: StateDir = DEFAULT_STATE_DIR) -> None:
    """Stop it and remove its data. A cluster of your own is left as it is."""
    console = plain()
    with _for_people(console):
        control_plane = ControlPlane(state_dir, console=console)
        had_kubeconfig = control_plane.layout.kubeconfig.exists()
        for name in programs.stop(control_plane.layout):
            console.print(f"Stopped the {name}.")
        release(control_plane.layout)
        if control_plane.stop():
            console.print("Stopped, and its data removed.")
        elif had_kubeconfig:
            console.print(
                "Released. What was applied to your cluster (CRDs, policies) is still there."
            )
        else:
            console.print("Nothing was up.")


@app.command("build")
def build_program(auth: SignIn = Auth.TOKEN) -> None:
    """Build the control plane's program if it is not in the cache, and print its path.

    With `--auth=oidc` the identity provider as well.
    """
    console = plain()
    with _for_people(console):
        print(build.program(console))
        if auth is Auth.OIDC:
            print(oidc.DEX.path(console))


@app.command()
def status(state_dir: StateDir = DEFAULT_STATE_DIR) -> None:
    """Say what is running; exit with 1 unless everything is."""
    console = plain()
    with _for_people(console):
        control_plane = ControlPlane(state_dir, console=console)
        now = control_plane.status()
        of_ours = {program.name: program.pid for program in programs.running(control_plane.layout)}
        for name, pid in sorted((now.pids | of_ours).items()):
            print(f"{name}: running, process {pid}")
        if now.up:
            print(f"ready at {now.server}")
            return
        if not now.pids:
            raise ClusterError("No embedded control plane is up: start it by `make up`.")
        if now.missing:
            raise ClusterError(f"Not running: {', '.join(now.missing)}. Start afresh by `make up`.")
        raise ClusterError("All processes run, but the API server is not ready. See the logs.")


def _what_next(cluster: Cluster, auth: Auth) -> None:
    kubeconfig, programs = _short(cluster.kubeconfig), _short(cluster.kubectl.parent)
    people = (("kubectl --context customer auth whoami", "sign in, or as owner, repairer"),)
    rows = (
        *(people if auth is Auth.OIDC else ()),
        ("kubectl get toyrental -A", "see all shops"),
        ("kubectl toyrental --help", "run a shop from the terminal"),
        ("toyrental run", "run the operator"),
        ("make demo", "watch the life of a rental"),
        ("make down", "stop it and remove its data"),
    )
    console = Console(highlight=False, soft_wrap=True)
    console.print("\nTo use it in this shell:")
    path = f"{programs}:{_short(VENV_PROGRAMS)}:$PATH"
    console.print(f'  [bold]export KUBECONFIG="{kubeconfig}" PATH="{path}"[/bold]')
    console.print("and then:")
    width = max(len(command) for command, _ in rows)
    for command, why in rows:
        console.print(f"  [bold]{command:<{width}}[/bold] {why}")


def _short(path: Path) -> str:
    """Return the path as a shell in the current directory can use it, also after a `cd`."""
    here = Path.cwd()
    return f"$PWD/{path.relative_to(here)}" if path.is_relative_to(here) else str(path)


@contextlib.contextmanager
def _for_people(console: Console) -> Iterator[None]:
    """Say what went wrong in a sentence; let an end by signal tidy up as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        yield
    except ClusterError as error:
        console.print(f"Error: {error}")
        raise typer.Exit(1) from None
    except OSError as error:
        console.print(f"Error: {error.filename or 'the system'}: {error.strerror}.")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Interrupted: what had been started is stopped again.")
        raise typer.Exit(130) from None


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    app(prog_name="python -m dev.cluster")
