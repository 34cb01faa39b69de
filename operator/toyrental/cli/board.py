"""The command `toyrental board`."""

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from toyrental.cli.common import LogFormatOption, LogLevelOption, cannot_run, leave_out
from toyrental.logs import LogFormat, LogLevel


def board(  # noqa: PLR0913, PLR0917 # one an option
    host: Annotated[
        str,
        typer.Option(
            envvar="TOYRENTAL_BOARD_HOST",
            help="Address to listen on. Off this machine, put a proxy with https in front.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            envvar="TOYRENTAL_BOARD_PORT",
            min=0,
            max=65535,
            metavar="PORT",
            help="TCP port to listen on; 0 takes any free one. The first line of output names it.",
        ),
    ] = 8795,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            envvar="TOYRENTAL_KUBECONFIG",
            metavar="FILE",
            help="Where the API server is. Its credentials are not used: people bring their own."
            " Left out: $KUBECONFIG, else the pod's service account, else ~/.kube/config.",
        ),
    ] = None,
    namespaces: Annotated[
        str,
        typer.Option(
            envvar="TOYRENTAL_NAMESPACES",
            metavar="NAMES",
            help="Which shops to show, separated by commas. Left out: whichever one asks for.",
        ),
    ] = "",
    time_zone: Annotated[
        str,
        typer.Option(
            envvar="TOYRENTAL_TIME_ZONE",
            metavar="ZONE",
            help="In which zone times are shown and days begin, such as `Asia/Seoul`.",
        ),
    ] = "UTC",
    idle_minutes: Annotated[
        float,
        typer.Option(
            envvar="TOYRENTAL_BOARD_IDLE_MINUTES",
            min=0.01,
            metavar="MINUTES",
            help="Sign out who has done nothing for so long.",
        ),
    ] = 30,
    https: Annotated[
        bool,
        typer.Option(
            "--https",
            envvar="TOYRENTAL_BOARD_HTTPS",
            help="A proxy in front serves the page by https: send the cookie over nothing else.",
        ),
    ] = False,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Serve a web page of the shop: stock, orders, what waits for you, and buttons to act.

    Each person signs in with a bearer token of their own and sees and does what the API server
    lets that token see and do; the board itself has no rights. Try it with
    `kubectl create token NAME`, where NAME is a service account bound to `toyrental-store-owner`.

    Exit codes: 0 stopped as asked, 1 it cannot run here (one sentence says why), 2 wrong flags.
    """
    leave_out("kubernetes")
    # What is imported here takes a second; --help shall not.
    from toyrental import logs  # noqa: PLC0415
    from toyrental.board.app import Settings  # noqa: PLC0415
    from toyrental.board.server import serve  # noqa: PLC0415
    from toyrental.kube.connection import NoConnection  # noqa: PLC0415
    from toyrental.shared.web import CannotServe  # noqa: PLC0415

    logs.set_up(log_format, log_level)
    settings = Settings(
        zone=_zone(time_zone),
        shops=tuple(part.strip() for part in namespaces.split(",") if part.strip()),
        https=https,
        idle_seconds=idle_minutes * 60,
    )
    try:
        serve(kubeconfig, host, port, settings)
    except (CannotServe, NoConnection) as error:
        cannot_run(error)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise typer.BadParameter(
            f"{name} is not known; name one such as Asia/Seoul", param_hint="--time-zone"
        ) from error
