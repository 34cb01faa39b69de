"""The commands that change something: each is one ordinary write, by the person themselves."""

from datetime import datetime

import click

from toyrental.plugin.options import Mode, Target, names_of, writes

RENTAL = click.argument("rental", shell_complete=names_of("rentals"))
PAYMENT = click.argument("payment", shell_complete=names_of("payments"))
TICKET = click.argument("ticket", shell_complete=names_of("repairtickets"))


class Pairs(click.ParamType[tuple[str, str]]):
    """A word of the form a=b."""

    name = "pair"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return both sides."""
        if isinstance(value, tuple):
            return value
        left, sign, right = str(value).partition("=")
        if not sign or not left:
            self.fail(f"{value} is not of the form NAME=VALUE", param, ctx)
        return left, right


class Moment(click.ParamType[datetime]):
    """A time as Kubernetes writes it, with its zone."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the time."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value} is no time such as 2026-12-24T09:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value} needs its zone, as in 2026-12-24T09:00:00Z", param, ctx)
        return moment


def _payment(method: str | None, secret: str | None) -> dict[str, object]:
    from toyrental import intents  # noqa: PLC0415 # --help does without

    if (method is None) == (secret is None):
        raise click.UsageError("pay by exactly one of --method and --method-secret")
    if method is not None:
        return intents.payment_by(method)
    name, slash, key = str(secret).partition("/")
    if not slash:
        raise click.UsageError("--method-secret is of the form NAME/KEY, as in mina-card/token")
    return intents.payment_by_secret(name, key)


METHOD = click.option("--method", metavar="TOKEN", help="The provider's token to charge.")
SECRET = click.option(
    "--method-secret", "secret", metavar="NAME/KEY", help="Or the Secret that keeps one."
)


@click.command()
@click.argument("toy", required=False, shell_complete=names_of("toys"))
@click.option(
    "-l",
    "--label",
    "labels",
    type=Pairs(),
    multiple=True,
    metavar="NAME=VALUE",
    help="Any toy with this label, in place of TOY; may be repeated.",
)
@click.option("--days", type=click.IntRange(1, 365), required=True, help="For how many days.")
@click.option(
    "--start", type=Moment(), metavar="TIME", help="From when. Left out: as soon as can be."
)
@METHOD
@SECRET
@click.option("--customer", metavar="USER", help="Who rents. Left out: you.")
@click.option("--name", metavar="NAME", help="Name of the order. Left out: made up.")
@writes
def order(  # noqa: PLR0913 # one an option
    target: Target,
    mode: Mode,
    *,
    toy: str | None,
    labels: tuple[tuple[str, str], ...],
    days: int,
    start: datetime | None,
    method: str | None,
    secret: str | None,
    customer: str | None,
    name: str | None,
) -> None:
    """Order TOY, or any toy with some labels. --wait waits for the payment."""
    if (toy is None) == (not labels):
        raise click.UsageError("name the toy by exactly one of TOY and -l")
    payment = _payment(method, secret)
    from toyrental import intents  # noqa: PLC0415 # --help does without
    from toyrental.plugin import doing  # noqa: PLC0415

    with target.connect() as api:
        spec = intents.order(
            customer=customer or api.user(),
            toy=toy,
            labels=dict(labels),
            days=days,
            start=start,
            payment=payment,
        )
        doing.create(api, target, mode, doing.ORDERED, spec, name=name, like=toy or "order")


@click.command()
@RENTAL
@writes
def cancel(target: Target, mode: Mode, rental: str) -> None:
    """Cancel an order that is not approved yet; what was paid is given back."""
    from toyrental import intents  # noqa: PLC0415 # --help does without
    from toyrental.plugin import doing  # noqa: PLC0415
    from toyrental.rentals.models import DesiredState  # noqa: PLC0415

    spec = intents.wish(DesiredState.CANCELLED)
    with target.connect() as api:
        doing.patch(api, target, mode, doing.CANCELLED, rental, spec)


@click.command("return")
@RENTAL
@writes
def return_(target: Target, mode: Mode, rental: str) -> None:
    """Bring a toy back: the owner looks at it next."""
    from toyrental import intents  # noqa: PLC0415 # --help does without
    from toyrental.plugin import doing  # noqa: PLC0415
    from toyrental.rentals.models import DesiredState  # noqa: PLC0415

    spec = intents.wish(DesiredState.RETURNED)
    with target.connect() as api:
        doing.patch(api, target, mode, doing.RETURNED, rental, spec)


@click.command()
@RENTAL
@METHOD
@SECRET
@writes
def pay(target: Target, mode: Mode, rental: str, method: str | None, secret: str | None) -> None:
    """Pay an order by another method, after a decline. --wait waits for the payment."""
    spec = _payment(method, secret)
    from toyrental.plugin import doing  # noqa: PLC0415 # --help does without

    with target.connect() as api:
        doing.patch(api, target, mode, doing.PAID, rental, spec)


@click.command()
@RENTAL
@click.option("--reason", metavar="WORDS", help="Why, for the customer.")
@writes
def approve(target: Target, mode: Mode, rental: str, reason: str | None) -> None:
    """Approve a paid order. It is final."""
    _decide(target, mode, rental, "Approved", reason)


@click.command()
@RENTAL
@click.option("--reason", metavar="WORDS", help="Why, for the customer.")
@writes
def deny(target: Target, mode: Mode, rental: str, reason: str | None) -> None:
    """Deny a paid order; the money is given back. It is final."""
    _decide(target, mode, rental, "Denied", reason)


def _decide(target: Target, mode: Mode, rental: str, decided: str, reason: str | None) -> None:
    from toyrental import intents  # noqa: PLC0415 # --help does without
    from toyrental.plugin import doing  # noqa: PLC0415
    from toyrental.rentals.models import Decision  # noqa: PLC0415

    spec = intents.decision(Decision(decided), reason)
    outcome = doing.APPROVED if decided == "Approved" else doing.DENIED
    with target.connect() as api:
        doing.patch(api, target, mode, outcome, rental, spec)


@click.command()
@RENTAL
@click.argument("result", type=click.Choice(("accepted", "damaged"), case_sensitive=False))
@click.option("--notes", metavar="WORDS", help="What you saw.")
@click.option(
    "--missing",
    type=Pairs(),
    multiple=True,
    metavar="PART=COUNT",
    help="Pieces that did not come back; may be repeated.",
)
@writes
def inspect(  # noqa: PLR0913 # one an option
    target: Target,
    mode: Mode,
    *,
    rental: str,
    result: str,
    notes: str | None,
    missing: tuple[tuple[str, str], ...],
) -> None:
    """Record how a toy came back: accepted, or damaged, which sends it to repair."""
    wrong = [f"{part}={count}" for part, count in missing if not count.isdecimal()]
    if wrong:
        raise click.UsageError(f"--missing counts pieces, as in wagon=1, not {wrong[0]}")
    from toyrental import intents  # noqa: PLC0415 # --help does without
    from toyrental.plugin import doing  # noqa: PLC0415
    from toyrental.rentals.models import Result  # noqa: PLC0415

    counts = {part: int(count) for part, count in missing}
    spec = intents.inspection(Result(result.capitalize()), notes, counts)
    with target.connect() as api:
        doing.patch(api, target, mode, doing.INSPECTED, rental, spec)


@click.group("payment")
def payments() -> None:
    """Say what became of money, where the shop waits for a person's word."""


@payments.command("resolve")
@PAYMENT
@click.argument("outcome", type=click.Choice(("captured", "not-charged"), case_sensitive=False))
@click.option("--id", "found", metavar="ID", help="Of what was captured: the provider's id of it.")
@writes
def payment_resolve(
    target: Target, mode: Mode, payment: str, outcome: str, found: str | None
) -> None:
    """End a review: captured, or not-charged, as the provider's own books say. It is final."""
    from toyrental import intents  # noqa: PLC0415 # --help does without
    from toyrental.payments.models import Outcome  # noqa: PLC0415
    from toyrental.plugin import doing  # noqa: PLC0415

    charged = outcome.lower() == "captured"
    spec = intents.review(Outcome.CAPTURED if charged else Outcome.NOT_CHARGED, found)
    with target.connect() as api:
        doing.patch(api, target, mode, doing.REVIEWED, payment, spec)


@payments.command("refund")
@PAYMENT
@click.argument("outcome", type=click.Choice(("given-back", "try-again"), case_sensitive=False))
@writes
def payment_refund(target: Target, mode: Mode, payment: str, outcome: str) -> None:
    """End a refund that failed: given-back by another way, or try-again. Never do both."""
    from toyrental import intents  # noqa: PLC0415 # --help does without
    from toyrental.payments.models import RefundOutcome  # noqa: PLC0415
    from toyrental.plugin import doing  # noqa: PLC0415

    again = outcome.lower() == "try-again"
    wanted = RefundOutcome.TRY_AGAIN if again else RefundOutcome.GIVEN_BACK
    with target.connect() as api:
        spec = intents.failed_refund(doing.payment(api, payment), wanted)
        doing.patch(api, target, mode, doing.REFUND_RESOLVED, payment, spec)


@click.group()
def repair() -> None:
    """Open, take and resolve tickets for repair."""


@repair.command("open")
@click.argument("toy", shell_complete=names_of("toys"))
@click.argument("description")
@click.option("--assignee", metavar="USER", help="Who repairs it.")
@click.option("--name", metavar="NAME", help="Name of the ticket. Left out: made up.")
@writes
def repair_open(  # noqa: PLR0913 # one an option
    target: Target,
    mode: Mode,
    *,
    toy: str,
    description: str,
    assignee: str | None,
    name: str | None,
) -> None:
    """Send TOY to repair; DESCRIPTION says what is wrong with it."""
    from toyrental import intents  # noqa: PLC0415 # --help does without
    from toyrental.plugin import doing  # noqa: PLC0415

    spec = intents.repair(toy, description, assignee)
    with target.connect() as api:
        doing.create(api, target, mode, doing.OPENED, spec, name=name, like=toy)


@repair.command("take")
@TICKET
@click.option("--assignee", metavar="USER", help="Who repairs it. Left out: you.")
@writes
def repair_take(target: Target, mode: Mode, ticket: str, assignee: str | None) -> None:
    """Take a ticket on."""
    from toyrental.plugin import doing  # noqa: PLC0415 # --help does without

    with target.connect() as api:
        doing.patch(api, target, mode, doing.TAKEN, ticket, {"assignee": assignee or api.user()})


@repair.command("resolve")
@TICKET
@click.argument("outcome", type=click.Choice(("repaired", "discarded"), case_sensitive=False))
@click.option("--notes", metavar="WORDS", help="What was done.")
@writes
def repair_resolve(
    target: Target, mode: Mode, ticket: str, outcome: str, notes: str | None
) -> None:
    """End a repair: repaired, or discarded, which takes the toy out of stock. It is final."""
    from toyrental import intents  # noqa: PLC0415 # --help does without
    from toyrental.plugin import doing  # noqa: PLC0415
    from toyrental.repairs.models import RepairOutcome  # noqa: PLC0415

    spec = intents.resolution(RepairOutcome(outcome.capitalize()), notes)
    with target.connect() as api:
        doing.patch(api, target, mode, doing.RESOLVED, ticket, spec)


COMMANDS = (order, pay, cancel, return_, approve, deny, inspect, payments, repair)
