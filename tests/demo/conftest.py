"""What the demos share."""

from collections.abc import Iterator

import filelock
import pytest


@pytest.fixture(scope="module")
def one_demo_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no two workers play at once: each demo takes the usual ports that it finds free."""
    everybodys = tmp_path_factory.getbasetemp().parent
    with filelock.FileLock(everybodys / "demo.lock"):
        yield
