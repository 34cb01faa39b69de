"""The command line, `toyrental`."""

import typer

from toyrental.cli.board import board
from toyrental.cli.run import run
from toyrental.simulator.command import simulator

# A traceback of typer's needs rich, and one with local variables could print a secret.
app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)
app.command()(run)
app.command()(board)
app.command()(simulator)


@app.callback()
def _toyrental() -> None:
    """Run a toy-rental shop as Kubernetes resources."""


def main() -> None:
    """Run the command line."""
    app()
