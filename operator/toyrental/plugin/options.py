"""The flags that commands share, and the exit codes. Light: every start loads it."""

import os
import re
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from toyrental.plugin.api import Api

DONE = 0
FAILED = 1
USAGE = 2
TIMED_OUT = 3
WILL_NOT_COME = 4
IN_PART = 5
INTERRUPTED = 130

EXIT_CODES = """\b
Exit codes:
  0  done, and what was waited for has come
  1  refused, not there, or no answer
  2  wrong flags or arguments
  3  what was waited for did not come in time
  4  what was waited for will not come by itself
  5  shown in part: some of it may not be read
"""

FORMATS = ("table", "wide", "json", "yaml", "name")
FIELD_MANAGER = "kubectl-toyrental"

Command = TypeVar("Command", bound=Callable[..., Any])


class Failure(Exception):
    """The command ends with an exit code; `str()` says what to do, in a sentence."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class Target(NamedTuple):
    """Which shop, at which API server, as whom; and how to show what is there."""

    namespace: str | None
    context: str | None
    kubeconfig: str | None
    user: str | None
    groups: tuple[str, ...]
    output: str = "table"
    all_namespaces: bool = False

    def connect(self) -> "Api":
        """Return the API server that the flags and the kubeconfig name. Raises NoAccess."""
        from toyrental.plugin.api import Api  # noqa: PLC0415 # --help does without
        from toyrental.plugin.kubeconfig import Wanted, find  # noqa: PLC0415

        wanted = Wanted(self.kubeconfig, self.context, self.namespace, self.user, self.groups)
        return Api(lambda: find(wanted))


class Mode(NamedTuple):
    """How to write, and what to wait for."""

    dry_run: bool
    field_manager: str
    wait: bool
    seconds: float

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the write."""
        return {"fieldManager": self.field_manager} | ({"dryRun": "All"} if self.dry_run else {})


class Duration(click.ParamType[float]):
    """A time such as 90s, 2m or 1h30m, in seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        if isinstance(value, int | float):
            return float(value)
        parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", value)
        if not value or parts is None:
            self.fail(f"{value} is no duration such as 90s, 2m or 1h30m", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in parts.groups())
        return hours * 3600 + minutes * 60 + seconds


def names_of(plural: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes the name of an object of a kind."""

    def complete(ctx: click.Context, param: click.Parameter, typed: str) -> list[str]:  # noqa: ARG001
        from toyrental.plugin import complete  # noqa: PLC0415 # a start does without

        return complete.names(plural, ctx.params, typed)

    return complete


def _namespaces(ctx: click.Context, param: click.Parameter, typed: str) -> list[str]:  # noqa: ARG001
    from toyrental.plugin import complete  # noqa: PLC0415 # a start does without

    return complete.namespaces(ctx.params, typed)


def _contexts(ctx: click.Context, param: click.Parameter, typed: str) -> list[str]:  # noqa: ARG001
    from toyrental.plugin import complete  # noqa: PLC0415 # a start does without

    return complete.contexts(ctx.params, typed)


_WHERE = (
    click.option(
        "-n",
        "--namespace",
        metavar="SHOP",
        shell_complete=_namespaces,
        help="Which shop. Left out: the namespace of the kubeconfig's context.",
    ),
    click.option(
        "--context", metavar="NAME", shell_complete=_contexts, help="Context of the kubeconfig."
    ),
    click.option(
        "--kubeconfig", metavar="FILE", help="Left out: $KUBECONFIG, else ~/.kube/config."
    ),
    click.option("--as", "user", metavar="USER", help="Act as this user, if you may."),
    click.option(
        "--as-group", "groups", metavar="GROUP", multiple=True, help="And as one of this group."
    ),
)

_OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How it is shown.",
)

_ALL = click.option(
    "-A", "--all-namespaces", is_flag=True, help="All shops that you may see, not one."
)

_MODE = (
    click.option(
        "--dry-run",
        type=click.Choice(("none", "server")),
        default="none",
        help="server: have it checked by the API server, and nothing changed.",
    ),
    click.option(
        "--field-manager",
        default=FIELD_MANAGER,
        metavar="NAME",
        show_default=True,
        help="Who the change is put down to.",
    ),
    click.option("--wait", is_flag=True, help="Wait until the shop has done its part."),
    click.option(
        "--timeout",
        type=Duration(),
        default="2m",
        show_default=True,
        metavar="DURATION",
        help="How long to wait.",
    ),
)


def reads(*, everywhere: bool = False) -> Callable[[Command], Any]:
    """Give a command the flags of where and how to show; it gets them as a Target."""

    def decorate(command: Command) -> Any:
        @wraps(command)
        def run(**given: Any) -> Any:
            return command(_target(given), **given)

        return _with(run, *_WHERE, _OUTPUT, *((_ALL,) if everywhere else ()))

    return decorate


def writes(command: Command) -> Any:
    """Give a command the flags of where and how to write; it gets them as a Target and a Mode."""

    @wraps(command)
    def run(**given: Any) -> Any:
        target = _target(given)
        mode = Mode(
            dry_run=given.pop("dry_run") == "server",
            field_manager=given.pop("field_manager"),
            wait=given.pop("wait"),
            seconds=given.pop("timeout"),
        )
        if mode.dry_run and mode.wait:
            raise click.UsageError("--dry-run changes nothing, so there is nothing to --wait for")
        return command(target, mode, **given)

    return _with(run, *_MODE, *_WHERE, _OUTPUT)


def _with(run: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        run = option(run)
    return run


def _target(given: dict[str, Any]) -> Target:
    target = Target(
        namespace=given.pop("namespace"),
        context=given.pop("context"),
        kubeconfig=given.pop("kubeconfig"),
        user=given.pop("user"),
        groups=given.pop("groups"),
        output=given.pop("output"),
        all_namespaces=given.pop("all_namespaces", False),
    )
    if target.all_namespaces and target.namespace:
        raise click.UsageError("choose one shop by -n, or all of them by -A, not both")
    return target


def colourful() -> bool:
    """Tell whether colours are wanted: on a terminal, unless NO_COLOR says otherwise."""
    terminal = os.isatty(1) and os.environ.get("TERM") != "dumb"
    return terminal and not os.environ.get("NO_COLOR")
