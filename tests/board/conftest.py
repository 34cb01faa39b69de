"""A board, as its users have it: a process of its own."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from dev.cluster import Cluster
from tests.conftest import open_shop
from tests.support import Api, Shop
from tests.support.loopback import NO_TLS

TOYRENTAL = Path(sys.executable).with_name("toyrental")


@pytest.fixture(scope="module")
def house(admin: Api, cluster: Cluster) -> Iterator[Shop]:
    """Give a shop to all tests of a module."""
    yield from open_shop(admin, cluster)


@pytest.fixture(scope="module")
def start(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., str]]:
    """Start boards that end with the module, and see that they end well and log no token."""
    running: list[tuple[subprocess.Popen[str], Path]] = []

    def start(*flags: str) -> str:
        log = tmp_path_factory.mktemp("board") / "log"
        with log.open("w") as errors:
            serve = [str(TOYRENTAL), "board", "--port=0", f"--kubeconfig={cluster.kubeconfig}"]
            command = [*serve, *flags]
            board = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        running.append((board, log))
        assert board.stdout is not None
        said = re.search(r"http://\S+", board.stdout.readline())
        assert said, log.read_text()
        return said.group()

    yield start
    for board, log in running:
        board.terminate()
        assert board.stdout is not None
        with board.stdout:
            assert board.wait(30) == 0, log.read_text()
        assert "eyJ" not in log.read_text()


@pytest.fixture(scope="module")
def url(start: Callable[..., str], house: Shop) -> str:
    return start(f"--namespaces={house.name}", "--log-level=debug")


class Visitor:
    """A browser without JavaScript."""

    def __init__(self, url: str, shop: str) -> None:
        self.http = httpx.Client(
            base_url=url, follow_redirects=True, trust_env=False, verify=NO_TLS
        )
        self.path = f"/shops/{shop}"

    def sign_in(self, token: str) -> httpx.Response:
        return self.http.post("/sign-in", data={"token": token})

    def page(self) -> str:
        return self.http.get(self.path).text

    def do(self, what: str, **form: str) -> httpx.Response:
        csrf = re.search(r'name="csrf" value="([^"]+)"', self.page())
        assert csrf
        return self.http.post(f"{self.path}/{what}", data={"csrf": csrf.group(1)} | form)


@pytest.fixture
def visitor(url: str, house: Shop) -> Iterator[Visitor]:
    visitor = Visitor(url, house.name)
    yield visitor
    visitor.http.close()
