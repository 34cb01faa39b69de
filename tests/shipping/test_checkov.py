"""checkov finds nothing in the chart, the manifests and the Dockerfile that is not explained."""

import json
import shutil
import subprocess

import pytest
import yaml

from dev.cluster.manifests import REPOSITORY
from dev.helm.manifests import MANIFESTS
from dev.tools import environment
from tests.shipping.test_chart import ALL
from tests.support.helm import render

FRAMEWORKS = {"kubernetes": 50, "dockerfile": 50}
"""What checkov looks at, and how much it must find good if it has really looked."""

EXPLAINED = REPOSITORY / "dev" / "checkov.yaml"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Give what each check refuses, by the check's id."""
    directory = tmp_path_factory.mktemp("checkov")
    for name, values in ALL.items():
        (directory / f"{name}.yaml").write_text(yaml.safe_dump_all(render(values)))
    shutil.copy(MANIFESTS / "overlays" / "demo" / "simulator.yaml", directory)
    shutil.copy(REPOSITORY / "Dockerfile", directory)
    answer = subprocess.run(
        [
            *(environment("checkov") / "checkov", f"--directory={directory}", "--output=json"),
            *("--framework", *FRAMEWORKS, "--skip-download", "--compact", "--quiet"),
        ],
        capture_output=True,
        text=True,
        env={"HOME": str(directory), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    reports = json.loads(answer.stdout)
    passed = {report["check_type"]: report["summary"]["passed"] for report in reports}
    assert passed.keys() == FRAMEWORKS.keys()
    assert all(passed[name] > least for name, least in FRAMEWORKS.items()), "it has looked at them"
    refused: dict[str, set[str]] = {}
    for report in reports:
        for check in report["results"]["failed_checks"]:
            refused.setdefault(check["check_id"], set()).add(check["resource"])
    return refused


def test_all_that_is_found_is_explained(found: dict[str, set[str]]) -> None:
    explained = yaml.safe_load(EXPLAINED.read_text())
    assert {check: found[check] for check in found.keys() - explained.keys()} == {}
    assert explained.keys() - found.keys() == set(), "explained, and no longer found"
    assert all(len(reason.split()) > 8 for reason in explained.values())


def test_who_has_no_use_for_a_token_has_none(found: dict[str, set[str]]) -> None:
    assert not any("simulator" in resource for resource in found["CKV_K8S_38"])
