from collections.abc import AsyncIterator, Iterator

import pytest

from tests.payments.servers import Scripted
from tests.payments.stands import ADAPTERS, SIMULATOR_KEY, LocalStripe, Stand, stand
from tests.simulator.running import Running


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("simulator")
    keys = directory / "keys"
    keys.write_text(f"{SIMULATOR_KEY}\n")
    running = Running(":memory:", directory / "errors.log", f"--api-key-file={keys}")
    yield running
    running.close()


@pytest.fixture(scope="session")
def localstripe() -> Iterator[LocalStripe]:
    running = LocalStripe()
    yield running
    running.close()


@pytest.fixture(params=list(ADAPTERS))
async def at(
    request: pytest.FixtureRequest, simulator: Running, localstripe: LocalStripe
) -> AsyncIterator[Stand]:
    """Give each provider in turn, at its stand."""
    async with stand(request.param, simulator, localstripe) as found:
        yield found


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    """Give a server that answers as it is told."""
    async with Scripted() as server:
        yield server
