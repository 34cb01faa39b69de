"""What a provider tells others of: events, in the shape of Stripe's."""

import json
import secrets
import time
from typing import Any, NamedTuple

from toyrental.simulator import answers
from toyrental.simulator.answers import Answer
from toyrental.simulator.models import Charge, ChargeRequest, Refund


class Event(NamedTuple):
    """Something that happened, as it is sent."""

    id: str
    type: str
    body: bytes


def charged(answer: Answer) -> Event:
    """Tell that a card was charged."""
    return _event("charge.succeeded", json.loads(answer.body))


def declined(request: ChargeRequest, answer: Answer) -> Event:
    """Tell that a card was declined."""
    error = json.loads(answer.body)["error"]
    return _event(
        "charge.failed",
        {
            "object": "charge",
            "status": "failed",
            "amount": request.amount,
            "currency": request.currency,
            "customer": request.customer,
            "metadata": request.metadata.model_dump(),
            "failureCode": error["code"],
            "declineCode": error["declineCode"],
        },
    )


def refunded(charge: Charge) -> Event:
    """Tell that money of a charge was given back; the charge says how much by now."""
    return _event("charge.refunded", charge.resource())


def refund_failed(refund: Refund) -> Event:
    """Tell that a refund failed after it was accepted."""
    return _event("refund.failed", refund.resource())


def _event(kind: str, resource: dict[str, Any]) -> Event:
    name = f"evt_{secrets.token_hex(12)}"
    content = {
        "id": name,
        "object": "event",
        "type": kind,
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": resource},
    }
    return Event(name, kind, answers.to_json(content).encode())
