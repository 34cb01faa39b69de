"""No secret shows anywhere, whatever happens: the real operator, at debug level.

The provider is a parrot: it repeats all that it was sent, the credentials with it, in everything
that it answers. So does whatever copies an answer, or a request, or the variables of a traceback.
"""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml

from dev.cluster import Cluster
from dev.cluster.ports import free
from tests.e2e.business import GATEWAY, Business
from tests.support import Shop, eventually, objects
from tests.support.operator import OperatorProcess, SimulatorProcess
from toyrental.kinds import KINDS
from toyrental.payments.models import Payment, PaymentGateway, PaymentPhase
from toyrental.simulator.webhooks import SIGNATURE_HEADER, signature

API_KEY = "sim_canary_key_1d5e"
CARD = "pm_canary_card_77b0"
WEBHOOKS = "whsec_canary_hooks_c3a9"
SECRETS = {"key": API_KEY, "card": CARD, "hooks": WEBHOOKS}

BREAKS = """
import pathlib, httpx
sent = httpx.AsyncClient.stream
def stream(client, method, url, **request):
    if pathlib.Path({flag!r}).exists():
        raise RuntimeError("broken on purpose")
    return sent(client, method, url, **request)
httpx.AsyncClient.stream = stream
"""
"""Loaded by Python at its start: an error from the midst of a request, while a file is there."""


class Parrot:
    """A provider that answers as its mood is, and repeats all that it was asked."""

    def __init__(self) -> None:
        self.mood = "charges"
        self.charges: list[dict[str, Any]] = []
        self.heard: set[str] = set()
        parrot = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                echo = f"{self.headers} {body}"
                parrot.heard |= {name for name, secret in SECRETS.items() if secret in echo}
                status, content = parrot.answer(self.command, self.path, body, echo)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Location", f"http://127.0.0.1:1/{CARD}")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _answer  # noqa: N815 - the name is http.server's

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._serving = threading.Thread(target=self.server.serve_forever)
        self._serving.start()

    def answer(self, method: str, path: str, body: str, echo: str) -> tuple[int, bytes]:
        asked = urlsplit(path)
        error = {"error": {"type": echo, "code": echo, "declineCode": echo, "message": echo}}
        if self.mood == "unauthorized":
            return 401, json.dumps(error).encode()
        if asked.path == "/v1/account":
            return 200, json.dumps({"id": "acct_parrot", "echo": echo}).encode()
        troubles = {
            "outage": (500, echo),
            "nonsense": (200, f"<html>{echo}</html>"),
            "redirects": (302, echo),
        }
        refusals = {"declines": (402, json.dumps(error)), "refuses": (400, json.dumps(error))}
        trouble = (troubles | (refusals if method == "POST" else {})).get(self.mood)
        if trouble is not None:
            return trouble[0], trouble[1].encode()
        if method == "GET":
            uid = parse_qs(asked.query)["paymentUID"][0]
            found = [each for each in self.charges if each["metadata"]["paymentUID"] == uid]
            return 200, json.dumps({"data": found if "charges" in asked.path else []}).encode()
        made = json.loads(body) | {"id": f"ch_{len(self.charges)}", "echo": echo, "currency": "KRW"}
        self.charges.append(made)
        return 200, json.dumps(made).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._serving.join()


@pytest.fixture
def parrot() -> Iterator[Parrot]:
    found = Parrot()
    yield found
    found.close()


@pytest.fixture
def ports() -> tuple[int, int]:
    metrics, webhooks = free(2)
    return metrics, webhooks


@pytest.fixture
def flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a file that breaks the operator's requests while it is there."""
    flag = tmp_path / "broken"
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BREAKS.format(flag=str(flag)))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return flag


@pytest.fixture
def operator(
    cluster: Cluster, own_shop: Shop, tmp_path: Path, flag: Path, ports: tuple[int, int]
) -> Iterator[OperatorProcess]:
    assert not flag.exists()
    flags = (
        "--log-level=debug",
        f"--metrics=http://127.0.0.1:{ports[0]}/metrics",
        f"--webhooks=http://127.0.0.1:{ports[1]}/webhooks",
    )
    with OperatorProcess(cluster, tmp_path, *flags, namespaces=[own_shop.name]) as operator:
        yield operator


@pytest.fixture
def business(own_shop: Shop, own_simulator: SimulatorProcess, parrot: Parrot) -> Business:
    """Give an open shop whose provider is the parrot."""
    for name, secret in SECRETS.items():
        own_shop.secret(name, {"secret": secret})
    refs = {name: {"name": name, "key": "secret"} for name in SECRETS}
    spec = {"endpoint": parrot.url, "secretRef": refs["key"]}
    own_shop.create(
        objects.gateway(
            GATEWAY,
            parrot.url,
            simulator=spec,
            webhookSecretRef=refs["hooks"],
            circuitBreaker={"minimumCalls": 1000},
        )
    )
    own_shop.create(objects.store(gateway=GATEWAY))
    return Business(own_shop, own_simulator)


def orders(business: Business, name: str, phase: PaymentPhase) -> Payment:
    """Have somebody order a toy with the card in the Secret."""
    business.registers(f"toy-{name}")
    ref = {"name": "card", "key": "secret"}
    business.takes_order(name, toy=f"toy-{name}", paymentMethod=None, paymentMethodSecretRef=ref)
    rental = business.order_becomes(name, "Reserved")
    return business.wait(Payment, rental.payment_name, lambda seen: seen.phase is phase)


def test_no_secret_shows_whatever_happens(
    operator: OperatorProcess,
    business: Business,
    parrot: Parrot,
    ports: tuple[int, int],
    flag: Path,
) -> None:
    shop = business.shop
    business.gateway_becomes(Ready="True")
    # Given a success, a decline, a refusal, an outage, and answers that make no sense
    for mood, phase in {
        "declines": PaymentPhase.DECLINED,
        "refuses": PaymentPhase.MANUAL_REVIEW,
        "redirects": PaymentPhase.MANUAL_REVIEW,
        "outage": PaymentPhase.UNKNOWN,
        "nonsense": PaymentPhase.UNKNOWN,
    }.items():
        parrot.mood = mood
        last = orders(business, mood, phase)

    # And a webhook that is signed, and wakes the last one, and one that is not
    parrot.mood = "charges"
    hook = f"http://127.0.0.1:{ports[1]}/webhooks/{shop.name}/{GATEWAY}"
    event = {"id": "evt_1", "data": {"object": {"metadata": {"paymentUID": last.uid}}}}
    body, now = json.dumps(event | {"echo": list(SECRETS.values())}).encode(), int(time.time())
    for secret, status in ((WEBHOOKS, 200), (f"{WEBHOOKS}-not", 401)):
        headers = {SIGNATURE_HEADER: signature(secret, body, now)}
        answer = httpx.post(hook, content=body, headers=headers, trust_env=False)
        assert answer.status_code == status
        assert "canary" not in answer.text
    business.order_becomes("nonsense", "Paid")

    # And credentials that are refused
    parrot.mood = "unauthorized"
    shop.patch(PaymentGateway, GATEWAY, spec={"timeoutSeconds": 9})
    business.gateway_becomes(Ready="False/AuthenticationFailed")
    metrics = httpx.get(f"http://127.0.0.1:{ports[0]}/metrics", trust_env=False).text
    assert "toyrental_gateway_requests_total" in metrics

    # And tracebacks from the midst of a request, in both formats of the log
    flag.touch()
    shop.patch(PaymentGateway, GATEWAY, spec={"timeoutSeconds": 8})
    eventually(lambda: "broken on purpose" in operator.log, within=60)
    seen = len(operator.log)
    operator.kill()
    operator.arguments = (*operator.arguments, "--log-format=text")
    operator.start()
    eventually(lambda: "broken on purpose" in operator.log[seen:], within=60)
    assert operator.log.count("Traceback") >= 2

    # Then the provider has seen what it should, and nobody else has
    assert parrot.heard == {"key", "card"}
    found = [each for kind in KINDS for each in shop.api.find(kind.SERVED.kind, shop.name)]
    events = shop.api.find("Event", shop.name)
    assert len(found) > 10
    assert events
    shown = {"log": operator.log, "metrics": metrics, "objects": yaml.safe_dump(found + events)}
    assert [where for where, text in shown.items() if "canary" in text] == []
