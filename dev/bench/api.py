"""A bounded client of an API server: how the benchmark's users speak, and its replay."""

import base64
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

from .errors import BenchError

CONNECTIONS = 16
TIMEOUT_SECONDS = 60
USER_AGENT = "toyrental-bench"
KINDS = "/apis/toyrental.dev/v1alpha1/namespaces"
_LONGEST_LINE = 1 << 20

Json = dict[str, Any]


@dataclass(frozen=True)
class Access:
    """Where an API server is, and as whom to speak to it."""

    server: str
    token: str
    tls: ssl.SSLContext

    @classmethod
    def read(cls, kubeconfig: Path) -> Self:
        """Read the kubeconfig of a control plane that `dev.cluster` started."""
        content = yaml.safe_load(kubeconfig.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(cluster["server"], user["token"], ssl.create_default_context(cadata=authority))


class Api:
    """Requests over at most 16 connections, kept open. It counts what it wrote."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None
        self.written: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._access.tls),
            headers={"Authorization": f"Bearer {self._access.token}", "User-Agent": USER_AGENT},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> Json:
        """Return an object or a list."""
        return await self._send("GET", path, None, "json")

    async def text(self, path: str) -> str:
        """Return an answer that is not JSON."""
        async with self._open().get(self._access.server + path) as response:
            return await response.text()

    async def create(self, path: str, body: Json) -> Json:
        """Create an object in a collection."""
        created = await self._send("POST", path, json.dumps(body, separators=(",", ":")), "json")
        self.written[counted_as(path, "create")] += 1
        return created

    async def patch(self, path: str, body: Json) -> Json:
        """Merge a change into an object."""
        data = json.dumps(body, separators=(",", ":"))
        changed = await self._send("PATCH", path, data, "merge-patch+json")
        self.written[counted_as(path, "patch")] += 1
        return changed

    async def watch(self, path: str, since: str) -> AsyncIterator[Json]:
        """Yield the events of a watch until the API server ends it."""
        url = f"{self._access.server}{path}?watch=true&resourceVersion={since}"
        forever = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_SECONDS)
        async with self._open().get(
            url, timeout=forever, max_line_size=_LONGEST_LINE, read_bufsize=_LONGEST_LINE
        ) as response:
            async for line in response.content:
                yield json.loads(line)

    async def _send(self, method: str, path: str, data: str | None, kind: str) -> Json:
        headers = {"Content-Type": f"application/{kind}"} if data is not None else {}
        async with self._open().request(
            method, self._access.server + path, data=data, headers=headers
        ) as response:
            answer: Json = await response.json(content_type=None)
        if response.ok:
            return answer
        why = answer.get("message", f"answered {response.status}")
        raise BenchError(f"{method} {path}: {why}")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is used as a context manager")
        return self._session


def counted_as(path: str, verb: str) -> str:
    """Return the name a write is counted by: what is written, and how.

    >>> counted_as("/apis/toyrental.dev/v1alpha1/namespaces/shop/toys/bear/status", "patch")
    'patch toys/status'
    """
    _, _, inside = path.partition("/namespaces/")
    _, resource, _, subresource, *_ = [*inside.split("/"), "", "", "", ""]
    return f"{verb} {resource or 'namespaces'}" + (f"/{subresource}" if subresource else "")
