"""Customers at the proxy, with real tokens, real kubectl and a real API server behind it."""

import http.client
import json
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from dev.cluster import Cluster
from tests.customer_proxy.conftest import (
    MANY,
    ONE,
    PLUGIN,
    SECRET,
    Certified,
    Customer,
    Start,
    address_of,
)
from tests.support import Api, Shop, eventually, objects
from tests.support.proxy import Harm, Proxy, Request
from toyrental.customer_proxy import rules
from toyrental.customer_proxy.app import MOST_AT_ONCE
from toyrental.customer_proxy.server import Listening, serve
from toyrental.shared.web import CannotServe

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster, mina: Customer, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """Give kubectl to Mina; it knows the proxy, and nothing else."""
    folder = tmp_path_factory.mktemp("mina")
    kubeconfig = mina.kubeconfig(folder / "kubeconfig")

    def kubectl(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [str(cluster.kubectl), f"--kubeconfig={kubeconfig}", f"--cache-dir={folder}"]
        return subprocess.run(
            [*command, *words], input=stdin, capture_output=True, text=True, timeout=60, check=False
        )

    return kubectl


Follow = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def follow(cluster: Cluster, mina: Customer, tmp_path: Path) -> Follow:
    """Start a kubectl that watches Mina's orders."""
    kubeconfig = mina.kubeconfig(tmp_path / "kubeconfig")

    def follow(*flags: str) -> subprocess.Popen[str]:
        command = [str(cluster.kubectl), f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path}"]
        return subprocess.Popen(
            [*command, "get", "rentals", "-w", "-o", "name", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return follow


# --- As ever ---


def test_kubectl_shows_her_orders_and_no_others(
    kubectl: Kubectl, mina: Customer, joon: Customer
) -> None:
    """Issue 6, section 1: a customer cannot read another customer's rentals."""
    table = kubectl("get", "rentals", "-o", "wide")
    assert "mina-bear" in table.stdout, table.stderr
    assert "CUSTOMER" in table.stdout
    assert "joon" not in table.stdout
    assert (
        json.loads(kubectl("get", "rental", "mina-bear", "-o", "json").stdout)["spec"]["customer"]
        == mina.user
    )
    described = kubectl("describe", "rental", "mina-bear")
    assert "Payment Method" in described.stdout, described.stderr
    assert kubectl("get", "toys", "-o", "name").stdout.split() == [
        "toy.toyrental.dev/bear",
        "toy.toyrental.dev/kite",
    ]
    assert mina.user in kubectl("auth", "whoami").stdout
    # And Joon has his
    assert joon.ask(joon.rentals()).names == ["joon-kite"]


def test_kubectl_applies_and_changes_an_order(kubectl: Kubectl, mina: Customer) -> None:
    order = objects.rental("by-apply", toy="bear", customer=mina.user)
    manifest = {"apiVersion": "toyrental.dev/v1alpha1", "kind": "Rental"} | order.model_dump(
        mode="json", by_alias=True, exclude_none=True, include={"spec"}
    )
    manifest["metadata"] = {"name": "by-apply"}
    created = kubectl("apply", "-f-", stdin=json.dumps(manifest))
    assert "created" in created.stdout, created.stderr
    assert "unchanged" in kubectl("apply", "-f-", stdin=json.dumps(manifest)).stdout
    assert (
        "serverside-applied"
        in kubectl(
            "apply", "--server-side", "--force-conflicts", "-f-", stdin=json.dumps(manifest)
        ).stdout
    )
    change = '{"spec":{"desiredState":"Cancelled"}}'
    patched = kubectl("patch", "rental", "by-apply", "--type=merge", "-p", change)
    assert "patched" in patched.stdout, patched.stderr
    # The API server judges as ever
    refused = kubectl("delete", "rental", "by-apply")
    assert "cannot delete" in refused.stderr


def test_what_is_anothers_is_as_what_is_not_there(kubectl: Kubectl, joon: Customer) -> None:
    for verb, *rest in (
        ("get",),
        ("patch", "--type=merge", "-p", '{"spec":{"desiredState":"Cancelled"}}'),
    ):
        theirs, nobodys = (
            kubectl(verb, "rental", name, *rest).stderr for name in ("joon-kite", "nobodys")
        )
        assert "not found" in theirs
        assert theirs.replace("joon-kite", "nobodys") == nobodys
    order = joon.ask(joon.rentals("/joon-kite")).json
    assert order["spec"]["customer"] == joon.user
    assert order["spec"]["desiredState"] == "Rented"


def test_all_shops_at_once_are_refused_with_what_to_do(kubectl: Kubectl) -> None:
    assert "name the shop" in kubectl("get", "rentals", "-A").stderr


@pytest.mark.usefixtures("joon")
def test_the_plugin_works(mina: Customer, tmp_path: Path) -> None:
    kubeconfig = mina.kubeconfig(tmp_path / "kubeconfig")

    def plugin(*words: str) -> str:
        ended = subprocess.run(
            [PLUGIN, *words, "--kubeconfig", str(kubeconfig)],
            env={"HOME": "/nowhere", "COLUMNS": "80"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in ended.stderr
        return ended.stdout + ended.stderr

    plugin("order", "kite", "--name", "by-plugin", "--days", "2", "--method", "pm_card_visa")
    assert mina.ask(mina.rentals("/by-plugin")).json["spec"]["customer"] == mina.user
    assert "there is no rental joon-kite" in plugin("timeline", "joon-kite")


def test_a_watch_hears_of_hers_alone_and_ends_with_its_reader(
    follow: Follow, mina: Customer, joon: Customer, house: Shop, to_api_server: Proxy
) -> None:
    with follow() as watching:
        assert watching.stdout is not None
        eventually(lambda: to_api_server.open_watches == 1)
        house.create(objects.rental("joons-next", toy="bear", customer=joon.user))
        house.create(objects.rental("minas-next", toy="bear", customer=mina.user))
        heard: list[str] = []
        while "minas-next" not in str(heard):
            heard.append(watching.stdout.readline().strip())
        assert "joons-next" not in str(heard)
        watching.kill()
    eventually(lambda: to_api_server.open_watches == 0)


def test_a_long_list_comes_in_pages_and_a_strangers_bookmark_opens_nothing(
    house: Shop, mina: Customer, joon: Customer, admin: Api
) -> None:
    for number in range(3):
        house.create(objects.rental(f"joon-{number}", toy="kite", customer=joon.user))
        house.create(objects.rental(f"page-{number}", toy="kite", customer=mina.user))
    everything = mina.ask(mina.rentals()).names
    seen: list[str] = []
    token = ""
    while True:
        page = mina.ask(mina.rentals(f"?limit=2&continue={quote(token)}"))
        assert len(page.names) <= 2
        seen += page.names
        token = page.json["metadata"].get("continue", "")
        if not token:
            break
    assert seen == everything
    # A token of somebody who may see all is a place in the list, and no right
    of_admin = admin.request("get", mina.rentals("?limit=1"))["metadata"]["continue"]
    assert "joon" not in mina.ask(mina.rentals(f"?continue={quote(of_admin)}")).text


# --- Trying to see another's ---


@pytest.mark.parametrize(
    "query",
    [
        "fieldSelector=spec.customer={joon}",
        "fieldSelector=spec.customer!={mina}",
        "fieldSelector=metadata.name=joon-kite",
        "fieldSelector=spec.customer={mina},spec.customer={joon}",
        "fieldSelector=spec.customer%3D{joon}%5C",
        "fieldSelector=%5C",
        "fieldSelector=||spec.customer={joon}",
        "fieldSelector=x&fieldSelector=spec.customer={joon}",
        "fieldselector=spec.customer={joon}",
        "fieldSelector=&fieldSelector=",
        "fieldSelector=spec.customer={joon};fieldSelector=",
        "labelSelector=note=" + SECRET,
        "labelSelector=note",
        "resourceVersion=0",
        "resourceVersion=0&resourceVersionMatch=NotOlderThan",
        "resourceVersion={version}&resourceVersionMatch=Exact",
        "resourceVersion=1",
        "includeObject=Object",
        "shardSelector=shardRange(object.metadata.uid,'0x0000000000000000','0xffffffffffffffff')",
        "Watch=true",
    ],
)  # fmt: skip
def test_no_question_shows_anothers_order(
    mina: Customer, joon: Customer, admin: Api, query: str
) -> None:
    version = admin.request("get", mina.rentals("?limit=1"))["metadata"]["resourceVersion"]
    asked = query.format(joon=quote(joon.user), mina=quote(mina.user), version=version)
    for form in (*MANY, "application/yaml", "*/*"):
        said = mina.ask(mina.rentals(f"?{asked}"), Accept=form)
        assert said.status in {200, 400, 406, 410}, said.text
        assert SECRET not in said.text
        assert "joon-kite" not in said.text.replace("metadata.name=joon-kite", "")


def test_no_watch_shows_anothers_order(mina: Customer, joon: Customer) -> None:
    queries = [
        "watch",
        "watch=TRUE&resourceVersion=0",
        "watch=yes&fieldSelector=metadata.name=joon-kite",
        "watch=1&fieldSelector=spec.customer={joon}",
        "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan",
        "watch=0&watch=1",
    ]
    forms = (*MANY, "application/json;stream=watch", "application/yaml")
    asked = [
        (mina.rentals(f"?timeoutSeconds=1&{query.format(joon=quote(joon.user))}"), form)
        for query in queries
        for form in forms
    ]
    # Each lasts a second: all at once
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda each: mina.ask(each[0], Accept=each[1]), asked))
    assert {answer.status for answer in answers} <= {200, 400, 406}
    assert sum("mina-bear" in answer.text for answer in answers) >= len(forms) - 1
    assert [answer for answer in answers if SECRET in answer.text] == []


@pytest.mark.parametrize(
    "target",
    [
        "{rentals}/joon-kite",
        "{rentals}/joon-kite?watch=true&timeoutSeconds=1",
        "{rentals}/joon-kite?fieldSelector=spec.customer={joon}",
        "{rentals}/joon-kite?resourceVersion=0",
        "{rentals}/joon%2Dkite",
        "{rentals}/./joon-kite",
        "{rentals}/mina-bear/../joon-kite",
        "{rentals}/mina-bear/%2e%2e/joon-kite",
        "{rentals}%2fjoon-kite",
        "{rentals}//joon-kite",
        "/{rentals}/joon-kite",
        "{rentals}/joon-kite/status",
        "{rentals}/joon-kite/",
        "{rentals}/joon-kite%00",
        "{rentals}/joon-kite,spec.customer={joon}",
        "https://127.0.0.1{rentals}/joon-kite",
        "/apis/toyrental.dev/v1alpha1/watch/namespaces/{shop}/rentals/joon-kite?timeoutSeconds=1",
        "/apis/toyrental.dev/v1alpha1/rentals?fieldSelector=metadata.namespace={shop}",
        "/apis/toyrental.dev/v1alpha1/namespaces/{shop}/toys/../rentals",
        "/apis/toyrental.dev/v1alpha1/namespaces/{shop}/payments",
        "/openapi/v3/../../apis/toyrental.dev/v1alpha1/namespaces/{shop}/rentals",
    ],
)  # fmt: skip
def test_no_path_leads_to_anothers_order(mina: Customer, joon: Customer, target: str) -> None:
    path = target.format(rentals=mina.rentals(), shop=mina.shop, joon=quote(joon.user))
    for form in (*ONE, "application/yaml", "*/*"):
        said = mina.ask(path, Accept=form)
        assert said.status in {403, 404}, said.text
        assert said.json["kind"] == "Status"
        assert SECRET not in said.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Impersonate_User": "{joon}"},
        {"X_Remote_User": "{joon}", "X_Remote_Group": "system:masters"},
        {"X_Original_URL": "{rentals}/joon-kite", "X_HTTP_Method_Override": "PATCH"},
        {"Connection": "Authorization, Upgrade", "Upgrade": "websocket"},
    ],
    ids=str,
)
def test_no_header_makes_her_somebody_else(
    mina: Customer, joon: Customer, headers: dict[str, str]
) -> None:
    given = {
        key: value.format(joon=joon.user, rentals=mina.rentals()) for key, value in headers.items()
    }
    assert mina.ask(mina.rentals("/joon-kite"), **given).status == 404
    assert (
        mina.ask(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews", "POST", REVIEW, **given, **JSON
        ).json["status"]["userInfo"]["username"]
        == mina.user
    )


JSON = {"Content_Type": "application/json"}
MERGE = {"Content_Type": "application/merge-patch+json"}
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (
            "application/json-patch+json",
            [{"op": "test", "path": "/spec/paymentMethod", "value": SECRET}],
            [{"op": "test", "path": "/spec/paymentMethod", "value": "a guess"}],
        ),
        (
            "application/apply-patch+yaml",
            {"spec": {"paymentMethod": SECRET}},
            {"spec": {"paymentMethod": "a guess"}},
        ),
    ],
)
@pytest.mark.usefixtures("joon")
def test_a_change_answers_no_question_about_anothers_order(
    mina: Customer, to_api_server: Proxy, kind: str, right: object, wrong: object
) -> None:
    if isinstance(right, dict) and isinstance(wrong, dict):
        head = {"apiVersion": "toyrental.dev/v1alpha1", "kind": "Rental"}
        right, wrong = head | right, head | wrong
    target = mina.rentals("/joon-kite?fieldManager=mina")
    said = [mina.ask(target, "PATCH", guess, Content_Type=kind) for guess in (right, wrong)]
    assert said[0] == said[1]
    assert said[0].status == 404
    # Whereas the API server tells a right guess from a wrong one, and refuses both
    headers = {"Authorization": f"Bearer {mina.token}", "Content-Type": kind}
    told = [
        httpx.patch(to_api_server.url + target, json=guess, headers=headers, trust_env=False)
        for guess in (right, wrong)
    ]
    assert [answer.is_error for answer in told] == [True, True]
    assert told[0].text != told[1].text


# --- Who may come ---


def token_of(admin: Api, shop: str, account: str, **spec: Any) -> str:
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    where = f"/api/v1/namespaces/{shop}/serviceaccounts/{account}/token"
    return str(admin.request("post", where, kind | {"spec": spec})["status"]["token"])


def test_who_has_no_good_token_gets_nothing(mina: Customer, admin: Api) -> None:
    elsewhere = token_of(admin, mina.shop, "mina", audiences=["elsewhere"])
    # One that nobody has used yet: the API server itself remembers tokens for ten seconds
    admin.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "left"}}, mina.shop
    )
    left = token_of(admin, mina.shop, "left")
    admin.delete("ServiceAccount", "left", mina.shop)
    head, payload, signature = mina.token.split(".")
    joons = payload[:-4] + ("AAAA" if payload[-4:] != "AAAA" else "BBBB")
    for token in (
        "",
        "guess",
        elsewhere,
        left,
        f"{head}.{joons}.{signature}",
        f"{head}.{payload}.",
    ):
        for target in (mina.rentals(), mina.rentals("/mina-bear"), "/apis", "/version"):
            said = mina.ask(target, token=token)
            assert (said.status, said.json["reason"]) == (401, "Unauthorized"), target


def test_who_signs_in_otherwise_gets_nothing(mina: Customer) -> None:
    for header in ("Basic bWluYTptaW5h", mina.token, ""):
        assert mina.ask(mina.rentals(), Authorization=header).status == 401


def test_customers_with_any_name_see_theirs_alone(house: Shop, admin: Api) -> None:
    """The API server reads the selectors as they are meant, whatever a name has in it."""
    names = [
        "a",
        "a,spec.customer=b",
        "b",
        "b\\",
        "\\,",
        "a=b",
        "=",
        "a\\,spec.customer=b",
        "정",
        " a",
    ]
    for number, name in enumerate(names):
        house.create(objects.rental(f"odd-{number}", toy="bear", customer=name))
    for number, name in enumerate(names):
        selector = dict(rules.own_list([("fieldSelector", "metadata.name!=x")], name))[
            "fieldSelector"
        ]
        found = admin.find("Rental", house.name, fields=selector)
        assert [each["metadata"]["name"] for each in found] == [f"odd-{number}"]


# --- As a program ---


def test_too_much_is_refused(mina: Customer) -> None:
    said = mina.ask(mina.rentals(), "POST", {"x": "y" * 2**20}, **JSON)
    assert (said.status, said.json["reason"]) == (413, "RequestEntityTooLarge")


def test_a_customer_who_asks_for_much_at_once_is_put_off_and_holds_up_nobody(
    mina: Customer, joon: Customer, to_api_server: Proxy
) -> None:
    go_on, held = threading.Event(), []

    def hold(request: Request) -> Harm | None:
        if mina.user not in request.query.get("fieldSelector", ""):
            return None
        held.append(request)
        return Harm.hold(go_on)

    to_api_server.plan = hold
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        asked = [pool.submit(mina.ask, mina.rentals()) for _ in range(MOST_AT_ONCE)]
        try:
            eventually(lambda: len(held) == MOST_AT_ONCE)
            too_many, his = mina.ask(mina.rentals()), joon.ask(joon.rentals())
        finally:
            go_on.set()
        assert (too_many.status, too_many.json["reason"]) == (429, "TooManyRequests")
        assert his.status == 200
        assert {each.result().status for each in asked} == {200}
    to_api_server.behave()
    assert mina.ask(mina.rentals()).status == 200


def test_a_watch_that_breaks_off_breaks_off_for_its_reader(
    mina: Customer, to_api_server: Proxy
) -> None:
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(mina.ask, mina.rentals("?watch=true"))
        eventually(lambda: to_api_server.open_watches == 1)
        to_api_server.cut_watches()
        with pytest.raises(http.client.HTTPException):
            watching.result(30)
    assert mina.ask(mina.rentals()).status == 200


@pytest.mark.parametrize("code", [401, 500])
def test_a_fault_of_the_proxys_own_is_not_put_down_to_her(
    mina: Customer, to_api_server: Proxy, code: int
) -> None:
    mina.ask(mina.rentals())
    to_api_server.plan = lambda request: (
        Harm.refuse(code) if request.resource == "rentals" else None
    )
    try:
        for target in (mina.rentals(), mina.rentals("/mina-bear")):
            assert mina.ask(target).status in {500, 503}
        assert mina.ask(mina.rentals("/mina-bear"), "PATCH", {}, **MERGE).status == 503
    finally:
        to_api_server.behave()


def test_an_api_server_that_is_away_is_said_to_be(mina: Customer, to_api_server: Proxy) -> None:
    mina.ask(mina.rentals())
    to_api_server.plan = lambda _: Harm.lose()
    try:
        said = mina.ask(mina.rentals())
    finally:
        to_api_server.behave()
    assert (said.status, said.json["reason"]) == (503, "ServiceUnavailable")


def test_a_shop_it_may_not_read_is_not_served(mina: Customer) -> None:
    said = mina.ask("/apis/toyrental.dev/v1alpha1/namespaces/default/rentals")
    assert (said.status, said.json["message"]) == (403, "this proxy serves no shop named default")


def test_it_ends_in_good_order_though_somebody_watches(
    start: Start, follow: Follow, to_api_server: Proxy
) -> None:
    proxy = start()
    with follow(f"--server={address_of(proxy)}") as watching:
        eventually(lambda: to_api_server.open_watches == 1)
        proxy.terminate()
        assert proxy.wait(30) == 0
        _, errors = watching.communicate(timeout=10)
        assert errors == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"certificate": Path("/nowhere")}, "/nowhere and .* are no certificate and its key"),
        ({"host": "192.0.2.1"}, "cannot listen on 192.0.2.1, port 0"),
    ],
)
def test_what_it_cannot_run_with_is_said(
    account: Path, certified: Certified, change: dict[str, Any], said: str
) -> None:
    listening = Listening("127.0.0.1", 0, certified.certificate, certified.key)
    with pytest.raises(CannotServe, match=said):
        serve(account, listening._replace(**change))


def test_without_its_rights_it_does_not_start(
    house: Shop, certified: Certified, tmp_path: Path
) -> None:
    nobody = house.person("nobody").api.write_kubeconfig(tmp_path / "kubeconfig")
    listening = Listening("127.0.0.1", 0, certified.certificate, certified.key)
    with pytest.raises(CannotServe, match="needs the ClusterRole toyrental-token-reviewer"):
        serve(nobody, listening)
