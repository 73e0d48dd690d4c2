"""Text on a terminal that stays text: lines that are filled, broken, cut to a width, and obeyed by nothing.

Parts of a report return lines; :func:`shown` is the last step for each of them, after all wrapping.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import chain, repeat, zip_longest
from typing import NamedTuple

from rich.text import Text

from rejoinder.formatting import inert, printable


def wrap(text: str, width: int, lead: str = "", style: str = "") -> list[Text]:
    """Break a sentence into indented lines."""
    room = max(20, width - 2 - len(lead))
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    leads = chain([lead], repeat(" " * len(lead)))
    return [Text.assemble((f"  {before}", style), line) for before, line in zip(leads, lines, strict=False)]


def fill(words: list[str], between: str, width: int) -> list[str]:
    """Join words into as few lines as fit."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(between) + len(word) <= width:
            lines[-1] += between + word
        else:
            lines.append(word)
    return lines


class FigureRow(NamedTuple):
    """A row of figures below others: its name, its figures, and what follows them."""

    label: str
    figures: Sequence[str]
    rest: str


def align(rows: Sequence[FigureRow], width: int, beside: Sequence[FigureRow] = ()) -> list[Text]:
    """Return rows as indented lines whose columns are as wide as their widest figure, in ``rows`` and ``beside``.

    A row that is wider than ``width`` goes on below.
    """
    every = [*beside, *rows]
    wide = max((len(row.label) for row in every), default=0)
    columns = [max(map(len, column)) for column in zip_longest(*(row.figures for row in every), fillvalue="")]
    found = []
    for row in rows:
        figures = [f"{figure:<{size}}" for figure, size in zip(row.figures, columns, strict=False)]
        lines = fill([*figures, row.rest], "  ", width - wide - 9)
        leads = chain([row.label], repeat(""))
        found += [Text(f"        {lead:<{wide}} {line}") for lead, line in zip(leads, lines, strict=False)]
    return found


def shown(line: Text, width: int | None = None) -> Text:
    """Return a line as it may reach a terminal or the log of a CI job, cut to ``width`` columns if one is given.

    A line with a control character or a marker that a CI system obeys becomes plain text without either.
    """
    plain = inert(printable(line.plain, keep=""))
    if plain != line.plain:
        line = Text(plain, line.style)
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return line
