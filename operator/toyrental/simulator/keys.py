"""API keys, for those who want to see theirs refused. They are compared, and never shown."""

import base64
import hmac
from pathlib import Path

import structlog

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class KeysUnusableError(Exception):
    """There is no key to be had; the message is one sentence for a person."""


class ApiKeys:
    """The keys that are admitted: fixed ones, and those in a file as it is now.

    The file has one key a line, and is read again when it changes, so that a key can be revoked or
    replaced while the simulator runs.
    """

    def __init__(self, fixed: str = "", file: Path | None = None) -> None:
        """Take keys with commas between them, and a file. Raises `KeysUnusableError`."""
        self._fixed = _words(fixed.replace(",", " "))
        self._file = file
        self._in_file: tuple[bytes, ...] = ()
        self._seen: tuple[int, ...] = ()
        if file is not None:
            self._read_first(file)

    def admit(self, authorization: str | None) -> bool:
        """Tell whether an Authorization header carries one of the keys."""
        self._read_again()
        given = _given(authorization or "")
        # Compared with each, so that the time taken does not tell which came close.
        return sum(hmac.compare_digest(given, key) for key in (*self._fixed, *self._in_file)) > 0

    def _read_first(self, file: Path) -> None:
        try:
            self._read(file)
        except OSError as error:
            reason = error.strerror or "it cannot be read"
            raise KeysUnusableError(
                f"The file of API keys {file} cannot be used: {reason}."
            ) from error
        if not self._in_file:
            raise KeysUnusableError(f"The file of API keys {file} has none. Write one a line.")

    def _read_again(self) -> None:
        if self._file is None:
            return
        try:
            if _version(self._file) != self._seen:
                self._read(self._file)
        except OSError as error:
            _log.warning("the file of API keys cannot be read", reason=error.strerror)

    def _read(self, file: Path) -> None:
        self._seen = _version(file)
        self._in_file = _words(file.read_text("utf-8", errors="replace"))


def _version(file: Path) -> tuple[int, ...]:
    found = file.stat()
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _words(text: str) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in text.split())


def _given(authorization: str) -> bytes:
    scheme, _, credentials = authorization.partition(" ")
    credentials = credentials.strip()
    if scheme.lower() == "bearer":
        return credentials.encode("latin-1", errors="replace")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[0]
        except ValueError:
            return b""
    return b""
