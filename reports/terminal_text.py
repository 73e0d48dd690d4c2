"""What the terminal forms of parts have in common: lines that are filled and broken."""

from __future__ import annotations

from rich.text import Text


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
