"""A bounded client of the API server: few connections, kept open, and one write a request.

kopf's own patches open a TLS connection each where many objects change at once, and carry no
resourceVersion; docs/decisions tells what that costs.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import aiohttp
import kopf
from pydantic_core import from_json, to_json

from toyrental.kube import errors, metrics
from toyrental.kube.connection import AGENT, NoConnection
from toyrental.shared.resource import API_VERSION, GROUP, VERSION, Key, Resource

CONNECTIONS = 16
TIMEOUT_SECONDS = 30
PAGE = 500

logger = logging.getLogger(__name__)

Json = dict[str, Any]


class Client:
    """Requests of one API server, as one user, by a program that calls itself `agent`.

    Every method raises an `errors.ApiError` where the API server does not do what was asked.
    """

    def __init__(
        self,
        connect: Callable[[], kopf.ConnectionInfo],
        kinds: tuple[type[Resource], ...],
        agent: str = AGENT,
    ) -> None:
        self._connect = connect
        self._agent = agent
        self._plurals = {kind.SERVED.kind: kind.SERVED.plural for kind in kinds}
        self._connection = connect()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        tls = self._connection.as_ssl_context()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=tls, keepalive_timeout=60),
            headers={"User-Agent": self._agent},
            proxy=self._connection.proxy_url,
            trust_env=self._connection.trust_env,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            raise_for_status=False,
        )

    async def get(self, key: Key) -> Json:
        """Return an object as it is now."""
        return await self._request("get", key.kind, self._url(key), f"reading {key}")

    async def list(
        self, kind: str, namespace: str | None = None, *, fields: str = ""
    ) -> AsyncIterator[Json]:
        """Yield the pages of a list, each with its `items` and the list's resourceVersion.

        With `fields`, a field selector, only of what matches it.
        """
        url = self._collection(kind, namespace)
        params: dict[str, str] = {"limit": str(PAGE)} | (
            {"fieldSelector": fields} if fields else {}
        )
        while True:
            page = await self._request("list", kind, url, f"listing {kind}", params=params)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            params["continue"] = token

    async def create(self, resource: Resource) -> Json:
        """Create an object and return it."""
        served = resource.SERVED
        body = {"apiVersion": API_VERSION, "kind": served.kind, **_to_create(resource)}
        url = self._collection(served.kind, resource.namespace)
        what = f"creating {resource.key}"
        return await self._request("create", served.kind, url, what, body=body)

    async def patch(self, key: Key, change: Json, subresource: str = "") -> Json:
        """Merge a change into an object, and return it.

        With `metadata.resourceVersion` in it, the change is refused where the object is newer.
        """
        url = self._url(key) + (f"/{subresource}" if subresource else "")
        return await self._request("patch", key.kind, url, f"writing {key}", body=change)

    async def get_secret(self, namespace: str, name: str) -> Json:
        """Return a Secret; its data is never logged, nor part of an error."""
        url = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        return await self._request("get", "Secret", url, f"reading Secret {namespace}/{name}")

    async def create_event(self, namespace: str, event: Json) -> None:
        """Create an Event of events.k8s.io/v1."""
        url = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        await self._request("create", "Event", url, "recording an Event", body=event)

    async def get_lease(self, namespace: str, name: str) -> Json:
        """Return a Lease."""
        url = f"{_leases(namespace)}/{name}"
        return await self._request("get", "Lease", url, f"reading the Lease {namespace}/{name}")

    async def create_lease(self, namespace: str, name: str, spec: Json, notes: Json) -> Json:
        """Create a Lease with these annotations, and return it."""
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        body = {**kind, "metadata": {"name": name, "annotations": notes}, "spec": spec}
        what = f"creating the Lease {namespace}/{name}"
        return await self._request("create", "Lease", _leases(namespace), what, body=body)

    async def patch_lease(
        self, namespace: str, name: str, version: str, spec: Json, notes: Json
    ) -> Json:
        """Change that very version of a Lease, its annotations as well, and return it."""
        url = f"{_leases(namespace)}/{name}"
        what = f"writing the Lease {namespace}/{name}"
        body = {"metadata": {"resourceVersion": version, "annotations": notes}, "spec": spec}
        return await self._request("patch", "Lease", url, what, body=body)

    async def served_kinds(self) -> frozenset[str]:
        """Return the kinds of our group that the API server serves."""
        try:
            path = f"/apis/{GROUP}/{VERSION}"
            found = await self._request("get", "APIResourceList", path, "looking for the CRDs")
        except errors.ApiError as error:
            # Of a group it does not know the API server says so in plain text.
            if error.status != _NOT_FOUND:
                raise
            return frozenset()
        return frozenset(entry["kind"] for entry in found["resources"])

    async def who_am_i(self) -> str:
        """Return the name of the user that the API server takes the credentials for."""
        kind, what = "SelfSubjectReview", "asking who this is"
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": kind}
        url = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        answer = await self._request("create", kind, url, what, body=review)
        return str(answer["status"]["userInfo"]["username"])

    async def allowed(
        self, verb: str, group: str, resource: str, namespace: str | None, name: str = ""
    ) -> bool:
        """Tell whether the operator may do that; without a name: to all of them."""
        resource, _, subresource = resource.partition("/")
        attributes = {
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
            "namespace": namespace or "",
            "name": name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        url = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        kind, what = review["kind"], "asking for permissions"
        answer = await self._request("create", str(kind), url, what, body=review)
        return bool(answer["status"]["allowed"])

    def _url(self, key: Key) -> str:
        return f"{self._collection(key.kind, key.namespace)}/{key.name}"

    def _collection(self, kind: str, namespace: str | None) -> str:
        where = f"/namespaces/{namespace}" if namespace else ""
        return f"/apis/{GROUP}/{VERSION}{where}/{self._plurals[kind]}"

    async def _request(  # noqa: PLR0913 # what a request is
        self,
        verb: str,
        kind: str,
        path: str,
        what: str,
        *,
        body: Json | None = None,
        params: dict[str, str] | None = None,
    ) -> Json:
        used = self._connection
        status, answer = await self._measured(verb, kind, path, what, body, params)
        if status == _UNAUTHORIZED and await self._signed_in_anew(used):
            status, answer = await self._measured(verb, kind, path, what, body, params)
        if status >= _BAD_REQUEST:
            raise errors.from_answer(what, status, answer)
        return answer

    async def _measured(  # noqa: PLR0913, PLR0917 # what a request is
        self,
        verb: str,
        kind: str,
        path: str,
        what: str,
        body: Json | None,
        params: dict[str, str] | None,
    ) -> tuple[int, Json]:
        begun, code = time.monotonic(), "none"
        try:
            status, answer = await self._send(_METHODS[verb], path, what, body, params)
            code = str(status)
            return status, answer
        finally:
            metrics.REQUESTS.labels(verb, kind, code).inc()
            metrics.REQUEST_SECONDS.labels(verb).observe(time.monotonic() - begun)

    async def _send(
        self, method: str, path: str, what: str, body: Json | None, params: dict[str, str] | None
    ) -> tuple[int, Json]:
        if self._session is None:
            raise RuntimeError("the client is used as a context manager")
        headers = self._connection.as_http_headers()
        data = None
        if body is not None:
            data = to_json(body)
            kind = "merge-patch+json" if method == "PATCH" else "json"
            headers["Content-Type"] = f"application/{kind}"
        url = self._connection.server.rstrip("/") + path
        try:
            async with self._session.request(
                method, url, data=data, params=params, headers=headers
            ) as response:
                return response.status, await _content(response)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise errors.Unavailable(what, f"no answer from {url}: {why}") from error

    async def _signed_in_anew(self, refused: kopf.ConnectionInfo) -> bool:
        """Read the credentials again, and tell whether there are others than those refused.

        A service account's token changes while the pod runs, and so may a client certificate.
        """
        if self._connection is not refused:
            return True
        try:
            found = self._connect()
        except NoConnection as error:
            logger.warning("the credentials were refused and cannot be read again: %s", error)
            return False
        if found == refused:
            return False
        self._connection = found
        if replace(found, token=None) != replace(refused, token=None):
            await self._open_anew()
        return True

    async def _open_anew(self) -> None:
        """Connect with the certificates that hold now."""
        old, self._session = self._session, self._open()
        if old is not None:
            await old.close()


def _leases(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


async def _content(response: aiohttp.ClientResponse) -> Json:
    """Return the JSON of an answer. Of a refusal, whoever is in between may have sent anything."""
    try:
        content: Json = from_json(await response.read())
    except ValueError:
        if response.ok:
            raise
        return {}
    return content


_METHODS = {"get": "GET", "list": "GET", "create": "POST", "patch": "PATCH"}

_UNAUTHORIZED = 401
_NOT_FOUND = 404
_BAD_REQUEST = 400


def _to_create(resource: Resource) -> Json:
    shown = {"name", "namespace", "labels", "finalizers", "owner_references"}
    metadata = resource.metadata.model_dump(
        mode="json", by_alias=True, exclude_none=True, include=shown
    )
    spec = resource.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"metadata": metadata, "spec": spec}
