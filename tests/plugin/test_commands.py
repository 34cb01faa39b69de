"""`kubectl toyrental` against a real API server, with the real operator."""

import contextlib
import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from dev.cluster import Cluster
from tests.e2e.business import DECLINED, Business
from tests.plugin.conftest import PLUGIN, Run, run
from tests.support import objects
from tests.support.signals import heed_ctrl_c
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import Toy

COMMANDS = (
    *("status", "watch", "toys", "tree", "timeline"),
    *("order", "pay", "cancel", "return", "approve", "deny", "inspect"),
    *("payment resolve", "payment refund", "repair open", "repair take", "repair resolve"),
)


def test_a_life_from_the_order_to_the_repair(plugin: Run, house: Business) -> None:
    """R1 to R15: Given nothing but the plugin, then a toy lives its whole life by it."""
    steps = (
        ("order", "bear", "--days=2", "--method=pm_card_visa", "--name=mo", "--customer=mina"),
        ("approve", "mo"),
        ("return", "mo"),
        ("inspect", "mo", "damaged", "--notes=torn", "--missing=ear=1"),
    )
    for step in steps:
        ended = plugin(*step, "--wait", "--timeout=90s")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith("rental/mo ")
    rental = house.order_becomes("mo", "Completed")
    tree = plugin("tree", "mo")
    for word in ("Completed", "Toy bear", "Payment mo-", f"RepairTicket {rental.uid}", "Overdue"):
        assert word in tree.stdout
    told = json.loads(plugin("timeline", "mo", "-o", "json").stdout)["entries"]
    assert told[0]["message"] == "mina orders bear."
    happened = [each["what"] for each in told]
    assert [happened.index(what) for what in ("Created", "Approved", "Returned", "Completed")] == (
        sorted(happened.index(what) for what in ("Created", "Approved", "Returned", "Completed"))
    )
    assert "Accepted" in {each["what"] for each in told if each["object"].startswith("repair")}
    ticket = rental.ticket_name
    assert plugin("repair", "take", ticket, "--assignee=joon", "--wait").returncode == 0
    ended = plugin("repair", "resolve", ticket, "repaired", "--wait", "-o", "name")
    assert ended.stdout == f"repairticket.toyrental.dev/{ticket}\n"
    house.toy_becomes("bear", "Available")


def test_a_declined_card_ends_the_wait_and_another_card_begins_a_new_one(plugin: Run) -> None:
    order = ("order", "kite", "--days=1", f"--method={DECLINED}", "--name=poor", "--wait")
    declined = plugin(*order)
    assert declined.returncode == 4
    assert "Set another payment method." in declined.stderr
    refused = plugin("approve", "poor")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: approving poor: no payment, no transaction")
    paid = plugin("pay", "poor", "--method=pm_card_visa", "--wait", "-o", "json")
    assert paid.returncode == 0, paid.stderr
    assert json.loads(paid.stdout)["status"]["phase"] == "Paid"
    assert plugin("deny", "poor", "--reason=closed", "--wait").returncode == 0


def test_what_does_not_come_in_time_is_told_with_why(plugin: Run) -> None:
    ended = plugin("order", "wish", "--days=1", "--method=a", "--wait", "--timeout=1s")
    assert ended.returncode == 3
    assert "not within 1 s: No toy in the shop is the one asked for" in ended.stderr


def test_a_dry_run_is_checked_by_the_api_server_and_changes_nothing(
    plugin: Run, house: Business
) -> None:
    flags = ("--dry-run=server", "--field-manager=me")
    ended = plugin("repair", "open", "lion", "an ear is off", "--name=dry", *flags)
    assert ended.stdout == "repairticket/dry opened (server dry run)\n"
    assert not house.shop.exists(RepairTicket, "dry")
    house.shop.create_raw(
        {
            "apiVersion": "toyrental.dev/v1alpha1",
            "kind": "RepairTicket",
            "metadata": {"name": "ear"},
            "spec": {"toyRef": {"name": "lion"}},
        }
    )
    assert plugin("repair", "take", "ear", "--assignee=joon", flags[1]).returncode == 0
    managers = house.shop.get_raw(RepairTicket, "ear")["metadata"]["managedFields"]
    assert "me" in {each["manager"] for each in managers}


def test_who_orders_is_the_person_themselves(house: Business, tmp_path: Path) -> None:
    person = house.shop.person("noor", role="toyrental-customer")
    config = person.api.write_kubeconfig(tmp_path / "config")
    where = ("-n", house.shop.name, f"--kubeconfig={config}")
    words = ("--days=1", "--method=a", "--name=own", "--dry-run=server", "-o", "yaml")
    ended = run("order", "bear", *words, *where)
    user = f"system:serviceaccount:{house.shop.name}:noor"
    assert yaml.safe_load(ended.stdout)["spec"]["customer"] == user, ended.stderr


def test_what_may_not_be_seen_is_named_last_and_the_rest_is_shown(
    house: Business, tmp_path: Path
) -> None:
    person = house.shop.person("sora", role="toyrental-customer")
    config = person.api.write_kubeconfig(tmp_path / "config")
    ended = run("status", "-n", house.shop.name, f"--kubeconfig={config}")
    assert ended.returncode == 5, ended.stderr
    shown, _, complaints = ended.stdout.partition("Not shown")
    assert "Toys" in shown
    assert 'cannot list resource "paymentgateways"' in " ".join(complaints.split())
    house.takes_paid_order("seen-in-part", toy="kite", customer="sora")
    ended = run("timeline", "seen-in-part", "-n", house.shop.name, f"--kubeconfig={config}")
    assert ended.returncode == 5, ended.stderr
    assert "sora orders kite." in ended.stdout
    assert 'cannot list resource "events"' in " ".join(ended.stdout.split())
    ended = run("approve", "seen-in-part", "-n", house.shop.name, f"--kubeconfig={config}")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: approving seen-in-part: ")
    assert "ValidatingAdmissionPolicy" not in ended.stderr


@pytest.mark.parametrize("command", ["status", "toys"])
def test_every_format(plugin: Run, house: Business, command: str) -> None:
    as_json = json.loads(plugin(command, "-o", "json").stdout)
    assert yaml.safe_load(plugin(command, "-o", "yaml").stdout).keys() == as_json.keys()
    for output in ("table", "wide", "name"):
        ended = plugin(command, "-o", output)
        assert ended.returncode == 0, ended.stderr
        assert "\x1b" not in ended.stdout
    if command == "status":
        assert sum(as_json["toys"].values()) == len(house.shop.find(Toy))
        assert as_json["shop"] == house.shop.name


def test_all_shops_have_a_line_each(house: Business, cluster: Cluster) -> None:
    ended = run("status", "-A", f"--kubeconfig={cluster.kubeconfig}")
    head, *lines = ended.stdout.splitlines()
    assert head.startswith("SHOP")
    assert house.shop.name in {line.split()[0] for line in lines}


def test_names_that_are_not_there_suggest_those_that_are(plugin: Run, cluster: Cluster) -> None:
    ended = plugin("toys", "beer")
    assert ended.returncode == 1
    assert "did you mean bear?" in ended.stderr
    ended = run("status", "-n", "defualt", f"--kubeconfig={cluster.kubeconfig}")
    assert ended.stderr == "Error: there is no shop defualt; did you mean default?\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    ended = run(*command.split(), "--help")
    assert ended.returncode == 0
    for word in ("Usage: kubectl toyrental", "--namespace", "--context", "--output"):
        assert word in ended.stdout


def test_the_help_has_the_exit_codes() -> None:
    told = run("--help").stdout
    assert "Exit codes:" in told
    assert "3  what was waited for did not come in time" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["order", "bear", "--days=1"], "exactly one of --method"),
        (["order", "--days=1", "--method=a"], "exactly one of TOY and -l"),
        (["order", "bear", "--days=1", "--method=a", "--start=today"], "2026-12-24T09:00:00Z"),
        (["inspect", "mo", "fine"], "accepted"),
        (["approve", "mo", "--wait", "--dry-run=server"], "nothing to --wait for"),
        (["approve", "mo", "--timeout=soon"], "90s, 2m or 1h30m"),
        (["status", "-A", "-n", "x"], "not both"),
        (["toys", "--state=avalable"], "did you mean Available?"),
        (["statsu"], "statsu"),
    ],
)
def test_wrong_words_are_named(words: list[str], told: str, cluster: Cluster) -> None:
    where = [] if words == ["statsu"] else [f"--kubeconfig={cluster.kubeconfig}"]
    ended = run(*words, *where)
    assert ended.returncode == 2
    assert told in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


CONFIG = """
current-context: a
contexts: [{name: a, context: {cluster: a, user: a, namespace: x}}]
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: a, user: {token: secret-token}}]
"""


def test_no_api_server_is_one_sentence(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(CONFIG)
    ended = run("status", f"--kubeconfig={config}")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "Connection refused; is the cluster up" in line
    assert "secret-token" not in line


def test_credentials_that_are_refused_are_one_sentence(cluster: Cluster, tmp_path: Path) -> None:
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": "nobody"}
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(content))
    ended = run("toys", KUBECONFIG=str(config))
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "sign in again" in line


def test_colours_are_for_terminals_and_no_color_is_respected(
    house: Business, cluster: Cluster
) -> None:
    assert "\x1b[" in on_a_terminal(house, cluster)
    assert "\x1b[3" not in on_a_terminal(house, cluster, NO_COLOR="1")


def on_a_terminal(house: Business, cluster: Cluster, **environment: str) -> str:
    """Return what `status` prints on a terminal."""
    ours, its = pty.openpty()
    words = [str(PLUGIN), "status", "-n", house.shop.name, f"--kubeconfig={cluster.kubeconfig}"]
    env = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": "80", **environment}
    with subprocess.Popen(words, stdin=its, stdout=its, stderr=its, env=env) as process:
        os.close(its)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:
            pass  # the end of a terminal
        assert process.wait(60) == 0
    os.close(ours)
    return shown.decode()


def test_a_live_view_follows_the_shop_and_ends_cleanly(house: Business, cluster: Cluster) -> None:
    ours, its = pty.openpty()
    words = [str(PLUGIN), "watch", "-n", house.shop.name, f"--kubeconfig={cluster.kubeconfig}"]
    env = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "NO_COLOR": "1"}
    with (
        subprocess.Popen(
            words,
            stdin=its,
            stdout=its,
            stderr=its,
            env=env,
            preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it takes no lock
        ) as process,
        contextlib.ExitStack() as at_the_end,
    ):
        at_the_end.callback(process.kill)
        os.close(its)
        shown = b""

        def until(word: bytes) -> None:
            nonlocal shown
            while word not in shown:
                shown += os.read(ours, 65536)

        until(b"Ctrl-C ends it")
        until(b"Toys")
        house.shop.create(objects.ticket("seen-live", toy="kite", description="torn"))
        until(b"repairticket/seen-live")
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the end of a terminal
            until(b"\x1b[?1049l")
        assert process.wait(60) == 0
    os.close(ours)
    assert b"Traceback" not in shown
    ended = run("watch", f"--kubeconfig={cluster.kubeconfig}")
    assert ended.returncode == 2
    assert "needs a terminal" in ended.stderr


def test_names_and_commands_are_completed(house: Business, cluster: Cluster) -> None:
    complete = PLUGIN.with_name("kubectl_complete-toyrental")
    env = {"PATH": os.environ["PATH"], "KUBECONFIG": str(cluster.kubeconfig)}

    def offered(*words: str) -> list[str]:
        ended = subprocess.run(
            [complete, *words], env=env, capture_output=True, text=True, check=True, timeout=60
        )
        *offers, directive = ended.stdout.splitlines()
        assert directive == ":4"
        return [offer.partition("\t")[0] for offer in offers]

    assert offered("sta") == ["status"]
    assert offered("repair", "re") == ["resolve"]
    assert offered("toys", "-n", house.shop.name, "be") == ["bear"]
    assert offered("inspect", "mo", "d") == ["damaged"]
    assert house.shop.name in offered("status", "-n", house.shop.name[:8])
    env["KUBECONFIG"] = "/nowhere"
    assert offered("toys", "be") == []


def test_kubectl_finds_the_plugin_and_its_completion(house: Business, cluster: Cluster) -> None:
    env = {
        "PATH": f"{PLUGIN.parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(cluster.kubeconfig),
        "HOME": "/nowhere",
    }

    def kubectl(*words: str) -> str:
        ended = subprocess.run(
            [cluster.kubectl, *words],
            env=env,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return ended.stdout

    assert "bear" in kubectl("toyrental", "toys", "-n", house.shop.name)
    assert kubectl("__complete", "toyrental", "toys", "-n", house.shop.name, "be") == "bear\n:4\n"


def test_a_rental_as_json_is_what_the_api_server_has(plugin: Run, house: Business) -> None:
    made = house.takes_order("seen", toy="lion", customer="mina")
    found = json.loads(plugin("tree", "seen", "-o", "json").stdout)
    first = found["items"][0]
    assert Rental.model_validate(first).uid == made.uid
    assert "managedFields" not in first["metadata"]
