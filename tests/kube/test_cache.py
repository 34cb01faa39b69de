"""The cache: the newest version of each object, no ghosts, and indexes that agree with it."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyrental.kinds import KINDS
from toyrental.kube.cache import Cache, Identity
from toyrental.rentals.models import Rental, RentalPhase
from toyrental.shared.resource import Key, Resource

Json = dict[str, Any]
Change = tuple[Resource | None, Resource | None, Key | None]

CUSTOMER = "customer"


def rental(
    name: str = "order",
    *,
    uid: str = "u1",
    version: int = 1,
    customer: str = "mina",
    phase: str | None = None,
    namespace: str = "shop",
) -> Json:
    return {
        "apiVersion": "toyrental.dev/v1alpha1",
        "kind": "Rental",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": "2026-01-31T09:00:00Z",
        },
        "spec": {
            "customer": customer,
            "toyRef": {"name": "bear"},
            "period": {"days": 3},
            "paymentMethod": "pm_card_visa",
        },
        "status": {"phase": phase} if phase else {},
    }


def key(name: str = "order", namespace: str = "shop") -> Key:
    return Key("Rental", namespace, name)


def customer_of(resource: Resource) -> Iterable[str]:
    return [resource.spec.customer]


@pytest.fixture
def cache() -> Cache:
    cache = Cache(KINDS)
    cache.add_index("Rental", CUSTOMER, customer_of)
    return cache


@pytest.fixture
def changes(cache: Cache) -> list[Change]:
    told: list[Change] = []
    cache.listen(lambda *change: told.append(change))
    return told


def version_of(cache: Cache, key: Key) -> str | None:
    known = cache.identity(key)
    return None if known is None else known.version


def test_an_older_version_changes_nothing(cache: Cache, changes: list[Change]) -> None:
    cache.put(rental(version=9, customer="mina"))
    for late in (8, 9):
        cache.put(rental(version=late, customer="joon"))
    assert version_of(cache, key()) == "9"
    assert cache.keys_under("Rental", CUSTOMER, "joon") == []
    assert len(changes) == 1


def test_versions_are_numbers(cache: Cache) -> None:
    cache.put(rental(version=9))
    cache.put(rental(version=10))
    assert version_of(cache, key()) == "10"


def test_what_was_deleted_does_not_come_back_by_a_late_event(cache: Cache) -> None:
    cache.put(rental(version=5))
    cache.drop(key(), Identity("u1", "6"))
    cache.put(rental(version=5))
    cache.put(rental(version=99))
    assert cache.get(key()) is None
    assert cache.keys("Rental") == []
    assert list(cache.in_namespace("Rental", "shop")) == []


def test_a_deletion_heard_before_the_object_counts_too(cache: Cache) -> None:
    cache.drop(key(), Identity("u1", "6"))
    cache.put(rental(version=5))
    assert cache.get(key()) is None


def test_a_new_object_of_an_old_name_is_another_one(cache: Cache, changes: list[Change]) -> None:
    """Whoever asks what became of the old one, and missed its deletion, is told that it is gone."""
    cache.put(rental(uid="u1", version=5))
    cache.put(rental(uid="u2", version=7))
    (_, _, _), (before, after, _), (nothing, new, _) = changes
    assert (before and before.uid, after) == ("u1", None)
    assert (nothing, new and new.uid) == (None, "u2")
    cache.put(rental(uid="u1", version=99))
    assert cache.identity(key()) == Identity("u2", "7")


def test_the_deletion_of_an_earlier_namesake_is_no_deletion_of_this_one(cache: Cache) -> None:
    cache.put(rental(uid="u2", version=7))
    cache.drop(key(), Identity("u1", "6"))
    assert cache.identity(key()) == Identity("u2", "7")


def test_the_deletion_of_a_later_namesake_is_the_end_of_this_one(cache: Cache) -> None:
    cache.put(rental(uid="u1", version=5))
    cache.drop(key(), Identity("u2", "9"))
    assert cache.get(key()) is None


def test_settled_objects_are_packed_and_read_the_same(cache: Cache) -> None:
    raw = rental(phase="Completed", version=3)
    raw["status"] |= {"price": {"currency": "KRW", "minorUnits": 9000}}
    cache.put(raw)
    assert cache.get(key()) == Rental.model_validate(raw)
    assert cache.live_keys("Rental") == []
    assert cache.keys("Rental") == [key()]
    assert cache.identity(key()) == Identity("u1", "3")
    assert cache.find("Rental", CUSTOMER, "mina") == [Rental.model_validate(raw)]
    assert list(cache.in_namespace("Rental", "shop")) == [Rental.model_validate(raw)]


def test_what_was_not_set_is_still_not_set_after_packing(cache: Cache) -> None:
    """Defaults that the API server does not hold are told from what it holds."""
    cache.put(rental(phase="Completed"))
    unpacked = cache.get(key())
    assert unpacked is not None
    assert unpacked.status.model_fields_set == {"phase"}


def test_listeners_hear_before_and_after_and_for_whom(cache: Cache, changes: list[Change]) -> None:
    cache.put(rental(version=1))
    cache.put(rental(version=2, phase="Completed"), written_for=key("other"))
    cache.put(rental(version=3, phase="Completed"))
    cache.drop(key(), Identity("u1", "4"))
    phases = [(b and b.status.phase, a and a.status.phase) for b, a, _ in changes]
    done = RentalPhase.COMPLETED
    assert phases == [(None, None), (None, done), (done, done), (done, None)]
    assert [by for _, _, by in changes] == [None, key("other"), None, None]


def test_an_index_follows_every_change(cache: Cache) -> None:
    cache.put(rental("b", uid="u1", version=1, customer="mina"))
    cache.put(rental("a", uid="u2", version=2, customer="mina"))
    assert [found.name for found in cache.find("Rental", CUSTOMER, "mina")] == ["a", "b"]
    cache.put(rental("a", uid="u2", version=3, customer="joon"))
    assert cache.keys_under("Rental", CUSTOMER, "mina") == [key("b")]
    assert cache.keys_under("Rental", CUSTOMER, "joon") == [key("a")]
    cache.drop(key("b"), Identity("u1", "4"))
    assert cache.keys_under("Rental", CUSTOMER, "mina") == []


def test_what_is_not_understood_is_left_as_it_was_known(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put(rental(version=1))
    cache.put(rental(version=2) | {"spec": {"period": "a while"}})
    assert version_of(cache, key()) == "1"
    assert "Rental shop/order is not understood" in caplog.text


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.sampled_from(["mina", "joon"]),
            st.sampled_from([None, "Paid", "Completed"]),
            st.booleans(),
        ),
        max_size=25,
    ),
    st.randoms(use_true_random=False),
)
def test_events_in_any_order_and_number_leave_the_newest(
    history: list[tuple[str, str, str | None, bool]], chance: Any
) -> None:
    """Every version of an object is told once or more, in any order; the cache ends the same."""
    cache = Cache(KINDS)
    truth: dict[str, Json] = {}
    cache.add_index("Rental", CUSTOMER, customer_of)
    uids: dict[str, str] = {}
    events: list[tuple[str, Json]] = []
    for version, (name, customer, phase, deleted) in enumerate(history, 1):
        if deleted and name in uids:
            raw = rental(name, uid=uids.pop(name), version=version)
            events.append(("DELETED", raw))
            del truth[name]
            continue
        uid = uids.setdefault(name, f"{name}-{version}")
        raw = rental(name, uid=uid, version=version, customer=customer, phase=phase)
        events.append(("MODIFIED", raw))
        truth[name] = raw
    events += chance.choices(events, k=len(events)) if events else []
    chance.shuffle(events)
    for type_, raw in events:
        metadata = raw["metadata"]
        if type_ == "DELETED":
            gone = Identity(metadata["uid"], metadata["resourceVersion"])
            cache.drop(key(metadata["name"]), gone)
        else:
            cache.put(raw)
    expected = {name: Rental.model_validate(raw) for name, raw in truth.items()}
    assert {k.name: cache.get(k) for k in cache.keys("Rental")} == expected
    for customer in ("mina", "joon"):
        found = {k.name for k in cache.keys_under("Rental", CUSTOMER, customer)}
        assert found == {n for n, r in expected.items() if r.spec.customer == customer}
    assert {r.name for r in cache.in_namespace("Rental", "shop")} == set(expected)
    assert cache.identities("Rental") == {
        r.key: Identity(r.uid, r.metadata.resource_version) for r in expected.values()
    }
