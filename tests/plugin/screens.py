"""The screens shown in docs/how-to/kubectl.md, of a shop that stands still.

`python -m tests.plugin.screens` writes them there; a test holds the page against them.
"""

import io
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType

from dev.cluster.manifests import REPOSITORY
from tests.support import Json, objects
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.plugin import screens, timeline, tree
from toyrental.plugin.glance import glance
from toyrental.plugin.life import Life
from toyrental.plugin.shop import Seen
from toyrental.rentals.models import Rental
from toyrental.stores.models import Store, Toy

if TYPE_CHECKING:
    from toyrental.shared.resource import Resource

PAGE = REPOSITORY / "docs" / "how-to" / "kubectl.md"
NOW = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
UID = "7d2f0a1c-4f3e-4a57-9c65-0f6c5f8e1b2a"


def ago(**since: int) -> str:
    return objects.time(NOW - timedelta(**since))


def condition(type_: str, status: str, reason: str, message: str, **since: int) -> Json:
    found = {"type": type_, "status": status, "reason": reason, "message": message}
    return found | {"lastTransitionTime": ago(**since)}


def there(resource: Any, status: Json, **since: int) -> Any:
    """Return a resource as the API server would have it."""
    raw = resource.model_dump(by_alias=True, mode="json", exclude_none=True)
    raw["metadata"] |= {"uid": UID, "creationTimestamp": ago(**since), "namespace": "toy-library"}
    return type(resource).model_validate(raw | {"status": status})


def toys() -> tuple[Toy, ...]:
    free = [there(objects.toy(f"toy-{n}"), {"phase": "Available"}, days=9) for n in range(7)]
    bike = objects.toy("balance-bike", title="Balance bike, red", rate=6000)
    train = objects.toy("brio-train-1", title="Wooden train set")
    car = objects.toy("bobby-car", title="Ride-on car with a trailer")
    return (
        *free,
        there(bike, {"phase": "Reserved", "conditions": [IN_STOCK]}, days=9),
        there(train, {"phase": "Rented"}, days=9),
        there(car, {"phase": "Damaged"}, days=9),
    )


IN_STOCK = condition(
    "Ready", "True", "InStock", "The toy is in stock; its phase says where it is.", days=9
)
WAITS = "The order is paid and waits for the store's decision."


def bike() -> Rental:
    """Return an order that is paid and waits for its approval."""
    order = objects.rental("mina-bike", toy="balance-bike", customer="mina")
    status = {
        "phase": "Paid",
        "toyRef": {"name": "balance-bike", "uid": UID},
        "paymentRef": {"name": "mina-bike-7d2f0a1c"},
        "price": {"currency": "KRW", "minorUnits": 18000},
        "conditions": [
            condition("Booked", "True", "Booked", "Toy balance-bike is promised.", minutes=12),
            condition("Paid", "True", "Captured", "The payment was taken.", minutes=12),
            condition("Approved", "Unknown", "AwaitingDecision", WAITS, minutes=12),
            condition("Ready", "False", "AwaitingDecision", WAITS, minutes=12),
        ],
    }
    return there(order, status, minutes=13)  # type: ignore[no-any-return] # it is what went in


def train() -> Rental:
    """Return an order whose toy is overdue."""
    order = objects.rental("juno-train", toy="brio-train-1", customer="juno")
    late = condition("Overdue", "True", "Overdue", "The toy was due back.", hours=3)
    status = {
        "phase": "Rented",
        "toyRef": {"name": "brio-train-1", "uid": UID},
        "dueTime": ago(hours=3),
        "conditions": [late],
    }
    return there(order, status, days=3)  # type: ignore[no-any-return] # it is what went in


def payment() -> Payment:
    captured = condition("Ready", "True", "Captured", "18,000 KRW was taken.", minutes=12)
    status = {"phase": "Captured", "capturedMinorUnits": 18000, "conditions": [captured]}
    made = objects.payment("mina-bike-7d2f0a1c", rental=bike(), amount=18000)
    return there(made, status, minutes=12)  # type: ignore[no-any-return] # it is what went in


def seen() -> Seen:
    gateway: PaymentGateway = there(
        objects.gateway("simulator", "http://127.0.0.1:8790"), {"circuit": "Closed"}, days=9
    )
    wheel = objects.ticket("wheel", toy="bobby-car", description="The left front wheel is loose.")
    store: Store = there(objects.store(gateway="simulator"), {}, days=9)
    return Seen(
        toys=toys(),
        rentals=(bike(), train()),
        tickets=(there(wheel, {"phase": "Open"}, hours=5),),
        gateways=(gateway,),
        stores=(store,),
        takings=(payment(),),
    )


def life() -> Life:
    others: tuple[Resource, ...] = (toys()[7], payment())
    return Life(bike(), others, (), ())


def events() -> list[Json]:
    def event(reason: str, note: str, **since: int) -> Json:
        return {
            "regarding": {"kind": "Rental", "name": "mina-bike"},
            "eventTime": ago(**since),
            "reason": reason,
            "note": note,
        }

    return [
        event("Reserved", "Toy balance-bike is reserved for mina.", minutes=13),
        event("Paid", WAITS, minutes=12),
    ]


def drawn(what: RenderableType, width: int) -> str:
    """Return what a terminal of that width would show, without colours."""
    told = io.StringIO()
    Console(file=told, width=width, color_system=None, highlight=False).print(what)
    return "\n".join(line.rstrip() for line in told.getvalue().splitlines())


def all_screens(width: int) -> dict[str, str]:
    """Return each screen by the command that shows it."""
    entries = timeline.tell(life().everything, events())
    return {
        "status": drawn(screens.of_glance(glance("toy-library", seen()), NOW), width),
        "tree mina-bike": drawn(tree.of_life(life(), NOW), width),
        "timeline mina-bike": drawn(timeline.of_entries(entries, ()), width),
        "toys": drawn(screens.of_toys(toys()[6:], NOW), screens.UNWRAPPED),
    }


def page() -> str:
    """Return the part of the page that shows the screens."""
    blocks = [
        f"```console\n$ kubectl toyrental {command}\n{screen}\n```"
        for command, screen in all_screens(80).items()
    ]
    wide = all_screens(120)["status"]
    blocks += ["And on a terminal of 120 columns:", f"```console\n{wide}\n```"]
    return "\n\n".join(blocks)


BEGIN = "<!-- begin: screens, made by `python -m tests.plugin.screens` -->\n"
END = "\n<!-- end: screens -->"


def with_screens(text: str) -> str:
    """Return the page with the screens as they are now."""
    pattern = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    return pattern.sub(lambda _: BEGIN + page() + END, text)


if __name__ == "__main__":
    PAGE.write_text(with_screens(PAGE.read_text()))
