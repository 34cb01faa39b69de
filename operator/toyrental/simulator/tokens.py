"""The payment methods that exist here: Stripe's documented test tokens.

A token decides the outcome by itself, as in Stripe's test mode, so that a test says what it wants
by the card it pays with.
"""

from typing import NamedTuple


class CardDecline(NamedTuple):
    """Why a card says no, in Stripe's words."""

    code: str
    decline_code: str
    message: str


def _declined(decline_code: str, message: str = "The card was declined.") -> CardDecline:
    return CardDecline("card_declined", decline_code, message)


def _faulty(code: str, message: str) -> CardDecline:
    return CardDecline(code, code, message)


_CHARGED = (
    "pm_card_visa",
    "pm_card_visa_debit",
    "pm_card_mastercard",
    "pm_card_mastercard_debit",
    "pm_card_mastercard_prepaid",
    "pm_card_amex",
    "pm_card_discover",
    "pm_card_diners",
    "pm_card_jcb",
    "pm_card_unionpay",
)
# Stripe documents the issuer's refusals as pm_card_visa_chargeDeclined… and takes the names
# without the brand as well; both are in wide use.
_ISSUER_DECLINES = {
    "chargeDeclined": _declined("generic_decline"),
    "chargeDeclinedInsufficientFunds": _declined(
        "insufficient_funds", "The card has insufficient funds."
    ),
    "chargeDeclinedLostCard": _declined("lost_card"),
    "chargeDeclinedStolenCard": _declined("stolen_card"),
    "chargeDeclinedVelocityLimitExceeded": _declined(
        "card_velocity_exceeded", "The card has been used too often or for too much."
    ),
}
_OTHER_DECLINES = {
    "chargeDeclinedFraudulent": _declined("fraudulent"),
    "chargeDeclinedExpiredCard": _faulty("expired_card", "The card has expired."),
    "chargeDeclinedIncorrectCvc": _faulty("incorrect_cvc", "The card's security code is wrong."),
    "chargeDeclinedProcessingError": _faulty(
        "processing_error", "The card could not be processed. Another attempt may succeed."
    ),
    "authenticationRequired": _faulty(
        "authentication_required",
        "The card asks for its owner's presence, which an automatic payment cannot give.",
    ),
}

OUTCOMES: dict[str, CardDecline | None] = (
    dict.fromkeys(_CHARGED)
    | {f"pm_card_{name}": decline for name, decline in _ISSUER_DECLINES.items()}
    | {f"pm_card_visa_{name}": decline for name, decline in _ISSUER_DECLINES.items()}
    | {f"pm_card_{name}": decline for name, decline in _OTHER_DECLINES.items()}
)
"""What paying with each token does: `None` is charged, anything else is declined."""

DECLINES: dict[str, CardDecline] = {
    decline.decline_code: decline for decline in OUTCOMES.values() if decline is not None
}
"""Why a card can say no, by its decline code."""
