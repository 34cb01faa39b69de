"""Webhooks over real HTTP: what wakes a payment, and all that is refused."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
import pytest

from tests.rules.given import a_payment
from tests.support import eventually, objects
from tests.support.loopback import NO_TLS
from toyrental.kinds import KINDS
from toyrental.kube import errors
from toyrental.kube.cache import Cache
from toyrental.payments import signatures, webhooks
from toyrental.payments.gateways import Gateways
from toyrental.payments.metrics import Place
from toyrental.payments.signatures import TOLERANCE_SECONDS, Verdict, judge
from toyrental.payments.webhooks import LONGEST_BODY, MOST_EVENTS, Rates, Receiver
from toyrental.shared.model import NameRef
from toyrental.shared.resource import Key, Resource
from toyrental.simulator.events import Event
from toyrental.simulator.fault_kinds import Facts, Operation, parse
from toyrental.simulator.faults import Faults
from toyrental.simulator.webhooks import Webhooks, signature

SECRET = "whsec_canary_3f2a"
SHOP = "shop"
UID = "11111111-2222-3333-4444-555555555555"


def raw(resource: Resource, **metadata: str) -> dict[str, Any]:
    """Return a resource as the API server sends it."""
    content = resource.model_dump(mode="json", by_alias=True, exclude_none=True)
    content["kind"] = resource.SERVED.kind
    content["metadata"] |= {"namespace": SHOP, "resourceVersion": "1", **metadata}
    return content


class Desk(NamedTuple):
    """Where webhooks arrive: its address, and which payments were looked at since."""

    url: str
    receiver: Receiver
    gateways: Gateways
    looked_at: list[Key]
    secret: dict[str, str]
    cache: Cache

    async def post(self, body: bytes, header: str, path: str = "/shop/main") -> httpx.Response:
        headers = {signatures.HEADER: header, "Content-Type": "application/json"}
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
            return await client.post(f"{self.url}{path}", content=body, headers=headers)

    async def signed(self, body: bytes, path: str = "/shop/main") -> httpx.Response:
        return await self.post(body, signature(SECRET, body, int(time.time())), path)


@pytest.fixture
async def desk(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Desk]:
    cache = Cache(KINDS)
    secret = {"secret": SECRET}
    looked_at: list[Key] = []

    async def read(namespace: str, name: str) -> dict[str, Any]:
        assert (namespace, name) == (SHOP, "hooks")
        if not secret:
            raise errors.NotFound("reading", "no")
        return {"data": {k: base64.b64encode(v.encode()).decode() for k, v in secret.items()}}

    gateways = Gateways((), read)
    receiver = Receiver(cache, gateways, looked_at.append)
    ref = {"name": "hooks", "key": "secret"}
    for name, spec in {"main": {"webhookSecretRef": ref}, "deaf": {}}.items():
        gateway = objects.gateway(name, "http://127.0.0.1:1", **spec)
        cache.put(raw(gateway, uid=f"uid-of-{name}"))
    for name, uid, till in (("ours", UID, "main"), ("others", "another", "deaf")):
        payment = a_payment().with_spec(gateway_ref=NameRef(name=till))
        cache.put(raw(payment, name=name, uid=uid))
    caplog.set_level("DEBUG")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhooks"
        async with webhooks.serving(receiver, listener):
            yield Desk(url, receiver, gateways, looked_at, secret, cache)
    assert SECRET not in caplog.text


def event(uid: str = UID, id_: str = "evt_1") -> bytes:
    content = {"id": id_, "data": {"object": {"metadata": {"paymentUID": uid}}}}
    return json.dumps(content).encode()


OURS = Key("Payment", SHOP, "ours")


async def test_what_is_signed_wakes_its_payment_once(desk: Desk) -> None:
    answer = await desk.signed(event())
    assert (answer.status_code, answer.text) == (200, "The payment is looked up.\n")
    assert desk.looked_at == [OURS]
    assert desk.gateways.take_told(OURS)
    assert not desk.gateways.take_told(OURS)
    # And the same event does not wake it again
    again = await desk.signed(event())
    assert again.status_code == 200
    assert desk.looked_at == [OURS]
    await desk.signed(event(id_="evt_2"))
    assert desk.looked_at == [OURS, OURS]


@pytest.mark.parametrize(
    "body",
    [
        event("another"),
        event("nobody"),
        b'{"id": "evt_3"}',
        b'{"id": "evt_4", "data": {"object": {"metadata": {"paymentUID": 7}}}}',
        b'{"id": "evt_5", "data": []}',
    ],
)
async def test_what_is_about_none_of_its_payments_is_taken_and_does_nothing(
    desk: Desk, body: bytes
) -> None:
    assert (await desk.signed(body)).status_code == 200
    assert desk.looked_at == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"id": 7}', b'{"id": ""}', b"[" * 100_000, b"\xff\xfe"],
)
async def test_what_is_no_event_is_refused(desk: Desk, body: bytes) -> None:
    assert (await desk.signed(body)).status_code == 400
    assert desk.looked_at == []


async def test_nobody_learns_whether_there_is_a_gateway(desk: Desk) -> None:
    """Given no valid signature, then a gateway, one without a secret, and none are alike."""
    now = int(time.time())
    forged = [
        "",
        "nonsense",
        "t=1",
        f"t={now},v1=",
        f"t={now},v1={'0' * 64}",
        f"t={now},v0={'0' * 64}",
        signature("another", event(), now),
        signature(SECRET, event() + b" ", now),
        signature(SECRET, event(), now).replace(f"t={now}", f"t={now + 1}"),
        f"t={now},{signature(SECRET, event(), now)}",
        "t=x" + signature(SECRET, event(), now)[3:],
    ]
    paths = ("/shop/main", "/shop/deaf", "/shop/none", "/nowhere/none")
    posts = [desk.post(event(), header, path) for header in forged for path in paths]
    answers = await asyncio.gather(*posts)
    told = {(each.status_code, each.text, frozenset(each.headers)) for each in answers}
    assert {status for status, *_ in told} == {401}
    assert min(each.elapsed.total_seconds() for each in answers) >= webhooks.REFUSAL_SECONDS
    assert len(told) == 1
    assert desk.looked_at == []


async def test_what_was_recorded_and_is_played_again_is_refused(desk: Desk) -> None:
    for age in (TOLERANCE_SECONDS + 60, -TOLERANCE_SECONDS - 60):
        answer = await desk.post(event(), signature(SECRET, event(), int(time.time()) - age))
        assert answer.status_code == 400
    assert desk.looked_at == []


async def test_a_rotated_secret_is_taken_up_and_one_that_is_gone_ends_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toyrental.payments.credentials.READ_AGAIN_SECONDS", 0.0)
    body, now = event(), int(time.time())
    both = f"{signature('new', body, now)},{signature(SECRET, body, now).split(',')[1]}"
    assert (await desk.post(body, both)).status_code == 200
    desk.secret["secret"] = "new"
    assert (await desk.post(body, both)).status_code == 200
    assert (await desk.signed(body)).status_code == 401
    desk.secret.clear()
    assert (await desk.post(body, both)).status_code == 401


async def test_an_operator_that_stands_by_says_so_and_takes_nothing(desk: Desk) -> None:
    receiver = Receiver(desk.cache, desk.gateways, desk.looked_at.append, leads=lambda: False)
    header = signature(SECRET, event(), int(time.time()))
    result = await receiver.receive(Place("shop", "main"), header, event())
    assert webhooks.ANSWERS[result][0] == 503
    assert desk.looked_at == []


async def test_other_paths_and_methods_lead_nowhere(desk: Desk) -> None:
    for path in ("", "/shop", "/shop/main/more"):
        assert (await desk.signed(event(), path)).status_code == 404
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
        assert (await client.get(f"{desk.url}/shop/main")).status_code == 405


async def test_what_is_huge_is_not_read(desk: Desk) -> None:
    assert (await desk.signed(b" " * (LONGEST_BODY + 1))).status_code == 413
    assert (await desk.signed(event()[:-1] + b" " * 100_000 + b"}")).status_code == 200

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10 * LONGEST_BODY // 65536):
            yield b" " * 65536

    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
        with suppress(httpx.WriteError, httpx.ReadError):  # it may hang up before all is sent
            answer = await client.post(f"{desk.url}/shop/main", content=endless())
            assert answer.status_code == 413


async def test_what_is_slow_is_ended(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(webhooks, "CONNECTION_SECONDS", 1.0)
    port = httpx.URL(desk.url).port
    head = b"POST /webhooks/shop/main HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
    for sent, answered in ((head, b"HTTP/1.1 408"), (head[:20], b""), (b"", b"")):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(answered)
        writer.close()
        await writer.wait_closed()


async def test_whoever_sends_too_much_is_put_off(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "BURST", 3.0)
    monkeypatch.setattr(webhooks, "PER_SECOND", 0.001)
    answers = [(await desk.signed(event(id_=f"evt_{n}"))).status_code for n in range(5)]
    assert answers == [200, 200, 200, 429, 429]
    # And other paths are not, whether there is a gateway or none
    assert (await desk.signed(event(), "/shop/none")).status_code == 401


def test_rates_come_back_with_time_and_are_kept_of_few_paths() -> None:
    now = 0.0
    rates = Rates(lambda: now)
    place = Place("shop", "main")
    while rates.admit(place):
        pass
    now += 1
    admitted = sum(rates.admit(place) for _ in range(1000))
    assert admitted == webhooks.PER_SECOND
    for n in range(3 * webhooks.MOST_PATHS):
        rates.admit(Place("shop", f"gateway-{n}"))
    assert len(rates._buckets) == webhooks.MOST_PATHS


async def test_few_events_are_remembered(desk: Desk) -> None:
    now = int(time.time())
    for n in range(MOST_EVENTS + 10):
        body = event("nobody", f"evt_{n}")
        await desk.receiver.receive(Place("shop", "main"), signature(SECRET, body, now), body)
    assert len(desk.receiver._events) == MOST_EVENTS


# --- As the simulator sends them ---


@pytest.mark.parametrize(
    ("fault", "events"),
    [
        ({"kind": "webhookDuplicate", "copies": 3}, 1),
        ({"kind": "webhookReorder", "seconds": 0.2}, 2),
        ({"kind": "webhookDelay", "seconds": 0.2}, 1),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
async def test_the_simulators_webhooks_are_heeded(
    desk: Desk, fault: dict[str, Any], events: int
) -> None:
    faults = Faults()
    faults.add(parse(json.dumps(fault | {"times": 1})))
    facts = Facts(Operation.CHARGE)
    async with Webhooks(f"{desk.url}/shop/main", SECRET, faults) as sender:
        for n in range(events):
            sender.tell(Event(f"evt_{n}", "charge.succeeded", event(id_=f"evt_{n}")), facts)
        await asyncio.to_thread(eventually, lambda: len(desk.looked_at) == events)
        await asyncio.to_thread(eventually, sender._queue.empty)
    assert desk.looked_at == [OURS] * events


# --- Signatures ---


def test_of_several_signatures_one_must_fit() -> None:
    body, now = b"{}", 1_800_000_000
    good = signature("s", body, now).split(",")[1]
    bad = f"v1={'0' * 64}"
    for header in (f"t={now},{bad},{good}", f"t={now},{good},{bad}", f"{good}, t={now}"):
        assert judge(header, body, b"s", now) is Verdict.VALID
    assert judge(f"t={now},{bad},{bad}", body, b"s", now) is Verdict.FORGED
    assert judge(f"t={now}," + f"{bad}," * 8 + good, body, b"s", now) is Verdict.FORGED
    assert judge(f"t={now},v1=ü", body, b"s", now) is Verdict.FORGED


@pytest.mark.parametrize(
    ("age", "verdict"),
    [(0, Verdict.VALID), (300, Verdict.VALID), (301, Verdict.STALE), (-301, Verdict.STALE)],
)
def test_a_signature_is_good_for_five_minutes(age: int, verdict: Verdict) -> None:
    now = 1_800_000_000
    assert judge(signature("s", b"{}", now - age), b"{}", b"s", now) is verdict


def test_payments_without_a_gateway_are_nobodys() -> None:
    assert not webhooks._is_of(a_payment(amount=0), Place("shop", "main"))
