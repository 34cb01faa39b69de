"""`toys`: the stock, a toy a line."""

from difflib import get_close_matches
from typing import Any

from toyrental.kube.errors import NotFound
from toyrental.plugin.api import Api
from toyrental.plugin.near import check_namespace, not_there
from toyrental.plugin.options import Failure, Target
from toyrental.plugin.output import show_objects
from toyrental.plugin.shop import not_installed
from toyrental.shared.clock import utc_now
from toyrental.stores.models import Toy, ToyPhase

Json = dict[str, Any]
PLURAL = Toy.SERVED.plural


def show(
    api: Api, target: Target, names: tuple[str, ...], selector: str, state: str | None
) -> None:
    """Show the toys that were asked for. Raises ApiError and Failure."""
    shop = None if target.all_namespaces else api.access.namespace
    if names:
        found = [_named(api, api.access.namespace, name) for name in names]
    else:
        found = _listed(api, shop, selector, _phase(state))
    if not found and shop and not selector and not state:
        check_namespace(api, shop)
    if target.output in {"json", "yaml", "name"}:
        show_objects(found, target.output)
        return
    _draw(found, target, shop)


def _named(api: Api, shop: str, name: str) -> Json:
    try:
        return api.get(PLURAL, shop, name)
    except NotFound as error:
        raise not_there(api, PLURAL, shop, name) from error


def _listed(api: Api, shop: str | None, selector: str, fields: str) -> list[Json]:
    pages = api.pages(PLURAL, shop, labelSelector=selector, fieldSelector=fields)
    try:
        return [item for page in pages for item in page["items"]]
    except NotFound as error:
        raise not_installed(PLURAL) from error


def _phase(state: str | None) -> str:
    """Return the field selector of a state. Raises Failure where there is no such state."""
    if state is None:
        return ""
    known = {phase.lower(): phase for phase in ToyPhase}
    if state.lower() in known:
        return f"status.phase={known[state.lower()]}"
    near = get_close_matches(state.lower(), known, n=1)
    hint = f"did you mean {known[near[0]]}?" if near else f"there are {', '.join(ToyPhase)}"
    raise Failure(f"a toy has no state {state}; {hint}", code=2)


def _draw(found: list[Json], target: Target, shop: str | None) -> None:
    from toyrental.plugin import screens  # noqa: PLC0415 # the other formats do without

    console = screens.listing_console()
    if not found:
        console.print(f"No such toys in shop {shop}." if shop else "No such toys.")
        return
    wide = target.output == "wide"
    toys = map(Toy.model_validate, found)
    table = screens.of_toys(toys, utc_now(), wide=wide, everywhere=target.all_namespaces)
    console.print(table)
