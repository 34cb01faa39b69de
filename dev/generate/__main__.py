"""Write what is made from the models. `--check` only tells what is out of date."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from dev.generate.access import access_reference
from dev.generate.argocd import CONFIG_MAP, config_map
from dev.generate.chart import CHART, chart
from dev.generate.contexts import with_map
from dev.generate.crds import custom_resource_definition
from dev.generate.grafana import grafana_dashboards
from dev.generate.metrics import metrics_reference
from dev.generate.reference import api_reference
from toyrental.kinds import KINDS
from toyrental.shared.resource import GROUP

ROOT = Path(__file__).parents[2]
NOTE = "# Made from the models by `make generate`; change them, not this file.\n"


def generated() -> dict[Path, str]:
    """Return every generated file with its content."""
    crds = ROOT / "crds"
    files = {
        crds / f"{GROUP}_{kind.SERVED.plural}.yaml": NOTE + _yaml(custom_resource_definition(kind))
        for kind in KINDS
    }
    files |= chart(files)
    files[crds / "Kustomization"] = NOTE + _yaml(
        _kustomization(path.name for path in files if path.parent == crds)
    )
    files[ROOT / "docs" / "reference" / "api.md"] = api_reference()
    files[ROOT / "docs" / "reference" / "access.md"] = access_reference()
    files[ROOT / "docs" / "reference" / "metrics.md"] = metrics_reference()
    for name, content in grafana_dashboards().items():
        files[ROOT / "manifests" / "monitoring" / "grafana" / name] = content
        files[CHART / "files" / "grafana" / name] = content
    files[CONFIG_MAP] = config_map()
    architecture = ROOT / "docs" / "architecture.md"
    files[architecture] = with_map(architecture)
    return files


def _kustomization(names: Iterable[str]) -> dict[str, Any]:
    """Return what lets other kustomizations include the CRDs.

    Its file has no ending, so that `kubectl apply -f crds/` does not take it for a resource.
    """
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(names),
    }


class _Dumper(yaml.SafeDumper):
    """Writes what occurs twice twice: an anchor helps no reader."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _yaml(content: object) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=100)


def main() -> int:
    """Write the files, or with `--check` name those that are out of date; 1 where some are."""
    stale = [
        path
        for path, content in generated().items()
        if not path.exists() or path.read_text() != content
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date; run `make generate`", file=sys.stderr)
        return 1 if stale else 0
    files = generated()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
