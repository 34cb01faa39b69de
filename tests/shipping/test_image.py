"""The image: built from the Dockerfile without any network, and tried as its pods would run it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.manifests import REPOSITORY
from tests.support import image
from toyrental import __version__

LARGEST_MB = 150
NAME = "localhost/toyrental:test"


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[image.Builder]:
    image.tools_or_skip()
    builder = image.Builder(tmp_path)
    try:
        yield builder
    finally:
        builder.remove()


# One test, lest two processes build the image; minutes the first time, for the base and the wheels.
@pytest.mark.timeout(1200)
def test_the_image_is_small_and_works_read_only_without_root_shell_and_network(
    builder: image.Builder, tmp_path: Path
) -> None:
    # Given a base, when the image is built on it
    builder.import_base("localhost/base")
    builder.build(
        NAME,
        image.context(tmp_path / "context"),
        BASE="localhost/base",
        PIP_OPTIONS="--no-index --find-links=dist/wheels",
        VERSION=__version__,
        REVISION="abc",
    )
    # Then it says what it is
    config = builder.config(NAME)
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items()}
    assert labels["version"] == __version__
    assert labels["revision"] == "abc"
    assert labels["licenses"] == "Apache-2.0"
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/app/bin/toyrental"]
    # And all that it adds to the base is small, locked, and nobody's to change but root's
    root = builder.unpack(NAME)
    assert megabytes(root / "app") < LARGEST_MB
    assert installed(root) == locked() | {"toyrental"}
    assert loose(root / "app") == []
    # And it works where there is no shell
    for shell in ("sh", "bash", "dash"):
        (root / "usr" / "bin" / shell).unlink()
    for command in ("run", "board", "simulator"):
        answer = image.isolated(root, "/app/bin/toyrental", command, "--help")
        assert answer.returncode == 0, answer.stderr
        assert "Usage" in answer.stdout
    answer = image.isolated(root, "/app/bin/toyrental", "--version")
    assert answer.stdout == f"toyrental {__version__}\n"
    # And without a cluster it gets as far as looking for one, with everything imported
    answer = image.isolated(root, "/app/bin/toyrental", "run")
    assert answer.returncode == 1
    assert answer.stderr.startswith("toyrental: no cluster is named")


def megabytes(folder: Path) -> int:
    used = subprocess.run(["du", "-sm", folder], capture_output=True, text=True, check=True)
    return int(used.stdout.split()[0])


def installed(root: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in (root / "app").rglob("*.dist-info")}


def locked() -> set[str]:
    """Return what the lock has for Linux: colorama is for Windows."""
    lines = (REPOSITORY / "requirements" / "run.txt").read_text().splitlines()
    return {line.partition("==")[0].replace("-", "_") for line in lines if "==" in line} - {
        "colorama"
    }


def loose(folder: Path) -> list[Path]:
    """Return what others than root could change."""
    return [
        path
        for path in folder.rglob("*")
        if not path.is_symlink() and (path.stat().st_uid != 0 or path.stat().st_mode & 0o022)
    ]
