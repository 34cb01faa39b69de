"""What of the Helm chart is made: its version, the files it installs as they are, its README.

Helm reads nothing outside a chart, so CRDs, policies, roles, alerts and dashboards are in it twice.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from toyrental import __version__

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "toyrental"
NOTE = "# Made by `make generate`; change operator/toyrental/__init__.py, not this file.\n"

CHART_YAML = f"""\
{NOTE}apiVersion: v2
name: toyrental
description: Runs toy-rental shops as Kubernetes resources. No toy is promised twice, no customer
  charged twice, no order lost.
type: application
version: {__version__}
appVersion: {__version__}
# Selectable fields of custom resources, and ValidatingAdmissionPolicy.
kubeVersion: ">=1.32.0-0"
"""

README = """\
<!-- Made from values.yaml by `make generate`; change what it says there, not this file. -->
# The Helm chart of the Toy Rental Operator

    helm install toyrental charts/toyrental --namespace toyrental-system --create-namespace

installs the kinds, the admission policies, the roles and the operator: two pods, of which one works
and the other stands by. `helm upgrade` brings all of it up to date, the kinds too. `helm uninstall`
leaves the kinds, and with them every shop, in the cluster; to remove them as well,
`kubectl delete -f crds/`, which deletes every toy and rental.
[For platform engineers](../../docs/how-to/platform-engineer.md) has the whole story.

The kinds and the policies are the cluster's, and there is one set of them: a second release in the
same cluster sets `crds.install`, `policies.install` and `roles.install` to false.

## Values

`values.schema.json` knows them all, so that Helm refuses one that is misspelt.

| value | default | what it is for |
|---|---|---|
"""


class Value(NamedTuple):
    """One thing that can be set: `image.tag`, its default, and the comment above it."""

    path: str
    default: Any
    comment: str


def chart(sources: Mapping[Path, str]) -> dict[Path, str]:
    """Return what is made of the chart; `sources` are the CRDs as they are about to be written."""
    manifests = ROOT / "manifests"
    files = {CHART / "files" / "crds" / path.name: content for path, content in sources.items()}
    for folder, name in ((manifests / "policies", "policies"), (manifests / "rbac", "roles")):
        files |= {
            CHART / "files" / name / path.name: path.read_text()
            for path in sorted(folder.glob("*.yaml"))
            if path.name != "kustomization.yaml"
        }
    files[CHART / "files" / "alerts.yaml"] = (manifests / "monitoring/alerts.yaml").read_text()
    files[CHART / "Chart.yaml"] = CHART_YAML
    files[CHART / "README.md"] = README + "".join(_row(value) for value in values())
    return files


def values() -> Iterator[Value]:
    """Yield every value of the chart, in the order of values.yaml."""
    text = (CHART / "values.yaml").read_text()
    content = yaml.safe_load(text)
    above: list[str] = []
    keys: list[str] = []
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if comment := re.fullmatch(r" *# (.*)", line):
            above.append(comment[1])
            continue
        if key := re.match(r"( *)([A-Za-z]+):", line):
            keys = [*keys[: len(key[1]) // 2], key[2]]
            section = re.match(f"{key[1]} +#", following)
            if above and not section:
                yield Value(".".join(keys), _at(content, keys), " ".join(above))
        above = []


def _at(content: Any, keys: list[str]) -> Any:
    for key in keys:
        content = content[key]
    return content


def _row(value: Value) -> str:
    default = yaml.safe_dump(value.default, default_flow_style=True, width=10_000).strip()
    default = default.removesuffix("...").strip()
    return f"| `{value.path}` | `{default}` | {value.comment.replace('|', chr(92) + '|')} |\n"
