"""The documentation tells of every fault, and every fault it tells of exists."""

import inspect
import json
import re
from pathlib import Path

import pytest

from toyrental.simulator.command import simulator
from toyrental.simulator.fault_kinds import KINDS, Drawn, Fault, fields, parse

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "simulator.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Give the cells of the first table under a heading, without its head."""
    section = PAGE.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


ROWS = {row[0].strip("`"): row[1:] for row in table("### Kinds, in the order in which they strike")}


def own_fields(kind: type[Fault]) -> list[str]:
    shared = fields(Drawn) if issubclass(kind, Drawn) else fields(Fault)
    return [name for name in fields(kind) if name not in shared]


def test_the_table_has_all_kinds_in_the_order_in_which_they_strike() -> None:
    assert list(ROWS) == list(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_the_table_says_what_the_code_does(name: str) -> None:
    kind = KINDS[name]
    what, own, struck = ROWS[name]
    assert f"{what}." == inspect.getdoc(kind)
    assert set(own_fields(kind)) <= set(re.findall(r"`(\w+)`", own))
    if issubclass(kind, Drawn):
        assert struck.split(", ") == [str(operation) for operation in kind.strikes]


@pytest.mark.parametrize("name", KINDS)
def test_the_table_has_the_defaults(name: str) -> None:
    kind = KINDS[name]
    for field in kind.model_fields.values():
        written = (field.alias or "").strip()
        if written not in own_fields(kind) or field.default is None or field.is_required():
            continue
        assert f"`{written}` (`{field.default}`" in ROWS[name][1]


def test_the_fields_of_all_kinds_are_told() -> None:
    assert [row[0].strip("`") for row in table("### Fields of all kinds")] == fields(Drawn)


def test_every_fault_in_the_examples_is_one() -> None:
    help_text = inspect.getdoc(simulator) or ""
    examples = re.findall(r"'(\{\"kind\".*?\})'", PAGE) + re.findall(
        r"'(\{\"kind\".*?\})'", help_text
    )
    assert len(examples) == 8
    for example in examples:
        shown = parse(example).model_dump(mode="json", exclude_unset=True)
        assert shown == json.loads(example)


def test_help_names_the_kinds_in_their_order() -> None:
    help_text = " ".join((inspect.getdoc(simulator) or "").split())
    assert f"in the order in which they strike: {', '.join(KINDS)}." in help_text
