"""docs/reference/providers.md says what is so."""

import re
from datetime import timedelta
from pathlib import Path

from tests.payments.stands import ADAPTERS
from toyrental.payments.models import PaymentGatewaySpec, Simulator, Stripe, Toss
from toyrental.payments.providers import simulator, stripe, toss
from toyrental.payments.providers.port import Capabilities
from toyrental.payments.providers.stripe.adapter import API_VERSION
from toyrental.shared.money import Currency

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference/providers.md").read_text()
CAPABILITIES: dict[str, Capabilities] = {
    "simulator": simulator.SimulatorProvider.capabilities,
    "stripe": stripe.StripeProvider.capabilities,
    "toss": toss.TossProvider.capabilities,
}
ENDPOINTS = {"stripe": stripe.API, "toss": toss.API}
PLURALS = {timedelta(hours=1): "hours", timedelta(days=1): "days"}


def rows() -> dict[str, list[str]]:
    """Return the first table's rows by provider."""
    table = PAGE.split("\n\n")[2]
    cells = [[each.strip() for each in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0].strip("`"): row[1:] for row in cells[2:]}


def test_every_provider_has_a_row_and_nothing_else_has() -> None:
    kinds = [Simulator, Stripe, Toss]
    described = {
        name
        for name, field in PaymentGatewaySpec.model_fields.items()
        if any(kind in getattr(field.annotation, "__args__", ()) for kind in kinds)
    }
    assert list(rows()) == list(ADAPTERS)
    assert set(rows()) == set(CAPABILITIES) == described


def test_rows_say_what_the_code_says() -> None:
    for name, (stability, endpoint, currencies, key_life, *_) in rows().items():
        known = CAPABILITIES[name]
        assert stability in {"stable", "beta", "alpha"}
        assert endpoint.startswith(f"`{ENDPOINTS[name]}`" if name in ENDPOINTS else "none")
        every = known.currencies == frozenset(Currency)
        assert currencies == ("all" if every else ", ".join(sorted(known.currencies)))
        number, unit = key_life.split()
        assert known.key_life in {int(number) * one for one in PLURALS if PLURALS[one] == unit}


def test_the_api_version_is_the_one_sent() -> None:
    assert f"`{API_VERSION}`" in PAGE


def test_every_code_named_is_known_to_the_code() -> None:
    source = "".join(each.read_text() for each in (Path(toss.__file__).parent).glob("*.py"))
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", PAGE))
    assert named
    assert [each for each in named if f'"{each}"' not in source] == []


def test_every_reason_of_credentials_is_explained() -> None:
    payments = Path(toss.__file__).parents[2]
    source = "".join(each.read_text() for each in payments.glob("*.py"))
    told = set(re.findall(r'"((?:Secret|Account|Endpoint|Authentication)[A-Z][A-Za-z]+)"', source))
    page = (DOCS / "how-to/payments.md").read_text()
    assert {"SecretMissing", "AccountChanged", "EndpointInvalid"} <= told
    assert [each for each in told if f"`{each}`" not in page] == []
