"""The control plane's program: etcd, kube-apiserver, kube-controller-manager and kubectl in one."""

from pathlib import Path

from rich.console import Console

from .golang import GoProgram

KUBERNETES_VERSION = "1.37.2"

# kubectl and clients parse the version, and refuse the placeholder of an unstamped build.
_MAJOR, _MINOR, _ = KUBERNETES_VERSION.split(".")
_STAMPS = {
    "gitVersion": f"v{KUBERNETES_VERSION}",
    "gitMajor": _MAJOR,
    "gitMinor": _MINOR,
    "gitTreeState": "clean",
}
CONTROL_PLANE = GoProgram(
    name="controlplane",
    title=f"Kubernetes {KUBERNETES_VERSION}"
    " (etcd, kube-apiserver, kube-controller-manager, kubectl)",
    version=KUBERNETES_VERSION,
    module=Path(__file__).parent.parent / "controlplane",
    flags=(
        "-trimpath",
        "-ldflags=-s -w "
        + " ".join(
            f"-X k8s.io/component-base/version.{key}={value}" for key, value in _STAMPS.items()
        ),
    ),
)


def program(console: Console) -> Path:
    """Return the path of the program, built now if it was not yet. Raises ClusterError."""
    return CONTROL_PLANE.path(console)


def destination() -> Path:
    """Return where the program is, or will be once it is built."""
    return CONTROL_PLANE.destination()
