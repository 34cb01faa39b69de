"""What is asked of the simulator, and what its ledger remembers.

Amounts are integers in the currency's minor units (KRW has no decimals, so 15000 is 15,000 won);
times are seconds since 1970 (UTC), shown whole, as payment providers give them. JSON is camelCase.
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

MAX_LISTED = 100
_MAX_METADATA_ENTRIES = 50
_MAX_METADATA_KEY_LENGTH = 40

Amount = Annotated[int, Field(gt=0, le=999_999_999_999)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=255)]
MetadataValue = Annotated[str, StringConstraints(max_length=500)]


class Model(BaseModel):
    """Strict, and written in camelCase outside."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Metadata(Model):
    """The caller's own names for what is paid; further entries are kept and given back as well."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, MetadataValue] = Field(init=False)

    payment_uid: Identifier = Field(alias="paymentUID")
    rental_uid: Identifier = Field(alias="rentalUID")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        extra = self.__pydantic_extra__
        if len(extra) > _MAX_METADATA_ENTRIES:
            raise ValueError(f"at most {_MAX_METADATA_ENTRIES} entries beside the two UIDs")
        if any(len(key) > _MAX_METADATA_KEY_LENGTH for key in extra):
            raise ValueError(f"keys have at most {_MAX_METADATA_KEY_LENGTH} characters")
        return self


class ChargeRequest(Model):
    """Take `amount` of `currency` from the card behind the token `method`."""

    amount: Amount
    currency: Currency
    method: Identifier
    customer: Identifier | None = None
    metadata: Metadata


class RefundRequest(Model):
    """Give `amount` of the charge back, in the charge's currency."""

    charge: Identifier
    amount: Amount
    metadata: Metadata


class ChargeQuery(Model):
    """Which charges to list, newest first; `limit` counts them."""

    # Query parameters arrive as text, so numbers are read from it here and only here.
    model_config = ConfigDict(strict=False)

    payment_uid: Identifier | None = Field(default=None, alias="paymentUID")
    limit: int = Field(default=10, ge=1, le=MAX_LISTED)


class RefundQuery(ChargeQuery):
    """Which refunds to list, newest first; both filters together must both match."""

    charge: Identifier | None = None


class Charge(Model):
    """Money that was taken."""

    id: str
    idempotency_key: str
    key_life: int
    amount: int
    amount_refunded: int
    currency: str
    customer: str | None
    metadata: Metadata
    created: float

    def resource(self) -> dict[str, Any]:
        """Give the charge as the API shows it."""
        return {
            "id": self.id,
            "object": "charge",
            "status": "succeeded",
            "amount": self.amount,
            "amountRefunded": self.amount_refunded,
            "currency": self.currency,
            "customer": self.customer,
            "metadata": self.metadata.model_dump(),
            "created": int(self.created),
        }

    def entry(self) -> dict[str, Any]:
        """Give the charge as a line of the ledger."""
        return {
            "id": self.id,
            "idempotencyKey": self.idempotency_key,
            "amount": self.amount,
            "amountRefunded": self.amount_refunded,
            "currency": self.currency,
            "paymentUID": self.metadata.payment_uid,
            "rentalUID": self.metadata.rental_uid,
            "created": int(self.created),
        }


class RefundStatus(StrEnum):
    """How a refund stands, in Stripe's words."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Refund(Model):
    """Money of a charge that was given back, unless it failed."""

    id: str
    idempotency_key: str
    key_life: int
    charge: str
    amount: int
    currency: str
    metadata: Metadata
    created: float
    status: RefundStatus = RefundStatus.SUCCEEDED
    fails: float | None = None
    """When it fails; never, unless a fault said so."""

    def resource(self) -> dict[str, Any]:
        """Give the refund as the API shows it."""
        return {
            "id": self.id,
            "object": "refund",
            "status": self.status.value,
            "charge": self.charge,
            "amount": self.amount,
            "currency": self.currency,
            "metadata": self.metadata.model_dump(),
            "created": int(self.created),
        }

    def entry(self) -> dict[str, Any]:
        """Give the refund as a line of the ledger."""
        return {
            "id": self.id,
            "idempotencyKey": self.idempotency_key,
            "charge": self.charge,
            "amount": self.amount,
            "currency": self.currency,
            "paymentUID": self.metadata.payment_uid,
            "rentalUID": self.metadata.rental_uid,
            "status": self.status.value,
            "created": int(self.created),
        }


class Decline(Model):
    """A card that said no: no money moved."""

    idempotency_key: str
    key_life: int
    amount: int
    currency: str
    payment_uid: str = Field(alias="paymentUID")
    rental_uid: str = Field(alias="rentalUID")
    code: str
    decline_code: str
    created: float

    def entry(self) -> dict[str, Any]:
        """Give the decline as a line of the ledger."""
        return self.model_dump(exclude={"key_life"}) | {"created": int(self.created)}
