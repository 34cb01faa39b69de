"""The command behind `make demo`."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from dev.cluster import Auth, Cluster, ClusterError, bring_up, manifests, processes, programs
from dev.cluster.layout import Layout
from dev.cluster.oidc import Provider
from dev.cluster.select import release
from dev.debian import NotToBeHad
from dev.demo import epilogue, house
from dev.demo.access import people_sign_in, who_may_do_what
from dev.demo.screen import Screen
from dev.demo.stage import Scene, Stage, StageError
from dev.demo.story import SCENES

STATE_DIR = manifests.REPOSITORY / ".local"


def demo(
    step: Annotated[
        bool, typer.Option("--step", envvar="STEP", help="Wait for Enter after each scene.")
    ] = False,
    state_dir: Annotated[
        Path, typer.Option("--state-dir", help="Where cluster, logs and data are.", file_okay=False)
    ] = STATE_DIR,
    auth: Annotated[
        Auth,
        typer.Option(
            "--auth",
            envvar="AUTH",
            help="Who acts: the administrator, by a token, or people who sign in, by oidc.",
        ),
    ] = Auth.TOKEN,
) -> None:
    """Play the life of a toy-rental shop on a real Kubernetes API server.

    Everything goes on running at the end, to be tried out; `make down` stops it. On a cluster of
    your own, named by TOYRENTAL_KUBECONFIG, nothing does: the shop has a namespace of its own
    there, which is removed at the end.
    """
    screen = Screen()
    layout = Layout(state_dir.resolve())
    os.chdir(manifests.REPOSITORY)  # commands are shown as they are typed there
    started = time.monotonic()
    with _for_people(screen, layout):
        apply = manifests.present()
        cluster = bring_up(layout.root, apply=apply, console=screen.console, auth=auth)
        with _a_shop(cluster, layout, screen, auth) as stage, _sights(stage, layout) as sights:
            stage.play(_scenes(auth), step=step)
            epilogue.sums(stage)
            screen.say(f"\nAll that took {time.monotonic() - started:.0f} s.", style="bold")
            if cluster.kind != "existing":
                epilogue.what_next(stage, layout, *(sight.result() for sight in sights))


def _scenes(auth: Auth) -> Sequence[Scene]:
    if auth is Auth.TOKEN:
        return SCENES
    opening, *rest = SCENES
    return (opening, people_sign_in, *rest, who_may_do_what)


@contextlib.contextmanager
def _a_shop(cluster: Cluster, layout: Layout, screen: Screen, auth: Auth) -> Iterator[Stage]:
    """Give a new shop with simulator and operator running; tidy up on somebody else's cluster."""
    guest = cluster.kind == "existing"
    namespace = house.unused_namespace(cluster, guest=guest)
    signed_in = auth is Auth.OIDC
    if signed_in:
        Provider(layout).introduce(namespace)
    try:
        simulator = house.start_simulator(layout)
        screen.say(f"The payment simulator listens at {simulator}.")
        house.start_operator(layout, cluster, only=namespace if guest else "")
        screen.say("The operator runs.")
        with Stage(cluster, namespace, simulator, screen, signed_in=signed_in) as stage:
            yield stage
    finally:
        if guest:
            screen.say("Tidying up: namespace, operator, simulator go; CRDs, policies, roles stay.")
            try:
                house.close_shop(cluster, namespace)
            finally:
                programs.stop(layout)
                release(layout)


@contextlib.contextmanager
def _sights(stage: Stage, layout: Layout) -> Iterator[list[Future[str]]]:
    """Start what shows the shop, beside the story: the board, and a Prometheus.

    What is gone at the end anyway, on somebody else's cluster, is not begun.
    """
    with ThreadPoolExecutor() as pool:
        if stage.cluster.kind == "existing":
            yield []
            return
        yield [
            pool.submit(house.start_board, layout, stage.cluster, stage.namespace),
            pool.submit(_prometheus, layout),
        ]


def _prometheus(layout: Layout) -> str:
    """Return how to ask Prometheus, or why there is none: the demo does not need it.

    Debian's has no pages of its own unless it is installed.
    """
    try:
        return f"curl -s {house.start_prometheus(layout)}/api/v1/alerts"
    except NotToBeHad as error:
        return f"none: {error}"


@contextlib.contextmanager
def _for_people(screen: Screen, layout: Layout) -> Iterator[None]:
    """Say in a sentence what went wrong, and what is still running then."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        yield
    except (ClusterError, StageError) as error:
        screen.say(f"\nError: {error}", style="red")
        _what_is_left(screen, layout)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        screen.say("\nInterrupted.")
        _what_is_left(screen, layout)
        raise typer.Exit(130) from None


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _what_is_left(screen: Screen, layout: Layout) -> None:
    left = [*processes.find(layout), *(program.name for program in programs.running(layout))]
    if not left:
        screen.say("Nothing is left running.")
        return
    screen.say(f"Still running: {', '.join(left)}. `make down` stops them.")
    screen.say(f"Logs: {programs.directory(layout)} and {layout.logs}.")


if __name__ == "__main__":
    typer.run(demo)
