"""What a person can do on the page, as the writes it makes. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from toyrental.rentals.models import Decision, Inspection, RentalApproval, Result
from toyrental.repairs.models import RepairTicket, RepairTicketSpec
from toyrental.shared.model import Model, NameRef
from toyrental.shared.resource import Key, Metadata

LONGEST_NAME = 240


class Unusable(Exception):
    """The form says something that no write can be made of; `str()` says what to do."""


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
    spec: dict[str, Any]
    try:
        match action:
            case "approve":
                spec = {"approval": _body(RentalApproval(decision=Decision.APPROVED))}
                done = f"Order {name} is approved."
            case "deny":
                spec = {"approval": _body(RentalApproval(decision=Decision.DENIED, reason=words))}
                done = f"Order {name} is denied; the customer gets the money back."
            case "inspect":
                result = Result(form.get("result", ""))
                spec = {"inspection": _body(Inspection(result=result, notes=words))}
                done = f"The inspection of {name} is recorded."
            case _:
                raise Unusable(f"There is nothing called {action} to do with an order.")
    except ValueError as error:
        raise Unusable(_why(error)) from error
    # The uid makes the API server refuse where another order has taken the name since.
    return Change(Key("Rental", shop, name), {"metadata": {"uid": uid}, "spec": spec}, done)


def ticket(shop: str, toy: str, form: Mapping[str, str], suffix: str) -> RepairTicket:
    """Return the ticket that sends a toy to repair. Raises Unusable."""
    words = form.get("words", "").strip()
    if not words:
        raise Unusable("Say in a few words what is wrong with the toy.")
    try:
        spec = RepairTicketSpec(toy_ref=NameRef(name=toy), description=words)
    except ValidationError as error:
        raise Unusable(_why(error)) from error
    name = f"{toy[:LONGEST_NAME]}-{suffix}"
    return RepairTicket(metadata=Metadata(name=name, namespace=shop), spec=spec)


def _body(model: Model) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _why(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(each["msg"] for each in error.errors(include_input=False))
    return "Choose one of the results."
