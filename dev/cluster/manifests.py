"""Applies what the product brings to a cluster, and waits until it is in force."""

import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from .cluster import Cluster
from .errors import ClusterError

REPOSITORY = Path(__file__).parent.parent.parent
CRDS = REPOSITORY / "crds"
POLICIES = REPOSITORY / "manifests" / "policies"
ROLES = REPOSITORY / "manifests" / "rbac"

FIELD_MANAGER = "toyrental-setup"
WAIT_SECONDS = 30


def present() -> list[Path]:
    """Return what of the product there is to apply, in order: CRDs, policies, roles."""
    return [path for path in (CRDS, POLICIES, ROLES) if any(path.glob("*.yaml"))]


def apply(cluster: Cluster, paths: Sequence[Path]) -> None:
    """Apply files, folders or kustomizations in order, and wait until they are in force.

    After the CRDs of one path are established, the next is applied. At the end the API server
    enforces every policy among them. Raises ClusterError with kubectl's words.
    """
    applied = [name for path in paths for name in _apply_one(cluster, path)]
    if any("admissionpolicy" in name for name in applied):
        wait_for_policies(cluster)


def _apply_one(cluster: Cluster, path: Path) -> list[str]:
    kustomization = (path / "kustomization.yaml").exists()
    applied = cluster.run_kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        f"--field-manager={FIELD_MANAGER}",
        "--output=name",
        *(["--kustomize", str(path)] if kustomization else ["--filename", str(path)]),
    ).split()
    crds = [name for name in applied if name.startswith("customresourcedefinition")]
    if crds:
        cluster.run_kubectl(
            "wait", "--for=condition=Established", f"--timeout={WAIT_SECONDS}s", *crds
        )
    return applied


def wait_for_policies(cluster: Cluster) -> None:
    """Wait until the API server has taken up every admission policy written so far.

    It takes up changed policies about once a second, all that it has seen by then, in the order of
    their writing; mutating and validating ones apart. So one more of each is written: one marks a
    certain ConfigMap, the other refuses it once it is marked. When that happens, the earlier ones
    are in force too. (Of several API servers, only of the one asked.)
    """
    name = f"{FIELD_MANAGER}-{secrets.token_hex(4)}"
    canary, probe = json.dumps(_canary(name)), json.dumps(_probe(name))
    try:
        cluster.run_kubectl("create", "--filename=-", stdin=canary)
        deadline = time.monotonic() + WAIT_SECONDS
        while not _refused(cluster, probe, name):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"The API server did not take up the admission policies within "
                    f"{WAIT_SECONDS} s of their being written."
                )
            time.sleep(0.1)
    finally:
        cluster.run_kubectl("delete", "--ignore-not-found", "--filename=-", stdin=canary)


def _refused(cluster: Cluster, probe: str, name: str) -> bool:
    try:
        cluster.run_kubectl("create", "--dry-run=server", "--filename=-", stdin=probe)
    except ClusterError as error:
        if f"ValidatingAdmissionPolicy '{name}'" not in str(error):
            raise
        return True
    return False


def _probe(name: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def _canary(name: str) -> dict[str, object]:
    common = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["configmaps"],
        "resourceNames": [name],
    }
    constraints = {"resourceRules": [rule]}
    mark = {"expression": "Object{data: {'policies': 'in force'}}"}
    marking = {
        **common,
        "kind": "MutatingAdmissionPolicy",
        "spec": {
            "matchConstraints": constraints,
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": mark}],
        },
    }
    refusing = {
        **common,
        "kind": "ValidatingAdmissionPolicy",
        "spec": {
            "matchConstraints": constraints,
            "validations": [
                {"expression": "!has(object.data)", "message": "policies are in force"}
            ],
        },
    }
    marks = {**common, "kind": f"{marking['kind']}Binding", "spec": {"policyName": name}}
    refuses = {
        **common,
        "kind": f"{refusing['kind']}Binding",
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    items = [marking, refusing, marks, refuses]
    return {"apiVersion": "v1", "kind": "List", "items": items}
