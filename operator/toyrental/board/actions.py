"""What a person can do on the page, as the writes it makes. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from toyrental import intents
from toyrental.intents import Unusable
from toyrental.rentals.models import Decision, Result
from toyrental.repairs.models import RepairTicket, RepairTicketSpec
from toyrental.shared.resource import Key, Metadata

LONGEST_NAME = 240


class Change(NamedTuple):
    """A merge patch of one very object, and what to say once it is done."""

    key: Key
    patch: dict[str, Any]
    done: str


def on_rental(shop: str, name: str, action: str, form: Mapping[str, str]) -> Change:
    """Return the write of `approve`, `deny` or `inspect` on a rental. Raises Unusable."""
    uid = form.get("uid", "")
    words = form.get("words", "").strip() or None
    if not uid:
        raise Unusable("The form does not say which order it is about; reload the page.")
    match action:
        case "approve":
            spec = intents.decision(Decision.APPROVED)
            done = f"Order {name} is approved."
        case "deny":
            spec = intents.decision(Decision.DENIED, words)
            done = f"Order {name} is denied; the customer gets the money back."
        case "inspect":
            spec = intents.inspection(_result(form.get("result", "")), words)
            done = f"The inspection of {name} is recorded."
        case _:
            raise Unusable(f"There is nothing called {action} to do with an order.")
    # The uid makes the API server refuse where another order has taken the name since.
    return Change(Key("Rental", shop, name), {"metadata": {"uid": uid}, "spec": spec}, done)


def ticket(shop: str, toy: str, form: Mapping[str, str], suffix: str) -> RepairTicket:
    """Return the ticket that sends a toy to repair. Raises Unusable."""
    words = form.get("words", "").strip()
    if not words:
        raise Unusable("Say in a few words what is wrong with the toy.")
    spec = RepairTicketSpec.model_validate(intents.repair(toy, words))
    name = f"{toy[:LONGEST_NAME]}-{suffix}"
    return RepairTicket(metadata=Metadata(name=name, namespace=shop), spec=spec)


def _result(text: str) -> Result:
    try:
        return Result(text)
    except ValueError as error:
        raise Unusable("Choose one of the results.") from error
