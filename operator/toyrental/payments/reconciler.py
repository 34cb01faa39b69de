"""Reconciling payments and gateways: ask the rules, call the provider, write what was learned."""

import base64
from collections.abc import Iterable
from datetime import datetime, timedelta

from toyrental.kube import errors
from toyrental.kube.cache import Cache
from toyrental.kube.client import Client
from toyrental.kube.controller import take_steps
from toyrental.kube.writer import Writer
from toyrental.payments import gateway_rules, rules
from toyrental.payments.gateways import Gateways, GatewayUnusable
from toyrental.payments.models import Payment, PaymentGateway, PaymentPhase
from toyrental.payments.providers import port
from toyrental.payments.providers.port import Provider
from toyrental.rentals.models import Rental
from toyrental.shared.clock import Clock
from toyrental.shared.decisions import NOTHING, Decision
from toyrental.shared.money import Money
from toyrental.shared.resource import Key, Resource

UNSETTLED_AT = "payments/unsettled-at"


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
        cache.add_index("Payment", UNSETTLED_AT, unsettled_at)

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        """Return which payments a change concerns: of rentals only that one has ended."""
        match after or before:
            case Payment() as payment:
                yield payment.key
            case PaymentGateway() as gateway:
                yield from self._cache.keys_under(
                    self.kind, UNSETTLED_AT, f"{gateway.namespace}/{gateway.name}"
                )
            case Rental() as rental if after is None or rental.settled:
                yield Key(self.kind, rental.namespace, rental.payment_name)
            case _:
                return

    async def reconcile(self, key: Key) -> datetime | None:
        """Take a payment as far as it goes."""

        async def decide() -> Decision:
            payment = self._cache.get(key)
            return await self._decide(payment) if isinstance(payment, Payment) else NOTHING

        return await take_steps(self._writer, key, decide)

    async def _decide(self, payment: Payment, *, confirmed: bool = False) -> Decision:
        """Ask the rules, and the provider, until there is something to write down or wait for."""
        provider, situation = await self._observe(payment)
        step = rules.decide(situation)
        while not isinstance(step, Decision):
            if provider is None:
                return NOTHING
            if isinstance(step, rules.SendCharge) and step.confirm and not confirmed:
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

    async def _observe(self, payment: Payment) -> tuple[Provider | None, rules.Situation]:
        shop = payment.namespace
        rental = self._cache.get(Key("Rental", shop, payment.spec.rental_ref.name))
        ours = isinstance(rental, Rental) and rental.uid == payment.spec.rental_ref.uid
        provider, terms, obstacle = None, None, ""
        ref = payment.spec.gateway_ref
        if ref is not None:
            gateway = self._cache.get(Key("PaymentGateway", shop, ref.name))
            known = gateway if isinstance(gateway, PaymentGateway) else None
            try:
                provider = await self._gateways.provider(known, ref.name)
                timeout = timedelta(seconds=known.spec.timeout_seconds if known else 0)
                terms = rules.Terms(timeout, provider.capabilities)
            except GatewayUnusable as error:
                obstacle = str(error)
        return provider, rules.Situation(
            payment=payment,
            rental=rental if isinstance(rental, Rental) and ours else None,
            terms=terms,
            obstacle=obstacle,
            now=self._clock(),
        )

    async def _call(self, provider: Provider, s: rules.Situation, call: rules.Call) -> rules.Step:
        payment = s.payment
        match call:
            case rules.SendCharge(key):
                token = await self._token(payment)
                if token is None:
                    return rules.learn_charge(s, rules.MethodMissing())
                charge = port.Charge(
                    key=key,
                    amount=payment.spec.amount,
                    token=token,
                    customer=payment.spec.customer,
                    payment_uid=payment.uid,
                    rental_uid=payment.spec.rental_ref.uid,
                    attempt=payment.status.attempt,
                )
                return rules.learn_charge(s, await provider.charge(charge))
            case rules.LookUp():
                inquiry = port.Inquiry(
                    payment_uid=payment.uid,
                    amount=payment.spec.amount,
                    since=payment.created,
                    attempt=payment.status.attempt,
                    gateway_payment_id=payment.status.gateway_payment_id,
                )
                return rules.learn_look_up(s, await provider.look_up(inquiry))
            case rules.SendRefund(key, gateway_payment_id, step):
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
                return rules.learn_refund(s, step, await provider.refund(refund))

    async def _token(self, payment: Payment) -> str | None:
        """Return the payment method's token, read anew from its Secret where it is in one."""
        ref = payment.spec.method.secret_ref
        if ref is None:
            return payment.spec.method.token
        try:
            secret = await self._client.get_secret(payment.namespace, ref.name)
        except (errors.NotFound, errors.Forbidden):
            return None
        encoded = (secret.get("data") or {}).get(ref.key)
        return base64.b64decode(encoded).decode(errors="replace").strip() if encoded else None


class PaymentGatewayReconciler:
    """Says of each gateway whether it can be charged, and keeps it while payments need it."""

    kind = "PaymentGateway"
    needs = ("PaymentGateway", "Payment")

    def __init__(self, cache: Cache, writer: Writer, clock: Clock, gateways: Gateways) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        self._gateways = gateways
        cache.add_index("Payment", UNSETTLED_AT, unsettled_at)

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        """Return which gateways a change concerns.

        Of payments it concerns a gateway that goes that one is settled, and a gateway that is well
        that its credentials were refused.
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
                if (found.deleting and settled) or (found.ready and _refused(payment)):
                    yield key
            case _:
                return

    async def reconcile(self, key: Key) -> datetime | None:
        """Take a gateway as far as it goes."""
        answer: gateway_rules.Checked | None = None

        async def decide() -> Decision:
            nonlocal answer
            gateway = self._cache.get(key)
            if not isinstance(gateway, PaymentGateway):
                await self._gateways.forget(key.namespace, key.name)
                return NOTHING
            if answer is None:
                answer = await self._check(gateway)
            unsettled = self._cache.keys_under(
                "Payment", UNSETTLED_AT, f"{key.namespace}/{key.name}"
            )
            return gateway_rules.decide(gateway, answer, bool(unsettled), self._clock())

        return await take_steps(self._writer, key, decide)

    async def _check(self, gateway: PaymentGateway) -> gateway_rules.Checked:
        try:
            provider = await self._gateways.provider(gateway, gateway.name)
        except GatewayUnusable as error:
            return gateway_rules.Unusable(error.reason, str(error))
        return await provider.validate()


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
