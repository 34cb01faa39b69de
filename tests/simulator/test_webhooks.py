"""Webhooks as a receiver of them sees them: a server of its own, over real HTTP."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.simulator.conftest import Start
from tests.simulator.running import Running, metadata
from tests.simulator.test_command import complaint, run

SECRET = "whsec_canary"


class Receiver:
    """Takes webhooks, and answers with the statuses it is given, then with 200."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, str]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((body, self.headers["Stripe-Signature"]))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self, number: int) -> list[dict[str, Any]]:
        """Wait until so many have come, and give them all."""
        deadline = time.monotonic() + 30
        while len(self.got) < number and time.monotonic() < deadline:
            time.sleep(0.02)
        return [json.loads(body) for body, _ in self.got]

    def payments(self, number: int) -> list[str]:
        """Wait for so many, and give the payments they are about."""
        events = self.events(number)
        return [event["data"]["object"]["metadata"]["paymentUID"] for event in events]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def telling(start: Start, receiver: Receiver) -> Running:
    """Give a simulator that tells the receiver."""
    return start(
        "--admin-port=0",
        f"--webhook-url={receiver.url}",
        ledger=":memory:",
        env={"TOYRENTAL_SIMULATOR_WEBHOOK_SECRET": SECRET},
    )


def pay(simulator: Running, *payments: str) -> None:
    for payment in payments:
        simulator.charge(f"{payment}:charge", metadata=metadata(payment))


def test_what_happens_to_money_is_told_in_order(telling: Running, receiver: Receiver) -> None:
    # Given a charge, repeated; a decline; and a refund, repeated
    charge = telling.charge("c").json()
    telling.charge("c")
    telling.charge("d", method="pm_card_chargeDeclined", metadata=metadata("payment-2"))
    telling.refund("r", charge["id"], 5000)
    telling.refund("r", charge["id"], 5000)
    telling.refund("too much", charge["id"], 15000)
    # Then each is told once, with what it is about
    succeeded, failed, refunded = receiver.events(3)
    assert [e["type"] for e in (succeeded, failed, refunded)] == [
        "charge.succeeded",
        "charge.failed",
        "charge.refunded",
    ]
    assert succeeded["data"]["object"] == charge
    assert refunded["data"]["object"] == charge | {"amountRefunded": 5000}
    decline = failed["data"]["object"]
    assert (decline["status"], decline["declineCode"]) == ("failed", "generic_decline")
    assert decline["metadata"] == metadata("payment-2")
    assert len({e["id"] for e in (succeeded, failed, refunded)}) == 3
    assert succeeded["object"] == "event"
    assert succeeded["id"].startswith("evt_")
    time.sleep(0.2)
    assert len(receiver.got) == 3


def test_a_refund_that_fails_is_told_of(telling: Running, receiver: Receiver) -> None:
    # Given a refund that fails after it was accepted
    telling.set_fault("refundFailure", seconds=0.1)
    charge = telling.charge("c").json()["id"]
    refund = telling.refund("r", charge, 5000).json()
    # Then that is told last, with the refund
    events = receiver.events(3)
    assert [e["type"] for e in events] == ["charge.succeeded", "charge.refunded", "refund.failed"]
    assert events[2]["data"]["object"] == refund | {"status": "failed"}


def test_webhooks_are_signed_as_stripe_signs_them(telling: Running, receiver: Receiver) -> None:
    pay(telling, "p")
    receiver.events(1)
    [(body, signature)] = receiver.got
    parts = dict(part.split("=", 1) for part in signature.split(","))
    assert abs(int(parts["t"]) - time.time()) < 30
    signed = f"{parts['t']}.".encode() + body
    assert parts["v1"] == hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    # And the secret is not told
    assert SECRET not in telling.errors.read_text()


def test_a_webhook_is_tried_again_until_it_is_taken(telling: Running, receiver: Receiver) -> None:
    receiver.answers += [500, 302]
    pay(telling, "p")
    events = receiver.events(3)
    assert len(events) == 3
    assert len({event["id"] for event in events}) == 1
    time.sleep(0.2)
    assert len(receiver.got) == 3


def test_one_that_has_to_be_tried_again_does_not_hold_up_the_next(
    telling: Running, receiver: Receiver
) -> None:
    receiver.answers += [500]
    pay(telling, "p1", "p2")
    assert receiver.payments(3) == ["p1", "p2", "p1"]


def test_webhooks_are_told_even_if_the_answer_is_dropped(
    telling: Running, receiver: Receiver
) -> None:
    telling.set_fault("error", when="after")
    pay(telling, "p")
    assert receiver.payments(1) == ["p"]


def test_duplicate(telling: Running, receiver: Receiver) -> None:
    telling.set_fault("webhookDuplicate", copies=2, times=1)
    pay(telling, "p1", "p2")
    assert receiver.payments(4) == ["p1", "p1", "p1", "p2"]
    assert len({event["id"] for event in receiver.events(4)}) == 2


def test_reorder(telling: Running, receiver: Receiver) -> None:
    telling.set_fault("webhookReorder", times=1, seconds=3600)
    pay(telling, "p1", "p2", "p3")
    assert receiver.payments(3) == ["p2", "p1", "p3"]
    assert telling.struck() == [1]


def test_reorder_with_nothing_after_it(telling: Running, receiver: Receiver) -> None:
    telling.set_fault("webhookReorder", seconds=0.2)
    pay(telling, "p1")
    assert receiver.payments(1) == ["p1"]


def test_delay(telling: Running, receiver: Receiver) -> None:
    telling.set_fault("webhookDelay", seconds=1, times=1)
    begun = time.monotonic()
    pay(telling, "late", "soon")
    assert receiver.payments(2) == ["soon", "late"]
    assert time.monotonic() - begun > 0.9


def test_loss(telling: Running, receiver: Receiver) -> None:
    telling.set_fault("webhookLoss", paymentUID="lost")
    pay(telling, "lost", "told")
    assert receiver.payments(1) == ["told"]
    assert telling.struck() == [1]


def test_reset_forgets_what_waits(telling: Running, receiver: Receiver) -> None:
    telling.set_fault("webhookDelay", seconds=0.5, times=1)
    telling.set_fault("webhookReorder", seconds=0.5, times=2)
    pay(telling, "delayed", "held")
    telling.admin.post("/reset")
    time.sleep(0.7)
    pay(telling, "told")
    assert receiver.payments(1) == ["told"]


def test_a_receiver_that_is_not_there_is_no_failure(start: Start, receiver: Receiver) -> None:
    receiver.close()
    simulator = start(
        f"--webhook-url={receiver.url}", env={"TOYRENTAL_SIMULATOR_WEBHOOK_SECRET": SECRET}
    )
    assert simulator.charge("key").status_code == 200
    simulator.ask_to_end()
    assert simulator.wait() == 0
    assert "Traceback" not in simulator.errors.read_text()


def test_without_a_secret_there_are_no_webhooks() -> None:
    said = complaint(run("--port=0", "--ledger=:memory:", "--webhook-url=http://127.0.0.1:1/"))
    assert "TOYRENTAL_SIMULATOR_WEBHOOK_SECRET" in said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://shop.example/hook", "--webhook-anywhere"),
        ("http://192.0.2.1/hook", "--webhook-anywhere"),
        ("http://127.0.0.1.example/hook", "--webhook-anywhere"),
        ("ftp://127.0.0.1/", "must be http:// or https://"),
        ("http://name:word@127.0.0.1/", "without a user name"),
        ("http://[::1", "is no URL"),
        ("nothing", "must be http:// or https://"),
    ],
)
def test_webhooks_stay_on_this_machine_unless_told(url: str, said: str) -> None:
    complained = complaint(run("--port=0", "--ledger=:memory:", f"--webhook-url={url}"))
    assert said in complained
    assert "word" not in complained
