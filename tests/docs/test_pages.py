"""What the pages point to is there."""

import re
from pathlib import Path

import pytest

from dev.cluster.manifests import REPOSITORY

PAGES = [
    *REPOSITORY.glob("*.md"),
    *(REPOSITORY / "docs").rglob("*.md"),
]
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(REPOSITORY)) for page in pages]


@pytest.fixture(params=PAGES, ids=names(PAGES))
def page(request: pytest.FixtureRequest) -> Path:
    """Give each page in turn."""
    path: Path = request.param
    return path


def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"`[^`\n]*`", "", page.read_text())
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_files_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"`((?:tests|dev|docs|manifests|operator|crds)/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


def test_make_knows_the_targets_that_are_named(page: Path) -> None:
    named = re.findall(r"(?:^    |`|=\S+ )make ([a-z]+)", page.read_text(), re.MULTILINE)
    assert [name for name in named if not re.search(rf"^{name}:", MAKEFILE, re.MULTILINE)] == []


def test_every_page_is_in_the_index() -> None:
    docs = REPOSITORY / "docs"
    index = (docs / "README.md").read_text()
    pages = [str(page.relative_to(docs)) for page in docs.rglob("*.md")]
    assert [page for page in pages if page != "README.md" and f"]({page})" not in index] == []
