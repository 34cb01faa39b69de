"""A payment and all that bears on it, and what may come next for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from toyrental.payments.line import FREE, Held, Leave
from toyrental.payments.models import SETTLE, SUSPENDED, Payment, PaymentPhase, RefundStep
from toyrental.payments.providers.port import Capabilities
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.shared.decisions import Decision
from toyrental.shared.resource import Key

PATIENCE = timedelta(minutes=15)
"""For how long something is asked for in vain until a person is called, unless a gateway says else.

An outage of some minutes ends by itself, and most do.
"""

_HANDED_OVER = frozenset({RentalPhase.RENTED, RentalPhase.RETURNED})


@dataclass(frozen=True)
class MethodMissing:
    """The Secret with the payment method cannot be read: nothing was sent."""


@dataclass(frozen=True)
class SendCharge:
    """Charge the current attempt.

    `confirm` names what must be read from the API server first, and decided anew where it differs:
    a payment that was called off meanwhile is not to be charged after its look-ups are done.
    """

    key: str
    confirm: tuple[Key, ...] = ()


@dataclass(frozen=True)
class LookUp:
    """Ask the provider what became of the payment."""


@dataclass(frozen=True)
class SendRefund:
    """Give back the step under way."""

    key: str
    gateway_payment_id: str
    step: RefundStep


Call = SendCharge | LookUp | SendRefund
"""What the provider is asked."""


@dataclass(frozen=True)
class Terms:
    """What holds for the payment's gateway."""

    timeout: timedelta
    """How long a request may take."""

    capabilities: Capabilities
    patience: timedelta = PATIENCE
    """For how long the provider is asked in vain until a person is called. It is tried on after."""


@dataclass(frozen=True)
class Situation:
    """A payment and all that bears on it, as it was observed at one moment.

    `terms` is None where the gateway cannot be called; `obstacle` says why.
    """

    payment: Payment
    rental: Rental | None
    terms: Terms | None
    obstacle: str
    now: datetime
    held: Held | None = None
    """Why the gateway does not let it be charged now, if it does not."""

    leave: Leave = FREE
    """Whether the gateway lets it be looked up or given back now, if it is to be."""

    told: bool = False
    """Whether the provider says that something happened: a hint to look up at once, no more."""

    @property
    def suspended(self) -> bool:
        """Whether the shop has the gateway suspended: nothing is asked of the provider."""
        return self.held is not None and self.held.reason == SUSPENDED

    @property
    def wanted_back(self) -> int:
        """How much shall go back in all, in minor units: everything of a live one deleted."""
        if self.payment.deleting and SETTLE in self.payment.metadata.finalizers:
            return self.payment.spec.amount.minor_units
        return self.payment.spec.refund_minor_units

    @property
    def unwanted(self) -> bool:
        """Whether the payment shall not be, or not stay, charged at all."""
        deleted = self.payment.deleting and SETTLE in self.payment.metadata.finalizers
        return self.payment.withheld or deleted

    @property
    def refunded(self) -> int:
        """How much went back so far, in minor units."""
        return self.payment.status.refunded_minor_units or 0

    @property
    def rental_ended(self) -> bool:
        """Whether the rental is over, or gone."""
        return self.rental is None or self.rental.deleting or self.rental.settled

    @property
    def handed_over(self) -> bool:
        """Whether the customer got the toy: the rental asks for no other payment from then on."""
        return self.rental is not None and self.rental.phase in _HANDED_OVER

    @property
    def patience(self) -> timedelta:
        """For how long something may be asked for in vain."""
        return self.terms.patience if self.terms is not None else PATIENCE

    @property
    def due(self) -> bool:
        """Whether the pause since the last try is over, or it was given a turn before that."""
        return self.leave.turn or _is_over(self.payment.status.next_attempt_time, self.now)

    @property
    def asks(self) -> bool:
        """Whether the provider is to be asked now."""
        return (self.due or self.told) and not self.suspended and self.leave.held is None

    @property
    def only_told(self) -> bool:
        """Whether it is asked for no other reason than that it told of something.

        Then nothing is sent, and nothing written, but what became of the payment.
        """
        idle = self.payment.captured and self.payment.status.refund_step is None
        ended = idle or self.payment.phase is PaymentPhase.VOIDED
        return self.told and (ended or not self.due)

    @property
    def attempt_recorded(self) -> datetime:
        """When the current attempt was put on record: the Payment itself records the first."""
        return self.payment.status.attempt_time or self.payment.created

    def within_key_life(self, recorded: datetime) -> bool:
        """Tell whether the provider surely still knows a key that was recorded then."""
        return self.terms is not None and self.now < recorded + self.terms.capabilities.key_life


def waits_to_inquire(payment: Payment, now: datetime) -> bool:
    """Tell whether a payment would be looked up or given back now, but for failures before.

    Pauses that are no failure's, such as that between two look-ups of a void, are kept.
    """
    status = payment.status
    return payment.inquires and (status.tries > 0 or _is_over(status.next_attempt_time, now))


def _is_over(pause_until: datetime | None, now: datetime) -> bool:
    return pause_until is None or now >= pause_until


Step = Decision | Call
"""What comes next for a payment: something is written down, or the provider is asked."""
