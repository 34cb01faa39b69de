"""What is built is built from what was pinned, and what SECURITY.md promises has a test."""

import ast
import json
import re
from typing import Any

import pytest
import yaml

from dev.cluster.manifests import REPOSITORY
from toyrental import __version__

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
DEPENDABOT = REPOSITORY / ".github" / "dependabot.yml"
RENOVATE = REPOSITORY / ".github" / "renovate.json"
SECURITY = REPOSITORY / "SECURITY.md"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def jobs() -> list[dict[str, Any]]:
    return [job for path in WORKFLOWS for job in yaml.safe_load(path.read_text())["jobs"].values()]


def test_actions_are_pinned_by_commit_with_their_version_beside() -> None:
    used = [line for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
    assert used
    for line in used:
        assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_the_workflow_runs_what_people_run_and_no_job_may_more_than_it_needs() -> None:
    steps = [step for job in jobs() for step in job["steps"]]
    assert ".ci/run" in [step.get("run") for step in steps]
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {}
    writing = [job for job in jobs() if "write" in job["permissions"].values()]
    assert [job["if"] for job in writing] == ["startsWith(github.ref, 'refs/tags/v')"]
    assert [job["needs"] for job in writing] == ["prove"]


def test_newer_versions_wait_a_week_and_nothing_is_forgotten() -> None:
    updates = yaml.safe_load(DEPENDABOT.read_text())["updates"]
    assert all(each["cooldown"]["default-days"] >= 7 for each in updates)
    watched = {
        (each["package-ecosystem"], folder)
        for each in updates
        for folder in each.get("directories", [each.get("directory")])
    }
    modules = {
        ("gomod", f"/dev/{path.parent.name}") for path in (REPOSITORY / "dev").glob("*/go.mod")
    }
    assert modules <= watched
    assert {("github-actions", "/"), ("pip", "/requirements")} <= watched


def test_the_base_image_is_pinned_by_who_can() -> None:
    """Dependabot sees no image behind an ARG, and adds no digest where there is none."""
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/python:[\w.-]+(@sha256:[0-9a-f]{64})?", base)
    renovate = json.loads(RENOVATE.read_text())
    assert renovate["enabledManagers"] == ["dockerfile"]
    assert "docker:pinDigests" in renovate["extends"]
    assert "docker" not in DEPENDABOT.read_text()


def test_what_is_published_says_on_which_base_it_was_built_and_is_signed() -> None:
    (job,) = [job for job in jobs() if "write" in job["permissions"].values()]
    steps = {step.get("uses", "").partition("@")[0]: step for step in job["steps"]}
    # The usual builder of the machines cannot attest.
    assert "docker/setup-buildx-action" in steps
    assert steps["docker/build-push-action"]["with"]["provenance"] == "mode=max"
    commands = "\n".join(step.get("run", "") for step in job["steps"])
    assert 'cosign sign --yes "$IMAGE@$DIGEST"' in commands
    assert "cosign attest --yes --type cyclonedx --predicate dist/sbom.json" in commands


@pytest.mark.parametrize(
    "lock", sorted((REPOSITORY / "requirements").glob("*.txt")), ids=lambda p: p.name
)
def test_every_package_is_pinned_by_hash(lock: Any) -> None:
    text = re.sub(r"\\\n", " ", lock.read_text())
    packages = [line for line in text.splitlines() if re.match(r"[A-Za-z]", line)]
    assert packages
    assert [line.split()[0] for line in packages if "==" not in line or "--hash=" not in line] == []


def test_every_lock_is_made_by_make_lock() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for lock in (REPOSITORY / "requirements").glob("*.txt"):
        assert f"-o requirements/{lock.name}" in makefile


def test_the_image_runs_the_versions_that_were_tested() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (REPOSITORY / "requirements" / name).read_text()
        return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))

    tested = pins("dev.txt") | {"tzdata": pins("run.txt")["tzdata"]}
    assert pins("run.txt").items() <= tested.items()
    assert pins("build.txt").items() <= tested.items()


def test_the_version_is_nowhere_else_by_hand() -> None:
    """Where it must be written out (images of kustomizations, pages), it is the one version."""
    pages = (REPOSITORY / "docs" / "how-to").glob("*.md")
    for path in (*(REPOSITORY / "manifests").rglob("*.yaml"), *pages):
        for version in re.findall(r"toyrental:(\d+\.\d+\.\d+\S*)", path.read_text()):
            assert version == __version__, path


def test_every_threat_names_tests_that_are_there() -> None:
    """By their full names: a file alone may lose the test that was meant, and nobody notices."""
    rows = [line for line in SECURITY.read_text().splitlines() if line.startswith("| T")]
    assert [row.split()[1] for row in rows] == [f"T{n}" for n in range(1, len(rows) + 1)]
    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)*)`", row)
        assert named, row
        for path, name in named:
            tests = named_in((REPOSITORY / path).read_text())
            assert name.removeprefix("::") in tests, f"{path}{name}"


def named_in(source: str) -> set[str]:
    """Return the tests of a file as pytest calls them: `Class::test_it`, `test_it`."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            inner = [each for each in node.body if isinstance(each, FUNCTIONS)]
            found |= {f"{node.name}::{each.name}" for each in inner}
        elif isinstance(node, FUNCTIONS):
            found.add(node.name)
    return {name for name in found if name.rpartition("::")[2].startswith("test_")}


def test_a_test_that_is_not_there_is_missed() -> None:
    source = "class Case:\n def test_in(self): ...\nasync def test_it(): ...\ndef helper(): ..."
    assert named_in(source) == {"Case::test_in", "test_it"}
