"""Money: whole minor units of a currency, never a float."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from toyrental.shared.money import Currency, Money

amounts = st.integers(0, 1_000_000_000_000)


@pytest.mark.parametrize(
    ("currency", "minor_units", "said"),
    [
        (Currency.KRW, 15_000, "15,000 KRW"),
        (Currency.JPY, 0, "0 JPY"),
        (Currency.EUR, 15_000, "150.00 EUR"),
        (Currency.USD, 5, "0.05 USD"),
        (Currency.KWD, 1_234_567, "1,234.567 KWD"),
    ],
)
def test_money_is_said_as_people_write_it(currency: Currency, minor_units: int, said: str) -> None:
    assert str(Money(currency=currency, minor_units=minor_units)) == said


@given(st.sampled_from(Currency), amounts)
def test_what_is_said_is_exactly_what_it_is(currency: Currency, minor_units: int) -> None:
    number, name = str(Money(currency=currency, minor_units=minor_units)).split()
    assert Decimal(number.replace(",", "")).scaleb(currency.exponent) == minor_units
    assert name == currency.value


@given(st.integers(0, 1_000_000), st.integers(1, 365))
def test_a_period_costs_its_days_times_the_rate(rate: int, days: int) -> None:
    price = Money(currency=Currency.KRW, minor_units=rate).times(days)
    assert price == Money(currency=Currency.KRW, minor_units=rate * days)


@pytest.mark.parametrize("wrong", [-1, 1_000_000_000_001, 1.5, "1.50", None])
def test_money_is_whole_and_bounded(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"currency": "KRW", "minorUnits": wrong})


@given(amounts)
def test_money_survives_the_wire(minor_units: int) -> None:
    money = Money(currency=Currency.KRW, minor_units=minor_units)
    raw = money.model_dump(mode="json", by_alias=True)
    assert raw == {"currency": "KRW", "minorUnits": minor_units}
    assert Money.model_validate(raw) == money
