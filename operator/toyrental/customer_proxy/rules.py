"""What customers may ask, and how that is narrowed to what is theirs. Pure."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from toyrental.rentals.models import Rental
from toyrental.shared.resource import GROUP, VERSION
from toyrental.stores.models import Toy

Query = list[tuple[str, str]]

LIST_OF_NAMES = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


class Passed(NamedTuple):
    """As the caller, whom the API server judges as ever."""


class OwnRentals(NamedTuple):
    """A list or a watch of the caller's rentals in a shop; of all shops where there is none."""

    shop: str | None


class OneRental(NamedTuple):
    """Reading one, or changing it: as the caller, unless it is another customer's."""

    shop: str
    name: str


Act = Passed | OwnRentals | OneRental


class Ambiguous(Exception):
    """A parameter is given twice; `str()` says which."""


_NAME = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_OURS = f"/apis/{GROUP}/{VERSION}"
_IN_A_SHOP = rf"{_OURS}/namespaces/(?P<shop>[a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?)"
_RENTALS = f"{_IN_A_SHOP}/{Rental.SERVED.plural}"
_SELF_REVIEWS = (
    "authentication.k8s.io/v1/selfsubjectreviews",
    "authorization.k8s.io/v1/selfsubject(access|rules)reviews",
)

_LIST = re.compile(f"({_RENTALS}|{_OURS}/{Rental.SERVED.plural})")
_ONE = re.compile(f"{_RENTALS}/(?P<name>{_NAME})")
_PASSED = {
    "GET": re.compile(
        r"/version|/api(/v1)?|/openapi/v2"
        rf"|/apis(/{_NAME}(/v\w+)?)?"
        rf"|/openapi/v3(/version|/api(/v1)?|/apis(/{_NAME}(/v\w+)?)?)?"
        rf"|{_IN_A_SHOP}/{Toy.SERVED.plural}(/{_NAME})?"
    ),
    "POST": re.compile(rf"{_RENTALS}|/apis/({'|'.join(_SELF_REVIEWS)})"),
}

_OF_A_LIST = {
    "labelSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "watch",
    "allowWatchBookmarks",
    "sendInitialEvents",
    "timeoutSeconds",
    "includeObject",
    "pretty",
}
_OF_ONE = {"resourceVersion", "includeObject", "pretty"}


def judge(method: str, path: str) -> Act | None:
    """Return what a request is, by its path as it was sent; None: nothing for customers.

    Nothing is decoded or made shorter: a path that could be spelt otherwise is no path.
    """
    if method == "GET" and (found := _LIST.fullmatch(path)):
        return OwnRentals(found["shop"])
    if method in {"GET", "PUT", "PATCH", "DELETE"} and (found := _ONE.fullmatch(path)):
        return OneRental(found["shop"], found["name"])
    passed = _PASSED.get(method)
    return Passed() if passed and passed.fullmatch(path) else None


def own_list(query: Iterable[tuple[str, str]], customer: str) -> Query:
    """Return the query of a list or watch, narrowed to a customer's. Raises Ambiguous.

    Theirs is the first term: whatever the caller's own selector is, it comes after it and can only
    narrow it further, for terms are joined by "and" alone.
    """
    given = _single(query, _OF_A_LIST | {"fieldSelector"})
    more = given.pop("fieldSelector", "")
    selector = f"spec.customer={escaped(customer)}" + (f",{more}" if more else "")
    return [*given.items(), ("fieldSelector", selector)]


def own_one(query: Iterable[tuple[str, str]], customer: str, name: str) -> Query:
    """Return the query of a list of one: that rental, if it is the customer's. Raises Ambiguous."""
    selector = f"spec.customer={escaped(customer)},metadata.name={escaped(name)}"
    return [*_single(query, _OF_ONE).items(), ("fieldSelector", selector)]


def anothers(customer: str, name: str) -> Query:
    """Return the query of a list of one: that rental, if it is another customer's."""
    selector = f"spec.customer!={escaped(customer)},metadata.name={escaped(name)}"
    return [("fieldSelector", selector), ("limit", "1")]


def watches(query: Query) -> bool:
    """Tell whether the API server takes it for a watch: the parameter is there, and not false."""
    asked = dict(query).get("watch", "false")
    return asked.lower() not in {"false", "0"}


def escaped(value: str) -> str:
    """Return a value as a field selector takes it for a value, whatever is in it."""
    return re.sub(r"[\\,=]", r"\\\g<0>", value)


def as_list(accept: str) -> str:
    """Return what to accept of a list, whose only item is then read as this accepts it: JSON."""
    wanted = [each.strip() for each in accept.split(",")]
    wanted = [
        each for each in wanted if each.startswith("application/json") and "stream" not in each
    ]
    listed = [re.sub(r"as=PartialObjectMetadata(?=;|$)", r"\g<0>List", each) for each in wanted]
    return ",".join(listed) or "application/json"


def _single(query: Iterable[tuple[str, str]], known: set[str]) -> dict[str, str]:
    """Return the parameters that are known, each given once: readers differ in which one counts."""
    given = [(name, value) for name, value in query if name in known]
    twice = [name for name, times in Counter(name for name, _ in given).items() if times > 1]
    if twice:
        raise Ambiguous(f"{twice[0]} is given more than once")
    return dict(given)
