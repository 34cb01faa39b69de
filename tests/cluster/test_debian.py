"""Programs of Debian's, had without installing anything: with an apt that plays its part."""

from pathlib import Path

import pytest

from dev.debian import NotToBeHad, unpacked

APT = """#!/bin/sh
echo "$*" >> {asked}
case "$*" in
  *update) touch {known} ;;
  *install*) echo "Inst libtoy (1.0)"; echo "Inst toy (1.0)" ;;
  *download*) test -e {known} || {{ echo "Unable to locate package toy" >&2; exit 100; }}
              touch toy_1.0_all.deb libtoy_1.0_all.deb ;;
esac
"""
DPKG = """#!/bin/sh
/bin/mkdir -p "$3/usr/bin" && touch "$3/usr/bin/${2%%_*}"
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give where the programs of a machine are that knows of no packages; it has none yet."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return programs


def install(machine: Path) -> Path:
    asked, known = machine / "asked", machine / "known"
    for name, script in (("apt-get", APT.format(asked=asked, known=known)), ("dpkg", DPKG)):
        program = machine / name
        program.write_text(script.replace("touch", "/usr/bin/touch"))
        program.chmod(0o755)
    return asked


def test_without_apt_it_says_what_to_do(machine: Path) -> None:
    assert machine.exists()
    with pytest.raises(NotToBeHad, match="there is no apt-get here; install the program itself"):
        unpacked("toy")


def test_a_fresh_machine_learns_of_packages_first_and_only_once(machine: Path) -> None:
    asked = install(machine)
    folder = unpacked("toy", with_needs=True)
    assert sorted(path.name for path in (folder / "usr/bin").iterdir()) == ["libtoy", "toy"]
    commands = asked.read_text().splitlines()
    assert ["update" in command for command in commands] == [False, False, True, False, False]
    assert unpacked("toy", with_needs=True) == folder
    assert asked.read_text().splitlines() == commands
