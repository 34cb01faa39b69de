"""A cache follows what it missed: deletions while its watch was down, and before it was up.

The operator goes through a proxy that cuts its watches, and lets nothing of them through while the
test changes the world. It sweeps by itself every five minutes only: what is found sooner was
noticed.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.cluster import Cluster, ControlPlane
from tests.faults.conftest import GATEWAY
from tests.support import Shop, eventually, objects
from tests.support.audit import audit
from tests.support.operator import OperatorProcess, SimulatorProcess
from tests.support.proxy import Harm, Proxy, Request
from toyrental.contexts import Context, kinds_needed
from toyrental.kinds import KINDS
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental
from toyrental.shared.conditions import find
from toyrental.stores.models import Toy

WATCHED = len(kinds_needed(Context))
"""How many kinds the operator watches."""


class Curtain:
    """Between the operator's watches and the world. Other requests go through."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._open = threading.Event()
        self._expired: set[str] = set()

    def fall(self) -> None:
        """Cut the watches; let nothing through of those that are opened anew."""
        self._open.clear()
        self._proxy.plan = self._hold
        self._proxy.cut_watches()

    def _hold(self, request: Request) -> Harm | None:
        return Harm.hold(self._open) if request.watches or is_list_of_kopf(request) else None

    def rise(self, *, expired: bool = True) -> None:
        """Let watches through again; first say to each that what it wants is too long ago."""
        self._expired = {kind.SERVED.plural for kind in KINDS} if expired else set()
        self._proxy.plan = self._expire
        self._open.set()
        self._proxy.cut_watches()

    def _expire(self, request: Request) -> Harm | None:
        if request.watches and request.resource in self._expired:
            self._expired.discard(request.resource)
            return Harm.refuse(410)
        return None


def is_list_of_kopf(request: Request) -> bool:
    """Tell kopf's lists from the sweeps, which come in pages."""
    return request.lists and "limit" not in request.query


@pytest.fixture(scope="module")
def detour(cluster: Cluster) -> Iterator[Proxy]:
    """Give the proxy that the module's operator goes through."""
    with Proxy.to_cluster(cluster) as proxy:
        yield proxy


@pytest.fixture
def proxy(detour: Proxy, operator: OperatorProcess) -> Proxy:
    """Give that proxy once all watches go through it."""
    assert operator.running
    eventually(lambda: detour.open_watches == WATCHED)
    return detour


def phase(shop: Shop, name: str, phase: str) -> Rental:
    return shop.wait(Rental, name, lambda rental: rental.status.phase == phase, within=60)


def first_has_the_toy_and_second_waits(shop: Shop) -> Rental:
    shop.create(objects.toy("bear"))
    shop.create(objects.rental("first", toy="bear"))
    first = phase(shop, "first", "Paid")
    shop.create(objects.rental("second", toy="bear"))
    shop.wait(Rental, "second", is_waiting)
    return first


def is_waiting(rental: Rental) -> bool:
    booked = find(rental.status.conditions, "Booked")
    return booked is not None and booked.reason == "NoToyAvailable"


def is_refunded(simulator: SimulatorProcess, rental: Rental) -> Callable[[], bool]:
    def ask() -> bool:
        books = simulator.ledger().of(rental)
        return len(books.charges) == 1 and books.given_back == books.taken

    return ask


def test_the_toy_of_a_rental_deleted_unseen_goes_to_the_next_in_line(
    served: Shop, proxy: Proxy, simulator: SimulatorProcess
) -> None:
    shop = served
    first = first_has_the_toy_and_second_waits(shop)
    curtain = Curtain(proxy)
    curtain.fall()
    shop.delete(Rental, "first")
    shop.gone(Rental, "first")
    curtain.rise()
    phase(shop, "second", "Paid")
    eventually(is_refunded(simulator, first))
    eventually(lambda: not shop.find(Payment, fields="spec.rentalRef.name=first"))
    eventually(lambda: audit(shop, simulator.ledger()))


def test_an_empty_list_is_noticed_too(
    served: Shop, proxy: Proxy, simulator: SimulatorProcess
) -> None:
    """The last rental was deleted: kopf lists nothing, and says nothing."""
    shop = served
    shop.create(objects.toy("bear"))
    shop.create(objects.rental("first", toy="bear"))
    first = phase(shop, "first", "Paid")
    curtain = Curtain(proxy)
    curtain.fall()
    shop.delete(Rental, "first")
    shop.gone(Rental, "first")
    curtain.rise()
    shop.wait(Toy, "bear", lambda toy: toy.status.phase == "Available", within=60)
    eventually(is_refunded(simulator, first))


def test_a_namesake_made_unseen_is_another_order(
    served: Shop, proxy: Proxy, simulator: SimulatorProcess
) -> None:
    shop = served
    old = first_has_the_toy_and_second_waits(shop)
    curtain = Curtain(proxy)
    curtain.fall()
    shop.delete(Rental, "first")
    shop.gone(Rental, "first")
    new = shop.create(objects.rental("first", toy="bear", customer="joon"))
    curtain.rise()
    head, behind_it = sorted([shop.get(Rental, "second"), new], key=lambda r: (r.created, r.uid))
    phase(shop, head.name, "Paid")
    assert is_waiting(shop.wait(Rental, behind_it.name, is_waiting))
    shop.patch(Rental, head.name, spec={"desiredState": "Cancelled"})
    phase(shop, behind_it.name, "Paid")
    eventually(is_refunded(simulator, old))
    assert len(simulator.ledger().of(new).charges) == 1


def test_a_watch_that_goes_on_where_it_was_cut_needs_no_sweep(served: Shop, proxy: Proxy) -> None:
    shop = served
    first_has_the_toy_and_second_waits(shop)
    seen = len(proxy.requests)
    curtain = Curtain(proxy)
    curtain.fall()
    shop.delete(Rental, "first")
    shop.gone(Rental, "first")
    curtain.rise(expired=False)
    phase(shop, "second", "Paid")
    assert not any(request.lists for request in proxy.requests[seen:])


def test_a_rental_deleted_while_the_operator_starts(
    served: Shop, proxy: Proxy, operator: OperatorProcess
) -> None:
    """It is in the list that the operator begins with, and no more in the one of its watch."""
    shop = served
    first_has_the_toy_and_second_waits(shop)
    operator.kill()
    curtain = Curtain(proxy)
    curtain.fall()
    seen = len(proxy.requests)
    operator.start()
    eventually(lambda: any(is_list_of_kopf(request) for request in proxy.requests[seen:]))
    shop.delete(Rental, "first")
    shop.gone(Rental, "first")
    curtain.rise(expired=False)
    phase(shop, "second", "Paid")


def test_what_no_watch_and_no_list_tells_a_sweep_finds(
    cluster: Cluster, open_for_business: Shop, detour: Proxy, tmp_path: Path
) -> None:
    """An event is lost on a watch that is well, and so noticed by nobody."""
    shop = open_for_business
    flags = [f"--kubeconfig={detour.kubeconfig(tmp_path / 'kubeconfig')}", "--sweep-seconds=1"]
    with OperatorProcess(cluster, tmp_path, *flags, namespaces=[shop.name]) as operator:
        first_has_the_toy_and_second_waits(shop)
        detour.garble = lambda event: None if event["type"] == "DELETED" else event
        shop.delete(Rental, "first")
        phase(shop, "second", "Paid")
        detour.behave()
        assert operator.terminate() == 0


def test_compacted_history_and_an_api_server_that_restarted(
    own_control_plane: ControlPlane,
    own_cluster: Cluster,
    shop_of_its_own: Shop,
    simulator: SimulatorProcess,
    tmp_path: Path,
) -> None:
    """No harm is played here: etcd forgets, and the API server itself says that it is gone."""
    shop = shop_of_its_own
    shop.create(objects.gateway(GATEWAY, simulator.url))
    shop.create(objects.store(gateway=GATEWAY))
    with Proxy.to_cluster(own_cluster) as proxy:
        flags = f"--kubeconfig={proxy.kubeconfig(tmp_path / 'kubeconfig')}"
        namespaces = [shop.name]
        with OperatorProcess(own_cluster, tmp_path, flags, namespaces=namespaces) as operator:
            eventually(lambda: proxy.open_watches == WATCHED)
            first = first_has_the_toy_and_second_waits(shop)
            gone: list[str] = []

            def remember(event: dict[str, object]) -> dict[str, object]:
                if event["type"] == "ERROR":
                    gone.append(str(event["object"]))
                return event

            proxy.garble = remember
            curtain = Curtain(proxy)
            curtain.fall()
            shop.delete(Rental, "first")
            shop.gone(Rental, "first")
            own_control_plane.compact()
            own_control_plane.stop_process("kube-apiserver")
            own_control_plane.start_process("kube-apiserver")
            curtain.rise(expired=False)
            phase(shop, "second", "Paid")
            eventually(is_refunded(simulator, first))
            assert any("410" in told for told in gone), gone
            assert operator.terminate() == 0
