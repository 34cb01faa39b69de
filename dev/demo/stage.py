"""What the scenes do: run kubectl, show it, and wait until something has become so."""

import inspect
import json
import shlex
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from dev.cluster import Cluster, ClusterError
from dev.demo.screen import Screen
from dev.demo.watch import Thing, Watch

SAMPLES = Path("manifests", "samples")
PATIENCE_SECONDS = 30

T = TypeVar("T")


def change_of(spec: dict[str, object]) -> str:
    """Return the merge patch that changes these parts of a spec."""
    return json.dumps({"spec": spec}, separators=(",", ":"))


class StageError(Exception):
    """The story cannot go on; `str()` says why."""


Scene = Callable[["Stage"], None]
"""What is played; its docstring is its title, and what is told before it."""


class Stage:
    """A shop, as somebody at the command line sees it.

    Where people have signed in (`signed_in`), each act is done `by` the person who would do it;
    else, and where nobody is named, by the administrator.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        simulator: str,
        screen: Screen,
        *,
        signed_in: bool = False,
    ) -> None:
        self.cluster = cluster
        self.signed_in = signed_in
        self.namespace = namespace
        self.simulator = simulator
        self.screen = screen
        self.watch = Watch(cluster, namespace)

    def __enter__(self) -> Self:
        self.watch.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.watch.close()

    def play(self, scenes: Iterable[Scene], *, step: bool) -> None:
        """Play scenes, one after the other."""
        with self.screen.showing(self.watch):
            for number, scene in enumerate(scenes, 1):
                title, _, text = (inspect.getdoc(scene) or "").partition("\n")
                self.screen.title(f"{number}. {title.rstrip('.')}", text.strip())
                scene(self)
                if step:
                    self.screen.pause()

    # --- Commands ---

    def kubectl(self, *arguments: str, by: str = "", quiet: bool = False) -> None:
        """Run kubectl, and show the command and what it printed."""
        command = [*self._who(by), *arguments]
        self.screen.command(shlex.join(["kubectl", *command]))
        printed = self.cluster.run_kubectl(*command)
        if not quiet:
            self.screen.output(printed)

    def ask(self, *arguments: str, by: str) -> None:
        """Ask kubectl whether something is so, and show its answer: a no is an exit code, too."""
        try:
            self.kubectl(*arguments, by=by)
        except ClusterError as error:
            if str(error).partition(" failed: ")[2]:
                raise
            self.screen.output("no")

    def apply(self, sample: str, *, by: str) -> None:
        """Apply a file of `manifests/samples/`."""
        self.kubectl("apply", "-f", str(SAMPLES / sample), by=by, quiet=True)

    def apply_for(self, sample: str, customer: str, instead_of: str) -> None:
        """Apply the order of a sample for another customer, as a shell would with sed."""
        path = SAMPLES / sample
        apply = [*self._who(customer), "apply", "-f", "-"]
        self.screen.command(f"sed s/{instead_of}/{customer}/ {path} | kubectl {' '.join(apply)}")
        order = path.read_text().replace(instead_of, customer)
        self.cluster.run_kubectl(*apply, stdin=order)

    def patch(self, what: str, *, by: str, **spec: object) -> None:
        """Change what an object asks for, as a person does."""
        kind, _, name = what.partition("/")
        change = ("patch", kind, name, "--type=merge", "-p", change_of(spec))
        self.kubectl(*change, by=by, quiet=True)

    def refused(self, what: str, *, by: str, **spec: object) -> None:
        """Try a change that the API server must not accept, and show its words."""
        try:
            self.patch(what, by=by, **spec)
        except ClusterError as error:
            self.screen.output(str(error).partition(" failed: ")[2])
        else:
            raise StageError(f"{what} took a change that it must refuse: {spec}")

    def _who(self, by: str) -> list[str]:
        return [f"--context={by}"] if by and self.signed_in else []

    # --- Waiting ---

    def until(self, what: str, phase: str, reason: str = "") -> Thing:
        """Wait until an object is in a phase, and its Ready gives that reason if one is named."""

        def so() -> Thing | None:
            thing = self.watch.things.get(what)
            if thing is None or thing.phase != phase:
                return None
            return thing if reason in {"", thing.condition("Ready").get("reason")} else None

        return self.wait(so, f"{what} to be {phase} {reason}".rstrip())

    def wait(self, so: Callable[[], T | None], what: str) -> T:
        """Wait until `so` returns something true, showing all that changes meanwhile."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := so()):
            changes = self.watch.changes(until=deadline)
            if not changes:
                raise StageError(f"Waited {PATIENCE_SECONDS} s for {what}, in vain.")
            for change in changes:
                self.screen.change(change)
            self.screen.refresh()
        return found
