"""The command `toyrental customer-proxy`."""

from pathlib import Path
from typing import Annotated

import typer

from toyrental.cli.common import LogFormatOption, LogLevelOption, cannot_run, leave_out
from toyrental.logs import LogFormat, LogLevel


def customer_proxy(  # noqa: PLR0913, PLR0917 # one an option
    tls_cert_file: Annotated[
        Path,
        typer.Option(
            envvar="TOYRENTAL_TLS_CERT_FILE",
            metavar="FILE",
            help="Its certificate, and those in between, as PEM.",
        ),
    ],
    tls_private_key_file: Annotated[
        Path,
        typer.Option(
            envvar="TOYRENTAL_TLS_PRIVATE_KEY_FILE",
            metavar="FILE",
            help="The key of the certificate, as PEM.",
        ),
    ],
    host: Annotated[
        str,
        typer.Option(envvar="TOYRENTAL_CUSTOMER_PROXY_HOST", help="Address to listen on."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            envvar="TOYRENTAL_CUSTOMER_PROXY_PORT",
            min=0,
            max=65535,
            metavar="PORT",
            help="TCP port to listen on; 0 takes any free one. The first line of output names it.",
        ),
    ] = 8443,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            envvar="TOYRENTAL_KUBECONFIG",
            metavar="FILE",
            help="How to reach the API server, with the proxy's own credentials. Left out:"
            " $KUBECONFIG, else the pod's service account, else ~/.kube/config.",
        ),
    ] = None,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Stand before the API server for customers who shall not see each other's orders.

    It speaks the API server's own paths: kubectl and `kubectl toyrental` work against it as ever,
    each customer with a token of their own. Orders are read with the proxy's rights, narrowed to
    the caller's; all else is passed on and judged as the caller's. Its service account needs
    `toyrental-token-reviewer` in the cluster and `toyrental-customer-proxy` in each shop; its
    customers need `toyrental-customer-private` there.

    Exit codes: 0 stopped as asked, 1 it cannot run here (one sentence says why), 2 wrong flags.
    """
    leave_out("kubernetes")
    # What is imported here takes a second; --help shall not.
    from toyrental import logs  # noqa: PLC0415
    from toyrental.customer_proxy.server import Listening, serve  # noqa: PLC0415
    from toyrental.kube.connection import NoConnection  # noqa: PLC0415
    from toyrental.shared.web import CannotServe  # noqa: PLC0415

    logs.set_up(log_format, log_level)
    listening = Listening(host, port, tls_cert_file, tls_private_key_file)
    try:
        serve(kubeconfig, listening)
    except (CannotServe, NoConnection) as error:
        cannot_run(error)
