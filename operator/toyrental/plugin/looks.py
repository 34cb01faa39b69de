"""The commands that only look. What they show is imported when they run."""

from typing import TYPE_CHECKING

import click

from toyrental.plugin.options import DONE, IN_PART, Target, names_of, reads

if TYPE_CHECKING:
    from toyrental.plugin.api import Api


def _check_shop(api: "Api", shop: str) -> None:
    """Fail where there is no such namespace: an empty shop would look the same."""
    from toyrental.plugin.near import check_namespace  # noqa: PLC0415 # --help does without

    check_namespace(api, shop)


@click.command()
@reads(everywhere=True)
@click.pass_context
def status(ctx: click.Context, target: Target) -> None:
    """Show the shop at a glance: stock, orders, money, and what needs attention.

    What you may not see is named at the end, and the exit code is 5 then. `-o name` prints what
    needs attention; with -A there is a line a shop.
    """
    from toyrental.plugin.status import show_all, show_one  # noqa: PLC0415 # --help does without

    with target.connect() as api:
        whole = show_all(api, target) if target.all_namespaces else show_one(api, target)
    ctx.exit(DONE if whole else IN_PART)


@click.command()
@click.argument("names", metavar="[TOY]...", nargs=-1, shell_complete=names_of("toys"))
@click.option("-l", "--selector", default="", metavar="LABELS", help="As in -l theme=outdoors.")
@click.option("--state", metavar="STATE", help="Only those in this state, such as Available.")
@reads(everywhere=True)
def toys(target: Target, names: tuple[str, ...], selector: str, state: str | None) -> None:
    """List the toys: where each one is, and to whom it is promised."""
    from toyrental.plugin.stock import show  # noqa: PLC0415 # --help does without

    with target.connect() as api:
        show(api, target, names, selector, state)


@click.command()
@click.argument("rental", shell_complete=names_of("rentals"))
@reads()
@click.pass_context
def tree(ctx: click.Context, target: Target, rental: str) -> None:
    """Show an order with its toy, payment and repair, and the conditions of each.

    `-o wide` adds the words of conditions that hold.
    """
    from toyrental.plugin.tree import show  # noqa: PLC0415 # --help does without

    with target.connect() as api:
        whole = show(api, target, rental)
    ctx.exit(DONE if whole else IN_PART)


@click.command()
@click.argument("rental", shell_complete=names_of("rentals"))
@reads()
@click.pass_context
def timeline(ctx: click.Context, target: Target, rental: str) -> None:
    """Show what happened to an order, its toy, payment and repair: when, and why.

    Conditions remember; Events add to them for as long as the cluster keeps them, mostly an hour.
    """
    from toyrental.plugin.timeline import show  # noqa: PLC0415 # --help does without

    with target.connect() as api:
        whole = show(api, target, rental)
    ctx.exit(DONE if whole else IN_PART)


@click.command()
@reads()
def watch(target: Target) -> None:
    """Show the shop at a glance on the whole screen, and follow it; Ctrl-C ends it.

    Of your rights it takes `list` and `watch`; what you may not watch is shown as it was at first.
    """
    if target.output not in {"table", "wide"}:
        raise click.UsageError("a live view is for people: -o table or wide; see status for others")
    from toyrental.plugin.live import follow  # noqa: PLC0415 # --help does without

    with target.connect() as api:
        follow(api, target)


COMMANDS = (status, watch, toys, tree, timeline)
