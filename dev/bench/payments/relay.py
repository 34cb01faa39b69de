"""Stands before the provider and notes when each call is made; bytes pass as they are."""

import asyncio
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

CHUNK = 1 << 16
_CHARGE = b"POST /v1/charges "
_OTHERS = (b"POST /v1/refunds", b"GET /v1/charges", b"GET /v1/account")
"""How other calls begin. A look-up that finds a charge goes on with its refunds: the same call."""


class Relay:
    """A relay of connections on loopback; `charges` and `others` are the moments of calls."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 0)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self.charges: list[float] = []
        self.others: list[float] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("the relay is used as a context manager")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, up_writer}
        try:
            await asyncio.gather(
                self._pump(reader, up_writer, noting=True), self._pump(up_reader, writer)
            )
        finally:
            self._open -= {writer, up_writer}
            writer.transport.abort()
            up_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, noting: bool = False
    ) -> None:
        """Pass bytes on until there are no more; then the other side learns of that."""
        try:
            while chunk := await reader.read(CHUNK):
                if noting:
                    self._note(chunk)
                writer.write(chunk)
                await writer.drain()
            writer.close()
        except OSError:
            writer.transport.abort()

    def _note(self, chunk: bytes) -> None:
        if chunk.startswith(_CHARGE):
            self.charges.append(time.monotonic())
        elif chunk.startswith(_OTHERS):
            self.others.append(time.monotonic())
