"""Text from endpoints comes out harmless, visible and short."""

from __future__ import annotations

import textwrap
import unicodedata
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.formatting import (
    Figure,
    as_number,
    compact_json,
    encodable,
    format_bytes,
    format_percent,
    format_rate,
    format_seconds,
    format_time,
    inert,
    one_line,
    printable,
    terminal_text,
    uncapitalized,
)

ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from("\x1b\x9b\u202e\u2066\u200b\ufeff\ud800\u0301\x00\r"))


@given(ANY_TEXT)
def test_printable_leaves_nothing_that_acts(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    for char in shown:
        assert char in "\n\t\u200c\u200d" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    element = ET.Element("a")
    element.text = shown
    assert ET.fromstring(ET.tostring(element)).text == (shown or None)


@given(ANY_TEXT)
def test_printable_is_idempotent_and_keeps_plain_text(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    plain = "".join(char for char in text if char.isprintable() and not unicodedata.combining(char))
    assert printable(plain) == plain


def test_printable_names_what_it_replaces() -> None:
    assert printable("a\x1b[31m\u202e\ud800") == "a␛[31m⟨U+202E⟩⟨U+D800⟩"
    assert printable("a\nb", keep="") == "a␊b"
    assert printable("👩\u200d💻") == "👩\u200d💻"


def test_a_flood_of_marks_is_cut() -> None:
    assert printable("a" + "\u0301" * 900) == "a" + "\u0301" * 4 + "⟨896 more marks⟩"
    assert printable("e\u0301") == "e\u0301"


@given(ANY_TEXT, st.integers(1, 50))
def test_one_line_is_one_short_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert "\n" not in line
    assert len(line) <= limit + 40


def test_one_line_says_how_much_is_missing() -> None:
    assert one_line("x" * 200_000, 10) == "xxxxxxxxxx… (199,990 more characters)"
    assert one_line({"a": "é"}) == '{"a": "é"}'


def test_compact_takes_what_is_not_json() -> None:
    assert (
        compact_json(
            {
                1,
            }
        )
        == "{1}"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0 s"),
        (0.00084, "840 µs"),
        (0.0414, "41.4 ms"),
        (0.99999, "1.00 s"),
        (1.278, "1.28 s"),
        (61, "61.0 s"),
        (599.9, "600 s"),
        (6000, "100 min"),
        (86400, "24.0 h"),
        (1e-9, "< 1 µs"),
    ],
)
def test_seconds(value: float | None, shown: str) -> None:
    assert format_seconds(value) == shown
    if value is not None:
        assert format_seconds(Figure(value)) == shown


def test_acronyms_keep_their_letters_within_a_sentence() -> None:
    assert uncapitalized("The queue grew.") == "the queue grew."
    assert uncapitalized("TTFT fell.") == "TTFT fell."
    assert uncapitalized("E2E latency rose.") == "E2E latency rose."
    assert uncapitalized("A load ended.") == "a load ended."
    assert uncapitalized("A") == "a"
    assert uncapitalized("") == ""


def test_a_lower_bound_is_shown_as_one() -> None:
    assert format_seconds(Figure(60.0, at_least=True)) == "≥ 60.0 s"


def test_other_figures() -> None:
    assert [format_rate(v) for v in (None, 0.5, 28.39, 1346.2)] == ["–", "0.50", "28.4", "1,346"]
    assert [format_percent(*v) for v in ((1, 0), (0, 5), (5, 5), (9999, 10000), (1, 3000))] == [
        "–",
        "0 %",
        "100 %",
        "> 99.9 %",
        "< 0.1 %",
    ]
    assert [format_bytes(v) for v in (812, 4100, 2_000_000)] == ["812 B", "4.10 kB", "2.00 MB"]
    assert format_time(1_790_000_000.0) == "2026-09-21 14:13:20 UTC"
    assert [format_time(v) for v in (None, "x", 1e308, -5)] == [""] * 4
    assert [as_number(v) for v in (True, "1", 10**400, float("nan"), 2)] == [None, None, None, None, 2.0]


MARKS = ["::", "##", "[", "##[", "##vso[", "##teamcity[", "section_start:1:x", "travis_fold:", "---", "+++", "~~~"]
MARKS += [
    "^^^",
    "[[ATTACHMENT|",
    "[[PROPERTY|",
    "::error::",
    " ",
    "\t",
    "\n",
    "\r",
    "\x1b[0K",
    "\xa0",
    "word ",
    "_",
    ":",
    "-",
]
MARKED = st.lists(st.sampled_from(MARKS) | st.characters(codec=None), max_size=20).map("".join)


@given(MARKED)
def test_no_line_of_terminal_text_is_a_command(surfaces: ModuleType, text: str) -> None:
    shown = terminal_text(text)
    assert surfaces.obeyed(shown) == []
    assert not surfaces.ACTIVE.search(shown)
    assert shown.count("\n") == text.count("\n")
    assert terminal_text(shown) == shown
    if surfaces.obeyed(text) == []:
        assert shown == printable(text)


@given(MARKED, st.integers(20, 200), st.integers(0, 8))
def test_text_that_is_wrapped_first_is_no_command(surfaces: ModuleType, text: str, width: int, indent: int) -> None:
    lines = textwrap.wrap(one_line(text), width, initial_indent=" " * indent, subsequent_indent=" " * indent)
    assert surfaces.obeyed("\n".join(map(inert, lines))) == []


def test_every_marker_is_known(surfaces: ModuleType) -> None:
    obeyed = [marker for marker in surfaces.MARKERS if surfaces.obeyed(marker)]
    assert len(obeyed) >= 15
    for marker in obeyed:
        assert surfaces.obeyed(terminal_text(marker)) == []
        assert surfaces.obeyed(f"   {terminal_text(marker)}") == []


def test_markers_keep_readable() -> None:
    assert terminal_text("a\n  ::error::x") == "a\n  : :error::x"
    assert inert("see ##vso[x] and std::vector") == "see # #vso[x] and std::vector"
    assert inert("section_end:1:x") == "section _end:1:x"
    assert inert("#[x]", str.upper) == "#[x]"
    assert inert("##[x]", lambda mark: f"<{mark}>") == "<#>#[x]"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", None])
def test_signs_that_an_encoding_lacks_are_replaced(encoding: str | None) -> None:
    text = "✗ 3 of 4 → … ⟨U+202E⟩"
    shown = encodable(text, encoding)
    assert len(shown) == len(text)
    assert shown.startswith("✗ 3 of 4 →" if encoding in ("utf-8", None) else "x 3 of 4 >")
    shown.encode(encoding or "utf-8")
