"""What is applied to a cluster before the operator runs, in the ways in which people apply it."""

import pytest

from dev.cluster import Cluster
from dev.cluster.manifests import REPOSITORY
from tests.api.schemas import crds
from tests.api.test_policies import policies
from tests.api.test_roles import roles


def test_the_base_has_the_kinds_the_policies_and_the_roles(cluster: Cluster) -> None:
    base = str(REPOSITORY / "manifests" / "base")
    applied = cluster.run_kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--output=name",
        "-k",
        base,
    ).split()
    writing = policies("MutatingAdmissionPolicy")
    expected = {
        f"{prefix}/{each['metadata']['name']}"
        for prefix, objects in (
            ("customresourcedefinition.apiextensions.k8s.io", crds()),
            ("validatingadmissionpolicy.admissionregistration.k8s.io", policies()),
            ("validatingadmissionpolicybinding.admissionregistration.k8s.io", policies()),
            ("mutatingadmissionpolicy.admissionregistration.k8s.io", writing),
            ("mutatingadmissionpolicybinding.admissionregistration.k8s.io", writing),
            ("clusterrole.rbac.authorization.k8s.io", roles()),
        )
        for each in objects
    }
    assert set(applied) == expected


@pytest.mark.parametrize("way", [["-f", "crds"], ["-k", "crds"]], ids=" ".join)
def test_the_crds_are_applied_as_files_and_as_a_kustomization(
    cluster: Cluster, way: list[str]
) -> None:
    flag, folder = way
    applied = cluster.run_kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--output=name",
        flag,
        str(REPOSITORY / folder),
    ).split()
    assert len(applied) == len(crds())


def test_kubectl_explains_the_kinds(cluster: Cluster) -> None:
    told = cluster.run_kubectl("explain", "rental.spec.period.days")
    assert "How many days, of 24 hours each." in told


def test_everything_of_a_shop_is_listed_by_one_word(cluster: Cluster) -> None:
    listed = cluster.run_kubectl("api-resources", "--categories=toyrental", "--output=name").split()
    assert len(listed) == len(crds())
