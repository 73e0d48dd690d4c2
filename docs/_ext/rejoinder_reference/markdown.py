"""Pieces of MyST Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPAN = re.compile(r"(`+)(.+?)\1")


def text(value: str) -> str:
    """Return text on one line whose signs outside of code spans are no markup. Double backticks become single ones."""
    value = " ".join(value.split())
    done, end = [], 0
    for span in _SPAN.finditer(value):
        done += [_escaped(value[end : span.start()]), code(span[2].strip())]
        end = span.end()
    return "".join([*done, _escaped(value[end:])])


def _escaped(value: str) -> str:
    return re.sub(r"([\\*<>\[\]{}|]|(?<!\w)_|_(?!\w))", r"\\\1", value)


def code(value: str) -> str:
    """Return a code span."""
    longest = max((len(run) for run in re.findall("`+", value)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{value}{pad}{fence}"


def codes(values: Iterable[str]) -> str:
    """Return several code spans with commas between; a dash when there is none."""
    return ", ".join(map(code, values)) or "–"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table; its cells are Markdown already."""
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"A row of {len(row)} cells in a table of {len(head)}: {row}")
        # A pipe ends a cell even inside a code span; one that was escaped already stays so.
        cells = [re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def toctree(names: Iterable[str], depth: int = 1) -> list[str]:
    """Return what puts pages below this one in the navigation; the page itself links to them in a table."""
    return ["```{toctree}", ":hidden:", f":maxdepth: {depth}", "", *names, "```", ""]


def block(language: str, content: str) -> list[str]:
    """Return a block of code."""
    return [f"```{language}", *content.rstrip("\n").splitlines(), "```", ""]


def directive(name: str, argument: str, content: Sequence[str]) -> list[str]:
    """Return a directive whose content is Markdown; its fence is longer than every fence inside."""
    longest = max((len(run) for line in content for run in re.findall("^`{3,}", line)), default=2)
    fence = "`" * (longest + 1)
    return [f"{fence}{{{name}}} {argument}".rstrip(), "", *content, fence, ""]


def page(title: str, *lines: str) -> str:
    """Return a page."""
    return "\n".join([f"# {title}", "", *lines])
