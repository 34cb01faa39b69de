"""Where money waits for a person's word, it is given with the plugin."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.business import Business
from tests.plugin.conftest import Run
from tests.support.operator import SimulatorProcess

REFUSED = "pm_card_discover"
FAULTS = (
    {"kind": "error", "status": 400, "method": REFUSED},
    {"kind": "refundFailure", "seconds": 0, "first": "pending", "times": 1},
)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """Give a provider that refuses a card, and cannot give money back the first time."""
    flags = [f"--fault={json.dumps(fault)}" for fault in FAULTS]
    with SimulatorProcess(tmp_path_factory.mktemp("simulator"), *flags) as simulator:
        yield simulator


def test_a_review_is_ended_by_who_looked_it_up(plugin: Run, house: Business) -> None:
    """Given charges that the provider refused, then a person says what became of each."""
    for toy, outcome, phase in (
        ("bear", ("not-charged",), "Declined"),
        ("kite", ("captured", "--id=pay_1"), "Captured"),
    ):
        rental = house.takes_order(toy, toy=toy, method=REFUSED)
        payment = house.payment_becomes(rental, "ManualReview").name
        ended = plugin("payment", "resolve", payment, *outcome, "--wait")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith(f"payment/{payment} resolved\n")
        resolved = house.payment_becomes(rental, phase).spec.resolution
        assert resolved is not None
        assert resolved.resolved_by
    # And the order that was paid goes on
    house.order_becomes("kite", "Paid")
    house.approves("kite")
    house.order_becomes("kite", "Rented")
    house.gets_back("kite")


def test_what_was_captured_has_an_id_and_nothing_else_has(plugin: Run) -> None:
    for words in (("captured",), ("not-charged", "--id=pay_1")):
        ended = plugin("payment", "resolve", "mo", *words)
        assert ended.returncode != 0
        assert ended.stderr == (
            "Error: the provider's id goes with captured, and only with that.\n"
        )


def test_a_refund_that_failed_is_tried_again_or_was_given_back(
    plugin: Run, house: Business
) -> None:
    """R6: Given a refund that fails, then a person has it tried again, and the money goes back."""
    rental = house.takes_paid_order("back", toy="lion")
    payment = rental.payment_name
    early = plugin("payment", "refund", payment, "try-again")
    assert early.stderr == f"Error: no refund of {payment} has failed.\n"
    house.cancels("back")
    house.payment_becomes(rental, "Captured", Refunded="False/RefundFailed")
    ended = plugin("payment", "refund", payment, "try-again", "--wait")
    assert ended.returncode == 0, ended.stderr
    assert house.payment_becomes(rental, "Refunded").status.refunded_minor_units == 9000
    books = house.books(rental)
    assert (books.taken, books.given_back) == (9000, 9000)


def test_a_payment_that_is_not_there_is_said_to_be(plugin: Run, house: Business) -> None:
    ended = plugin("payment", "refund", "nobody", "given-back")
    assert ended.stderr == f"Error: there is no payment nobody in shop {house.shop.name}.\n"
