"""Sign-in by OpenID Connect: a provider on loopback, and an API server that trusts it.

The provider is Dex. How people come by its tokens is in `dev.signin`.
"""

import base64
import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import trustme
import yaml
from joserfc.jwk import RSAKey
from rich.console import Console

from dev.signin.people import CONTEXTS, GROUPS, address

from . import kubeconfig, ports, programs
from .golang import GoProgram
from .layout import Layout, write_private

CLIENT_ID = "toyrental"
"""What tokens are for: their audience."""
GROUP_PREFIX = "oidc:"
"""What groups of the provider's are told by from those of the cluster's own."""
PROGRAM = "identity-provider"

DEX = GoProgram(
    name="dex",
    title="Dex, an OpenID Connect provider",
    version="2026-08-06",
    module=Path(__file__).parent.parent / "dex",
    flags=("-trimpath", "-ldflags=-s -w"),
)
_REPOSITORY = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Provider:
    """The provider of one state directory, by its folder. `make down` removes it."""

    layout: Layout

    @property
    def folder(self) -> Path:
        """Where its files are, readable by their owner only."""
        return programs.directory(self.layout) / PROGRAM

    @property
    def authentication(self) -> Path:
        """What the API server is told of it: an AuthenticationConfiguration."""
        return self.folder / "authentication.yaml"

    @property
    def issuer(self) -> str:
        """Where it is, and what its tokens say they are of."""
        return str(json.loads((self.folder / "provider.json").read_text())["issuer"])

    @property
    def exists(self) -> bool:
        """Whether the API server of this state directory was told of it."""
        return self.authentication.exists()

    def start(self, console: Console) -> None:
        """Start it unless it runs: as it was, where it was before. Raises ClusterError.

        The first time on a machine it has to be built, which shows its progress.
        """
        dex = DEX.path(console)
        if not self.exists:
            self._configure()
        if any(program.name == PROGRAM for program in programs.running(self.layout)):
            return
        programs.start(
            self.layout,
            PROGRAM,
            [str(dex), str(self.folder / "dex.json")],
            {},
            ready=lambda said: "msg=listening" in said,
        )

    def introduce(self, namespace: str = "default") -> None:
        """Give each person a user and a context of their own in the kubeconfig."""
        users = {name: {"exec": self._plugin(name)} for name in CONTEXTS.values()}
        kubeconfig.add(self.layout.kubeconfig, users, CONTEXTS, namespace)

    def _plugin(self, name: str) -> dict[str, Any]:
        return {
            "apiVersion": "client.authentication.k8s.io/v1",
            "interactiveMode": "Never",
            "command": sys.executable,
            "args": ["-m", "dev.signin.credential", str(self.folder), name],
            "env": [{"name": "PYTHONPATH", "value": str(_REPOSITORY)}],
        }

    def _configure(self) -> None:
        """Write certificates, a key, the people and what the API server is told."""
        listens_at = f"127.0.0.1:{ports.free(1)[0]}"
        issuer = f"https://{listens_at}"
        authority = trustme.CA(organization_name="toyrental identity provider")
        certificate = authority.issue_cert("127.0.0.1")
        key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        password = secrets.token_urlsafe(16)
        tls_cert, tls_key = self.folder / "tls.crt", self.folder / "tls.key"
        dex = {
            "issuer": issuer,
            "address": listens_at,
            "tlsCert": str(tls_cert),
            "tlsKey": str(tls_key),
            "clientID": CLIENT_ID,
            "passwords": _passwords(password),
            "signingKey": key.as_dict(private=True),
        }
        provider = {"issuer": issuer, "clientID": CLIENT_ID, "password": password}
        write_private(self.folder / "ca.crt", authority.cert_pem.bytes())
        write_private(tls_cert, certificate.cert_chain_pems[0].bytes())
        write_private(tls_key, certificate.private_key_pem.bytes())
        write_private(self.folder / "dex.json", json.dumps(dex).encode())
        write_private(self.folder / "provider.json", json.dumps(provider).encode())
        trusted = authentication_configuration(issuer, authority.cert_pem.bytes().decode())
        write_private(self.authentication, yaml.safe_dump(trusted, sort_keys=False).encode())


def authentication_configuration(issuer: str, ca: str) -> dict[str, Any]:
    """Return what an API server is told that shall take an issuer's tokens.

    The user is who the customer of an order is, so it has no prefix; no token makes anybody one of
    the cluster's own, whom policies know by their names.
    """
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [
            {
                "issuer": {"url": issuer, "audiences": [CLIENT_ID], "certificateAuthority": ca},
                "claimMappings": {
                    "username": {"claim": "preferred_username", "prefix": ""},
                    "groups": {"claim": "groups", "prefix": GROUP_PREFIX},
                },
                "userValidationRules": [
                    {
                        "expression": "!user.username.startsWith('system:')",
                        "message": "system: is for the cluster's own",
                    }
                ],
            }
        ],
    }


def _passwords(password: str) -> list[dict[str, Any]]:
    """Return everybody, as Dex has them in its books. It takes no cheaper hash than of cost 10."""
    hashed = base64.b64encode(bcrypt.hashpw(password.encode(), bcrypt.gensalt(10))).decode()
    return [
        {
            "email": address(name),
            "hash": hashed,
            "username": name,
            "preferredUsername": name,
            "userID": name,
            "groups": [group],
        }
        for group, names in GROUPS.items()
        for name in names
    ]
