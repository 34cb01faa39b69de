"""The command `toyrental simulator`."""

import os
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
            help="Address to listen on. Unless there are API keys, whoever reaches it may use it.",
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
    admin_port: Annotated[
        int | None,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_ADMIN_PORT",
            min=0,
            max=65535,
            metavar="PORT",
            help="Serve the admin API, by which faults are set at run time, on this port; 0 takes "
            "any free one, named beside the first. There is none unless a port is given.",
        ),
    ] = None,
    admin_host: Annotated[
        str,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_ADMIN_HOST",
            help="Address of the admin API. It asks for no credentials.",
        ),
    ] = "127.0.0.1",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="JSON",
            help="Start with this fault, as for POST /faults of the admin API. May be repeated.",
        ),
    ] = None,
    account: Annotated[
        str,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_ACCOUNT", help="The account's id, shown by /v1/account."
        ),
    ] = "acct_simulator",
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_API_KEY_FILE",
            metavar="FILE",
            help="Admit only requests to /v1 with one of the API keys in this file, one a line; "
            "read again when it changes. Keys may also be given, with commas between them, in the "
            "environment variable TOYRENTAL_SIMULATOR_API_KEYS, and by no option: options are for "
            "all to see.",
        ),
    ] = None,
    webhook_url: Annotated[
        str | None,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_WEBHOOK_URL",
            metavar="URL",
            help="POST signed events (charge.succeeded, charge.failed, charge.refunded, "
            "refund.failed) there.",
        ),
    ] = None,
    webhook_secret_file: Annotated[
        Path | None,
        typer.Option(
            envvar="TOYRENTAL_SIMULATOR_WEBHOOK_SECRET_FILE",
            metavar="FILE",
            help="File with the secret that signs events; or give it in the environment variable "
            "TOYRENTAL_SIMULATOR_WEBHOOK_SECRET.",
        ),
    ] = None,
    webhook_anywhere: Annotated[
        bool,
        typer.Option(
            "--webhook-anywhere",
            envvar="TOYRENTAL_SIMULATOR_WEBHOOK_ANYWHERE",
            help="Let --webhook-url lead off this machine.",
        ),
    ] = False,
) -> None:
    """Run a payment provider to develop and test against.

    It charges and refunds like a real one, over HTTP, with idempotency keys and Stripe's test
    tokens: pm_card_visa is charged, pm_card_chargeDeclined is declined. No real money moves.
    GET /ledger shows all that was taken and given back. SIGTERM or Ctrl-C finishes the requests in
    hand and exits with 0; a port in use or an unusable ledger exits with 1.

    Faults make it fail as real ones do, on chosen requests: slow, declined, rate limited, out of
    service, refusing connections, forgetting keys, failing refunds after they were accepted, or
    charging and then dropping the answer. Set them by the admin API: `--admin-port 8791`, then
    `curl localhost:8791/faults --json '{"kind": "drop", "operations": ["charge"], "times": 1}'`;
    GET /faults tells how often each struck, DELETE /faults ends them all. Or start with them:
    `--fault '{"kind": "latency", "fixed": 2}'`. The kinds, in the order in which they strike:
    refuse, latency, outage, reset, rateLimit, error, keyExpiry, decline, refundFailure, lookupLag,
    drop, garble, trickle, webhookLoss, webhookDelay, webhookReorder, webhookDuplicate.
    docs/how-to/simulator.md tells all about them.
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
        admin_host=admin_host,
        admin_port=admin_port,
        faults=fault or (),
        account=account,
        api_keys=os.environ.get("TOYRENTAL_SIMULATOR_API_KEYS", ""),
        api_key_file=api_key_file,
        webhook_url=webhook_url,
        webhook_anywhere=webhook_anywhere,
        webhook_secret=os.environ.get("TOYRENTAL_SIMULATOR_WEBHOOK_SECRET", ""),
        webhook_secret_file=webhook_secret_file,
    )
    try:
        serve(settings)
    except CannotStartError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
