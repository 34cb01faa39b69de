"""What the commands share: options, lighter imports, and how a command ends that cannot run."""

import sys
from typing import Annotated, NoReturn

import typer

from toyrental.logs import LogFormat, LogLevel

EXIT_CANNOT_RUN = 1

LogFormatOption = Annotated[
    LogFormat,
    typer.Option(envvar="TOYRENTAL_LOG_FORMAT", help="For people (text) or machines (json)."),
]
LogLevelOption = Annotated[
    LogLevel,
    typer.Option(envvar="TOYRENTAL_LOG_LEVEL", help="How much is logged."),
]


def leave_out(*packages: str) -> None:
    """Have libraries go without these: 20 MB and more than a second of each start for nothing.

    kopf loads the official client wherever it is installed, and structlog loads rich.
    """
    for package in packages:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]


def cannot_run(error: Exception) -> NoReturn:
    """End the command with one sentence that says why."""
    print(f"toyrental: {error}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(EXIT_CANNOT_RUN) from None
