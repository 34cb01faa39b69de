"""The Kubernetes cluster that tests, demo and benchmark run on."""

from .cluster import Cluster
from .controlplane import ControlPlane, Status
from .errors import ClusterError
from .select import select_cluster

__all__ = ["Cluster", "ClusterError", "ControlPlane", "Status", "select_cluster"]
