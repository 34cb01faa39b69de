"""`watch`: the shop at a glance on the whole screen, kept current by watches."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from toyrental.dashboards.models import Dashboard
from toyrental.kube.errors import ApiError, Forbidden
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.plugin import screens
from toyrental.plugin.api import Api
from toyrental.plugin.glance import glance
from toyrental.plugin.near import check_namespace
from toyrental.plugin.options import Failure, Target
from toyrental.plugin.shop import IN_REVIEW, LIVE_RENTALS, OPEN_TICKETS, Seen, whole_shop
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.shared.clock import utc_now
from toyrental.shared.resource import Resource
from toyrental.stores.models import Store, Toy

Json = dict[str, Any]

FRAMES_A_SECOND = 4
AGES_SECONDS = 1.0
"""How often the ages on the screen are told anew while nothing happens."""
AGAIN_SECONDS = 2.0
"""After how long a watch that broke off is tried again."""

# What is followed: where it is in Seen, the kind, and which of its objects.
KINDS: tuple[tuple[str, type[Resource], str], ...] = (
    ("toys", Toy, ""),
    ("rentals", Rental, LIVE_RENTALS),
    ("tickets", RepairTicket, OPEN_TICKETS),
    ("gateways", PaymentGateway, ""),
    ("stores", Store, ""),
    ("payments", Payment, IN_REVIEW),
    ("dashboards", Dashboard, ""),
)


class Shelf:
    """What is known of one kind, and why it is not known; its thread writes, the screen reads."""

    def __init__(self) -> None:
        self.objects: dict[str, Resource] | None = {}
        self.complaint = ""


class Follower:
    """Follows one kind in a shop from a thread of its own, and says when something changed."""

    def __init__(  # noqa: PLR0913, PLR0917 # what is followed
        self,
        api: Api,
        shop: str,
        kind: type[Resource],
        fields: str,
        shelf: Shelf,
        changed: Callable[[], None],
    ) -> None:
        self._api, self._shop, self._kind = api, shop, kind
        self._fields, self._shelf, self._changed = fields, shelf, changed

    def run(self) -> None:
        """List and watch, for as long as the process lives."""
        while True:
            try:
                self._watch(self._list())
            except Forbidden as error:
                self._shelf.objects = self._shelf.objects or None
                self._complain(str(error))
                return
            except ApiError as error:
                self._complain("" if error.status == _GONE else str(error))
                time.sleep(AGAIN_SECONDS)

    def _complain(self, words: str) -> None:
        self._shelf.complaint = words
        self._changed()

    def _list(self) -> str:
        found: dict[str, Resource] = {}
        version = ""
        pages = self._api.pages(self._kind.SERVED.plural, self._shop, fieldSelector=self._fields)
        for page in pages:
            version = page["metadata"]["resourceVersion"]
            for item in page["items"]:
                self._put(found, item)
        self._shelf.objects = found
        self._complain("")
        return version

    def _watch(self, version: str) -> None:
        while True:
            plural = self._kind.SERVED.plural
            for event in self._api.watch(plural, self._shop, version, fields=self._fields):
                item = event["object"]
                version = item["metadata"]["resourceVersion"]
                found = dict(self._shelf.objects or {})  # the screen may be reading the old one
                if event["type"] == "DELETED":
                    found.pop(item["metadata"]["name"], None)
                else:
                    self._put(found, item)
                self._shelf.objects = found
                self._changed()

    def _put(self, found: dict[str, Resource], item: Json) -> None:
        try:
            found[item["metadata"]["name"]] = self._kind.model_validate(item)
        except ValidationError:
            found.pop(item["metadata"]["name"], None)  # status says why


_GONE = 410


def follow(api: Api, target: Target) -> None:
    """Show the shop until Ctrl-C. Raises ApiError and Failure."""
    if not sys.stdout.isatty():
        raise Failure("a live view needs a terminal; use status in scripts", code=2)
    shop = api.access.namespace
    check_namespace(api, shop)
    changed = threading.Event()
    shelves = {name: Shelf() for name, _, _ in KINDS}
    for name, kind, fields in KINDS:
        follower = Follower(api.another(), shop, kind, fields, shelves[name], changed.set)
        threading.Thread(target=follower.run, name=name, daemon=True).start()
    flags, wide = f" -n {shop}" if target.namespace else "", target.output == "wide"
    console = screens.console()
    with (
        suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            view = glance(shop, seen(shelves), flags)
            live.update(_whole(screens.of_glance(view, utc_now(), wide=wide)), refresh=True)
            changed.wait(AGES_SECONDS)
            changed.clear()
            time.sleep(1 / FRAMES_A_SECOND)


def seen(shelves: dict[str, Shelf]) -> Seen:
    """Return what is known of the shop now. The money's sums are a Dashboard's, if there is one."""
    found = {
        name: None
        if shelf.objects is None
        else tuple(each for _, each in sorted(shelf.objects.items()))
        for name, shelf in shelves.items()
    }
    dashboards = found.pop("dashboards") or ()
    complaints = dict.fromkeys(shelf.complaint for shelf in shelves.values() if shelf.complaint)
    whole = whole_shop(each for each in dashboards if isinstance(each, Dashboard))
    return Seen(dashboard=whole, complaints=tuple(complaints))._replace(**found)  # type: ignore[arg-type] # each its kind


def _whole(view: RenderableType) -> RenderableType:
    return Group(Text(f"{utc_now():%H:%M:%S} UTC   Ctrl-C ends it", "dim"), view)
