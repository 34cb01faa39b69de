"""Money: whole minor units of a currency, never a float."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from toyrental.shared.model import Model


class Currency(StrEnum):
    """The currencies a shop can price in (ISO 4217)."""

    AUD = "AUD"
    CAD = "CAD"
    CHF = "CHF"
    EUR = "EUR"
    GBP = "GBP"
    JPY = "JPY"
    KRW = "KRW"
    KWD = "KWD"
    SEK = "SEK"
    SGD = "SGD"
    USD = "USD"

    @property
    def exponent(self) -> int:
        """How many decimal places a major unit has (ISO 4217): 0 for KRW, 2 for EUR, 3 for KWD."""
        return _EXPONENTS.get(self, 2)


_EXPONENTS = {Currency.JPY: 0, Currency.KRW: 0, Currency.KWD: 3}

MinorUnits = Annotated[int, Field(ge=0, le=1_000_000_000_000)]
"""An amount in the smallest unit of its currency: won, cents, fils."""


class Money(Model):
    """An amount of money."""

    currency: Currency
    """ISO 4217 code of the currency."""

    minor_units: MinorUnits
    """The amount in the currency's smallest unit: 15000 is 15,000 KRW, or 150.00 EUR."""

    def times(self, factor: int) -> "Money":
        """Return this amount `factor` times."""
        return Money(currency=self.currency, minor_units=self.minor_units * factor)

    def __str__(self) -> str:
        return f"{Decimal(self.minor_units).scaleb(-self.currency.exponent):,f} {self.currency}"
