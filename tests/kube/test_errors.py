"""What the API server's refusals are called."""

import pytest

from toyrental.kube import errors


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (404, "NotFound", errors.NotFound),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (422, "Invalid", errors.Invalid),
        (403, "Forbidden", errors.Forbidden),
        (401, "Unauthorized", errors.ApiError),
        (400, "BadRequest", errors.ApiError),
        (410, "Expired", errors.ApiError),
        (429, "TooManyRequests", errors.Unavailable),
        (500, "InternalError", errors.Unavailable),
        (503, "", errors.Unavailable),
        (504, "Timeout", errors.Unavailable),
    ],
)
def test_each_refusal_has_its_name(
    status: int, reason: str, expected: type[errors.ApiError]
) -> None:
    told = {"kind": "Status", "reason": reason, "message": "because"}
    error = errors.from_answer("writing Toy shop/bear", status, told)
    assert type(error) is expected
    assert error.status == status
    assert str(error) == "writing Toy shop/bear: because"


@pytest.mark.parametrize("answer", [None, [], "gateway down", {}, {"message": None}])
def test_an_answer_that_says_nothing_is_told_by_its_status(answer: object) -> None:
    error = errors.from_answer("reading Toy shop/bear", 502, answer)
    assert str(error) == "reading Toy shop/bear: the API server answered 502"
    assert isinstance(error, errors.Unavailable)


def test_that_a_shop_is_being_deleted_is_told_apart() -> None:
    """Retried in silence: it is nobody's fault, and ends with the shop."""
    told = {
        "reason": "Forbidden",
        "message": "because it is being terminated",
        "details": {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]},
    }
    error = errors.from_answer("creating Payment shop/order", 403, told)
    assert type(error) is errors.ShopEnding
