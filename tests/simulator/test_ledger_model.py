"""Whatever the order of requests, repeats, failures and restarts, the books are right."""

import json
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
)

from toyrental.simulator.answers import Answer, RefusedError
from toyrental.simulator.ledger import Ledger
from toyrental.simulator.models import ChargeRequest, Metadata, RefundRequest, RefundStatus
from toyrental.simulator.provider import NORMAL, Conduct, LateFailure, Provider, Reply

Request = ChargeRequest | RefundRequest

# Few keys and few amounts, so that repeats, mismatches and full refunds come up often.
KEYS = st.sampled_from([f"key-{n}" for n in range(12)])
AMOUNTS = st.integers(min_value=1, max_value=4)
METADATA = Metadata(payment_uid="payment-1", rental_uid="rental-1")
CHARGES = st.builds(
    ChargeRequest,
    amount=AMOUNTS,
    currency=st.just("KRW"),
    method=st.sampled_from(["pm_card_visa", "pm_card_chargeDeclined"]),
    metadata=st.just(METADATA),
)


class Failing(Conduct):
    """Has a refund fail so many seconds later."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def late_failure(self) -> LateFailure:
        return LateFailure(RefundStatus.SUCCEEDED, self._seconds)


class Books(RuleBasedStateMachine):
    """The provider beside a model of it: the answer each key has, and what each charge holds."""

    charges = Bundle[str]("charges")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = str(Path(self.directory.name) / "ledger.db")
        self.now = 1_800_000_000
        self.open()
        self.answers: dict[str, tuple[Request, Answer]] = {}
        self.taken: dict[str, int] = {}
        self.given_back: dict[str, int] = {}
        self.failing: list[tuple[int, str, int]] = []
        self.declined = 0

    def open(self) -> None:
        self.ledger = Ledger.open(self.path)
        self.provider = Provider(self.ledger, clock=lambda: self.now)

    def teardown(self) -> None:
        self.ledger.close()
        self.directory.cleanup()

    @rule(target=charges, key=KEYS, request=CHARGES)
    def charge(self, key: str, request: ChargeRequest) -> str | MultipleResults[str]:
        answer = self._ask(key, request, lambda: self.provider.charge(key, request))
        if answer is None:
            return multiple()
        if request.method == "pm_card_chargeDeclined":
            assert answer.status == 402
            self.declined += 1
            return multiple()
        assert answer.status == 200
        charge_id: str = json.loads(answer.body)["id"]
        self.taken[charge_id] = request.amount
        self.given_back[charge_id] = 0
        return charge_id

    @rule(key=KEYS, charge=charges, amount=AMOUNTS, fails=st.none() | st.integers(0, 2))
    def refund(self, key: str, charge: str, amount: int, fails: int | None) -> None:
        request = RefundRequest(charge=charge, amount=amount, metadata=METADATA)
        conduct = NORMAL if fails is None else Failing(fails)
        answer = self._ask(key, request, lambda: self.provider.refund(key, request, conduct))
        if answer is None:
            return
        if amount <= self.taken[charge] - self.given_back[charge]:
            assert answer.status == 200
            self.given_back[charge] += amount
            if fails is not None:
                self.failing.append((self.now + fails, charge, amount))
        else:
            assert answer.status == 400

    @rule(key=KEYS, request=CHARGES)
    def charge_cut_short(self, key: str, request: ChargeRequest) -> None:
        self._cut_short(key, lambda: self.provider.charge(key, request))

    @rule(key=KEYS, charge=charges)
    def refund_cut_short(self, key: str, charge: str) -> None:
        request = RefundRequest(charge=charge, amount=1, metadata=METADATA)
        self._cut_short(key, lambda: self.provider.refund(key, request))

    @rule()
    def time_passes(self) -> None:
        self.now += 1
        due = [refund for refund in self.failing if refund[0] <= self.now]
        self.failing = [refund for refund in self.failing if refund[0] > self.now]
        assert sorted(refund.amount for refund in self.provider.fail_due()) == sorted(
            amount for _, _, amount in due
        )
        for _, charge, amount in due:
            self.given_back[charge] -= amount

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.open()

    @invariant()
    def each_charge_holds_what_was_taken_less_what_was_given_back(self) -> None:
        books = {charge.id: charge for charge in self.ledger.charges()}
        assert {name: charge.amount for name, charge in books.items()} == self.taken
        assert {name: charge.amount_refunded for name, charge in books.items()} == self.given_back
        assert all(self.given_back[name] <= self.taken[name] for name in books)

    @invariant()
    def refunds_add_up(self) -> None:
        for charge in self.taken:
            refunds = self.ledger.refunds(charge=charge)
            assert (
                sum(refund.amount for refund in refunds if refund.status is not RefundStatus.FAILED)
                == self.given_back[charge]
            )

    @invariant()
    def a_key_moved_money_at_most_once(self) -> None:
        keys = [charge.idempotency_key for charge in self.ledger.charges()]
        keys += [refund.idempotency_key for refund in self.ledger.refunds()]
        keys += [decline.idempotency_key for decline in self.ledger.declines()]
        assert len(keys) == len(set(keys))
        assert set(keys) <= set(self.answers)
        assert len(self.ledger.declines()) == self.declined

    def _ask(self, key: str, request: Request, operation: Callable[[], Reply]) -> Answer | None:
        """Give the answer if it is a new one; an earlier one must come back or be defended."""
        if key not in self.answers:
            reply = operation()
            assert not reply.replayed
            self.answers[key] = (request, reply.answer)
            return reply.answer
        first_request, first_answer = self.answers[key]
        if request == first_request:
            assert operation() == Reply(first_answer, replayed=True)
        else:
            with pytest.raises(RefusedError) as refused:
                operation()
            assert refused.value.code == "idempotency_key_mismatch"
        return None

    def _cut_short(self, key: str, operation: Callable[[], Reply]) -> None:
        """Fail between the movement of money and the memory of it, as a kill there would."""
        if key in self.answers:
            return
        failure = sqlite3.OperationalError("disk I/O error")
        with (
            patch.object(self.ledger, "add_answer", side_effect=failure),
            pytest.raises(sqlite3.OperationalError),
        ):
            operation()


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_the_tables_themselves_refuse_what_no_code_should_ask(tmp_path: Path) -> None:
    # Given a charge of 3
    ledger = Ledger.open(str(tmp_path / "ledger.db"))
    provider = Provider(ledger)
    request = ChargeRequest(amount=3, currency="KRW", method="pm_card_visa", metadata=METADATA)
    provider.charge("key", request)
    charge = ledger.charges()[0]
    provider.refund("refund", RefundRequest(charge=charge.id, amount=2, metadata=METADATA))
    refund = ledger.refunds()[0]
    # When more is given back than was taken, or a key is used twice, past all checks
    wrong: list[Callable[[], None]] = [
        lambda: ledger.add_refund(refund.model_copy(update={"id": "re_2", "idempotency_key": "2"})),
        lambda: ledger.add_charge(charge.model_copy(update={"id": "ch_2"})),
        lambda: ledger.add_refund(
            refund.model_copy(update={"id": "re_2", "idempotency_key": "2", "charge": "ch_none"})
        ),
    ]
    for change in wrong:
        with pytest.raises(sqlite3.IntegrityError), ledger.transaction():
            change()
    # Then nothing has changed
    assert [entry.amount_refunded for entry in ledger.charges()] == [2]
    assert ledger.refunds() == [refund]
    ledger.close()
