"""Which requests a fault strikes, how often, in which order, and that this can be repeated."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.conftest import Start
from tests.simulator.running import Running, metadata
from toyrental.simulator.fault_kinds import KINDS, Drop, Facts, Latency, Operation, parse
from toyrental.simulator.faults import Faults

CHARGE = Facts(Operation.CHARGE, "pm_card_visa", "payment-1", "rental-1")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def strikes(faults: Faults, facts: Facts = CHARGE) -> list[str]:
    return [fault.name for fault in faults.strike(Drop, facts)]


def test_a_count_ends_a_fault(faulty: Running) -> None:
    faulty.set_fault("error", times=2)
    statuses = [faulty.charge("key").status_code for _ in range(4)]
    assert statuses == [500, 500, 200, 200]
    [fault] = faulty.faults()
    assert (fault["struck"], fault["state"]) == (2, "over")


def test_only_the_named_operations_are_struck(faulty: Running) -> None:
    faulty.set_fault("error", operations=["lookup", "account"])
    charge = faulty.charge("key").json()["id"]
    assert faulty.refund("refund", charge, 1).status_code == 200
    assert faulty.client.get("/v1/charges").status_code == 500
    assert faulty.client.get("/v1/refunds").status_code == 500
    assert faulty.client.get(f"/v1/charges/{charge}").status_code == 500
    assert faulty.client.get("/v1/account").status_code == 500
    assert faulty.struck() == [4]


def test_only_one_payment_or_rental_is_struck(faulty: Running) -> None:
    faulty.set_fault("error", paymentUID="p2")
    faulty.set_fault("error", rentalUID="r3", status=503)
    assert faulty.charge("1").status_code == 200
    assert faulty.charge("2", metadata=metadata("p2")).status_code == 500
    assert faulty.charge("3", metadata=metadata("p3", "r3")).status_code == 503
    assert faulty.client.get("/v1/charges?paymentUID=p2").status_code == 500
    assert faulty.client.get("/v1/charges?paymentUID=p3").status_code == 200
    assert faulty.struck() == [2, 1]


def test_the_same_seed_strikes_the_same_requests(start: Start) -> None:
    # Given two simulators with faults of the same seed, and one of another
    fault = '{"kind": "error", "probability": 0.5, "seed": %d, "operations": ["account"]}'
    runs = []
    for seed in (7, 7, 8):
        simulator = start("--fault", fault % seed, ledger=":memory:")
        runs.append([simulator.client.get("/v1/account").status_code for _ in range(40)])
    # Then the first two fail at the same requests
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 500}


def test_after_a_reset_a_run_can_be_repeated(faulty: Running) -> None:
    runs = []
    for _ in range(2):
        # Given no seed: it is the number of the fault
        fault = faulty.set_fault("error", probability=0.5)
        assert fault["seed"] == 1
        runs.append([faulty.client.get("/v1/account").status_code for _ in range(40)])
        faulty.admin.post("/reset")
    assert runs[0] == runs[1]


def test_requests_of_others_do_not_shift_what_is_drawn() -> None:
    definition = parse('{"kind": "drop", "probability": 0.5, "operations": ["charge"]}')
    alone, among_others = Faults(), Faults()
    alone.add(definition)
    among_others.add(definition)
    other = Facts(Operation.LOOKUP)
    seen = []
    for _ in range(50):
        assert strikes(among_others, other) == []
        seen.append(strikes(among_others))
    assert seen == [strikes(alone) for _ in range(50)]


def test_faults_without_seeds_strike_independently() -> None:
    faults = Faults()
    for _ in range(2):
        faults.add(parse('{"kind": "drop", "probability": 0.5}'))
    seen = Counter(tuple(strikes(faults)) for _ in range(400))
    assert set(seen) == {(), ("f1",), ("f2",), ("f1", "f2")}
    assert min(seen.values()) > 60


def test_the_probability_is_kept() -> None:
    faults = Faults()
    faults.add(parse('{"kind": "drop", "probability": 0.1}'))
    struck = sum(bool(strikes(faults)) for _ in range(5000))
    assert 400 < struck < 600


def test_a_window_counts_from_when_the_fault_was_set() -> None:
    clock = Clock()
    faults = Faults(clock)
    faults.add(parse('{"kind": "drop", "from": 10, "for": 5}'))
    seen = {}
    for second in (0, 9.9, 10, 14.9, 15, 100):
        clock.now = 1000 + second
        seen[second] = (len(strikes(faults)), faults.view()[0]["state"])
    assert seen == {
        0: (0, "waiting"),
        9.9: (0, "waiting"),
        10: (1, "active"),
        14.9: (1, "active"),
        15: (0, "over"),
        100: (0, "over"),
    }


def test_several_faults_of_the_same_kind_add_up_or_take_turns(faulty: Running) -> None:
    faulty.set_fault("error", status=502, times=1)
    faulty.set_fault("error", status=504, times=1)
    # The second is not used up while the first strikes
    statuses = [faulty.client.get("/v1/account").status_code for _ in range(3)]
    assert statuses == [502, 504, 200]


def test_faults_strike_in_the_order_of_the_kinds_whatever_the_order_they_are_set_in(
    faulty: Running,
) -> None:
    # Given faults that each end a request, set the wrong way round
    faulty.set_fault("error", when="after", status=599, times=1)
    faulty.set_fault("error", status=502, times=1)
    faulty.set_fault("rateLimit", times=1)
    faulty.set_fault("outage", times=1)
    # When the same request is repeated
    seen = [(faulty.charge("key").status_code, len(faulty.ledger()["charges"])) for _ in range(5)]
    # Then they strike one after the other, in their order, money moving after the third
    assert seen == [(503, 0), (429, 0), (502, 0), (599, 1), (200, 1)]


def test_latency_comes_before_an_error_and_both_strike(faulty: Running) -> None:
    faulty.set_fault("error", times=1)
    faulty.set_fault("latency", fixed=0.1)
    faulty.set_fault("latency", fixed=0.1)
    answer = faulty.client.get("/v1/account")
    assert answer.status_code == 500
    assert answer.elapsed.total_seconds() > 0.19
    assert faulty.struck() == [1, 1, 1]


def latency(text: str) -> Latency:
    definition = parse(text)
    assert isinstance(definition, Latency)
    return definition


def test_a_lognormal_latency_has_its_median_and_its_99th_percentile() -> None:
    definition = latency('{"kind": "latency", "lognormal": {"median": 0.2, "p99": 3}}')
    chance = Random(1)  # noqa: S311
    drawn = sorted(definition.seconds(chance) for _ in range(20_000))
    assert drawn[10_000] == pytest.approx(0.2, rel=0.05)
    assert drawn[19_800] == pytest.approx(3, rel=0.15)


def test_percentiles_are_met_and_joined_by_lines() -> None:
    definition = latency('{"kind": "latency", "percentiles": {"50": 0.1, "90": 0.5, "99": 2}}')
    chance = Random(1)  # noqa: S311
    drawn = sorted(definition.seconds(chance) for _ in range(20_000))
    assert drawn[10_000] == pytest.approx(0.1, rel=0.05)
    assert drawn[14_000] == pytest.approx(0.3, rel=0.05)
    assert drawn[18_000] == pytest.approx(0.5, rel=0.15)
    assert drawn[-1] == pytest.approx(2)


@given(
    points=st.dictionaries(
        st.integers(min_value=0, max_value=100), st.floats(min_value=0, max_value=100), min_size=1
    ),
    seed=st.integers(),
)
def test_percentiles_never_leave_their_bounds(points: dict[int, float], seed: int) -> None:
    ordered = dict(zip(sorted(points), sorted(points.values()), strict=True))
    assert all(low <= high for low, high in pairwise(ordered.values()))
    text = ", ".join(f'"{at}": {seconds}' for at, seconds in ordered.items())
    definition = latency(f'{{"kind": "latency", "percentiles": {{{text}}}}}')
    assert 0 <= definition.seconds(Random(seed)) <= max(ordered.values())  # noqa: S311


def test_every_kind_says_what_it_does() -> None:
    assert all(kind.__doc__ for kind in KINDS.values())
