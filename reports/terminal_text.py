"""What the forms of parts for the terminal have in common: signs, colours, lines that are filled and broken."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from rejoinder.reports.rules import Severity

STYLES: Final = {
    Severity.FAIL: "red",
    Severity.KNOWN: "yellow",
    Severity.WARN: "yellow",
    Severity.ERROR: "magenta",
    Severity.INFO: "blue",
    Severity.DECLINED: "dim",
    Severity.NA: "dim",
    Severity.PASS: "green",
    Severity.NONE: "dim",
}
SIGNS: Final = {
    Severity.FAIL: "✗",
    Severity.KNOWN: "=",
    Severity.WARN: "!",
    Severity.ERROR: "?",
    Severity.INFO: "i",
    Severity.DECLINED: "–",
    Severity.NA: "–",
    Severity.PASS: "✓",
    Severity.NONE: "–",
}


def wrap(text: str, width: int, lead: str = "", style: str = "") -> list[Text]:
    """Break a sentence into indented lines."""
    room, lines, line = max(20, width - 2 - len(lead)), [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    lines.append(line)
    return [
        Text.assemble(("  " + (lead if index == 0 else " " * len(lead)), style), line)
        for index, line in enumerate(lines)
        if line
    ]


def fill(words: list[str], between: str, width: int) -> list[str]:
    """Join words into as few lines as fit."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(between) + len(word) <= width:
            lines[-1] += between + word
        else:
            lines.append(word)
    return lines
