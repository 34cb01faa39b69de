"""Who may work: this process alone, or that one of several which holds the Lease."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from toyrental.kube import errors
from toyrental.kube.client import Client
from toyrental.kube.election import LEASE_SECONDS, Election, Lease

ATTEMPT_SECONDS = 2.5
"""How long a request about the Lease may take: a second one shall have time to succeed."""

SERVES = "toyrental.dev/serves"

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Leadership(Protocol):
    """Whether this process may work."""

    def leads(self) -> bool:
        """Tell whether it may write now."""

    async def won(self) -> None:
        """Return once it may begin to work."""

    async def lost(self) -> None:
        """Return once it may work no more."""

    async def release(self) -> None:
        """Let others take over; what it did has ended."""


class Alone:
    """There is no election: this process works always."""

    def leads(self) -> bool:
        """Return True."""
        return True

    async def won(self) -> None:
        """Return."""

    async def lost(self) -> None:
        """Never return."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Do nothing."""


class LeaseStore:
    """One Lease of the API server."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client = client
        self._place = (namespace, name)
        self._uid = ""

    @property
    def reference(self) -> dict[str, str]:
        """What an Event about the Lease regards."""
        namespace, name = self._place
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        return {**kind, "namespace": namespace, "name": name, "uid": self._uid}

    async def read(self) -> Lease | None:
        """Return the Lease, or None where there is none. Raises errors.ApiError."""
        try:
            return self._taken(await self._client.get_lease(*self._place))
        except errors.NotFound:
            return None

    async def write(self, lease: Lease, *, acquired: bool) -> Lease:
        """Create the Lease, or change the version that it bears; return it as it is then.

        Raises errors.Conflict or AlreadyExists where another one wrote first, NotFound where it
        was deleted, or other errors.ApiError.
        """
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        spec: dict[str, Any] = {
            "holderIdentity": lease.holder,
            "leaseDurationSeconds": lease.seconds,
            "leaseTransitions": lease.transitions,
            "renewTime": now,
        } | ({"acquireTime": now} if acquired else {})
        notes = {SERVES: lease.serves}
        if lease.version:
            raw = await self._client.patch_lease(*self._place, lease.version, spec, notes)
        else:
            raw = await self._client.create_lease(*self._place, spec, notes)
        return self._taken(raw)

    def _taken(self, raw: dict[str, Any]) -> Lease:
        """Return a Lease as we know it; what people emptied by hand is as it is by default."""
        spec = raw.get("spec") or {}
        self._uid = raw["metadata"]["uid"]
        return Lease(
            holder=spec.get("holderIdentity") or "",
            seconds=spec.get("leaseDurationSeconds") or LEASE_SECONDS,
            transitions=spec.get("leaseTransitions") or 0,
            version=raw["metadata"]["resourceVersion"],
            serves=(raw["metadata"].get("annotations") or {}).get(SERVES, ""),
        )


class Store(Protocol):
    """Where a Lease is kept."""

    async def read(self) -> Lease | None:
        """Return the Lease, or None where there is none."""

    async def write(self, lease: Lease, *, acquired: bool) -> Lease:
        """Create the Lease, or change the version that it bears; return it as it is then."""


class Elector:
    """A candidate for a Lease, and its holder once it has won. `told` hears of each change."""

    def __init__(
        self,
        identity: str,
        store: Store,
        *,
        serves: str = "",
        told: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._election = Election(identity, serves)
        self._store = store
        self._told = told
        self._clock = clock
        self._holder: str | None = None
        self._complaint = ""

    def leads(self) -> bool:
        """Tell whether it may write now. One that was paused for too long knows at once."""
        return self._election.leads(self._clock())

    async def won(self) -> None:
        """Return once it holds the Lease."""
        while True:
            await self._try()
            if self.leads():
                break
            self._say_who_leads()
            share = random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
            await asyncio.sleep(self._election.rest(self._clock()) * share)
        logger.info("leads, as %s", self._election.identity)
        self._told(f"{self._election.identity} leads")

    async def lost(self) -> None:
        """Renew the Lease for as long as that goes well; return when it has to end."""
        while self.leads():
            await asyncio.sleep(self._election.rest(self._clock()))
            if self.leads():
                await self._try()
        known = self._election.known
        another = known is not None and known.holder != self._election.identity
        why = "the Lease is another's" if another else "the Lease was not renewed in time"
        logger.warning("leads no more: %s", why)

    async def release(self) -> None:
        """Let others take over at once. Should that fail, they wait until the Lease runs out."""
        if not self._election.let_go():
            return
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                # A renewal may have been under way: what is there is not what is known.
                lease = await self._store.read()
                if lease is None or lease.holder != self._election.identity:
                    return
                await self._store.write(lease.let_go(), acquired=False)
        except (errors.ApiError, TimeoutError) as error:
            logger.warning("the Lease is left to run out: %s", _said(error))
        else:
            logger.info("let go of the Lease")
            self._told(f"{self._election.identity} let go")

    async def _try(self) -> None:
        """Look at the Lease if need be, and write it if it is time."""
        try:
            await self._step()
        except (errors.Conflict, errors.AlreadyExists):
            self._election.doubt()
        except (errors.ApiError, TimeoutError) as error:
            self._election.doubt()
            self._complain(_said(error))
        else:
            self._complaint = ""

    async def _step(self) -> None:
        election = self._election
        if election.must_look(self._clock()):
            election.saw(await self._in_time(self._store.read()), self._clock())
        sent = self._clock()
        lease = election.claim(sent)
        if lease is not None:
            acquired = not (election.leads(sent) and lease.version)
            written = await self._in_time(self._store.write(lease, acquired=acquired))
            election.wrote(written, sent)

    async def _in_time(self, request: Awaitable[T]) -> T:
        left = self._election.left(self._clock())
        async with asyncio.timeout(min(ATTEMPT_SECONDS, left) if left else ATTEMPT_SECONDS):
            return await request

    def _say_who_leads(self) -> None:
        known = self._election.known
        if known is None or known.holder == self._holder:
            return
        self._holder = known.holder
        logger.info("stands by: %s leads", known.holder or "nobody yet")
        if known.serves and known.serves != self._election.serves:
            logger.warning(
                "%s serves %s, but this one %s; who serves other shops or runs other contexts needs"
                " another --lease-name",
                known.holder or "the last to lead",
                known.serves,
                self._election.serves,
            )

    def _complain(self, why: str) -> None:
        """Say what is wrong with the Lease, once and not each second."""
        if why == self._complaint:
            return
        self._complaint = why
        if self.leads():
            logger.warning("%s; leads for %.1f s more", why, self._election.left(self._clock()))
        else:
            logger.warning("%s; stands by, and tries again", why)


def _said(error: Exception) -> str:
    return str(error) or "the API server does not answer about the Lease"
