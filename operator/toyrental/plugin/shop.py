"""Reads a shop as far as the person may see it; why something is missing is kept for the end."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from toyrental.dashboards.models import Dashboard
from toyrental.kube.errors import ApiError, Forbidden, NotFound
from toyrental.payments.models import Payment, PaymentGateway, PaymentPhase
from toyrental.plugin.api import Api
from toyrental.plugin.options import Failure
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.repairs.models import RepairPhase, RepairTicket
from toyrental.shared.resource import Resource
from toyrental.stores.models import Store, Toy

Json = dict[str, Any]
R = TypeVar("R", bound=Resource)

# A shop's history may be long; the API server leaves it out.
LIVE_RENTALS = ",".join(f"status.phase!={phase}" for phase in RentalPhase if phase.final)
OPEN_TICKETS = ",".join(f"status.phase!={phase}" for phase in RepairPhase if phase.final)
IN_REVIEW = f"status.phase={PaymentPhase.MANUAL_REVIEW}"


class Seen(NamedTuple):
    """The resources of a shop; None where the person may not list them.

    `payments` are those that need a person; `takings` are all of them, and only there where no
    Dashboard has the sums.
    """

    toys: tuple[Toy, ...] | None = ()
    rentals: tuple[Rental, ...] | None = ()
    tickets: tuple[RepairTicket, ...] | None = ()
    gateways: tuple[PaymentGateway, ...] | None = ()
    stores: tuple[Store, ...] | None = ()
    payments: tuple[Payment, ...] | None = ()
    dashboard: Dashboard | None = None
    takings: tuple[Payment, ...] | None = None
    complaints: tuple[str, ...] = ()


class Reader:
    """Reads kinds one by one; `complaints` says of which it may not."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.complaints: list[str] = []

    def list(self, kind: type[R], shop: str | None, fields: str = "") -> tuple[R, ...] | None:
        """Return the objects of a kind; None where the person may not list them.

        Raises ApiError where the API server cannot say.
        """
        served = kind.SERVED
        try:
            return tuple(self._parsed(kind, self._items(served.plural, shop, fields)))
        except Forbidden as error:
            self.complain(error)
        except NotFound as error:
            raise not_installed(served.plural) from error
        return None

    def get(self, kind: type[R], shop: str, name: str) -> R | None:
        """Return an object; None where there is none, or where the person may not read it."""
        try:
            found = list(self._parsed(kind, iter([self._api.get(kind.SERVED.plural, shop, name)])))
        except Forbidden as error:
            self.complain(error)
        except NotFound:
            pass
        else:
            return found[0] if found else None
        return None

    def complain(self, error: ApiError) -> None:
        """Keep why something is not shown."""
        if str(error) not in self.complaints:
            self.complaints.append(str(error))

    def _items(self, plural: str, shop: str | None, fields: str) -> Iterator[Json]:
        for page in self._api.pages(plural, shop, fieldSelector=fields):
            yield from page["items"]

    def _parsed(self, kind: type[R], items: Iterator[Json]) -> Iterator[R]:
        for item in items:
            try:
                yield kind.model_validate(item)
            except ValidationError as error:
                fault = error.errors(include_input=False, include_url=False)[0]
                name = item["metadata"]["name"]
                self.complaints.append(
                    f"{kind.SERVED.kind} {name} cannot be read: {fault['msg']};"
                    " is the plugin as new as the operator?"
                )


def read(api: Api, shop: str | None) -> Seen:
    """Return what the person may see of a shop, or of all. Raises ApiError and Failure."""
    reader = Reader(api)
    toys = reader.list(Toy, shop)
    rentals = reader.list(Rental, shop, LIVE_RENTALS)
    tickets = reader.list(RepairTicket, shop, OPEN_TICKETS)
    gateways = reader.list(PaymentGateway, shop)
    stores = reader.list(Store, shop)
    payments = reader.list(Payment, shop, IN_REVIEW)
    dashboard = whole_shop(reader.list(Dashboard, shop) or ()) if shop else None
    takings = (
        reader.list(Payment, shop) if shop and payments is not None and not dashboard else None
    )
    found = (toys, rentals, tickets, gateways, stores, payments)
    if all(each is None for each in found):
        raise Failure(f"nothing of the shop may be read: {reader.complaints[0]}")
    return Seen(*found, dashboard, takings, tuple(reader.complaints))


def whole_shop(dashboards: Iterable[Dashboard]) -> Dashboard | None:
    """Return a Dashboard that counts the whole shop, if there is one."""
    whole = (d for d in dashboards if d.spec.selector is None and d.status.toys is not None)
    return next(whole, None)


def not_installed(plural: str) -> Failure:
    """Say that the API server does not know a kind of ours."""
    return Failure(
        f"the API server knows no {plural}: is this the right cluster (--context)?"
        " If it is, install the kinds: kubectl apply -k manifests/base"
    )
