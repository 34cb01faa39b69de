"""A real control plane: started, used, stopped, and gone however its user ends."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from rich.console import Console

from dev.cluster import (
    Cluster,
    ClusterError,
    ControlPlane,
    build,
    kubeconfig,
    manifests,
    ports,
    processes,
    programs,
    select_cluster,
)
from dev.cluster.layout import PROCESSES, Layout
from tests.support.signals import heed_ctrl_c

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-secrets-called-forbidden}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [secrets]}
  validations: [{expression: object.metadata.name != "forbidden", message: choose another name}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-secrets-called-forbidden}
spec: {policyName: no-secrets-called-forbidden, validationActions: [Deny]}
"""


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build.program(Console(stderr=True))


@pytest.fixture(scope="module")
def crd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("crds") / "things.yaml"
    file.write_text(CRD)
    return file


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "kustomization.yaml").write_text("resources: [policy.yaml]\n")
    return folder


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, crd: Path, policies: Path
) -> Iterator[Cluster]:
    # A blank in the path: flags, symlinks and kubeconfigs must bear it.
    directory = tmp_path_factory.mktemp("control plane")
    with select_cluster(directory, apply=[crd, policies], environment={}) as cluster:
        yield cluster


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    ControlPlane(tmp_path / "state").stop()


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)


def is_there(cluster: Cluster, *what: str) -> bool:
    return bool(cluster.run_kubectl("get", *what, "--ignore-not-found", "--output=name"))


def command(*arguments: str, state_dir: Path) -> list[str]:
    return [sys.executable, "-m", "dev.cluster", *arguments, f"--state-dir={state_dir}"]


def run(*arguments: str, state_dir: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments, state_dir=state_dir),
        cwd=manifests.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_version_is_one_that_clients_can_parse(cluster: Cluster) -> None:
    versions = json.loads(cluster.run_kubectl("version", "--output=json"))
    for which in ("serverVersion", "clientVersion"):
        assert versions[which]["gitVersion"] == f"v{build.KUBERNETES_VERSION}"
        assert re.fullmatch(r"\d+", versions[which]["minor"])


def test_it_listens_on_loopback_only(cluster: Cluster) -> None:
    addresses = {
        connection.laddr.ip
        for pid in cluster.pids.values()
        for connection in psutil.Process(pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_only_who_is_allowed_may_do_something(cluster: Cluster) -> None:
    assert cluster.run_kubectl("auth", "can-i", "delete", "nodes").strip() == "yes"
    with pytest.raises(ClusterError, match='User "somebody" cannot list'):
        cluster.run_kubectl("get", "secrets", "--as=somebody")
    context = kubeconfig.client(cluster.kubeconfig)
    with context as client:
        del client.headers["Authorization"]
        assert client.get("/api/v1/secrets").status_code == httpx.codes.FORBIDDEN
        assert client.get("/metrics").status_code == httpx.codes.FORBIDDEN


def test_the_kubeconfig_is_its_owners_only(cluster: Cluster) -> None:
    assert stat.S_IMODE(cluster.kubeconfig.stat().st_mode) == 0o600


def test_its_metrics_can_be_read(cluster: Cluster) -> None:
    with kubeconfig.client(cluster.kubeconfig) as client:
        assert "apiserver_request_total" in client.get(cluster.metrics_url).text


def test_policies_are_in_force_from_the_first_moment(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="choose another name"):
        cluster.run_kubectl("create", "secret", "generic", "forbidden")
    # The one that was written only to find that out is gone.
    left = cluster.run_kubectl("get", "validatingadmissionpolicies", "--output=name").split()
    assert [name.split("/")[1] for name in left] == ["no-secrets-called-forbidden"]


def test_service_accounts_get_tokens_that_are_known(cluster: Cluster) -> None:
    token = cluster.run_kubectl("create", "token", "default").strip()
    who = json.loads(
        subprocess.run(
            [
                cluster.kubectl,
                f"--server={cluster.server}",
                f"--token={token}",
                "auth",
                "whoami",
                "--insecure-skip-tls-verify",
                "--kubeconfig=/dev/null",
                "--output=json",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert who["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"


def test_what_is_owned_goes_with_its_owner_from_the_beginning(cluster: Cluster) -> None:
    def create(name: str, *owners: dict[str, str]) -> dict[str, str]:
        thing = {"apiVersion": "example.com/v1", "kind": "Thing"}
        metadata = {"name": name, "ownerReferences": owners}
        whole = json.dumps({**thing, "metadata": metadata})
        uid = cluster.run_kubectl(
            "create", "--filename=-", "--output=jsonpath={.metadata.uid}", stdin=whole
        )
        return {**thing, "name": name, "uid": uid}

    create("owned", create("owner"))
    cluster.run_kubectl("delete", "thing", "owner")
    # Far less than the half minute after which the garbage collector looks for new kinds.
    eventually(lambda: not is_there(cluster, "thing", "owned"), seconds=10)


def test_a_namespace_can_be_deleted_with_all_that_is_in_it(cluster: Cluster) -> None:
    cluster.run_kubectl("create", "namespace", "shop")
    cluster.run_kubectl("create", "configmap", "toy", "--namespace=shop")
    cluster.run_kubectl("delete", "namespace", "shop", "--timeout=30s")
    assert not is_there(cluster, "namespace", "shop")


def test_up_twice_and_down_twice_from_the_command_line(state_dir: Path) -> None:
    first = run("up", "--bare", state_dir=state_dir)
    assert first.returncode == 0, first.stderr
    assert f'export KUBECONFIG="{state_dir}/kubeconfig"' in first.stdout
    second = run("up", "--bare", state_dir=state_dir)
    assert "is up already" in second.stderr
    status = run("status", state_dir=state_dir)
    assert (status.returncode, status.stdout.count("running")) == (0, 3)
    # The commands have ended and it is still there: now it must go, and again must be harmless.
    assert "Stopped" in run("down", state_dir=state_dir).stderr
    assert not processes.find(Layout(state_dir))
    assert {path.name for path in state_dir.iterdir()} <= {"bin", "cluster.lock"}
    again = run("down", state_dir=state_dir)
    assert (again.returncode, again.stderr) == (0, "Nothing was up.\n")
    assert "No embedded control plane is up" in run("status", state_dir=state_dir).stderr


def test_an_api_server_that_was_killed_is_noticed_and_cleaned_up(state_dir: Path) -> None:
    control_plane = ControlPlane(state_dir, ephemeral=True)
    before = control_plane.start()
    os.kill(before.pids["kube-apiserver"], signal.SIGKILL)
    eventually(lambda: control_plane.status().missing == ["kube-apiserver"])
    status = run("status", state_dir=state_dir)
    assert status.returncode == 1
    assert "Not running: kube-apiserver. Start afresh by `make up`." in status.stderr
    after = control_plane.start()
    assert set(after.pids) == set(PROCESSES)
    assert not set(after.pids.values()) & set(before.pids.values())
    control_plane.stop()


def test_history_can_be_forgotten(state_dir: Path) -> None:
    control_plane = ControlPlane(state_dir, ephemeral=True)
    with control_plane as cluster:
        path = "--output=jsonpath={.metadata.resourceVersion}"
        old = cluster.run_kubectl("get", "namespace", "default", path)
        cluster.run_kubectl("create", "namespace", "later")
        control_plane.stop_process("kube-apiserver")
        control_plane.start_process("kube-apiserver")
        control_plane.compact()
        watch = f"/api/v1/namespaces?watch=true&timeoutSeconds=5&resourceVersion={old}"
        event = json.loads(cluster.run_kubectl("get", f"--raw={watch}").splitlines()[0])
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_it_ends_with_whoever_started_it_even_by_sigkill(state_dir: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from dev.cluster import ControlPlane\n"
        "ControlPlane(Path(sys.argv[1]), ephemeral=True).start(); print('up', flush=True)\n"
        "time.sleep(300)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, state_dir],
        cwd=manifests.REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        assert len(processes.find(Layout(state_dir))) == len(PROCESSES)
        parent.kill()
    eventually(lambda: not processes.find(Layout(state_dir)), seconds=10)


@pytest.mark.parametrize(
    ("number", "flag"), [(signal.SIGINT, "--auth=oidc"), (signal.SIGTERM, "--auth=token")]
)
def test_an_interrupted_start_leaves_nothing_running(
    state_dir: Path, number: int, flag: str
) -> None:
    with subprocess.Popen(
        command("up", "--bare", flag, state_dir=state_dir),
        cwd=manifests.REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it takes no lock
    ) as starting:
        eventually(lambda: "kube-apiserver" in processes.find(Layout(state_dir)))
        starting.send_signal(number)
        _, said = starting.communicate()
    assert said.endswith("Interrupted: what had been started is stopped again.\n")
    assert starting.returncode == 130
    assert not processes.find(Layout(state_dir))
    assert not programs.running(Layout(state_dir))
    assert not Layout(state_dir).kubeconfig.exists()


def test_a_start_that_was_killed_is_cleaned_up_by_the_next(state_dir: Path) -> None:
    with subprocess.Popen(
        command("up", "--bare", state_dir=state_dir), cwd=manifests.REPOSITORY
    ) as starting:
        eventually(lambda: "kube-apiserver" in processes.find(Layout(state_dir)))
        starting.kill()
    orphans = {each.pid for each in processes.find(Layout(state_dir)).values()}
    assert orphans
    again = run("up", "--bare", state_dir=state_dir)
    assert again.returncode == 0, again.stderr
    assert "Cleaning up what an earlier control plane left behind." in again.stderr
    running = {each.pid for each in processes.find(Layout(state_dir)).values()}
    assert len(running) == len(PROCESSES)
    assert not running & orphans


def test_a_process_that_dies_at_the_start_is_one_clear_sentence(state_dir: Path) -> None:
    control_plane = ControlPlane(state_dir, apiserver_flags=["--no-such-flag"])
    with pytest.raises(ClusterError, match="kube-apiserver exited with code 1 while") as raised:
        control_plane.start()
    log = Layout(state_dir).log("kube-apiserver")
    assert str(log) in str(raised.value)
    assert "unknown flag: --no-such-flag" in str(raised.value)
    assert log.exists()
    assert not processes.find(Layout(state_dir))
    assert not Layout(state_dir).etcd_data.exists()


def test_a_port_that_somebody_took_is_replaced(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        offers = [[*ports.free(2), taken.getsockname()[1]], ports.free(3)]
        monkeypatch.setattr(ports, "free", lambda _: offers.pop(0))
        with ControlPlane(state_dir, ephemeral=True) as cluster:
            assert set(cluster.pids) == set(PROCESSES)
    assert offers == []


def test_a_cluster_of_the_users_own_is_used_and_left(cluster: Cluster, state_dir: Path) -> None:
    named = {"TOYRENTAL_KUBECONFIG": str(cluster.kubeconfig)}
    with select_cluster(state_dir, environment=named) as chosen:
        assert (chosen.kind, chosen.server, chosen.pids) == ("existing", cluster.server, {})
        assert chosen.kubeconfig != cluster.kubeconfig
        assert is_there(chosen, "namespace", "default")
    assert not Layout(state_dir).kubeconfig.exists()
    assert is_there(cluster, "namespace", "default")
