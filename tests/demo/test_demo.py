"""`make demo` plays to its end on a cluster of the user's own, and leaves nothing there."""

from pathlib import Path

import pytest

from dev.cluster import Cluster
from dev.cluster.layout import Layout
from dev.cluster.programs import directory, running
from dev.demo.record import BEGIN, END, PAGE, README, best_of, commands
from tests.demo.command import run
from tests.support import Api


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give where this demo keeps its files."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def played(cluster: Cluster, state_dir: Path, one_demo_at_a_time: None) -> str:  # noqa: ARG001
    """Play the demo as somebody who has a cluster, and give what it showed."""
    kubeconfig = str(cluster.kubeconfig)
    demo = run("dev.demo", f"--state-dir={state_dir}", TOYRENTAL_KUBECONFIG=kubeconfig)
    assert demo.returncode == 0, demo.stdout
    return demo.stdout


def test_it_plays_to_its_end(played: str) -> None:
    assert "11. The end of the day" in played
    assert "7 charges     142,000 KRW taken" in played
    assert "2 refunds      56,000 KRW given back" in played
    assert "The Payments in the cluster say the same, to the won." in played


def test_without_colours_it_is_plain_text(played: str) -> None:
    assert "\x1b" not in played


def test_it_leaves_nothing_on_the_cluster(played: str, admin: Api) -> None:
    namespaces = [namespace["metadata"]["name"] for namespace in admin.find("Namespace")]
    assert "Tidying up" in played
    assert not [name for name in namespaces if name.startswith("toyrental-demo-")]


def test_it_leaves_nothing_on_the_machine(played: str, state_dir: Path) -> None:
    assert played
    layout = Layout(state_dir)
    assert running(layout) == []
    assert not directory(layout).exists()
    assert not layout.kubeconfig.exists()


def test_the_recorded_run_is_played_so_today(played: str) -> None:
    recorded = PAGE.read_text()
    assert commands(recorded) == commands(played), "record it anew: python -m dev.demo.record"


def test_the_readme_shows_the_best_of_the_recorded_run() -> None:
    page, readme = (_recorded(path) for path in (PAGE, README))
    assert readme.strip() == best_of(page).strip(), "record it anew: python -m dev.demo.record"


def _recorded(page: Path) -> str:
    text = page.read_text()
    block = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    return block.removeprefix("```console\n").removesuffix("```\n")
