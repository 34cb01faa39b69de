"""The credentials of gateways: read from their Secrets, again when they change, never shown."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

from toyrental.kube import errors
from toyrental.payments.providers.port import ApiKey, NotSent, Unauthorized
from toyrental.shared.model import SecretKeyRef

READ_AGAIN_SECONDS = 10.0
"""How old a key may be: that long it takes at most until another one is used."""

READ_AT_ONCE_SECONDS = 1.0
"""How often a key that was refused is read again at most."""

LONGEST_KEY = 1024

ReadSecret = Callable[[str, str], Awaitable[dict[str, Any]]]
"""Return a Secret of a namespace, by name. Raises ApiError."""


async def read_none(namespace: str, name: str) -> dict[str, Any]:
    """Stand for an operator that may read no Secrets."""
    raise errors.Forbidden(f"reading Secret {namespace}/{name}", "not allowed")


def line_in(secret: dict[str, Any], key: str) -> str | None:
    """Return the one line of ASCII that a Secret has under a key, if it has one there."""
    encoded = (secret.get("data") or {}).get(key) or ""
    text = base64.b64decode(encoded).decode("ascii", errors="replace").strip()
    fits = 0 < len(text) <= LONGEST_KEY and text.isascii() and text.isprintable()
    return text if fits else None


class Credentials:
    """One key of one Secret, as it was last read.

    What was read stays in memory though the Secret is gone since: what was taken by it can still
    be given back, also while a namespace goes, whose Secrets go first. `trouble` says so.
    """

    def __init__(
        self,
        namespace: str,
        ref: SecretKeyRef,
        read: ReadSecret,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._namespace = namespace
        self._ref = ref
        self._read = read
        self._clock = clock
        self._read_at: float | None = None
        self._one_at_a_time = asyncio.Lock()
        self.key: ApiKey | None = None
        self.trouble: Unauthorized | NotSent | None = None
        """Why the Secret does not give a key now."""

    async def refresh(self, *, at_once: bool = False) -> None:
        """Read the Secret, unless that was done a short while ago."""
        async with self._one_at_a_time:
            longest = READ_AT_ONCE_SECONDS if at_once else READ_AGAIN_SECONDS
            if self._read_at is not None and self._clock() < self._read_at + longest:
                return
            found = await self._look()
            self._read_at = self._clock()
            if isinstance(found, ApiKey):
                self.key, self.trouble = found, None
            elif isinstance(found, Unauthorized) or self.key is None:
                self.trouble = found

    async def _look(self) -> ApiKey | Unauthorized | NotSent:
        name = self._ref.name
        try:
            secret = await self._read(self._namespace, name)
        except errors.NotFound:
            return Unauthorized(f"there is no Secret {name}; create it", "SecretMissing")
        except errors.Forbidden:
            return Unauthorized(f"the operator may not read Secret {name}", "SecretUnreadable")
        except errors.ApiError:
            return NotSent(f"Secret {name} cannot be read at the moment")
        return self._key_of(secret)

    def _key_of(self, secret: dict[str, Any]) -> ApiKey | Unauthorized:
        name, key = self._ref.name, self._ref.key
        if not (secret.get("data") or {}).get(key):
            return Unauthorized(f"Secret {name} has no key {key}; add it", "SecretKeyMissing")
        text = line_in(secret, key)
        if text is None:
            return Unauthorized(
                f"key {key} of Secret {name} is no API key; write one line of ASCII to it",
                "SecretInvalid",
            )
        return ApiKey(text)
