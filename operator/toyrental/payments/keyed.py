"""A provider with credentials that change while it is used."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from toyrental.payments.credentials import Credentials
from toyrental.payments.providers.port import (
    Account,
    AccountAnswer,
    ApiKey,
    Capabilities,
    Charge,
    ChargeAnswer,
    Inquiry,
    LookUpAnswer,
    NotSent,
    Provider,
    Refund,
    RefundAnswer,
    Trouble,
    TryLater,
    Unauthorized,
)

A = TypeVar("A")
Open = Callable[[ApiKey | None], Provider]


class Leased:
    """A provider that is closed once it is no longer wanted, and nobody waits for it any more."""

    def __init__(self, provider: Provider, key: ApiKey | None = None) -> None:
        self.key = key
        self.account: Account | None = None
        """Whose account it is, once that was asked."""

        self._provider = provider
        self._users = 0
        self._wanted = True

    async def use(self, ask: Callable[[Provider], Awaitable[A]]) -> A:
        """Ask it."""
        self._users += 1
        try:
            return await ask(self._provider)
        finally:
            self._users -= 1
            await self._close_if_idle()

    async def let_go(self) -> None:
        """Close it as soon as nobody uses it."""
        self._wanted = False
        await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if not self._wanted and self._users == 0:
            await self._provider.close()


class KeyedProvider:
    """A provider as one gateway describes it, with the credentials that its Secret has now.

    It charges by credentials of the gateway's known account only, and no longer than the Secret is
    there. What was taken can be looked up and given back by the credentials read before.
    """

    def __init__(
        self, capabilities: Capabilities, open_: Open, credentials: Credentials | None
    ) -> None:
        self.capabilities = capabilities
        self.account: str | None = None
        """The account that the gateway's payments are settled with (`status.account`)."""

        self._open = open_
        self._credentials = credentials
        self._leased: Leased | None = None

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """Take the amount; the same key never takes it twice."""
        return await self._ask(lambda provider: provider.charge(charge), charging=True)

    async def look_up(self, inquiry: Inquiry) -> LookUpAnswer:
        """Find what became of a payment, by the uid we sent with it."""
        return await self._ask(lambda provider: provider.look_up(inquiry))

    async def refund(self, refund: Refund) -> RefundAnswer:
        """Give the amount back; the same key never gives it twice."""
        return await self._ask(lambda provider: provider.refund(refund))

    async def validate(self) -> AccountAnswer:
        """Check the credentials that the Secret has now, whoever's account they belong to."""
        leased = await self._lease()
        if not isinstance(leased, Leased):
            return leased
        if self._credentials is not None and self._credentials.trouble is not None:
            return self._credentials.trouble
        answer = await leased.use(_validate)
        if isinstance(answer, Unauthorized):
            other = await self._lease(at_once=True)
            if isinstance(other, Leased) and other is not leased:
                leased, answer = other, await other.use(_validate)
        if isinstance(answer, Account):
            leased.account = answer
        return answer

    async def close(self) -> None:
        """Let go of connections, once no request is under way."""
        leased, self._leased = self._leased, None
        if leased is not None:
            await leased.let_go()

    async def _ask(
        self, ask: Callable[[Provider], Awaitable[A]], *, charging: bool = False
    ) -> A | Trouble:
        leased = await self._lease()
        answer = await self._ask_with(leased, ask, charging=charging)
        if not isinstance(answer, Unauthorized) or not isinstance(leased, Leased):
            return answer
        # Refused, so nothing happened: perhaps there is another key by now.
        other = await self._lease(at_once=True)
        if other is leased:
            return answer
        return await self._ask_with(other, ask, charging=charging)

    async def _ask_with(
        self,
        leased: Leased | Trouble,
        ask: Callable[[Provider], Awaitable[A]],
        *,
        charging: bool,
    ) -> A | Trouble:
        if not isinstance(leased, Leased):
            return leased
        trouble = await self._obstacle(leased, charging=charging)
        return await leased.use(ask) if trouble is None else trouble

    async def _obstacle(self, leased: Leased, *, charging: bool) -> Trouble | None:
        """Say why these credentials may not be used for that, if they may not."""
        if self._credentials is None:
            return None
        if charging and isinstance(self._credentials.trouble, Unauthorized):
            return self._credentials.trouble
        if leased.account is None:
            answer = await leased.use(_validate)
            if not isinstance(answer, Account):
                return _not_checked(answer)
            leased.account = answer
        return account_trouble(leased.account, self.account)

    async def _lease(self, *, at_once: bool = False) -> Leased | Trouble:
        """Return the provider with the credentials read last."""
        if self._credentials is None:
            self._leased = self._leased or Leased(self._open(None))
            return self._leased
        await self._credentials.refresh(at_once=at_once)
        key = self._credentials.key
        if key is None:
            return self._credentials.trouble or Unauthorized("no credentials", "SecretMissing")
        if self._leased is None or self._leased.key != key:
            before, self._leased = self._leased, Leased(self._open(key), key)
            if before is not None:
                await before.let_go()
        return self._leased


def account_trouble(account: Account, known: str | None) -> Unauthorized | None:
    """Say why credentials of that account may not move money, if they may not."""
    if known is None:
        return Unauthorized("the account of the credentials is being checked", "NotChecked")
    if account.agrees_with(known):
        return None
    return Unauthorized(
        f"the credentials belong to account {account.id}, and payments are open at {known};"
        f" restore those of {known}, or make a new PaymentGateway for {account.id}",
        "AccountChanged",
    )


def _not_checked(answer: Trouble) -> Trouble:
    """Return what it means for a request that the account could not be asked for: it never left."""
    if isinstance(answer, Unauthorized | TryLater | NotSent):
        return answer
    return NotSent(f"the account cannot be checked: {answer.message}")


def _validate(provider: Provider) -> Awaitable[AccountAnswer]:
    return provider.validate()
