"""Text in Markdown that stays text: escaped, in code spans that it cannot leave, cut to a length.

Markdown goes to standard output as well, where CI systems look for commands: code is inert, too.
"""

from __future__ import annotations

import re
from typing import Final

from rejoinder.formatting import inert, one_line, terminal_text
from rejoinder.reports.charts import FigureTable

_PUNCTUATION: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|~^$:=\"'/])")
_REFERENCE: Final = re.compile(r"\\[#!](?=\d)|(?<=GH)\\-(?=\d)|\\:(?=\\/\\/)", re.IGNORECASE)
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "<span>@</span>"}


def bounded(text: str, limit: int) -> str:
    """Cut whole lines off the end until a text fits; a code block that would stay open goes as a whole."""
    if len(text.encode()) <= limit:
        return text
    note = "\n\n(cut short)\n"
    kept, used = [], len(note.encode())
    for line in text.splitlines(keepends=True):
        used += len(line.encode())
        if used > limit:
            break
        kept.append(line)
    fences = [number for number, line in enumerate(kept) if line.lstrip().startswith("```")]
    if len(fences) % 2:
        kept = kept[: fences[-1]]
    return ("".join(kept).rstrip() + note)[: max(0, limit)]


def escape(text: str) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, no automatic link, no mention."""
    text = _PUNCTUATION.sub(r"\\\1", one_line(text, 4000))
    text = re.sub("[&<>@]", lambda match: _ENTITIES[match.group()], text)
    # GitHub and GitLab look for issues and addresses in the rendered text, where no backslash is left.
    return _REFERENCE.sub(r"<span>\g<0></span>", text)


def code(text: str, limit: int = 400) -> str:
    """Return text as a code span that it cannot leave, also inside a table."""
    text = inert(one_line(text, limit))
    if not text:
        return ""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    # A pipe ends a table cell even inside a code span, and its escape shows outside of tables; its lookalike does not.
    text = text.replace("|", "¦")
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def fenced(text: str, language: str) -> list[str]:
    """Return lines of text as a code block that they cannot leave."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", *terminal_text(text).split("\n"), fence]


def table(figures: FigureTable) -> list[str]:
    """Return a table of figures, at most 50 rows of it."""
    head, *rows = (f"| {' | '.join(map(escape, row))} |" for row in (figures.head, *figures.rows[:50]))
    marks = ("---|" if column in figures.words else "---:|" for column in range(len(figures.head)))
    return [head, f"|{''.join(marks)}", *rows]
