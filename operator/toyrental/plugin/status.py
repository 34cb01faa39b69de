"""`status`: the shop at a glance."""

import sys

from toyrental.plugin.api import Api
from toyrental.plugin.glance import Glance, document, glance
from toyrental.plugin.near import check_namespace
from toyrental.plugin.options import Target
from toyrental.plugin.output import show
from toyrental.plugin.shop import Seen, read
from toyrental.shared.clock import utc_now
from toyrental.shared.resource import Resource


def show_one(api: Api, target: Target) -> bool:
    """Show one shop; tell whether all of it could be read. Raises ApiError and Failure."""
    shop = api.access.namespace
    seen = read(api, shop)
    if not (seen.toys or seen.rentals or seen.stores):
        check_namespace(api, shop)
    found = glance(shop, seen, f" -n {shop}" if target.namespace else "")
    _print([found], target)
    return not found.complaints


def show_all(api: Api, target: Target) -> bool:
    """Show every shop in a line; tell whether all could be read. Raises ApiError and Failure."""
    seen = read(api, None)
    found = [glance(name, part, f" -n {name}") for name, part in _by_shop(seen).items()]
    _print(found, target, complaints=seen.complaints)
    return not seen.complaints


def _print(found: list[Glance], target: Target, complaints: tuple[str, ...] = ()) -> None:
    match target.output:
        case "json" | "yaml":
            documents = [document(each) for each in found]
            content = {"shops": documents, "notShown": list(complaints)}
            show(content if target.all_namespaces else documents[0], target.output)
        case "name":
            names = (attention.object for each in found for attention in each.attention)
            sys.stdout.writelines(f"{name}\n" for name in dict.fromkeys(names))
        case _:
            _draw(found, target, complaints)


def _draw(found: list[Glance], target: Target, complaints: tuple[str, ...]) -> None:
    from toyrental.plugin import screens  # noqa: PLC0415 # the other formats do without

    if not target.all_namespaces:
        wide = target.output == "wide"
        screens.console().print(screens.of_glance(found[0], utc_now(), wide=wide))
        return
    console = screens.listing_console()
    console.print(screens.of_shops(found) if found else "There is no shop yet.")
    if complaints:
        console.print(screens.complaints(complaints))


def _by_shop(seen: Seen) -> dict[str, Seen]:
    """Return what was seen of all shops, a part a shop."""
    groups = ("toys", "rentals", "tickets", "gateways", "stores", "payments")
    lists: dict[str, tuple[Resource, ...] | None] = {name: getattr(seen, name) for name in groups}
    shops = sorted({each.namespace for found in lists.values() for each in found or ()})

    def part(shop: str, found: tuple[Resource, ...] | None) -> tuple[Resource, ...] | None:
        return None if found is None else tuple(each for each in found if each.namespace == shop)

    return {
        shop: Seen()._replace(**{name: part(shop, found) for name, found in lists.items()})  # type: ignore[arg-type] # each list keeps its kind
        for shop in shops
    }
