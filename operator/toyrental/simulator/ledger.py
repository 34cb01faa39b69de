"""The simulator's ledger: what has happened to money, in one SQLite file.

A commit has reached the disk before it returns (write-ahead log, `synchronous=FULL`), so what a
caller was told survives `kill -9` and a loss of power, and a request cut short leaves no trace.
The tables enforce the rules of money themselves, whatever the code above them does: an idempotency
key takes or returns money at most once in its life, and refunds of a charge never exceed it. A key
begins a new life only by being forgotten; lives are counted from 1.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

from toyrental.simulator.answers import Answer
from toyrental.simulator.models import Charge, Decline, Metadata, Refund, RefundStatus

# Marks the file as ours ("TOYL"), so that another program's database is never written to.
_APPLICATION_ID = 0x544F594C
_SCHEMA_VERSION = 3
_BUSY_SECONDS = 5.0
_SCHEMA = (
    """
    CREATE TABLE answers (
        idempotency_key TEXT PRIMARY KEY,
        key_life INTEGER NOT NULL,
        request TEXT NOT NULL,
        status INTEGER NOT NULL,
        body TEXT NOT NULL,
        created REAL NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE charges (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        idempotency_key TEXT NOT NULL,
        key_life INTEGER NOT NULL,
        amount INTEGER NOT NULL CHECK (amount > 0),
        amount_refunded INTEGER NOT NULL CHECK (amount_refunded BETWEEN 0 AND amount),
        currency TEXT NOT NULL,
        customer TEXT,
        payment_uid TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created REAL NOT NULL,
        UNIQUE (idempotency_key, key_life)
    )
    """,
    "CREATE INDEX charges_by_payment ON charges (payment_uid)",
    """
    CREATE TABLE refunds (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        idempotency_key TEXT NOT NULL,
        key_life INTEGER NOT NULL,
        charge TEXT NOT NULL REFERENCES charges (id),
        amount INTEGER NOT NULL CHECK (amount > 0),
        currency TEXT NOT NULL,
        payment_uid TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created REAL NOT NULL,
        status TEXT NOT NULL DEFAULT 'succeeded'
            CHECK (status IN ('pending', 'succeeded', 'failed')),
        fails REAL,
        UNIQUE (idempotency_key, key_life)
    )
    """,
    "CREATE INDEX refunds_by_charge ON refunds (charge)",
    "CREATE INDEX refunds_by_payment ON refunds (payment_uid)",
    """
    CREATE TABLE declines (
        seq INTEGER PRIMARY KEY,
        idempotency_key TEXT NOT NULL,
        key_life INTEGER NOT NULL,
        amount INTEGER NOT NULL,
        currency TEXT NOT NULL,
        payment_uid TEXT NOT NULL,
        rental_uid TEXT NOT NULL,
        code TEXT NOT NULL,
        decline_code TEXT NOT NULL,
        created REAL NOT NULL,
        UNIQUE (idempotency_key, key_life)
    )
    """,
)
# Version 1 knew neither the lives of keys nor parts of seconds. Its tables are set aside, made
# anew, and filled: a key that it remembers is in its first life.
_COPIED = {
    "answers": "idempotency_key, request, status, body",
    "charges": "seq, id, idempotency_key, amount, amount_refunded, currency, customer, payment_uid,"
    " metadata, created",
    "refunds": "seq, id, idempotency_key, charge, amount, currency, payment_uid, metadata, created",
    "declines": "seq, idempotency_key, amount, currency, payment_uid, rental_uid, code,"
    " decline_code, created",
}
# Version 2 knew no refund that fails after it was accepted.
_FROM_VERSION_2 = (
    """
    ALTER TABLE refunds ADD COLUMN status TEXT NOT NULL DEFAULT 'succeeded'
        CHECK (status IN ('pending', 'succeeded', 'failed'))
    """,
    "ALTER TABLE refunds ADD COLUMN fails REAL",
)
_INDICES = ("charges_by_payment", "refunds_by_charge", "refunds_by_payment")


class LedgerUnusableError(Exception):
    """The file cannot serve as a ledger; the message is one sentence for a person."""


class Remembered(NamedTuple):
    """The request that an idempotency key stands for, its answer, and when that was given."""

    request: str
    answer: Answer
    created: float
    key_life: int


class Ledger:
    """A ledger that is open; used by one thread at a time.

    Changes are made inside `transaction`, and all changes of one transaction are kept or none.
    Anything SQLite cannot do raises `sqlite3.Error`, with the transaction undone.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: str) -> Self:
        """Open the ledger at `path`, made if missing; `:memory:` lasts as long as the process.

        Raises `LedgerUnusableError`.
        """
        try:
            connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise _unusable(path, str(error)) from error
        ledger = cls(connection)
        try:
            ledger._prepare(path)
        except sqlite3.Error as error:
            connection.close()
            raise _unusable(path, str(error)) from error
        except LedgerUnusableError:
            connection.close()
            raise
        return ledger

    def close(self) -> None:
        """Close the file; its write-ahead log is folded into it."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the changes inside durable at the end, or undo them all when anything is raised."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def check(self) -> None:
        """Read from the file, to find out whether that is possible."""
        self._connection.execute("SELECT seq FROM charges LIMIT 1").fetchone()

    def answer(self, key: str) -> Remembered | None:
        """Give what is remembered of an idempotency key."""
        row = self._connection.execute(
            "SELECT * FROM answers WHERE idempotency_key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        answer = Answer(row["status"], row["body"])
        return Remembered(row["request"], answer, row["created"], row["key_life"])

    def add_answer(self, key: str, remembered: Remembered) -> None:
        """Remember what a request with this idempotency key is answered, all through its life."""
        self._connection.execute(
            "INSERT INTO answers (idempotency_key, key_life, request, status, body, created)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                key,
                remembered.key_life,
                remembered.request,
                remembered.answer.status,
                remembered.answer.body,
                remembered.created,
            ),
        )

    def forget_answer(self, key: str) -> None:
        """Forget an idempotency key; what it moved stays in the books."""
        self._connection.execute("DELETE FROM answers WHERE idempotency_key = ?", (key,))

    def clear(self) -> None:
        """Empty the books."""
        with self.transaction():
            for table in ("answers", "declines", "refunds", "charges"):
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 # names from here

    def add_charge(self, charge: Charge) -> None:
        """Record money taken."""
        self._connection.execute(
            "INSERT INTO charges (id, idempotency_key, key_life, amount, amount_refunded, currency,"
            " customer, payment_uid, metadata, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                charge.id,
                charge.idempotency_key,
                charge.key_life,
                charge.amount,
                charge.amount_refunded,
                charge.currency,
                charge.customer,
                charge.metadata.payment_uid,
                charge.metadata.model_dump_json(),
                charge.created,
            ),
        )

    def add_refund(self, refund: Refund) -> None:
        """Record money given back, on the refund and on its charge."""
        self._connection.execute(
            "UPDATE charges SET amount_refunded = amount_refunded + ? WHERE id = ?",
            (refund.amount, refund.charge),
        )
        self._connection.execute(
            "INSERT INTO refunds (id, idempotency_key, key_life, charge, amount, currency,"
            " payment_uid, metadata, created, status, fails)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                refund.id,
                refund.idempotency_key,
                refund.key_life,
                refund.charge,
                refund.amount,
                refund.currency,
                refund.metadata.payment_uid,
                refund.metadata.model_dump_json(),
                refund.created,
                refund.status.value,
                refund.fails,
            ),
        )

    def fail_refund(self, refund: Refund) -> None:
        """Record that a refund failed after all: the shop has its money again."""
        self._connection.execute("UPDATE refunds SET status = 'failed' WHERE id = ?", (refund.id,))
        self._connection.execute(
            "UPDATE charges SET amount_refunded = amount_refunded - ? WHERE id = ?",
            (refund.amount, refund.charge),
        )

    def failing(self) -> list[Refund]:
        """List the refunds that will fail and have not yet, the next one first."""
        rows = self._connection.execute(
            "SELECT * FROM refunds WHERE fails IS NOT NULL AND status != 'failed'"
            " ORDER BY fails, seq"
        )
        return [_refund(row) for row in rows]

    def add_decline(self, decline: Decline) -> None:
        """Record that a card said no."""
        self._connection.execute(
            "INSERT INTO declines (idempotency_key, key_life, amount, currency, payment_uid,"
            " rental_uid, code, decline_code, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                decline.idempotency_key,
                decline.key_life,
                decline.amount,
                decline.currency,
                decline.payment_uid,
                decline.rental_uid,
                decline.code,
                decline.decline_code,
                decline.created,
            ),
        )

    def charge(self, charge_id: str) -> Charge | None:
        """Find a charge by its id."""
        row = self._connection.execute(
            "SELECT * FROM charges WHERE id = ?", (charge_id,)
        ).fetchone()
        return None if row is None else _charge(row)

    def charges(self, *, payment_uid: str | None = None, limit: int = -1) -> list[Charge]:
        """List charges, newest first, at most `limit` of them (all when negative)."""
        if payment_uid is None:
            rows = self._connection.execute(
                "SELECT * FROM charges ORDER BY seq DESC LIMIT ?", (limit,)
            )
        else:
            rows = self._connection.execute(
                "SELECT * FROM charges WHERE payment_uid = ? ORDER BY seq DESC LIMIT ?",
                (payment_uid, limit),
            )
        return [_charge(row) for row in rows]

    def refunds(
        self, *, charge: str | None = None, payment_uid: str | None = None, limit: int = -1
    ) -> list[Refund]:
        """List refunds, newest first, at most `limit` of them (all when negative)."""
        if charge is not None:
            rows = self._connection.execute(
                "SELECT * FROM refunds WHERE charge = ?1 AND (?2 IS NULL OR payment_uid = ?2)"
                " ORDER BY seq DESC LIMIT ?3",
                (charge, payment_uid, limit),
            )
        elif payment_uid is not None:
            rows = self._connection.execute(
                "SELECT * FROM refunds WHERE payment_uid = ? ORDER BY seq DESC LIMIT ?",
                (payment_uid, limit),
            )
        else:
            rows = self._connection.execute(
                "SELECT * FROM refunds ORDER BY seq DESC LIMIT ?", (limit,)
            )
        return [_refund(row) for row in rows]

    def declines(self) -> list[Decline]:
        """List all declines, newest first."""
        rows = self._connection.execute("SELECT * FROM declines ORDER BY seq DESC")
        return [_decline(row) for row in rows]

    def _prepare(self, path: str) -> None:
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA synchronous = FULL")
        self._require_ours(path)
        self._connection.execute("PRAGMA journal_mode = WAL")
        with self.transaction():
            if self._pragma("application_id") != _APPLICATION_ID:
                self._create()
            elif self._pragma("user_version") == 1:
                self._upgrade_from_1()
            elif self._pragma("user_version") != _SCHEMA_VERSION:
                self._upgrade_from_2()
        # From here on: while tables are made anew, a reference may hang in the air.
        self._connection.execute("PRAGMA foreign_keys = ON")

    def _require_ours(self, path: str) -> None:
        tables = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if not tables:
            return
        if self._pragma("application_id") != _APPLICATION_ID:
            raise _unusable(path, "it is the database of another program")
        version = self._pragma("user_version")
        if not 1 <= version <= _SCHEMA_VERSION:
            raise _unusable(
                path, f"its schema is version {version}, this program knows {_SCHEMA_VERSION}"
            )

    def _create(self) -> None:
        for statement in _SCHEMA:
            self._connection.execute(statement)
        # Pragmas take no parameters; both are constants of this module.
        self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    def _upgrade_from_2(self) -> None:
        for statement in _FROM_VERSION_2:
            self._connection.execute(statement)
        self._connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    def _upgrade_from_1(self) -> None:
        # The words of SQL are constants of this module.
        for index in _INDICES:
            self._connection.execute(f"DROP INDEX {index}")
        self._connection.execute("PRAGMA legacy_alter_table = ON")
        for table in _COPIED:
            self._connection.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
        self._connection.execute("PRAGMA legacy_alter_table = OFF")
        self._create()
        for table, columns in _COPIED.items():
            added, values = (
                ("key_life", "1") if table != "answers" else ("key_life, created", "1, 0")
            )
            self._connection.execute(
                f"INSERT INTO {table} ({columns}, {added}) SELECT {columns}, {values}"  # noqa: S608
                f" FROM {table}_1"
            )
            self._connection.execute(f"DROP TABLE {table}_1")

    def _pragma(self, name: str) -> int:
        value: int = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value


def _unusable(path: str, reason: str) -> LedgerUnusableError:
    return LedgerUnusableError(
        f"The ledger {path} cannot be used: {reason}. Name a file of its own, in a directory that "
        "exists and can be written to."
    )


def _charge(row: sqlite3.Row) -> Charge:
    return Charge(
        id=row["id"],
        idempotency_key=row["idempotency_key"],
        key_life=row["key_life"],
        amount=row["amount"],
        amount_refunded=row["amount_refunded"],
        currency=row["currency"],
        customer=row["customer"],
        metadata=Metadata.model_validate_json(row["metadata"]),
        created=row["created"],
    )


def _refund(row: sqlite3.Row) -> Refund:
    return Refund(
        id=row["id"],
        idempotency_key=row["idempotency_key"],
        key_life=row["key_life"],
        charge=row["charge"],
        amount=row["amount"],
        currency=row["currency"],
        metadata=Metadata.model_validate_json(row["metadata"]),
        created=row["created"],
        status=RefundStatus(row["status"]),
        fails=row["fails"],
    )


def _decline(row: sqlite3.Row) -> Decline:
    return Decline(
        idempotency_key=row["idempotency_key"],
        key_life=row["key_life"],
        amount=row["amount"],
        currency=row["currency"],
        payment_uid=row["payment_uid"],
        rental_uid=row["rental_uid"],
        code=row["code"],
        decline_code=row["decline_code"],
        created=row["created"],
    )
