"""What must be there before the story begins: payment simulator, operator, an empty shop."""

import itertools
import json
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dev.cluster import Cluster, programs
from dev.cluster.layout import Layout

TOYRENTAL = Path(sys.executable).with_name("toyrental")
USUAL_PORT = 8790
"""Where the payment gateway of the samples looks for the simulator."""
USUAL_METRICS_PORT = 9090
"""Where the operator shows its metrics."""
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


def _start(layout: Layout, name: str, *arguments: str) -> None:
    ready = {"listening", "ready"}
    programs.start(
        layout,
        name,
        [sys.executable, str(TOYRENTAL), *arguments, "--log-format=json"],
        # No flag but those above, whatever the user has set for programs of their own.
        {name: value for name, value in os.environ.items() if not name.startswith("TOYRENTAL_")},
        ready=lambda said: any(record.get("event") in ready for record in _records(said)),
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
