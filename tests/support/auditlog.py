"""What the API server wrote down: who asked it for what, and by which permission it was allowed.

`entries` reads the audit log of an audited cluster. `unused` and `refusals` hold what the operator
did in a whole run against what its roles grant.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dev.cluster.manifests import ROLES
from toyrental.contexts import Right

OPERATOR = "toyrental-operator/"
"""How the program begins the name by which it goes (its User-Agent)."""

PROGRAM_ROLES = (
    "toyrental-operator",
    "toyrental-leader-election",
    "toyrental-rentals",
    "toyrental-stores",
    "toyrental-repairs",
    "toyrental-payments",
    "toyrental-dashboards",
)


class Entry(NamedTuple):
    """A request and its answer. `role` is the ClusterRole that allowed it, if one did."""

    user: str
    agent: str
    right: Right
    namespace: str
    name: str
    code: int
    said: str
    allowed: bool
    role: str
    notes: dict[str, str]

    @property
    def by_operator(self) -> bool:
        """Whether the program itself asked."""
        return self.agent.startswith(OPERATOR)

    def __str__(self) -> str:
        what = f"{self.right.verb} {self.right.resource} {self.namespace}/{self.name}"
        return f"{self.user} ({self.agent}): {what}: {self.code} {self.said}"


def entries(log: Path, *, with_text: str = "") -> Iterator[Entry]:
    """Yield what was written down so far; with a text, only lines that have it."""
    # The API server begins a new file when one is large, and names the full one by the time.
    for path in sorted(log.parent.glob(f"{log.stem}*{log.suffix}")):
        with path.open() as lines:
            for line in lines:
                if with_text in line and line.endswith("\n"):
                    yield _entry(json.loads(line))


def _entry(raw: dict[str, Any]) -> Entry:
    target, status = raw.get("objectRef", {}), raw.get("responseStatus", {})
    notes = raw.get("annotations", {})
    resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
    by = re.search(r'ClusterRole "([^"]+)"', notes.get("authorization.k8s.io/reason", ""))
    return Entry(
        user=raw["user"].get("username", ""),
        agent=raw.get("userAgent", ""),
        right=Right(raw["verb"], resource, target.get("apiGroup", "")),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=status.get("code", 0),
        said=status.get("message", ""),
        # Whom the API server does not know at all (401) it asks RBAC nothing about.
        allowed=notes.get("authorization.k8s.io/decision") != "forbid",
        role=by[1] if by else "",
        notes=notes,
    )


def granted(role: str) -> set[Right]:
    """Return what one of our roles grants."""
    (found,) = (
        each
        for path in ROLES.glob("*.yaml")
        if (each := yaml.safe_load(path.read_text())).get("metadata", {}).get("name") == role
    )
    return {
        Right(verb, resource, group)
        for rule in found["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for group in rule["apiGroups"]
    }


def used(seen: Iterable[Entry]) -> dict[str, set[Right]]:
    """Return which rights the operator used, by the role that granted them.

    Of two roles of one account that grant the same, the log names either: where an account used
    both in a namespace, both count. `operate` is asked for by the admission policies, which the log
    does not tell of: where a patch was done, they let it pass.
    """
    asked = [each for each in seen if each.by_operator and each.role in PROGRAM_ROLES]
    holds: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in asked:
        holds[each.user, each.namespace].add(each.role)
    grants = {role: granted(role) for role in PROGRAM_ROLES}
    rights: dict[str, set[Right]] = {role: set() for role in PROGRAM_ROLES}
    for each in asked:
        done = {each.right}
        if each.right.verb == "patch" and 200 <= each.code < 300:
            done.add(each.right._replace(verb="operate"))
        for role in holds[each.user, each.namespace]:
            rights[role] |= done & grants[role]
    return rights


def unused(seen: Iterable[Entry]) -> list[str]:
    """Return what the operator's roles grant that it never used, in a line each."""
    return [
        f"{role} grants {right.verb} {right.resource}, which the operator never used"
        for role, rights in used(seen).items()
        for right in sorted(granted(role) - rights)
    ]


def refusals(seen: Iterable[Entry]) -> list[str]:
    """Return what was refused to the operator for who it is: by RBAC, or by a policy."""
    return sorted(
        {
            str(each)
            for each in seen
            if each.by_operator
            and (not each.allowed or (each.code == 403 and "AdmissionPolicy" in each.said))
        }
    )


class Verdict(NamedTuple):
    """What is wrong, a line each, and what was looked at."""

    faults: list[str]
    said: str


def verdict(log: Path, *, whole: bool) -> Verdict:
    """Judge a run by its audit log; of a part of the suite it says nothing about unused rights."""
    by_operator = list(entries(log, with_text=f'"userAgent":"{OPERATOR}'))
    faults = refusals(by_operator) + (unused(by_operator) if whole else [])
    asked = f"{len(by_operator)} requests of operators"
    if not whole:
        return Verdict(faults, "")
    many = sum(len(granted(role)) for role in PROGRAM_ROLES)
    return Verdict(faults, f"{asked}; {many} permissions of {len(PROGRAM_ROLES)} roles looked at")
