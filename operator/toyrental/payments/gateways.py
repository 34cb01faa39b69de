"""From a PaymentGateway to the provider behind it: which one, where, and with what credentials."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from toyrental.payments.circuit import Clock
from toyrental.payments.credentials import Credentials, ReadSecret, read_none
from toyrental.payments.guard import Guard, GuardedProvider
from toyrental.payments.keyed import KeyedProvider
from toyrental.payments.metrics import GATEWAYS, MeasuredProvider, Place
from toyrental.payments.models import PaymentGateway, PaymentGatewaySpec
from toyrental.payments.providers import simulator, stripe, toss
from toyrental.payments.providers.http import is_endpoint
from toyrental.payments.providers.port import ApiKey, Capabilities, Provider, Unauthorized
from toyrental.shared.clock import exact_now
from toyrental.shared.model import SecretKeyRef
from toyrental.shared.resource import Key


class GatewayUnusable(Exception):
    """The gateway cannot be called; `reason` and `str()` say why, and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Described(NamedTuple):
    """A provider, as a gateway's spec describes it."""

    endpoint: str
    own: bool
    """Whether that is the provider's own endpoint, and no other one."""

    secret: SecretKeyRef | None
    capabilities: Capabilities
    adapter: Callable[[str, timedelta, Any], Provider]


class Gateways:
    """The providers in use, one a gateway, each with connections of its own.

    `endpoints` are the patterns (shell globs) of the endpoints that may be called beside the
    providers' own: a gateway's author must not be able to have the operator call whatever it can
    reach. `read_secret` gives the Secrets that gateways name.
    """

    def __init__(
        self,
        endpoints: Iterable[str],
        read_secret: ReadSecret = read_none,
        clock: Clock = exact_now,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._read_secret = read_secret
        self._clock = clock
        self._providers: dict[tuple[str, str], tuple[str, int, KeyedProvider]] = {}
        self._guards: dict[tuple[str, str], Guard] = {}
        self._webhook_secrets: dict[tuple[str, str], tuple[SecretKeyRef, Credentials]] = {}
        self._told: set[Key] = set()

    async def provider(self, gateway: PaymentGateway | None, name: str) -> Provider:
        """Return the provider of a gateway. Raises GatewayUnusable."""
        if gateway is None:
            raise GatewayUnusable("GatewayMissing", f"there is no PaymentGateway {name}")
        uid, generation, known = self._providers.get(_place(gateway), ("", 0, None))
        if known is None or (uid, generation) != (gateway.uid, gateway.metadata.generation):
            await self._let_go(_place(gateway))
            known = self._open(gateway)
            made = (gateway.uid, gateway.metadata.generation, known)
            self._providers[_place(gateway)] = made
        known.account = gateway.status.account
        return GuardedProvider(known, self.guard(gateway))

    def guard(self, gateway: PaymentGateway) -> Guard:
        """Return the circuits of a gateway, with its settings as they are now."""
        guard = self._guards.get(_place(gateway))
        if guard is None or guard.uid != gateway.uid:
            guard = self._guards[_place(gateway)] = Guard(gateway, self._clock)
        guard.heed(gateway)
        return guard

    def has_news(self, gateway: PaymentGateway) -> bool:
        """Tell whether a circuit of a gateway moved, and nobody was told yet."""
        guard = self._guards.get(_place(gateway))
        return guard is not None and guard.news is not None

    def tell(self, payment: Key) -> None:
        """Note that the provider of a payment says that something happened to it."""
        self._told.add(payment)

    def take_told(self, payment: Key) -> bool:
        """Tell whether the provider said so since this was asked last."""
        told = payment in self._told
        self._told.discard(payment)
        return told

    async def webhook_secret(self, gateway: PaymentGateway) -> ApiKey | None:
        """Return the secret that a gateway's webhooks are signed with, if it has one now."""
        ref, place = gateway.spec.webhook_secret_ref, _place(gateway)
        if ref is None:
            return None
        known_ref, credentials = self._webhook_secrets.get(place, (None, None))
        if credentials is None or known_ref != ref:
            credentials = Credentials(gateway.namespace, ref, self._read_secret)
            self._webhook_secrets[place] = ref, credentials
        await credentials.refresh()
        gone = isinstance(credentials.trouble, Unauthorized)
        return None if gone else credentials.key

    async def forget(self, namespace: str, name: str) -> None:
        """Forget a gateway's credentials and circuits, and let go of its connections."""
        self._guards.pop((namespace, name), None)
        self._webhook_secrets.pop((namespace, name), None)
        await self._let_go((namespace, name))

    async def _let_go(self, place: tuple[str, str]) -> None:
        _, _, known = self._providers.pop(place, ("", 0, None))
        if known is not None:
            await known.close()

    async def close(self) -> None:
        """Let go of every connection, and tell of no gateway any more: another process may."""
        GATEWAYS.clear()
        for namespace, name in tuple(self._providers):
            await self.forget(namespace, name)

    def _open(self, gateway: PaymentGateway) -> KeyedProvider:
        described = _describe(gateway.spec)
        if not is_endpoint(described.endpoint):
            raise GatewayUnusable(
                "EndpointInvalid", f"the endpoint {described.endpoint} is no URL; correct it"
            )
        if not described.own:
            self._check(described.endpoint)
        timeout = timedelta(seconds=gateway.spec.timeout_seconds)

        def open_(key: ApiKey | None) -> Provider:
            made = described.adapter(described.endpoint, timeout, key)
            return MeasuredProvider(made, Place(gateway.namespace, gateway.name))

        credentials = None
        if described.secret is not None:
            credentials = Credentials(gateway.namespace, described.secret, self._read_secret)
        return KeyedProvider(described.capabilities, open_, credentials)

    def _check(self, endpoint: str) -> None:
        if not any(allows(pattern, endpoint) for pattern in self._endpoints):
            raise GatewayUnusable(
                "EndpointNotAllowed",
                f"the operator may not call {endpoint}; allow it with --gateway-endpoints",
            )


def _place(gateway: PaymentGateway) -> tuple[str, str]:
    return gateway.namespace, gateway.name


def _describe(spec: PaymentGatewaySpec) -> _Described:
    if spec.simulator is not None:
        made = simulator.SimulatorProvider
        secret = spec.simulator.secret_ref
        return _Described(spec.simulator.endpoint, False, secret, made.capabilities, made)
    if spec.stripe is not None:
        return _real(
            spec.stripe.endpoint, stripe.API, spec.stripe.secret_ref, stripe.StripeProvider
        )
    if spec.toss is not None:
        return _real(spec.toss.endpoint, toss.API, spec.toss.secret_ref, toss.TossProvider)
    raise GatewayUnusable(
        "ProviderNotSupported", "this version of the operator does not know its provider"
    )


def _real(endpoint: str | None, api: str, secret: SecretKeyRef, adapter: Any) -> _Described:
    own = endpoint is None or endpoint.rstrip("/") == api
    return _Described(endpoint or api, own, secret, adapter.capabilities, adapter)


def allows(pattern: str, endpoint: str) -> bool:
    """Tell whether a pattern lets an endpoint be called.

    Scheme, host and port are held against those of the pattern, and so is the path where it has
    one: a `*` in the one cannot be made to match in the other, nor in a user's name before an `@`.
    """
    found = urlsplit(endpoint)
    if found.query or found.fragment or "@" in found.netloc or "\\" in endpoint:
        return False
    scheme, _, rest = pattern.rpartition("://")
    origin, _, path = rest.partition("/")
    return (
        fnmatchcase(found.scheme, scheme or "*")
        and fnmatchcase(found.netloc.lower(), origin.lower())
        and (not path or fnmatchcase(found.path.strip("/"), path.rstrip("/")))
    )
