"""The owner's view: counts kept as things change are those of a recount, and are bounded."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from toyrental.dashboards import rules
from toyrental.dashboards.counts import ReadModel
from toyrental.dashboards.metrics import Shops
from toyrental.dashboards.models import Dashboard, GroupBy
from toyrental.payments.models import Payment
from toyrental.rentals.models import Rental, ToySelector
from toyrental.repairs.models import RepairTicket
from toyrental.shared import conditions
from toyrental.shared.conditions import Finding
from toyrental.shared.resource import Key, Resource
from toyrental.stores.models import Toy

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
SHOP = "shop"

Objects = dict[Key, Resource]


def made(kind: type[Resource], name: str, spec: Any, status: Any, **metadata: Any) -> Resource:
    metadata = {"name": name, "namespace": SHOP, "uid": name, "resourceVersion": "1"} | metadata
    return kind.model_validate({"metadata": metadata, "spec": spec, "status": status})


def toy(name: str, phase: str, category: str = "puzzles", **labels: str) -> Resource:
    rate = {"currency": "KRW", "minorUnits": 3000}
    spec = {"title": name, "dailyRate": rate, "category": category, "model": f"{category}-1"}
    return made(Toy, name, spec, {"phase": phase}, labels=labels)


def rental(name: str, toy: str, phase: str, *, overdue: bool = False) -> Resource:
    said = {
        "type": "Overdue",
        "status": "True" if overdue else "False",
        "lastTransitionTime": NOW,
        "reason": "Overdue",
        "message": "",
    }
    spec = {"customer": "mina", "toyRef": {"name": toy}, "period": {"days": 3}}
    return made(Rental, name, spec, {"phase": phase, "conditions": [said]})


def payment(name: str, rental: str, phase: str, taken: int, back: int) -> Resource:
    spec = {
        "rentalRef": {"name": rental, "uid": rental},
        "gatewayRef": {"name": "simulator"},
        "amount": {"currency": "KRW", "minorUnits": 9000},
        "method": {"token": "pm_card_visa"},
    }
    status = {"phase": phase, "capturedMinorUnits": taken, "refundedMinorUnits": back}
    return made(Payment, name, spec, status)


def ticket(name: str, toy: str, phase: str) -> Resource:
    return made(RepairTicket, name, {"toyRef": {"name": toy}}, {"phase": phase})


names = st.sampled_from("abcd")
things = st.one_of(
    st.builds(
        toy,
        names,
        st.sampled_from(["Available", "Rented", "Damaged", "InRepair", "Discarded"]),
        st.sampled_from(["puzzles", "trains"]),
        age=st.sampled_from(["3", "6"]),
    ),
    st.builds(
        rental,
        names,
        names,
        st.sampled_from(["Pending", "Reserved", "Paid", "Rented", "Returned", "Completed"]),
        overdue=st.booleans(),
    ),
    st.builds(
        payment,
        names,
        names,
        st.sampled_from(["Captured", "Deferred", "Unknown"]),
        st.integers(0, 9000),
        st.integers(0, 9000),
    ),
    st.builds(ticket, names, names, st.sampled_from(["Open", "InRepair", "Repaired"])),
)
changes = st.lists(st.tuples(st.booleans(), things), max_size=40)


def after(happened: list[tuple[bool, Resource]]) -> tuple[ReadModel, Objects]:
    """Return the read model that saw each change, and what there is in the end."""
    model, objects = ReadModel(), Objects()
    for there, thing in happened:
        before = objects.pop(thing.key, None)
        if there:
            objects[thing.key] = thing
        if there or before is not None:
            model.change(before, thing if there else None)
    return model, objects


def recounted(objects: Objects) -> ReadModel:
    model = ReadModel()
    for thing in objects.values():
        model.change(None, thing)
    return model


def nonzero(counts: Any) -> dict[Any, int]:
    return {fact: count for fact, count in counts.items() if count}


@given(changes)
def test_counts_kept_are_those_of_a_recount(happened: list[tuple[bool, Resource]]) -> None:
    """N4: Given any changes, then the sums are those of one pass over what there is."""
    model, objects = after(happened)
    again = recounted(objects)
    assert nonzero(model.of_shop(SHOP)) == nonzero(again.of_shop(SHOP))
    young = ToySelector(match_labels={"age": "3"}).matches
    assert nonzero(model.of_toys(SHOP, young)) == nonzero(again.of_toys(SHOP, young))
    assert model.shops == ([SHOP] if objects else [])


@given(changes)
def test_the_numbers_are_those_that_anybody_counts(happened: list[tuple[bool, Resource]]) -> None:
    """R10: Given any changes, then a Dashboard says what a person with kubectl counts."""
    model, objects = after(happened)
    counts = model.of_shop(SHOP)
    toys = Counter(str(o.status.phase) for o in objects.values() if isinstance(o, Toy))
    rentals = [o for o in objects.values() if isinstance(o, Rental)]
    phases = Counter(str(o.phase) for o in rentals)
    said = rules.toys(counts)
    assert said.total == toys.total()
    assert said.out_of_order == toys["Damaged"] + toys["InRepair"]
    assert {p.phase: p.count for p in said.by_phase if p.count} == toys
    orders = rules.rentals(counts)
    assert {p.phase: p.count for p in orders.by_phase if p.count} == phases
    assert orders.overdue == sum(o.status.conditions[0].status == "True" for o in rentals)
    assert (orders.waiting, orders.unpaid) == (phases["Pending"], phases["Reserved"])
    payments = [o.status for o in objects.values() if isinstance(o, Payment)]
    money = {str(m.currency): m for m in rules.payments(counts)}
    taken = sum(s.captured_minor_units or 0 for s in payments)
    assert (money["KRW"].captured_minor_units if "KRW" in money else 0) == taken
    tickets = [o for o in objects.values() if isinstance(o, RepairTicket)]
    decision = rules.decide(dashboard(), counts, NOW)
    assert decision.write is not None
    assert decision.write.after.status.repairs.open == sum(not t.phase.final for t in tickets)
    groups = rules.groups(counts, [GroupBy.CATEGORY])
    assert sum(group.total for group in groups) == said.total
    assert sum(group.available for group in groups) == toys["Available"]


def test_a_selector_counts_toys_and_what_belongs_to_them() -> None:
    happened = [
        (True, toy("a", "Rented", age="3")),
        (True, toy("b", "Rented", age="6")),
        (True, rental("r", "a", "Rented", overdue=True)),
        (True, rental("s", "b", "Rented")),
        (True, payment("p", "r", "Captured", 9000, 0)),
        (True, payment("q", "s", "Captured", 5000, 0)),
        (True, ticket("t", "b", "Open")),
    ]
    model, _ = after(happened)
    spec = {"selector": {"matchLabels": {"age": "3"}}}
    young = dashboard(spec=spec)
    assert young.spec.selector is not None
    decision = rules.decide(young, model.of_toys(SHOP, young.spec.selector.matches), NOW)
    assert decision.write is not None
    status = decision.write.after.status
    assert status.toys.total == 1
    assert status.rentals.overdue == 1
    assert [money.captured_minor_units for money in status.payments] == [9000]
    assert status.repairs.open == 0


def test_five_thousand_toys_in_three_hundred_categories_stay_bounded() -> None:
    """Given more groups than a Dashboard shows, then the smallest are summed up as `other`."""
    model = ReadModel()
    for n in range(5000):
        phase = "Available" if n % 2 else "Rented"
        model.change(None, toy(f"toy-{n}", phase, f"category-{n % 300}"))
    decision = rules.decide(dashboard(), model.of_shop(SHOP), NOW)
    assert decision.write is not None
    status = decision.write.after.status
    assert len(status.groups) == 100
    assert status.groups[-1].key == rules.OTHER
    assert sum(group.total for group in status.groups) == status.toys.total == 5000
    assert sum(group.available for group in status.groups) == 2500
    assert len(status.model_dump_json(by_alias=True)) < 16_000


def test_grouping_by_both_counts_what_shares_both() -> None:
    model, _ = after([(True, toy("a", "Available")), (True, toy("b", "Rented"))])
    (group,) = rules.groups(model.of_shop(SHOP), [GroupBy.CATEGORY, GroupBy.MODEL])
    assert (group.key, group.total, group.available) == ("category=puzzles,model=puzzles-1", 2, 1)


def test_time_alone_writes_nothing() -> None:
    """Given numbers that did not change, then an hour later there is nothing to write."""
    model, _ = after([(True, toy("a", "Available"))])
    first = rules.decide(dashboard(), model.of_shop(SHOP), NOW)
    assert first.write is not None
    written = first.write.after
    assert isinstance(written, Dashboard)
    assert written.status.observed_time == NOW
    assert rules.decide(written, model.of_shop(SHOP), NOW + timedelta(hours=1)).idle


def dashboard(**more: Any) -> Dashboard:
    found = made(Dashboard, "shop", more.get("spec", {}), {}, generation=1)
    assert isinstance(found, Dashboard)
    return found


def test_payments_that_need_a_person_are_told_by_the_reason() -> None:
    # Given a refund that failed, and one that went well
    shops = Shops()
    stuck = payment("stuck", "order", "Refunded", 9000, 9000)
    well = payment("well", "other", "Refunded", 9000, 9000)
    assert isinstance(stuck, Payment)
    failed = Finding("True", "RefundFailed", "The shop has the money again.")
    stalled = stuck.with_status(
        conditions=conditions.update((), {"Stalled": failed}, generation=1, now=NOW)
    )
    shops.model.change(None, stalled)
    shops.model.change(None, well)

    def told() -> dict[str, float]:
        [family] = (f for f in shops.collect() if f.name == "toyrental_shop_payments_stalled")
        return {sample.labels["reason"]: sample.value for sample in family.samples}

    # Then the one is told of, until a person has ended it
    others = {"GatewayUnusable": 0, "Unresolved": 0}
    assert told() == {"RefundFailed": 1, **others}
    shops.model.change(stalled, stuck)
    assert told() == {"RefundFailed": 0, **others}
