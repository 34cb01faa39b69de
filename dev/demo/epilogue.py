"""How the demo ends: do the books agree, and what can be tried next."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from dev.cluster.layout import Layout
from dev.demo.house import OWNER, TOYRENTAL, metrics_url
from dev.demo.stage import Stage, StageError, change_of


def sums(stage: Stage) -> None:
    """Hold the provider's ledger against the Payments. Raises StageError where they differ."""
    uids = {rental.uid for rental in stage.watch.of("rental")}
    try:
        books: dict[str, list[dict[str, Any]]] = {}
        for page in ("/ledger", "/ledger/declines"):
            books |= httpx.get(f"{stage.simulator}{page}", timeout=10, trust_env=False).json()
    except httpx.HTTPError as error:
        raise StageError(f"The simulator does not show its ledger: {error}.") from error
    charges, refunds, declines = (
        [entry for entry in books[book] if entry["rentalUID"] in uids]
        for book in ("charges", "refunds", "declines")
    )
    taken, given_back = _sum(charges), _sum(refunds)
    say = stage.screen.say
    say("\nThe payment provider's ledger", style="bold")
    say(f"   {len(charges):>2} charges   {taken:>9,} KRW taken")
    say(f"   {len(refunds):>2} refunds   {given_back:>9,} KRW given back")
    say(f"   {len(declines):>2} declined  {taken - given_back:>9,} KRW earned")
    payments = [payment.status for payment in stage.watch.of("payment")]
    captured = sum(status.get("capturedMinorUnits", 0) for status in payments)
    refunded = sum(status.get("refundedMinorUnits", 0) for status in payments)
    if (captured, refunded) != (taken, given_back):
        raise StageError(
            f"The Payments in the cluster say otherwise: {captured:,} taken, "
            f"{refunded:,} given back."
        )
    say("   The Payments in the cluster say the same, to the won.")


def _sum(entries: Iterable[dict[str, Any]]) -> int:
    return sum(entry["amount"] for entry in entries)


def what_next(stage: Stage, layout: Layout, board: str, prometheus: str) -> None:
    """Say how to go on by oneself; `board` and `prometheus` say where these are."""
    signed_in = (("what Mina may do here", "kubectl --context=mina auth can-i --list"),)
    rows = (
        *(signed_in if stage.signed_in else ()),
        ("approve the order", _patch("rental you-train", approval={"decision": "Approved"})),
        ("take on the repair", _patch("repairticket bobby-car-wheel", assignee="you")),
        ("the shop at a glance", "kubectl toyrental status"),
        ("one order with all of it", "kubectl toyrental tree ryu-bike"),
        ("what each order waits for", "kubectl get rentals -o wide"),
        ("the life of one order", "kubectl describe rental ryu-bike"),
        ("what can be asked for", "kubectl explain rental.spec"),
        ("the shop in numbers", "kubectl get dashboard shop -o yaml"),
        ("the shop on a web page", board),
        ("a token to sign in there", f"kubectl create token {OWNER}"),
        ("the operator's metrics", f"curl -s {metrics_url(layout)}"),
        ("alerts, of Prometheus", prometheus),
        ("the provider's books", f"curl -s {stage.simulator}/ledger"),
        ("the proof of it all", "make test"),
        ("stop it, remove its data", "make down"),
    )
    say = stage.screen.say
    say("\nIt all goes on running. To try things out, here:", style="bold")
    programs = f"{_short(layout.kubectl.parent)}:{_short(TOYRENTAL.parent)}"
    say(f'   export KUBECONFIG="{_short(layout.kubeconfig)}" PATH="{programs}:$PATH"\n')
    for why, command in rows:
        say(f"   {why:<26} {command}")


def _patch(what: str, **spec: object) -> str:
    return f"kubectl patch {what} --type=merge -p '{change_of(spec)}'"


def _short(path: Path) -> str:
    """Return the path as a shell in the repository can use it, also after a `cd`."""
    here = Path.cwd()
    return f"$PWD/{path.relative_to(here)}" if path.is_relative_to(here) else str(path)
