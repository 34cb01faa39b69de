"""What can go wrong between the operator and the API server.

ApiError
├── NotFound        there is no such object (any more)
├── AlreadyExists   an object of that name is there
├── Conflict        the object has changed since it was read
├── Invalid         the API server's rules refuse the write
├── Forbidden       the operator may not do that, or a policy refuses it
│   └── ShopEnding  the namespace is being deleted: nothing new can be made in it
├── Unavailable     no answer, or "later": the same may work in a while
└── NotLeading      not sent: this process does not lead, or not any more
"""

from typing import Any


class ApiError(Exception):
    """The API server did not do what was asked; `str()` says what and why."""

    def __init__(self, what: str, why: str, status: int | None = None) -> None:
        super().__init__(f"{what}: {why}")
        self.status = status


class NotFound(ApiError):
    """There is no such object (any more)."""


class AlreadyExists(ApiError):
    """An object of that name is there."""


class Conflict(ApiError):
    """The object has changed since it was read."""


class Invalid(ApiError):
    """The API server's rules refuse the write."""


class Forbidden(ApiError):
    """The operator may not do that, or a policy refuses it."""


class ShopEnding(Forbidden):
    """The namespace is being deleted: nothing new can be made in it, and soon nothing is left."""


class Unavailable(ApiError):
    """No answer, or "later": the same may work in a while."""


class NotLeading(ApiError):
    """Not sent: this process does not lead, or not any more. Whoever leads goes on."""


_BY_REASON: dict[str, type[ApiError]] = {
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Invalid": Invalid,
    "Forbidden": Forbidden,
}

_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


def from_answer(what: str, status: int, answer: Any) -> ApiError:
    """Return the error that an answer of the API server (a `Status` object) stands for."""
    told = answer if isinstance(answer, dict) else {}
    why = str(told.get("message") or f"the API server answered {status}")
    if status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR:
        return Unavailable(what, why, status)
    if "NamespaceTerminating" in _causes(told):
        return ShopEnding(what, why, status)
    return _BY_REASON.get(str(told.get("reason")), ApiError)(what, why, status)


def _causes(told: dict[str, Any]) -> set[str]:
    """Return what the API server names as the causes of a refusal, beside its reason."""
    details = told.get("details") or {}
    return {str(cause.get("reason")) for cause in details.get("causes") or ()}
