"""What the API server refuses by who is asking, with real people: tokens and roles of their own."""

from pathlib import Path

import pytest
import yaml

from tests.support import Api, Json, Refused, Shop, can, condition, eventually, objects
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.stores.models import Toy

POLICIES = Path(__file__).parents[2] / "manifests" / "policies"

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

    def test_a_live_one_is_still_changed(self, shop: Shop, clerk: Shop) -> None:
        a_rental(shop, "Rented", approved=True)
        clerk.patch(Rental, "first", spec={"desiredState": "Returned"})


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


CARD = {"name": "card", "key": "token"}


class TestRentalSecretsAreReadable:
    def test_who_may_not_read_the_secret_does_not_pay_by_it(self, shop: Shop) -> None:
        shop.secret("card", {"token": "pm_card_visa"})
        mina = shop.person(
            "mina", can("create get patch", "rentals"), can("get", "secrets", "another")
        )
        with forbidden("paymentMethodSecretRef names Secret card, which you may not read"):
            mina.create(objects.rental("first", toy="bear", paymentMethodSecretRef=CARD))
        mina.create(objects.rental("first", toy="bear"))
        with forbidden("names Secret card, which you may not read"):
            mina.patch(
                Rental, "first", spec={"paymentMethod": None, "paymentMethodSecretRef": CARD}
            )

    def test_being_allowed_to_list_secrets_is_not_enough(self, shop: Shop) -> None:
        mina = shop.person("mina", can("create", "rentals"), can("list", "secrets"))
        with forbidden("names Secret card, which you may not read"):
            mina.create(objects.rental("first", toy="bear", paymentMethodSecretRef=CARD))

    def test_who_may_read_it_pays_by_it(self, shop: Shop) -> None:
        mina = shop.person(
            "mina", can("create get patch", "rentals"), can("get", "secrets", "card", "card-2")
        )
        mina.create(objects.rental("first", toy="bear", paymentMethodSecretRef=CARD))
        mina.patch(Rental, "first", spec={"paymentMethodSecretRef": {"name": "card-2"}})
        with forbidden("names Secret owners, which you may not read"):
            mina.patch(Rental, "first", spec={"paymentMethodSecretRef": {"name": "owners"}})

    def test_whoever_changes_the_rest_need_not_be_allowed_to(self, shop: Shop, clerk: Shop) -> None:
        shop.create(objects.rental("first", toy="bear", paymentMethodSecretRef=CARD))
        clerk.patch(Rental, "first", spec={"desiredState": "Cancelled"})
        clerk.patch(
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


def policies() -> list[Json]:
    files = sorted(POLICIES.glob("*.yaml"))
    parsed = [each for file in files for each in yaml.safe_load_all(file.read_text())]
    return [each for each in parsed if each["kind"] == "ValidatingAdmissionPolicy"]


@pytest.mark.parametrize("policy", policies(), ids=lambda policy: policy["metadata"]["name"])
def test_a_policy_is_narrow_fails_closed_and_has_no_slips(admin: Api, policy: Json) -> None:
    spec = policy["spec"]
    assert spec["failurePolicy"] == "Fail"
    for rule in spec["matchConstraints"]["resourceRules"]:
        assert rule["apiGroups"] == ["toyrental.dev"]
        assert not any("*" in each for each in rule["resources"] + rule["operations"])
    for validation in spec["validations"]:
        assert len(validation["message"]) > 20
        assert validation["reason"] == "Forbidden"
    # The API server looks at every expression with the types of the CRDs.
    checked = eventually(lambda: type_checking(admin, policy["metadata"]["name"]))
    assert checked == [{}]


def type_checking(admin: Api, name: str) -> list[Json]:
    """Return what the API server found in the expressions, once it has looked."""
    status = admin.get("ValidatingAdmissionPolicy", name).get("status", {})
    return [status["typeChecking"]] if "typeChecking" in status else []


def test_every_policy_is_bound(admin: Api) -> None:
    bound = {each["spec"]["policyName"] for each in admin.find("ValidatingAdmissionPolicyBinding")}
    assert {policy["metadata"]["name"] for policy in policies()} <= bound
