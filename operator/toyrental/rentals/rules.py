"""The rules of rentals: from what is observed to the next step of an order's life.

`decide` asks the rules of the rental's phase in turn; the first that has a step to take decides.
A rule takes one step at most, so that a crash between two steps leaves only a step to take. All of
them are pure: the same situation gives the same decision.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from toyrental.payments.models import SETTLE, Method, Payment, PaymentSpec
from toyrental.rentals import bookings, conditions
from toyrental.rentals.conditions import Reason, Situation
from toyrental.rentals.models import Decision as OwnerDecision
from toyrental.rentals.models import DesiredState, Rental, RentalPhase, RentalSpec, Result
from toyrental.repairs.models import RepairTicket, RepairTicketSpec
from toyrental.shared import conditions as shared_conditions
from toyrental.shared.conditions import Finding, false
from toyrental.shared.decisions import NOTHING, Decision, Event, Write, soonest
from toyrental.shared.model import NameRef, ObjectRef
from toyrental.shared.resource import RENTAL_UID_LABEL, Key, Metadata
from toyrental.stores.models import BookingState, Toy

Rule = Callable[[Situation], Decision | None]

_A_SECOND = timedelta(seconds=1)


def decide(s: Situation) -> Decision:
    """Return the next step in the life of a rental."""
    if s.rental.deleting:
        return NOTHING  # the toy takes its booking back, and the Payment settles itself
    for rule in _RULES[s.rental.phase]:
        decision = rule(s)
        if decision is not None:
            return decision
    return NOTHING


# --- How an order ends before the toy is handed over ---


def cancel(s: Situation) -> Decision | None:
    """The customer cancels: until the order is approved, they may."""
    if not conditions.wanted(s.rental, DesiredState.CANCELLED):
        return None
    return _end(s, RentalPhase.CANCELLED, Reason.CANCELLED, "The customer cancelled the order.")


def deny(s: Situation) -> Decision | None:
    """The owner denies a paid order."""
    approval = s.rental.spec.approval
    if approval is None or approval.decision is not OwnerDecision.DENIED:
        return None
    why = conditions.because(approval.reason)
    return _end(s, RentalPhase.REJECTED, Reason.DENIED, f"The store denied the order{why}")


def period_over(s: Situation) -> Decision | None:
    """The period that was asked for went by before the customer could have the toy."""
    start = s.rental.spec.period.start_time
    if start is None or s.now < start + s.rental.spec.period.length:
        return None
    return _end(
        s,
        RentalPhase.REJECTED,
        Reason.PERIOD_OVER,
        "The period went by before the toy was handed over.",
    )


def payment_withdrawn(s: Situation) -> Decision | None:
    """Somebody who may called the payment off, or deleted it: there is no rental without it."""
    if s.payment is None or not s.payment_is_ours or not _called_off(s.payment):
        return None
    return _end(
        s,
        RentalPhase.REJECTED,
        Reason.PAYMENT_WITHDRAWN,
        "The payment was withdrawn by the shop.",
    )


def no_decision(s: Situation) -> Decision | None:
    """The owner did not decide before the period was over."""
    end = _stands_until(s)
    if s.approved or end is None or s.now < end:
        return None
    return _end(
        s,
        RentalPhase.REJECTED,
        Reason.NO_DECISION,
        "The store did not decide before the period was over.",
    )


def _stands_until(s: Situation) -> datetime | None:
    """Return until when a paid order waits for the store, and for a toy.

    That is the end of its period. Where that began with the order and went by while the payment was
    put off, nobody had a chance to hand the toy over: a whole period is counted from the payment.
    """
    end = s.rental.status.due_time
    paid = shared_conditions.find(s.rental.status.conditions, "Paid")
    if end is None or paid is None or s.rental.spec.period.start_time is not None:
        return end
    since = paid.last_transition_time
    return since + s.rental.spec.period.length if end <= since else end


def expire(s: Situation) -> Decision | None:
    """The customer's time to act is up.

    The Payment is told first never to charge, on the version of it that was seen uncaptured; only
    then does the order expire. A charge that slips in between makes that write fail.
    """
    deadline = _payment_deadline(s)
    if deadline is None or s.payment is None or s.now < deadline:
        return None
    if not _called_off(s.payment):
        return Decision(_refund_all(s.payment), confirm=(s.rental.key,))
    return _end(
        s,
        RentalPhase.EXPIRED,
        Reason.EXPIRED,
        "No payment method that can be charged was given in time.",
    )


def _payment_deadline(s: Situation) -> datetime | None:
    """Return when the order expires: it is only ever the customer's delay that counts.

    With another method handed on since the last attempt, it is for payments to act.
    """
    if s.payment is None or not s.payment_is_ours:
        return None
    if s.payment.status.attempt_method not in {None, s.payment.spec.method}:
        return None
    since = s.payment.awaits_customer_since
    return None if since is None else since + s.store.payment_deadline


# --- The toy: promised, kept, moved ---


def adopt_booking(s: Situation) -> Decision | None:
    """Take up a booking that already carries this rental's uid.

    It is the first look of all: a crash may have come between the booking and its note in the
    rental. A toy that cannot serve it any more is let go instead.
    """
    if s.rental.status.toy_ref is not None:
        return None
    for toy in s.shop.toys_booked_by(s.rental.uid):
        booking = toy.booking_of(s.rental.uid)
        if booking is None:
            continue
        if not bookings.fit_for(toy, s.rental, booking, s.now):
            return Decision(Write(toy, bookings.release(toy, [s.rental.uid], s.now)))
        return _reserve(s, toy, booking.start_time, booking.end_time)
    return None


def _reserve(s: Situation, toy: Toy, start: datetime, end: datetime) -> Decision:
    """Note the toy in the rental. The price is fixed once: moving to another toy keeps it."""
    status = s.rental.status
    phase = s.rental.phase
    changes = {
        "toy_ref": ObjectRef(name=toy.name, uid=toy.uid),
        "price": status.price or toy.spec.daily_rate.times(s.rental.spec.period.days),
        "payment_ref": NameRef(name=s.rental.payment_name),
        "start_time": start,
        "due_time": end,
    }
    noted = s.rental.with_status(**changes)
    seen = Situation(noted, s.store, s.shop, s.payment, s.ticket, s.now)
    reserved = RentalPhase.RESERVED if phase is RentalPhase.PENDING else phase
    return Decision(_note(s, seen, reserved))


def take_turn(s: Situation) -> Decision | None:
    """Book a toy when the rental's turn in the line has come."""
    if s.rental.status.toy_ref is not None or not bookings.served(s.rental, s.store):
        return None
    toy = bookings.toy_for(s.rental, s.shop, s.store, s.now)
    return None if toy is None else Decision(Write(toy, bookings.hold(toy, s.rental, s.now)))


def drop_strays(s: Situation) -> Decision | None:
    """Let go of every toy that is booked for this rental and is not the one its status names."""
    ref = s.rental.status.toy_ref
    if ref is None:
        return None
    for toy in s.shop.toys_booked_by(s.rental.uid):
        if toy.uid != ref.uid:
            released = bookings.release(toy, [s.rental.uid], s.now)
            return Decision(Write(toy, released), confirm=(s.rental.key,))
    return None


def keep_booking(s: Situation) -> Decision | None:
    """Check that the booking is there and can be kept; look for another toy where not.

    A move clears `toyRef` first. The booking is missed only once the toy was read from the API
    server: a cache may lag behind.
    """
    ref = s.rental.status.toy_ref
    if ref is None:
        return None
    if s.toy is None or s.booking is None:
        confirm = (Key("Toy", s.rental.namespace, ref.name),)
        return Decision(_forget_toy(s), confirm=confirm)
    if s.booking.with_customer or bookings.fit_for(s.toy, s.rental, s.booking, s.now):
        return None
    if bookings.toy_for(s.rental, s.shop, s.store, s.now) is not None:
        return Decision(_forget_toy(s))
    return None


def _forget_toy(s: Situation) -> Write | None:
    moving = s.rental.with_status(toy_ref=None)
    seen = Situation(moving, s.store, s.shop, s.payment, s.ticket, s.now)
    return _note(s, seen, s.rental.phase)


def toy_unavailable(s: Situation) -> Decision | None:
    """No toy can serve the order any more, or none could when its time came."""
    booked = conditions.booked(s)
    if booked.status == "True" or not (_hopeless(s) or _too_late(s)):
        return None
    ended = _end(
        s,
        RentalPhase.REJECTED,
        Reason.TOY_UNAVAILABLE,
        "No toy could be given to the customer for the period.",
    )
    wanted = {ref.name for ref in (s.rental.status.toy_ref, s.rental.spec.toy_ref) if ref}
    confirm = tuple(Key("Toy", s.rental.namespace, name) for name in sorted(wanted))
    return Decision(ended.write, confirm=confirm)


def _hopeless(s: Situation) -> bool:
    """Whether the one toy that was asked for is out of stock for good."""
    ref = s.rental.spec.toy_ref
    if ref is None:
        return False
    toy = s.shop.toy(ref.name)
    return toy is not None and toy.discarded


def _too_late(s: Situation) -> bool:
    """Whether an approved order found no toy in time.

    That is by its start where one was asked for, else by the end of the period it was booked for.
    """
    if not s.approved or s.was.get("Paid") != "True":
        return False
    latest = s.rental.spec.period.start_time or _stands_until(s)
    return latest is not None and s.now >= latest


# --- The payment ---


def ask_for_payment(s: Situation) -> Decision | None:
    """Create the Payment, once toy and price are on record, for an order that still stands."""
    status = s.rental.status
    if s.payment is not None or status.price is None or status.toy_ref is None:
        return None
    free = status.price.minor_units == 0
    if not free and s.store.payment_gateway_ref is None:
        return None
    payment = Payment(
        metadata=Metadata(
            name=s.rental.payment_name,
            namespace=s.rental.namespace,
            labels={RENTAL_UID_LABEL: s.rental.uid},
            finalizers=(SETTLE,),
            owner_references=(s.rental.as_owner(),),
        ),
        spec=PaymentSpec(
            rental_ref=ObjectRef(name=s.rental.name, uid=s.rental.uid),
            gateway_ref=None if free else s.store.payment_gateway_ref,
            amount=status.price,
            customer=s.rental.spec.customer,
            method=_method(s.rental.spec),
        ),
    )
    return Decision(Write(None, payment), confirm=(s.rental.key,))


def replace_method(s: Situation) -> Decision | None:
    """Hand the customer's new payment method on, after a decline."""
    if s.payment is None or not s.payment_is_ours or _called_off(s.payment):
        return None
    method = _method(s.rental.spec)
    waits_for_customer = (
        s.payment.awaits_customer_since is not None and s.payment.spec.resolution is None
    )
    if not waits_for_customer or method == s.payment.spec.method:
        return None
    return Decision(Write(s.payment, s.payment.with_spec(method=method)), confirm=(s.rental.key,))


def _method(spec: RentalSpec) -> Method:
    return Method(token=spec.payment_method, secret_ref=spec.payment_method_secret_ref)


def show_to_store(s: Situation) -> Decision | None:
    """The order is paid: now, and only now, the store sees it.

    A store that approves by itself does so in the same write, which a cancellation either comes
    before or is too late for.
    """
    if conditions.paid(s).status != "True":
        return None
    return Decision(_note(s, s, RentalPhase.APPROVED if s.approved else RentalPhase.PAID))


def _called_off(payment: Payment) -> bool:
    """Whether the payment shall not be, or not stay, charged."""
    return payment.withheld or payment.deleting


def _refund_all(payment: Payment) -> Write:
    everything = payment.with_spec(refund_minor_units=payment.spec.amount.minor_units)
    return Write(payment, everything)


# --- The hand-over, the return, the inspection ---


def hand_over(s: Situation) -> Decision | None:
    """Give an approved, paid order its toy when its time has come.

    Only an approval on record counts: the owner's word, or the phase in which the store's policy
    was noted. From either on the API server refuses a cancellation.
    """
    if not s.approved or s.toy is None or s.booking is None:
        return None
    on_record = s.rental.spec.approval is not None or s.rental.phase is RentalPhase.APPROVED
    if not on_record or not bookings.can_hand_over(s.toy, s.booking, s.now):
        return None
    return Decision(Write(s.toy, bookings.hand_over(s.toy, s.rental, s.booking, s.now)))


def note_hand_over(s: Situation) -> Decision | None:
    """The customer has a toy: what else would have ended or moved the order came too late."""
    for toy in s.shop.toys_booked_by(s.rental.uid):
        booking = toy.booking_of(s.rental.uid)
        if booking is not None and booking.with_customer:
            noted = s.rental.with_status(
                toy_ref=ObjectRef(name=toy.name, uid=toy.uid),
                start_time=booking.start_time,
                due_time=booking.end_time,
            )
            seen = Situation(noted, s.store, s.shop, s.payment, s.ticket, s.now)
            return Decision(_note(s, seen, RentalPhase.RENTED))
    return None


def await_start(s: Situation) -> Decision | None:
    """Approved, and not yet time or the toy not free yet: it waits."""
    if not s.approved:
        return None
    return Decision(_note(s, s, RentalPhase.APPROVED), look_again=_next_moment(s))


def take_back(s: Situation) -> Decision | None:
    """The customer brought the toy back."""
    if not conditions.wanted(s.rental, DesiredState.RETURNED):
        return None
    if s.toy is not None and s.booking is not None and s.booking.state is not BookingState.RETURNED:
        return Decision(Write(s.toy, bookings.take_back(s.toy, s.rental, s.now)))
    return Decision(_note(s, s, RentalPhase.RETURNED), confirm=_unless_seen(s))


def shelve(s: Situation) -> Decision | None:
    """The owner accepted the toy: it can be rented again."""
    inspection = s.rental.spec.inspection
    if inspection is None or inspection.result is not Result.ACCEPTED:
        return None
    if s.toy is None or s.booking is None:
        return None
    return Decision(Write(s.toy, bookings.shelve(s.toy, s.rental, s.now)))


def send_to_repair(s: Situation) -> Decision | None:
    """The owner found damage: a ticket is opened, then the toy leaves the shelf, in one write."""
    inspection = s.rental.spec.inspection
    if inspection is None or inspection.result is not Result.DAMAGED:
        return None
    if s.toy is None or s.booking is None or not s.ticket_is_ours:
        return None
    if s.ticket is None:
        return Decision(Write(None, _ticket(s, s.toy)))
    ref = ObjectRef(name=s.ticket.name, uid=s.ticket.uid)
    sent = bookings.send_to_repair(s.toy, s.rental, ref, s.now)
    told = f"The toy came back damaged from Rental {s.rental.name}; see RepairTicket {ref.name}."
    return Decision(Write(s.toy, sent, Event("Damaged", told, "Warning")), confirm=(s.ticket.key,))


def _ticket(s: Situation, toy: Toy) -> RepairTicket:
    inspection = s.rental.spec.inspection
    notes = (inspection.notes if inspection else None) or f"Damaged in rental {s.rental.name}."
    missing = inspection.missing_parts if inspection else ()
    if missing:
        notes += "\nMissing: " + ", ".join(f"{part.count} x {part.name}" for part in missing)
    return RepairTicket(
        metadata=Metadata(
            name=s.rental.ticket_name,
            namespace=s.rental.namespace,
            labels={RENTAL_UID_LABEL: s.rental.uid},
            owner_references=(toy.as_owner(),),
        ),
        spec=RepairTicketSpec(toy_ref=NameRef(name=toy.name), description=notes[:2048]),
    )


def earn_payment(s: Situation) -> Decision | None:
    """Let the Payment go before the order completes.

    Whoever prunes completed orders deletes their Payments too: without its finalizer a Payment is
    history, with it the money would be given back. A refund under way keeps it, and with it the
    order, until it is done.
    """
    payment = s.payment
    if s.rental.spec.inspection is None or s.booking is not None:
        return None
    if payment is None or not s.unearned:
        return None
    if not payment.captured or payment.refund_outstanding:
        return None
    finalizers = tuple(f for f in payment.metadata.finalizers if f != SETTLE)
    return Decision(Write(payment, payment.with_finalizers(finalizers)))


def complete(s: Situation) -> Decision | None:
    """The toy is inspected and dealt with, the money is earned: the order has come to its end."""
    if s.rental.spec.inspection is None or s.booking is not None or s.unearned:
        return None
    payment = Key("Payment", s.rental.namespace, s.rental.payment_name)
    confirm = (*_unless_seen(s), *((payment,) if s.payment is None else ()))
    return Decision(_note(s, s, RentalPhase.COMPLETED), confirm=confirm)


def _unless_seen(s: Situation) -> tuple[Key, ...]:
    """Name the toy to read before a step that rests on its carrying no booking of ours."""
    ref = s.rental.status.toy_ref
    if s.booking is not None or ref is None:
        return ()
    return (Key("Toy", s.rental.namespace, ref.name),)


# --- After the end ---


def give_back(s: Situation) -> Decision | None:
    """Void or refund the payment of an order that did not come about (R6)."""
    if s.payment is None or not s.payment.owned_by(s.rental):
        return None
    if s.payment.spec.refund_minor_units >= s.payment.spec.amount.minor_units:
        return None
    return Decision(_refund_all(s.payment))


def release_toys(s: Situation) -> Decision | None:
    """Take back every booking of an order that has ended."""
    for toy in s.shop.toys_booked_by(s.rental.uid):
        return Decision(Write(toy, bookings.release(toy, [s.rental.uid], s.now)))
    return None


def acknowledge(s: Situation) -> Decision | None:
    """Note that a change of an order that has ended was seen: nothing comes of it."""
    generation = s.rental.metadata.generation
    if s.rental.status.observed_generation == generation:
        return None
    as_it_was = shared_conditions.seen_at(s.rental.status.conditions, generation)
    return Decision(Write(s.rental, s.rental.with_status(conditions=as_it_was)))


# --- Telling ---


def tell(s: Situation) -> Decision | None:
    """Keep the conditions true while there is nothing to do but wait."""
    return Decision(_note(s, s, s.rental.phase), look_again=_next_moment(s))


def _next_moment(s: Situation) -> datetime | None:
    """Return when time alone changes something."""
    status, phase = s.rental.status, s.rental.phase
    start = s.rental.spec.period.start_time
    moments: list[datetime | None] = []
    if phase is RentalPhase.PENDING and start is not None:
        moments.append(start + s.rental.spec.period.length)
    if phase is RentalPhase.RESERVED:
        moments.append(_payment_deadline(s))
        if s.payment is not None and s.payment.status.phase is None:
            moments.append(s.payment.created + conditions.PAYMENTS_SILENT_AFTER)
    if phase in {RentalPhase.RESERVED, RentalPhase.PAID, RentalPhase.APPROVED}:
        moments += [status.start_time, status.due_time, _stands_until(s)]
    if phase is RentalPhase.RENTED and status.due_time is not None:
        moments.append(status.due_time + _A_SECOND)
    return soonest(*(m for m in moments if m is not None and m > s.now))


def _note(before: Situation, seen: Situation, phase: RentalPhase) -> Write | None:
    """Return the write that puts a rental in `phase`, with conditions as they are seen."""
    found = conditions.observe(seen, phase, seen.rental.status.due_time)
    return _status_write(before, seen, phase, found)


def _end(s: Situation, phase: RentalPhase, reason: Reason, message: str) -> Decision:
    """End the order: Ready says why, and whether it is what the customer wanted."""
    wanted = phase is RentalPhase.CANCELLED
    message += _what_becomes_of_the_payment(s)
    ready = Finding("True" if wanted else "False", str(reason), message)
    found = conditions.observe(s, phase, s.rental.status.due_time)
    found["Booked"] = false(reason, message)
    paid = conditions.paid(s)
    if paid.status != "True":
        found["Paid"] = Finding(paid.status, paid.reason, message)  # asks for no other method
    if s.rental.spec.approval is None and s.was.get("Approved") != "True":
        found["Approved"] = false(reason, message)
    found |= shared_conditions.readiness(ready, stalled=not wanted)
    return Decision(_status_write(s, s, phase, found))


def _what_becomes_of_the_payment(s: Situation) -> str:
    payment = s.payment
    if payment is None or not s.payment_is_ours or payment.spec.amount.minor_units == 0:
        return ""
    if payment.captured:
        return f" {payment.spec.amount} is given back."
    return " The payment is called off."


def _status_write(
    before: Situation,
    seen: Situation,
    phase: RentalPhase,
    found: dict[str, Finding | None],
) -> Write | None:
    rental = before.rental
    after = seen.rental.with_status(
        phase=phase,
        conditions=shared_conditions.update(
            rental.status.conditions,
            found,
            generation=rental.metadata.generation,
            now=before.now,
        ),
    )
    if after.status == rental.status:
        return None
    return Write(rental, after, _moved(rental, after) or _event(before, phase, found["Ready"]))


def _moved(before: Rental, after: Rental) -> Event | None:
    """Tell people that an order has another toy than it had."""
    toy = after.status.toy_ref
    had_none_yet = before.phase is RentalPhase.PENDING
    if toy is None or before.status.toy_ref is not None or had_none_yet:
        return None
    return Event("Moved", f"The order has toy {toy.name} now.")


def _event(s: Situation, phase: RentalPhase, ready: Finding | None) -> Event | None:
    """Tell people of a new phase, or of a new reason to wait."""
    was = shared_conditions.find(s.rental.status.conditions, "Ready")
    if ready is None:
        return None
    if phase is not s.rental.phase:
        ended_badly = phase in {RentalPhase.REJECTED, RentalPhase.EXPIRED}
        return Event(phase.value, ready.message, "Warning" if ended_badly else "Normal")
    if was is None or was.reason != ready.reason:
        return Event(ready.reason, ready.message, "Warning" if ready.status != "True" else "Normal")
    return None


_PEOPLE_END_IT: tuple[Rule, ...] = (cancel, deny)

_KEEP_A_TOY: tuple[Rule, ...] = (adopt_booking, drop_strays, keep_booking, take_turn)

_AFTER_PAYMENT: tuple[Rule, ...] = (
    note_hand_over,
    *_PEOPLE_END_IT,
    no_decision,
    payment_withdrawn,
    period_over,
    *_KEEP_A_TOY,
    hand_over,
    toy_unavailable,
    await_start,
    tell,
)

_NOT_COME_ABOUT: tuple[Rule, ...] = (give_back, release_toys, acknowledge)

_RULES: dict[RentalPhase, tuple[Rule, ...]] = {
    RentalPhase.PENDING: (cancel, period_over, adopt_booking, take_turn, tell),
    RentalPhase.RESERVED: (
        *_PEOPLE_END_IT,
        replace_method,
        expire,
        payment_withdrawn,
        period_over,
        *_KEEP_A_TOY,
        toy_unavailable,
        ask_for_payment,
        show_to_store,
        tell,
    ),
    RentalPhase.PAID: _AFTER_PAYMENT,
    RentalPhase.APPROVED: _AFTER_PAYMENT,
    RentalPhase.RENTED: (drop_strays, take_back, tell),
    RentalPhase.RETURNED: (shelve, send_to_repair, earn_payment, complete, tell),
    RentalPhase.COMPLETED: (release_toys, acknowledge),
    RentalPhase.CANCELLED: _NOT_COME_ABOUT,
    RentalPhase.REJECTED: _NOT_COME_ABOUT,
    RentalPhase.EXPIRED: _NOT_COME_ABOUT,
}
