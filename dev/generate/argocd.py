"""Argo CD's ConfigMap, from the health check in the layout of Argo CD's own repository."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
GITOPS = ROOT / "gitops" / "argocd"
HEALTH = GITOPS / "resource_customizations" / "toyrental.dev" / "_" / "health.lua"
CONFIG_MAP = GITOPS / "argocd-cm.yaml"
NOTE = "# Made from health.lua by `make generate`; change that, not this file.\n"


class _Block(str):
    """Text that is written as it stands, line by line."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes blocks as blocks."""


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def config_map() -> str:
    """Return the part of the ConfigMap `argocd-cm` that is ours."""
    customizations = yaml.dump(
        {"toyrental.dev/*": {"health.lua": _Block(HEALTH.read_text())}}, Dumper=_Dumper
    )
    content = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "argocd-cm",
            "labels": {
                "app.kubernetes.io/name": "argocd-cm",
                "app.kubernetes.io/part-of": "argocd",
            },
        },
        "data": {"resource.customizations": _Block(customizations)},
    }
    return NOTE + yaml.dump(content, Dumper=_Dumper, sort_keys=False)
