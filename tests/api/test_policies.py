"""What the API server refuses by who is asking, with real people: tokens and roles of their own."""

import re
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from tests.support import Api, Json, Refused, Shop, can, condition, eventually, objects
from tests.support.shop import body
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import Toy

POLICIES = Path(__file__).parents[2] / "manifests" / "policies"

FOR_MINA = can("impersonate", "customers", "mina")

DAYS = "2026-03-0{}T09:00:00Z"


def forbidden(message: str) -> "pytest.RaisesExc[Refused]":
    """Expect a refusal by a policy, in these words."""
    return pytest.raises(Refused, match=f"403 Forbidden.*ValidatingAdmissionPolicy.*{message}")


def booking(state: str) -> Json:
    return {
        "rentalUID": "11111111-aaaa",
        "rentalRef": {"name": "first", "uid": "11111111-aaaa"},
        "startTime": DAYS.format(1),
        "endTime": DAYS.format(4),
        "state": state,
    }


@pytest.fixture
def clerk(shop: Shop) -> Shop:
    """Give the shop to somebody who may do everything to its objects, but hold no verb of ours."""
    every = "get list create update patch delete deletecollection"
    kinds = "stores toys rentals payments paymentgateways repairtickets dashboards"
    return shop.person("clerk", can(every, kinds))


def a_rental(shop: Shop, phase: str, *, approved: bool = False) -> Rental:
    """Given a rental in that phase."""
    rental = shop.create(objects.rental("first", toy="bear"))
    shop.set_status(Rental, "first", phase="Paid", conditions=[condition("Paid", "True")])
    if approved:
        shop.patch(Rental, "first", spec={"approval": {"decision": "Approved"}})
    if phase != "Paid":
        shop.set_status(Rental, "first", phase=phase)
    return rental


class TestLiveRentalsStay:
    @pytest.mark.parametrize("phase", ["Approved", "Rented", "Returned"])
    def test_a_live_rental_is_not_deleted(self, shop: Shop, clerk: Shop, phase: str) -> None:
        a_rental(shop, phase)
        with forbidden(rf"Rental first is live \({phase}\): have the toy returned"):
            clerk.delete(Rental, "first")

    def test_an_approved_one_is_live_whatever_its_phase_says_yet(
        self, shop: Shop, clerk: Shop
    ) -> None:
        a_rental(shop, "Paid", approved=True)
        with forbidden(r"Rental first is live \(Paid\)"):
            clerk.delete(Rental, "first")

    def test_nor_are_all_rentals_at_once(self, shop: Shop, clerk: Shop) -> None:
        a_rental(shop, "Rented")
        with forbidden("Rental first is live"):
            clerk.api.delete_all("Rental", shop.name)
        assert shop.exists(Rental, "first")

    @pytest.mark.parametrize("phase", ["Paid", "Cancelled", "Expired", "Rejected", "Completed"])
    def test_one_that_is_not_live_is(self, shop: Shop, clerk: Shop, phase: str) -> None:
        a_rental(shop, phase)
        clerk.delete(Rental, "first")
        shop.gone(Rental, "first")

    def test_an_approved_one_that_has_ended_is(self, shop: Shop, clerk: Shop) -> None:
        a_rental(shop, "Completed", approved=True)
        clerk.delete(Rental, "first")
        shop.gone(Rental, "first")

    def test_one_that_nobody_looked_at_yet_is(self, shop: Shop, clerk: Shop) -> None:
        shop.create(objects.rental("first", toy="bear"))
        clerk.delete(Rental, "first")
        shop.gone(Rental, "first")

    def test_who_may_operate_it_deletes_even_a_live_one(self, shop: Shop) -> None:
        a_rental(shop, "Rented")
        manager = shop.person("manager", can("delete operate", "rentals", "first"))
        manager.delete(Rental, "first")
        shop.gone(Rental, "first")

    def test_who_may_operate_another_does_not(self, shop: Shop) -> None:
        a_rental(shop, "Rented")
        manager = shop.person(
            "manager", can("delete", "rentals"), can("operate", "rentals", "another")
        )
        with forbidden("Rental first is live"):
            manager.delete(Rental, "first")

    def test_a_live_one_is_still_changed(self, shop: Shop) -> None:
        a_rental(shop, "Rented", approved=True)
        mina = shop.person("mina", can("get patch", "rentals"), FOR_MINA)
        mina.patch(Rental, "first", spec={"desiredState": "Returned"})


class TestToysThatAreOutStay:
    @pytest.mark.parametrize("state", ["Out", "Returned"])
    def test_a_toy_that_is_out_is_not_deleted(self, shop: Shop, clerk: Shop, state: str) -> None:
        shop.create(objects.toy("bear"))
        shop.set_status(Toy, "bear", bookings=[booking(state)])
        with forbidden("Toy bear is out with Rental first: finish that rental first"):
            clerk.delete(Toy, "bear")
        with forbidden("Toy bear is out"):
            clerk.api.delete_all("Toy", shop.name)

    @pytest.mark.parametrize("bookings", [[], [booking("Held")]])
    def test_one_on_the_shelf_is(self, shop: Shop, clerk: Shop, bookings: list[Json]) -> None:
        shop.create(objects.toy("bear"))
        shop.set_status(Toy, "bear", bookings=bookings)
        clerk.delete(Toy, "bear")
        shop.gone(Toy, "bear")

    def test_who_may_operate_it_deletes_it_even_so(self, shop: Shop) -> None:
        shop.create(objects.toy("bear"))
        shop.set_status(Toy, "bear", bookings=[booking("Out")])
        shop.person("manager", can("delete operate", "toys")).delete(Toy, "bear")
        shop.gone(Toy, "bear")


class TestAWholeShopCanBeClosed:
    def test_with_live_rentals_and_toys_that_are_out(self, admin: Api) -> None:
        # Given a shop with a live rental, and its toy out
        name = "shop-that-closes"
        admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        shop = Shop(admin, name)
        shop.create(objects.toy("bear"))
        shop.set_status(Toy, "bear", bookings=[booking("Out")])
        a_rental(shop, "Rented", approved=True)
        # When its namespace is deleted
        admin.delete("Namespace", name)
        # Then nothing of it is left
        eventually(
            lambda: all(each["metadata"]["name"] != name for each in admin.find("Namespace")),
            explain=lambda: str(admin.get("Namespace", name)["status"]),
        )

    def test_and_what_a_deleted_object_owned_is_collected(self, shop: Shop) -> None:
        toy = shop.create(objects.toy("bear"))
        a_rental(shop, "Rented")
        owner = toy.as_owner().model_dump(by_alias=True)
        shop.patch(Rental, "first", metadata={"ownerReferences": [owner]})
        shop.delete(Toy, "bear")
        shop.gone(Rental, "first", within=60)


class TestPaymentsAreTheOperators:
    """R2b, and money: nobody makes or changes a Payment but the operator and whom it trusts."""

    def test_nobody_else_creates_one(self, shop: Shop, clerk: Shop) -> None:
        rental = shop.create(objects.rental("first", toy="bear"))
        with forbidden("Payments are made by the operator: create a Rental"):
            clerk.create(objects.payment("first", rental=rental))

    def test_nobody_else_changes_the_spec(self, shop: Shop, clerk: Shop) -> None:
        rental = shop.create(objects.rental("first", toy="bear"))
        shop.create(objects.payment("first", rental=rental))
        with forbidden("the spec of a Payment is the operator's.*cancel the Rental"):
            clerk.patch(Payment, "first", spec={"refundMinorUnits": 9000})

    def test_nobody_else_lets_an_unsettled_one_go(self, shop: Shop, clerk: Shop) -> None:
        rental = shop.create(objects.rental("first", toy="bear"))
        shop.create(objects.payment("first", rental=rental))
        kept = ["example.com/audit", "toyrental.dev/settle"]
        shop.patch(Payment, "first", metadata={"finalizers": kept})
        for left in (None, ["example.com/audit"]):
            with forbidden("toyrental.dev/settle stands for money that is not settled yet"):
                clerk.patch(Payment, "first", metadata={"finalizers": left})
        clerk.patch(Payment, "first", metadata={"finalizers": ["toyrental.dev/settle"]})
        shop.patch(Payment, "first", metadata={"finalizers": None})

    def test_anybody_who_may_labels_it(self, shop: Shop, clerk: Shop) -> None:
        rental = shop.create(objects.rental("first", toy="bear"))
        shop.create(objects.payment("first", rental=rental))
        changed = clerk.patch(Payment, "first", metadata={"labels": {"audited": "yes"}})
        assert changed.metadata.labels == {"audited": "yes"}

    def test_who_may_operate_payments_does_all_of_it(self, shop: Shop) -> None:
        rental = shop.create(objects.rental("first", toy="bear"))
        cashier = shop.person("cashier", can("create patch operate", "payments"))
        cashier.create(objects.payment("first", rental=rental))
        cashier.patch(Payment, "first", metadata={"finalizers": ["toyrental.dev/settle"]})
        refunded = cashier.patch(Payment, "first", spec={"refundMinorUnits": 9000})
        assert refunded.spec.refund_minor_units == 9000
        cashier.patch(Payment, "first", metadata={"finalizers": None})

    def test_who_resolves_a_review_is_recorded(self, shop: Shop) -> None:
        rental = shop.create(objects.rental("first", toy="bear"))
        shop.create(objects.payment("first", rental=rental))
        shop.set_status(Payment, "first", phase="ManualReview")
        cashier = shop.person("cashier", can("patch operate", "payments"))
        not_charged = {"outcome": "NotCharged"}
        with forbidden("resolution.resolvedBy says eve, and you are .*cashier: leave it out"):
            cashier.patch(
                Payment, "first", spec={"resolution": not_charged | {"resolvedBy": "eve"}}
            )
        resolved = cashier.patch(Payment, "first", spec={"resolution": not_charged})
        assert resolved.spec.resolution is not None
        assert resolved.spec.resolution.resolved_by == cashier.api.who_am_i()

    def test_who_ends_a_failed_refund_is_recorded_each_time(self, shop: Shop) -> None:
        rental = shop.create(objects.rental("first", toy="bear"))
        shop.create(objects.payment("first", rental=rental))
        failure = {"number": 1, "minorUnits": 9000, "failedMinorUnits": 9000}
        captured = {"phase": "Captured", "capturedMinorUnits": 9000}
        shop.set_status(Payment, "first", **captured, refundFailure=failure)
        again = {"failure": 1, "outcome": "TryAgain"}
        # Given somebody who may change payments, and not operate them, then they may not
        clerk = shop.person("clerk", can("patch", "payments"))
        with forbidden("ask somebody who may operate payments"):
            clerk.patch(Payment, "first", spec={"refundResolution": again})
        # And who may is recorded, and says nobody else
        cashier = shop.person("cashier", can("get patch update operate", "payments"))
        with forbidden("refundResolution.resolvedBy says eve, and you are .*cashier: leave it out"):
            lie = again | {"resolvedBy": "eve"}
            cashier.patch(Payment, "first", spec={"refundResolution": lie})
        for _ in range(2):
            tried = cashier.patch(Payment, "first", spec={"refundResolution": again})
            assert tried.spec.refund_resolution is not None
            assert tried.spec.refund_resolution.resolved_by == cashier.api.who_am_i()
        # And of the next failure it is the next one, whatever was recorded of the first
        shop.set_status(Payment, "first", refundFailure={**failure, "number": 2})
        banker = shop.person("banker", can("patch operate", "payments"))
        given = {"failure": 2, "outcome": "GivenBack"}
        ended = banker.patch(Payment, "first", spec={"refundResolution": given})
        assert ended.spec.refund_resolution is not None
        assert ended.spec.refund_resolution.resolved_by == banker.api.who_am_i()
        # And it stays theirs, whoever repeats it without the name
        shop.set_status(Payment, "first", phase="Refunded")
        whole = cashier.api.get("Payment", "first", shop.name)
        del whole["spec"]["refundResolution"]["resolvedBy"]
        whole["spec"]["refundMinorUnits"] = 9000
        path = f"/apis/toyrental.dev/v1alpha1/namespaces/{shop.name}/payments/first"
        put = Payment.model_validate(cashier.api.request("PUT", path, whole))
        assert put.spec.refund_resolution == ended.spec.refund_resolution


CARD = {"name": "card", "key": "token"}


class TestRentalSecretsAreReadable:
    def test_who_may_not_read_the_secret_does_not_pay_by_it(self, shop: Shop) -> None:
        shop.secret("card", {"token": "pm_card_visa"})
        mina = shop.person(
            "mina", can("create patch", "rentals"), can("get", "secrets", "another"), FOR_MINA
        )
        with forbidden("paymentMethodSecretRef names Secret card, which you may not read"):
            mina.create(objects.rental("first", toy="bear", paymentMethodSecretRef=CARD))
        mina.create(objects.rental("first", toy="bear"))
        with forbidden("names Secret card, which you may not read"):
            mina.patch(
                Rental, "first", spec={"paymentMethod": None, "paymentMethodSecretRef": CARD}
            )

    def test_being_allowed_to_list_secrets_is_not_enough(self, shop: Shop) -> None:
        mina = shop.person("mina", can("create", "rentals"), can("list", "secrets"), FOR_MINA)
        with forbidden("names Secret card, which you may not read"):
            mina.create(objects.rental("first", toy="bear", paymentMethodSecretRef=CARD))

    def test_who_may_read_it_pays_by_it(self, shop: Shop) -> None:
        mina = shop.person(
            "mina",
            can("create patch", "rentals"),
            can("get", "secrets", "card", "card-2"),
            FOR_MINA,
        )
        mina.create(objects.rental("first", toy="bear", paymentMethodSecretRef=CARD))
        mina.patch(Rental, "first", spec={"paymentMethodSecretRef": {"name": "card-2"}})
        with forbidden("names Secret owners, which you may not read"):
            mina.patch(Rental, "first", spec={"paymentMethodSecretRef": {"name": "owners"}})

    def test_whoever_changes_the_rest_need_not_be_allowed_to(self, shop: Shop) -> None:
        shop.create(objects.rental("first", toy="bear", paymentMethodSecretRef=CARD))
        mina = shop.person("mina", can("patch", "rentals"), FOR_MINA)
        mina.patch(Rental, "first", spec={"desiredState": "Cancelled"})
        mina.patch(
            Rental, "first", spec={"paymentMethod": "pm_card_visa", "paymentMethodSecretRef": None}
        )


class TestGatewaySecretsAreReadable:
    @staticmethod
    def gateway(provider: str = "stripe", **more: str) -> PaymentGateway:
        spec = {provider: {"secretRef": {"name": "stripe", "key": "apiKey"}} | more}
        return PaymentGateway.model_validate({"metadata": {"name": "main"}, "spec": spec})

    def test_who_may_not_read_the_secret_sets_up_no_gateway(self, clerk: Shop) -> None:
        simulator = self.gateway("simulator", endpoint="http://127.0.0.1:8790")
        for gateway in (self.gateway("stripe"), self.gateway("toss"), simulator):
            with forbidden("secretRef names Secret stripe, which you may not read"):
                clerk.create(gateway)
        clerk.create(objects.gateway("simulator", "http://127.0.0.1:8790"))
        with forbidden("secretRef names Secret stripe, which you may not read"):
            clerk.patch(
                PaymentGateway,
                "simulator",
                spec={"simulator": {"secretRef": {"name": "stripe", "key": "apiKey"}}},
            )

    def test_nor_points_one_at_another_secret_or_endpoint(self, shop: Shop, clerk: Shop) -> None:
        shop.create(self.gateway())
        with forbidden("secretRef names Secret owners, which you may not read"):
            clerk.patch(PaymentGateway, "main", spec={"stripe": {"secretRef": {"name": "owners"}}})
        with forbidden("secretRef names Secret stripe, which you may not read"):
            clerk.patch(
                PaymentGateway, "main", spec={"stripe": {"endpoint": "https://elsewhere.example"}}
            )
        clerk.patch(PaymentGateway, "main", spec={"timeoutSeconds": 3})

    def test_nor_names_one_for_webhooks(self, clerk: Shop) -> None:
        ref = {"name": "whsec", "key": "secret"}
        with forbidden("webhookSecretRef names Secret whsec, which you may not read"):
            clerk.create(
                objects.gateway("simulator", "http://127.0.0.1:8790", webhookSecretRef=ref)
            )
        clerk.create(objects.gateway("simulator", "http://127.0.0.1:8790"))
        with forbidden("webhookSecretRef names Secret whsec, which you may not read"):
            clerk.patch(PaymentGateway, "simulator", spec={"webhookSecretRef": ref})

    def test_who_may_read_it_does(self, shop: Shop) -> None:
        owner = shop.person(
            "owner",
            can("create get patch", "paymentgateways"),
            can("get", "secrets", "stripe", "whsec"),
        )
        owner.create(self.gateway())
        owner.patch(
            PaymentGateway, "main", spec={"stripe": {"endpoint": "https://api.stripe.example"}}
        )
        owner.patch(
            PaymentGateway, "main", spec={"webhookSecretRef": {"name": "whsec", "key": "secret"}}
        )


PAID = {"phase": "Paid", "conditions": [condition("Paid", "True")]}
APPROVED: Json = {"approval": {"decision": "Approved"}}


class TestRentalsAreTheirCustomers:
    """R1, R5, R8: a customer orders, cancels and returns for themselves, and nobody else does."""

    def test_a_customer_orders_in_their_own_name_only(self, shop: Shop) -> None:
        mina = shop.person("mina", can("create patch", "rentals"))
        itself = mina.api.who_am_i()
        mina.create(objects.rental("first", toy="bear", customer=itself))
        with forbidden(f"this order is for ryu, and you are {itself}: set spec.customer to your"):
            mina.create(objects.rental("second", toy="bear", customer="ryu"))

    def test_a_customer_changes_their_own_order_and_no_other(self, shop: Shop) -> None:
        mina = shop.person("mina", can("create patch", "rentals"))
        mina.create(objects.rental("first", toy="bear", customer=mina.api.who_am_i()))
        shop.create(objects.rental("second", toy="bear", customer="ryu"))
        for change in (
            {"spec": {"paymentMethod": "pm_card_mastercard"}},
            {"spec": {"desiredState": "Cancelled"}},
            {"metadata": {"labels": {"mine": "yes"}}},
        ):
            mina.patch(Rental, "first", **change)
            with forbidden("(Rental second is not your order|this order is not yours)"):
                mina.patch(Rental, "second", **change)

    def test_who_may_patch_but_not_read_reads_nothing_by_a_patch(self, shop: Shop) -> None:
        shop.create(objects.rental("first", toy="bear", customer="ryu"))
        mina = shop.person("mina", can("patch", "rentals"))
        for change in ({}, {"spec": {"desiredState": "Cancelled"}}):
            with forbidden("(Rental first is not your order|this order is not yours)") as refusal:
                mina.patch(Rental, "first", **change)
            # Nor whose it is
            assert "ryu" not in str(refusal.value)

    def test_who_may_act_for_a_customer_does_so_for_that_one_only(self, shop: Shop) -> None:
        clerk = shop.person("clerk", can("create patch", "rentals"), FOR_MINA)
        clerk.create(objects.rental("first", toy="bear", customer="mina"))
        clerk.patch(Rental, "first", spec={"desiredState": "Cancelled"})
        with forbidden("this order is for ryu"):
            clerk.create(objects.rental("second", toy="bear", customer="ryu"))

    @pytest.mark.parametrize("verb", ["approve", "inspect", "operate"])
    def test_who_decides_over_an_order_labels_it_and_does_not_act_for_its_customer(
        self, shop: Shop, verb: str
    ) -> None:
        shop.create(objects.rental("first", toy="bear", customer="ryu"))
        owner = shop.person("owner", can(f"patch {verb}", "rentals"))
        owner.patch(Rental, "first", metadata={"labels": {"shelf": "3"}})
        with forbidden(
            "Rental first is not your order.*only its customer cancels, returns or pays it"
        ):
            owner.patch(Rental, "first", spec={"desiredState": "Cancelled"})


class TestDecisionsAreTheOwners:
    """R4, R13: who holds the verb decides, and is recorded."""

    def test_a_customer_does_not_approve_their_own_order(self, shop: Shop) -> None:
        mina = shop.person("mina", can("create patch", "rentals"))
        mina.create(objects.rental("first", toy="bear", customer=mina.api.who_am_i()))
        shop.set_status(Rental, "first", **PAID)
        for decision in ("Approved", "Denied"):
            with forbidden("may not approve or deny Rental first: ask the owner of the shop"):
                mina.patch(Rental, "first", spec={"approval": {"decision": decision}})
        cancelled = mina.patch(Rental, "first", spec={"desiredState": "Cancelled"})
        assert cancelled.spec.approval is None

    def test_who_holds_approve_does_and_is_recorded(self, shop: Shop) -> None:
        a_rental(shop, "Paid")
        owner = shop.person("owner", can("patch approve", "rentals", "first"))
        with forbidden("approval.decidedBy says eve, and you are .*owner: leave it out"):
            owner.patch(
                Rental, "first", spec={"approval": APPROVED["approval"] | {"decidedBy": "eve"}}
            )
        approved = owner.patch(Rental, "first", spec=APPROVED)
        assert approved.spec.approval is not None
        assert approved.spec.approval.decided_by == owner.api.who_am_i()
        shop.patch(Rental, "first", spec={"desiredState": "Returned"})
        with forbidden("may not inspect what came back with Rental first"):
            owner.patch(Rental, "first", spec={"inspection": {"result": "Accepted"}})

    def test_who_holds_inspect_does_and_is_recorded(self, shop: Shop) -> None:
        a_rental(shop, "Rented", approved=True)
        shop.patch(Rental, "first", spec={"desiredState": "Returned"})
        owner = shop.person("owner", can("patch inspect", "rentals"))
        accepted = {"result": "Accepted"}
        with forbidden("inspection.inspectedBy says eve, and you are .*owner: leave it out"):
            owner.patch(Rental, "first", spec={"inspection": accepted | {"inspectedBy": "eve"}})
        truth = accepted | {"inspectedBy": owner.api.who_am_i()}
        owner.patch(Rental, "first", spec={"inspection": truth})

    def test_whoever_decided_stays_on_record_whatever_is_sent_later(self, shop: Shop) -> None:
        """By clients that do not know the field: merge patch, apply, and the whole object."""
        a_rental(shop, "Paid")
        owner = shop.person("owner", can("patch approve", "rentals"))
        decided = owner.patch(Rental, "first", spec=APPROVED)
        known = decided.metadata.resource_version
        assert shop.patch(Rental, "first", spec=APPROVED).metadata.resource_version == known
        manifest = body(objects.rental("first", toy="bear", **APPROVED))
        for _ in range(2):
            applied = shop.api.apply(manifest, shop.name)
        assert applied["spec"]["approval"]["decidedBy"] == owner.api.who_am_i()
        path = f"/apis/toyrental.dev/v1alpha1/namespaces/{shop.name}/rentals/first"
        version = applied["metadata"]["resourceVersion"]
        whole = manifest | {"metadata": {"name": "first", "resourceVersion": version}}
        put = shop.api.request("put", path, whole)
        assert put["spec"]["approval"]["decidedBy"] == owner.api.who_am_i()
        with pytest.raises(Refused, match="the decision about an order is final"):
            shop.patch(Rental, "first", spec={"approval": {"decidedBy": "eve"}})

    def test_a_repeated_apply_of_an_approved_order_changes_nothing(self, shop: Shop) -> None:
        a_rental(shop, "Paid")
        manifest = body(objects.rental("first", toy="bear", **APPROVED))
        first = shop.api.apply(manifest, shop.name)
        assert first["spec"]["approval"]["decidedBy"] == shop.api.who_am_i()
        assert shop.api.apply(manifest, shop.name) == first


class TestRepairsAreTheRepairers:
    """R14, R16: who may, repairs or discards, and is recorded."""

    REPAIRED: ClassVar[Json] = {"resolution": {"outcome": "Repaired"}}

    def test_who_opens_tickets_does_not_end_them(self, shop: Shop) -> None:
        owner = shop.person("owner", can("create patch", "repairtickets"))
        with forbidden("may not end the repair done: ask a repairer"):
            owner.create(objects.ticket("done", toy="bear", **self.REPAIRED))
        owner.create(objects.ticket("ticket", toy="bear"))
        with forbidden("may not end the repair ticket: ask a repairer"):
            owner.patch(RepairTicket, "ticket", spec=self.REPAIRED)
        owner.patch(RepairTicket, "ticket", spec={"description": "a wheel", "assignee": "hana"})

    @pytest.mark.parametrize(
        ("verb", "outcome", "other"),
        [("repair", "Repaired", "Discarded"), ("discard", "Discarded", "Repaired")],
    )
    def test_who_repairs_does_not_discard_nor_the_other_way_round(
        self, shop: Shop, verb: str, outcome: str, other: str
    ) -> None:
        shop.create(objects.ticket("ticket", toy="bear"))
        hana = shop.person("hana", can(f"patch {verb}", "repairtickets"))
        asked_for = "discard" if verb == "repair" else "repair"
        with forbidden(f"may not end the repair ticket: .* verb {asked_for} on repairtickets"):
            hana.patch(RepairTicket, "ticket", spec={"resolution": {"outcome": other}})
        hana.patch(RepairTicket, "ticket", spec={"assignee": "hana"})
        hana.patch(RepairTicket, "ticket", spec={"resolution": {"outcome": outcome}})

    def test_who_repairs_takes_and_ends_them_and_is_recorded(self, shop: Shop) -> None:
        shop.create(objects.ticket("ticket", toy="bear"))
        hana = shop.person("hana", can("patch repair discard", "repairtickets"))
        hana.patch(RepairTicket, "ticket", spec={"assignee": "hana"})
        with forbidden("what is wrong with the toy is said by who opens tickets"):
            hana.patch(RepairTicket, "ticket", spec={"description": "nothing"})
        lie = {"outcome": "Discarded", "resolvedBy": "eve"}
        with forbidden("resolution.resolvedBy says eve, and you are .*hana: leave it out"):
            hana.patch(RepairTicket, "ticket", spec={"resolution": lie})
        ended = hana.patch(RepairTicket, "ticket", spec=self.REPAIRED)
        assert ended.spec.resolution is not None
        assert ended.spec.resolution.resolved_by == hana.api.who_am_i()

    def test_who_does_neither_changes_nothing(self, shop: Shop) -> None:
        shop.create(objects.ticket("ticket", toy="bear"))
        rob = shop.person("rob", can("patch", "repairtickets"))
        for change in ({"spec": {"assignee": "rob"}}, {"metadata": {"labels": {"mine": "yes"}}}):
            with forbidden("a ticket is changed by who opens tickets and by who repairs"):
                rob.patch(RepairTicket, "ticket", **change)


class TestLivesAreNotTiedElsewhere:
    """Else whom nobody lets delete a rental could have it collected."""

    MORTAL: ClassVar[Json] = {
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "1111-2222"}
        ]
    }
    IMMORTAL: ClassVar[Json] = {"finalizers": ["example.com/never"]}

    @pytest.mark.parametrize("tie", [MORTAL, IMMORTAL], ids=["owners", "finalizers"])
    def test_who_may_change_an_object_does_not_tie_its_life(self, shop: Shop, tie: Json) -> None:
        made = [
            shop.create(objects.rental("first", toy="bear")),
            shop.create(objects.toy("bear")),
            shop.create(objects.ticket("ticket", toy="bear")),
            shop.create(objects.gateway("simulator", "http://127.0.0.1:8790")),
        ]
        everywhere = "rentals toys repairtickets paymentgateways"
        helper = shop.person(
            "helper",
            can("create patch", everywhere),
            can("approve", "rentals"),
            can("impersonate", "customers"),
        )
        for each in made:
            with forbidden(f"finalizers decide when {each.name} is deleted"):
                helper.patch(type(each), each.name, metadata=tie)
            helper.patch(type(each), each.name, metadata={"annotations": {"seen": "yes"}})
        for each in (objects.rental("second", toy="bear"), objects.toy("boat")):
            with forbidden(f"finalizers decide when {each.name} is deleted"):
                content = body(each)
                helper.create_raw(content | {"metadata": content["metadata"] | tie})

    def test_nor_that_of_a_payment(self, shop: Shop, clerk: Shop) -> None:
        rental = shop.create(objects.rental("first", toy="bear"))
        shop.create(objects.payment("first", rental=rental))
        with forbidden("a Payment is deleted with its owners"):
            clerk.patch(Payment, "first", metadata=self.MORTAL)

    def test_who_may_operate_it_does(self, shop: Shop) -> None:
        shop.create(objects.toy("bear"))
        manager = shop.person("manager", can("patch operate", "toys"))
        manager.patch(Toy, "bear", metadata=self.IMMORTAL)
        manager.patch(Toy, "bear", metadata={"finalizers": None})

    def test_the_collector_unties_what_is_orphaned(self, shop: Shop) -> None:
        """Given a rental owned by its toy, and a payment by the rental; owners deleted alone."""
        toy = shop.create(objects.toy("bear"))
        rental = shop.create(objects.rental("first", toy="bear"))
        shop.create(objects.payment("first", rental=rental))
        for owner, kind in ((toy, Rental), (rental, Payment)):
            ref = owner.as_owner().model_dump(by_alias=True)
            shop.patch(kind, "first", metadata={"ownerReferences": [ref]})
        for plural, name, kind in (("toys", "bear", Rental), ("rentals", "first", Payment)):
            path = f"/apis/toyrental.dev/v1alpha1/namespaces/{shop.name}/{plural}/{name}"
            shop.api.request("delete", path, {"propagationPolicy": "Orphan"})
            shop.wait(kind, "first", lambda each: not each.metadata.owner_references, within=60)


class TestStatusesAreTheOperators:
    EVERY = "get create update patch"

    def test_who_may_patch_all_resources_writes_no_status(self, shop: Shop) -> None:
        a_rental(shop, "Paid")
        helper = shop.person("helper", can(self.EVERY, "*"))
        with forbidden("the status of first is the operator's: change its spec"):
            helper.set_status(Rental, "first", phase="Rented")

    def test_nor_does_who_may_operate_the_object_alone(self, shop: Shop) -> None:
        a_rental(shop, "Paid")
        helper = shop.person(
            "helper", can("operate", "rentals"), can("patch", "rentals/status toys/status")
        )
        with forbidden("the status of first is the operator's"):
            helper.set_status(Rental, "first", phase="Rented")

    def test_who_may_operate_the_status_does(self, shop: Shop) -> None:
        a_rental(shop, "Paid")
        operator = shop.person("operator", can("patch operate", "rentals/status"))
        assert operator.set_status(Rental, "first", phase="Rented").phase == "Rented"


class TestWhoMayDoEverything:
    def test_decides_over_everything_and_is_recorded(self, shop: Shop) -> None:
        """A cluster-admin holds every verb by `*`, as the API server sees it."""
        admin = shop.person("admin", role="cluster-admin")
        for verb, resource in (
            ("approve", "rentals"),
            ("impersonate", "customers"),
            ("operate", "rentals/status"),
        ):
            assert admin.api.may(verb, resource, shop.name)
        admin.create(objects.rental("first", toy="bear"))
        admin.set_status(Rental, "first", **PAID)
        approved = admin.patch(Rental, "first", spec=APPROVED)
        assert approved.spec.approval is not None
        assert approved.spec.approval.decided_by == admin.api.who_am_i()


def policies(kind: str = "ValidatingAdmissionPolicy") -> list[Json]:
    files = sorted(POLICIES.glob("*.yaml"))
    parsed = [each for file in files for each in yaml.safe_load_all(file.read_text())]
    return [each for each in parsed if each["kind"] == kind]


@pytest.mark.parametrize("policy", policies(), ids=lambda policy: policy["metadata"]["name"])
def test_a_policy_is_narrow_fails_closed_and_has_no_slips(admin: Api, policy: Json) -> None:
    spec = policy["spec"]
    assert spec["failurePolicy"] == "Fail"
    assert_narrow(spec)
    for validation in spec["validations"]:
        assert len(validation["message"]) > 20
        assert validation["reason"] == "Forbidden"
    # The API server looks at every expression with the types of the CRDs.
    checked = eventually(lambda: type_checking(admin, policy["metadata"]["name"]))
    assert checked == [{}]


@pytest.mark.parametrize(
    "policy", policies("MutatingAdmissionPolicy"), ids=lambda policy: policy["metadata"]["name"]
)
def test_a_policy_that_writes_is_narrow_fails_closed_and_writes_one_field(policy: Json) -> None:
    spec = policy["spec"]
    assert spec["failurePolicy"] == "Fail"
    assert_narrow(spec)
    (mutation,) = spec["mutations"]
    fields = r"decidedBy|inspectedBy|resolvedBy"
    said = mutation["applyConfiguration"]["expression"]
    assert len(re.findall(rf"\b({fields}):", said)) == 1


def assert_narrow(spec: Json) -> None:
    for rule in spec["matchConstraints"]["resourceRules"]:
        assert rule["apiGroups"] == ["toyrental.dev"]
        assert not any("*" in each for each in rule["resources"] + rule["operations"])


def type_checking(admin: Api, name: str) -> list[Json]:
    """Return what the API server found in the expressions, once it has looked."""
    status = admin.get("ValidatingAdmissionPolicy", name).get("status", {})
    return [status["typeChecking"]] if "typeChecking" in status else []


@pytest.mark.parametrize("kind", ["ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"])
def test_every_policy_is_bound(admin: Api, kind: str) -> None:
    bound = {each["spec"]["policyName"] for each in admin.find(f"{kind}Binding")}
    assert {policy["metadata"]["name"] for policy in policies(kind)} <= bound
