"""Argo CD's ConfigMap, from the health check in the layout of Argo CD's own repository."""

from pathlib import Path
from typing import Any

import yaml

from toyrental.kinds import KINDS
from toyrental.shared.resource import GROUP

ROOT = Path(__file__).parents[2]
GITOPS = ROOT / "gitops" / "argocd"
HEALTH = GITOPS / "resource_customizations" / GROUP / "_" / "health.lua"
CONFIG_MAP = GITOPS / "argocd-cm.yaml"
NOTE = "# Made from health.lua by `make generate`; change that, not this file.\n"


class _Block(str):
    """Text that is written as it stands, line by line."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes blocks as blocks, and what occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def config_map() -> str:
    """Return the part of the ConfigMap `argocd-cm` that is ours.

    A key for each kind, for one that says `*` can only be said within `resource.customizations`,
    and that is a single text, which others may have written already.
    """
    check = _Block(HEALTH.read_text())
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
        "data": {
            f"resource.customizations.health.{GROUP}_{kind.SERVED.kind}": check for kind in KINDS
        },
    }
    return NOTE + yaml.dump(content, Dumper=_Dumper, sort_keys=False)
