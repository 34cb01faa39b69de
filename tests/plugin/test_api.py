"""The client against a server that asks for certificates: the tests' API server takes tokens."""

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from toyrental.kube.errors import ApiError, Unavailable
from toyrental.plugin.api import Api, plain
from toyrental.plugin.kubeconfig import Access

NAME = "api.example.org"


class Server(ThreadingHTTPServer):
    """Answers who signed in by a client certificate, and only to those with today's token."""

    token = "today"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        told = self.headers.get("Authorization") == f"Bearer {self.server.token}"
        answer = {"message": "Unauthorized", "reason": "Unauthorized"}
        body = json.dumps({"groups": self.headers.get_all("Impersonate-Group")} if told else answer)
        self.send_response(200 if told else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NAME).configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def access(
    server: Server, authority: trustme.CA, *, day: str = "today", name: str = NAME
) -> Access:
    mine = authority.issue_cert("mina@example.org")
    return Access(
        server=f"https://127.0.0.1:{server.server_address[1]}",
        namespace="x",
        ca=authority.cert_pem.bytes().decode(),
        headers=(
            ("Authorization", f"Bearer {day}"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b"),
        ),
        certificate=mine.cert_chain_pems[0].bytes().decode(),
        key=mine.private_key_pem.bytes().decode(),
        server_name=name,
    )


def test_a_client_certificate_is_shown_and_the_servers_is_checked(
    server: Server, authority: trustme.CA
) -> None:
    with Api(lambda: access(server, authority)) as api:
        assert api.request("GET", "/", "asking") == {"groups": ["a", "b"]}
    without = replace(access(server, authority), certificate="")
    for wrong in (without, access(server, authority, name="other.example.org")):
        with Api(partial(replace, wrong)) as api, pytest.raises(Unavailable):
            api.request("GET", "/", "asking")


def test_credentials_that_are_refused_are_read_again_once(
    server: Server, authority: trustme.CA
) -> None:
    tokens = iter(("yesterday", "today"))
    with Api(lambda: access(server, authority, day=next(tokens))) as api:
        assert api.request("GET", "/", "asking") == {"groups": ["a", "b"]}
    tokens = iter(("yesterday", "the day before"))
    with (
        Api(lambda: access(server, authority, day=next(tokens))) as api,
        pytest.raises(ApiError) as refused,
    ):
        api.request("GET", "/", "asking")
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("message", "causes", "told"),
    [
        (
            'Rental "a" is invalid: <nil>: Invalid value: null: pay first',
            [
                {
                    "reason": "FieldValueInvalid",
                    "field": "<nil>",
                    "message": "Invalid value: pay first",
                }
            ],
            "pay first",
        ),
        (
            "rentals 'a' is forbidden: policy 'p' denied request: order for yourself",
            [],
            "order for yourself",
        ),
        ('rentals is forbidden: User "a" cannot', [], 'rentals is forbidden: User "a" cannot'),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_rule(
    message: str, causes: list[dict[str, str]], told: str
) -> None:
    assert plain({"message": message, "details": {"causes": causes}}) == told
