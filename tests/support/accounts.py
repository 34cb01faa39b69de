"""Who the operators of the tests are: an account with the operator's own roles, and no other."""

from pathlib import Path

from dev.cluster import Cluster
from tests.support.api import Api
from tests.support.waiting import eventually

NAMESPACE = NAME = "toyrental-operator"
ROLES = ("toyrental-operator", "toyrental-leader-election")


def kubeconfig(cluster: Cluster) -> Path:
    """Return how an operator reaches the cluster: as its account, where it has one."""
    own = cluster.kubeconfig.with_name("operator.kubeconfig")
    return own if own.exists() else cluster.kubeconfig


def make(cluster: Cluster) -> None:
    """Make the account, bound to its roles in every namespace, and write its kubeconfig.

    For clusters of our own: nobody takes it away again.
    """
    with Api(cluster.kubeconfig) as admin:
        admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for role in ROLES:
            admin.bind_everywhere(NAME, NAMESPACE, role)
        with admin.person(NAME, NAMESPACE) as operator:
            eventually(
                lambda: all(operator.may("create", e, NAMESPACE) for e in ("payments", "leases"))
            )
            operator.write_kubeconfig(cluster.kubeconfig.with_name("operator.kubeconfig"))
