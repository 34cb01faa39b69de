"""People sign in by OpenID Connect: which tokens the API server takes, and what groups may."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import trustme
import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from dev.cluster import Cluster, ControlPlane, kubeconfig, manifests
from dev.cluster.manifests import REPOSITORY
from tests.support import Api, Json, Refused, Shop, objects

AUDIENCE = "toyrental"
SHOP = "sign-in"


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def numbered(number: int) -> str:
    return encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))


class Issuer:
    """An issuer on loopback that publishes one key, and signs what it is told to."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = json.dumps(issuer.pages().get(self.path, {})).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(tls)
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def pages(self) -> dict[str, Json]:
        public = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one"}
        key |= {"n": numbered(public.n), "e": numbered(public.e)}
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            },
            "/keys": {"keys": [key]},
        }

    def token(self, *, alg: str = "RS256", **claims: Any) -> str:
        """Return Mina's token, who is a customer, but for the claims given."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "mina", "groups": ["customers"]}
        content = usual | {"iat": now, "exp": now + 3600} | claims
        head = {"alg": alg, "kid": "one", "typ": "JWT"}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, content))
        if alg == "none":
            return f"{signed}."
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encoded(signature)}"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="module")
def signing_in(
    issuer: Issuer, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Give a control plane that takes the issuer's tokens, with a shop open to its groups."""
    if cluster.kind != "embedded":
        pytest.skip("how people sign in to a cluster that others run is not ours to set")
    directory = tmp_path_factory.mktemp("sign-in")
    configuration = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [
            {
                "issuer": {
                    "url": issuer.url,
                    "audiences": [AUDIENCE],
                    "certificateAuthority": issuer.authority.cert_pem.bytes().decode(),
                },
                "claimMappings": {
                    "username": {"claim": "sub", "prefix": ""},
                    "groups": {"claim": "groups", "prefix": "oidc:"},
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
    file = directory / "authentication.yaml"
    file.write_text(yaml.safe_dump(configuration))
    with ControlPlane(
        directory / "control-plane",
        ephemeral=True,
        apply=[*manifests.present(), REPOSITORY / "manifests" / "rbac"],
        apiserver_flags=[f"--authentication-config={file}"],
    ) as made:
        made.run_kubectl("create", "namespace", SHOP)
        for group, role in (("customers", "customer"), ("owners", "store-owner")):
            binding = ("create", "rolebinding", group, f"--namespace={SHOP}")
            made.run_kubectl(*binding, f"--clusterrole=toyrental-{role}", f"--group=oidc:{group}")
        yield made


def test_groups_are_roles_and_the_subject_is_the_customer(
    signing_in: Cluster, issuer: Issuer
) -> None:
    with (
        Api(signing_in.kubeconfig, issuer.token()) as mina,
        Api(signing_in.kubeconfig, issuer.token(sub="aya", groups=["owners"])) as aya,
    ):
        Shop(aya, SHOP).create(objects.toy("bear"))
        Shop(mina, SHOP).create(objects.rental("first", toy="bear", customer="mina"))
        with pytest.raises(Refused, match="this order is for ryu, and you are mina"):
            Shop(mina, SHOP).create(objects.rental("second", toy="bear", customer="ryu"))
        assert aya.may("approve", "rentals", SHOP)
        assert not mina.may("approve", "rentals", SHOP)


def test_no_other_token_is_taken(signing_in: Cluster, issuer: Issuer) -> None:
    head, content, signature = issuer.token().split(".")
    forged = issuer.token(groups=["owners"]).split(".")[1]
    tokens = {
        "expired": issuer.token(exp=int(time.time()) - 3600),
        "for another audience": issuer.token(aud="another"),
        "of another issuer": issuer.token(iss="https://127.0.0.1:1"),
        "in the collector's name": issuer.token(
            sub="system:serviceaccount:kube-system:generic-garbage-collector"
        ),
        "unsigned": issuer.token(alg="none"),
        "with other content": f"{head}.{forged}.{signature}",
        "signed by another": Issuer.token(stranger(issuer)),
        "without a signature": f"{head}.{content}.",
    }
    assert answered(signing_in, issuer.token()) == httpx.codes.OK
    for which, token in tokens.items():
        assert answered(signing_in, token) == httpx.codes.UNAUTHORIZED, which


def answered(cluster: Cluster, token: str) -> int:
    """Return how the API server answers whoever has that token."""
    with kubeconfig.client(cluster.kubeconfig) as client:
        return client.get("/api", headers={"Authorization": f"Bearer {token}"}).status_code


def stranger(issuer: Issuer) -> Issuer:
    """Return somebody who says to be the issuer, and has another key."""
    other = Issuer()
    other.close()
    other.url = issuer.url
    return other
