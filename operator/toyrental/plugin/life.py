"""An order with all that belongs to it: its toy, payment and repair."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from toyrental.kube.errors import Forbidden, NotFound
from toyrental.payments.models import Payment
from toyrental.plugin.api import Api
from toyrental.plugin.near import not_there
from toyrental.rentals.models import Rental, Result
from toyrental.repairs.models import RepairTicket
from toyrental.shared.resource import Resource
from toyrental.stores.models import Toy

Json = dict[str, Any]


class Life(NamedTuple):
    """An order and what belongs to it, as far as it is there and may be read."""

    rental: Rental
    others: tuple[Resource, ...]
    raw: tuple[Json, ...]
    complaints: tuple[str, ...]

    @property
    def everything(self) -> tuple[Resource, ...]:
        """The order, then what belongs to it."""
        return (self.rental, *self.others)


def read(api: Api, name: str) -> Life:
    """Return an order with all that belongs to it. Raises ApiError and Failure."""
    shop, plural = api.access.namespace, Rental.SERVED.plural
    try:
        raw = [api.get(plural, shop, name)]
    except NotFound as error:
        raise not_there(api, plural, shop, name) from error
    rental = Rental.model_validate(raw[0])
    others: list[Resource] = []
    complaints: list[str] = []
    for kind, named in _others(rental):
        try:
            raw.append(api.get(kind.SERVED.plural, shop, named))
            others.append(kind.model_validate(raw[-1]))
        except NotFound:
            continue  # deleted since
        except Forbidden as error:
            complaints.append(str(error))
    return Life(rental, tuple(others), tuple(raw), tuple(complaints))


def _others(rental: Rental) -> Iterator[tuple[type[Resource], str]]:
    """Yield what belongs to an order: kinds and names."""
    if toy := rental.status.toy_ref or rental.spec.toy_ref:
        yield Toy, toy.name
    if rental.status.payment_ref is not None:
        yield Payment, rental.status.payment_ref.name
    inspection = rental.spec.inspection
    if inspection is not None and inspection.result is Result.DAMAGED:
        yield RepairTicket, rental.ticket_name
