"""Whether a webhook was signed by who shares a secret with us, and just now: Stripe's scheme.

The header says `t=<seconds>,v1=<hex>`: HMAC-SHA256 of the time, a dot, and the body. While a secret
is rotated there is one v1 for each secret. https://docs.stripe.com/webhooks#verify-manually
"""

import hashlib
import hmac
from enum import StrEnum

HEADER = "Stripe-Signature"

TOLERANCE_SECONDS = 300
"""How far the time in a signature may be from ours: what is older was recorded and is replayed."""

LONGEST_HEADER = 4096
MOST_SIGNATURES = 8


class Verdict(StrEnum):
    """What a signature is worth."""

    VALID = "Valid"
    FORGED = "Forged"
    STALE = "Stale"


def judge(header: str, body: bytes, secret: bytes, now: float) -> Verdict:
    """Return what a signature is worth; `now` is in seconds since 1970."""
    time, signatures = _parse(header)
    signed = hmac.new(secret, f"{time}.".encode() + body, hashlib.sha256).hexdigest()
    # All are compared, each in constant time: how long it takes says nothing.
    equal = [hmac.compare_digest(signed, signature) for signature in signatures]
    if not any(equal):
        return Verdict.FORGED
    return Verdict.VALID if abs(now - int(time)) <= TOLERANCE_SECONDS else Verdict.STALE


def _parse(header: str) -> tuple[str, list[str]]:
    """Return the time and the signatures of a header; no signatures where it makes no sense."""
    if len(header) > LONGEST_HEADER or not header.isascii():
        return "0", []
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not times[0].isdecimal() or len(times[0]) > 12:
        return "0", []
    return times[0], [value for name, _, value in parts if name == "v1"][:MOST_SIGNATURES]
