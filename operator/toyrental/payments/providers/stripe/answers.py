"""What Stripe's answers mean, by its documented statuses, error types and codes."""

from typing import Any

import httpx

from toyrental.payments.providers.http import (
    AUTHENTICATION_REQUIRED,
    CARD_DECLINED,
    NO_SUCH_METHOD,
    UNREADABLE,
    body_of,
    card_declined,
    code_of,
    contradiction,
    id_of,
    member,
)
from toyrental.payments.providers.port import (
    KEY_REUSED,
    Captured,
    ChargeAnswer,
    Declined,
    OutcomeUnknown,
    Refund,
    RefundAnswer,
    Refunded,
    RefundFailed,
    RefundPending,
    Refused,
    Trouble,
)
from toyrental.shared.money import Money

_EXTERNAL_DEPENDENCY_FAILED = 424


def charged(answer: httpx.Response, amount: Money, payment_uid: str) -> ChargeAnswer:
    """Return what the answer to creating and confirming a PaymentIntent means."""
    if not answer.is_success:
        return _declined(answer) or refused(answer)
    intent = body_of(answer)
    id_, status = id_of(member(intent, "id")), member(intent, "status")
    if id_ is None:
        return UNREADABLE
    match status:
        case "succeeded":
            return mismatch(intent, amount, payment_uid) or Captured(id_)
        case "processing":
            return OutcomeUnknown("the payment is still being processed")
        case "requires_action":
            return card_declined(AUTHENTICATION_REQUIRED)
        case "requires_payment_method":
            return card_declined(_decline_code(member(intent, "last_payment_error")))
        case _:
            return Refused(
                "unexpected_status",
                f"the PaymentIntent is {code_of(status, 'in a state of no name')}",
            )


def refunded(answer: httpx.Response, asked: Refund) -> RefundAnswer:
    """Return what the answer to creating a Refund means."""
    if not answer.is_success:
        return refused(answer)
    refund = body_of(answer)
    if id_of(member(refund, "id")) is None:
        return UNREADABLE
    if member(refund, "amount") != asked.amount.minor_units:
        return contradiction("amount")
    if member(refund, "currency") != asked.amount.currency.value.lower():
        return contradiction("currency")
    if member(refund, "payment_intent") != asked.gateway_payment_id:
        return contradiction("payment")
    return _end_of(refund)


def _end_of(refund: Any) -> RefundAnswer:
    match member(refund, "status"):
        case "succeeded":
            return Refunded()
        case status if status in PENDING:
            return RefundPending()
        case status if status in FAILED:
            reason = code_of(member(refund, "failure_reason"), status)
            return RefundFailed(f"the provider could not carry it out ({reason})")
        case _:
            return UNREADABLE


PENDING = frozenset({"pending", "requires_action"})
FAILED = frozenset({"failed", "canceled"})
"""The statuses of a Refund that is not done, and of one that never will be."""


def knows_no_such(answer: httpx.Response) -> bool:
    """Tell whether Stripe itself says that there is no such thing, and not somebody before it."""
    missing = member(body_of(answer), "error", "code") == "resource_missing"
    return answer.status_code == httpx.codes.NOT_FOUND and missing


def mismatch(intent: Any, amount: Money, payment_uid: str) -> Refused | None:
    """Say in what a PaymentIntent is not the one that was asked for, if it is not."""
    if member(intent, "amount_received") not in {None, amount.minor_units}:
        return contradiction("amount")
    if member(intent, "amount") != amount.minor_units:
        return contradiction("amount")
    if member(intent, "currency") != amount.currency.value.lower():
        return contradiction("currency")
    if member(intent, "metadata", "paymentUID") != payment_uid:
        return contradiction("payment")
    return None


def refused(answer: httpx.Response) -> Trouble:
    """Return what an error means that is no decline, in our own words."""
    if answer.status_code == _EXTERNAL_DEPENDENCY_FAILED:
        return OutcomeUnknown(f"the provider answered {answer.status_code}")
    error = member(body_of(answer), "error")
    kind = code_of(member(error, "type"), f"http_{answer.status_code}")
    code = kind if kind == KEY_REUSED else code_of(member(error, "code"), kind)
    if kind == "api_error":
        return OutcomeUnknown("the provider failed")
    return Refused(code, f"the provider refused the request ({code})")


def _declined(answer: httpx.Response) -> Declined | None:
    error = member(body_of(answer), "error")
    if member(error, "type") == "card_error":
        return card_declined(_decline_code(error))
    unknown_method = member(error, "param") == "payment_method"
    if unknown_method and member(error, "code") == "resource_missing":
        return NO_SUCH_METHOD
    return None


def _decline_code(error: Any) -> str:
    code = code_of(member(error, "code"), CARD_DECLINED)
    if code in {AUTHENTICATION_REQUIRED, "payment_intent_authentication_failure"}:
        return AUTHENTICATION_REQUIRED
    return code_of(member(error, "decline_code"), code)
