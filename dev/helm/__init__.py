"""Helm, for the tests of the chart: built from its Go module, as the control plane is."""

from pathlib import Path

from dev.cluster.build import KUBERNETES_VERSION
from dev.cluster.golang import GoProgram

HELM_VERSION = "3.22.0"

# `helm template` and `helm lint` ask no cluster which version it has; unstamped they think of 1.20.
_KUBERNETES = dict(zip(("Major", "Minor"), KUBERNETES_VERSION.split("."), strict=False))
_STAMPS = {"internal/version.version": f"v{HELM_VERSION}"} | {
    f"pkg/{package}.k8sVersion{part}": number
    for package in ("chartutil", "lint/rules")
    for part, number in _KUBERNETES.items()
}

HELM = GoProgram(
    name="helm",
    title=f"Helm {HELM_VERSION}",
    version=HELM_VERSION,
    module=Path(__file__).parent,
    flags=(
        "-trimpath",
        "-ldflags=-s -w "
        + " ".join(f"-X helm.sh/helm/v3/{name}={value}" for name, value in _STAMPS.items()),
    ),
    package="helm.sh/helm/v3/cmd/helm",
)
