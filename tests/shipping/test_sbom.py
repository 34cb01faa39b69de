"""The software bill of materials names what the image has, with the hashes it was checked by."""

import json
import re
from pathlib import Path

from dev.cluster.manifests import REPOSITORY
from dev.tools import write_sbom


def test_it_lists_what_runs_with_hashes(tmp_path: Path) -> None:
    bill = json.loads(write_sbom(tmp_path / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "toyrental"
    locked = re.findall(
        r"^([\w-]+)==([\w.]+)", (REPOSITORY / "requirements/run.txt").read_text(), re.MULTILINE
    )
    listed = {(each["name"], each["version"]): each for each in bill["components"]}
    assert listed.keys() == set(locked)
    for each in listed.values():
        assert any("hashes" in source for source in each["externalReferences"]), each["name"]
