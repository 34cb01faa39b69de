"""`make demo AUTH=oidc`: people sign in by OpenID Connect, and which tokens the API server takes.

The provider is a real one, Dex, and tokens are come by as kubectl's users do. Those that must not
be taken are made from a real one, signed by the provider's own key, and differ in one thing.
"""

import json
import re
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey

from dev.cluster import Cluster, ClusterError, ControlPlane, kubeconfig
from dev.cluster.layout import Layout
from dev.cluster.oidc import CLIENT_ID, Provider
from dev.cluster.processes import find
from dev.cluster.programs import running
from dev.demo import house
from dev.demo.record import SIGN_IN_PAGE, last_scene
from dev.signin import credential, flow
from tests.demo.command import run
from tests.support import Api, eventually
from tests.support.prometheus import programs_or_skip

UP_ALREADY = (
    "Error: The control plane is up and was not told of an identity provider: "
    "take it down first by `make down`, then say AUTH=oidc again.\n"
)


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give where the demo keeps its files."""
    return tmp_path_factory.mktemp("sign-in")


@pytest.fixture(scope="module")
def played(cluster: Cluster, state_dir: Path, one_demo_at_a_time: None) -> Iterator[str]:  # noqa: ARG001
    """Play `make demo AUTH=oidc`, give what it showed, and take it down again."""
    if cluster.kind != "embedded":
        pytest.skip("how people sign in to a cluster that others run is not ours to set")
    where = f"--state-dir={state_dir}"
    demo = run("dev.demo", "--auth=oidc", where)
    try:
        assert demo.returncode == 0, demo.stdout
        yield demo.stdout
    finally:
        said = run("dev.cluster", "down", where).stdout
    for program in ("board", "identity-provider", "operator", "simulator"):
        assert f"Stopped the {program}." in said
    layout = Layout(state_dir)
    assert running(layout) == []
    assert find(layout) == {}
    assert not Provider(layout).folder.exists()


@pytest.fixture(scope="module")
def signing_in(played: str, state_dir: Path) -> Cluster:
    """Give the cluster that the demo left running."""
    assert played
    return ControlPlane(state_dir).start()


@pytest.fixture(scope="module")
def provider(played: str, state_dir: Path) -> Provider:
    """Give the provider that its people sign in at."""
    assert played
    return Provider(Layout(state_dir))


@pytest.fixture(scope="module")
def minas(provider: Provider) -> str:
    """Give the token that Mina has for her password, who is a customer."""
    return flow.sign_in(provider.folder, "mina")[0]


def test_people_play_it_as_themselves(played: str) -> None:
    for person, group in (("mina", "customers"), ("aya", "owners"), ("hana", "repairers")):
        assert re.search(rf"Username +{person}\n +Groups +\[oidc:{group} ", played)
    assert "kubectl --context=mina apply -f manifests/samples/20-rental-balance-bike.yaml" in played
    assert "aya approved it, aya looked at it" in played
    assert "7 charges     142,000 KRW taken" in played


def test_it_shows_what_each_can_and_cannot_do(played: str) -> None:
    table = {
        match[1].strip(): match[2].split()
        for match in re.finditer(
            r"^     (.{30})((?:(?:yes|-) +){2}(?:yes|-))$", played, re.MULTILINE
        )
    }
    assert table == {  # customer, owner, repairer
        "order a toy for themselves": ["yes", "yes", "-"],
        "order one in Ryu's name": ["-", "-", "-"],
        "cancel another's order": ["-", "-", "-"],
        "approve an order": ["-", "yes", "-"],
        "withdraw a toy": ["-", "yes", "-"],
        "see all payments": ["-", "yes", "-"],
        "take on a repair": ["-", "yes", "yes"],
        "say how a repair ended": ["-", "-", "yes"],
        "write what the operator says": ["-", "-", "-"],
    }
    for refusal in (
        "Rental you-train is not your order, and you are mina",
        "you, mina, may not approve or deny Rental mina-bike: ask the owner of the shop to do it",
        "you, aya, may not end the repair bobby-car-wheel: ask a repairer to do it",
        'User "hana" cannot patch resource "toys"',
    ):
        assert refusal in played


def test_the_recorded_scene_is_played_so_today(played: str) -> None:
    assert last_scene(played) in SIGN_IN_PAGE.read_text(), (
        "record it anew: python -m dev.demo.record --auth=oidc"
    )


def test_kubectl_has_a_context_for_each_kind_of_person(signing_in: Cluster) -> None:
    assert "mina-bike" in signing_in.run_kubectl("--context=customer", "get", "rentals")
    with pytest.raises(ClusterError, match='User "hana" cannot list resource "rentals"'):
        signing_in.run_kubectl("--context=repairer", "get", "rentals")


def test_what_shows_the_shop_goes_on_after_the_demo(played: str, provider: Provider) -> None:
    """The board, where the owner signs in by the same token, and a Prometheus."""
    ayas = flow.sign_in(provider.folder, "aya")[0]
    (board,) = re.findall(r"the shop on a web page +(\S+)", played)
    with httpx.Client(base_url=board, trust_env=False, follow_redirects=True) as browser:
        assert "Your token" in browser.get("/").text
        assert "toys available" in browser.post("/sign-in", data={"token": ayas}).text
    programs_or_skip()
    (prometheus,) = re.findall(r"alerts, of Prometheus +curl -s (\S+)/alerts", played)
    query = f"{prometheus}/query?query=toyrental_build_info"
    eventually(lambda: httpx.get(query, trust_env=False).json()["data"]["result"])


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
        assert not mina.may("get", "secrets", house.SHOP)


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


def test_a_code_is_for_whoever_asked_for_it(provider: Provider) -> None:
    """Without PKCE the provider does not even ask who somebody is."""
    asked = {"client_id": CLIENT_ID, "redirect_uri": flow.REDIRECT, "scope": flow.SCOPES}
    trusted = ssl.create_default_context(cafile=str(provider.folder / "ca.crt"))
    with httpx.Client(base_url=provider.issuer, verify=trusted, trust_env=False) as browser:
        answer = browser.get("/auth/local", params={**asked, "response_type": "code"})
    assert answer.headers["location"].startswith(f"{flow.REDIRECT}?error=invalid_request")
    assert "PKCE is required" in unquote_plus(answer.headers["location"])


def test_whoever_cannot_sign_in_is_told_why(provider: Provider, tmp_path: Path) -> None:
    def amiss(**different: str) -> str:
        known = json.loads((provider.folder / "provider.json").read_text())
        (tmp_path / "provider.json").write_text(json.dumps(known | different))
        with pytest.raises(flow.SignInError) as told:
            flow.sign_in(tmp_path, "mina")
        return str(told.value)

    shutil.copy(provider.folder / "ca.crt", tmp_path)
    assert "does not take the password" in amiss(password="guessed")
    assert "does not answer (ConnectionError): `make up AUTH=oidc` starts it" in amiss(
        issuer="https://127.0.0.1:1"
    )
    assert "400 Client Error" in amiss(clientID="another")


def test_an_api_server_that_was_not_told_of_a_provider_is_left_alone(cluster: Cluster) -> None:
    if cluster.kind != "embedded":
        pytest.skip("it takes an embedded control plane that is up")
    up = ("dev.cluster", "up", "--auth=oidc")
    told = run(*up, f"--state-dir={cluster.kubeconfig.parent}")
    assert (told.returncode, told.stdout) == (1, UP_ALREADY)
    told = run(*up, TOYRENTAL_KUBECONFIG=str(cluster.kubeconfig))
    assert told.returncode == 1
    assert "How people sign in to a cluster that others run is set there" in told.stdout


def answered(cluster: Cluster, token: str) -> int:
    """Return how the API server answers whoever has that token."""
    with kubeconfig.client(cluster.kubeconfig) as client:
        return client.get("/api", headers={"Authorization": f"Bearer {token}"}).status_code
