"""Keeps one cluster for a whole run of pytest, however many processes the run has.

The process that was started by a person keeps it, and starts it when it is first asked for; the
workers of pytest-xdist ask over a socket. It ends with that process, however that ends.
"""

import contextlib
import secrets
import shutil
import tempfile
import threading
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from dev.cluster import Cluster, ClusterError, manifests, select_cluster
from tests.support import accounts


class Keeper:
    """Starts the cluster when it is first asked for, and stops it when closed."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="toyrental-tests-"))
        self._open = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._answer: Cluster | ClusterError | None = None
        self._listener: Listener | None = None

    def cluster(self) -> Cluster:
        """Return the cluster, with the CRDs, policies and roles applied. Raises ClusterError."""
        with self._lock:
            if self._answer is None:
                self._answer = self._start()
        if isinstance(self._answer, ClusterError):
            raise self._answer
        return self._answer

    def _start(self) -> Cluster | ClusterError:
        selected = select_cluster(
            self._directory / "cluster", apply=manifests.present(), audited=True
        )
        try:
            cluster = self._open.enter_context(selected)
            if cluster.kind == "embedded":
                accounts.make(cluster)
            return cluster
        except ClusterError as error:
            return error

    @property
    def audit_log(self) -> Path | None:
        """Where the API server of this run, if it had one, wrote down who asked for what."""
        return self._answer.audit_log if isinstance(self._answer, Cluster) else None

    def listen(self) -> tuple[str, str]:
        """Answer other processes from now on; return the address and the key to ask with."""
        key = secrets.token_bytes(32)
        if self._listener is None:
            address = str(self._directory / "ask")
            self._listener = Listener(address, family="AF_UNIX", authkey=key)
            self._key = key
            thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
            thread.start()
            self._open.callback(self._stop_listening, address, thread)
        return str(self._listener.address), self._key.hex()

    def _serve(self, listener: Listener) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError), listener.accept() as asking:
                if asking.recv() == "stop":
                    return
                self._reply(asking)

    def _reply(self, asking: "Connection[object, object]") -> None:
        try:
            asking.send(self.cluster())
        except ClusterError as error:
            asking.send(error)

    def _stop_listening(self, address: str, thread: threading.Thread) -> None:
        with Client(address, family="AF_UNIX", authkey=self._key) as client:
            client.send("stop")
        thread.join()
        if self._listener is not None:
            self._listener.close()

    def close(self) -> None:
        """Stop the cluster, if it was started, and remove all files."""
        try:
            self._open.close()
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)


class RemoteKeeper:
    """Asks the keeper of another process."""

    def __init__(self, address: str, key: str) -> None:
        self._address = address
        self._key = bytes.fromhex(key)

    def cluster(self) -> Cluster:
        """Return the cluster. Raises ClusterError."""
        with Client(self._address, family="AF_UNIX", authkey=self._key) as client:
            client.send("cluster")
            answer = client.recv()
        if isinstance(answer, ClusterError):
            raise answer
        assert isinstance(answer, Cluster)
        return answer

    def close(self) -> None:
        """Leave it to the one who keeps it."""
