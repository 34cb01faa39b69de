"""`toyrental run` as a command: it says in a sentence why it cannot run, and ends when asked to."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from dev.cluster import Cluster
from tests.e2e.business import Business
from tests.e2e.conftest import check_all
from tests.support import Api, Json, Refused, Shop, can, objects
from tests.support.operator import TOYRENTAL, OperatorProcess, SimulatorProcess
from toyrental.cli.run import CONTEXTS, lease_of
from toyrental.repairs.models import RepairTicket

CANNOT_RUN = 1
USAGE = 2
ENDS_SECONDS = 60


def run(*flags: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `toyrental run`, which is to end by itself."""
    return subprocess.run(
        [TOYRENTAL, "run", *flags],
        env={"PATH": "/usr/bin:/bin", "TERM": "dumb", "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=ENDS_SECONDS,
        check=False,
    )


def sentence(ended: "subprocess.CompletedProcess[str]") -> str:
    """Return the one sentence that a command which cannot run says."""
    assert ended.returncode == CANNOT_RUN, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("toyrental: ")
    return line


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--contexts=rentals,repair", ["--contexts", "repair", "repairs, payments"]),
        ("--contexts=", ["--contexts", "choose from"]),
        ("--log-format=xml", ["--log-format", "json"]),
        ("--metrics=9090", ["--metrics", "http://127.0.0.1:9090/metrics"]),
        ("--metrics=http://127.0.0.1:99999/metrics", ["--metrics", "is not an address"]),
        ("--health=8080", ["--health", "http://127.0.0.1:8080"]),
        ("--health=http://127.0.0.1:8080/healthz", ["--health", "is not an address"]),
        ("--liveness=http://127.0.0.1:8080", ["--liveness", "http://127.0.0.1:8080/healthz"]),
        ("--webhooks=127.0.0.1:8791", ["--webhooks", "http://127.0.0.1:8791/webhooks"]),
        ("--webhooks=http://127.0.0.1:8791/", ["--webhooks", "is not an address"]),
        ("--wrong", ["--wrong"]),
    ],
)
def test_a_wrong_flag_is_named(flag: str, words: list[str]) -> None:
    ended = run(flag)
    assert ended.returncode == USAGE
    for word in words:
        assert word in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("contexts", "name"),
    [
        (CONTEXTS, "toyrental-operator"),
        (CONTEXTS[::-1], "toyrental-operator"),
        (("payments",), "toyrental-payments"),
        (("stores", "rentals"), "toyrental-rentals-stores"),
    ],
)
def test_who_runs_the_same_contexts_has_the_same_lease(
    contexts: tuple[str, ...], name: str
) -> None:
    assert lease_of(contexts) == name


def test_every_flag_and_its_variable_is_in_the_help() -> None:
    ended = run("--help")
    assert ended.returncode == 0
    flags = "contexts kubeconfig namespaces gateway-endpoints health liveness metrics webhooks"
    election = "log-format leader-election lease-namespace lease-name identity"
    for flag in (flags + " " + election).split():
        assert f"--{flag}" in ended.stdout
        assert f"TOYRENTAL_{flag.upper().replace('-', '_')}" in ended.stdout


NO_CERTIFICATE = """
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1", certificate-authority: /nowhere}}]
users: [{name: a, user: {token: a}}]
"""


@pytest.mark.parametrize("content", [None, "", "nonsense", "a: [", NO_CERTIFICATE])
def test_an_unusable_kubeconfig_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    assert str(path) in sentence(run(f"--kubeconfig={path}"))


def test_no_cluster_at_all_is_said(tmp_path: Path) -> None:
    assert "--kubeconfig" in sentence(run(HOME=str(tmp_path)))


@pytest.mark.parametrize(
    ("flag", "path"), [("--metrics", "/metrics"), ("--health", ""), ("--webhooks", "/webhooks")]
)
def test_a_port_that_is_taken_is_named(cluster: Cluster, flag: str, path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        said = sentence(run(f"--kubeconfig={cluster.kubeconfig}", f"{flag}=http://{place}{path}"))
    assert place in said
    assert flag in said


def test_one_address_answers_probes() -> None:
    ended = run("--health=http://127.0.0.1:8080", "--liveness=http://127.0.0.1:8080/healthz")
    assert ended.returncode == USAGE
    assert "leave out one" in ended.stderr


def test_webhooks_are_of_no_use_without_payments() -> None:
    ended = run("--contexts=rentals", "--webhooks=http://127.0.0.1:0/webhooks")
    assert ended.returncode == USAGE
    assert "payments" in ended.stderr


def test_an_unreachable_api_server_is_named(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path.write_text(yaml.safe_dump(content))
    assert "https://127.0.0.1:1" in sentence(run(f"--kubeconfig={path}"))


def test_a_wrong_token_is_said(cluster: Cluster, tmp_path: Path) -> None:
    said = sentence(run(f"--kubeconfig={_as(cluster, tmp_path, 'nobody')}"))
    assert "Unauthorized" in said or "credentials" in said


def test_a_missing_permission_is_named(
    cluster: Cluster, admin: Api, own_shop: Shop, tmp_path: Path
) -> None:
    """Given a service account without the operator's role, then it says what it may not do."""
    kubeconfig = _as(cluster, tmp_path, _token(admin, own_shop, "nobody"))
    said = sentence(run(f"--kubeconfig={kubeconfig}"))
    assert "may not list stores" in said
    assert "toyrental-operator" in said
    own_shop.person("somebody", can("get list watch", "rentals toys stores payments"))
    kubeconfig = _as(cluster, tmp_path, _token(admin, own_shop, "somebody", made=True))
    said = sentence(run(f"--kubeconfig={kubeconfig}", f"--namespaces={own_shop.name}"))
    assert "may not" in said
    assert own_shop.name in said


def test_a_lease_that_may_not_be_had_is_named(
    cluster: Cluster, admin: Api, own_shop: Shop, tmp_path: Path
) -> None:
    """Given the role of the operator, but not that of leader election, then it says so."""
    own_shop.person("operator", role="toyrental-operator")
    kubeconfig = _as(cluster, tmp_path, _token(admin, own_shop, "operator", made=True))
    flags = (f"--kubeconfig={kubeconfig}", f"--namespaces={own_shop.name}", "--leader-election")
    said = sentence(run(*flags, f"--lease-namespace={own_shop.name}"))
    assert f"may not create or get or patch the Lease {own_shop.name}/toyrental-operator" in said
    assert "toyrental-leader-election" in said
    content = yaml.safe_load(kubeconfig.read_text())
    content["contexts"][0]["context"].pop("namespace", None)
    kubeconfig.write_text(yaml.safe_dump(content))
    assert "--lease-namespace" in sentence(run(*flags)), "the kubeconfig names no namespace"


def test_missing_crds_are_named(cluster: Cluster, admin: Api, tmp_path: Path) -> None:
    """Given an API server that serves none of our kinds, then it says how to install them."""
    with pytest.raises(Refused) as refused:
        admin.request("get", "/apis/unknown.example.com/v1")
    with _answering(refused.value.status, refused.value.message) as url:
        content = yaml.safe_load(cluster.kubeconfig.read_text())
        content["clusters"][0]["cluster"] = {"server": url}
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(content))
        said = sentence(run(f"--kubeconfig={tmp_path / 'kubeconfig'}"))
    assert "Rental" in said
    assert "kubectl apply" in said
    assert "crds/" in said


def test_sigterm_ends_it_in_good_order(
    cluster: Cluster, own_shop: Shop, own_simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Given it is in the middle of work, then it ends with 0 in ten seconds, and goes on later."""
    business = Business(own_shop, own_simulator)
    with OperatorProcess(cluster, tmp_path, namespaces=[own_shop.name]) as operator:
        business.opens()
        names = [f"toy-{n}" for n in range(10)]
        business.registers(*names)
        for name in names:
            business.takes_order(name, toy=name)
        assert operator.terminate() == 0
        assert "Traceback" not in operator.log
        assert operator.records[-1]["event"] == "stopped"
        operator.start()
        for name in names:
            rental = business.order_becomes(name, "Paid")
            assert len(business.books(rental).charges) == 1
        check_all(own_shop)


def test_json_logs_carry_whom_they_are_about(
    cluster: Cluster, own_shop: Shop, own_simulator: SimulatorProcess, tmp_path: Path
) -> None:
    business = Business(own_shop, own_simulator)
    with OperatorProcess(
        cluster, tmp_path, "--log-level=debug", namespaces=[own_shop.name]
    ) as operator:
        business.opens()
        business.registers("bear")
        rental = business.hands_over("order", toy="bear")
        business.gets_back("order", "Damaged")
        business.ticket_becomes(rental.uid, "Open")
        ticket = own_shop.get(RepairTicket, rental.uid)
        business.resolves(ticket.name, "Repaired")
        business.ticket_becomes(ticket.name, "Repaired")
        assert operator.terminate() == 0

        lines = operator.log.splitlines()
        assert len(operator.records) == len(lines)
        for record in operator.records:
            assert {"event", "level", "timestamp"} <= record.keys()
        about = [r for r in operator.records if r.get("rentalUID") == rental.uid]
        assert all({"kind", "namespace", "name", "uid"} <= r.keys() for r in about)
        assert {r["kind"] for r in about} >= {"Rental", "Payment", "RepairTicket"}
        assert "pm_card_visa" not in operator.log


def test_text_logs_are_for_people(cluster: Cluster, own_shop: Shop, tmp_path: Path) -> None:
    with OperatorProcess(
        cluster, tmp_path, "--log-format=text", namespaces=[own_shop.name]
    ) as operator:
        own_shop.create(objects.toy("bear"))
        assert operator.terminate() == 0
        assert "\x1b" not in operator.log


@contextlib.contextmanager
def _answering(status: int, text: str) -> Iterator[str]:
    """Answer every request the same; give the URL."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _token(admin: Api, shop: Shop, name: str, *, made: bool = False) -> str:
    if not made:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        shop.create_raw(account)
    request: Json = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    path = f"/api/v1/namespaces/{shop.name}/serviceaccounts/{name}/token"
    token: str = admin.request("post", path, request)["status"]["token"]
    return token


def _as(cluster: Cluster, directory: Path, token: str) -> Path:
    """Return a kubeconfig of whoever the token belongs to."""
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": token}
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path
