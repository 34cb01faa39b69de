"""What manifests/ installs is what the chart does, and a real API server takes it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster import Cluster
from dev.cluster.manifests import REPOSITORY
from dev.helm.manifests import CUSTOMER_PROXY, MANIFESTS, SPLIT, stale, without_helm
from tests.shipping.test_chart import options
from tests.support import Json
from tests.support.helm import render
from tests.support.manifests import Objects
from toyrental import __version__

OVERLAYS = sorted(path.parent for path in (MANIFESTS / "overlays").glob("*/kustomization.yaml"))
MONITORED = {
    "metrics": {"monitor": "PodMonitor", "rules": {"enabled": True}, "grafana": {"enabled": True}}
}


def built(cluster: Cluster, overlay: str) -> list[Json]:
    made = cluster.run_kubectl("kustomize", str(MANIFESTS / "overlays" / overlay))
    return list(yaml.load_all(made, Loader=yaml.CSafeLoader))


def named(objects: list[Json]) -> dict[str, Json]:
    """Return objects by kind and name, without what only Helm or only kustomize puts there."""
    found = {}
    for each in map(without_helm, objects):
        # The chart labels what it has from manifests/; there it has no need of them.
        metadata = {k: v for k, v in each["metadata"].items() if k not in {"labels", "annotations"}}
        found[f"{each['kind']} {metadata['name']}"] = squeezed(each | {"metadata": metadata})
    return {name: each for name, each in found.items() if each["kind"] != "Namespace"}


def squeezed(content: Any) -> Any:
    """Return the same with one space for any white space: Helm and kustomize fold lines apart."""
    match content:
        case str():
            return " ".join(content.split())
        case list():
            return [squeezed(each) for each in content]
        case dict():
            return {key: squeezed(value) for key, value in content.items()}
    return content


def test_what_is_made_from_the_chart_is_current() -> None:
    assert [path for path, _ in stale()] == [], "run `make generate`"


@pytest.mark.parametrize(
    ("overlay", "values"),
    [
        ("production", {}),
        ("split-contexts", SPLIT),
        ("customer-proxy", CUSTOMER_PROXY),
        ("kubernetes-1.32", {"policies": {"recordDeciders": False}}),
    ],
)
def test_an_overlay_equals_the_chart(cluster: Cluster, overlay: str, values: Json) -> None:
    ours, charts = named(built(cluster, overlay)), named(render(values))
    assert ours.keys() == charts.keys()
    assert ours == charts


def test_the_watched_overlay_watches_as_the_chart_does(cluster: Cluster) -> None:
    ours, charts = Objects(built(cluster, "monitoring")), Objects(render(MONITORED))
    (rules,), (charted) = ours.of("PrometheusRule"), charts.of("PrometheusRule")
    assert rules["spec"] == charted[0]["spec"]
    assert ours.names("ConfigMap") == charts.names("ConfigMap")
    (monitor,), (charted) = ours.of("PodMonitor"), charts.of("PodMonitor")
    assert monitor["spec"]["podMetricsEndpoints"] == charted[0]["spec"]["podMetricsEndpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    pods = ours.named("Deployment", "toyrental-operator")["spec"]["template"]["metadata"]["labels"]
    assert wanted <= pods.items()


def test_the_demo_reaches_its_simulator(cluster: Cluster) -> None:
    objects = Objects(built(cluster, "demo"))
    allowed = objects.flags("toyrental-operator")["--gateway-endpoints"]
    (service,) = objects.of("Service")
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert allowed == f"http://{host}:{service['spec']['ports'][0]['port']}"
    assert objects.flags("simulator").keys() <= options("simulator")
    assert objects.container("simulator")["image"].endswith(f":{__version__}")


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_image_of_yours_is_named_in_the_overlay_alone(
    cluster: Cluster, overlay: Path, tmp_path: Path
) -> None:
    for folder in ("manifests", "crds"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    mine = tmp_path / overlay.relative_to(REPOSITORY)
    text = (mine / "kustomization.yaml").read_text()
    yours = text.replace("newName: localhost/", "newName: registry.example.com/")
    (mine / "kustomization.yaml").write_text(yours)
    made = yaml.load_all(cluster.run_kubectl("kustomize", str(mine)), Loader=yaml.CSafeLoader)
    objects = Objects(made)
    images = {objects.container(name)["image"] for name in objects.names("Deployment")}
    assert images == {f"registry.example.com/toyrental:{__version__}"}


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_the_api_server_takes_it(cluster: Cluster, overlay: Path) -> None:
    """All but the monitors, whose kinds the cluster has not, and in a namespace that is there."""
    known = [
        each
        for each in built(cluster, overlay.name)
        if "coreos.com" not in each["apiVersion"] and each["kind"] != "Namespace"
    ]
    for each in known:
        if "namespace" in each["metadata"]:
            each["metadata"]["namespace"] = "default"
    answer = cluster.run_kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--output=name",
        "-f-",
        stdin=yaml.safe_dump_all(known),
    )
    assert len(answer.split()) == len(known)


def test_every_kustomization_is_tried() -> None:
    kustomizations = {path.parent for path in MANIFESTS.rglob("kustomization.yaml")}
    reached = set(OVERLAYS)
    for overlay in OVERLAYS:
        reached |= parts(overlay)
    assert kustomizations == reached


def parts(folder: Path) -> set[Path]:
    content = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found = {(folder / name).resolve() for name in content["resources"]}
    inner = {path for path in found if (path / "kustomization.yaml").exists()}
    return inner.union(*(parts(path) for path in inner))


def test_there_is_a_sample_of_every_kind_but_payment() -> None:
    """People create no Payments: a Rental has its own made, and a policy refuses any other."""
    sampled = {
        each["kind"]
        for path in (MANIFESTS / "samples").glob("*.yaml")
        for each in yaml.safe_load_all(path.read_text())
    }
    crds = [yaml.safe_load(path.read_text()) for path in (REPOSITORY / "crds").glob("*.yaml")]
    assert sampled == {crd["spec"]["names"]["kind"] for crd in crds} - {"Payment"}
