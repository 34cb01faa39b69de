"""Which cluster is used: only ever one that was asked for."""

from pathlib import Path

import pytest
from rich.console import Console

from dev.cluster import ClusterError, kind
from dev.cluster.layout import Layout
from dev.cluster.select import Choice, choose


def test_nothing_said_means_embedded_whatever_the_current_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    assert choose({"KUBECONFIG": str(tmp_path / "config")}) == Choice("embedded")
    assert choose({"TOYRENTAL_KUBECONFIG": "", "CLUSTER": ""}) == Choice("embedded")


def test_kind_is_used_when_asked_for() -> None:
    assert choose({"CLUSTER": "kind"}) == Choice("kind")


def test_a_cluster_named_explicitly_wins(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.touch()
    chosen = choose({"TOYRENTAL_KUBECONFIG": str(file), "CLUSTER": "kind"})
    assert chosen == Choice("existing", file)


def test_a_file_that_is_not_there_is_never_passed_over(tmp_path: Path) -> None:
    with pytest.raises(
        ClusterError, match=r"TOYRENTAL_KUBECONFIG names .*missing, which is no file"
    ):
        choose({"TOYRENTAL_KUBECONFIG": str(tmp_path / "missing")})


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(ClusterError, match="CLUSTER=minikube is not known"):
        choose({"CLUSTER": "minikube"})


def test_two_checkouts_have_kind_clusters_of_their_own(tmp_path: Path) -> None:
    assert kind.name(Layout(tmp_path / "a")) != kind.name(Layout(tmp_path / "b"))


def test_kind_without_its_programs_is_one_clear_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ClusterError, match="there is no `kind`: install it, or leave CLUSTER unset"
    ):
        kind.create(Layout(tmp_path), Console())
