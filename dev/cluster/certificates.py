"""The keys, certificates and tokens of one control plane, made anew at each start."""

import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

from .layout import write_private

# Who may do anything, and who the controllers are. RBAC knows both names and both groups from its
# bootstrap roles.
ADMINISTRATOR = ("toyrental-admin", "system:masters")
CONTROLLER_MANAGER = ("system:kube-controller-manager", "system:authenticated")


@dataclass(frozen=True)
class Credentials:
    """Files for the processes' flags, and the two bearer tokens."""

    ca: Path
    serving: Path
    serving_key: Path
    service_accounts_key: Path
    tokens: Path
    administrator_token: str
    controller_manager_token: str


def issue(directory: Path) -> Credentials:
    """Write a certificate authority's worth of files into the directory, each of mode 0600.

    One certificate for loopback serves etcd and the API server, and is what the API server shows
    etcd: etcd lets nobody in without one, else every user of the machine could read all Secrets.
    The authority's own key is never written.
    """
    authority = trustme.CA(organization_name="toyrental development cluster")
    serving = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
    service_accounts = authority.issue_cert("service-accounts.invalid")
    credentials = Credentials(
        ca=directory / "ca.crt",
        serving=directory / "serving.crt",
        serving_key=directory / "serving.key",
        service_accounts_key=directory / "service-accounts.key",
        tokens=directory / "tokens.csv",
        administrator_token=secrets.token_urlsafe(32),
        controller_manager_token=secrets.token_urlsafe(32),
    )
    write_private(credentials.ca, authority.cert_pem.bytes())
    write_private(credentials.serving, serving.cert_chain_pems[0].bytes())
    write_private(credentials.serving_key, serving.private_key_pem.bytes())
    write_private(credentials.service_accounts_key, service_accounts.private_key_pem.bytes())
    write_private(credentials.tokens, _token_file(credentials).encode())
    return credentials


def client_context(directory: Path) -> ssl.SSLContext:
    """Return what a client needs to be let in by etcd, from the files that `issue` wrote."""
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / "serving.crt", directory / "serving.key")
    return context


def _token_file(credentials: Credentials) -> str:
    rows = (
        (credentials.administrator_token, *ADMINISTRATOR),
        (credentials.controller_manager_token, *CONTROLLER_MANAGER),
    )
    return "".join(f"{token},{user},{user},{group}\n" for token, user, group in rows)
