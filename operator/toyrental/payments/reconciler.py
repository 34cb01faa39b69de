"""Reconciling payments and gateways: ask the rules, call the provider, write what was learned."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from toyrental.kube import errors
from toyrental.kube.cache import Cache
from toyrental.kube.client import Client
from toyrental.kube.controller import take_steps
from toyrental.kube.writer import Writer
from toyrental.payments import answers, gateway_rules, line, rules
from toyrental.payments.credentials import line_in
from toyrental.payments.gateways import Gateways, GatewayUnusable
from toyrental.payments.guard import Guard
from toyrental.payments.line import FREE, LEFT_ALONE, Held, Leave
from toyrental.payments.metrics import GATEWAYS, Place
from toyrental.payments.models import (
    CIRCUIT_OPEN,
    Circuit,
    Payment,
    PaymentGateway,
    PaymentGatewaySpec,
    PaymentPhase,
)
from toyrental.payments.providers import port
from toyrental.payments.providers.port import Provider
from toyrental.payments.situation import (
    Call,
    LookUp,
    MethodMissing,
    SendCharge,
    SendRefund,
    Situation,
    Step,
    Terms,
    waits_to_inquire,
)
from toyrental.rentals.models import Rental
from toyrental.shared.clock import Clock
from toyrental.shared.decisions import NOTHING, Decision
from toyrental.shared.money import Money
from toyrental.shared.resource import Key, Resource

UNSETTLED_AT = "payments/unsettled-at"
OPEN_AT = "payments/open-at"
INQUIRING_AT = "payments/inquiring-at"
DEFERRED_AT = "payments/deferred-at"

COUNTED_EVERY = timedelta(seconds=3)
"""How often the number of deferred payments is written at most."""


class PaymentReconciler:
    """Moves each payment to its end, through its provider."""

    kind = "Payment"
    needs = ("Payment", "PaymentGateway", "Rental")

    def __init__(
        self, cache: Cache, writer: Writer, clock: Clock, client: Client, gateways: Gateways
    ) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        self._client = client
        self._gateways = gateways
        cache.add_index("Payment", OPEN_AT, open_at)
        cache.add_index("Payment", INQUIRING_AT, inquiring_at)
        cache.add_index("Payment", DEFERRED_AT, deferred_at)

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        """Return which payments a change concerns.

        Of rentals that is only that one has ended, of gateways that they can be called otherwise
        than before: that is what wakes the payments that were put off.
        """
        match after or before:
            case Payment() as payment:
                yield payment.key
            case PaymentGateway() as gateway:
                yield from self._concerned(gateway, before, after)
            case Rental() as rental if after is None or rental.settled:
                yield Key(self.kind, rental.namespace, rental.payment_name)
            case _:
                return

    def _concerned(
        self, gateway: PaymentGateway, before: Resource | None, after: Resource | None
    ) -> Iterable[Key]:
        """Return the payments for which a change of their gateway bears on its calls.

        A circuit that opens is nothing to those who wait, one that is half open something to as
        many as are to probe, and none to the many that rest.
        """
        if not isinstance(before, PaymentGateway) or not isinstance(after, PaymentGateway):
            yield from self._cache.keys_under(self.kind, OPEN_AT, _place(gateway))
            return
        if _described_anew(before, after):
            yield from self._cache.keys_under(self.kind, OPEN_AT, _place(gateway))
            return
        was, now = before.status, after.status
        for index, old, new in (
            (DEFERRED_AT, was.circuit, now.circuit),
            (INQUIRING_AT, was.refund_circuit, now.refund_circuit),
        ):
            if old is not new and new is Circuit.HALF_OPEN:
                yield from self._first_in_line(gateway, index)
            elif old is not new and new is Circuit.CLOSED:
                yield from self._cache.keys_under(self.kind, DEFERRED_AT, _place(gateway))
                yield from self._cache.keys_under(self.kind, INQUIRING_AT, _place(gateway))

    def _first_in_line(self, gateway: PaymentGateway, index: str) -> Iterable[Key]:
        found = self._deferred(gateway) if index == DEFERRED_AT else self._inquiring(gateway)
        first = line.in_order(found)[: gateway.spec.circuit_breaker.probes]
        return [payment.key for payment in first]

    async def reconcile(self, key: Key) -> datetime | None:
        """Take a payment as far as it goes."""
        heeded = False

        async def decide() -> Decision:
            nonlocal heeded
            payment = self._cache.get(key)
            told = self._gateways.take_told(key)
            heeded = heeded or told
            if not isinstance(payment, Payment):
                return NOTHING
            return await self._decide(payment, told=told)

        try:
            return await take_steps(self._writer, key, decide)
        except errors.ApiError:
            if heeded:
                self._gateways.tell(key)
            raise

    async def _decide(
        self, payment: Payment, *, told: bool = False, confirmed: bool = False
    ) -> Decision:
        """Ask the rules, and the provider, until there is something to write down or wait for."""
        provider, situation = await self._observe(payment, told=told)
        step = rules.decide(situation)
        while not isinstance(step, Decision):
            if provider is None:
                return NOTHING
            if isinstance(step, SendCharge) and step.confirm and not confirmed:
                return await self._decide_anew(payment.key)
            step = await self._call(provider, situation, step)
        return step

    async def _decide_anew(self, key: Key) -> Decision:
        """Decide on the payment as the API server knows it, rather than the cache."""
        await self._writer.refresh(key)
        payment = self._cache.get(key)
        if not isinstance(payment, Payment):
            return NOTHING
        return await self._decide(payment, confirmed=True)

    async def _observe(self, payment: Payment, *, told: bool) -> tuple[Provider | None, Situation]:
        shop = payment.namespace
        rental = self._cache.get(Key("Rental", shop, payment.spec.rental_ref.name))
        ours = isinstance(rental, Rental) and rental.uid == payment.spec.rental_ref.uid
        provider, terms, obstacle, held, leave = None, None, "", None, FREE
        ref = payment.spec.gateway_ref
        if ref is not None:
            gateway = self._cache.get(Key("PaymentGateway", shop, ref.name))
            known = gateway if isinstance(gateway, PaymentGateway) else None
            try:
                provider = await self._gateways.provider(known, ref.name)
                spec = known.spec if known is not None else PaymentGatewaySpec()
                terms = Terms(
                    timedelta(seconds=spec.timeout_seconds),
                    provider.capabilities,
                    timedelta(seconds=spec.patience_seconds),
                )
                if known is not None:
                    held, leave = self._held(known, payment), self._leave(known, payment)
            except GatewayUnusable as error:
                obstacle = str(error)
        return provider, Situation(
            payment=payment,
            rental=rental if isinstance(rental, Rental) and ours else None,
            terms=terms,
            obstacle=obstacle,
            now=self._clock(),
            held=held,
            leave=leave,
            told=told,
        )

    def _held(self, gateway: PaymentGateway, payment: Payment) -> Held | None:
        """Say why the gateway does not let a payment be charged now, if it does not."""
        return self._gateways.guard(gateway).hold(payment, lambda: self._deferred(gateway))

    def _leave(self, gateway: PaymentGateway, payment: Payment) -> Leave:
        """Say whether the payment may be looked up or given back now, if it waits for that."""
        if not waits_to_inquire(payment, self._clock()):
            return FREE
        return self._gateways.guard(gateway).leave(payment, lambda: self._inquiring(gateway))

    def _deferred(self, gateway: PaymentGateway) -> Iterable[Payment]:
        """Yield the payments that wait in line to be charged."""
        for payment in self._cache.find("Payment", DEFERRED_AT, _place(gateway)):
            if isinstance(payment, Payment) and payment.in_line and not payment.withheld:
                yield payment

    def _inquiring(self, gateway: PaymentGateway) -> Iterable[Payment]:
        """Yield the payments that wait to be looked up or given back."""
        now = self._clock()
        for payment in self._cache.find("Payment", INQUIRING_AT, _place(gateway)):
            if isinstance(payment, Payment) and waits_to_inquire(payment, now):
                yield payment

    async def _call(self, provider: Provider, s: Situation, call: Call) -> Step:
        payment = s.payment
        match call:
            case SendCharge(key):
                token = await self._token(payment)
                if token is None:
                    return answers.learn_charge(s, MethodMissing())
                charge = port.Charge(
                    key=key,
                    amount=payment.spec.amount,
                    token=token,
                    customer=payment.spec.customer,
                    payment_uid=payment.uid,
                    rental_uid=payment.spec.rental_ref.uid,
                    attempt=payment.status.attempt,
                )
                return answers.learn_charge(s, await provider.charge(charge))
            case LookUp():
                inquiry = port.Inquiry(
                    payment_uid=payment.uid,
                    amount=payment.spec.amount,
                    since=payment.created,
                    attempt=payment.status.attempt,
                    gateway_payment_id=payment.status.gateway_payment_id,
                )
                return answers.learn_look_up(s, await provider.look_up(inquiry))
            case SendRefund(key, gateway_payment_id, step):
                refund = port.Refund(
                    key=key,
                    gateway_payment_id=gateway_payment_id,
                    amount=Money(
                        currency=payment.spec.amount.currency, minor_units=step.minor_units
                    ),
                    step=step.number,
                    payment_uid=payment.uid,
                    rental_uid=payment.spec.rental_ref.uid,
                )
                return answers.learn_refund(s, step, await provider.refund(refund))

    async def _token(self, payment: Payment) -> str | None:
        """Return the payment method's token, read anew from its Secret where it is in one."""
        ref = payment.spec.method.secret_ref
        if ref is None:
            return payment.spec.method.token
        try:
            secret = await self._client.get_secret(payment.namespace, ref.name)
        except (errors.NotFound, errors.Forbidden):
            return None
        return line_in(secret, ref.key)


class PaymentGatewayReconciler:
    """Says of each gateway whether it can be charged, and keeps it while payments need it."""

    kind = "PaymentGateway"
    needs = ("PaymentGateway", "Payment")

    def __init__(self, cache: Cache, writer: Writer, clock: Clock, gateways: Gateways) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        self._gateways = gateways
        self._checks: dict[Key, _Check] = {}
        self._doubted: set[Key] = set()
        self._counted: dict[Key, datetime] = {}
        cache.add_index("Payment", UNSETTLED_AT, unsettled_at)
        cache.add_index("Payment", DEFERRED_AT, deferred_at)

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        """Return which gateways a change concerns.

        Of payments it concerns a gateway that goes that one is settled, a gateway that is well that
        its credentials were refused, and any that one is put off, or no more, or that the last call
        moved its circuit.
        """
        match after or before:
            case PaymentGateway() as gateway:
                yield gateway.key
            case Payment() as payment if payment.spec.gateway_ref is not None:
                key = Key(self.kind, payment.namespace, payment.spec.gateway_ref.name)
                found = self._cache.get(key)
                if not isinstance(found, PaymentGateway):
                    return
                settled = after is None or payment.settled
                doubted = found.ready and _refused(payment)
                if doubted:
                    self._doubted.add(key)
                moved = _is_deferred(before) != _is_deferred(after)
                gone = found.deleting and settled
                if gone or doubted or moved or self._gateways.has_news(found):
                    yield key
            case _:
                return

    async def reconcile(self, key: Key) -> datetime | None:
        """Take a gateway as far as it goes."""
        telling: gateway_rules.Seen | None = None

        async def decide() -> Decision:
            nonlocal telling
            gateway = self._cache.get(key)
            if not isinstance(gateway, PaymentGateway):
                await self._forget(key)
                return NOTHING
            guard = self._gateways.guard(gateway)
            if telling is not None:
                self._told(key, guard, telling)
            checked = await self._checked(gateway, guard)
            GATEWAYS.show(gateway, guard)
            decision, telling = self._decide(gateway, guard, checked)
            return decision

        return await take_steps(self._writer, key, decide)

    def _decide(
        self, gateway: PaymentGateway, guard: Guard, checked: gateway_rules.Checked
    ) -> tuple[Decision, gateway_rules.Seen | None]:
        """Return what to do, and what people are told by it once it is written."""
        unsettled = bool(self._cache.keys_under("Payment", UNSETTLED_AT, _place(gateway)))
        while True:
            seen = self._seen(gateway, guard)
            decision = gateway_rules.decide(gateway, checked, unsettled, seen, self._clock())
            write = decision.write
            if write is not None:
                return decision, seen if write.after.status != gateway.status else None
            if seen.news is None:
                return decision, None
            guard.told(seen.news)

    def _seen(self, gateway: PaymentGateway, guard: Guard) -> gateway_rules.Seen:
        look_again = guard.look_again
        return gateway_rules.Seen(
            charges=guard.charges.circuit,
            refunds=guard.inquiries.circuit,
            news=guard.news,
            look_again=look_again,
            deferred=len(self._cache.keys_under("Payment", DEFERRED_AT, _place(gateway))),
            count_from=self._counted.get(gateway.key),
        )

    def _told(self, key: Key, guard: Guard, seen: gateway_rules.Seen) -> None:
        """Take note of what a write has told people."""
        self._counted[key] = self._clock() + COUNTED_EVERY
        if seen.news is not None:
            guard.told(seen.news)

    async def _forget(self, key: Key) -> None:
        self._checks.pop(key, None)
        self._counted.pop(key, None)
        self._doubted.discard(key)
        await self._gateways.forget(key.namespace, key.name)
        GATEWAYS.forget(Place(key.namespace, key.name))

    async def _checked(self, gateway: PaymentGateway, guard: Guard) -> gateway_rules.Checked:
        """Return how the provider does: asked not long ago, since it costs it a call.

        That a circuit moved is told first: while one is not closed, an answer may take long.
        """
        known = self._checks.get(gateway.key)
        closed = guard.charges.look() is guard.inquiries.look() is Circuit.CLOSED
        if guard.news is not None and not closed:
            return _NOT_ASKED_YET
        state = (gateway.uid, gateway.metadata.generation, guard.charges.era, guard.inquiries.era)
        fresh = known is not None and known.state == state and self._clock() < known.until
        if known is not None and fresh and closed and gateway.key not in self._doubted:
            return known.answer
        self._doubted.discard(gateway.key)
        answer = await self._check(gateway)
        until = self._clock() + gateway_rules.pause_after(answer)
        self._checks[gateway.key] = _Check(answer, state, until)
        return answer

    async def _check(self, gateway: PaymentGateway) -> gateway_rules.Checked:
        try:
            provider = await self._gateways.provider(gateway, gateway.name)
        except GatewayUnusable as error:
            return gateway_rules.Unusable(error.reason, str(error))
        return await provider.validate()


_NOT_ASKED_YET = port.NotSent(LEFT_ALONE, CIRCUIT_OPEN)


@dataclass(frozen=True)
class _Check:
    """What a look at a provider gave, of which state of its gateway, and how long it holds."""

    answer: gateway_rules.Checked
    state: tuple[str, int, int, int]
    until: datetime


def _place(gateway: PaymentGateway) -> str:
    return f"{gateway.namespace}/{gateway.name}"


def _described_anew(was: PaymentGateway, now: PaymentGateway) -> bool:
    """Tell whether a gateway can be called otherwise than before, its circuits apart."""
    ready_again = now.ready and not was.ready
    return ready_again or (was.spec, was.status.account) != (now.spec, now.status.account)


def _is_deferred(resource: Resource | None) -> bool:
    return isinstance(resource, Payment) and resource.phase is PaymentPhase.DEFERRED


def _refused(payment: Payment) -> bool:
    """Tell whether a payment waits because credentials were refused."""
    failure = payment.status.failure
    deferred = payment.phase is PaymentPhase.DEFERRED
    return deferred and failure is not None and failure.code == port.Unauthorized.__name__


def unsettled_at(payment: Resource) -> Iterable[str]:
    """Index payments that still have money to move by their gateway."""
    if not isinstance(payment, Payment) or payment.settled or payment.spec.gateway_ref is None:
        return []
    return [f"{payment.namespace}/{payment.spec.gateway_ref.name}"]


def open_at(payment: Resource) -> Iterable[str]:
    """Index payments that may yet have something to ask by their gateway."""
    return unsettled_at(payment) if isinstance(payment, Payment) and not payment.rests else []


def inquiring_at(payment: Resource) -> Iterable[str]:
    """Index payments that are to be looked up or given back by their gateway."""
    return unsettled_at(payment) if isinstance(payment, Payment) and payment.inquires else []


def deferred_at(payment: Resource) -> Iterable[str]:
    """Index payments that were put off by their gateway."""
    return unsettled_at(payment) if _is_deferred(payment) else []
