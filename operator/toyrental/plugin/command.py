"""The command `kubectl toyrental`."""

import os
import sys
from typing import TYPE_CHECKING

import click

from toyrental.plugin import acts, looks
from toyrental.plugin.options import EXIT_CODES, FAILED, INTERRUPTED, Failure

if TYPE_CHECKING:
    from toyrental.kube.errors import ApiError

EPILOG = f"{EXIT_CODES}\nColours: only on a terminal, and none with NO_COLOR set."


@click.group(
    name="kubectl toyrental",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="toyrental", message="%(version)s")
def toyrental() -> None:
    """Run a toy-rental shop from the terminal.

    Everything is done with your own credentials, and the API server decides what you may do.
    """


for each in (*looks.COMMANDS, *acts.COMMANDS):
    toyrental.add_command(each)


def main() -> None:
    """Run the command line; what goes wrong is said in a sentence."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr] # a title may be 곰
    try:
        sys.exit(toyrental.main(prog_name="kubectl toyrental", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read this has seen enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001 # what is not foreseen is raised again
        sys.exit(_told(error))


def _told(error: Exception) -> int:
    """Say what went wrong and what to do, and return the exit code."""
    from toyrental.intents import Unusable  # noqa: PLC0415 # --help does without
    from toyrental.kube.errors import ApiError  # noqa: PLC0415
    from toyrental.plugin.kubeconfig import NoAccess  # noqa: PLC0415

    if not isinstance(error, Failure | ApiError | NoAccess | Unusable):
        raise error
    remedy = _remedy(error) if isinstance(error, ApiError) else ""
    sentence = f"{str(error).rstrip('.')}{remedy}"
    click.echo(f"Error: {sentence}{'' if sentence.endswith('?') else '.'}", err=True)
    return error.code if isinstance(error, Failure) else FAILED


def _remedy(error: "ApiError") -> str:
    from toyrental.kube.errors import Unavailable  # noqa: PLC0415 # --help does without

    match error.status:
        case 401:
            return "; your credentials are not accepted, or have expired: sign in again"
        case 403 if " cannot " in str(error):
            return (
                "; ask for a role in this shop, such as toyrental-customer (--as acts as another)"
            )
        case _ if isinstance(error, Unavailable):
            return "; is the cluster up, and is it the right one (--context, --kubeconfig)?"
        case _:
            return ""


if __name__ == "__main__":
    main()
