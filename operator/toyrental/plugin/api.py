"""Requests of the API server by Python's own HTTP client, which loads in a tenth of others' time.

One connection, kept open. Every method raises a `kube.errors.ApiError` where the API server does
not do what was asked, with its own words for why.
"""

import http.client
import json
import os
import re
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from toyrental.kube import errors
from toyrental.plugin.kubeconfig import Access, NoAccess
from toyrental.shared.resource import GROUP, VERSION

Json = dict[str, Any]

TIMEOUT_SECONDS = 30
WATCH_SECONDS = 240
"""After how long the API server ends a watch; whoever still waits opens another one."""
PAGE = 500
NAMES_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

_UNAUTHORIZED = 401
_NOT_FOUND = 404
_GONE = 410
_BAD_REQUEST = 400


class Api:
    """One API server, as one user."""

    def __init__(self, connect: Callable[[], Access]) -> None:
        """Take what reads the credentials: once now, and again where they are refused."""
        self._connect = connect
        self.access = connect()
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def another(self) -> "Api":
        """Return the same on a connection of its own, for another thread."""
        other = Api(lambda: self.access)
        other._connect = self._connect
        return other

    # --- Objects ---

    def get(self, plural: str, namespace: str, name: str) -> Json:
        """Return an object as it is now."""
        what = f"reading {_one(plural)} {name}"
        return self.request("GET", path(plural, namespace, name), what)

    def pages(self, plural: str, namespace: str | None, **query: str) -> Iterator[Json]:
        """Yield the pages of a list, each with `items`; with no namespace, of all."""
        asked = {name: value for name, value in query.items() if value} | {"limit": str(PAGE)}
        while True:
            page = self.request("GET", path(plural, namespace), f"listing {plural}", query=asked)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            asked["continue"] = token

    def names(self, plural: str, namespace: str) -> list[str]:
        """Return the names of the objects of a kind, the first 500 of them."""
        query = {"limit": str(PAGE)}
        where = path(plural, namespace)
        page = self.request("GET", where, f"listing {plural}", query=query, accept=NAMES_ONLY)
        return [item["metadata"]["name"] for item in page["items"]]

    def watch(  # what a watch is
        self,
        plural: str,
        namespace: str,
        version: str,
        *,
        fields: str = "",
        seconds: int = WATCH_SECONDS,
    ) -> Iterator[Json]:
        """Yield the events of a watch from a version on, for so many seconds at most.

        Raises errors.ApiError with status 410 where the version is too old to watch from.
        """
        query = {
            "watch": "1",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        } | ({"fieldSelector": fields} if fields else {})
        what = f"watching {plural}"
        response = self._send("GET", path(plural, namespace), what, query=query)
        if response.status >= _BAD_REQUEST:
            raise _refusal(what, response)
        if self._connection is not None:
            self._connection.sock.settimeout(seconds + TIMEOUT_SECONDS)
        try:
            while line := response.readline():
                event: Json = json.loads(line)
                if event["type"] == "ERROR":
                    code = event["object"].get("code", _GONE)
                    raise errors.from_answer(what, code, event["object"])
                yield event
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise errors.Unavailable(what, f"the API server broke off: {error}") from error
        finally:
            self.close()

    def user(self) -> str:
        """Return the name that the API server knows the user by."""
        kind = "SelfSubjectReview"
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": kind}
        where = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        answer = self.request("POST", where, "asking who you are", body=review)
        return str(answer["status"]["userInfo"]["username"])

    # --- Requests ---

    def request(  # noqa: PLR0913 # what a request is
        self,
        method: str,
        where: str,
        what: str,
        *,
        body: Json | None = None,
        query: dict[str, str] | None = None,
        accept: str = "application/json",
    ) -> Json:
        """Send a request and return the answer; `what` says in an error what was being done."""
        response = self._send(method, where, what, body=body, query=query, accept=accept)
        if response.status >= _BAD_REQUEST:
            raise _refusal(what, response)
        try:
            content: Json = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise errors.Unavailable(what, f"the answer cannot be read: {error}") from error
        return content

    def _send(  # noqa: PLR0913 # what a request is
        self,
        method: str,
        where: str,
        what: str,
        *,
        body: Json | None = None,
        query: dict[str, str] | None = None,
        accept: str = "application/json",
    ) -> http.client.HTTPResponse:
        target = where + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": accept, "User-Agent": "kubectl-toyrental"}
        if data is not None:
            patch = "merge-patch+" if method == "PATCH" else ""
            headers["Content-Type"] = f"application/{patch}json"
        try:
            response = self._once(method, target, data, headers)
            if response.status == _UNAUTHORIZED and self._signed_in_anew(response):
                response = self._once(method, target, data, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise errors.Unavailable(what, f"no answer from {self.access.server}: {why}") from error
        return response

    def _once(
        self, method: str, target: str, data: bytes | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = _open(self.access)
        connection = self._connection
        connection.putrequest(method, target)
        for name, value in (*headers.items(), *self.access.headers):
            connection.putheader(name, value)
        if data is not None:
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        return connection.getresponse()

    def _signed_in_anew(self, refused: http.client.HTTPResponse) -> bool:
        """Tell whether there are other credentials by now than those refused."""
        found = self._connect()
        if found == self.access:
            return False
        refused.read()
        self.close()
        self.access = replace(found, namespace=self.access.namespace)
        return True


def path(plural: str, namespace: str | None, name: str = "") -> str:
    """Return where a kind of ours is served, or one object of it."""
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}{within}/{plural}" + (f"/{name}" if name else "")


def _one(plural: str) -> str:
    return plural.removesuffix("s")


def _refusal(what: str, response: http.client.HTTPResponse) -> errors.ApiError:
    try:
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        answer = {}
    if isinstance(answer, dict) and "message" in answer:
        answer["message"] = plain(answer)
    return errors.from_answer(what, response.status, answer)


def plain(answer: Json) -> str:
    """Return why the API server refused, in the words of the rule or policy that did."""
    message = str(answer["message"])
    by_policy = re.search(r"denied request: (.+)", message, re.DOTALL)
    if by_policy:
        return by_policy[1]
    causes = (answer.get("details") or {}).get("causes") or ()
    told = [_cause(each) for each in causes if each.get("reason") == "FieldValueInvalid"]
    return "; ".join(dict.fromkeys(told)) or message


def _cause(cause: Json) -> str:
    """Return the rule's message without the value it was about, which people know."""
    message = str(cause.get("message", ""))
    field = cause.get("field", "")
    words = re.sub(r'^Invalid value: (?:"(?:[^"\\]|\\.)*"|\S+): ', "", message)
    words = words.removeprefix("Invalid value: ")
    where = f"{field}: " if field not in {"", "<nil>"} and words == message else ""
    return where + words


class _Https(http.client.HTTPSConnection):
    """A connection that may expect another name in the certificate than that of the host."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, server_name: str) -> None:
        super().__init__(host, port, timeout=TIMEOUT_SECONDS, context=tls)
        self._tls, self._name = tls, server_name or host

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def _open(access: Access) -> http.client.HTTPConnection:
    url = urlsplit(access.server)
    host, port = url.hostname, url.port or (80 if url.scheme == "http" else 443)
    if url.scheme not in {"http", "https"} or not host:
        raise NoAccess(f"the server {access.server} in the kubeconfig is no http or https address")
    if url.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    proxy = urlsplit(_proxy(access, host))
    to, at = (proxy.hostname, proxy.port or 80) if proxy.hostname else (host, port)
    connection = _Https(to, at, _tls(access), access.server_name or host)
    if proxy.hostname:
        connection.set_tunnel(host, port)
    return connection


def _proxy(access: Access, host: str) -> str:
    found = access.proxy or _proxy_of_the_environment(host)
    if found and urlsplit(found).scheme != "http":
        raise NoAccess(f"the proxy {found} is not supported: it should be an http:// address")
    return found


def _proxy_of_the_environment(host: str) -> str:
    if not any(name.lower() == "https_proxy" for name in os.environ):
        return ""
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 # dear, seldom needed

    return "" if proxy_bypass(host) else getproxies().get("https", "")


def _tls(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=access.ca or None)
    if access.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.certificate:
        # ssl reads certificates from files only; this one is private, and gone at once.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as both:
            both.write(f"{access.certificate}\n{access.key}")
            both.flush()
            context.load_cert_chain(both.name)
    return context
