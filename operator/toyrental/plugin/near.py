"""Names that are not there, and those that may have been meant."""

from difflib import get_close_matches

from toyrental.kube.errors import ApiError, NotFound
from toyrental.plugin.api import Api
from toyrental.plugin.options import Failure
from toyrental.plugin.shop import not_installed

_NAMESPACES = "/api/v1/namespaces"


def not_there(api: Api, plural: str, shop: str, name: str) -> Failure:
    """Return what to say of an object that is not there."""
    kind = plural.removesuffix("s")
    try:
        names = api.names(plural, shop)
    except NotFound:
        return not_installed(plural)
    except ApiError:
        names = []
    else:
        check_namespace(api, shop)
    return Failure(f"there is no {kind} {name} in shop {shop}{_hint(name, names)}")


def check_namespace(api: Api, shop: str) -> None:
    """Raise a Failure where there is no such namespace, as far as the person may know."""
    try:
        api.request("GET", f"{_NAMESPACES}/{shop}", f"reading namespace {shop}")
    except NotFound as error:
        raise Failure(f"there is no shop {shop}{_hint(shop, namespaces(api))}") from error
    except ApiError:
        return


def namespaces(api: Api) -> list[str]:
    """Return the names of all namespaces, or none where the person may not list them."""
    try:
        found = api.request("GET", _NAMESPACES, "listing namespaces")
    except ApiError:
        return []
    return [item["metadata"]["name"] for item in found["items"]]


def _hint(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
