"""Where progress and errors are printed."""

from rich.console import Console


def plain() -> Console:
    """Return a console that prints words as they are: no markup, no colours guessed, no wrapping.

    It prints to standard error, so that the output of a command is only what was asked for.
    """
    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
