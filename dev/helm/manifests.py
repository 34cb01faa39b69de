"""`python -m dev.helm.manifests`: write what manifests/ has of the chart, for those without Helm.

That is the operator itself. Kinds, policies, roles and alerts are the other way round: the chart
has them from crds/ and manifests/.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dev.cluster.manifests import REPOSITORY
from dev.generate.chart import CHART
from dev.helm.run import helm

MANIFESTS = REPOSITORY / "manifests"
NAMESPACE = "toyrental-system"
NOTE = "# Made from charts/toyrental by `make generate`; change that, not this file.\n"
OF_HELM = {"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"}

OPERATOR_ALONE = {name: {"install": False} for name in ("crds", "policies", "roles")}
CONTEXTS = ("rentals", "stores", "repairs", "payments", "dashboards")
SPLIT = {"deployments": [{"name": name, "contexts": [name]} for name in CONTEXTS]}
CUSTOMER_PROXY = {"customerProxy": {"enabled": True, "tlsSecret": "customer-proxy-tls"}}


def manifests() -> dict[Path, str]:
    """Return each file with its content. Raises HelmSays."""
    operator, overlays = _rendered({}), MANIFESTS / "overlays"
    proxy = [each for each in _rendered(CUSTOMER_PROXY) if each not in operator]
    return {
        MANIFESTS / "operator" / "operator.yaml": _written(operator),
        overlays / "split-contexts" / "operators.yaml": _written(_rendered(SPLIT)),
        overlays / "customer-proxy" / "customer-proxy.yaml": _written(proxy),
    }


def _rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    given = json.dumps(OPERATOR_ALONE | values)
    said = helm("template", "toyrental", str(CHART), f"--namespace={NAMESPACE}", values=given)
    return [without_helm(each) for each in yaml.safe_load_all(said) if each]


def _written(objects: list[dict[str, Any]]) -> str:
    return NOTE + yaml.safe_dump_all(objects, sort_keys=False, width=100)


def without_helm(content: dict[str, Any]) -> dict[str, Any]:
    """Return an object without the labels and annotations that are Helm's own."""
    metadata = dict(content["metadata"])
    metadata["labels"] = {
        key: value for key, value in metadata.get("labels", {}).items() if key not in OF_HELM
    }
    metadata["annotations"] = {
        key: value
        for key, value in metadata.get("annotations", {}).items()
        if not key.startswith("helm.sh/")
    }
    return content | {"metadata": {key: value for key, value in metadata.items() if value}}


def stale() -> Iterator[tuple[Path, str]]:
    """Yield each file that is not as it should be, with what it should be. Raises HelmSays."""
    for path, content in manifests().items():
        if not path.exists() or path.read_text() != content:
            yield path, content


if __name__ == "__main__":
    for path, content in stale():
        path.write_text(content)
        print(f"wrote {path.relative_to(REPOSITORY)}")
