"""What is made from the models is in the repository as it is made now."""

import re
from pathlib import Path

import pytest

from dev.generate import __main__ as generate
from tests.api.schemas import crds, fields, kind


def run(monkeypatch: pytest.MonkeyPatch, *flags: str) -> int:
    monkeypatch.setattr("sys.argv", ["generate", *flags])
    return generate.main()


def test_nothing_has_drifted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--check") == 0, capsys.readouterr().err


def test_drift_is_told_and_mended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # Given a copy of what is generated
    for path, content in generate.generated().items():
        copy = tmp_path / path.relative_to(generate.ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(content)
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    # When somebody edits one of the files
    rentals = tmp_path / "crds" / "toyrental.dev_rentals.yaml"
    made = rentals.read_text()
    rentals.write_text(made.replace("maxLength: 253", "maxLength: 254"))
    # Then the check names it, and says what to do
    assert run(monkeypatch, "--check") == 1
    expected = "crds/toyrental.dev_rentals.yaml is out of date; run `make generate`\n"
    assert capsys.readouterr().err == expected
    # And making it again mends it
    assert run(monkeypatch) == 0
    assert rentals.read_text() == made


def test_the_reference_tells_of_every_field_and_rule() -> None:
    page = (generate.ROOT / "docs" / "reference" / "api.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for crd in crds():
        section = sections[kind(crd)]
        for field in fields(crd):
            if field.named and "." in field.path and ".conditions[]" not in field.path:
                assert f"| `{field.path}`" in section, str(field)
            for rule in field.schema.get("x-kubernetes-validations", ()):
                assert rule["message"] in section, str(field)
