"""What providers are asked is counted by what they answer, and told of while there is a gateway."""

import asyncio
from typing import Any, get_args

import pytest

from tests.payments.servers import Scripted, says_nothing
from tests.payments.stands import TIMEOUT, charge_of, inquiry_of, refund_of
from toyrental.payments.guard import Guard
from toyrental.payments.metrics import (
    BROKEN_OFF,
    OUTCOMES,
    Gateways,
    MeasuredProvider,
    Operation,
    Place,
)
from toyrental.payments.models import Circuit, PaymentGateway
from toyrental.payments.providers import port
from toyrental.payments.providers.simulator import SimulatorProvider
from toyrental.shared.clock import exact_now
from toyrental.shared.metrics import REGISTRY

PLACE = Place("shop", "measured")
CHARGE = charge_of("pm_card_visa")


def asked(operation: Operation, outcome: str) -> float:
    labels = {**PLACE._asdict(), "operation": operation, "outcome": outcome}
    return REGISTRY.get_sample_value("toyrental_gateway_requests_total", labels) or 0.0


class Answers:
    """A provider that gives one answer to all."""

    capabilities = SimulatorProvider.capabilities

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def charge(self, _: port.Charge) -> Any:
        return self.answer

    async def look_up(self, _: port.Inquiry) -> Any:
        return self.answer

    async def refund(self, _: port.Refund) -> Any:
        return self.answer

    async def validate(self) -> Any:
        return self.answer

    async def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        (Operation.CHARGE, port.Captured("ch_1")),
        (Operation.CHARGE, port.Declined("card_declined", "no")),
        (Operation.CHARGE, port.OutcomeUnknown("no answer in time")),
        (Operation.LOOK_UP, port.Found("ch_1", 15000)),
        (Operation.LOOK_UP, port.Missing()),
        (Operation.LOOK_UP, port.TryLater("later")),
        (Operation.REFUND, port.Refunded()),
        (Operation.REFUND, port.NotSent("not there")),
        (Operation.ACCOUNT, port.Account("acct_shop")),
        (Operation.ACCOUNT, port.Unauthorized("refused")),
    ],
)
async def test_every_answer_is_counted_by_its_outcome(operation: Operation, answer: Any) -> None:
    provider = MeasuredProvider(Answers(answer), PLACE)
    outcome = OUTCOMES[type(answer)]
    before = asked(operation, outcome)
    calls = {
        Operation.CHARGE: lambda: provider.charge(CHARGE),
        Operation.LOOK_UP: lambda: provider.look_up(inquiry_of(CHARGE)),
        Operation.REFUND: lambda: provider.refund(refund_of(CHARGE, "ch_1", 1000)),
        Operation.ACCOUNT: provider.validate,
    }
    assert await calls[operation]() == answer
    assert asked(operation, outcome) == before + 1


def test_every_answer_that_the_port_allows_has_an_outcome() -> None:
    answers = port.ChargeAnswer | port.LookUpAnswer | port.RefundAnswer | port.AccountAnswer
    assert set(get_args(answers)) == set(OUTCOMES)


async def test_a_call_that_is_broken_off_is_counted_as_such(scripted: Scripted) -> None:
    scripted.then = says_nothing
    provider = MeasuredProvider(SimulatorProvider(scripted.url, TIMEOUT), PLACE)
    before = asked(Operation.CHARGE, BROKEN_OFF)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await provider.charge(CHARGE)
    assert asked(Operation.CHARGE, BROKEN_OFF) == before + 1
    await provider.close()


def gateway() -> PaymentGateway:
    return PaymentGateway.model_validate(
        {
            "metadata": {"namespace": PLACE.namespace, "name": PLACE.gateway, "uid": "u-1"},
            "spec": {"simulator": {"endpoint": "http://127.0.0.1:8790"}},
            "status": {
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "False",
                        "reason": "SecretMissing",
                        "message": "",
                        "lastTransitionTime": "2026-03-01T09:00:00Z",
                    }
                ]
            },
        }
    )


async def test_a_gateways_series_come_and_go_with_it() -> None:
    found = gateway()
    guard = Guard(found, exact_now)
    shown = Gateways()
    shown.show(found, guard)
    guard.charges.seed(Circuit.OPEN, exact_now())
    await MeasuredProvider(Answers(port.Captured("ch_1")), PLACE).charge(CHARGE)

    samples = [s for family in shown.collect() for s in family.samples]
    circuits = [s.labels for s in samples if "state" in s.labels and s.value == 1]
    assert {(c["calls"], c["state"]) for c in circuits} == {
        ("charges", "Open"),
        ("refunds", "Closed"),
    }
    ready = [(s.labels["reason"], s.value) for s in samples if "reason" in s.labels]
    assert ready == [("SecretMissing", 0)]

    shown.forget(PLACE)
    assert [s for family in shown.collect() for s in family.samples] == []
    left = [s.labels for family in REGISTRY.collect() for s in family.samples]
    assert [labels for labels in left if labels.get("gateway") == PLACE.gateway] == []
