"""The contexts that can run, by themselves or together, and the composition of each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from toyrental.dashboards.reconciler import DashboardReconciler
from toyrental.kinds import KINDS
from toyrental.kube.cache import Cache
from toyrental.kube.client import Client
from toyrental.kube.controller import Reconciler
from toyrental.kube.writer import Writer
from toyrental.payments.gateways import Gateways
from toyrental.payments.reconciler import PaymentGatewayReconciler, PaymentReconciler
from toyrental.rentals.reconciler import RentalReconciler
from toyrental.repairs.reconciler import RepairTicketReconciler
from toyrental.shared.clock import Clock, exact_now
from toyrental.shared.resource import GROUP, Resource
from toyrental.stores.reconciler import StoreReconciler, ToyReconciler


class Context(StrEnum):
    """A part of the business that runs, scales and fails by itself."""

    RENTALS = "rentals"
    STORES = "stores"
    REPAIRS = "repairs"
    PAYMENTS = "payments"
    DASHBOARDS = "dashboards"


class Right(NamedTuple):
    """What the operator may do: a verb on a resource, such as `toys/status`, of an API group."""

    verb: str
    resource: str
    group: str = GROUP


@dataclass(frozen=True)
class Means:
    """What reconcilers work with."""

    client: Client
    cache: Cache
    writer: Writer
    gateways: Gateways
    clock: Clock


def _rentals(m: Means) -> list[Reconciler]:
    return [RentalReconciler(m.cache, m.writer, m.clock)]


def _stores(m: Means) -> list[Reconciler]:
    return [
        ToyReconciler(m.cache, m.writer, m.clock),
        StoreReconciler(m.cache, m.writer, m.clock),
    ]


def _repairs(m: Means) -> list[Reconciler]:
    return [RepairTicketReconciler(m.cache, m.writer, m.clock)]


def _payments(m: Means) -> list[Reconciler]:
    return [
        PaymentReconciler(m.cache, m.writer, m.clock, m.client, m.gateways),
        PaymentGatewayReconciler(m.cache, m.writer, m.clock, m.gateways),
    ]


def _dashboards(m: Means) -> list[Reconciler]:
    return [DashboardReconciler(m.cache, m.writer, exact_now)]


_COMPOSED: dict[Context, Callable[[Means], list[Reconciler]]] = {
    Context.RENTALS: _rentals,
    Context.STORES: _stores,
    Context.REPAIRS: _repairs,
    Context.PAYMENTS: _payments,
    Context.DASHBOARDS: _dashboards,
}

_NEEDS: dict[Context, tuple[str, ...]] = {
    Context.RENTALS: RentalReconciler.needs,
    Context.STORES: ToyReconciler.needs + StoreReconciler.needs,
    Context.REPAIRS: RepairTicketReconciler.needs,
    Context.PAYMENTS: PaymentReconciler.needs + PaymentGatewayReconciler.needs,
    Context.DASHBOARDS: DashboardReconciler.needs,
}

_WRITES: dict[Context, tuple[str, ...]] = {
    Context.RENTALS: ("Toy", "Rental"),
    Context.STORES: ("Store", "Toy"),
    Context.REPAIRS: ("Toy", "RepairTicket"),
    Context.PAYMENTS: ("Payment", "PaymentGateway"),
    Context.DASHBOARDS: ("Dashboard",),
}

# What a context reads from the API server itself: what it wrote to when somebody else was faster,
# and what has to be so before a write that cannot be taken back (`Decision.confirm`).
_READS_AGAIN: dict[Context, tuple[str, ...]] = {
    Context.RENTALS: ("Toy", "Rental", "Payment", "RepairTicket"),
    Context.STORES: ("Store", "Toy", "Rental"),
    Context.REPAIRS: ("Toy", "RepairTicket"),
    Context.PAYMENTS: ("Rental", "Payment", "PaymentGateway"),
    Context.DASHBOARDS: ("Dashboard",),
}

_TELLS = Right("create", "events", "events.k8s.io")

_BESIDES: dict[Context, tuple[Right, ...]] = {
    Context.RENTALS: (
        Right("create", "payments"),
        Right("patch", "payments"),
        Right("operate", "payments"),
        Right("create", "repairtickets"),
        _TELLS,
    ),
    Context.STORES: (_TELLS,),
    Context.REPAIRS: (_TELLS,),
    Context.PAYMENTS: (
        Right("patch", "payments"),
        Right("operate", "payments"),
        Right("patch", "paymentgateways"),
        Right("operate", "paymentgateways"),
        Right("get", "secrets", ""),
        _TELLS,
    ),
    Context.DASHBOARDS: (),
}


def reconcilers(contexts: Iterable[Context], means: Means) -> list[Reconciler]:
    """Return the reconcilers of these contexts."""
    return [made for context in contexts for made in _COMPOSED[context](means)]


def kinds_needed(contexts: Iterable[Context]) -> tuple[type[Resource], ...]:
    """Return the kinds that these contexts look at."""
    names = {name for context in contexts for name in _NEEDS[context]}
    return tuple(kind for kind in KINDS if kind.SERVED.kind in names)


def kinds_written(contexts: Iterable[Context]) -> tuple[type[Resource], ...]:
    """Return the kinds whose status these contexts write."""
    names = {name for context in contexts for name in _WRITES[context]}
    return tuple(kind for kind in KINDS if kind.SERVED.kind in names)


def rights(contexts: Iterable[Context]) -> tuple[Right, ...]:
    """Return all that these contexts must be allowed to do, and nothing else, each once.

    The roles in manifests/rbac grant just this, and docs/reference/access.md says what for.
    """
    return tuple(dict.fromkeys(right for context in contexts for right in _rights(context)))


def _rights(context: Context) -> Iterator[Right]:
    plurals = {kind.SERVED.kind: kind.SERVED.plural for kind in KINDS}
    for kind in kinds_needed([context]):
        yield from (Right(verb, kind.SERVED.plural) for verb in ("list", "watch"))
    yield from (Right("get", plurals[kind]) for kind in _READS_AGAIN[context])
    for kind in kinds_written([context]):
        yield from (Right(verb, f"{kind.SERVED.plural}/status") for verb in ("patch", "operate"))
    yield from _BESIDES[context]
