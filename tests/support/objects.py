"""Valid resources in as few words as can be; a test says only what matters to it."""

from datetime import UTC, datetime
from typing import Any

from tests.support.api import Json
from toyrental.dashboards.models import Dashboard
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.shared.resource import Resource
from toyrental.stores.models import STORE_NAME, Store, Toy


def condition(type_: str, status: str, reason: str = "", message: str = "") -> Json:
    """Return a condition as it stands in a status."""
    return {
        "type": type_,
        "status": status,
        "reason": reason or type_,
        "message": message,
        "lastTransitionTime": time(datetime.now(UTC)),
    }


def time(moment: datetime) -> str:
    """Write a moment as Kubernetes does."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def store(*, gateway: str | None = None, **spec: Any) -> Store:
    """Return a shop's policy."""
    if gateway is not None:
        spec["paymentGatewayRef"] = {"name": gateway}
    return Store.model_validate(_raw(STORE_NAME, spec))


def gateway(name: str, endpoint: str, **spec: Any) -> PaymentGateway:
    """Return a gateway that is the simulator at `endpoint`."""
    return PaymentGateway.model_validate(_raw(name, {"simulator": {"endpoint": endpoint}} | spec))


def toy(name: str, *, rate: int = 3000, labels: dict[str, str] | None = None, **spec: Any) -> Toy:
    """Return a toy that costs `rate` won a day."""
    spec = {"title": name, "dailyRate": {"currency": "KRW", "minorUnits": rate}} | spec
    return Toy.model_validate(_raw(name, spec, labels))


def rental(
    name: str,
    *,
    toy: str | None = None,
    labels: dict[str, str] | None = None,
    customer: str = "mina",
    days: int = 3,
    start: datetime | None = None,
    method: str = "pm_card_visa",
    **spec: Any,
) -> Rental:
    """Return an order of the toy named, or of any toy with these labels (any at all: `{}`)."""
    period: Json = {"days": days} | ({"startTime": time(start)} if start else {})
    wanted: Json = {"toyRef": {"name": toy}} if toy else {"toySelector": {"matchLabels": labels}}
    order = {"customer": customer, "period": period, **wanted}
    if "paymentMethodSecretRef" not in spec:
        order["paymentMethod"] = method
    return Rental.model_validate(_raw(name, order | spec))


def payment(name: str, *, rental: Resource, amount: int = 9000, **spec: Any) -> Payment:
    """Return what is owed for a rental."""
    return Payment.model_validate(
        _raw(
            name,
            {
                "rentalRef": {"name": rental.name, "uid": rental.uid},
                "gatewayRef": {"name": "simulator"},
                "amount": {"currency": "KRW", "minorUnits": amount},
                "method": {"token": "pm_card_visa"},
            }
            | spec,
        )
    )


def ticket(name: str, *, toy: str, **spec: Any) -> RepairTicket:
    """Return a ticket for a damaged toy."""
    return RepairTicket.model_validate(_raw(name, {"toyRef": {"name": toy}} | spec))


def dashboard(name: str = "shop", **spec: Any) -> Dashboard:
    """Return an owner's view of the shop."""
    return Dashboard.model_validate(_raw(name, spec))


def _raw(name: str, spec: Json, labels: dict[str, str] | None = None) -> Json:
    metadata: Json = {"name": name} | ({"labels": labels} if labels else {})
    return {"metadata": metadata, "spec": spec}
