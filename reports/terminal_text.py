"""What the terminal forms of parts have in common: lines that are filled and broken."""

from __future__ import annotations

import textwrap
from itertools import chain, repeat

from rich.text import Text


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
