"""Reads a shop with the person's own token."""

import asyncio
import logging
import time
from typing import TypeVar

from pydantic import ValidationError

from toyrental.board.sessions import ACCESS_SECONDS, Session
from toyrental.board.view import May, Seen
from toyrental.kube.client import Client
from toyrental.kube.errors import Forbidden
from toyrental.payments.models import PaymentGateway
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairPhase, RepairTicket
from toyrental.shared.resource import GROUP, Resource
from toyrental.stores.models import Toy

R = TypeVar("R", bound=Resource)

logger = logging.getLogger(__name__)

# A shop's history may be long; the API server leaves it out.
_LIVE_RENTALS = ",".join(f"status.phase!={phase}" for phase in RentalPhase if phase.final)
_OPEN_TICKETS = ",".join(f"status.phase!={phase}" for phase in RepairPhase if phase.final)


async def read(client: Client, shop: str) -> Seen:
    """Return what the person may see of a shop. Raises ApiError where the API server cannot say."""
    toys, rentals, tickets, gateways = await asyncio.gather(
        _list(client, Toy, shop),
        _list(client, Rental, shop, _LIVE_RENTALS),
        _list(client, RepairTicket, shop, _OPEN_TICKETS),
        _list(client, PaymentGateway, shop),
    )
    return Seen(toys, rentals, tickets, gateways)


async def access(session: Session, shop: str) -> May:
    """Return what the person may do in a shop, asked anew every half a minute."""
    asked, may = session.may.get(shop, (float("-inf"), May()))
    now = time.monotonic()
    if now - asked < ACCESS_SECONDS:
        return may
    approve, inspect, repair = await asyncio.gather(
        session.client.allowed("approve", GROUP, Rental.SERVED.plural, shop),
        session.client.allowed("inspect", GROUP, Rental.SERVED.plural, shop),
        session.client.allowed("create", GROUP, RepairTicket.SERVED.plural, shop),
    )
    may = May(approve, inspect, repair)
    session.may[shop] = (now, may)
    return may


async def _list(client: Client, kind: type[R], shop: str, fields: str = "") -> tuple[R, ...] | None:
    found: list[R] = []
    try:
        async for page in client.list(kind.SERVED.kind, shop, fields=fields):
            found += [each for item in page["items"] if (each := _parsed(kind, item)) is not None]
    except Forbidden:
        return None
    return tuple(found)


def _parsed(kind: type[R], item: dict[str, object]) -> R | None:
    try:
        return kind.model_validate(item)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        logger.warning("a %s cannot be read and is left out: %s", kind.SERVED.kind, fault["msg"])
        return None
