"""The board on a real API server: who sees and does what, and what is refused."""

from collections.abc import Callable

import pytest

from tests.board.conftest import Visitor
from tests.support import Shop, condition, objects
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket

EVIL = "<script>alert('bear')</script>"


def token_of(person: Shop) -> str:
    token = person.api._token
    assert token
    return token


@pytest.fixture(scope="module")
def owner(house: Shop) -> str:
    return token_of(house.person("hana", role="toyrental-store-owner"))


@pytest.fixture(scope="module")
def viewer(house: Shop) -> str:
    return token_of(house.person("vera", role="toyrental-viewer"))


@pytest.fixture(scope="module")
def repairer(house: Shop) -> str:
    return token_of(house.person("rob", role="toyrental-repairer"))


def paid(house: Shop, name: str, toy: str = "bear", message: str = "It is paid.") -> Rental:
    house.create(objects.rental(name, toy=toy))
    conditions = [condition("Paid", "True"), condition("Ready", "False", message=message)]
    return house.set_status(Rental, name, phase="Paid", conditions=conditions)


def test_nobody_sees_anything_before_they_sign_in(visitor: Visitor) -> None:
    answer = visitor.http.get(visitor.path)
    assert answer.url.path == "/sign-in"
    assert visitor.http.get(visitor.path + "/live").status_code == 401


@pytest.mark.parametrize("token", ["", "wrong", "two words", "한국"])
def test_a_wrong_token_is_told_apart_from_a_broken_board(visitor: Visitor, token: str) -> None:
    answer = visitor.sign_in(token)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert not visitor.http.cookies


def test_the_cookie_is_opaque_and_the_headers_are_strict(visitor: Visitor, owner: str) -> None:
    visitor.http.follow_redirects = False
    cookie = visitor.sign_in(owner).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    page = visitor.http.get(visitor.path)
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert owner not in page.text + cookie
    assert "style=" not in page.text


def test_the_owner_approves_denies_and_is_told(house: Shop, visitor: Visitor, owner: str) -> None:
    """R4: in the owner's own name, decided by the API server."""
    first, second = paid(house, "first"), paid(house, "second")
    visitor.sign_in(owner)
    assert "Order first is approved." in visitor.do("rentals/first/approve", uid=first.uid).text
    assert "Order first is approved." not in visitor.page()
    denied = visitor.do("rentals/second/deny", uid=second.uid, words=EVIL)
    assert "Order second is denied" in denied.text
    approval = house.get(Rental, "second").spec.approval
    assert approval is not None
    assert (approval.decision, approval.reason) == ("Denied", EVIL)
    # A decision is final: the API server's reason is shown
    again = visitor.do("rentals/second/approve", uid=second.uid)
    assert "the decision about an order is final" in again.text
    assert 'role="alert"' in again.text


def test_another_order_of_the_same_name_is_not_decided(
    house: Shop, visitor: Visitor, owner: str
) -> None:
    paid(house, "namesake")
    visitor.sign_in(owner)
    answer = visitor.do("rentals/namesake/approve", uid="11111111-2222-3333-4444-555555555555")
    assert "The API server refused" in answer.text
    assert house.get(Rental, "namesake").spec.approval is None


def test_the_owner_sends_a_toy_to_repair(house: Shop, visitor: Visitor, owner: str) -> None:
    """R12."""
    toy = house.create(objects.toy("train"))
    visitor.sign_in(owner)
    assert "Say in a few words" in visitor.do("toys/train/repair", uid=toy.uid, words=" ").text
    visitor.do("toys/train/repair", uid=toy.uid, words="no wheel")
    (ticket,) = [t for t in house.find(RepairTicket) if t.spec.toy_ref.name == "train"]
    assert ticket.spec.description == "no wheel"


def test_who_may_not_decide_has_no_buttons_and_is_refused(
    house: Shop, visitor: Visitor, viewer: str
) -> None:
    rental = paid(house, "looked-at")
    visitor.sign_in(viewer)
    assert "looked-at" in visitor.page()
    assert "/approve" not in visitor.page()
    answer = visitor.do("rentals/looked-at/approve", uid=rental.uid)
    assert "cannot patch resource" in answer.text
    assert house.get(Rental, "looked-at").spec.approval is None


def test_what_may_not_be_listed_is_named(visitor: Visitor, repairer: str) -> None:
    visitor.sign_in(repairer)
    page = visitor.page()
    assert "You may not see orders in this shop." in page
    assert "You may not see toys" not in page


def test_what_people_write_is_text(house: Shop, visitor: Visitor, owner: str) -> None:
    house.create(objects.toy("evil", title=EVIL))
    paid(house, "evil-order", toy="evil", message=EVIL)
    visitor.sign_in(owner)
    page = visitor.page()
    assert EVIL not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({}, {}),
        ({"csrf": "guess"}, {}),
        (None, {"Origin": "https://elsewhere.example"}),
        (None, {"Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_a_form_of_another_site_does_nothing(
    house: Shop,
    visitor: Visitor,
    owner: str,
    form: dict[str, str] | None,
    headers: dict[str, str],
) -> None:
    name = f"forged-{abs(hash((str(form), str(headers)))) % 10**8}"
    rental = paid(house, name)
    visitor.sign_in(owner)
    visitor.http.headers.update(headers)
    if form is None:
        answer = visitor.do(f"rentals/{name}/approve", uid=rental.uid)
    else:
        path = f"{visitor.path}/rentals/{name}/approve"
        answer = visitor.http.post(path, data={"uid": rental.uid} | form)
    assert answer.status_code == 403
    assert house.get(Rental, name).spec.approval is None


def test_other_shops_and_long_forms_are_refused(visitor: Visitor, owner: str) -> None:
    visitor.sign_in(owner)
    assert visitor.http.get("/shops/default").status_code == 404
    assert visitor.http.get("/shops/..%2F..").status_code == 404
    assert visitor.http.post("/sign-in", data={"token": "x" * 70_000}).status_code == 413


def test_signing_out_ends_the_session(visitor: Visitor, owner: str) -> None:
    visitor.sign_in(owner)
    kept = dict(visitor.http.cookies)
    csrf = visitor.page().split('name="csrf" value="')[1].split('"')[0]
    visitor.http.post("/sign-out", data={"csrf": csrf})
    visitor.http.cookies.update(kept)
    assert visitor.http.get("/").url.path == "/sign-in"


def test_who_does_nothing_is_signed_out(start: Callable[..., str], house: Shop, owner: str) -> None:
    visitor = Visitor(start("--idle-minutes=0.01"), house.name)
    with visitor.http:
        visitor.sign_in(owner)
        # An open page alone keeps nobody signed in
        with visitor.http.stream("GET", visitor.path + "/live", timeout=30) as answer:
            assert next(line for line in answer.iter_lines() if line == "event: ended")
        assert visitor.http.get("/").url.path == "/sign-in"


def test_an_open_page_hears_of_a_new_order(house: Shop, visitor: Visitor, owner: str) -> None:
    """R3, R10: by server-sent events, as HTML, without reloading."""
    visitor.sign_in(owner)
    with visitor.http.stream("GET", visitor.path + "/live", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(line for line in lines if line == "event: looked")
        paid(house, "heard-of")
        assert "approve" in next(line for line in lines if "heard-of" in line)
