"""What the story needs, payment simulator and operator, and what shows it, board and Prometheus."""

import itertools
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dev import prometheus
from dev.cluster import Cluster, programs
from dev.cluster.layout import Layout
from dev.cluster.ports import free

TOYRENTAL = Path(sys.executable).with_name("toyrental")
USUAL_PORT = 8790
"""Where the payment gateway of the samples looks for the simulator."""
USUAL_METRICS_PORT = 9090
"""Where the operator shows its metrics."""
USUAL_BOARD_PORT = 8795
USUAL_PROMETHEUS_PORT = 9095
OWNER = "owner"
"""The service account that runs the shop, and signs in at the board."""
SHOP = "toy-library"


def start_simulator(layout: Layout) -> str:
    """Start the payment simulator unless it runs, and return where it listens.

    That is the usual port where nobody else has it. Raises ClusterError.
    """
    if not any(program.name == "simulator" for program in programs.running(layout)):
        port = USUAL_PORT if _is_free(USUAL_PORT) else 0
        ledger = programs.directory(layout) / "ledger.db"
        _start(layout, "simulator", "simulator", f"--port={port}", f"--ledger={ledger}")
    said = programs.log(layout, "simulator").read_text()
    return str(next(record["url"] for record in _records(said) if "url" in record))


def start_operator(layout: Layout, cluster: Cluster, *, only: str = "") -> None:
    """Start the operator for all shops, or for `only` one namespace. Raises ClusterError."""
    port = USUAL_METRICS_PORT if _is_free(USUAL_METRICS_PORT) else 0
    _start(
        layout,
        "operator",
        "run",
        f"--kubeconfig={cluster.kubeconfig}",
        f"--namespaces={only}",
        "--gateway-endpoints=http://127.0.0.1:*",
        f"--metrics=http://127.0.0.1:{port}/metrics",
    )


def start_board(layout: Layout, cluster: Cluster, namespace: str) -> str:
    """Start the board for one shop, and return where it is. Raises ClusterError."""
    port = USUAL_BOARD_PORT if _is_free(USUAL_BOARD_PORT) else 0
    flags = (f"--kubeconfig={cluster.kubeconfig}", f"--namespaces={namespace}", f"--port={port}")
    _start(layout, "board", "board", *flags, ready=lambda said: "The board is at" in said)
    said = programs.log(layout, "board").read_text()
    return next(word for word in said.split() if word.startswith("http://"))


def start_prometheus(layout: Layout) -> str:
    """Start a Prometheus that scrapes the operator each second, and return where it is.

    Where this machine has none it is downloaded first. Raises NotToBeHad and ClusterError.
    """
    program = prometheus.programs().prometheus
    port = USUAL_PROMETHEUS_PORT if _is_free(USUAL_PROMETHEUS_PORT) else free(1)[0]
    flags = prometheus.configure(
        programs.directory(layout) / "prometheus",
        urlsplit(metrics_url(layout)).netloc,
        prometheus.rules(),
    )
    programs.start(
        layout,
        "prometheus",
        [str(program), *flags, f"--web.listen-address=127.0.0.1:{port}"],
        os.environ,
        ready=lambda said: prometheus.READY in said,
    )
    return f"http://127.0.0.1:{port}"


def metrics_url(layout: Layout) -> str:
    """Return where the operator shows its metrics, from what it said at its start."""
    said = programs.log(layout, "operator").read_text()
    events = (str(record.get("event", "")) for record in _records(said))
    return next(event.split()[-1] for event in events if event.startswith("metrics at "))


def unused_namespace(cluster: Cluster, *, guest: bool) -> str:
    """Return a name that no namespace has; on somebody else's cluster one that says whose it is."""
    if guest:
        return f"toyrental-demo-{secrets.token_hex(3)}"
    taken = set(cluster.run_kubectl("get", "namespaces", "--output=name").split())
    names = (SHOP if n == 1 else f"{SHOP}-{n}" for n in itertools.count(1))
    return next(name for name in names if f"namespace/{name}" not in taken)


def close_shop(cluster: Cluster, namespace: str) -> None:
    """Delete a shop with all that is in it; the operator, still there, settles its payments."""
    cluster.run_kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=60s")


def _is_ready(said: str) -> bool:
    return any(record.get("event") in {"listening", "ready"} for record in _records(said))


def _start(
    layout: Layout, name: str, *arguments: str, ready: Callable[[str], bool] = _is_ready
) -> None:
    programs.start(
        layout,
        name,
        [sys.executable, str(TOYRENTAL), *arguments, "--log-format=json"],
        # No flag but those above, whatever the user has set for programs of their own.
        {name: value for name, value in os.environ.items() if not name.startswith("TOYRENTAL_")},
        ready=ready,
    )


def _records(said: str) -> Iterator[dict[str, Any]]:
    """Yield what a program logged as JSON; its last line may not be whole yet."""
    for line in said.splitlines():
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
