"""From a PaymentGateway to the provider behind it: which one, where, and with what credentials."""

from collections.abc import Iterable
from datetime import timedelta
from fnmatch import fnmatchcase

from toyrental.payments.models import PaymentGateway, Simulator
from toyrental.payments.providers.port import Provider
from toyrental.payments.providers.simulator import SimulatorProvider


class GatewayUnusable(Exception):
    """The gateway cannot be called; `reason` and `str()` say why, and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Gateways:
    """The providers in use, one a gateway, each with connections of its own.

    `endpoints` are the patterns (shell globs) of the endpoints that may be called at all: a
    gateway's author must not be able to have the operator call whatever it can reach.
    """

    def __init__(self, endpoints: Iterable[str]) -> None:
        self._endpoints = tuple(endpoints)
        self._providers: dict[str, tuple[int, Provider]] = {}

    async def provider(self, gateway: PaymentGateway | None, name: str) -> Provider:
        """Return the provider of a gateway. Raises GatewayUnusable."""
        if gateway is None:
            raise GatewayUnusable("GatewayMissing", f"there is no PaymentGateway {name}")
        generation = gateway.metadata.generation
        known = self._providers.get(gateway.uid)
        if known is not None and known[0] == generation:
            return known[1]
        if known is not None:
            await known[1].close()
        provider = self._open(gateway)
        self._providers[gateway.uid] = (generation, provider)
        return provider

    def _open(self, gateway: PaymentGateway) -> Provider:
        timeout = timedelta(seconds=gateway.spec.timeout_seconds)
        match gateway.spec.simulator:
            case Simulator(endpoint=endpoint):
                self._check(endpoint)
                return SimulatorProvider(endpoint, timeout)
            case None:
                raise GatewayUnusable(
                    "ProviderNotSupported", "this version of the operator speaks to simulators only"
                )

    def _check(self, endpoint: str) -> None:
        if not any(fnmatchcase(endpoint.rstrip("/"), pattern) for pattern in self._endpoints):
            raise GatewayUnusable(
                "EndpointNotAllowed",
                f"the operator may not call {endpoint}; allow it with --gateway-endpoints",
            )

    async def close(self) -> None:
        """Let go of every connection."""
        for _, provider in self._providers.values():
            await provider.close()
