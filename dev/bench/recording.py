"""What a life takes, request by request, as the API server's audit log has it."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dev.cluster import ControlPlane

from . import lives, programs, shop
from .api import USER_AGENT, Access, Api, Json, counted_as
from .errors import BenchError

QUIET_SECONDS = 1.5

RENTAL, RENTAL_UID = "@rental@", "@rental-uid@"
PAYMENT, PAYMENT_UID = "@payment@", "@payment-uid@"
TOY, TOY_UID = "@toy@", "@toy-uid@"
VERSION, FRESH = "@version@", "@fresh@"

_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Request",
            "verbs": ["create", "update", "patch", "delete"],
            "resources": [{"group": "toyrental.dev"}, {"group": "events.k8s.io"}],
        },
        {"level": "None"},
    ],
}


@dataclass(frozen=True)
class Request:
    """A write as somebody sent it; names, uids and versions are left open."""

    by: Literal["operator", "users"]
    verb: Literal["create", "patch"]
    path: str
    body: str

    @property
    def counted_as(self) -> str:
        """The name it is counted by."""
        return counted_as(self.path, self.verb)

    @property
    def is_event(self) -> bool:
        """Whether it is an Event for people."""
        return self.path.endswith("/events")

    @property
    def needs_capture(self) -> bool:
        """Whether it tells of a payment that was taken: the provider was called before."""
        return self.counted_as == "patch payments/status" and '"phase":"Captured"' in self.body


Script = tuple[Request, ...]


def record(folder: Path) -> tuple[Script, Script]:
    """Let the operator live one life of each sort, alone, and return what was written in each.

    That is an order of a toy by its name, and one by a selector. The control plane is one of its
    own: writing an audit log costs the API server more than the writes themselves.
    """
    policy, log = folder / "audit-policy.yaml", folder / "audit.log"
    policy.write_text(json.dumps(_POLICY))
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={log}")
    plane = ControlPlane(
        folder / "recorded", ephemeral=True, apply=programs.brought(), apiserver_flags=flags
    )
    with (
        plane as cluster,
        programs.simulator(folder) as provider,
        programs.operator(cluster.kubeconfig, folder / "operator.log"),
    ):
        return asyncio.run(_record(Access.read(cluster.kubeconfig), provider.url, log))


async def _record(access: Access, provider: str, log: Path) -> tuple[Script, Script]:
    async with Api(access) as api:
        stock = await shop.open_shop(api, provider, toys=1)
        users = lives.Users(api)
        async with users.watching():
            by_name = await _script(api, users, stock, 0, log)
            by_selector = await _script(api, users, stock, 1, log)
    return by_name, by_selector


async def _script(
    api: Api, users: lives.Users, stock: shop.Stock, number: int, log: Path
) -> Script:
    await asyncio.sleep(QUIET_SECONDS)
    before = len(_lines(log))
    await lives.play(range(number, number + 1), 1, stock, users.live)
    await asyncio.sleep(QUIET_SECONDS)
    rental = await api.get(f"{shop.PLACE}/rentals/{lives.name_of(number)}")
    payment = await api.get(f"{shop.PLACE}/payments/{rental['status']['paymentRef']['name']}")
    tokens = _tokens(rental, payment)
    # The log tells of requests as they end: a user may act on a write before it is in there.
    entries = sorted(
        (json.loads(line) for line in _lines(log)[before:]),
        key=lambda entry: entry["requestReceivedTimestamp"],
    )
    return tuple(_request(e, tokens) for e in entries if e["responseStatus"]["code"] < 300)


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


def _tokens(rental: Json, payment: Json) -> list[tuple[str, str]]:
    """Return what is to be left open, the longer names before those they are made of."""
    toy = rental["status"]["toyRef"]
    return [
        (payment["metadata"]["name"], PAYMENT),
        (payment["metadata"]["uid"], PAYMENT_UID),
        (rental["metadata"]["name"], RENTAL),
        (rental["metadata"]["uid"], RENTAL_UID),
        (toy["name"], TOY),
        (toy["uid"], TOY_UID),
    ]


def _request(entry: Json, tokens: list[tuple[str, str]]) -> Request:
    body: Json = entry["requestObject"]
    path = entry["requestURI"].partition("?")[0]
    if entry["verb"] not in {"create", "patch"}:
        raise BenchError(f"the replay does not know how to {entry['verb']} {path}")
    if path.endswith("/events"):
        body = {name: value for name, value in body.items() if value is not None}
        body["metadata"] = {"name": FRESH, "namespace": shop.NAMESPACE}
    elif "resourceVersion" in body.get("metadata", {}):
        body["metadata"]["resourceVersion"] = VERSION
    text = json.dumps(body, separators=(",", ":"))
    for known, token in tokens:
        text, path = text.replace(known, token), path.replace(known, token)
    by: Literal["operator", "users"] = (
        "users" if entry["userAgent"].startswith(USER_AGENT) else "operator"
    )
    return Request(by, entry["verb"], path, text)
