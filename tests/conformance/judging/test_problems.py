"""The parts of messages read right for missing, long, huge and hostile values."""

from __future__ import annotations

import pytest

from rejoinder.conformance.judging.exchange_view import Event
from rejoinder.conformance.judging.problems import (
    at_event,
    differing,
    event_name,
    has_what,
    is_what,
    one_of,
    quoted,
    word,
)
from rejoinder.model.verdict import ABSENT
from rejoinder.wire.sse import ServerEvent


def event_of(kind: str) -> Event:
    return Event(3, ServerEvent(kind, "{}", 0, 7, 0.1), {}, {}, kind, None)


@pytest.mark.parametrize(
    ("value", "is_", "has"),
    [
        (ABSENT, "is missing", "has no status"),
        (None, "is null", "has status null"),
        ("", 'is ""', 'has status ""'),
        ("queued", 'is "queued"', 'has status "queued"'),
        (True, "is true", "has status true"),
        ([1], "is [1]", "has status [1]"),
    ],
)
def test_a_value_in_a_sentence(value: object, is_: str, has: str) -> None:
    assert is_what(value) == is_
    assert has_what("status", value) == has


@pytest.mark.parametrize(
    "value", ["x" * 10**6, 10**5000, "\ud800\u202e", float("nan")], ids=["long", "huge", "odd", "nan"]
)
def test_a_quoted_value_is_short_and_printable(value: object) -> None:
    text = quoted(value)
    assert 0 < len(text) < 120
    assert text.encode("utf-8")


def test_allowed_values_are_listed() -> None:
    assert one_of(["queued"]) == "queued"
    assert one_of(("queued", "in_progress")) == "one of queued, in_progress"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("response.created", "Event response.created"),
        ("vendor:name", "Event vendor:name"),
        ("", "Event 3"),
        ("two words", "Event 3"),
        ("x" * 81, "Event 3"),
        ("\u202e", "Event 3"),
    ],
)
def test_an_event_is_named_by_its_type_if_that_is_a_word(kind: str, name: str) -> None:
    assert event_name(event_of(kind)) == name
    assert word(kind, "3") == name.removeprefix("Event ")


def test_a_difference_names_its_place_and_what_was_expected_there() -> None:
    event = event_of("response.created")
    (extra,) = differing(at_event, event, "They differ at {}.", {"a": {}}, {"a": {"b": 1}}, "/response")
    assert (extra.message, extra.pointer) == ("They differ at /response/a/b.", "/response/a/b")
    assert (extra.expected, extra.actual) == ("absent", 1)
    (missing,) = differing(at_event, event, "They differ at {}.", {"a": 1}, {})
    assert missing.expected == 1
    assert missing.actual is ABSENT
    assert list(differing(at_event, event, "They differ at {}.", {"a": 1}, {"a": 1.0})) == []
