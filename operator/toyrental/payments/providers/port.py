"""The port of a payment provider: what is asked of one, and what it can answer.

Every answer is a value, never an exception: each has to be thought of where it is dealt with.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from toyrental.shared.money import Currency, Money


@dataclass(frozen=True)
class ApiKey:
    """The credentials of a shop: shown nowhere, and taken out only where they are sent."""

    value: str = field(repr=False)


@dataclass(frozen=True)
class Charge:
    """Take the whole amount, at once."""

    key: str
    """The idempotency key: the same for every sending of this attempt."""

    amount: Money
    token: str = field(repr=False)
    """The payment method; a secret, so that it never shows in a log."""

    customer: str | None
    payment_uid: str
    rental_uid: str
    attempt: int = 1
    """Which attempt it is; it is part of the key as well."""


@dataclass(frozen=True)
class Inquiry:
    """Which payment is asked after, and what helps to find it where a provider cannot search."""

    payment_uid: str
    amount: Money
    since: datetime
    """When the payment came to be: nothing was sent before."""

    attempt: int = 1
    """The attempt that was put on record last. Those before it were definitely declined."""

    gateway_payment_id: str | None = None
    """The provider's id of the payment, where it is known."""


@dataclass(frozen=True)
class Refund:
    """Give part of a captured payment back, or all of it."""

    key: str
    """The idempotency key: the same for every sending of this step."""

    gateway_payment_id: str
    amount: Money
    step: int
    """Which step of refund it is; the provider keeps it with the refund."""

    payment_uid: str
    rental_uid: str


@dataclass(frozen=True)
class Captured:
    """The provider took the amount."""

    gateway_payment_id: str


@dataclass(frozen=True)
class Declined:
    """The provider will not take the amount by this method: definite."""

    code: str
    message: str


@dataclass(frozen=True)
class Refunded:
    """The provider gave the amount back."""


@dataclass(frozen=True)
class RefundPending:
    """The provider has taken the refund up, and will give the amount back or fail to."""


@dataclass(frozen=True)
class RefundFailed:
    """The provider could not give the amount back, and the shop has it again: definite."""

    message: str


@dataclass(frozen=True)
class Found:
    """The provider knows the payment: it took `captured` minor units, and gave these steps back."""

    gateway_payment_id: str
    captured: int
    refund_steps: frozenset[int] = frozenset()
    pending_steps: frozenset[int] = frozenset()
    """Those that it has taken up and not carried out yet."""

    failed_steps: frozenset[int] = frozenset()
    """Those that it could not carry out, however it had answered at first."""

    failed_minor_units: int = field(default=0, kw_only=True)
    """How much those were in all."""


@dataclass(frozen=True)
class Missing:
    """The provider knows nothing of the payment."""


@dataclass(frozen=True)
class Account:
    """The account that the credentials belong to.

    A provider that names it only in part says more later: `live`, then `live/tosspayments`.
    """

    id: str

    def agrees_with(self, known: str) -> bool:
        """Tell whether this may be the account known by that id."""
        return f"{self.id}/".startswith(f"{known}/") or f"{known}/".startswith(f"{self.id}/")


@dataclass(frozen=True)
class NotSent:
    """The request never left: nothing happened."""

    message: str
    reason: str = "NotSent"
    """Why, in one CamelCase word for programs."""

    retry_time: datetime | None = None
    """When it may be sent, where that is known."""


@dataclass(frozen=True)
class Unauthorized:
    """The credentials were refused, or there are none: nothing happened."""

    message: str
    reason: str = "AuthenticationFailed"
    """Why, in one CamelCase word for programs."""


@dataclass(frozen=True)
class TryLater:
    """The provider asks for the same again later: nothing happened, or it is under way."""

    message: str
    after: timedelta | None = None


@dataclass(frozen=True)
class UnderWay(TryLater):
    """The very same request is in hand: whoever sent it is told how it ends."""


@dataclass(frozen=True)
class OutcomeUnknown:
    """The request left and no answer came: it may have happened."""

    message: str


KEY_REUSED = "idempotency_error"
"""A refusal's code: the key was sent before, with other parameters, and that may have worked."""

ANSWER_MISMATCH = "answer_mismatch"
"""A refusal's code: the provider speaks of a success, but of another one than was asked for."""


@dataclass(frozen=True)
class Refused:
    """The provider does not understand or allow the request: somebody set something up wrongly."""

    code: str
    message: str


Trouble = NotSent | Unauthorized | TryLater | UnderWay | OutcomeUnknown | Refused
"""What can go wrong with every request."""

ChargeAnswer = Captured | Declined | Trouble
LookUpAnswer = Found | Missing | Trouble
RefundAnswer = Refunded | RefundPending | RefundFailed | Trouble
AccountAnswer = Account | Trouble


@dataclass(frozen=True)
class Capabilities:
    """What a provider promises."""

    key_life: timedelta
    """How long it remembers an idempotency key, less a margin."""

    currencies: frozenset[Currency] = frozenset(Currency)
    """What it charges in."""


class Provider(Protocol):
    """A payment provider, with the credentials of one shop."""

    capabilities: Capabilities

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """Take the amount; the same key never takes it twice."""

    async def look_up(self, inquiry: Inquiry) -> LookUpAnswer:
        """Find what became of a payment, by the uid we sent with it.

        Missing is a promise: the provider, as it is now, has taken nothing for this payment.
        """

    async def refund(self, refund: Refund) -> RefundAnswer:
        """Give the amount back; the same key never gives it twice."""

    async def validate(self) -> AccountAnswer:
        """Check the credentials, without moving money."""

    async def close(self) -> None:
        """Let go of connections."""
