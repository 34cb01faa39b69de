"""The command `toyrental run`."""

import gc
import socket
import uuid
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from toyrental.cli.common import LogFormatOption, LogLevelOption, cannot_run, leave_out
from toyrental.logs import LogFormat, LogLevel

CONTEXTS = ("rentals", "stores", "repairs", "payments", "dashboards")

EXIT_USAGE = 2


def run(  # noqa: PLR0913, PLR0917 # one an option
    contexts: Annotated[
        str,
        typer.Option(
            envvar="TOYRENTAL_CONTEXTS",
            metavar="NAMES",
            help="Which parts of the business to run, separated by commas.",
        ),
    ] = ",".join(CONTEXTS),
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            envvar="TOYRENTAL_KUBECONFIG",
            metavar="FILE",
            help="How to reach the cluster. Left out: $KUBECONFIG, else the pod's service account,"
            " else ~/.kube/config.",
        ),
    ] = None,
    namespaces: Annotated[
        str,
        typer.Option(
            envvar="TOYRENTAL_NAMESPACES",
            metavar="PATTERNS",
            help="Which shops to serve, separated by commas: names, or globs such as `shop-*`;"
            " `!test-*` leaves some out. Left out: all. Names alone need no cluster-wide rights.",
        ),
    ] = "",
    gateway_endpoints: Annotated[
        str,
        typer.Option(
            envvar="TOYRENTAL_GATEWAY_ENDPOINTS",
            metavar="PATTERNS",
            help="Which endpoints of payment providers may be called, as globs separated by"
            " commas, such as `http://127.0.0.1:*`. Left out: none but the providers' own.",
        ),
    ] = "",
    health: Annotated[
        str | None,
        typer.Option(
            envvar="TOYRENTAL_HEALTH",
            metavar="ADDRESS",
            help="Answer probes there, such as http://127.0.0.1:8080: /livez says whether a restart"
            " is needed, /readyz whether it works or stands by. Left out: nothing listens.",
        ),
    ] = None,
    liveness: Annotated[
        str | None,
        typer.Option(
            envvar="TOYRENTAL_LIVENESS",
            metavar="ADDRESS",
            help="The same with another path for /livez, such as http://127.0.0.1:8080/healthz.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            envvar="TOYRENTAL_METRICS",
            metavar="ADDRESS",
            help="Show metrics to Prometheus there, such as http://127.0.0.1:9090/metrics."
            " Left out: nothing listens.",
        ),
    ] = None,
    leader_election: Annotated[
        bool,
        typer.Option(
            "--leader-election",
            envvar="TOYRENTAL_LEADER_ELECTION",
            help="Of several processes with the same Lease let one work; the others stand by.",
        ),
    ] = False,
    lease_namespace: Annotated[
        str | None,
        typer.Option(
            envvar="TOYRENTAL_LEASE_NAMESPACE",
            metavar="NAME",
            help="Where the Lease is. Left out: in the namespace of the pod, or of the kubeconfig.",
        ),
    ] = None,
    lease_name: Annotated[
        str | None,
        typer.Option(
            envvar="TOYRENTAL_LEASE_NAME",
            metavar="NAME",
            help="What the Lease is called; one for each set of contexts and shops."
            " Left out: `toyrental-operator`, or by the contexts, such as `toyrental-payments`.",
        ),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            envvar="TOYRENTAL_IDENTITY",
            metavar="NAME",
            help="What this process is called in the Lease; something unique is added to it."
            " Left out: the name of the host, which is that of the pod.",
        ),
    ] = None,
    webhooks: Annotated[
        str | None,
        typer.Option(
            envvar="TOYRENTAL_WEBHOOKS",
            metavar="ADDRESS",
            help="Receive webhooks of payment providers there, such as"
            " http://127.0.0.1:8791/webhooks: a path for each gateway,"
            " `/webhooks/NAMESPACE/NAME`. Left out: nothing listens, outcomes are asked for.",
        ),
    ] = None,
    sweep_seconds: Annotated[
        float,
        typer.Option(
            envvar="TOYRENTAL_SWEEP_SECONDS",
            min=1,
            metavar="SECONDS",
            help="How often everything is looked at anew, lest an event that got lost is missed.",
        ),
    ] = 300,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Run the operator: move every rental, payment and repair through its life.

    It can be stopped and started at any time, also by kill -9: whatever people asked for meanwhile
    is kept by the API server and caught up with. SIGTERM or Ctrl-C finishes what is in hand.

    Exit codes: 0 stopped as asked, 1 it cannot run here (one sentence says why), 2 wrong flags.
    """
    chosen = _contexts(contexts)
    metrics_address = _host_and_port(metrics, "--metrics", "http://127.0.0.1:9090/metrics")
    webhooks_address = _host_and_port(webhooks, "--webhooks", "http://127.0.0.1:8791/webhooks")
    probes = _probes(health, liveness)
    if webhooks_address is not None and "payments" not in chosen:
        raise typer.BadParameter(
            "the context payments heeds webhooks; run it as well, or leave this out",
            param_hint="--webhooks",
        )
    leave_out("kubernetes", "rich")
    # What is imported here takes a second; --help shall not.
    import uvloop  # noqa: PLC0415

    from toyrental import logs  # noqa: PLC0415
    from toyrental.contexts import Context  # noqa: PLC0415
    from toyrental.kube.connection import NoConnection  # noqa: PLC0415
    from toyrental.kube.errors import ApiError  # noqa: PLC0415
    from toyrental.operate import CannotRun, ElectionOptions, Options, ProbeOptions, operate  # noqa: PLC0415

    logs.set_up(log_format, log_level)
    options = Options(
        kubeconfig=kubeconfig,
        contexts=tuple(Context(name) for name in chosen),
        namespaces=_split(namespaces),
        gateway_endpoints=_split(gateway_endpoints),
        probes=ProbeOptions(*probes) if probes else None,
        metrics_address=metrics_address,
        webhooks_address=webhooks_address,
        sweep_seconds=sweep_seconds,
        election=ElectionOptions(
            lease_namespace,
            lease_name or lease_of(chosen),
            f"{identity or socket.gethostname()}_{uuid.uuid4().hex[:8]}",
        )
        if leader_election
        else None,
    )
    _collect_seldom()
    try:
        uvloop.run(operate(options))
    except (CannotRun, NoConnection, ApiError) as error:
        cannot_run(error)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _collect_seldom() -> None:
    """Have the garbage collector pass over what was imported, and look at the rest less often.

    It cost a tenth of the operator's time and found next to nothing: cycles are rare here.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)


def _contexts(text: str) -> tuple[str, ...]:
    chosen = _split(text)
    unknown = [name for name in chosen if name not in CONTEXTS]
    if unknown or not chosen:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'none'}; choose from {', '.join(CONTEXTS)}",
            param_hint="--contexts",
        )
    return tuple(dict.fromkeys(chosen))


def lease_of(contexts: tuple[str, ...]) -> str:
    """Return the name of the Lease by which those who run these contexts elect one."""
    if set(contexts) == set(CONTEXTS):
        return "toyrental-operator"
    return "-".join(("toyrental", *sorted(contexts)))


def _host_and_port(text: str | None, flag: str, example: str) -> tuple[str, int] | None:
    """Return the host and the port that a flag gives, in a URL with the path of the example."""
    if text is None:
        return None
    host, port, _ = _address(text, flag, example, (urlsplit(example).path,))
    return host, port


def _probes(health: str | None, liveness: str | None) -> tuple[str, int, str] | None:
    """Return the host and the port of where probes are answered, and the path of the first."""
    if health and liveness:
        raise typer.BadParameter(
            "--liveness gives its address already; leave out one of the two",
            param_hint="--health",
        )
    if liveness:
        return _address(liveness, "--liveness", "http://127.0.0.1:8080/healthz")
    if health:
        host, port, _ = _address(health, "--health", "http://127.0.0.1:8080", ("", "/"))
        return host, port, "/livez"
    return None


def _address(
    text: str, flag: str, example: str, paths: tuple[str, ...] = ()
) -> tuple[str, int, str]:
    """Return the host, the port and the path of an address; with `paths`, one of these."""
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        url, host, port = urlsplit(""), None, None
    path_ok = url.path in paths if paths else url.path not in {"", "/", "/readyz"}
    if url.scheme != "http" or host is None or port is None or not path_ok:
        raise typer.BadParameter(f"{text} is not an address such as {example}", param_hint=flag)
    return host, port, url.path


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
