"""What probes are answered: each check by its name, and 503 where one is not well."""

import json
import socket
from collections.abc import Sequence

import httpx
import pytest

from toyrental.kube.health import LONGEST_LAG_SECONDS, Check, Health, serving


class Part:
    """Something that is as it is told."""

    def __init__(self) -> None:
        self.alive = Check("watches", ok=True, state="heard of")
        self.ready = Check("caches", ok=True, state="filled")

    def liveness(self) -> Sequence[Check]:
        return [self.alive]

    def readiness(self) -> Sequence[Check]:
        return [self.ready]


def test_an_event_loop_that_hangs_is_told_of_by_name() -> None:
    now = [100.0]
    health = Health(clock=lambda: now[0])
    assert all(check.ok for check in health.liveness())
    now[0] += LONGEST_LAG_SECONDS + 1
    assert health.liveness() == [Check("event loop", ok=False, state="last turned 31 s ago")]


async def test_a_loop_that_turns_beats() -> None:
    now = iter([100.0, 150.0, 150.0, 150.0])
    health = Health(clock=lambda: next(now))
    beating = health.beat()
    beating.send(None)
    assert health.liveness()[0].ok
    beating.close()


def test_nothing_is_ready_before_something_runs() -> None:
    health = Health()
    assert [check.ok for check in health.readiness()] == [False]
    health.part = Part()
    assert [check.ok for check in health.readiness()] == [True]


def test_probes_are_answered_in_words_and_by_status() -> None:
    health, part = Health(), Part()
    health.part = part
    routes = {"/livez": health.liveness, "/readyz": health.readiness}
    with (
        serving("127.0.0.1", 0, routes) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        answer = client.get("/livez?verbose")
        assert (answer.status_code, answer.json()["ok"]) == (200, True)
        part.alive = Check("watches", ok=False, state="nothing is heard of Rental")
        answer = client.get("/livez")
        assert answer.status_code == 503
        assert json.loads(answer.text)["checks"][1] == {
            "name": "watches",
            "ok": False,
            "state": "nothing is heard of Rental",
        }
        assert client.get("/readyz").status_code == 200
        elsewhere = client.get("/metrics")
        assert elsewhere.status_code == 404
        assert "/livez or /readyz" in elsewhere.json()["error"]


def test_a_client_that_says_nothing_keeps_nobody_waiting() -> None:
    with (
        serving("::1", 0, {"/livez": Health().liveness}) as port,
        socket.create_connection(("::1", port)),
    ):
        answer = httpx.get(f"http://[::1]:{port}/livez", trust_env=False)
        assert answer.status_code == 200


def test_a_port_that_is_taken_is_an_error() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
        serving("127.0.0.1", taken.getsockname()[1], {}),
    ):
        pass
