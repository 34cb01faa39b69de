"""Running the operator: connect, check that it can work at all, then watch and reconcile."""

import asyncio
import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf

from toyrental.contexts import Context, Means, kinds_needed, reconcilers, rights
from toyrental.kube import connection, metrics
from toyrental.kube.cache import Cache
from toyrental.kube.client import Client
from toyrental.kube.controller import Controller
from toyrental.kube.engine import Engine, Scope, heed_signals
from toyrental.kube.events import Recorder
from toyrental.kube.health import Health
from toyrental.kube.health import serving as answering
from toyrental.kube.leadership import Alone, Elector, Leadership, LeaseStore
from toyrental.kube.writer import Writer
from toyrental.payments.gateways import Gateways
from toyrental.shared.clock import exact_now, utc_now
from toyrental.shared.decisions import Event
from toyrental.shared.metrics import serving

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
LEASES = "coordination.k8s.io"
EVENTS = "events.k8s.io"


class CannotRun(Exception):
    """The operator cannot work here; `str()` says why and what to do."""


@dataclass(frozen=True)
class ElectionOptions:
    """How one of several is elected: by which Lease, and by what name this one is known.

    Without a namespace it is the one of the pod, or of the kubeconfig.
    """

    namespace: str | None
    name: str
    identity: str


@dataclass(frozen=True)
class ProbeOptions:
    """Where probes are answered: /livez, /readyz, and `alive`, another path for the first."""

    host: str
    port: int
    alive: str = "/livez"


@dataclass(frozen=True)
class Options:
    """How to run: the flags of `toyrental run`."""

    kubeconfig: Path | None
    contexts: tuple[Context, ...]
    namespaces: tuple[str, ...]
    gateway_endpoints: tuple[str, ...]
    probes: ProbeOptions | None
    metrics_address: tuple[str, int] | None
    webhooks_address: tuple[str, int] | None
    sweep_seconds: float
    election: ElectionOptions | None = None


async def operate(options: Options) -> None:
    """Run until SIGTERM or Ctrl-C. Raises CannotRun, NoConnection or ApiError at start.

    A process that led and leads no more begins anew, as if it had crashed: it may not know any
    more how things are.
    """
    asyncio.get_running_loop().set_exception_handler(_log_unless_closing)
    with ExitStack() as stack:
        health = Health()
        beating = asyncio.create_task(health.beat())
        if options.probes is not None:
            _answer_probes(stack, options.probes, health)
        if options.metrics_address is not None:
            _serve_metrics(stack, *options.metrics_address)
        webhooks = _open_for_webhooks(stack, options.webhooks_address)
        found = connection.find(options.kubeconfig)
        lease = _lease(options.election, found)
        await _check(options, lease)
        stop = asyncio.Event()
        heed_signals(stop)
        logger.info("running %s", ", ".join(options.contexts))
        while not stop.is_set():
            await _operate(options, lease, found, stop=stop, health=health, webhooks=webhooks)
        beating.cancel()
        logger.info("stopped")


def _serve_metrics(stack: ExitStack, host: str, port: int) -> None:
    with _listening("the metrics cannot be served", host, port, "--metrics"):
        port = stack.enter_context(serving(host, port))
    logger.info("metrics at http://%s:%d/metrics", _in_url(host), port)


def _answer_probes(stack: ExitStack, probes: ProbeOptions, health: Health) -> None:
    routes = {
        probes.alive: health.liveness,
        "/livez": health.liveness,
        "/readyz": health.readiness,
    }
    with _listening("probes cannot be answered", probes.host, probes.port, "--health"):
        port = stack.enter_context(answering(probes.host, probes.port, routes))
    place = f"http://{_in_url(probes.host)}:{port}"
    logger.info("probes at %s", ", ".join(place + path for path in routes))


def _open_for_webhooks(stack: ExitStack, address: tuple[str, int] | None) -> socket.socket | None:
    """Listen for webhooks, where that is asked for: for as long as the process runs."""
    if address is None:
        return None
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with _listening("webhooks cannot be received", host, port, "--webhooks"):
        listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    port = listener.getsockname()[1]
    logger.info("webhooks at http://%s:%d/webhooks/NAMESPACE/GATEWAY", _in_url(host), port)
    return listener


@contextmanager
def _listening(trouble: str, host: str, port: int, flag: str) -> Iterator[None]:
    """Say in a sentence why nothing can listen there."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotRun(
            f"{trouble} at {_in_url(host)}:{port}: {why};"
            f" free the port, or name another address with {flag}"
        ) from error


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _lease(election: ElectionOptions | None, found: kopf.ConnectionInfo) -> tuple[str, str] | None:
    """Return the namespace and the name of the Lease, if there is an election."""
    if election is None:
        return None
    namespace = election.namespace or found.default_namespace
    if not namespace:
        raise CannotRun(
            "neither a pod nor the kubeconfig says in which namespace the Lease of the leader"
            " election is; name it with --lease-namespace"
        )
    return namespace, election.name


async def _check(options: Options, lease: tuple[str, str] | None) -> None:
    kinds = kinds_needed(options.contexts)
    async with Client(lambda: connection.find(None), kinds) as client:
        await check(client, options.contexts, Scope(options.namespaces))
        if lease is not None:
            await check_lease(client, *lease)


async def _operate(  # noqa: PLR0913 # what it runs on
    options: Options,
    lease: tuple[str, str] | None,
    found: kopf.ConnectionInfo,
    *,
    stop: asyncio.Event,
    health: Health,
    webhooks: socket.socket | None,
) -> None:
    """Run until `stop` is set, or until this process leads no more."""
    kinds = kinds_needed(options.contexts)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(lambda: connection.find(None), kinds))
        cache = Cache(kinds)
        recorder = Recorder(client, instance=socket.gethostname())
        leadership: Leadership = Alone()
        if lease is not None and options.election is not None:
            # With a connection of its own: the Lease must not wait for others' requests.
            own = await stack.enter_async_context(Client(lambda: connection.find(None), ()))
            leadership = _elector(LeaseStore(own, *lease), options, options.election, recorder)
        metrics.LEADER.labels(lease[1] if lease else "").set_function(
            lambda: float(leadership.leads())
        )
        gateways = Gateways(options.gateway_endpoints, client.get_secret)
        writer = Writer(client, cache, recorder, leadership.leads)
        means = Means(client, cache, writer, gateways, utc_now)
        controllers = [
            Controller(made, cache, exact_now) for made in reconcilers(options.contexts, means)
        ]
        engine = Engine(
            client,
            cache,
            controllers,
            scope=Scope(options.namespaces),
            leadership=leadership,
            stop=stop,
            sweep_seconds=options.sweep_seconds,
        )
        health.part = engine
        recording = asyncio.create_task(recorder.run())
        lag = asyncio.create_task(metrics.measure_lag())
        beside = [recording, lag]
        try:
            async with AsyncExitStack() as doors:
                if webhooks is not None:
                    (payments,) = (each for each in controllers if each.kind == "Payment")
                    receiving = await _receive_webhooks(
                        doors, means, payments, leadership, webhooks
                    )
                    beside.append(receiving)
                await engine.run(found, beside)
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(recorder.flush(), FLUSH_SECONDS)
            recording.cancel()
            lag.cancel()
            await gateways.close()


def _elector(
    store: LeaseStore, options: Options, election: ElectionOptions, recorder: Recorder
) -> Elector:
    def tell(note: str) -> None:
        event = Event("LeaderElection", note, action="LeaderElection")
        recorder.tell(store.reference, event)

    shops = ",".join(sorted(options.namespaces)) or "all shops"
    serves = f"{','.join(sorted(options.contexts))} of {shops}"
    return Elector(election.identity, store, serves=serves, told=tell)


async def _receive_webhooks(
    doors: AsyncExitStack,
    means: Means,
    payments: Controller,
    leadership: Leadership,
    listener: socket.socket,
) -> asyncio.Task[None]:
    """Begin to receive webhooks, and return the task that does."""
    from toyrental.payments import webhooks  # noqa: PLC0415 - most have no use for a web server

    receiver = webhooks.Receiver(
        means.cache, means.gateways, lambda key: payments.look_at([key]), leadership.leads
    )
    return await doors.enter_async_context(webhooks.serving(receiver, listener))


def _log_unless_closing(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave out what goes wrong when generators are closed at the very end.

    Those of kopf that are told so in the midst of an event fail then; nothing is lost by it.
    """
    if "asyncgen" in context:
        logger.debug("%s", context["message"])
    else:
        loop.default_exception_handler(context)


async def check(client: Client, contexts: Sequence[Context], scope: Scope) -> None:
    """Raise CannotRun where the CRDs or the permissions to work with them are missing."""
    served = await client.served_kinds()
    kinds = [kind.SERVED.kind for kind in kinds_needed(contexts)]
    missing = [kind for kind in kinds if kind not in served]
    if missing:
        raise CannotRun(
            f"the API server does not serve {', '.join(missing)};"
            " install the CRDs: kubectl apply --server-side -f crds/"
        )
    refused = [
        f"{right.verb} {right.resource}" + (f" in {place}" if place else "")
        for place in scope.named or (None,)
        for right in rights(contexts)
        # Which Secrets it may read is the shops' to say, each by its name where they like; one that
        # is named and may not be read is told of by the gateway or the Payment.
        if right.resource != "secrets"
        and not await client.allowed(right.verb, right.group, right.resource, place)
    ]
    if refused:
        role = f"toyrental-{contexts[0] if len(contexts) == 1 else 'operator'}"
        raise CannotRun(
            f"the operator may not {refused[0]}"
            + (f" (nor {len(refused) - 1} more)" if len(refused) > 1 else "")
            + f"; bind it to the role {role}: kubectl apply -k manifests/rbac"
        )


async def check_lease(client: Client, namespace: str, name: str) -> None:
    """Raise CannotRun where this one may not take part in the election by that Lease."""
    needed = (("create", ""), ("get", name), ("patch", name))
    refused = [
        verb
        for verb, which in needed
        if not await client.allowed(verb, LEASES, "leases", namespace, which)
    ]
    what = f"{' or '.join(refused)} the Lease {namespace}/{name}"
    if not refused and not await client.allowed("create", EVENTS, "events", namespace):
        what = f"create events in {namespace}, to tell who leads"
    elif not refused:
        return
    raise CannotRun(
        f"the operator may not {what};"
        f" bind it to the role toyrental-leader-election in {namespace},"
        " or run one process without --leader-election"
    )
