"""A ledger that an earlier version of the simulator kept goes on being used."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.simulator.conftest import Start
from tests.support import eventually

# The schema as the first version made it, and what it recorded for a charge with a refund.
VERSION_1 = """
CREATE TABLE answers (
    idempotency_key TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE charges (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT NOT NULL UNIQUE,
    amount INTEGER NOT NULL CHECK (amount > 0),
    amount_refunded INTEGER NOT NULL CHECK (amount_refunded BETWEEN 0 AND amount),
    currency TEXT NOT NULL,
    customer TEXT,
    payment_uid TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created INTEGER NOT NULL
);
CREATE INDEX charges_by_payment ON charges (payment_uid);
CREATE TABLE refunds (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT NOT NULL UNIQUE,
    charge TEXT NOT NULL REFERENCES charges (id),
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    payment_uid TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created INTEGER NOT NULL
);
CREATE INDEX refunds_by_charge ON refunds (charge);
CREATE INDEX refunds_by_payment ON refunds (payment_uid);
CREATE TABLE declines (
    seq INTEGER PRIMARY KEY,
    idempotency_key TEXT NOT NULL UNIQUE,
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    payment_uid TEXT NOT NULL,
    rental_uid TEXT NOT NULL,
    code TEXT NOT NULL,
    decline_code TEXT NOT NULL,
    created INTEGER NOT NULL
);
PRAGMA application_id = 1414486348;
PRAGMA user_version = 1;
INSERT INTO charges VALUES (1, 'ch_1', 'c', 15000, 5000, 'KRW', NULL, 'payment-1',
    '{"paymentUID":"payment-1","rentalUID":"rental-1"}', 1795383300);
INSERT INTO refunds VALUES (1, 're_1', 'r', 'ch_1', 5000, 'KRW', 'payment-1',
    '{"paymentUID":"payment-1","rentalUID":"rental-1"}', 1795383301);
INSERT INTO answers VALUES ('c',
    '{"amount": 15000, "currency": "KRW", "customer": null, "metadata": {"paymentUID": '
    || '"payment-1", "rentalUID": "rental-1"}, "method": "pm_card_visa", "operation": "charge"}',
    200, '{"id":"ch_1"}');
"""


def test_a_ledger_of_version_1_keeps_its_money_its_keys_and_its_rules(
    start: Start, tmp_path: Path
) -> None:
    # Given a ledger of the first version
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as old:
        old.executescript(VERSION_1)
    # When a simulator of today opens it
    simulator = start()
    # Then its money is there, and its keys are remembered
    books = simulator.ledger()
    assert [(e["id"], e["amount"], e["created"]) for e in books["charges"]] == [
        ("ch_1", 15000, 1795383300)
    ]
    assert [(e["id"], e["charge"]) for e in books["refunds"]] == [("re_1", "ch_1")]
    assert simulator.charge("c").json() == {"id": "ch_1"}
    # And it goes on with it, within its limits
    assert simulator.refund("r2", "ch_1", 10001).status_code == 400
    assert simulator.refund("r3", "ch_1", 10000).status_code == 200
    # And the tables still enforce them
    with (
        closing(sqlite3.connect(tmp_path / "ledger.db")) as other,
        pytest.raises(sqlite3.IntegrityError),
    ):
        other.execute("UPDATE charges SET amount_refunded = 15001")
    # And the next start finds nothing left to do
    simulator.kill()
    assert len(start().ledger()["refunds"]) == 2


# The refunds of version 2, and one of them: all else is as it is today.
VERSION_2 = """
DROP TABLE refunds;
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
    UNIQUE (idempotency_key, key_life)
);
PRAGMA user_version = 2;
INSERT INTO charges VALUES (1, 'ch_1', 'c', 1, 15000, 5000, 'KRW', NULL, 'payment-1',
    '{"paymentUID":"payment-1","rentalUID":"rental-1"}', 1795383300);
INSERT INTO refunds VALUES (1, 're_1', 'r', 1, 'ch_1', 5000, 'KRW', 'payment-1',
    '{"paymentUID":"payment-1","rentalUID":"rental-1"}', 1795383301);
"""


def test_a_ledger_of_version_2_knows_of_refunds_that_fail(start: Start, tmp_path: Path) -> None:
    # Given a ledger of the second version, which knew refunds that succeed, and no others
    start().kill()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as old:
        old.executescript(VERSION_2)
    # When a simulator of today opens it
    simulator = start("--admin-port=0")
    # Then its refund succeeded, and another one can fail
    assert [(e["id"], e["status"]) for e in simulator.ledger()["refunds"]] == [
        ("re_1", "succeeded")
    ]
    simulator.set_fault("refundFailure", seconds=0)
    simulator.refund("r2", "ch_1", 10000)
    eventually(lambda: simulator.ledger()["refunds"][0]["status"] == "failed", within=10)
    assert simulator.ledger()["charges"][0]["amountRefunded"] == 5000
