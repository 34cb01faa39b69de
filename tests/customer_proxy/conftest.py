"""A customer proxy as customers have it: a process of its own, under its own account."""

import base64
import http.client
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import trustme
import yaml

from dev.cluster import Cluster
from tests.conftest import open_shop
from tests.support import Api, Json, Shop, eventually, objects
from tests.support.proxy import Proxy
from toyrental.customer_proxy.rules import LIST_OF_NAMES
from toyrental.kube import connection
from toyrental.rentals.models import Rental

TOYRENTAL = Path(sys.executable).with_name("toyrental")
PLUGIN = TOYRENTAL.with_name("kubectl-toyrental")
SECRET = "joons-own-words"
"""Is in every order of Joon's, and in no answer to anybody else."""

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
ONE = ("application/json", TABLE, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
MANY = ("application/json", TABLE, LIST_OF_NAMES)
"""What clients accept: whole objects, what kubectl prints, and metadata only."""

RBAC = "rbac.authorization.k8s.io"


class Said(NamedTuple):
    """An answer."""

    status: int
    text: str

    @property
    def json(self) -> Json:
        return dict(json.loads(self.text))

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.json["items"]]


class Certified(NamedTuple):
    """A certificate for loopback, its key, and who signed it."""

    authority: trustme.CA
    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return Certified(authority, certificate, key)


@pytest.fixture(scope="module")
def house(admin: Api, cluster: Cluster) -> Iterator[Shop]:
    """Give a shop with two toys."""
    for shop in open_shop(admin, cluster):
        for toy in ("bear", "kite"):
            shop.create(objects.toy(toy))
        yield shop


@pytest.fixture(scope="module")
def to_api_server(cluster: Cluster) -> Iterator[Proxy]:
    """Stand between the customer proxy and the API server, and see what passes."""
    found = connection.find(cluster.kubeconfig)
    with Proxy(found.server, connection.as_user(found, "").as_ssl_context()) as between:
        yield between


@pytest.fixture(scope="module")
def account(
    admin: Api, house: Shop, to_api_server: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Give the kubeconfig of the proxy's own account."""
    itself = house.person("proxy", role="toyrental-customer-proxy")
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{house.name}-proxy"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "toyrental-token-reviewer"},
        "subjects": [{"kind": "ServiceAccount", "name": "proxy", "namespace": house.name}],
    }
    bindings = f"/apis/{RBAC}/v1/clusterrolebindings"
    admin.request("post", bindings, binding)
    path = itself.api.write_kubeconfig(tmp_path_factory.mktemp("account") / "kubeconfig")
    content = yaml.safe_load(path.read_text())
    content["clusters"][0]["cluster"] = {"server": to_api_server.url}
    path.write_text(yaml.safe_dump(content))
    review = "/apis/authentication.k8s.io/v1/tokenreviews"
    wanted = {
        "spec": {
            "resourceAttributes": {
                "verb": "create",
                "group": "authentication.k8s.io",
                "resource": "tokenreviews",
            }
        }
    }
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    eventually(
        lambda: itself.api.create(kind | wanted)["status"]["allowed"],
        explain=lambda: f"the proxy may not ask {review}",
    )
    yield path
    admin.request("delete", f"{bindings}/{house.name}-proxy")


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def start(
    account: Path, certified: Certified, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Start proxies that end with the module, and see that they end well and log no token."""
    running: list[tuple[subprocess.Popen[str], Path]] = []

    def start(*flags: str) -> subprocess.Popen[str]:
        log = tmp_path_factory.mktemp("proxy") / "log"
        command = [*command_of(account, certified), "--log-level=debug", *flags]
        with log.open("w") as errors:
            proxy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        running.append((proxy, log))
        return proxy

    yield start
    for proxy, log in running:
        proxy.terminate()
        assert proxy.stdout is not None
        with proxy.stdout:
            assert proxy.wait(30) == 0, log.read_text()
        assert "eyJ" not in log.read_text()
        assert "Traceback" not in log.read_text()


def command_of(account: Path, certified: Certified) -> list[str]:
    return [
        str(TOYRENTAL),
        "customer-proxy",
        "--port=0",
        f"--kubeconfig={account}",
        f"--tls-cert-file={certified.certificate}",
        f"--tls-private-key-file={certified.key}",
    ]


def address_of(proxy: subprocess.Popen[str]) -> str:
    assert proxy.stdout is not None
    said = re.search(r"https://\S+", proxy.stdout.readline())
    assert said
    return said.group()


@pytest.fixture(scope="module")
def url(start: Start) -> str:
    return address_of(start())


class Customer:
    """Somebody who only has the proxy's address and a token."""

    def __init__(self, house: Shop, name: str, url: str, certified: Certified) -> None:
        self.shop = house.name
        self.direct = house.person(name, role="toyrental-customer-private")
        self.user = self.direct.api.who_am_i()
        self.url, self.certified = url, certified
        self._tls = ssl.create_default_context()
        certified.authority.configure_trust(self._tls)

    def rentals(self, name: str = "") -> str:
        return f"/apis/toyrental.dev/v1alpha1/namespaces/{self.shop}/rentals" + name

    def ask(
        self,
        target: str,
        method: str = "GET",
        body: Any = None,
        token: str | None = None,
        **headers: str,
    ) -> Said:
        """Send a request with the target to the letter, and read the answer to its end."""
        authorization = f"Bearer {self.token if token is None else token}"
        sent = {"Authorization": authorization} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        where = urlsplit(self.url)
        line = http.client.HTTPSConnection(
            str(where.hostname), where.port, context=self._tls, timeout=30
        )
        try:
            line.putrequest(method, target)
            data = b"" if body is None else json.dumps(body).encode()
            for name, value in (sent | {"Content-Length": str(len(data))}).items():
                line.putheader(name, value)
            line.endheaders(data)
            answer = line.getresponse()
            return Said(answer.status, answer.read().decode())
        finally:
            line.close()

    @property
    def token(self) -> str:
        token = self.direct.api._token
        assert token is not None
        return token

    def kubeconfig(self, path: Path) -> Path:
        self.direct.api.write_kubeconfig(path)
        content = yaml.safe_load(path.read_text())
        authority = self.certified.authority.cert_pem.bytes()
        content["clusters"][0]["cluster"] = {
            "server": self.url,
            "certificate-authority-data": base64.b64encode(authority).decode(),
        }
        content["contexts"][0]["context"]["namespace"] = self.shop
        path.write_text(yaml.safe_dump(content))
        return path


@pytest.fixture(scope="module")
def mina(house: Shop, url: str, certified: Certified) -> Customer:
    mina = Customer(house, "mina", url, certified)
    house.create(objects.rental("mina-bear", toy="bear", customer=mina.user))
    return mina


@pytest.fixture(scope="module")
def joon(house: Shop, url: str, certified: Certified) -> Customer:
    joon = Customer(house, "joon", url, certified)
    house.create(objects.rental("joon-kite", toy="kite", customer=joon.user, method=SECRET))
    house.patch(Rental, "joon-kite", metadata={"labels": {"note": SECRET}})
    # Or else it would prove nothing that nobody else sees it
    assert all(SECRET in joon.ask(joon.rentals(), Accept=form).text for form in MANY)
    assert all(SECRET in joon.ask(joon.rentals("/joon-kite"), Accept=form).text for form in ONE)
    return joon
