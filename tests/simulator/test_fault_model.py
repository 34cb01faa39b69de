"""Whatever goes wrong, money moves at most once a key, and what was answered is true."""

from typing import Any

import httpx
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.simulator.running import Running, metadata
from toyrental.simulator.ledger import Ledger
from toyrental.simulator.models import ChargeRequest, Metadata
from toyrental.simulator.provider import Conduct, Provider

# All that can happen to charges and refunds at once, but for keys that end: those are below.
_KINDS: list[dict[str, Any]] = [
    {"kind": "latency", "fixed": 0.005},
    {"kind": "latency", "uniform": {"min": 0, "max": 0.01}, "when": "after"},
    {"kind": "outage"},
    {"kind": "reset"},
    {"kind": "rateLimit"},
    {"kind": "error", "status": 503},
    {"kind": "error", "when": "after"},
    {"kind": "decline"},
    {"kind": "lookupLag", "seconds": 3600},
    {"kind": "drop"},
    {"kind": "garble", "form": "truncated"},
    {"kind": "garble", "form": "html"},
    {"kind": "trickle", "bytesPerSecond": 1000},
]
FAULTS = st.lists(
    st.builds(
        lambda fault, probability, seed: {**fault, "probability": probability, "seed": seed},
        st.sampled_from(_KINDS),
        st.sampled_from([0.2, 0.5, 0.9]),
        st.integers(min_value=0, max_value=2**32),
    ),
    max_size=5,
)
# Few keys, so that most requests are repeats.
REQUESTS = st.lists(
    st.tuples(st.sampled_from(["charge", "refund"]), st.integers(min_value=1, max_value=3)),
    min_size=1,
    max_size=10,
)


def attempt(simulator: Running, operation: str, number: int) -> httpx.Response | None:
    """Ask once; `None` if no whole answer came."""
    try:
        if operation == "charge":
            return simulator.charge(f"charge-{number}", metadata=metadata(f"payment-{number}"))
        charges = simulator.ledger()["charges"]
        paid = [c for c in charges if c["idempotencyKey"] == f"charge-{number}"]
        if not paid:
            return None
        mine = metadata(f"payment-{number}")
        return simulator.refund(f"refund-{number}", paid[0]["id"], 4000, metadata=mine)
    except httpx.TransportError:
        return None


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(faults=FAULTS, requests=REQUESTS)
@example(
    faults=[{"kind": "garble", "form": "truncated"}, {"kind": "trickle", "bytesPerSecond": 1000}],
    requests=[("charge", 1)],
)
def test_whatever_goes_wrong_a_key_moves_money_once(
    shared_faulty: Running, faults: list[dict[str, Any]], requests: list[tuple[str, int]]
) -> None:
    simulator = shared_faulty
    simulator.admin.post("/reset", json={"ledger": True})
    for fault in faults:
        simulator.set_fault(**fault)
    # When requests are made and repeated while things go wrong
    promised: dict[str, str] = {}
    for operation, number in requests:
        answer = attempt(simulator, operation, number)
        if answer is not None and answer.status_code == 200:
            promised[f"{operation}-{number}"] = answer.json()["id"]
    # Then no key moved money twice, and what was promised has happened
    books = simulator.ledger()
    moved = {entry["idempotencyKey"]: entry["id"] for entry in books["charges"] + books["refunds"]}
    assert len(moved) == len(books["charges"]) + len(books["refunds"])
    assert promised.items() <= moved.items()
    assert not set(moved) & {entry["idempotencyKey"] for entry in books["declines"]}
    # And no charge gave back more than was asked for
    assert {refund["amount"] for refund in books["refunds"]} <= {4000}
    # And once the faults are gone, every key tells what it did
    simulator.admin.delete("/faults")
    for key, name in moved.items():
        operation, number = key.split("-")
        answer = attempt(simulator, operation, int(number))
        assert answer is not None
        assert answer.json()["id"] == name
        assert answer.headers["idempotent-replayed"] == "true"
    assert simulator.ledger() == books


class Forgetful(Conduct):
    def forgets(self, age: float) -> bool:
        return age >= 10


@given(ages=st.lists(st.integers(min_value=0, max_value=15), min_size=1, max_size=10))
def test_a_key_moves_money_once_in_each_of_its_lives(ages: list[int]) -> None:
    # Given a provider that forgets keys after ten seconds
    ledger = Ledger.open(":memory:")
    now = 1_800_000_000.0
    provider = Provider(ledger, clock=lambda: now)
    asked = ChargeRequest(
        amount=1,
        currency="KRW",
        method="pm_card_visa",
        metadata=Metadata(payment_uid="payment-1", rental_uid="rental-1"),
    )
    # When the same charge is repeated at any times
    lives, born = 0, -100.0
    for age in ages:
        now += age
        reply = provider.charge("key", asked, Forgetful())
        if now - born >= 10:
            lives, born = lives + 1, now
            assert not reply.replayed
        else:
            assert reply.replayed
    # Then there is one charge a life
    assert [charge.key_life for charge in ledger.charges()] == list(range(lives, 0, -1))
    ledger.close()
