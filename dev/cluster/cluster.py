"""A cluster that is up, whoever made it."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .errors import ClusterError


@dataclass(frozen=True)
class Cluster:
    """How to reach a cluster.

    `server` is the API server's URL. `pids` has the process ids of an embedded one by name (etcd,
    kube-apiserver, kube-controller-manager); it is empty for a cluster that others run. `audit_log`
    is where an audited embedded one writes down who asked for what.
    """

    kind: Literal["embedded", "kind", "existing"]
    kubeconfig: Path
    kubectl: Path
    server: str
    pids: dict[str, int] = field(default_factory=dict)
    kubectl_cache: Path | None = None
    audit_log: Path | None = None

    @property
    def metrics_url(self) -> str:
        """Where the API server serves its metrics, to whoever may read them."""
        return f"{self.server}/metrics"

    def run_kubectl(self, *arguments: str, stdin: str = "", timeout: float = 120) -> str:
        """Run kubectl on this cluster and return its standard output.

        Raises ClusterError with kubectl's own words when it fails or takes longer than `timeout`
        seconds.
        """
        command = [str(self.kubectl), f"--kubeconfig={self.kubeconfig}"]
        if self.kubectl_cache:
            command.append(f"--cache-dir={self.kubectl_cache}")
        try:
            answer = subprocess.run(
                [*command, *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(
                f"`kubectl {' '.join(arguments)}` did not end within {timeout:g} s."
            ) from error
        if answer.returncode != 0:
            raise ClusterError(f"`kubectl {' '.join(arguments)}` failed: {answer.stderr.strip()}")
        return answer.stdout
