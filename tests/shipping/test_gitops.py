"""What GitOps tools make of a shop: Argo CD by our health check, Flux by kstatus."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from lupa import LuaRuntime

from dev.cluster import Cluster
from dev.generate.argocd import CONFIG_MAP, GITOPS, HEALTH
from tests.e2e.business import Business
from tests.support import Json, Refused, Shop, eventually
from tests.support.conditions import settle
from tests.support.kstatus import status_of
from tests.support.operator import OperatorProcess, SimulatorProcess, pytest_runtest_makereport
from toyrental.kinds import KINDS
from toyrental.rentals.models import Rental
from toyrental.stores.models import Toy

__all__ = ["pytest_runtest_makereport"]

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"


UPSTREAM = HEALTH.parent
"""The check and its tests in the layout of Argo CD's own repository, as they could go there."""


def health(content: Json) -> tuple[str, str]:
    """Return the health and the message that Argo CD shows.

    A check of a ConfigMap has only Lua's base and tables there, unless somebody allows it more.
    """
    lua = LuaRuntime(unpack_returned_tuples=True)
    for library in ("coroutine", "debug", "io", "math", "os", "string", "utf8"):
        lua.globals()[library] = None
    lua.globals()["obj"] = lua.table_from(content, recursive=True)
    told = lua.execute(HEALTH.read_text())
    return told["status"], told["message"]


def upstream_cases() -> list[Json]:
    cases: list[Json] = yaml.safe_load((UPSTREAM / "health_test.yaml").read_text())["tests"]
    return cases


@pytest.mark.parametrize("case", upstream_cases(), ids=lambda case: Path(case["inputPath"]).stem)
def test_argo_cds_own_tests_of_the_check_pass(case: Json) -> None:
    content = yaml.safe_load((UPSTREAM / case["inputPath"]).read_text())
    assert health(content) == (case["healthStatus"]["status"], case["healthStatus"]["message"])
    # And it is an object as the models have it, so that it is one of ours
    (kind,) = [each for each in KINDS if each.SERVED.kind == content["kind"]]
    kind.model_validate(content)


def test_every_kind_and_every_health_is_among_them() -> None:
    cases = upstream_cases()
    contents = {
        path: yaml.safe_load((UPSTREAM / path).read_text())
        for path in (case["inputPath"] for case in cases)
    }
    assert {each["kind"] for each in contents.values()} == {kind.SERVED.kind for kind in KINDS}
    told = {case["healthStatus"]["status"] for case in cases}
    assert told == {"Healthy", "Progressing", "Degraded"}
    there = {f"testdata/{path.name}" for path in (UPSTREAM / "testdata").iterdir()}
    assert there == contents.keys(), "each is looked at"


def seen(*conditions: str, observed: int = 2) -> Json:
    """Return an object with these conditions, `!Ready` for one that does not hold."""
    status = {
        "observedGeneration": observed,
        "conditions": [
            {
                "type": name.lstrip("!"),
                "status": "False" if name.startswith("!") else "True",
                "message": f"So it is, {name}.",
            }
            for name in conditions
        ],
    }
    return {"kind": "Toy", "metadata": {"name": "x", "generation": 2}, "status": status}


NEW = {"kind": "Toy", "metadata": {"name": "x", "generation": 1}}
CASES = {
    "nobody has looked yet": (NEW, "Progressing", "Current"),
    "all is well": (seen("Ready"), "Healthy", "Current"),
    "it will come": (seen("!Ready", "Reconciling"), "Progressing", "InProgress"),
    "a person must act": (seen("!Ready", "Stalled"), "Degraded", "Failed"),
    "it was well before it changed": (seen("Ready", observed=1), "Progressing", "InProgress"),
    "it was stuck before it changed": (
        seen("!Ready", "Stalled", observed=1),
        "Progressing",
        "InProgress",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_argo_cd_and_flux_understand_each_state(case: str) -> None:
    content, argo, flux = CASES[case]
    assert health(content)[0] == argo
    assert status_of(content) == flux


def test_the_message_is_that_of_the_condition_that_matters() -> None:
    assert health(seen("!Ready", "Stalled"))[1] == "So it is, Stalled."
    assert health(seen("!Ready", "Reconciling"))[1] == "So it is, Reconciling."
    assert health(seen("Ready"))[1] == "So it is, Ready."


def test_argo_cds_own_configuration_has_this_very_check_for_all_our_kinds() -> None:
    data = yaml.safe_load(CONFIG_MAP.read_text())["data"]
    keys = {f"resource.customizations.health.toyrental.dev_{kind.SERVED.kind}" for kind in KINDS}
    assert data == dict.fromkeys(keys, HEALTH.read_text())
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]+", key) for key in keys), "keys of a ConfigMap"


def test_it_is_added_to_what_argo_cd_is_told_already(cluster: Cluster, shop: Shop) -> None:
    # Given a configuration of somebody's own
    told = {"resource.customizations": "theirs", "url": "https://argocd.example.com"}
    metadata = {"name": "argocd-cm"}
    shop.create_raw({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": told})
    # When ours is applied to it, then all of theirs is still there
    ours = yaml.safe_load(cluster.run_kubectl("kustomize", str(GITOPS)))
    applied(cluster, yaml.safe_dump(ours | {"metadata": metadata | {"namespace": shop.name}}))
    data = shop.api.get("ConfigMap", "argocd-cm", shop.name)["data"]
    assert data == told | ours["data"]


@pytest.fixture
def business(cluster: Cluster, shop: Shop, tmp_path: Path) -> Iterator[Business]:
    operator = OperatorProcess(cluster, tmp_path, namespaces=[shop.name])
    with SimulatorProcess(tmp_path) as simulator, operator:
        yield Business(shop, simulator)


def in_git(business: Business) -> str:
    """Return the samples as they would be in Git, with the gateway where our simulator is."""
    documents = [
        each
        for path in sorted(SAMPLES.glob("*.yaml"))
        for each in yaml.safe_load_all(path.read_text())
    ]
    for each in documents:
        if each["kind"] == "PaymentGateway":
            each["spec"]["simulator"]["endpoint"] = business.simulator.url
        each["metadata"] = {**each["metadata"], "namespace": business.shop.name}
    return yaml.safe_dump_all(documents)


def applied(cluster: Cluster, manifests: str, *flags: str) -> str:
    return cluster.run_kubectl(
        "apply", "--server-side", "--field-manager=gitops", *flags, "-f-", stdin=manifests
    )


def differences(cluster: Cluster, manifests: str) -> str:
    """Return what `kubectl diff` shows, as GitOps tools compare: by a server-side dry run."""
    answer = subprocess.run(
        [
            *(cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}", "diff", "--server-side"),
            *("--field-manager=gitops", "--force-conflicts", "--filename=-"),
        ],
        input=manifests,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode in {0, 1}, answer.stderr
    return answer.stdout


def test_a_shop_lives_from_git(business: Business, cluster: Cluster) -> None:
    shop = business.shop
    manifests = in_git(business)
    # Given a shop that was applied from Git, with orders
    applied(cluster, manifests)
    mina = business.order_becomes("mina-bike", "Paid")
    haru = business.order_becomes("haru-kitchen", "Paid")
    business.order_becomes("juno-train", "Paid")
    business.order_becomes("sora-marbles", "Reserved", Paid="False/Declined")
    # When the owner approves one, which is no business of Git's
    business.approves("mina-bike")
    business.order_becomes("mina-bike", "Rented")
    business.ticket_becomes("bobby-car-wheel", "Open")
    # Then Argo CD and Flux take each object for the same
    alike = {("Healthy", "Current"), ("Progressing", "InProgress"), ("Degraded", "Failed")}
    settle(lambda: everything(shop))
    for each in everything(shop):
        assert (health(each)[0], status_of(each)) in alike, each
    # And what Git says is what is there, and applying it again changes nothing
    before = versions(shop)
    assert differences(cluster, manifests) == ""
    applied(cluster, manifests)
    assert versions(shop) == before
    assert shop.get(Rental, "mina-bike").phase == "Rented"
    # When somebody changes by hand what Git says, then it is seen, and applying sets it right
    shop.patch(Toy, "bobby-car", spec={"title": "Something else"})
    assert "Something else" in differences(cluster, manifests)
    applied(cluster, manifests, "--force-conflicts")
    assert differences(cluster, manifests) == ""
    # When an order is pruned that is paid and not approved, then it is refunded and the toy free
    shop.delete(Rental, "haru-kitchen")
    eventually(lambda: business.books(haru).given_back == business.books(haru).taken > 0)
    business.wait(Toy, "play-kitchen", lambda toy: toy.status.phase == "Available")
    # When one is pruned whose toy is with the customer, then it stays, with a reason
    pruning = shop.person("gitops", role="toyrental-store-owner")
    with pytest.raises(Refused, match=r"is live \(Rented\): have the toy returned"):
        pruning.delete(Rental, "mina-bike")
    assert business.books(mina).given_back == 0


def versions(shop: Shop) -> dict[str, str]:
    """Return the version of everything: equal ones mean that nothing was written at all."""
    metadata = [each["metadata"] for each in everything(shop)]
    return {each["uid"]: each["resourceVersion"] for each in metadata}


def everything(shop: Shop) -> list[Json]:
    """Return all that is in a shop but its Dashboards, which count on."""
    kinds = [kind.SERVED.kind for kind in KINDS if kind.SERVED.kind != "Dashboard"]
    return [each for kind in kinds for each in shop.api.find(kind, shop.name)]
