"""The map of contexts in docs/architecture.md, from what the reconcilers say of themselves."""

from collections.abc import Iterator
from pathlib import Path

from toyrental.contexts import Context, kinds_needed
from toyrental.kinds import KINDS
from toyrental.shared.resource import Resource

BEGIN = "<!-- begin: the map of contexts, made by `make generate` -->\n"
END = "<!-- end: the map of contexts -->\n"


def with_map(page: Path) -> str:
    """Return the text of a page with the map in it as it is now, between its two marks."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has lost the marks that the map of contexts stands between")
    return before + BEGIN + context_map() + END + after


def context_map() -> str:
    """Return the map in Mermaid: thick to the kinds a context moves on, thin to those it sees."""
    return "\n".join(["```mermaid", "flowchart LR", *_lines(), "```", ""])


def _lines() -> Iterator[str]:
    for context in dict.fromkeys(_context(kind) for kind in KINDS):
        yield f"    subgraph {context}"
        if context in set(Context):
            yield f"        {context}-rules([rules and reconcilers])"
        yield from (f"        {_name(kind)}" for kind in KINDS if _context(kind) == context)
        yield "    end"
    for context in Context:
        for kind in kinds_needed([context]):
            arrow = "==>" if _context(kind) == context else "-->"
            yield f"    {context}-rules {arrow} {_name(kind)}"


def _name(kind: type[Resource]) -> str:
    return kind.SERVED.kind


def _context(kind: type[Resource]) -> str:
    """Return the context whose models have the kind."""
    return kind.__module__.split(".")[1]
