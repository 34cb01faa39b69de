"""Files, ports and processes: private, free, and certainly ours."""

import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from dev.cluster import ClusterError, certificates, kubeconfig, ports, processes
from dev.cluster.layout import Layout, write_private

Pretend = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def pretend() -> Iterator[Pretend]:
    """Start a process that is called so: `sleep` with another argv[0]."""
    started = []

    def start(name: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([name, "60"], executable="/bin/sleep")
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_processes_are_known_by_the_path_they_were_started_by(
    tmp_path: Path, pretend: Pretend
) -> None:
    ours, others = Layout(tmp_path / "ours"), Layout(tmp_path / "others")
    mine = pretend(str(ours.program("etcd")))
    pretend(str(others.program("kube-apiserver")))
    pretend("etcd")
    subprocess.run(["true", str(ours.program("kube-apiserver"))], check=True)
    assert {name: each.pid for name, each in processes.find(ours).items()} == {"etcd": mine.pid}


def test_what_a_crash_left_is_killed_and_nothing_else(tmp_path: Path, pretend: Pretend) -> None:
    ours, others = Layout(tmp_path / "ours"), Layout(tmp_path / "others")
    left = [pretend(str(ours.program("etcd"))) for _ in range(2)]
    neighbour = pretend(str(others.program("etcd")))
    assert processes.kill(ours) == ["etcd"]
    assert all(process.poll() is not None for process in left)
    assert neighbour.poll() is None
    assert processes.kill(ours) == []


def test_free_ports_are_different_and_free() -> None:
    chosen = ports.free(8)
    assert len(set(chosen)) == 8
    for port in chosen:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


def test_keys_and_tokens_are_their_owners_only(tmp_path: Path) -> None:
    directory = tmp_path / "certificates"
    certificates.issue(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}


def test_a_private_file_replaces_one_that_everybody_could_read(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, b"new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_kubeconfig_has_everything_in_it(tmp_path: Path) -> None:
    credentials = certificates.issue(tmp_path / "certificates")
    access = kubeconfig.Access("https://127.0.0.1:1234", credentials.ca, "a-token")
    file = tmp_path / "kubeconfig"
    kubeconfig.write(file, access, "toyrental")
    assert kubeconfig.server(file) == "https://127.0.0.1:1234"
    assert str(tmp_path) not in file.read_text()
    with kubeconfig.client(file) as client:
        assert client.headers["authorization"] == "Bearer a-token"


def test_people_are_added_to_a_kubeconfig_and_led_to_another_shop(tmp_path: Path) -> None:
    credentials = certificates.issue(tmp_path / "certificates")
    access = kubeconfig.Access("https://127.0.0.1:1234", credentials.ca, "a-token")
    file = tmp_path / "kubeconfig"
    kubeconfig.write(file, access, "toyrental")
    for shop in ("first", "second"):
        kubeconfig.add(file, {"aya": {}}, {"aya": "aya", "owner": "aya"}, shop)
        content = yaml.safe_load(file.read_text())
        content["users"].reverse()  # as kubectl sorts them when it writes
        file.write_text(yaml.safe_dump(content))
    shops = {each["name"]: each["context"]["namespace"] for each in content["contexts"]}
    assert shops == {"toyrental": "default", "aya": "second", "owner": "second"}
    assert sorted(each["name"] for each in content["users"]) == ["aya", "toyrental"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with kubeconfig.client(file) as client:
        assert client.headers["authorization"] == "Bearer a-token"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{:", yaml.safe_dump({"current-context": "gone", "contexts": [], "clusters": []})],
)
def test_a_kubeconfig_without_a_server_is_one_clear_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    with pytest.raises(ClusterError, match="does not say which API server to use"):
        kubeconfig.server(file)


def test_a_kubeconfig_that_cannot_be_read_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="cannot be read: No such file or directory"):
        kubeconfig.server(tmp_path / "missing")
