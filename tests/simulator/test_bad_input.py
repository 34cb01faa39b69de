import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.running import Running, charge_of, error_of, metadata

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def post(simulator: Running, body: bytes, **headers: str) -> httpx.Response:
    return simulator.client.post(
        "/v1/charges",
        headers={"Idempotency-Key": "bad", "Content-Type": "application/json"} | headers,
        content=body,
    )


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": "15000"}, "amount"),
        ({"amount": 15000.0}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 10**12}, "amount"),
        ({"amount": 10**400}, "amount"),
        ({"currency": "krw"}, "currency"),
        ({"currency": "WON!"}, "currency"),
        ({"method": ""}, "method"),
        ({"customer": "x" * 256}, "customer"),
        ({"metadata": {"paymentUID": "p"}}, "metadata.rentalUID"),
        ({"metadata": {"payment_uid": "p", "rentalUID": "r"}}, "metadata.paymentUID"),
        ({"metadata": metadata() | {"note": 1}}, "metadata.note"),
        ({"metadata": metadata() | {"note": "x" * 501}}, "metadata.note"),
        ({"metadata": metadata() | {"k" * 41: "x"}}, "metadata"),
        ({"metadata": metadata() | {f"k{n}": "x" for n in range(51)}}, "metadata"),
        ({"amuont": 1}, "amuont"),
    ],
)
def test_a_wrong_field_is_named(shared: Running, changes: dict[str, Any], param: str) -> None:
    answer = shared.charge("bad", **changes)
    assert answer.status_code == 400
    error = error_of(answer)
    assert (error["type"], error["code"]) == ("invalid_request_error", "parameter_invalid")
    assert error["param"] == param
    assert error["message"].startswith(param)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b'"text"', b'{"amount": NaN}', b"[" * 5000],
)
def test_a_body_that_is_no_such_object_is_refused(shared: Running, body: bytes) -> None:
    answer = post(shared, body)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "parameter_invalid"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_is_not_declared_as_json_is_refused(shared: Running, content_type: str) -> None:
    answer = post(shared, json.dumps(charge_of()).encode(), **{"Content-Type": content_type})
    assert answer.status_code == 415
    assert "application/json" in error_of(answer)["message"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(shared: Running, chunked: bool) -> None:
    def in_chunks() -> Iterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    answer = shared.client.post(
        "/v1/charges",
        headers={"Idempotency-Key": "bad", "Content-Type": "application/json"},
        content=in_chunks() if chunked else b"".join(in_chunks()),
    )
    assert answer.status_code == 413
    assert error_of(answer)["code"] == "body_too_large"


def test_a_body_that_ends_too_soon_is_no_failure(shared: Running) -> None:
    # When a caller breaks off in the middle of a body
    url = httpx.URL(shared.url)
    assert url.port
    with socket.create_connection((url.host, url.port)) as caller:
        caller.sendall(
            b"POST /v1/charges HTTP/1.1\r\nHost: simulator\r\nIdempotency-Key: broken-off\r\n"
            b'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"amount": 15000'
        )
        caller.shutdown(socket.SHUT_WR)
        caller.recv(1024)
    # Then the whole request may still come
    assert shared.charge("broken-off").status_code == 200


@pytest.mark.parametrize(
    "key", [None, b"", b"k" * 256, b"two words", "schlüssel".encode("latin-1")]
)
def test_a_missing_or_wrong_key_is_refused(shared: Running, key: bytes | None) -> None:
    headers = {} if key is None else {b"Idempotency-Key": key}
    answer = shared.client.post("/v1/charges", headers=headers, json=charge_of())
    assert answer.status_code == 400
    assert error_of(answer)["param"] == "Idempotency-Key"


def test_two_keys_are_refused(shared: Running) -> None:
    answer = shared.client.post(
        "/v1/charges",
        headers=[("Idempotency-Key", "one"), ("Idempotency-Key", "two")],
        json=charge_of(),
    )
    assert answer.status_code == 400


def test_the_longest_key_is_taken(shared: Running) -> None:
    assert shared.charge("k" * 255).status_code == 200


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("paymentUid=typo", "paymentUid"),
        ("payment_uid=snake", "payment_uid"),
        ("paymentUID=", "paymentUID"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
    ],
)
def test_a_wrong_query_is_refused_rather_than_ignored(
    shared: Running, query: str, param: str
) -> None:
    for path in ("/v1/charges", "/v1/refunds"):
        answer = shared.client.get(f"{path}?{query}")
        assert answer.status_code == 400
        assert error_of(answer)["param"] == param


def test_a_query_parameter_given_twice_is_refused(shared: Running) -> None:
    assert shared.client.get("/v1/charges?paymentUID=a&paymentUID=b").status_code == 400


@pytest.mark.parametrize("path", ["/", "/v2/charges", "/v1/charges/", "/v1/charges/a/b"])
def test_an_unknown_path_is_not_found(shared: Running, path: str) -> None:
    answer = shared.client.get(path)
    assert answer.status_code == 404
    assert "/v1/charges" in error_of(answer)["message"]


def test_a_wrong_method_is_told_the_right_ones(shared: Running) -> None:
    answer = shared.client.delete("/v1/charges")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert error_of(answer)["code"] == "method_unsupported"


@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_sent_the_answer_is_a_clear_error(shared: Running, body: bytes) -> None:
    answer = post(shared, body)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "parameter_invalid"


@settings(max_examples=150, deadline=None)
@given(
    field=st.sampled_from(["amount", "currency", "method", "customer", "metadata"]),
    value=JSON_VALUES,
)
def test_whatever_a_field_holds_the_answer_is_no_failure(
    shared: Running, field: str, value: Any
) -> None:
    body = json.dumps(charge_of() | {field: value}).encode()
    answer = post(shared, body)
    assert answer.status_code in {200, 400}


def test_no_bad_input_left_a_trace(shared: Running) -> None:
    assert "Traceback" not in shared.errors.read_text()
    assert "bug" not in shared.errors.read_text()
