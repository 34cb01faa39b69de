"""The command `toyrental simulator`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LogFormat(StrEnum):
    """For whom logs are written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """How much is logged."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def simulator(  # noqa: PLR0913, PLR0917 # one an option
    port: Annotated[
        int,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_PORT",
            min=0,
            max=65535,
            metavar="PORT",
            help="TCP port to listen on; 0 takes any free one. The first line of output names it.",
        ),
    ] = 8790,
    ledger: Annotated[
        Path,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_LEDGER",
            metavar="FILE",
            help="SQLite file that remembers all charges and refunds, made if missing. "
            "':memory:' forgets them at the end.",
        ),
    ] = Path("simulator-ledger.db"),
    host: Annotated[
        str,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_HOST",
            help="Address to listen on. The API asks for no credentials: whoever reaches it may "
            "use it.",
        ),
    ] = "127.0.0.1",
    log_format: Annotated[
        LogFormat,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_LOG_FORMAT",
            help="How the first line and the logs (on standard error) are written.",
        ),
    ] = LogFormat.TEXT,
    log_level: Annotated[
        LogLevel,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_LOG_LEVEL",
            help="How much is logged; 'info' is one line for each charge, refund and refusal.",
        ),
    ] = LogLevel.INFO,
    access_log: Annotated[
        bool,
        typer.Option(
            "--access-log",
            envvar="TOYRENTAL_SIMULATOR_ACCESS_LOG",
            help="Log each HTTP request as well.",
        ),
    ] = False,
) -> None:
    """Run a payment provider to develop and test against.

    It charges and refunds like a real one, over HTTP, with idempotency keys and Stripe's test
    tokens: pm_card_visa is charged, pm_card_chargeDeclined is declined. No real money moves.
    GET /ledger shows all that was taken and given back. SIGTERM or Ctrl-C finishes the requests in
    hand and exits with 0; a port in use or an unusable ledger exits with 1.
    """
    # Imported here because the server takes a while to import and other commands do not need it.
    from toyrental.simulator.server import CannotStartError, Settings, serve  # noqa: PLC0415

    settings = Settings(
        host=host,
        port=port,
        ledger=str(ledger),
        json_logs=log_format is LogFormat.JSON,
        log_level=log_level.value,
        access_log=access_log,
    )
    try:
        serve(settings)
    except CannotStartError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
