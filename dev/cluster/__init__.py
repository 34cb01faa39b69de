"""The Kubernetes cluster that tests, demo and benchmark run on."""

from .cluster import Cluster
from .controlplane import ControlPlane, Status
from .errors import ClusterError
from .select import select_cluster
from .up import Auth, bring_up

__all__ = [
    "Auth",
    "Cluster",
    "ClusterError",
    "ControlPlane",
    "Status",
    "bring_up",
    "select_cluster",
]
