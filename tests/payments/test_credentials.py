"""Credentials: read again when they change, gone without harm, and of one account at a time."""

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.payments.stands import CANARY, charge_of, inquiry_of, refund_of
from toyrental.kube import errors
from toyrental.payments import gateway_rules
from toyrental.payments.credentials import READ_AGAIN_SECONDS, Credentials, line_in
from toyrental.payments.gateways import Gateways, GatewayUnusable, allows
from toyrental.payments.keyed import KeyedProvider
from toyrental.payments.models import GATEWAY_IN_USE, PaymentGateway
from toyrental.payments.providers.port import (
    Account,
    AccountAnswer,
    ApiKey,
    Capabilities,
    Captured,
    Charge,
    ChargeAnswer,
    Found,
    Inquiry,
    LookUpAnswer,
    NotSent,
    OutcomeUnknown,
    Refund,
    RefundAnswer,
    Refunded,
    Unauthorized,
)
from toyrental.payments.providers.simulator import SimulatorProvider
from toyrental.shared.model import SecretKeyRef

REF = SecretKeyRef(name="stripe", key="apiKey")
CHARGE = charge_of("pm_card_visa")
REFUND = refund_of(CHARGE, "pi_1", 1000)


@dataclass
class Shop:
    """A Secret, the time, and a provider that knows whose keys there are."""

    now: float = 0.0
    reads: int = 0
    failure: errors.ApiError | None = None
    data: dict[str, str] | None = None
    accounts: dict[str, AccountAnswer] = field(default_factory=dict)
    used: list[tuple[str, str]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    async def read(self, namespace: str, name: str) -> dict[str, Any]:
        assert (namespace, name) == ("shop", "stripe")
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        if self.data is None:
            raise errors.NotFound("reading", "no")
        return {"data": {k: base64.b64encode(v.encode()).decode() for k, v in self.data.items()}}

    def open(self, key: ApiKey | None) -> "Recorded":
        assert key is not None
        return Recorded(self, key.value)

    def provider(self, account: str | None = "acct_shop") -> KeyedProvider:
        credentials = Credentials("shop", REF, self.read, lambda: self.now)
        made = KeyedProvider(SimulatorProvider.capabilities, self.open, credentials)
        made.account = account
        return made


class Recorded:
    """A provider that knows whose key is whose."""

    capabilities: Capabilities = SimulatorProvider.capabilities

    def __init__(self, shop: Shop, key: str) -> None:
        self._shop = shop
        self._key = key

    def _use(self, what: str) -> AccountAnswer:
        assert self._key not in self._shop.closed
        self._shop.used.append((what, self._key))
        return self._shop.accounts.get(self._key, Unauthorized("refused"))

    async def charge(self, _: Charge) -> ChargeAnswer:
        answer = self._use("charge")
        return Captured("pi_1") if isinstance(answer, Account) else answer

    async def look_up(self, _: Inquiry) -> LookUpAnswer:
        answer = self._use("look-up")
        return Found("pi_1", 15000) if isinstance(answer, Account) else answer

    async def refund(self, _: Refund) -> RefundAnswer:
        answer = self._use("refund")
        return Refunded() if isinstance(answer, Account) else answer

    async def validate(self) -> AccountAnswer:
        return self._use("validate")

    async def close(self) -> None:
        self._shop.closed.append(self._key)


@pytest.fixture
def shop() -> Shop:
    ours = Account("acct_shop")
    accounts: dict[str, AccountAnswer] = {"k1": ours, "k2": ours, "k3": Account("acct_other")}
    return Shop(data={"apiKey": "k1\n"}, accounts=accounts)


async def test_the_secret_is_read_once_in_a_while(shop: Shop) -> None:
    provider = shop.provider()
    for _ in range(5):
        assert await provider.charge(CHARGE) == Captured("pi_1")
    assert shop.reads == 1
    assert [what for what, _ in shop.used] == ["validate"] + ["charge"] * 5
    shop.now += READ_AGAIN_SECONDS
    await provider.charge(CHARGE)
    assert shop.reads == 2


async def test_a_rotated_key_is_used_without_a_restart(shop: Shop) -> None:
    provider = shop.provider()
    await provider.charge(CHARGE)
    shop.data = {"apiKey": "k2"}
    shop.now += READ_AGAIN_SECONDS
    assert await provider.charge(CHARGE) == Captured("pi_1")
    assert shop.used[-1] == ("charge", "k2")
    assert shop.closed == ["k1"]


async def test_a_key_that_is_refused_is_read_again_at_once(shop: Shop) -> None:
    provider = shop.provider()
    await provider.charge(CHARGE)
    shop.data = {"apiKey": "k2"}
    del shop.accounts["k1"]
    shop.now += 1
    assert await provider.charge(CHARGE) == Captured("pi_1")
    assert shop.used[-3:] == [("charge", "k1"), ("validate", "k2"), ("charge", "k2")]


async def test_a_key_that_stays_refused_is_not_sent_twice(shop: Shop) -> None:
    provider = shop.provider()
    await provider.charge(CHARGE)
    shop.accounts.clear()
    shop.used.clear()
    shop.now += 1
    answer = await provider.charge(CHARGE)
    assert isinstance(answer, Unauthorized)
    assert answer.reason == "AuthenticationFailed"
    assert shop.used == [("charge", "k1")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "SecretMissing"),
        ({}, "SecretKeyMissing"),
        ({"another": "k1"}, "SecretKeyMissing"),
        ({"apiKey": "  \n"}, "SecretInvalid"),
        ({"apiKey": "two\nlines"}, "SecretInvalid"),
        ({"apiKey": "schlüssel"}, "SecretInvalid"),
        ({"apiKey": "k" * 2000}, "SecretInvalid"),
    ],
)
async def test_a_secret_without_a_key_says_what_to_do(
    shop: Shop, data: dict[str, str] | None, reason: str
) -> None:
    shop.data = data
    for answer in (await shop.provider().validate(), await shop.provider().charge(CHARGE)):
        assert isinstance(answer, Unauthorized)
        assert answer.reason == reason
        assert "stripe" in answer.message
    assert shop.used == []


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (errors.Forbidden("reading", "no"), Unauthorized),
        (errors.Unavailable("reading", "no"), NotSent),
    ],
)
async def test_a_secret_that_cannot_be_read_defers(
    shop: Shop, failure: errors.ApiError, kind: type
) -> None:
    shop.failure = failure
    assert type(await shop.provider().charge(CHARGE)) is kind


async def test_without_its_secret_money_goes_back_but_none_is_taken(shop: Shop) -> None:
    provider = shop.provider()
    await provider.charge(CHARGE)
    shop.data = None
    shop.now += READ_AGAIN_SECONDS
    refused = await provider.charge(CHARGE)
    assert isinstance(refused, Unauthorized)
    assert refused.reason == "SecretMissing"
    assert await provider.look_up(inquiry_of(CHARGE)) == Found("pi_1", 15000)
    assert await provider.refund(REFUND) == Refunded()
    checked = await provider.validate()
    assert isinstance(checked, Unauthorized)
    shop.data = {"apiKey": "k1"}
    shop.now += READ_AGAIN_SECONDS
    assert await provider.charge(CHARGE) == Captured("pi_1")


async def test_an_api_server_that_is_away_does_not_stop_payments(shop: Shop) -> None:
    provider = shop.provider()
    await provider.charge(CHARGE)
    shop.failure = errors.Unavailable("reading", "no")
    shop.now += READ_AGAIN_SECONDS
    assert await provider.charge(CHARGE) == Captured("pi_1")
    assert await provider.validate() == Account("acct_shop")


async def test_credentials_of_another_account_move_no_money(shop: Shop) -> None:
    provider = shop.provider()
    await provider.charge(CHARGE)
    shop.data = {"apiKey": "k3"}
    shop.now += READ_AGAIN_SECONDS
    for asked in (
        provider.charge(CHARGE),
        provider.look_up(inquiry_of(CHARGE)),
        provider.refund(REFUND),
    ):
        answer: Any = await asked
        assert isinstance(answer, Unauthorized)
        assert answer.reason == "AccountChanged"
        assert "acct_shop" in answer.message
    assert [used for used in shop.used if used[1] == "k3"] == [("validate", "k3")]
    assert await provider.validate() == Account("acct_other")


async def test_nothing_moves_before_the_account_is_on_record(shop: Shop) -> None:
    provider = shop.provider(account=None)
    answer = await provider.charge(CHARGE)
    assert isinstance(answer, Unauthorized)
    assert answer.reason == "NotChecked"
    provider.account = "acct_shop"
    assert await provider.charge(CHARGE) == Captured("pi_1")


async def test_an_account_that_cannot_be_asked_for_defers(shop: Shop) -> None:
    shop.accounts["k1"] = OutcomeUnknown("no answer in time")
    provider = shop.provider()
    answer = await provider.charge(CHARGE)
    assert isinstance(answer, NotSent)
    assert [what for what, _ in shop.used] == ["validate"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"pm_1", "pm_1"),
        (b"  pm_1\n", "pm_1"),
        (b"", None),
        (b"two\nlines", None),
        (b"\x00", None),
        ("schlüssel".encode(), None),
        (b"k" * 1024, "k" * 1024),
        (b"k" * 100_000, None),
    ],
)
def test_a_secret_gives_one_line_or_nothing(content: bytes, line: str | None) -> None:
    secret = {"data": {"token": base64.b64encode(content).decode()}}
    assert line_in(secret, "token") == line
    assert line_in(secret, "another") is None
    assert line_in({}, "token") is None


def test_keys_show_nowhere(shop: Shop) -> None:
    credentials = Credentials("shop", REF, shop.read)
    credentials.key = ApiKey(CANARY)
    assert CANARY not in f"{credentials!r} {credentials.key!r} {credentials.key}"


# --- What a gateway says ---

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


def gateway(account: str | None, **spec: Any) -> PaymentGateway:
    return PaymentGateway.model_validate(
        {
            "metadata": {"name": "main", "finalizers": [GATEWAY_IN_USE], "generation": 1},
            "spec": spec or {"stripe": {"secretRef": {"name": "stripe", "key": "apiKey"}}},
            "status": {"account": account},
        }
    )


def said(found: PaymentGateway, checked: gateway_rules.Checked, *, unsettled: bool) -> Any:
    write = gateway_rules.decide(found, checked, unsettled, gateway_rules.Seen(), NOW).write
    assert write is not None
    status = write.after.status
    ready = next(each for each in status.conditions if each.type == "Ready")
    return status.account, ready.status, ready.reason


def test_another_account_is_taken_only_when_nothing_is_open() -> None:
    other = Account("acct_other")
    known = gateway("acct_shop")
    assert said(known, other, unsettled=True) == ("acct_shop", "False", "AccountChanged")
    assert said(known, other, unsettled=False) == ("acct_other", "True", "Ready")
    assert said(gateway(None), other, unsettled=True) == ("acct_other", "True", "Ready")


def test_an_account_is_known_by_its_fullest_name() -> None:
    short, full = Account("live"), Account("live/toyshop")
    assert said(gateway("live"), full, unsettled=True)[0] == "live/toyshop"
    assert said(gateway("live/toyshop"), short, unsettled=True)[0] == "live/toyshop"


@pytest.mark.parametrize("reason", ["AuthenticationFailed", "SecretMissing", "SecretInvalid"])
def test_refused_credentials_are_told_by_their_reason(reason: str) -> None:
    answer = Unauthorized("look at it", reason)
    assert said(gateway("acct_shop"), answer, unsettled=True) == ("acct_shop", "False", reason)


# --- Which endpoints may be called ---


@pytest.mark.parametrize(
    ("pattern", "endpoint", "allowed"),
    [
        ("http://127.0.0.1:*", "http://127.0.0.1:8790", True),
        ("http://127.0.0.1:*", "http://127.0.0.1:8790/", True),
        ("http://127.0.0.1:*", "http://127.0.0.1:8790/path", True),
        ("http://127.0.0.1:*", "https://127.0.0.1:8790", False),
        ("http://127.0.0.1:*", "http://127.0.0.1:x@evil.example", False),
        ("http://127.0.0.1:*", "http://127.0.0.1.evil.example:80", False),
        ("https://*.shop.example", "https://pay.shop.example", True),
        ("https://*.shop.example", "https://evil.example/x.shop.example", False),
        ("https://*.shop.example", "https://evil.example?x.shop.example", False),
        ("https://*.shop.example", "https://evil.example#x.shop.example", False),
        ("https://pay.example/stripe", "https://pay.example/stripe", True),
        ("https://pay.example/stripe", "https://pay.example/other", False),
        ("https://PAY.example", "https://pay.Example", True),
        ("*", "https://anything.example", True),
        ("", "https://anything.example", False),
    ],
)
def test_patterns_of_endpoints(pattern: str, endpoint: str, allowed: bool) -> None:
    assert allows(pattern, endpoint) is allowed


@pytest.mark.parametrize("provider", ["stripe", "toss"])
@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        (None, None),
        ("own", None),
        ("https://elsewhere.example", "EndpointNotAllowed"),
        ("http://[", "EndpointInvalid"),
        ("http://127.0.0.1:1", None),
    ],
)
async def test_only_overridden_endpoints_need_a_flag(
    shop: Shop, provider: str, endpoint: str | None, reason: str | None
) -> None:
    own = {"stripe": "https://api.stripe.com/", "toss": "https://api.tosspayments.com"}
    spec: dict[str, Any] = {"secretRef": {"name": "stripe", "key": "apiKey"}}
    if endpoint is not None:
        spec["endpoint"] = own[provider] if endpoint == "own" else endpoint
    gateways = Gateways(["http://127.0.0.1:*"], shop.read)
    described = gateway(None, **{provider: spec})
    if reason is None:
        assert await gateways.provider(described, "main")
    else:
        with pytest.raises(GatewayUnusable) as raised:
            await gateways.provider(described, "main")
        assert raised.value.reason == reason
    await gateways.close()
