"""What is narrowed, and that nothing gets out of it: as pure functions."""

import re
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toyrental.customer_proxy import rules
from toyrental.customer_proxy.rules import OneRental, OwnRentals, Passed

GROUP = "/apis/toyrental.dev/v1alpha1"
SHOP = f"{GROUP}/namespaces/maple"
NASTY = st.text(st.sampled_from("\\,=!ab&%;+ \0\u1234"), max_size=12)


def terms(selector: str) -> list[str]:
    """Part a field selector as Kubernetes does: at commas that no backslash stands before."""
    return re.findall(r"(?:[^\\,]|\\.)+", selector, re.DOTALL)


def unescaped(value: str) -> str:
    """Read a value as Kubernetes does; fails where it has what must be escaped."""
    assert not re.search(r"[,=]", re.sub(r"\\.", "", value, flags=re.DOTALL))
    return re.sub(r"\\([\\,=])", r"\1", value)


@given(customer=NASTY, selector=NASTY, name=NASTY)
@example(customer="mina\\", selector="spec.customer=joon", name="x")
@example(customer="mina,spec.customer=joon", selector="\\", name="a,spec.customer=joon")
def test_the_first_term_is_always_the_customer_and_nothing_else(
    customer: str, selector: str, name: str
) -> None:
    lists = (
        (rules.own_list([("fieldSelector", selector)], customer), "spec.customer="),
        (rules.own_one([], customer, name), "spec.customer="),
        (rules.anothers(customer, name), "spec.customer!="),
    )
    for query, begins in lists:
        assert [key for key, _ in query].count("fieldSelector") == 1
        sent = dict(parse_qsl(urlencode(query), keep_blank_values=True))["fieldSelector"]
        first = terms(sent)[0]
        assert first.startswith(begins)
        assert unescaped(first.removeprefix(begins)) == customer


@given(st.lists(st.tuples(st.sampled_from(["watch", "limit", "Watch", "shardSelector"]), NASTY)))
def test_a_parameter_is_known_and_there_once(query: list[tuple[str, str]]) -> None:
    names = [name for name, _ in query if name in {"watch", "limit"}]
    if len(set(names)) < len(names):
        with pytest.raises(rules.Ambiguous, match="more than once"):
            rules.own_list(query, "mina")
    else:
        sent = [name for name, _ in rules.own_list(query, "mina")]
        assert sent == [*names, "fieldSelector"]


@pytest.mark.parametrize(
    ("method", "path", "act"),
    [
        ("GET", f"{SHOP}/rentals", OwnRentals("maple")),
        ("GET", f"{GROUP}/rentals", OwnRentals(None)),
        ("GET", f"{SHOP}/rentals/a.b-1", OneRental("maple", "a.b-1")),
        ("PATCH", f"{SHOP}/rentals/x", OneRental("maple", "x")),
        ("PUT", f"{SHOP}/rentals/x", OneRental("maple", "x")),
        ("DELETE", f"{SHOP}/rentals/x", OneRental("maple", "x")),
        ("POST", f"{SHOP}/rentals", Passed()),
        ("GET", f"{SHOP}/toys", Passed()),
        ("GET", f"{SHOP}/toys/bear", Passed()),
        ("GET", "/openapi/v3/apis/toyrental.dev/v1alpha1", Passed()),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", Passed()),
        *(("GET", path, Passed()) for path in ("/version", "/api", "/api/v1", "/apis", GROUP)),
    ],
)
def test_what_customers_may_ask(method: str, path: str, act: rules.Act) -> None:
    found = rules.judge(method, path)
    assert type(found) is type(act)
    assert found == act


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"{SHOP}/rentals"),
        ("HEAD", f"{SHOP}/rentals"),
        ("get", f"{SHOP}/rentals"),
        ("POST", f"{SHOP}/toys"),
        ("GET", f"{SHOP}/rentals/"),
        ("GET", f"{SHOP}/rentals/x/status"),
        ("PATCH", f"{SHOP}/rentals/x/status"),
        ("GET", f"{SHOP}/rentals/x%2fstatus"),
        ("GET", f"{SHOP}/toys/../rentals/x"),
        ("GET", f"{SHOP}/toys/.."),
        ("GET", f"{SHOP}//rentals"),
        ("GET", f"/{SHOP}/rentals"),
        ("GET", f"{SHOP}/Rentals"),
        ("GET", f"{SHOP}/rentals\n"),
        ("GET", f"{GROUP}/watch/namespaces/maple/rentals"),
        ("GET", f"{GROUP}/namespaces/%6daple/rentals"),
        ("GET", f"{SHOP}/payments"),
        ("GET", "/api/v1/namespaces/maple/secrets"),
        ("GET", "/openapi/v3/../../api/v1/secrets"),
        ("GET", f"https://elsewhere{SHOP}/rentals"),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
        ("GET", "/metrics"),
        ("GET", ""),
    ],
)
def test_what_is_nothing_for_customers(method: str, path: str) -> None:
    assert rules.judge(method, path) is None


@pytest.mark.parametrize(
    ("query", "watches"),
    [("", False), ("watch=true", True), ("watch=1", True), ("watch", True), ("watch=", True),
     ("watch=FALSE", False), ("watch=0", False), ("watch=no", True)],
)  # fmt: skip
def test_a_watch_is_told_as_the_api_server_tells_it(query: str, watches: bool) -> None:
    assert rules.watches(parse_qsl(query, keep_blank_values=True)) is watches


@pytest.mark.parametrize(
    ("one", "listed"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/vnd.kubernetes.protobuf, application/json", "application/json"),
        ("application/yaml", "application/json"),
        ("application/json;as=Table;v=v1;g=meta.k8s.io", None),
        (
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        ),
        (rules.LIST_OF_NAMES, None),
    ],
)
def test_a_list_of_one_is_asked_for_in_the_form_of_one(one: str, listed: str | None) -> None:
    assert rules.as_list(one) == (one if listed is None else listed)
