"""What Toss Payments' answers mean, by its documented error codes and payment statuses.

Toss uses 400 and 403 for declines, for credentials and for mistakes alike: the code decides.
"""

import re
from typing import Any

import httpx

from toyrental.payments.providers.http import (
    UNREADABLE,
    body_of,
    code_of,
    contradiction,
    id_of,
    member,
    trouble_beside_credentials,
)
from toyrental.payments.providers.port import (
    Captured,
    Declined,
    Found,
    LookUpAnswer,
    Missing,
    OutcomeUnknown,
    Refused,
    Trouble,
    Unauthorized,
    UnderWay,
)
from toyrental.shared.money import Money

DECLINES = frozenset(
    {
        "EXCEED_MAX_AMOUNT",
        "EXCEED_MAX_AUTH_COUNT",
        "EXCEED_MAX_DAILY_PAYMENT_COUNT",
        "EXCEED_MAX_ONE_DAY_AMOUNT",
        "EXCEED_MAX_ONE_DAY_PAYMENT_COUNT",
        "EXCEED_MAX_PAYMENT_AMOUNT",
        "INVALID_BILL_KEY_REQUEST",
        "INVALID_CARD_EXPIRATION",
        "INVALID_CARD_LOST_OR_STOLEN",
        "INVALID_CARD_NUMBER",
        "INVALID_REJECT_CARD",
        "INVALID_STOPPED_CARD",
        "NOT_MATCHES_CUSTOMER_KEY",
        "NOT_REGISTERED_CARD_COMPANY",
        "NOT_SUPPORTED_CARD_TYPE",
        "REJECT_ACCOUNT_PAYMENT",
        "REJECT_CARD_COMPANY",
        "REJECT_CARD_PAYMENT",
    }
)
"""The card, its issuer or its billing key says no. Any other code is not known to be one."""

CREDENTIALS_REFUSED = frozenset(
    {"FORBIDDEN_REQUEST", "INCORRECT_BASIC_AUTH_FORMAT", "INVALID_API_KEY", "UNAUTHORIZED_KEY"}
)

PERHAPS_CHARGED = frozenset({"ALREADY_PROCESSED_PAYMENT", "DUPLICATED_ORDER_ID"})
"""The order was seen before: a look-up says what became of it."""

PERHAPS_CANCELLED = frozenset(
    {"ALREADY_CANCELED_PAYMENT", "NOT_CANCELABLE_AMOUNT", "NOT_CANCELABLE_PAYMENT"}
)
"""Nothing is left to give back, perhaps because it was given back: a look-up says."""

_FAILED_FOR_NOW = frozenset({"PROVIDER_ERROR", "CARD_PROCESSING_ERROR"})
"""These come with a 400, though the failure is Toss's or the card company's."""

_TAKEN = frozenset({"DONE", "PARTIAL_CANCELED", "CANCELED"})
_NOT_TAKEN = frozenset({"ABORTED", "EXPIRED"})

_REASON = re.compile(r"Refund (\d{1,10}) of payment (\S+)")


def error_code(answer: httpx.Response) -> str:
    """Return the code of an error."""
    return code_of(member(body_of(answer), "code"), f"http_{answer.status_code}")


def trouble(answer: httpx.Response) -> Trouble:
    """Return what an error means that is no decline, in our own words."""
    code = error_code(answer)
    if code in CREDENTIALS_REFUSED or answer.status_code == httpx.codes.UNAUTHORIZED:
        return Unauthorized("the provider refused the credentials")
    if code == "IDEMPOTENT_REQUEST_PROCESSING":
        return UnderWay("the same request is still in hand")
    if code in _FAILED_FOR_NOW:
        return OutcomeUnknown("the provider failed")
    return trouble_beside_credentials(answer) or Refused(
        code, f"the provider refused the request ({code})"
    )


def declined(answer: httpx.Response) -> Declined | None:
    """Return the decline that an error is, if it is one, in our own words."""
    code = error_code(answer)
    if code not in DECLINES or httpx.codes.is_server_error(answer.status_code):
        return None
    return Declined(code, f"The payment was declined ({code})")


def captured(
    payment: Any, amount: Money, order_id: str
) -> Captured | Declined | OutcomeUnknown | Refused:
    """Return what the payment means that a charge was answered with."""
    key = id_of(member(payment, "paymentKey"))
    if key is None:
        return UNREADABLE
    status = member(payment, "status")
    if status in _NOT_TAKEN:
        failure = code_of(member(payment, "failure", "code"), "ABORTED")
        return Declined(failure, f"The payment was declined ({failure})")
    if status not in _TAKEN:
        return OutcomeUnknown("the payment is still in hand")
    return mismatch(payment, amount, order_id) or Captured(key)


def found(payment: Any, amount: Money, payment_uid: str) -> LookUpAnswer:
    """Return what the payment means that was looked up."""
    key = id_of(member(payment, "paymentKey"))
    if key is None:
        return UNREADABLE
    status = member(payment, "status")
    if status in _NOT_TAKEN:
        return Missing()
    if status not in _TAKEN:
        return OutcomeUnknown("the payment is still in hand")
    order_id = str(member(payment, "orderId"))
    if not order_id.startswith(payment_uid):
        return contradiction("payment")
    wrong = mismatch(payment, amount, order_id)
    return wrong or Found(key, amount.minor_units, frozenset(steps(payment, payment_uid)))


def mismatch(payment: Any, amount: Money, order_id: str) -> Refused | None:
    """Say in what a payment is not the one that was asked for, if it is not."""
    if member(payment, "totalAmount") != amount.minor_units:
        return contradiction("amount")
    if member(payment, "currency") != amount.currency.value:
        return contradiction("currency")
    return None if member(payment, "orderId") == order_id else contradiction("order")


def reason(step: int, payment_uid: str) -> str:
    """Return the reason of a refund: Toss keeps it, and so it says which step it was."""
    return f"Refund {step} of payment {payment_uid}"


def steps(payment: Any, payment_uid: str) -> dict[int, Any]:
    """Return the steps of refund that a payment had, each with its amount."""
    cancels = member(payment, "cancels")
    done = [
        (_REASON.fullmatch(str(member(each, "cancelReason"))), member(each, "cancelAmount"))
        for each in (cancels if isinstance(cancels, list) else [])
        if member(each, "cancelStatus") in {None, "DONE"}
    ]
    return {int(m[1]): amount for m, amount in done if m and m[2] == payment_uid}
