"""What is said to each provider, and what it answers, word for word: tests/payments/golden.

A change of a request or of how an answer is read shows as a change of these files, to be reviewed.
`TOYRENTAL_GOLDEN=write make test ARGS="-n0 tests/payments/test_golden.py"` writes them anew.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.payments import stripe_api
from tests.payments.golden import Log, Recorder
from tests.payments.servers import says
from tests.payments.stands import (
    ADAPTERS,
    SIMULATOR_KEY,
    TIMEOUT,
    LocalStripe,
    Stand,
    charge_of,
    inquiry_of,
    refund_of,
    stand,
)
from tests.simulator.running import Running
from toyrental.payments.providers.port import ApiKey, Captured, Provider

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("TOYRENTAL_GOLDEN") == "write"

KEYS = {"simulator": SIMULATOR_KEY, "stripe": "sk_test_shop", "toss": "test_sk_shop"}
WRONG_KEY = "sk_test_wrong_key"
LATER: dict[str, Any] = {
    "simulator": {"error": {"type": "rate_limit_error", "code": "rate_limit"}},
    "stripe": {"error": {"type": "invalid_request_error", "code": "rate_limit"}},
    "toss": {"code": "TOO_MANY_REQUESTS", "message": "Too many requests"},
}


class Scene:
    """A provider with a recorder before it, and the log of what is played."""

    def __init__(self, at: Stand, recorder: Recorder, provider: Provider) -> None:
        self.at = at
        self.provider = provider
        self.recorder = recorder
        self.log = Log(dict.fromkeys((*KEYS.values(), WRONG_KEY), "<key>"))
        if at.name == "toss":
            self.log.calls(at.charged, "<billing key>")

    def charge(self, token: str, attempt: int = 1, uid: str = "") -> Any:
        made = charge_of(token, attempt=attempt, uid=uid)
        self.log.calls(made.payment_uid, "<payment>")
        return made

    async def plays(self, what: str, asked: Awaitable[Any]) -> Any:
        """Write down what an operation says, and what comes of it."""
        before = len(self.recorder.spoken)
        answer = await asked
        self.log.adds(what, self.recorder.spoken[before:], answer)
        return answer

    async def captured(self) -> tuple[Any, str]:
        """Charge, unrecorded."""
        charge = self.charge(self.at.charged)
        answer = await self.at.provider.charge(charge)
        assert isinstance(answer, Captured)
        return charge, answer.gateway_payment_id


Play = Callable[[Scene], Awaitable[object]]


async def charge(scene: Scene) -> None:
    charge = scene.charge(scene.at.charged)
    await scene.plays("charge", scene.provider.charge(charge))


async def same_charge_again(scene: Scene) -> None:
    charge, _ = await scene.captured()
    await scene.plays("the same charge again", scene.provider.charge(charge))


async def decline(scene: Scene) -> None:
    charge = scene.charge(scene.at.declined)
    await scene.plays("charge a card that says no", scene.provider.charge(charge))
    another = scene.charge(scene.at.charged, attempt=2, uid=charge.payment_uid)
    await scene.plays("charge another card", scene.provider.charge(another))


async def look_up(scene: Scene) -> None:
    charge, id_ = await scene.captured()
    await scene.plays("look it up by our uid", scene.provider.look_up(inquiry_of(charge)))
    await scene.plays("look it up by its id", scene.provider.look_up(inquiry_of(charge, id_)))


async def look_up_missing(scene: Scene) -> None:
    charge = scene.charge(scene.at.charged)
    await scene.plays("look up what was never sent", scene.provider.look_up(inquiry_of(charge)))


async def refund_in_two_steps(scene: Scene) -> None:
    charge, id_ = await scene.captured()
    refund = scene.provider.refund
    await scene.plays("refund, step 1", refund(refund_of(charge, id_, 4000, step=1)))
    await scene.plays("the same step again", refund(refund_of(charge, id_, 4000, step=1)))
    await scene.plays("refund, step 2", refund(refund_of(charge, id_, 11000, step=2)))
    await scene.plays("look it up", scene.provider.look_up(inquiry_of(charge, id_)))


async def refund_of_nothing(scene: Scene) -> None:
    charge = scene.charge(scene.at.charged)
    refund = refund_of(charge, "unknown", 1000)
    await scene.plays("refund what was never taken", scene.provider.refund(refund))


async def account(scene: Scene) -> None:
    await scene.plays("ask whose account it is", scene.provider.validate())


async def wrong_key(scene: Scene) -> None:
    provider = ADAPTERS[scene.at.name](scene.recorder.url, TIMEOUT, ApiKey(WRONG_KEY))
    charge = scene.charge(scene.at.charged)
    await scene.plays("charge by a wrong key", provider.charge(charge))
    await provider.close()


async def rate_limit(scene: Scene) -> None:
    scene.recorder.instead = says(429, LATER[scene.at.name], **{"Retry-After": "7"})
    charge = scene.charge(scene.at.charged)
    await scene.plays("charge when there are too many", scene.provider.charge(charge))


SCENARIOS: dict[str, Play] = {
    play.__name__.replace("_", "-"): play
    for play in (
        charge,
        same_charge_again,
        decline,
        look_up,
        look_up_missing,
        refund_in_two_steps,
        refund_of_nothing,
        account,
        wrong_key,
        rate_limit,
    )
}


@pytest.fixture(scope="module")
def own_localstripe() -> Iterator[LocalStripe]:
    """Give a localstripe with no payments but these: a look-up lists them all."""
    running = LocalStripe()
    yield running
    running.close()


@pytest.fixture(params=list(ADAPTERS))
async def scene(
    request: pytest.FixtureRequest, simulator: Running, own_localstripe: LocalStripe
) -> AsyncIterator[Scene]:
    name = request.param
    if name == "stripe":
        own_localstripe.forget()
    async with stand(name, simulator, own_localstripe) as at, Recorder(at.endpoint) as recorder:
        provider = ADAPTERS[name](recorder.url, TIMEOUT, ApiKey(KEYS[name]))
        yield Scene(at, recorder, provider)
        await provider.close()


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_it_is_said_as_it_is_on_record(scene: Scene, scenario: str) -> None:
    file = GOLDEN / scene.at.name / f"{scenario}.http"
    await SCENARIOS[scenario](scene)
    said = str(scene.log)
    if WRITE:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(said)
    assert file.exists(), "write it with TOYRENTAL_GOLDEN=write, and review it"
    assert said == file.read_text()
    for key in (*KEYS.values(), WRONG_KEY):
        assert key not in said
    if scene.at.name == "stripe":
        for spoken in scene.recorder.spoken:
            asked = spoken.asked
            wrong = stripe_api.violations(asked.method, asked.path, asked.form | asked.query)
            assert wrong == []


def test_nothing_else_is_on_record() -> None:
    on_record = {file.relative_to(GOLDEN).as_posix() for file in GOLDEN.rglob("*.*")}
    assert on_record == {f"{name}/{each}.http" for name in ADAPTERS for each in SCENARIOS}
