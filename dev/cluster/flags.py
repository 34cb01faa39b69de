"""The flags of each process, and why those that are not obvious are there."""

from pathlib import Path

from .certificates import Credentials
from .layout import Layout

AUDIT_POLICY = Path(__file__).with_name("audit-policy.yaml")

# What the product and its tests need of the cluster; no node ever joins, so the rest would only
# watch and wait.
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "resourcequota-controller",
    # Type-checks policies against the CRDs, and says in their status what it finds.
    "validatingadmissionpolicy-status-controller",
)


def etcd(layout: Layout, credentials: Credentials, client: int, peer: int) -> list[str]:
    """Return the flags for one member that holds throw-away data."""
    client_url, peer_url = f"https://127.0.0.1:{client}", f"https://127.0.0.1:{peer}"
    return [
        "--name=toyrental",
        f"--data-dir={layout.etcd_data}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=toyrental={peer_url}",
        f"--cert-file={credentials.serving}",
        f"--key-file={credentials.serving_key}",
        f"--trusted-ca-file={credentials.ca}",
        "--client-cert-auth",
        f"--peer-cert-file={credentials.serving}",
        f"--peer-key-file={credentials.serving_key}",
        f"--peer-trusted-ca-file={credentials.ca}",
        "--peer-client-cert-auth",
        # A power failure may lose the last writes. Processes being killed does not: what was
        # written is in the kernel's hands. Nothing in here outlives a `make down` anyway.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver(credentials: Credentials, etcd_url: str, port: int) -> list[str]:
    """Return the flags for an API server on loopback with RBAC and service accounts."""
    return [
        "--bind-address=127.0.0.1",
        # Without it an address of the network is looked for, and a machine may have none. Nothing
        # reads the endpoints of the Service `kubernetes` here, and loopback is not allowed there.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--tls-cert-file={credentials.serving}",
        f"--tls-private-key-file={credentials.serving_key}",
        f"--token-auth-file={credentials.tokens}",
        "--authorization-mode=RBAC",
        f"--etcd-servers={etcd_url}",
        f"--etcd-cafile={credentials.ca}",
        f"--etcd-certfile={credentials.serving}",
        f"--etcd-keyfile={credentials.serving_key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={credentials.service_accounts_key}",
        f"--service-account-signing-key-file={credentials.service_accounts_key}",
        "--service-cluster-ip-range=10.0.0.0/24",
    ]


def audit(log: Path) -> list[str]:
    """Return the flags by which an API server writes down who asked for what."""
    return [f"--audit-policy-file={AUDIT_POLICY}", f"--audit-log-path={log}"]


def controller_manager(credentials: Credentials, kubeconfig: Path) -> list[str]:
    """Return the flags for the few controllers in use, each under its own service account."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(CONTROLLERS)}",
        # As on real clusters, and policies exempt them by these names.
        "--use-service-account-credentials",
        f"--service-account-private-key-file={credentials.service_accounts_key}",
        f"--root-ca-file={credentials.ca}",
        "--leader-elect=false",
        # Nobody asks it anything: one port less.
        "--secure-port=0",
        # The default of 20 a second is meant for many clusters' worth of controllers sharing an
        # API server; here it would only make tests wait for the garbage collector.
        "--kube-api-qps=100",
        "--kube-api-burst=200",
    ]
