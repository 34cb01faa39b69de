"""Running the operator: connect, check that it can work at all, then watch and reconcile."""

import asyncio
import logging
import socket
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toyrental.contexts import Context, Means, kinds_needed, kinds_written, reconcilers
from toyrental.kube import connection, metrics
from toyrental.kube.cache import Cache
from toyrental.kube.client import Client
from toyrental.kube.controller import Controller
from toyrental.kube.engine import Engine, Scope
from toyrental.kube.events import Recorder
from toyrental.kube.writer import Writer
from toyrental.payments.gateways import Gateways
from toyrental.shared.clock import exact_now, utc_now
from toyrental.shared.metrics import serving
from toyrental.shared.resource import GROUP, Resource

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0


class CannotRun(Exception):
    """The operator cannot work here; `str()` says why and what to do."""


@dataclass(frozen=True)
class Options:
    """How to run: the flags of `toyrental run`."""

    kubeconfig: Path | None
    contexts: tuple[Context, ...]
    namespaces: tuple[str, ...]
    gateway_endpoints: tuple[str, ...]
    liveness_endpoint: str | None
    metrics_address: tuple[str, int] | None
    sweep_seconds: float


async def operate(options: Options) -> None:
    """Run until SIGTERM or Ctrl-C. Raises CannotRun, NoConnection or ApiError at start."""
    with ExitStack() as stack:
        if options.metrics_address is not None:
            _serve_metrics(stack, *options.metrics_address)
        await _operate(options)


def _serve_metrics(stack: ExitStack, host: str, port: int) -> None:
    try:
        port = stack.enter_context(serving(host, port))
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotRun(
            f"the metrics cannot be served at {host}:{port}: {why};"
            " free the port, or name another address with --metrics"
        ) from error
    place = f"[{host}]" if ":" in host else host
    logger.info("metrics at http://%s:%d/metrics", place, port)


async def _operate(options: Options) -> None:
    asyncio.get_running_loop().set_exception_handler(_log_unless_closing)
    found = connection.find(options.kubeconfig)
    kinds = kinds_needed(options.contexts)
    scope = Scope(options.namespaces)
    async with Client(lambda: connection.find(None), kinds) as client:
        await check(client, kinds, kinds_written(options.contexts), scope)
        cache = Cache(kinds)
        recorder = Recorder(client, instance=socket.gethostname())
        gateways = Gateways(options.gateway_endpoints, client.get_secret)
        means = Means(client, cache, Writer(client, cache, recorder), gateways, utc_now)
        controllers = [
            Controller(made, cache, exact_now) for made in reconcilers(options.contexts, means)
        ]
        engine = Engine(client, cache, controllers, scope, options.sweep_seconds)
        recording = asyncio.create_task(recorder.run())
        lag = asyncio.create_task(metrics.measure_lag())
        logger.info("running %s", ", ".join(options.contexts))
        try:
            await engine.run(found, options.liveness_endpoint, beside=[recording, lag])
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(recorder.flush(), FLUSH_SECONDS)
            recording.cancel()
            lag.cancel()
            await gateways.close()
            logger.info("stopped")


def _log_unless_closing(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave out what goes wrong when generators are closed at the very end.

    Those of kopf that are told so in the midst of an event fail then; nothing is lost by it.
    """
    if "asyncgen" in context:
        logger.debug("%s", context["message"])
    else:
        loop.default_exception_handler(context)


async def check(
    client: Client,
    kinds: Iterable[type[Resource]],
    written: Iterable[type[Resource]],
    scope: Scope,
) -> None:
    """Raise CannotRun where the CRDs or the permissions to work with them are missing."""
    kinds = tuple(kinds)
    served = await client.served_kinds()
    missing = [kind.SERVED.kind for kind in kinds if kind.SERVED.kind not in served]
    if missing:
        raise CannotRun(
            f"the API server does not serve {', '.join(missing)};"
            " install the CRDs: kubectl apply --server-side -f crds/"
        )
    needed = [
        *((verb, kind.SERVED.plural) for kind in kinds for verb in ("list", "watch")),
        *(("patch", f"{kind.SERVED.plural}/status") for kind in written),
    ]
    places = scope.named or (None,)
    refused = [
        f"{verb} {resource}" + (f" in {place}" if place else "")
        for place in places
        for verb, resource in needed
        if not await client.allowed(verb, GROUP, resource, place)
    ]
    if refused:
        raise CannotRun(
            f"the operator may not {refused[0]}"
            + (f" (nor {len(refused) - 1} more)" if len(refused) > 1 else "")
            + "; bind it to the role toyrental-operator: kubectl apply -k manifests/rbac"
        )
