"""The registry of all that this process measures, and the endpoint that shows it.

Each part declares its metrics in a `metrics.py` of its own: named `toyrental_…`, in base units,
and with no label whose values grow with the number of objects (of gateways a shop has one or two).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

# When each counter was made is a series more for each, and of no use to anybody.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)


@contextmanager
def serving(host: str, port: int) -> Iterator[int]:
    """Show the metrics over HTTP, from a thread of its own; give the port.

    Port 0 is any free one. Raises OSError where nothing can listen there.
    """
    server, thread = start_http_server(port, host, REGISTRY)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
