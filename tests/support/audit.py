"""Compares a shop's resources with each other and with the provider's books.

`audit` holds of a shop in which nothing is left to do. While the operator still works, wait for it:
`eventually(lambda: audit(shop, simulator.ledger()))`.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

from tests.support.operator import Ledger
from tests.support.shop import Shop
from toyrental.payments.models import SETTLE, Payment, PaymentPhase
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.shared.conditions import is_true
from toyrental.stores.models import Toy, toy_phase

_KEEPS_MONEY = frozenset(
    {
        RentalPhase.PAID,
        RentalPhase.APPROVED,
        RentalPhase.RENTED,
        RentalPhase.RETURNED,
        RentalPhase.COMPLETED,
    }
)
_HAS_TOY = frozenset({RentalPhase.RENTED, RentalPhase.RETURNED})
_OVER = frozenset({PaymentPhase.VOIDED, PaymentPhase.REFUNDED})


def audit(shop: Shop, ledger: Ledger) -> bool:
    """Fail, with all that is wrong, unless resources and books agree and nothing is left over."""
    faults = list(faults_of(shop, ledger))
    assert not faults, "\n".join(faults)
    return True


def faults_of(shop: Shop, ledger: Ledger) -> Iterator[str]:
    """Yield what is wrong in a shop, in a sentence each."""
    toys = shop.find(Toy)
    rentals = {rental.uid: rental for rental in shop.find(Rental)}
    payments = {payment.spec.rental_ref.uid: payment for payment in shop.find(Payment)}
    for toy in toys:
        yield from _faults_of_toy(toy, rentals)
    booked = Counter(b.rental_uid for toy in toys for b in toy.status.bookings)
    for rental in rentals.values():
        yield from _faults_of_bookings(rental, booked[rental.uid])
        books = ledger.of(rental)
        payment = payments.pop(rental.uid, None)
        yield from _faults_of_books(rental, books)
        if payment is not None:
            yield from _faults_of_payment(rental, payment, books)
        elif books.charges:
            yield f"{rental.name} was charged and has no Payment"
    for payment in payments.values():
        yield f"{payment.name} is of a rental that is gone: {payment.spec.rental_ref.name}"


def _faults_of_toy(toy: Toy, rentals: dict[str, Rental]) -> Iterator[str]:
    for a, b in combinations(toy.status.bookings, 2):
        if a.overlaps(b.start_time, b.end_time):
            yield f"{toy.name} is promised to {a.rental_ref.name} and {b.rental_ref.name} at once"
    if sum(b.with_customer for b in toy.status.bookings) > 1:
        yield f"{toy.name} is with two customers"
    if toy.status.phase is not toy_phase(toy.spec, toy.status):
        yield f"{toy.name} is {toy_phase(toy.spec, toy.status)} and says {toy.status.phase}"
    for booking in toy.status.bookings:
        rental = rentals.get(booking.rental_uid)
        if rental is None:
            yield f"{toy.name} is booked for {booking.rental_ref.name}, which is gone"
        elif rental.phase.final:
            yield f"{toy.name} is booked for {rental.name}, which is {rental.phase}"
        elif rental.status.toy_ref is None or rental.status.toy_ref.uid != toy.uid:
            yield f"{toy.name} is booked for {rental.name}, which names {rental.status.toy_ref}"
        elif booking.with_customer != (rental.phase in _HAS_TOY):
            yield f"{toy.name} is {booking.state} for {rental.name}, which is {rental.phase}"


def _faults_of_bookings(rental: Rental, booked: int) -> Iterator[str]:
    if booked > 1:
        yield f"{rental.name} has {booked} toys"
    named = rental.status.toy_ref is not None and not rental.phase.final
    if not booked and (named or is_true(rental.status.conditions, "Booked")):
        yield f"{rental.name} is {rental.phase}, and no toy is booked for it"


def _faults_of_books(rental: Rental, books: Ledger) -> Iterator[str]:
    if len(books.charges) > 1:
        yield f"{rental.name} was charged {len(books.charges)} times"
    if books.given_back > books.taken:
        yield f"{rental.name} paid {books.taken} and got {books.given_back} back"
    price = rental.status.price.minor_units if rental.status.price else 0
    if rental.phase in _KEEPS_MONEY and (books.taken, books.given_back) != (price, 0):
        yield (
            f"{rental.name} is {rental.phase} for {price}:"
            f" {books.taken} was taken, {books.given_back} given back"
        )
    if rental.phase not in _KEEPS_MONEY and books.taken != books.given_back:
        yield f"{rental.name} is {rental.phase} and paid {books.taken - books.given_back}"


def _faults_of_payment(rental: Rental, payment: Payment, books: Ledger) -> Iterator[str]:
    said = (payment.status.captured_minor_units or 0, payment.status.refunded_minor_units or 0)
    if said != (books.taken, books.given_back):
        yield f"{payment.name} says {said}, the books {(books.taken, books.given_back)}"
    if payment.status.refund_step is not None:
        yield f"{payment.name} has a refund under way"
    for charge in books.charges:
        if charge["paymentUID"] != payment.uid:
            yield f"{rental.name} was charged for another Payment than {payment.name}"
    over = payment.phase in _OVER
    if rental.phase.final and SETTLE in payment.metadata.finalizers:
        yield f"{payment.name} is not settled, and {rental.name} is {rental.phase}"
    if rental.phase.final and over != (rental.phase is not RentalPhase.COMPLETED):
        yield f"{payment.name} is {payment.phase}, and {rental.name} is {rental.phase}"
    if not rental.phase.final and over:
        yield f"{payment.name} is {payment.phase}, and {rental.name} is {rental.phase}"
