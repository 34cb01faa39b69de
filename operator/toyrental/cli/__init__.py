"""The command line, `toyrental`."""

from typing import Annotated

import typer

from toyrental import __version__
from toyrental.cli.board import board
from toyrental.cli.customer_proxy import customer_proxy
from toyrental.cli.run import run
from toyrental.simulator.command import simulator

# A traceback of typer's needs rich, and one with local variables could print a secret.
app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)
app.command()(run)
app.command()(board)
app.command()(customer_proxy)
app.command()(simulator)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"toyrental {__version__}")  # noqa: T201 -- it was asked for
        raise typer.Exit


@app.callback()
def _toyrental(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version, and exit."
        ),
    ] = False,
) -> None:
    """Run a toy-rental shop as Kubernetes resources."""


def main() -> None:
    """Run the command line."""
    app()
