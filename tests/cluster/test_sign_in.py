"""People sign in by OpenID Connect: which tokens the API server takes, and what groups may.

The provider is a real one, Dex, and tokens are come by as kubectl's users do. Those that must not
be taken are made from a real one, signed by the provider's own key, and differ in one thing.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey

from dev.cluster import Cluster, ClusterError, ControlPlane, kubeconfig
from dev.cluster.layout import Layout
from dev.cluster.manifests import REPOSITORY
from dev.cluster.oidc import GROUP_PREFIX, Provider
from dev.signin import credential, flow
from dev.signin.people import ROLES
from tests.support import Api, Refused, Shop, objects

SHOP = "sign-in"


@pytest.fixture(scope="module")
def signing_in(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give what `make up AUTH=oidc` does, with a shop open to the provider's groups."""
    if cluster.kind != "embedded":
        pytest.skip("how people sign in to a cluster that others run is not ours to set")
    state_dir = tmp_path_factory.mktemp("sign-in")
    try:
        run("dev.cluster", "up", "--auth=oidc", f"--state-dir={state_dir}")
        made = ControlPlane(state_dir).start()  # which is up
        made.run_kubectl("create", "namespace", SHOP)
        for group, role in ROLES.items():
            binding = ("create", "rolebinding", group, f"--namespace={SHOP}")
            made.run_kubectl(*binding, f"--clusterrole={role}", f"--group={GROUP_PREFIX}{group}")
        yield made
    finally:
        run("dev.cluster", "down", f"--state-dir={state_dir}")


def run(module: str, *arguments: str) -> str:
    """Run one of the repository's commands, and return what it shows."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def provider(signing_in: Cluster) -> Provider:
    """Give the provider that its people sign in at."""
    return Provider(Layout(signing_in.kubeconfig.parent))


@pytest.fixture(scope="module")
def minas(provider: Provider) -> str:
    """Give the token that Mina has for her password, who is a customer."""
    return flow.sign_in(provider.folder, "mina")[0]


def test_groups_are_roles_and_the_user_is_the_customer(
    signing_in: Cluster, provider: Provider, minas: str
) -> None:
    with (
        Api(signing_in.kubeconfig, minas) as mina,
        Api(signing_in.kubeconfig, flow.sign_in(provider.folder, "aya")[0]) as aya,
    ):
        Shop(aya, SHOP).create(objects.toy("bear"))
        Shop(mina, SHOP).create(objects.rental("first", toy="bear", customer="mina"))
        with pytest.raises(Refused, match="this order is for ryu, and you are mina"):
            Shop(mina, SHOP).create(objects.rental("second", toy="bear", customer="ryu"))
        assert aya.may("approve", "rentals", SHOP)
        assert not mina.may("approve", "rentals", SHOP)


def test_kubectl_has_a_context_for_each_of_them(signing_in: Cluster) -> None:
    names = ("customer", "owner", "repairer", "ryu")
    said = [signing_in.run_kubectl(f"--context={name}", "auth", "whoami") for name in names]
    users = [line.split()[1] for each in said for line in each.splitlines() if "Username" in line]
    assert users == ["mina", "aya", "hana", "ryu"]
    signing_in.run_kubectl("--context=customer", f"--namespace={SHOP}", "get", "rentals")
    with pytest.raises(ClusterError, match='User "hana" cannot list resource "rentals"'):
        signing_in.run_kubectl("--context=repairer", f"--namespace={SHOP}", "get", "rentals")


def test_no_other_token_is_taken(signing_in: Cluster, provider: Provider, minas: str) -> None:
    key = RSAKey.import_key(json.loads((provider.folder / "dex.json").read_text())["signingKey"])
    read = jwt.decode(minas, key)
    now = int(time.time())

    def signed(by: RSAKey = key, **claims: Any) -> str:
        """Return Mina's token with other claims, as the provider signs."""
        return jwt.encode(read.header, {**read.claims, **claims}, by)

    head, content, signature = minas.split(".")
    forged = signed(groups=["owners"]).split(".")[1]
    with pytest.warns(SecurityWarning):
        unsigned = jwt.encode({"alg": "none"}, read.claims, key, algorithms=["none"])
    stranger = RSAKey.generate_key(2048, {"kid": str(key.kid)})
    tokens = {
        "expired": signed(iat=now - 7200, exp=now - 3600),
        "without an end": signed(exp=None),
        "for another audience": signed(aud="another"),
        "of another issuer": signed(iss="https://127.0.0.1:1"),
        "in the collector's name": signed(
            preferred_username="system:serviceaccount:kube-system:generic-garbage-collector"
        ),
        "unsigned": unsigned,
        "with other content": f"{head}.{forged}.{signature}",
        "with another's content": f"{head}.{content}.{signed(sub='ryu').split('.')[2]}",
        "signed by another": signed(by=stranger),
        "without a signature": f"{head}.{content}.",
    }
    assert answered(signing_in, minas) == httpx.codes.OK
    assert answered(signing_in, signed(jti="again")) == httpx.codes.OK
    for which, token in tokens.items():
        assert answered(signing_in, token) == httpx.codes.UNAUTHORIZED, which


def test_no_token_makes_anybody_an_administrator(
    signing_in: Cluster, provider: Provider, minas: str
) -> None:
    key = RSAKey.import_key(json.loads((provider.folder / "dex.json").read_text())["signingKey"])
    read = jwt.decode(minas, key)
    token = jwt.encode(read.header, {**read.claims, "groups": ["system:masters"]}, key)
    with Api(signing_in.kubeconfig, token) as mina:
        assert not mina.may("get", "secrets", SHOP)


def test_a_token_is_kept_until_shortly_before_its_end(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed() -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["credential", str(provider.folder), "nari"])
        credential.main()
        status = json.loads(capsys.readouterr().out)["status"]
        return status["token"], status["expirationTimestamp"]

    first, expires = printed()
    assert printed() == (first, expires)
    kept = provider.folder / "tokens" / "nari.json"
    assert kept.stat().st_mode & 0o077 == 0
    kept.write_text(kept.read_text().replace(expires, "2026-01-01T00:00:00+00:00"))
    assert printed()[0] != first


def test_whoever_cannot_sign_in_is_told_why(provider: Provider, tmp_path: Path) -> None:
    def amiss(**different: str) -> str:
        known = json.loads((provider.folder / "provider.json").read_text())
        (tmp_path / "provider.json").write_text(json.dumps(known | different))
        with pytest.raises(flow.SignInError) as told:
            flow.sign_in(tmp_path, "mina")
        return str(told.value)

    shutil.copy(provider.folder / "ca.crt", tmp_path)
    assert "does not take the password" in amiss(password="guessed")
    assert "`make up AUTH=oidc` starts the provider" in amiss(issuer="https://127.0.0.1:1")
    assert "400 Client Error" in amiss(clientID="another")


def answered(cluster: Cluster, token: str) -> int:
    """Return how the API server answers whoever has that token."""
    with kubeconfig.client(cluster.kubeconfig) as client:
        return client.get("/api", headers={"Authorization": f"Bearer {token}"}).status_code
