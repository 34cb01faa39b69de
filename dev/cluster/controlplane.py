"""Starts and stops etcd, kube-apiserver and kube-controller-manager on loopback."""

import base64
import contextlib
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import filelock
import httpx
from rich.console import Console

from . import build, certificates, flags, kubeconfig, manifests, ports, processes
from .cluster import Cluster
from .console import plain
from .errors import ClusterError
from .layout import PROCESSES, Layout

START_SECONDS = 90
POLL_SECONDS = 0.05
# Ports are chosen free, and another process may still take one before ours does.
TRIES = 3
# How much garbage the API server may hold, in percent of what it uses, before it collects: a write
# costs a quarter less CPU than with Go's usual 100, 400 adds little more but memory. Near the limit
# it collects more often, so that a long benchmark does not take the whole machine.
GOGC = 300
MEMORY_LIMIT = "3GiB"
# More than is written between a snapshot and the loss of what came after it.
REVISIONS_AHEAD = 1_000_000_000
_OF_THE_MEMBER = ("--name=", "--data-dir=", "--initial-")


class ProcessDiedError(ClusterError):
    """A process ended while the control plane was starting."""


@dataclass(frozen=True)
class Status:
    """What there is of a control plane: process ids by name, and whether it is ready."""

    pids: dict[str, int]
    server: str | None
    ready: bool

    @property
    def missing(self) -> list[str]:
        """Names of the processes that should run and do not."""
        return [name for name in PROCESSES if name not in self.pids]

    @property
    def up(self) -> bool:
        """Whether everything is there and answers."""
        return self.ready and not self.missing


class ControlPlane:
    """An embedded Kubernetes control plane with its files in one directory.

    As a context manager it is started and stopped. An `ephemeral` one ends with this process,
    however that ends; otherwise it goes on until `stop` is called on the same directory by
    whatever process. `apply` names files, folders or kustomizations that are applied before the
    controllers start, so that the garbage collector knows their kinds from the beginning (it looks
    for new ones every 30 s). `apiserver_flags` come after the usual ones and win over them. An
    `audited` one writes down who asked for what.
    """

    def __init__(  # noqa: PLR0913 -- all but one are by name and have a usual value
        self,
        state_dir: Path,
        *,
        ephemeral: bool = False,
        apply: Sequence[Path] = (),
        apiserver_flags: Sequence[str] = (),
        audited: bool = False,
        gogc: int = GOGC,
        console: Console | None = None,
    ) -> None:
        self.layout = Layout(state_dir.resolve())
        self.ephemeral = ephemeral
        self.apply = apply
        self.apiserver_flags = apiserver_flags
        self.audited = audited
        self.gogc = gogc
        self.console = console or plain()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, tuple[list[str], dict[str, str]]] = {}
        self._etcd_url = ""

    def __enter__(self) -> Cluster:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Cluster:
        """Start it and wait until it is ready; one that is up already is returned as it is.

        What an earlier run left half running is stopped and removed first. When the start fails or
        is interrupted, everything but the logs is gone again. Raises ClusterError.
        """
        program = build.program(self.console)
        with self._locked():
            status = self.status()
            if status.up:
                return self._cluster(status)
            if status.pids or self.layout.etcd_data.exists():
                self.console.print("Cleaning up what an earlier control plane left behind.")
            self._remove()
            return self._start_on_free_ports(program)

    def stop(self) -> bool:
        """Stop it and remove its data; return whether there was any."""
        with self._locked():
            existed = self.layout.cluster.exists()
            self._remove()
            return existed

    def status(self) -> Status:
        """Look at the processes and ask the API server; never raises for what is not there."""
        pids = {name: each.pid for name, each in processes.find(self.layout).items()}
        server = None
        with contextlib.suppress(ClusterError):
            server = kubeconfig.server(self.layout.kubeconfig)
        ready = server is not None and "kube-apiserver" in pids and self._answers("/readyz")
        return Status(pids=pids, server=server, ready=ready)

    def stop_process(self, name: str) -> None:
        """Kill one process of a control plane that this object started, for tests of outages."""
        child = self._children.pop(name)
        child.kill()
        self._reap(child)

    def start_process(self, name: str, *, wait: bool = True) -> None:
        """Start it again as it was, on the same port, and wait until the API server is ready.

        Without waiting where the API server itself is yet to be started.
        """
        self._spawn(name, *self._commands[name])
        if wait:
            self._wait(name, lambda: self._answers("/readyz"))

    def compact(self) -> None:
        """Make etcd forget all history, so that a watch of anything older is answered by 410 Gone.

        The API server still has recent events in its own memory until it is restarted.
        """
        with kubeconfig.client(self.layout.kubeconfig) as client:
            seen = client.get("/api/v1/namespaces", params={"resourceVersion": ""}).json()
        with self._etcd() as client:
            revision = seen["metadata"]["resourceVersion"]
            answer = client.post("/v3/kv/compaction", json={"revision": revision, "physical": True})
        if answer.is_error:
            raise ClusterError(f"etcd refused to compact: {answer.text}")

    def save_snapshot(self, target: Path) -> None:
        """Write a snapshot of etcd while all goes on, as `etcdctl snapshot save` does."""
        with (
            target.open("wb") as file,
            self._etcd() as client,
            client.stream("POST", "/v3/maintenance/snapshot", json={}) as answer,
        ):
            for line in answer.iter_lines():
                piece = json.loads(line)
                if "result" not in piece:
                    raise ClusterError(f"etcd gave no snapshot: {line}")
                file.write(base64.b64decode(piece["result"].get("blob", "")))

    def restore_snapshot(self, snapshot: Path, etcdutl: Path) -> None:
        """Stop all, put what is in a snapshot in the place of what is there, and start all anew.

        Its revision is set far ahead, and what came before counts as compacted: whoever still
        watches has to look at everything again, rather than be told of a future that never was.
        """
        for name in reversed(PROCESSES):
            self.stop_process(name)
        shutil.rmtree(self.layout.etcd_data)
        member = [flag for flag in self._commands["etcd"][0] if flag.startswith(_OF_THE_MEMBER)]
        ahead = [f"--bump-revision={REVISIONS_AHEAD}", "--mark-compacted"]
        answer = subprocess.run(
            [etcdutl, "snapshot", "restore", str(snapshot), *member, *ahead],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise ClusterError(f"etcdutl could not restore the snapshot: {answer.stderr}")
        self.start_process("etcd", wait=False)
        self.start_process("kube-apiserver")
        self.start_process("kube-controller-manager")

    def _etcd(self) -> httpx.Client:
        tls = certificates.client_context(self.layout.certificates)
        return httpx.Client(base_url=self._etcd_url, verify=tls, trust_env=False)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.layout.root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.layout.lock):
            yield

    def _remove(self, *, keep_logs: bool = False) -> None:
        processes.kill(self.layout)
        for child in self._children.values():
            self._reap(child)
        self._children.clear()
        self.layout.kubeconfig.unlink(missing_ok=True)
        self.layout.kubectl.unlink(missing_ok=True)
        for path in self.layout.cluster.glob("*"):
            if not (keep_logs and path == self.layout.logs):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not keep_logs and self.layout.cluster.exists():
            self.layout.cluster.rmdir()

    @staticmethod
    def _reap(child: subprocess.Popen[bytes]) -> None:
        child.wait()
        if child.stdin:
            child.stdin.close()

    def _start_on_free_ports(self, program: Path) -> Cluster:
        for attempt in range(TRIES):
            try:
                self._start(program)
                return self._cluster(self.status())
            except ProcessDiedError as error:
                self._remove(keep_logs=True)
                if "address already in use" not in str(error) or attempt == TRIES - 1:
                    raise
            except BaseException:
                self._remove(keep_logs=True)
                raise
        raise AssertionError("unreachable")

    def _start(self, program: Path) -> None:
        layout = self.layout
        for directory in (layout.cluster, layout.logs):
            directory.mkdir(mode=0o700, exist_ok=True)
        self._link(program)
        credentials = certificates.issue(layout.certificates)
        client, peer, secure = ports.free(3)
        self._etcd_url, server = f"https://127.0.0.1:{client}", f"https://127.0.0.1:{secure}"
        access = kubeconfig.Access(server, credentials.ca, credentials.administrator_token)
        self._spawn("etcd", flags.etcd(layout, credentials, client, peer), {})
        apiserver = flags.apiserver(credentials, self._etcd_url, secure)
        if self.audited:
            apiserver += flags.audit(layout.audit_log)
        self._spawn(
            "kube-apiserver",
            [*apiserver, *self.apiserver_flags],
            {"GOGC": str(self.gogc), "GOMEMLIMIT": MEMORY_LIMIT},
        )
        kubeconfig.write(layout.kubeconfig, access, "toyrental")
        self._wait("the API server", lambda: self._answers("/readyz"))
        manifests.apply(self._cluster(self.status()), self.apply)
        self._start_controllers(credentials, server)

    def _start_controllers(self, credentials: certificates.Credentials, server: str) -> None:
        own = self.layout.certificates / "controller-manager.kubeconfig"
        access = kubeconfig.Access(server, credentials.ca, credentials.controller_manager_token)
        kubeconfig.write(own, access, "controller-manager")
        self._spawn("kube-controller-manager", flags.controller_manager(credentials, own), {})
        # Made by the controllers: once it is there, they work.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait("the controllers", lambda: self._answers(account))

    def _link(self, program: Path) -> None:
        links = [self.layout.kubectl, *(self.layout.program(name) for name in PROCESSES)]
        for link in links:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(program)

    def _spawn(self, name: str, arguments: list[str], extra: dict[str, str]) -> None:
        self._commands[name] = (arguments, extra)
        # Only these variables: etcd takes flags from any ETCD_… it finds, Go from GODEBUG.
        environment = {"PATH": os.environ.get("PATH", os.defpath), **extra}
        if self.ephemeral:
            environment["CONTROLPLANE_LIFELINE"] = "stdin"
        with self.layout.log(name).open("ab") as log:
            self._children[name] = subprocess.Popen(
                [str(self.layout.program(name)), *arguments],
                stdin=subprocess.PIPE if self.ephemeral else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.layout.cluster,
                start_new_session=True,  # Ctrl-C is for us; we stop them in order
            )

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            for name, child in self._children.items():
                if child.poll() is not None:
                    raise ProcessDiedError(self._last_words(name, child.returncode))
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"Gave up waiting for {what} after {START_SECONDS} s; "
                    f"the logs are in {self.layout.logs}."
                )
            time.sleep(POLL_SECONDS)

    def _last_words(self, name: str, code: int) -> str:
        log = self.layout.log(name)
        lines = log.read_text(errors="replace").splitlines()[-8:]
        how = f"exited with code {code}" if code >= 0 else f"was ended by signal {-code}"
        return f"{name} {how} while starting. The end of its log, {log}:\n" + "\n".join(lines)

    def _answers(self, path: str) -> bool:
        try:
            with kubeconfig.client(self.layout.kubeconfig) as client:
                return client.get(path, timeout=5).status_code == httpx.codes.OK
        except (httpx.HTTPError, ClusterError, ssl.SSLError):
            return False

    def _cluster(self, status: Status) -> Cluster:
        return Cluster(
            kind="embedded",
            kubeconfig=self.layout.kubeconfig,
            kubectl=self.layout.kubectl,
            server=status.server or "",
            pids=status.pids,
            kubectl_cache=self.layout.kubectl_cache,
            audit_log=self.layout.audit_log if self.audited else None,
        )
