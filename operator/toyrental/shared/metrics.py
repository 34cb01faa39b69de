"""The registry of all that this process measures.

Each part declares its metrics in a `metrics.py` of its own: named `toyrental_…`, in base units,
and with no label whose values grow with the number of objects.
"""

from prometheus_client import CollectorRegistry

REGISTRY = CollectorRegistry(auto_describe=True)
