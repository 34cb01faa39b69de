"""Answers of the simulator, and the errors among them.

Every error has Stripe's shape: `{"error": {"type", "code", "message", "param"?, "declineCode"?}}`.
No message repeats a value that the caller sent, for it may be a secret.
"""

import json
from typing import Any, NamedTuple

from toyrental.simulator.tokens import OUTCOMES, CardDecline


class Answer(NamedTuple):
    """An HTTP status and a JSON text, kept together so that a replay repeats both exactly."""

    status: int
    body: str


class RefusedError(Exception):
    """The request was not carried out; nothing was recorded under its idempotency key."""

    def __init__(self, answer: Answer) -> None:
        self.code: str = json.loads(answer.body)["error"]["code"]
        super().__init__(self.code)
        self.answer = answer


def ok(resource: dict[str, Any]) -> Answer:
    """Answer with a resource."""
    return Answer(200, to_json(resource))


def to_json(value: object) -> str:
    """Write JSON compactly and always in the same order of keys as given."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def error(status: int, kind: str, code: str, message: str, **details: str) -> Answer:
    """Answer with an error; `details` are further members of it (`param`, `declineCode`)."""
    described = {"type": kind, "code": code, "message": message, **details}
    return Answer(status, to_json({"error": described}))


def invalid(code: str, message: str, *, status: int = 400, **details: str) -> Answer:
    """Answer that the request is wrong and will stay so until it is changed."""
    return error(status, "invalid_request_error", code, message, **details)


def declined(decline: CardDecline) -> Answer:
    """Answer that the card said no."""
    return error(402, "card_error", decline.code, decline.message, declineCode=decline.decline_code)


def unknown_method() -> Answer:
    """Answer that no such payment method exists, naming those that do."""
    return invalid(
        "resource_missing",
        "No such payment method. The simulator knows Stripe's test tokens: "
        + ", ".join(OUTCOMES)
        + ".",
        param="method",
    )


def unknown_charge(param: str) -> Answer:
    """Answer that no such charge exists."""
    return invalid(
        "resource_missing",
        "No such charge in this ledger. A charge's id is in the answer to POST /v1/charges and in "
        "GET /v1/charges.",
        status=404,
        param=param,
    )


def key_mismatch(differing: list[str]) -> Answer:
    """Answer that the idempotency key belongs to another request."""
    return error(
        400,
        "idempotency_error",
        "idempotency_key_mismatch",
        "This Idempotency-Key was first used with other parameters (different: "
        + ", ".join(differing)
        + "). Repeat the first request as it was, or use a key of its own for this one.",
    )


def key_in_use() -> Answer:
    """Answer that the first request with this idempotency key is not finished."""
    return error(
        409,
        "idempotency_error",
        "idempotency_key_in_use",
        "A request with this Idempotency-Key is still in progress. Repeat it with the same key in "
        "a moment to get its answer.",
    )


def unavailable() -> Answer:
    """Answer that the ledger could not be read or written; nothing was changed."""
    return error(
        503,
        "api_error",
        "ledger_unavailable",
        "The simulator's ledger cannot be used at the moment; its log says why. Repeat the request "
        "with the same Idempotency-Key.",
    )


def broken() -> Answer:
    """Answer that the simulator itself failed; the outcome is not known to the caller."""
    return error(
        500,
        "api_error",
        "internal_error",
        "The simulator failed; its log says why. Repeat the request with the same Idempotency-Key.",
    )


def unauthorized() -> Answer:
    """Answer that the API key is missing or wrong."""
    return invalid(
        "api_key_invalid",
        "This simulator asks for an API key, and none of those it knows was sent. Send one with "
        "Authorization: Bearer, or as the user name of basic authentication.",
        status=401,
    )


def outage() -> Answer:
    """Answer that the provider is out of service; nothing was done."""
    return error(503, "api_error", "outage", "The provider is out of service (a fault of yours).")


def rate_limited() -> Answer:
    """Answer that there are too many requests; nothing was done."""
    return invalid(
        "rate_limit",
        "Too many requests (a fault of yours). Repeat this one after Retry-After seconds.",
        status=429,
    )


def faulty(status: int) -> Answer:
    """Answer with an error that a fault asked for; what was done is not for it to tell."""
    kind = "api_error" if status >= 500 else "invalid_request_error"
    return error(
        status, kind, f"fault_{status}", f"The request failed with {status} (a fault of yours)."
    )
