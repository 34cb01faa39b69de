"""What can be made to go wrong: the kinds of faults, and how they are defined.

A fault is defined by a JSON object whose `kind` says what goes wrong; the other fields say how, on
which requests, how often and when. The classes here are those kinds, in the order in which they
strike a request; several of one kind strike in the order they were set. Nothing here knows HTTP.
"""

import itertools
import math
from enum import StrEnum
from random import Random
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import from_json

from toyrental.simulator.models import Identifier, Model
from toyrental.simulator.tokens import DECLINES

_DAY = 86_400.0
_STANDARD_P99 = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""

Seconds = Annotated[float, Field(ge=0, le=_DAY, allow_inf_nan=False)]


class Operation(StrEnum):
    """What a request asks a provider to do."""

    CHARGE = "charge"
    REFUND = "refund"
    LOOKUP = "lookup"
    ACCOUNT = "account"


class When(StrEnum):
    """On which side of the moment in which money moves."""

    BEFORE = "before"
    AFTER = "after"


class Facts(NamedTuple):
    """What faults can tell requests apart by."""

    operation: Operation
    method: str | None = None
    payment_uid: str | None = None
    rental_uid: str | None = None


_ALL = tuple(Operation)
_MONEY = (Operation.CHARGE, Operation.REFUND)
# Which requests carry what a fault can look for.
_CARRIED_BY = {
    "method": (Operation.CHARGE,),
    "rentalUID": _MONEY,
    "paymentUID": (Operation.CHARGE, Operation.REFUND, Operation.LOOKUP),
}


class Fault(Model):
    """Something that goes wrong in a window of time, which begins when the fault is set."""

    strikes: ClassVar[tuple[Operation, ...]] = _ALL
    """The operations that this kind can strike."""

    kind: str
    begins: Seconds = Field(default=0, alias="from")
    lasts: float | None = Field(default=None, alias="for", gt=0, le=_DAY)


class Refuse(Fault):
    """Connections are refused, and idle ones closed: nothing listens on the port."""

    kind: Literal["refuse"]


class Drawn(Fault):
    """Something that goes wrong on some requests: those that match, by chance, so many times."""

    operations: tuple[Operation, ...] = Field(default=(), max_length=len(_ALL))
    probability: float = Field(default=1, gt=0, le=1)
    seed: int | None = None
    times: int | None = Field(default=None, ge=1)
    method: Identifier | None = None
    payment_uid: Identifier | None = Field(default=None, alias="paymentUID")
    rental_uid: Identifier | None = Field(default=None, alias="rentalUID")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        sought = {
            "method": self.method,
            "paymentUID": self.payment_uid,
            "rentalUID": self.rental_uid,
        }
        filters = {name: _CARRIED_BY[name] for name, value in sought.items() if value is not None}
        for operation in self.operations:
            if operation not in self.strikes:
                raise ValueError(f"operations: {operation} cannot be struck by {self.kind}")
            for name, carriers in filters.items():
                if operation not in carriers:
                    raise ValueError(f"operations: no request for {operation} carries {name}")
        if not self.struck_operations():
            raise ValueError(f"no request that {self.kind} strikes carries {', '.join(filters)}")
        return self

    def struck_operations(self) -> tuple[Operation, ...]:
        """Name the operations that the fault strikes: those given, or all that are possible."""
        return self.operations or tuple(
            one
            for one in self.strikes
            if (self.method is None or one in _CARRIED_BY["method"])
            and (self.payment_uid is None or one in _CARRIED_BY["paymentUID"])
            and (self.rental_uid is None or one in _CARRIED_BY["rentalUID"])
        )

    def matches(self, facts: Facts) -> bool:
        """Tell whether the fault may strike such a request."""
        return (
            facts.operation in self.struck_operations()
            and self.method in {None, facts.method}
            and self.payment_uid in {None, facts.payment_uid}
            and self.rental_uid in {None, facts.rental_uid}
        )


class Uniform(Model):
    """Any number of seconds between two."""

    min: Seconds
    max: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError("max is less than min")
        return self


class Lognormal(Model):
    """Seconds as networks have them: half below `median`, one in a hundred above `p99`."""

    median: Annotated[Seconds, Field(gt=0)]
    p99: Annotated[Seconds, Field(gt=0)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.p99 < self.median:
            raise ValueError("p99 is less than median")
        return self


class Latency(Drawn):
    """The answer takes longer; `before` (late commit) or `after` the money has moved."""

    kind: Literal["latency"]
    when: When = When.BEFORE
    fixed: Seconds | None = None
    uniform: Uniform | None = None
    lognormal: Lognormal | None = None
    percentiles: dict[str, Seconds] | None = None

    @model_validator(mode="after")
    def _one_distribution(self) -> Self:
        given = (self.fixed, self.uniform, self.lognormal, self.percentiles)
        if sum(one is not None for one in given) != 1:
            raise ValueError("give exactly one of fixed, uniform, lognormal and percentiles")
        if self.percentiles is not None:
            _curve(self.percentiles)
        return self

    def seconds(self, chance: Random) -> float:
        """Draw how long it takes."""
        if self.uniform is not None:
            return chance.uniform(self.uniform.min, self.uniform.max)
        if self.lognormal is not None:
            spread = math.log(self.lognormal.p99 / self.lognormal.median) / _STANDARD_P99
            return min(chance.lognormvariate(math.log(self.lognormal.median), spread), _DAY)
        if self.percentiles is not None:
            return _between(_curve(self.percentiles), chance.random() * 100)
        return self.fixed or 0.0


class Outage(Drawn):
    """Nothing is done: every request gets 503 at once (`error`), or no answer at all (`hang`)."""

    kind: Literal["outage"]
    answer: Literal["error", "hang"] = "error"


class Reset(Drawn):
    """The connection is reset (TCP RST) before anything is done."""

    kind: Literal["reset"]


class RateLimit(Drawn):
    """Answered 429 with Retry-After before anything is done."""

    kind: Literal["rateLimit"]
    retry_after_seconds: int = Field(default=1, ge=0, le=int(_DAY))


class Error(Drawn):
    """Answered with an error: `before` anything is done, or `after` the money has moved."""

    kind: Literal["error"]
    when: When = When.BEFORE
    status: int = Field(default=500, ge=400, le=599)


class KeyExpiry(Drawn):
    """An idempotency key first used longer ago is forgotten: sent again, it moves money again."""

    strikes: ClassVar[tuple[Operation, ...]] = _MONEY

    kind: Literal["keyExpiry"]
    key_life_seconds: Seconds


class Decline(Drawn):
    """A card that would be charged is declined."""

    strikes: ClassVar[tuple[Operation, ...]] = (Operation.CHARGE,)

    kind: Literal["decline"]
    decline_code: str = "generic_decline"

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.decline_code not in DECLINES:
            raise ValueError("declineCode: known are " + ", ".join(DECLINES))
        return self


class RefundFailure(Drawn):
    """A refund fails some seconds after it was accepted, and the shop has the money again."""

    strikes: ClassVar[tuple[Operation, ...]] = (Operation.REFUND,)

    kind: Literal["refundFailure"]
    seconds: Seconds = 5
    first: Literal["succeeded", "pending"] = "succeeded"


class LookupLag(Drawn):
    """Look-up does not find charges and refunds until they are some seconds old."""

    strikes: ClassVar[tuple[Operation, ...]] = (Operation.LOOKUP,)

    kind: Literal["lookupLag"]
    seconds: Seconds


class Drop(Drawn):
    """All is done, money moved, and the connection closed without an answer."""

    kind: Literal["drop"]


class Garble(Drawn):
    """All is done, and the answer is not what it should be."""

    kind: Literal["garble"]
    form: Literal[
        "html",
        "malformed",
        "truncated",
        "empty",
        "contentType",
        "redirect",
        "otherAmount",
        "otherCurrency",
    ]


class Trickle(Drawn):
    """All is done, and the body of the answer comes byte by byte."""

    kind: Literal["trickle"]
    bytes_per_second: float = Field(default=10, gt=0, le=1000)


class WebhookLoss(Drawn):
    """The webhook is never sent."""

    strikes: ClassVar[tuple[Operation, ...]] = _MONEY

    kind: Literal["webhookLoss"]


class WebhookDelay(Drawn):
    """The webhook is sent some seconds late."""

    strikes: ClassVar[tuple[Operation, ...]] = _MONEY

    kind: Literal["webhookDelay"]
    seconds: Seconds


class WebhookReorder(Drawn):
    """The webhook is sent after the next one, or after `seconds` if there is none."""

    strikes: ClassVar[tuple[Operation, ...]] = _MONEY

    kind: Literal["webhookReorder"]
    seconds: Seconds = 5


class WebhookDuplicate(Drawn):
    """The webhook is sent again, as the same event, so many times."""

    strikes: ClassVar[tuple[Operation, ...]] = _MONEY

    kind: Literal["webhookDuplicate"]
    copies: int = Field(default=1, ge=1, le=10)


_ORDER: tuple[type[Fault], ...] = (
    Refuse,
    Latency,
    Outage,
    Reset,
    RateLimit,
    Error,
    KeyExpiry,
    Decline,
    RefundFailure,
    LookupLag,
    Drop,
    Garble,
    Trickle,
    WebhookLoss,
    WebhookDelay,
    WebhookReorder,
    WebhookDuplicate,
)
KINDS: dict[str, type[Fault]] = {
    kind.model_fields["kind"].annotation.__args__[0]: kind  # type: ignore[union-attr]
    for kind in _ORDER
}
"""All kinds by name, in the order in which they strike."""


class FaultInvalidError(Exception):
    """The text defines no fault; the message says what is wrong, where, and what to do."""


def parse(text: str | bytes) -> Fault:
    """Read the definition of a fault. Raises `FaultInvalidError`, which repeats no values."""
    try:
        given = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise FaultInvalidError(f"A fault is a JSON object; this is not JSON: {error}.") from None
    if not isinstance(given, dict):
        raise FaultInvalidError('A fault is a JSON object, such as {"kind": "drop", "times": 1}.')
    kind = KINDS.get(given["kind"]) if isinstance(given.get("kind"), str) else None
    if kind is None:
        raise FaultInvalidError(f"kind: name one of {', '.join(KINDS)}.")
    try:
        return kind.model_validate_json(text, by_name=False)
    except ValidationError as error:
        raise FaultInvalidError(_explained(kind, given["kind"], error)) from None


def fields(kind: type[Fault]) -> list[str]:
    """Name the fields of a kind as they are written, its own first."""
    shared = Drawn.model_fields if issubclass(kind, Drawn) else Fault.model_fields
    own = [name for name in kind.model_fields if name not in shared]
    rest = [name for name in shared if name != "kind"]
    return [kind.model_fields[name].alias or name for name in own + rest]


def _explained(kind: type[Fault], name: str, error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(_problem(kind, name, problem) for problem in problems[:3]) + "."


def _problem(kind: type[Fault], name: str, problem: Any) -> str:
    where = ".".join(map(str, problem["loc"]))[:100]
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        return f"{where}: {name} has no such field; it has {', '.join(fields(kind))}"
    what = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        what = f"{name} needs it"
    return f"{where}: {what}" if where else what


def _curve(percentiles: dict[str, float]) -> list[tuple[float, float]]:
    """Order percentiles as points from 0 to 100."""
    try:
        points = sorted((float(at), seconds) for at, seconds in percentiles.items())
    except ValueError:
        raise ValueError('percentiles: write {"50": 0.2, "99": 3}') from None
    if not points or not all(0 <= at <= 100 for at, _ in points):
        raise ValueError("percentiles: name at least one, each from 0 to 100")
    if any(later < earlier for (_, earlier), (_, later) in itertools.pairwise(points)):
        raise ValueError("percentiles: a higher one must not be fewer seconds")
    return [(0.0, 0.0), *points, (100.0, points[-1][1])]


def _between(curve: list[tuple[float, float]], at: float) -> float:
    for (left, low), (right, high) in itertools.pairwise(curve):
        if at <= right and right > left:
            return low + (high - low) * (at - left) / (right - left)
    return curve[-1][1]
