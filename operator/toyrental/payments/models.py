"""The resources of payments: what is owed for a rental, and the provider that collects it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from toyrental.shared import conditions
from toyrental.shared.conditions import Conditions
from toyrental.shared.model import (
    Count,
    LongText,
    Model,
    NameRef,
    ObjectRef,
    Rule,
    SecretKeyRef,
    Time,
    UserName,
    immutable,
)
from toyrental.shared.money import MinorUnits, Money
from toyrental.shared.resource import KEEPS_STATUS, Column, Resource, Served, Status

SETTLE = "toyrental.dev/settle"
"""The finalizer of a Payment whose money is not settled yet."""

GATEWAY_IN_USE = "toyrental.dev/in-use"
"""The finalizer of a PaymentGateway that unsettled Payments may still need."""


CIRCUIT_OPEN = "CircuitOpen"
"""Why a payment was put off: the provider does not respond and is not called for a while."""

SUSPENDED = "Suspended"
"""Why a payment was put off: the shop has its gateway suspended."""

LINE = frozenset({CIRCUIT_OPEN, SUSPENDED})
"""Who was put off for one of these waits in line, and asks for nothing meanwhile."""


GatewayPaymentID = Annotated[
    Annotated[str, Field(min_length=1, max_length=255)] | None, Field(alias="gatewayPaymentID")
]
"""The provider's id of a payment."""


class PaymentPhase(StrEnum):
    """A payment's state in one word."""

    PENDING = "Pending"
    DEFERRED = "Deferred"
    PROCESSING = "Processing"
    CAPTURED = "Captured"
    DECLINED = "Declined"
    VOIDED = "Voided"
    PARTIALLY_REFUNDED = "PartiallyRefunded"
    REFUNDED = "Refunded"
    UNKNOWN = "Unknown"
    MANUAL_REVIEW = "ManualReview"

    @property
    def captured(self) -> bool:
        """Whether the customer's money was taken, and perhaps given back since."""
        return self in _CAPTURED


_CAPTURED = frozenset(
    {PaymentPhase.CAPTURED, PaymentPhase.PARTIALLY_REFUNDED, PaymentPhase.REFUNDED}
)

_ENDED_UNCHARGED = frozenset(
    {PaymentPhase.DECLINED, PaymentPhase.VOIDED, PaymentPhase.MANUAL_REVIEW}
)


class Reason(StrEnum):
    """Every reason a payment's conditions give."""

    PENDING = "Pending"
    PROCESSING = "Processing"
    DEFERRED = "Deferred"
    GATEWAY_UNUSABLE = "GatewayUnusable"
    METHOD_MISSING = "MethodMissing"
    DECLINED = "Declined"
    CAPTURED = "Captured"
    NOTHING_TO_PAY = "NothingToPay"
    UNKNOWN = "OutcomeUnknown"
    MANUAL_REVIEW = "ManualReview"
    VOIDED = "Voided"
    VOIDING = "Voiding"
    NOT_REQUESTED = "NotRequested"
    REFUNDING = "Refunding"
    REFUNDED = "Refunded"
    PARTIALLY_REFUNDED = "PartiallyRefunded"
    UNRESOLVED = "Unresolved"
    REFUND_FAILED = "RefundFailed"
    GIVEN_BACK = "GivenBack"


STUCK = frozenset({Reason.GATEWAY_UNUSABLE, Reason.UNRESOLVED, Reason.REFUND_FAILED})
"""Why a payment that has not ended does not get on by itself."""


class Method(Model):
    """What to charge: a token, or where one is kept."""

    RULES = (
        Rule("has(self.token) != has(self.secretRef)", "give exactly one of token and secretRef"),
    )

    token: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """The provider's one-time or test token."""

    secret_ref: SecretKeyRef | None = None
    """The Secret that keeps a reusable token."""

    def __str__(self) -> str:
        ref = self.secret_ref
        return f"key {ref.key} of Secret {ref.name}" if ref is not None else "the order"


class Outcome(StrEnum):
    """How a person ends a ManualReview."""

    CAPTURED = "Captured"
    NOT_CHARGED = "NotCharged"


class Resolution(Model):
    """A person's word on what the provider did. It is final."""

    RULES = (
        Rule(
            "self.outcome != 'Captured' || has(self.gatewayPaymentID)",
            "give the provider's id of the captured payment in gatewayPaymentID",
        ),
    )

    outcome: Outcome
    """Captured: the customer was charged. NotCharged: they were not, and nothing is under way."""

    gateway_payment_id: GatewayPaymentID = None
    """The provider's id of the payment."""

    resolved_by: UserName | None = None
    """Who resolved it; filled in by itself, and true."""


class RefundOutcome(StrEnum):
    """How a person ends a refund that failed."""

    TRY_AGAIN = "TryAgain"
    GIVEN_BACK = "GivenBack"


class RefundResolution(Model):
    """A person's word on a refund that failed. It is final for that failure."""

    failure: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Which failure it ends: the number in status.refundFailure."""

    outcome: RefundOutcome
    """TryAgain: ask the provider once more. GivenBack: the customer has it by another way."""

    resolved_by: UserName | None = None
    """Who resolved it; filled in by itself, and true."""


_ANEW = "cancel its Rental and order anew"


class PaymentSpec(Model):
    """What is owed, by whom, and how much of it shall go back."""

    RULES = (
        Rule(
            "self.refundMinorUnits >= oldSelf.refundMinorUnits",
            "a refund cannot be taken back; refundMinorUnits may only grow",
        ),
        Rule(
            "self.refundMinorUnits <= self.amount.minorUnits",
            "no more can be refunded than was charged; lower refundMinorUnits to the amount",
        ),
        Rule(
            "has(self.gatewayRef) == has(oldSelf.gatewayRef)",
            f"the gateway of a payment cannot be changed; {_ANEW}",
        ),
        Rule(
            "!has(oldSelf.resolution)"
            " || (has(self.resolution) && self.resolution == oldSelf.resolution)",
            "the resolution of a review is final; it cannot be changed or removed",
        ),
        Rule(
            "!has(oldSelf.refundResolution) || (has(self.refundResolution)"
            " && (self.refundResolution == oldSelf.refundResolution"
            " || self.refundResolution.failure > oldSelf.refundResolution.failure))",
            "the resolution of a failed refund is final; only another failure has another one",
        ),
    )

    rental_ref: Annotated[ObjectRef, immutable("the rental of a payment", _ANEW)]
    """The rental that is paid for."""

    gateway_ref: Annotated[NameRef, immutable("the gateway of a payment", _ANEW)] | None = None
    """The PaymentGateway that collects it; none for a price of 0."""

    amount: Annotated[Money, immutable("the amount of a payment", _ANEW)]
    """How much is charged."""

    customer: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """The provider's key of the customer, where it needs one."""

    method: Method
    """What to charge. It may change only after a decline."""

    refund_minor_units: MinorUnits = 0
    """How much shall go back in all, in minor units. All of it before capture: never charge."""

    resolution: Resolution | None = None
    """How a person ends a ManualReview."""

    refund_resolution: RefundResolution | None = None
    """How a person ends a refund that failed."""


class Failure(Model):
    """Why the provider did not charge."""

    code: Annotated[str, Field(min_length=1, max_length=128)]
    """The provider's code."""

    message: LongText
    """The same for people, in our words."""


class RefundStep(Model):
    """A refund that was begun: written before it is sent, so that it is never sent as another."""

    number: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Which step it is; part of its idempotency key."""

    minor_units: Annotated[MinorUnits, Field(ge=1)]
    """How much this step gives back, in minor units."""

    started_time: Time
    """When it was put on record."""

    accepted_time: Time | None = None
    """When the provider was seen to have taken it up. Since then it is looked up, and not sent."""

    counted_minor_units: MinorUnits = 0
    """How much of it refundedMinorUnits counts already: it was given back before, and failed."""


class RefundFailure(Model):
    """What the provider could not give back: the shop has it again."""

    number: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Which failure it is of this payment. A person ends it by this number."""

    minor_units: MinorUnits
    """How much it is, in minor units."""

    counted_minor_units: MinorUnits = 0
    """How much of it refundedMinorUnits counts: it had been called done."""

    failed_minor_units: MinorUnits
    """How much failed at the provider in all so far; whatever it tells beyond that is news."""


class PaymentStatus(Status):
    """What the provider did."""

    RULES = (
        Rule(
            "!has(oldSelf.capturedMinorUnits) || (has(self.capturedMinorUnits)"
            " && self.capturedMinorUnits >= oldSelf.capturedMinorUnits)",
            "captured money does not vanish; refund it through spec.refundMinorUnits",
        ),
        Rule(
            "!has(oldSelf.refundedMinorUnits) || (has(self.refundedMinorUnits)"
            " && self.refundedMinorUnits >= oldSelf.refundedMinorUnits)",
            "refunded money does not come back; make a new Rental to charge again",
        ),
        Rule(
            "!has(self.refundedMinorUnits) || self.refundedMinorUnits == 0"
            " || (has(self.capturedMinorUnits)"
            " && self.refundedMinorUnits <= self.capturedMinorUnits)",
            "no more can be refunded than was captured",
        ),
        Rule(
            "!has(oldSelf.phase) || oldSelf.phase != 'Refunded'"
            " || (has(self.phase) && self.phase == 'Refunded')",
            "a refunded payment is final; make a new Rental to charge again",
        ),
    )

    phase: PaymentPhase | None = None
    """The payment's state in one word, for people."""

    gateway_payment_id: GatewayPaymentID = None
    """The provider's id of the payment."""

    attempt: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    """Which attempt to charge this is; it grows only after a decline."""

    attempt_time: Time | None = None
    """When this attempt was put on record."""

    attempt_method: Method | None = None
    """What this attempt charges, or charged."""

    next_attempt_time: Time | None = None
    """When the provider is asked next."""

    tries: Count = 0
    """How often the provider was asked in vain since the last answer; the pauses grow with it."""

    trying_since: Annotated[Time | None, Field(alias="tryingSinceTime")] = None
    """Since when the provider has been asked in vain."""

    missing_since: Annotated[Time | None, Field(alias="missingSinceTime")] = None
    """When a look-up first did not find the charge that is to be voided."""

    captured_minor_units: MinorUnits | None = None
    """How much was taken, in minor units."""

    refunded_minor_units: MinorUnits | None = None
    """How much was given back, in minor units."""

    refund_step: RefundStep | None = None
    """The refund under way."""

    refund_steps: Count = 0
    """How many steps of refund were begun."""

    refund_failure: RefundFailure | None = None
    """The last refund that failed after all."""

    given_back_minor_units: MinorUnits | None = None
    """How much of refundedMinorUnits a person gave back, and not the provider, in minor units."""

    failure: Failure | None = None
    """Why the last attempt failed."""

    conditions: Conditions = ()
    """Captured, Refunded, Ready: each with its reason."""


class Payment(Resource):
    """What is owed for one rental. Only the operator makes these."""

    SERVED: ClassVar = Served(
        kind="Payment",
        plural="payments",
        short_names=("pay",),
        columns=(
            Column("Rental", ".spec.rentalRef.name"),
            Column("Amount", ".spec.amount.minorUnits", type="integer"),
            Column("Currency", ".spec.amount.currency"),
            Column("Phase", ".status.phase"),
            Column("Refunded", ".status.refundedMinorUnits", type="integer"),
            Column("Next-Try", ".status.nextAttemptTime", wide=True),
            Column("Failure", ".status.failure.code", wide=True),
            Column("Attempt", ".status.attempt", type="integer", wide=True),
            Column("Gateway", ".spec.gatewayRef.name", wide=True),
            Column("Gateway-ID", ".status.gatewayPaymentID", wide=True),
            Column("Age", ".metadata.creationTimestamp", type="date"),
        ),
        selectable=(".spec.rentalRef.name", ".spec.gatewayRef.name", ".status.phase"),
    )
    RULES = (
        KEEPS_STATUS,
        Rule(
            "self.spec.method == oldSelf.spec.method || (has(oldSelf.status)"
            " && has(oldSelf.status.phase) && oldSelf.status.phase in ['Declined', 'Pending'])",
            "the payment method can be replaced only after a decline",
        ),
        Rule(
            "has(self.spec.gatewayRef) || self.spec.amount.minorUnits == 0",
            "name the PaymentGateway that collects the amount in gatewayRef",
        ),
        Rule(
            "!has(self.spec.resolution) || (oldSelf.hasValue()"
            " && (has(oldSelf.value().spec.resolution) || (has(oldSelf.value().status)"
            " && has(oldSelf.value().status.phase)"
            " && oldSelf.value().status.phase == 'ManualReview')))",
            "only a payment in ManualReview is resolved by a person; wait until it is",
            on_create=True,
        ),
        Rule(
            "!has(self.spec.refundResolution) || (oldSelf.hasValue()"
            " && ((has(oldSelf.value().spec.refundResolution)"
            " && oldSelf.value().spec.refundResolution == self.spec.refundResolution)"
            " || (has(oldSelf.value().status) && has(oldSelf.value().status.refundFailure)"
            " && oldSelf.value().status.refundFailure.number"
            " == self.spec.refundResolution.failure)))",
            "only a refund that failed is resolved by a person: name its number, which is in"
            " status.refundFailure",
            on_create=True,
        ),
    )

    spec: PaymentSpec
    status: PaymentStatus = PaymentStatus()

    @property
    def phase(self) -> PaymentPhase:
        """The phase; a payment nobody looked at yet is Pending."""
        return self.status.phase or PaymentPhase.PENDING

    @property
    def captured(self) -> bool:
        """Whether the customer's money was taken, and perhaps given back since."""
        return self.phase.captured

    @property
    def in_line(self) -> bool:
        """Whether it waits in line until the provider is called again."""
        failure = self.status.failure
        return self.phase is PaymentPhase.DEFERRED and failure is not None and failure.code in LINE

    @property
    def inquires(self) -> bool:
        """Whether it is to be looked up or given back: that goes through a circuit of its own."""
        if self.captured:
            return self.status.refund_step is not None
        called_off = (self.withheld or self.deleting) and self.phase not in _ENDED_UNCHARGED
        return called_off or self.phase is PaymentPhase.UNKNOWN

    @property
    def rests(self) -> bool:
        """Whether its gateway is nothing to it now: it was taken, and nothing is to go back."""
        idle = self.status.refund_step is None and not self.refund_outstanding
        return self.captured and idle and not self.deleting

    @property
    def withheld(self) -> bool:
        """Whether the whole amount shall go back, or never be charged at all."""
        return self.spec.refund_minor_units >= self.spec.amount.minor_units > 0

    @property
    def awaits_customer_since(self) -> datetime | None:
        """Since when it is the customer who must act, and nobody else; None while it is not."""
        captured = conditions.find(self.status.conditions, "Captured")
        if captured is None or captured.reason not in {Reason.DECLINED, Reason.METHOD_MISSING}:
            return None
        return captured.last_transition_time

    @property
    def refund_failed(self) -> bool:
        """Whether the provider could not give back what it was asked to: a person has to."""
        refunded = conditions.find(self.status.conditions, "Refunded")
        return refunded is not None and refunded.reason == Reason.REFUND_FAILED

    @property
    def settled(self) -> bool:
        """Whether no money is left to move."""
        return SETTLE not in self.metadata.finalizers and not self.refund_outstanding

    @property
    def refund_outstanding(self) -> bool:
        """Whether more shall be refunded than was."""
        return self.captured and self.spec.refund_minor_units > (
            self.status.refunded_minor_units or 0
        )


class Simulator(Model):
    """The simulator that ships with the operator (`toyrental simulator`)."""

    endpoint: Annotated[str, Field(max_length=2048, pattern=r"^https?://.+$")]
    """Where it listens, such as http://127.0.0.1:8790."""

    secret_ref: SecretKeyRef | None = None
    """The Secret that keeps the API key, where it asks for one."""


class Stripe(Model):
    """Stripe, by its PaymentIntents API."""

    endpoint: Annotated[str, Field(max_length=2048, pattern=r"^https?://.+$")] | None = None
    """Another endpoint than Stripe's own, for tests."""

    secret_ref: SecretKeyRef
    """The Secret that keeps the API key."""


class Toss(Model):
    """Toss Payments, by its billing keys."""

    endpoint: Annotated[str, Field(max_length=2048, pattern=r"^https?://.+$")] | None = None
    """Another endpoint than Toss Payments' own, for tests."""

    secret_ref: SecretKeyRef
    """The Secret that keeps the secret key."""


class CircuitBreaker(Model):
    """When to stop calling the provider, and when to try again."""

    window_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """How far back calls are counted."""

    minimum_calls: Annotated[int, Field(ge=1, le=10_000)] = 10
    """How many calls it takes before rates mean something."""

    failure_rate_percent: Annotated[int, Field(ge=1, le=100)] = 50
    """At which share of failed calls the circuit opens."""

    slow_call_seconds: Annotated[int, Field(ge=1, le=300)] = 5
    """From how long on a call counts as slow."""

    slow_call_rate_percent: Annotated[int, Field(ge=1, le=100)] = 80
    """At which share of slow calls the circuit opens."""

    open_seconds: Annotated[int, Field(ge=1, le=3600)] = 15
    """How long it stays open the first time."""

    max_open_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """How long it stays open at most."""

    probes: Annotated[int, Field(ge=1, le=100)] = 3
    """How many calls must succeed, one at a time, before it closes."""

    recovery_per_second: Annotated[int, Field(ge=1, le=1000)] = 5
    """How many of the payments put off are taken a second, once it has closed."""


class Circuit(StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "Closed"
    OPEN = "Open"
    HALF_OPEN = "HalfOpen"


class PaymentGatewaySpec(Model):
    """A provider, and how patient to be with it."""

    RULES = (
        Rule(
            "[has(self.simulator), has(self.stripe), has(self.toss)].filter(p, p).size() == 1",
            "name exactly one provider: simulator, stripe or toss",
        ),
        Rule(
            "has(self.simulator) == has(oldSelf.simulator)"
            " && has(self.stripe) == has(oldSelf.stripe) && has(self.toss) == has(oldSelf.toss)",
            "a gateway keeps its provider; make a new PaymentGateway and point the Store at it",
        ),
        Rule(
            "!has(self.toss) || !has(self.webhookSecretRef)",
            "Toss Payments does not sign what it tells of payments; leave webhookSecretRef out,"
            " outcomes are asked for all the same",
        ),
    )

    simulator: Simulator | None = None
    """The simulator that ships with the operator."""

    stripe: Stripe | None = None
    """Stripe, charged through its PaymentIntents API."""

    toss: Toss | None = None
    """Toss Payments, charged by billing keys."""

    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 10
    """How long to wait for an answer of the provider."""

    patience_seconds: Annotated[int, Field(ge=1, le=86_400)] = 900
    """For how long a refund or an outcome is asked for in vain until a person is called."""

    circuit_breaker: CircuitBreaker = CircuitBreaker()
    """When to stop calling the provider, and when to try again."""

    suspended: bool = False
    """True: the provider is not called at all. Orders go on; payments and refunds wait."""

    webhook_secret_ref: SecretKeyRef | None = None
    """The Secret that keeps what the provider signs its webhooks with. Without, none are heeded."""


class PaymentGatewayStatus(Status):
    """How the provider does."""

    circuit: Circuit | None = None
    """Whether the provider is called (Closed), left alone (Open), or probed (HalfOpen)."""

    refund_circuit: Circuit | None = None
    """The same for refunds and look-ups, which have a circuit of their own."""

    retry_time: Time | None = None
    """When it is tried again."""

    account: Annotated[str, Field(max_length=255)] | None = None
    """The account at the provider that the credentials belong to."""

    deferred_payments: Count = 0
    """How many payments wait for the provider."""

    conditions: Conditions = ()
    """Ready: it can be charged. Responsive: it answers in time."""


class PaymentGateway(Resource):
    """A payment provider, with the shop's account there."""

    SERVED: ClassVar = Served(
        kind="PaymentGateway",
        plural="paymentgateways",
        short_names=("paygw",),
        columns=(
            Column("Circuit", ".status.circuit"),
            Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
            Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
            Column("Deferred", ".status.deferredPayments", type="integer"),
            Column("Account", ".status.account", wide=True),
            Column("Retry", ".status.retryTime", wide=True),
            Column("Message", ".status.conditions[?(@.type=='Ready')].message", wide=True),
            Column("Age", ".metadata.creationTimestamp", type="date"),
        ),
        selectable=(".status.circuit",),
    )

    spec: PaymentGatewaySpec
    status: PaymentGatewayStatus = PaymentGatewayStatus()

    @property
    def ready(self) -> bool:
        """Whether it can be charged, as far as is known."""
        return conditions.is_true(self.status.conditions, "Ready")
