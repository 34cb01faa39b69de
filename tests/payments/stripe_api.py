"""The part of Stripe's public API that we use, kept by hand: what each request may carry.

Facts by the reference at docs.stripe.com/api; the version is the one that Stripe's OpenAPI
description names. When API_VERSION moves, they are read again.
"""

import re
from typing import NamedTuple

VERSION = "2026-09-30.endive"

METADATA_KEY = 40
METADATA_VALUE = 500
IDEMPOTENCY_KEY = 255

ZERO_DECIMALS = frozenset(
    "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF".split()  # noqa: SIM905
)
THREE_DECIMALS = frozenset("BHD JOD KWD OMR TND".split())  # noqa: SIM905
SPECIAL = frozenset("HUF ISK TWD UGX".split())  # noqa: SIM905
"""Currencies whose amounts have rules of their own."""


class Operation(NamedTuple):
    """One request: which parameters it must and may have, each as a pattern of its value."""

    method: str
    path: str
    required: dict[str, str]
    optional: dict[str, str]


AMOUNT = r"[1-9]\d{0,11}"
METADATA = rf"(?s).{{1,{METADATA_VALUE}}}"
ID = r"[A-Za-z0-9_]{1,5000}"

OPERATIONS = (
    Operation(
        "POST",
        r"/v1/payment_intents",
        {"amount": AMOUNT, "currency": r"[a-z]{3}"},
        {
            "confirm": "true|false",
            "payment_method": ID,
            "payment_method_types[]": r"[a-z_]+",
            "customer": ID,
            "off_session": "true|false",
            "error_on_requires_action": "true|false",
            "metadata[*]": METADATA,
        },
    ),
    Operation(
        "POST",
        r"/v1/refunds",
        {},
        {"payment_intent": ID, "charge": ID, "amount": AMOUNT, "metadata[*]": METADATA},
    ),
    Operation(
        "GET",
        r"/v1/payment_intents",
        {},
        {"created[gte]": r"\d+", "limit": r"[1-9]\d?|100", "starting_after": ID, "customer": ID},
    ),
    Operation("GET", rf"/v1/payment_intents/{ID}", {}, {}),
    Operation(
        "GET",
        r"/v1/refunds",
        {},
        {"payment_intent": ID, "limit": r"[1-9]\d?|100", "starting_after": ID},
    ),
    Operation("GET", r"/v1/account", {}, {}),
)

ONLY_WITH_CONFIRM = frozenset({"off_session", "error_on_requires_action"})


def violations(method: str, path: str, parameters: dict[str, str]) -> list[str]:
    """Return in what a request is not one that Stripe describes."""
    operation = next(
        (each for each in OPERATIONS if each.method == method and re.fullmatch(each.path, path)),
        None,
    )
    if operation is None:
        return [f"there is no {method} {path}"]
    known = operation.required | operation.optional
    found = [f"{name} is missing" for name in operation.required if name not in parameters]
    for name, value in parameters.items():
        key = re.fullmatch(r"metadata\[(.+)\]", name)
        pattern = known.get("metadata[*]" if key else name)
        if pattern is None:
            found.append(f"{name} is unknown")
        elif not re.fullmatch(pattern, value):
            found.append(f"{name} may not be {value!r}")
        if key and len(key[1]) > METADATA_KEY:
            found.append(f"{name} is too long")
    if ONLY_WITH_CONFIRM & set(parameters) and parameters.get("confirm") != "true":
        found.append("off_session and error_on_requires_action need confirm")
    return found
