"""The operator's own permissions: each is needed, and where one is missing a sentence says so.

docs/reference/access.md lists them, and each mark there is a case here. Which of them are used, the
API server's audit log says at the end of a whole run (tests/support/auditlog.py).
"""

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest

from dev.cluster import Cluster
from tests.conftest import open_shop
from tests.support import Api, Json, Shop, can, eventually, objects
from tests.support.auditlog import granted
from tests.support.proxy import connection_of
from toyrental.contexts import Context, Right, kinds_needed, rights
from toyrental.kube import errors
from toyrental.kube.cache import Cache
from toyrental.kube.client import Client
from toyrental.kube.connection import AGENT
from toyrental.kube.engine import Scope
from toyrental.kube.events import Recorder
from toyrental.kube.writer import Writer
from toyrental.operate import CannotRun, check, check_lease
from toyrental.payments.credentials import Credentials
from toyrental.payments.providers.port import Unauthorized
from toyrental.shared.model import SecretKeyRef
from toyrental.shared.resource import Key, Resource

RUNS: dict[str, tuple[Context, ...]] = {
    **{context: (context,) for context in Context},
    "operator": tuple(Context),
}
"""What can run by a role of its own, by the end of the role's name."""

ELECTION = (
    *(Right(verb, "leases", "coordination.k8s.io") for verb in ("create", "get", "patch")),
    Right("create", "events", "events.k8s.io"),
)


class Account:
    """An operator's account in a shop, which is given other rights for each case."""

    def __init__(self, shop: Shop, directory: Path) -> None:
        self.shop = shop
        self._person = shop.person("operator", can("get", "toys"))
        self._found = connection_of(self._person.api.write_kubeconfig(directory / "kubeconfig"))
        self._times = count()

    def holds(self, held: Iterable[Right]) -> None:
        """Give it these rights and no others, and wait until they are what the API server knows."""
        mark = Right(f"held-{next(self._times)}", "toys")
        rules = [
            {"apiGroups": [each.group], "resources": [each.resource], "verbs": [each.verb]}
            for each in (*held, mark)
        ]
        roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.shop.name}/roles"
        name = "operator"
        self.shop.api.request("put", f"{roles}/{name}", _role(name, rules))
        eventually(lambda: self._person.api.may(mark.verb, mark.resource, self.shop.name))

    def client(self, agent: str = AGENT) -> Client:
        return Client(lambda: self._found, (), agent)


def _role(name: str, rules: list[Json]) -> Json:
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
    return {**kind, "metadata": {"name": name}, "rules": rules}


@pytest.fixture(scope="module")
def account(
    admin: Api, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Account]:
    for shop in open_shop(admin, cluster):
        yield Account(shop, tmp_path_factory.mktemp("account"))


@pytest.mark.parametrize("name", RUNS)
def test_a_role_grants_what_its_contexts_do_and_nothing_else(name: str) -> None:
    held = granted(f"toyrental-{name}")
    assert sorted(held) == sorted(rights(RUNS[name]))


def test_so_does_that_of_leader_election() -> None:
    assert sorted(granted("toyrental-leader-election")) == sorted(ELECTION)


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        pytest.param(context, right, id=f"{context}-{right.verb}-{right.resource}")
        for context in Context
        for right in rights((context,))
        if right.resource != "secrets"
    ],
)
async def test_without_it_the_operator_does_not_start_and_says_so(
    account: Account, name: str, left_out: Right
) -> None:
    account.holds(right for right in rights(RUNS[name]) if right != left_out)
    async with account.client() as client:
        what = f"{left_out.verb} {left_out.resource} in {account.shop.name}"
        said = f"the operator may not {what}; bind it to the role toyrental-{name}:"
        with pytest.raises(CannotRun, match=said):
            await check(client, RUNS[name], Scope([account.shop.name]))


@pytest.mark.parametrize("name", RUNS)
async def test_with_all_of_them_it_starts(account: Account, name: str) -> None:
    account.holds(granted(f"toyrental-{name}"))
    async with account.client() as client:
        await check(client, RUNS[name], Scope([account.shop.name]))


@pytest.mark.parametrize(
    "left_out", [*ELECTION, None], ids=lambda r: r and f"{r.verb}-{r.resource}"
)
async def test_without_it_the_operator_takes_part_in_no_election(
    account: Account, left_out: Right | None
) -> None:
    account.holds(right for right in ELECTION if right != left_out)
    async with account.client() as client:
        if left_out is None:
            await check_lease(client, account.shop.name, "toyrental-operator")
            return
        said = f"may not {left_out.verb} .*; bind it to the role toyrental-leader-election"
        with pytest.raises(CannotRun, match=said):
            await check_lease(client, account.shop.name, "toyrental-operator")


async def test_without_payments_get_secrets_a_gateway_says_so(account: Account) -> None:
    """The operator starts even so: which Secrets it may read is for the shops to say.

    It is by another name that it asks, for the audit log shall show no refusal to the operator.
    """
    account.shop.secret("stripe", {"apiKey": "sk_test_1"})
    every, secrets = rights([Context.PAYMENTS]), Right("get", "secrets", "")
    for held, trouble in (
        ([right for right in every if right != secrets], "SecretUnreadable"),
        (every, None),
    ):
        account.holds(held)
        async with account.client("tests") as client:
            await check(client, [Context.PAYMENTS], Scope([account.shop.name]))
            ref = SecretKeyRef(name="stripe", key="apiKey")
            credentials = Credentials(account.shop.name, ref, client.get_secret)
            await credentials.refresh()
        seen = credentials.trouble
        assert (seen.reason if isinstance(seen, Unauthorized) else seen) == trouble


@pytest.mark.parametrize("name", RUNS)
async def test_it_reads_again_what_others_change_too_and_nothing_else(
    shop: Shop, name: str, tmp_path: Path
) -> None:
    """Given its own role, then it learns of a change that it has not heard of by its watches."""
    order = shop.create(objects.rental("first", toy="bear"))
    made: list[Resource] = [
        order,
        shop.create(objects.toy("bear")),
        shop.create(objects.store()),
        shop.create(objects.payment("first", rental=order)),
        shop.create(objects.gateway("main", "http://127.0.0.1:8790")),
        shop.create(objects.ticket("first", toy="bear")),
        shop.create(objects.dashboard()),
    ]
    itself = shop.person("operator", role=f"toyrental-{name}")
    found = connection_of(itself.api.write_kubeconfig(tmp_path / "kubeconfig"))
    kinds, held = kinds_needed(RUNS[name]), rights(RUNS[name])
    # What is to be refused is asked for by another name: of the operator the audit log shows none.
    async with (
        Client(lambda: found, kinds) as client,
        Client(lambda: found, kinds, "tests") as nosy,
    ):
        cache = Cache(kinds)
        writer = Writer(client, cache, Recorder(client, "test"))
        for each in made:
            if type(each) not in kinds:
                continue
            cache.put(shop.get_raw(type(each), each.name))
            newer = shop.patch(type(each), each.name, metadata={"labels": {"newer": "yes"}})
            key = Key(each.SERVED.kind, shop.name, each.name)
            if Right("get", each.SERVED.plural) in held:
                await writer.refresh(key)
                assert cache.get(key) == newer
            else:
                with pytest.raises(errors.Forbidden):
                    await nosy.get(key)
