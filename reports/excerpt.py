"""Evidence made readable: differences between two values, and the place in a JSON text that a pointer names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple

from rejoinder.formatting import as_repr, printable, truncate
from rejoinder.model.verdict import ABSENT
from rejoinder.validation import escape_key

LINE_LIMIT: Final = 240
LINE_WIDTH: Final = 78
_TOKENS: Final = re.compile(r"\w+|\s+|.", re.DOTALL)
_SEARCHED: Final = 5_000
"""Lines in which the place that a pointer names is searched for; one that lies behind is not marked."""
_COUNTED: Final = 1_000
"""Lines that are counted once the place is found."""
_MATCH_BUDGET: Final = 250_000
"""Product of token counts above which differences are not searched for inside the differing middle."""


class Span(NamedTuple):
    """A piece of text, and whether it differs from the other side."""

    text: str
    changed: bool


class _Row(NamedTuple):
    """A line of a value that is laid out: the pointer to what begins there, and the text around the JSON of a value.

    What opens or closes an object or list has no value, so that all of its text comes first.
    """

    pointer: str
    lead: str
    value: Any = ABSENT
    comma: str = ""

    @property
    def text(self) -> str:
        """The line as text. Few of the lines that are laid out are shown, so it is made for these only."""
        return (
            self.lead
            if self.value is ABSENT
            else f"{self.lead}{json.dumps(self.value, ensure_ascii=False)}{self.comma}"
        )


class Line(NamedTuple):
    """One line of an excerpt; ``hit`` marks the line that the pointer names, ``gap`` one that stands for others."""

    text: str
    hit: bool = False
    gap: bool = False


def pretty(value: Any) -> str:
    """Return a JSON value as indented text; what is not JSON is shown as its ``repr``."""
    try:
        return layout(value)
    except (TypeError, ValueError, RecursionError):
        return as_repr(value)


def difference(expected: str, actual: str) -> tuple[list[Span], list[Span]]:
    """Return both texts cut into spans, with those marked that the other one does not have.

    Texts that have next to nothing in common are returned unmarked: a page full of marks shows nothing.
    """
    left, right = _TOKENS.findall(expected), _TOKENS.findall(actual)
    head = _common(left, right)
    tail = _common(left[head:][::-1], right[head:][::-1])
    middle_left, middle_right = left[head : len(left) - tail], right[head : len(right) - tail]
    if len(middle_left) * len(middle_right) > _MATCH_BUDGET:
        blocks = [(0, 0, 0)]
    else:
        matcher = SequenceMatcher(None, middle_left, middle_right, autojunk=False)
        blocks = [(block.a, block.b, block.size) for block in matcher.get_matching_blocks()]
    sides = []
    for side, tokens in enumerate((left, right)):
        middle = tokens[head : len(tokens) - tail]
        spans = [Span("".join(tokens[:head]), False)]
        at = 0
        for block in blocks:
            start, size = block[side], block[2]
            spans.append(Span("".join(middle[at:start]), True))
            spans.append(Span("".join(middle[start : start + size]), False))
            at = start + size
        spans.append(Span("".join(middle[at:]), True))
        spans.append(Span("".join(tokens[len(tokens) - tail :]) if tail else "", False))
        sides.append(_joined(spans))
    shared = sum(len(span.text.strip()) for span in sides[0] if not span.changed)
    if shared * 4 < max(len(expected), len(actual)):
        return _ends(expected, actual)
    return sides[0], sides[1]


def _ends(expected: str, actual: str) -> tuple[list[Span], list[Span]]:
    """Mark what lies between a beginning and an end that two short texts share, if these are the greater part."""
    longer = max(len(expected), len(actual))
    head = _common(expected, actual)
    tail = _common(expected[head:][::-1], actual[head:][::-1])
    if longer > LINE_LIMIT or (head + tail) * 2 < longer or expected == actual:
        return [Span(expected, False)], [Span(actual, False)]
    left, right = (
        _joined(
            [Span(text[:head], False), Span(text[head : len(text) - tail], True), Span(text[len(text) - tail :], False)]
        )
        for text in (expected, actual)
    )
    return left, right


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    """Return how many tokens two sequences begin with alike."""
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))


def _joined(spans: list[Span]) -> list[Span]:
    """Drop empty spans and join neighbours of a kind."""
    joined: list[Span] = []
    for span in spans:
        if not span.text:
            continue
        if joined and joined[-1].changed == span.changed:
            joined[-1] = Span(joined[-1].text + span.text, span.changed)
        else:
            joined.append(span)
    return joined


def excerpt(value: Any, pointer: str, around: int = 5, limit: int = 24) -> list[Line]:
    """Return the lines of a JSON value, indented, around the place that a JSON pointer names.

    When the pointer leads to a place that is not there, its nearest existing ancestor is marked. Values next to the
    place are shown; far ones are folded into gap lines. The result has at most about ``limit`` lines.
    """
    lines: list[_Row] = []
    found, whole = False, True
    try:
        for line in _lines(value, "", "", "", 0, pointer):
            lines.append(line)
            found |= bool(pointer) and line.pointer == pointer
            if len(lines) >= (_COUNTED if found or not pointer else _SEARCHED):
                whole = False
                break
    except RecursionError:
        return [Line("(nested too deeply to show)", gap=True)]
    known = {line.pointer for line in lines}
    while pointer and pointer not in known:
        pointer = pointer.rpartition("/")[0]
    hit = next((index for index, line in enumerate(lines) if line.pointer == pointer), 0) if pointer else -1
    if len(lines) <= limit:
        first, last = 0, len(lines)
    else:
        first = max(0, hit - around)
        last = min(len(lines), max(hit, 0) + limit - around)
    excerpted = [Line(f"… {first:,} lines", gap=True)] if first else []
    excerpted += [Line(printable(truncate(lines[i].text, LINE_LIMIT)), hit=i == hit) for i in range(first, last)]
    if last < len(lines):
        more = f"{len(lines) - last:,}" if whole else f"more than {len(lines) - last:,}"
        excerpted.append(Line(f"… {more} lines", gap=True))
    return excerpted


def layout(value: Any) -> str:
    """Return a JSON value indented by two, with every object and list that fits on its line left in one line."""
    return "\n".join([line.text for line in _lines(value, "", "", "", 0, None)])


def _lines(value: Any, pointer: str, lead: str, comma: str, depth: int, target: str | None) -> Iterator[_Row]:
    """Yield each line of a value printed with an indent of two.

    What leads to the ``target`` pointer is always opened, so that its place has a line of its own.
    """
    if depth > 40 and target is not None:
        yield _Row(pointer, f"{lead}…{comma}")
        return
    indent = " " * (len(lead) - len(lead.lstrip(" ")))
    on_the_way = target is not None and (target == pointer or target.startswith(f"{pointer}/"))
    nested = isinstance(value, (dict, list)) and value
    if not nested or (not on_the_way and _room(value, LINE_WIDTH - len(lead)) >= 0):
        yield _Row(pointer, lead, value, comma)
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield _Row(pointer, lead + opening)
    last = len(value) - 1
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for index, (key, child) in enumerate(children):
        step = escape_key(str(key))
        name = f"{json.dumps(str(key), ensure_ascii=False)}: " if isinstance(value, dict) else ""
        comma_after = "," if index < last else ""
        if not (child and isinstance(child, (dict, list))) and (depth < 40 or target is None):
            yield _Row(f"{pointer}/{step}", f"{indent}  {name}", child, comma_after)
            continue
        yield from _lines(child, f"{pointer}/{step}", f"{indent}  {name}", comma_after, depth + 1, target)
    yield _Row("", f"{indent}{closing}{comma}")


def _room(value: Any, room: int) -> int:
    """Return how much of ``room`` characters is left after a value on one line; negative as soon as it is too long."""
    if room < 0:
        return room
    if isinstance(value, (dict, list)):
        for key in value:
            child, overhead = (value[key], len(str(key)) + 6) if isinstance(value, dict) else (key, 2)
            room = _room(child, room - overhead)
            if room < 0:
                break
        return room
    return room - (len(value) + 2 if isinstance(value, str) else len(str(value)))


@dataclass(frozen=True, slots=True)
class Dump:
    """Bytes around an offset, as text: what stands before it, the byte itself, what follows."""

    start: int
    before: str
    at: str
    after: str


def bytes_around(body: bytes, offset: int, around: int = 60) -> Dump | None:
    """Return the bytes around an offset with every unprintable one escaped, or ``None`` outside of the body."""
    if not 0 <= offset < len(body):
        return None
    start = max(0, offset - around)
    return Dump(
        start,
        _shown(body[start:offset]),
        _shown(body[offset : offset + 1]),
        _shown(body[offset + 1 : offset + 1 + around]),
    )


def _shown(data: bytes) -> str:
    named = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x5C: "\\\\"}
    return "".join(named.get(octet) or (chr(octet) if 0x20 <= octet < 0x7F else f"\\x{octet:02x}") for octet in data)
