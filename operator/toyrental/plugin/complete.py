"""Completion: names of objects, shops and contexts. Whatever goes wrong, it offers nothing.

kubectl runs `kubectl_complete-toyrental` with the words after `toyrental`, the last of them as far
as it is typed, and takes a line an offer; then `:4`, which is to say: no file names.
"""

import sys
from typing import Any

from toyrental.plugin.options import Target

NO_FILES = ":4"


def main() -> None:
    """Offer what may come next."""
    from click.shell_completion import ShellComplete  # noqa: PLC0415 # most starts do without

    from toyrental.plugin.command import toyrental  # noqa: PLC0415 # it imports this module

    *before, typed = sys.argv[1:] or [""]
    shell = ShellComplete(toyrental, {}, "kubectl toyrental", "")
    for offer in shell.get_completions(before, typed):
        if offer.type == "plain":
            print(f"{offer.value}\t{offer.help}" if offer.help else offer.value)  # noqa: T201
    print(NO_FILES)  # noqa: T201


def names(plural: str, given: dict[str, Any], typed: str) -> list[str]:
    """Return the names of objects of a kind that begin so."""
    try:
        with _target(given).connect() as api:
            found = api.names(plural, api.access.namespace)
    except Exception:  # noqa: BLE001 # a person who presses Tab wants no traceback
        return []
    return [name for name in found if name.startswith(typed)]


def namespaces(given: dict[str, Any], typed: str) -> list[str]:
    """Return the names of shops that begin so."""
    from toyrental.plugin import near  # noqa: PLC0415 # most starts do without

    try:
        with _target(given).connect() as api:
            found = near.namespaces(api)
    except Exception:  # noqa: BLE001 # as above
        return []
    return [name for name in found if name.startswith(typed)]


def contexts(given: dict[str, Any], typed: str) -> list[str]:
    """Return the names of contexts that begin so."""
    from toyrental.plugin import kubeconfig  # noqa: PLC0415 # most starts do without

    try:
        found = kubeconfig.contexts(given.get("kubeconfig"))
    except Exception:  # noqa: BLE001 # as above
        return []
    return [name for name in found if name.startswith(typed)]


def _target(given: dict[str, Any]) -> Target:
    return Target(
        namespace=given.get("namespace"),
        context=given.get("context"),
        kubeconfig=given.get("kubeconfig"),
        user=given.get("user"),
        groups=given.get("groups") or (),
    )
