"""What stands between the operator and a provider: its circuits, and the line before them."""

import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from toyrental.payments import line
from toyrental.payments.circuit import Breaker, Clock, News
from toyrental.payments.models import CIRCUIT_OPEN, SUSPENDED, Circuit, Payment, PaymentGateway
from toyrental.payments.providers.port import (
    AccountAnswer,
    Capabilities,
    Charge,
    ChargeAnswer,
    Inquiry,
    LookUpAnswer,
    NotSent,
    Provider,
    Refund,
    RefundAnswer,
)

A = TypeVar("A")

PROMPTLY = timedelta(seconds=1)
"""How soon a circuit that is about to move is looked at again."""

REST = timedelta(seconds=3)
"""How long a half-open circuit waits for a payment to probe it, before its account is asked for."""


Waiting = Callable[[], Iterable[Payment]]
"""Gives those who wait; it is asked only where turns are given."""


class Turns:
    """Whose turn it is to call a provider through one circuit, of those who waited for that."""

    def __init__(self, breaker: Breaker, clock: Clock) -> None:
        self._breaker = breaker
        self._clock = clock
        self._given: dict[str, datetime] = {}
        self._era: tuple[int, ...] = ()
        self._room = 0

    def give(self, era: tuple[int, ...], waiting: Waiting) -> None:
        """Give turns anew in a new era: half open to as many as are to probe, else to all."""
        if self._era == era:
            return
        self._era = era
        uids = [payment.uid for payment in line.in_order(waiting())]
        settings = self._breaker.settings
        if self._breaker.circuit is Circuit.HALF_OPEN:
            uids = uids[: settings.probes]
            self._room = settings.probes - len(uids)
        chances = [random.random() for _ in uids]  # noqa: S311 - spreads load, guards nothing
        self._given = line.turns(uids, self._clock(), settings.recovery_per_second, chances)

    def of(self, uid: str) -> datetime | None:
        """Return a payment's turn; who has none goes as a probe while too few do."""
        if uid not in self._given and self._breaker.circuit is Circuit.HALF_OPEN and self._room:
            self._room -= 1
            return self.at_the_end(uid)
        return self._given.get(uid)

    def at_the_end(self, uid: str) -> datetime:
        """Return a payment's turn: behind all others where it has none yet."""
        if uid not in self._given:
            pause = timedelta(seconds=1 / self._breaker.settings.recovery_per_second)
            last = max(self._given.values(), default=self._clock())
            self._given[uid] = max(last + pause, self._clock())
        return self._given[uid]

    def used(self, uid: str) -> None:
        """Note that a payment has called."""
        self._given.pop(uid, None)


class Guard:
    """The circuits of one gateway in this process: they outlive changes of its spec."""

    def __init__(self, gateway: PaymentGateway, clock: Clock) -> None:
        self.uid = gateway.uid
        self.suspended = gateway.spec.suspended
        self.charges = Breaker(gateway.spec.circuit_breaker, clock)
        self.inquiries = Breaker(gateway.spec.circuit_breaker, clock)
        """The circuit of look-ups and refunds."""

        self._clock = clock
        self._charged = Turns(self.charges, clock)
        self.asked = Turns(self.inquiries, clock)
        """Whose turn it is to be looked up or given back."""

        if not self.suspended:
            status = gateway.status
            self.charges.seed(status.circuit or Circuit.CLOSED, status.retry_time)
            if status.refund_circuit not in {None, Circuit.CLOSED}:
                self.inquiries.seed(Circuit.HALF_OPEN, clock())

    def heed(self, gateway: PaymentGateway) -> None:
        """Heed the gateway's settings as they are now."""
        self.charges.settings = self.inquiries.settings = gateway.spec.circuit_breaker
        if self.suspended != gateway.spec.suspended:
            self.suspended = gateway.spec.suspended
            self.charges.reset()
            self.inquiries.reset()

    @property
    def news(self) -> News | None:
        """The first transition that nobody was told of yet."""
        for breaker, of_refunds in ((self.charges, False), (self.inquiries, True)):
            if breaker.news:
                return News(breaker.news[0], of_refunds)
        return None

    def told(self, news: News) -> None:
        """Take note that people were told of a transition."""
        breaker = self.inquiries if news.of_refunds else self.charges
        if breaker.news and breaker.news[0] is news.transition:
            breaker.news.popleft()

    @property
    def look_again(self) -> datetime | None:
        """When a circuit that is not closed is to be looked at again."""
        moments = [
            max(breaker.retry_time or soon, soon)
            for breaker in (self.charges, self.inquiries)
            if breaker.look() is not Circuit.CLOSED
            for soon in (self._clock() + PROMPTLY,)
        ]
        return None if self.suspended else min(moments, default=None)

    def hold(self, payment: Payment, waiting: Waiting) -> line.Held | None:
        """Say why a payment may not be charged now, if it may not."""
        gate = self._gate(self.charges)
        if gate.closed and not payment.in_line:
            return None
        turn = None
        if payment.in_line and not self.suspended and gate.circuit is not Circuit.OPEN:
            self._charged.give((self.charges.era,), waiting)
            known = self._charged.at_the_end if gate.closed else self._charged.of
            turn = known(payment.uid)
        probing = gate.circuit is Circuit.HALF_OPEN and not payment.in_line
        others = probing and any(True for _ in waiting())
        return line.hold(gate, in_line=payment.in_line, others_in_line=others, turn=turn)

    def leave(self, payment: Payment, waiting: Waiting) -> line.Leave:
        """Say whether a payment that waits to be looked up or given back may call now.

        Who waited gets a turn when this circuit moves, and when charges are taken up again: the
        provider is well then, and pauses of their own no longer mean anything.
        """
        gate = self._gate(self.inquiries)
        if self.suspended:
            return line.FREE
        if gate.circuit is not Circuit.OPEN:
            self.asked.give((self.inquiries.era, self.charges.closings), waiting)
        return line.leave(gate, self.asked.of(payment.uid))

    def _gate(self, breaker: Breaker) -> line.Gate:
        circuit = breaker.look()
        now = self._clock()
        return line.Gate(circuit, self.suspended, breaker.retry_time, now, breaker.probing)


class GuardedProvider:
    """A provider that is called only as far as its circuits let it."""

    def __init__(self, provider: Provider, guard: Guard) -> None:
        self.capabilities: Capabilities = provider.capabilities
        self._provider = provider
        self._guard = guard

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """Take the amount; the same key never takes it twice."""
        return await self._ask(self._guard.charges, lambda: self._provider.charge(charge))

    async def look_up(self, inquiry: Inquiry) -> LookUpAnswer:
        """Find what became of a payment, by the uid we sent with it."""
        return await self._inquire(inquiry.payment_uid, lambda: self._provider.look_up(inquiry))

    async def refund(self, refund: Refund) -> RefundAnswer:
        """Give the amount back; the same key never gives it twice."""
        return await self._inquire(refund.payment_uid, lambda: self._provider.refund(refund))

    async def validate(self) -> AccountAnswer:
        """Check the credentials, unless the provider is left alone.

        Where no payment comes to probe a half-open circuit, this does.
        """
        charges, inquiries = self._guard.charges, self._guard.inquiries

        def ask() -> Awaitable[AccountAnswer]:
            return self._ask(inquiries, self._provider.validate)

        if charges.look() is Circuit.CLOSED:
            return await ask()
        if charges.rests(REST):
            return await self._ask(charges, ask)
        return NotSent(line.LEFT_ALONE, CIRCUIT_OPEN, charges.retry_time)

    async def close(self) -> None:
        """Let go of connections."""
        await self._provider.close()

    async def _inquire(self, uid: str, ask: Callable[[], Awaitable[A]]) -> A | NotSent:
        """Ask for a payment: with that its turn is over, if it had one, whatever the answer."""

        def called() -> Awaitable[A]:
            self._guard.asked.used(uid)
            return ask()

        return await self._ask(self._guard.inquiries, called)

    async def _ask(self, breaker: Breaker, ask: Callable[[], Awaitable[A]]) -> A | NotSent:
        if self._guard.suspended:
            return NotSent(line.NOT_CALLED, SUSPENDED)
        return await breaker.call(ask)
