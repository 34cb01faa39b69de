"""`make bench-payments`: what it sets is known to the product, and it counts right."""

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from dev.bench.payments import report
from dev.bench.payments.__main__ import app
from dev.bench.payments.faults import FAULTS, SETTINGS, SUITE, TOLD
from dev.bench.payments.measure import Figures, _calls_while_open, _to_open
from dev.bench.payments.relay import Relay
from dev.bench.payments.watching import Orders, Sample, _parsed
from tests.payments.servers import Scripted, resets, says
from toyrental.payments.models import CircuitBreaker
from toyrental.simulator import fault_kinds

PAGE = (Path(__file__).parents[2] / "docs/payments.md").read_text()
OPEN, HALF_OPEN, CLOSED = "Open", "HalfOpen", "Closed"


def test_the_simulator_knows_every_fault() -> None:
    assert FAULTS.keys() == TOLD.keys() == {fault for fault, _ in SUITE}
    for fault in FAULTS.values():
        assert fault_kinds.parse(json.dumps(fault))


def test_the_settings_are_those_of_a_gateway() -> None:
    for setting in SETTINGS.values():
        made = CircuitBreaker.model_validate(setting.spec)
        assert made.probes == setting.probes
    assert {setting for _, setting in SUITE} == SETTINGS.keys()


def test_metrics_are_read() -> None:
    labels = 'gateway="simulator",namespace="bench"'
    sample = _parsed(
        f'toyrental_gateway_requests_total{{{labels},operation="charge",outcome="unknown"}} 3.0\n'
        f'toyrental_gateway_requests_total{{{labels},operation="charge",outcome="captured"}} 9.0\n'
        f'toyrental_gateway_requests_total{{{labels},operation="look_up",outcome="found"}} 2.0\n'
        f'toyrental_gateway_circuit{{calls="charges",{labels},state="Open"}} 1.0\n'
        f'toyrental_gateway_circuit{{calls="charges",{labels},state="Closed"}} 0.0\n',
        moment=7.0,
    )
    assert sample.failed == 3
    assert (sample.asked(charges=True), sample.asked(charges=False)) == (12, 2)
    assert sample.circuits == {"charges": OPEN}


def looks(*states: str) -> list[Sample]:
    """Return one look a second, at a circuit of charges in these states."""
    return [Sample(float(n), {}, {"charges": state}) for n, state in enumerate(states)]


def test_only_calls_while_it_is_held_count_but_for_those_on_their_way_when_it_opened() -> None:
    relay = Relay("http://127.0.0.1:1")
    relay.charges = [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    samples = looks(CLOSED, OPEN, OPEN, OPEN, HALF_OPEN, CLOSED, CLOSED)
    assert _calls_while_open(samples, relay, directly=False)["charges"] == 2


def test_the_time_to_open_begins_with_the_first_failure() -> None:
    samples = looks(CLOSED, CLOSED, CLOSED, OPEN)
    assert _to_open(samples) is None
    for sample in samples[1:]:
        sample.calls["charge", "unknown"] = 1
    assert _to_open(samples) == 2


def figures(**changes: object) -> Figures:
    plain = dict.fromkeys(Figures.__dataclass_fields__, 0)
    told = {"fault": "drop", "setting": "breaker", "when": "", "to_open": None}
    return Figures(**plain | told | {"to_last_deferred": None} | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"offered": 2, "accepted": 1}, "not accepted"),
        ({"lost": 1}, "lost"),
        ({"charged_twice": 2}, "charged twice"),
        ({"calls_while_open": 3, "probes_allowed": 2}, "probes"),
    ],
)
def test_what_must_not_be_is_told(broken: dict[str, int], words: str) -> None:
    assert figures().faults == []
    (told,) = figures(**broken).faults
    assert words in told


async def test_the_relay_passes_what_is_said_and_notes_calls(scripted: Scripted) -> None:
    scripted.then = says(200, {"id": "ch_1"})
    async with Relay(scripted.url) as relay:
        async with httpx.AsyncClient(base_url=relay.url, trust_env=False) as client:
            for _ in range(2):
                made = await client.post("/v1/charges", json={"amount": 1})
                assert made.json() == {"id": "ch_1"}
            await client.get("/v1/charges")
            await client.get("/v1/refunds")
            scripted.then = resets
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post("/v1/charges")
        assert (len(relay.charges), len(relay.others)) == (3, 1)


def test_the_command_fails_when_what_must_not_be_is_in_its_figures(tmp_path: Path) -> None:
    """A record has all there is to measure, so that nothing but the verdict is left to do."""
    record = tmp_path / "figures.jsonl"
    options = ["--faults", "drop", "--settings", "breaker", "--record", str(record), "--json"]
    for broken, code in (({}, 0), ({"lost": 1}, 1), ({"calls_while_open": 1}, 1)):
        measured = figures(seconds=60, rate=20, **broken)
        record.write_text(json.dumps(measured.as_json()) + "\n")
        ended = CliRunner().invoke(app, options)
        assert ended.exit_code == code, ended.output
        assert ("Broken: drop, breaker" in ended.output) == bool(code)


def test_a_machine_that_does_not_keep_up_says_so_by_itself() -> None:
    fast = figures(when="2026-11-25 15:50", median_before=0.2)
    slow = figures(when="2026-11-25 16:20", median_before=1.2)
    assert "kept up in all" in report.told([fast])
    assert "In 1 of 2 measurements the machine did not keep up" in report.told([fast, slow])


def test_only_orders_placed_in_a_span_count() -> None:
    orders = Orders(placed={"a": 1.0, "b": 2.0, "c": 3.0}, paid={"a": 1.5, "b": 4.0})
    assert orders.waits(1, 3) == [0.5, 2.0]
    assert orders.waits(2, 10) == [2.0]


def test_the_tables_take_the_place_of_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "payments.md"
    page.write_text(PAGE)
    monkeypatch.setattr(report, "PAGE", page)
    other = [figures(when="2031-01-02 15:50", setting=setting) for setting in SETTINGS]
    report.write(other)
    once = page.read_text()
    for words in ("| commit, then drop the answer | 0 of 0 |", "2031-01-02"):
        assert once.count(words) == len(SETTINGS)
    report.write(other)
    assert page.read_text() == once
    # And those of other settings stay as they are
    for each in other:
        page.write_text(PAGE)
        report.write([each])
        assert page.read_text().count("2031-01-02") == 1
    assert once.partition("<!-- begin")[0] == PAGE.partition("<!-- begin")[0]
    assert once.rpartition("<!-- end")[2] == PAGE.rpartition("<!-- end")[2]


def test_the_page_has_the_table_and_nobody_was_harmed() -> None:
    """Every row of docs/payments.md: no order lost, none charged twice."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    header = next(row for row in rows if set(report.COLUMNS[:4]) <= set(row))
    measured = [row for row in rows if row[0] in TOLD.values()]
    assert {setting.told for setting in SETTINGS.values()} == {
        line.strip("*").lower() for line in PAGE.splitlines() if line.startswith("**")
    }
    lost, twice = header.index("lost"), header.index("charged twice")
    assert {(row[lost], row[twice]) for row in measured} == {("0", "0")}
