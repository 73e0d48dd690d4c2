"""Numbers, times and foreign text as people read them, on every surface: reports, terminal, error messages.

An endpoint can send markup, terminal escapes, bidirectional overrides, lone surrogates and megabytes.
:func:`printable` turns such text into something that every writer (HTML, XML, Markdown, terminal) can print as it is;
each writer then escapes its own markup. Characters that cannot be shown are replaced by a visible name instead of
being dropped, because an invisible character is often the very fault.

A CI system reads the output of a command and obeys some of its lines (``::error::``). :func:`inert` turns such a
marker into text; :func:`terminal_text` does so for every line. It belongs after the last wrapping.
"""

from __future__ import annotations

import json
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, NamedTuple

BODY_LIMIT: Final = 4096
"""Characters of a body that a report shows at most."""

# Zero-width joiners hold emoji and Indic text together and cannot reorder anything; every other format character goes.
_HARMLESS_FORMAT: Final = frozenset("\u200c\u200d")
# Marks stack without end on one letter, and take no width by which a line could be cut.
_MARK: Final = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
# What CI systems obey at the start of a line, after blanks: GitHub, Gitea and Forgejo ("::"), Buildkite (the others).
# Anywhere in a line: GitHub and Azure ("##[", "##vso["), TeamCity, GitLab, Travis CI, attachments in JUnit reports.
_COMMAND: Final = re.compile(
    r"(?:^\s*(?::(?=:)|-(?=--)|\+(?=\+\+)|~(?=~~)|\^(?=\^\^)))"
    r"|\#(?=\#\w*\[)|section(?=_(?:start|end):)|travis(?=_(?:fold|time):)|\[(?=\[\w+\|)",
    re.IGNORECASE,
)
_ASCII: Final = str.maketrans("✗✓–·×…µ−→≥≤", "x+--x~u->><")
_NAMES: Final = {0x7F: "\u2421", **{code: chr(0x2400 + code) for code in range(0x20)}}


@cache
def _unprintable() -> re.Pattern[str]:
    """Match what must not reach a page: controls, format and bidi controls, surrogates, non-characters, mark floods."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        # Planes 3 to 13 hold letters or nothing; skipping them makes the first call five times faster.
        if 0x323B0 <= code < 0xE0000 and code & 0xFFFE != 0xFFFE:
            continue
        char = chr(code)
        bad = unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in _HARMLESS_FORMAT
        if bad or code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    bad_ones = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
    return re.compile(f"[{bad_ones}]|(?<={_MARK}{{4}}){_MARK}+")


def printable(text: str, keep: str = "\n\t") -> str:
    """Return the text with every character that could act on a page or a terminal replaced by a visible name.

    Characters in ``keep`` stay as they are. ASCII controls become their control pictures (``␛``), all else becomes
    ``⟨U+202E⟩``; of a flood of combining marks four are left. The result encodes to UTF-8 and is valid in XML 1.0.
    """
    if text.isascii() and text.isprintable():
        return text

    def name(match: re.Match[str]) -> str:
        char = match.group()
        if len(char) > 1 or unicodedata.combining(char):
            return f"⟨{len(char):,} more marks⟩"
        if char in keep:
            return char
        return _NAMES.get(ord(char)) or f"⟨U+{ord(char):04X}⟩"

    return _unprintable().sub(name, text)


def inert(line: str, parted: Callable[[str], str] = "{} ".format) -> str:
    """Return a line that no CI system obeys: a space goes into each marker of a command (``: :error::``).

    Markers at the start of a line count after blanks, so give this the line as it is printed, with its indentation.
    ``parted`` returns the beginning of a marker in another form, for text that must keep its meaning.
    """
    return _COMMAND.sub(lambda match: parted(match.group()), line)


def terminal_text(text: str) -> str:
    """Return text of one or more lines as a terminal and the log of a CI job can show it.

    Every character that could act on a terminal is replaced by a visible name (:func:`printable`), and every line is
    :func:`inert`. Line feeds and tabs stay.
    """
    return "\n".join(map(inert, printable(text).split("\n")))


def encodable(text: str, encoding: str | None) -> str:
    """Return text that an output can write; where its encoding lacks a sign, ASCII of the same length replaces it."""
    encoding = encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text


def one_line(value: Any, limit: int = 300) -> str:
    """Return any value as one line of harmless text of at most about ``limit`` characters."""
    text = value if isinstance(value, str) else compact_json(value)
    begin = text[: limit * 4]  # looking at megabytes to show a line would be slow
    line = printable(" ".join(begin.split()), keep="")
    if len(line) <= limit and len(begin) == len(text):
        return line
    return f"{line[:limit]}… ({max(len(line) - limit, 0) + len(text) - len(begin):,} more characters)"


def truncate(text: str, limit: int = BODY_LIMIT) -> str:
    """Return the text, or its beginning and a mark that says how many characters were left out."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def compact_json(value: Any) -> str:
    """Return a value as JSON on one line, or as its ``repr`` when it is not JSON."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return as_repr(value)


def as_repr(value: Any) -> str:
    """Return the ``repr`` of a value that is not JSON, or words in its place when it is nested too deeply for that."""
    try:
        return repr(value)
    except RecursionError:
        return "(nested too deeply to show)"


def as_number(value: Any) -> float | None:
    """Return a finite number of sane size as a float, anything else as ``None``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) and abs(result) < 1e18 else None


class Figure(NamedTuple):
    """A figure of a distribution, in seconds.

    With ``at_least`` the value is a lower bound, and the figure is unknown. ``highest`` is the upper bound, if one is
    known.
    """

    value: float
    at_least: bool = False
    highest: float | None = None


def value_of(figure: Figure | None) -> float | None:
    """Return the value of a figure, for comparing and drawing; what is shown goes through :func:`format_seconds`."""
    return figure.value if figure is not None else None


def format_seconds(value: float | Figure | None) -> str:
    """Return a duration given in seconds in the unit that people use for it: ``840 µs``, ``41 ms``, ``1.28 s``.

    A figure that is only a lower bound is shown as one: ``≥ 60.0 s``, one between two bounds as both:
    ``4.76–15.9 ms``.
    """
    if value is None:
        return "–"
    if isinstance(value, Figure):
        lowest = format_seconds(value.value)
        if not value.at_least:
            return lowest
        if value.highest is None:
            return f"≥ {lowest}"
        highest = format_seconds(value.highest)
        if lowest == highest:
            return lowest
        number, _, unit = lowest.partition(" ")
        return f"{number if unit == highest.partition(' ')[2] else lowest}–{highest}"
    size = abs(value)
    if size >= 5999.5:
        return f"{value / 3600:.1f} h" if size >= 35999 else f"{value / 60:.0f} min"
    if size >= 600:
        return f"{value:.0f} s"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if size >= scale * 0.9995:
            return f"{_three(value / scale)} {unit}"
    return "0 s" if value == 0 else "< 1 µs"


def _three(value: float) -> str:
    """Return a number below 1000 with three significant digits."""
    size = abs(value)
    return f"{value:.0f}" if size >= 99.95 else f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def format_count(value: float | None) -> str:
    """Return a whole number with thousands separators, or a dash."""
    return "–" if value is None else f"{value:,.0f}"


def format_rate(value: float | None) -> str:
    """Return a rate with at most three significant digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def format_percent(part: float, whole: float) -> str:
    """Return a share in percent that is 0 or 100 only when it is exactly that."""
    if whole <= 0:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.0f} %" if share in (0, 100) or share >= 99.95 else f"{share:.1f} %"


def format_bytes(octets: int) -> str:
    """Return a number of bytes in a unit that people read: ``812 B``, ``4.1 kB``."""
    for scale, unit in ((1e6, "MB"), (1e3, "kB")):
        if octets >= scale:
            return f"{_three(octets / scale) if octets < scale * 1000 else f'{octets / scale:,.0f}'} {unit}"
    return f"{octets} B"


def plural(number: int, noun: str, many: str = "") -> str:
    """Return a count with its noun: ``1 rule``, ``2 rules``."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def uncapitalized(text: str) -> str:
    """Return a text with a small first letter, but for acronyms: ``the queue grew``, ``TTFT fell``."""
    return text if text[:2].isupper() and text[1:2].strip() else text[:1].lower() + text[1:]


def join_list(words: Iterable[str], limit: int = 8) -> str:
    """Return words joined by commas, with the number of those that were left out."""
    words = list(words)
    rest = len(words) - limit
    return ", ".join(words[:limit]) + (f" and {rest:,} more" if rest > 0 else "")


def format_time(value: Any) -> str:
    """Return a Unix time as a UTC date and time, or the empty string when it is none."""
    stamp = as_number(value)
    if stamp is None or not 0 <= stamp < 253402300800:
        return ""
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
