"""Where a control plane keeps its files."""

import os
from dataclasses import dataclass
from pathlib import Path

PROCESSES = ("etcd", "kube-apiserver", "kube-controller-manager")


@dataclass(frozen=True)
class Layout:
    """The files below one state directory; two directories never share anything."""

    root: Path

    @property
    def kubeconfig(self) -> Path:
        """How the administrator reaches the API server."""
        return self.root / "kubeconfig"

    @property
    def kubectl(self) -> Path:
        """A kubectl of the API server's own version."""
        return self.root / "bin" / "kubectl"

    @property
    def cluster(self) -> Path:
        """All that is of no use once the control plane has stopped."""
        return self.root / "cluster"

    @property
    def certificates(self) -> Path:
        """Keys, certificates and tokens, readable by their owner only."""
        return self.cluster / "certificates"

    @property
    def etcd_data(self) -> Path:
        """The database."""
        return self.cluster / "etcd"

    @property
    def logs(self) -> Path:
        """One log a process; kept when a start has failed."""
        return self.cluster / "logs"

    @property
    def audit_log(self) -> Path:
        """What was asked of an audited API server, an entry in JSON a line."""
        return self.cluster / "audit.log"

    @property
    def kubectl_cache(self) -> Path:
        """What kubectl remembers of an API server; in ~/.kube another one's could be found."""
        return self.cluster / "kubectl-cache"

    @property
    def kind_name(self) -> Path:
        """Holds the name of the kind cluster that was made for this directory, if one was."""
        return self.cluster / "kind-name"

    @property
    def lock(self) -> Path:
        """Held while starting or stopping; outside what a stop removes."""
        return self.root / "cluster.lock"

    def program(self, name: str) -> Path:
        """Return the path a process is started by: its argv[0], by which it is known as ours."""
        return self.cluster / "bin" / name

    def log(self, name: str) -> Path:
        """Return the log of the process called so."""
        return self.logs / f"{name}.log"


def write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody but its owner could ever read, not even while it is written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
