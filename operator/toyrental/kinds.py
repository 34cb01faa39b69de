"""Every kind the operator knows, in the order in which people meet them."""

from toyrental.dashboards.models import Dashboard
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.shared.resource import Resource
from toyrental.stores.models import Store, Toy

KINDS: tuple[type[Resource], ...] = (
    Store,
    Toy,
    Rental,
    Payment,
    PaymentGateway,
    RepairTicket,
    Dashboard,
)
