"""The event-stream reader against the standard's algorithm, under every split, and within its bounds."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rejoinder.budgets import MAX_EVENT, MAX_EVENTS
from rejoinder.wire.sse import (
    FramingFault,
    ServerEvent,
    SSEReader,
    read_events,
)

BOM = b"\xef\xbb\xbf"

pieces = st.sampled_from(
    [
        *(
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\r\n\r\n",
            b":",
            b": note",
            b" ",
            BOM,
            b"\xef",
            b"\xbb\xbf",
            b"\xff",
            b"\0",
        ),
        *(b"data", b"data:", b"data: ", b"event: ", b"id: ", b"id: 7\0", b"retry: ", b"retry: 10", b"x: y", b"{}"),
        *("ä".encode(), "\u2028".encode(), b"\x0b\x0c", b"[DONE]"),
    ]
)
text_lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))
streams = st.lists(pieces | st.binary(max_size=4), max_size=30).map(b"".join)


def observe(chunks: list[Any], max_event: int = 1 << 20) -> tuple[Any, ...]:
    """Return everything that a reader tells of the bytes but the times."""
    events, reader = read_events(((0.0, chunk) for chunk in chunks), max_event)
    return events, reader.faults, reader.comments


def cut(data: bytes, places: list[Any]) -> list[bytes]:
    """Return the data in chunks that end at the given places (taken modulo its length)."""
    stops = sorted({place % (len(data) + 1) for place in places})
    return [data[start:stop] for start, stop in zip([0, *stops], [*stops, len(data)], strict=True)]


def reference(data: bytes) -> tuple[list[tuple[str, str | None, str, bool]], int]:
    """Interpret a stream as the HTML standard says, lines first; the unterminated last event is kept and marked."""
    text = data.decode("utf-8", "replace")
    if data.startswith(BOM):
        text = text[1:]
    lines = re.split("\r\n|\n|\r", text)
    last = lines.pop()
    events: list[tuple[str, str | None, str, bool]] = []
    payload: list[str] = []
    ident: str | None = None
    event, comments, begun = "", 0, False
    for line in lines + ([last] if last else []):
        if not line:
            if payload:
                events.append((event, ident, "\n".join(payload), True))
            event, ident, payload, begun = "", None, [], False
            continue
        if line.startswith(":"):
            comments += 1
            continue
        begun = True
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            payload.append(value)
        elif name == "id" and "\0" not in value:
            ident = value
    if begun:
        events.append((event, ident, "\n".join(payload), False))
    return events, comments


@settings(max_examples=300)
@given(streams, st.lists(st.integers(0, 200)))
@example(BOM + b"data: 1\r\n\r\n", list(range(20)))
def test_any_split_gives_the_same(data: bytes, places: list[Any]) -> None:
    whole = observe([data])
    assert observe(cut(data, places)) == whole
    assert observe([data[i : i + 1] for i in range(len(data))]) == whole


@settings(max_examples=500)
@given(streams, st.lists(st.integers(0, 200)), st.integers(1, 24))
@example(BOM + b": note\n", [], 1)
@example(BOM + b"data: 1\n", [], 2)
@example(BOM + b"\n\n", [], 3)
@example(b"data: 1\ndata: 22\r", [], 8)
def test_any_split_gives_the_same_within_tiny_bounds(data: bytes, places: list[Any], max_event: int) -> None:
    whole = observe([data], max_event)
    assert observe(cut(data, places), max_event) == whole
    assert observe([data[i : i + 1] for i in range(len(data))], max_event) == whole


@settings(max_examples=500)
@given(streams)
@example(b"id: 7\0\ndata: x\n\n")
@example(BOM + b"data: x\r\n\r")
def test_agrees_with_the_standard(data: bytes) -> None:
    events, reader = read_events([(0.0, data)])
    found = [(event.event, event.id, event.data, event.terminated) for event in events]
    assert (found, reader.comments) == reference(data)


@given(streams)
def test_offsets_are_where_the_events_stand(data: bytes) -> None:
    events, _ = read_events([(0.0, data)])
    position = 0
    for event in events:
        assert position <= event.start < event.end <= len(data)
        position = event.end
        # The blank line in front keeps what looks like a byte order mark from being one.
        again, _ = read_events([(0.0, b"\n" + data[event.start : event.end])])
        assert [(other.event, other.data) for other in again] == [(event.event, event.data)]
        assert event.terminated == again[0].terminated


@given(
    st.lists(
        st.tuples(
            text_lines,
            st.lists(text_lines),
        )
    ),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.booleans(),
)
def test_what_is_written_is_read(wanted: list[Any], newline: str, bom: bool) -> None:
    text = "".join(
        f"event: {name}{newline}" + "".join(f"data: {line}{newline}" for line in lines) + newline
        for name, lines in wanted
    )
    data = (BOM if bom else b"") + text.encode()
    events, reader = read_events([(0.0, data)])
    kept = [(name, "\n".join(lines)) for name, lines in wanted if lines]
    assert [(event.event, event.data) for event in events] == kept
    assert {fault.kind for fault in reader.faults} <= {"blank_event"}
    assert len(reader.faults) == min(100, len(wanted) - len(kept))


@given(st.lists(streams, max_size=10))
def test_times_are_those_of_the_last_byte(chunks: list[Any]) -> None:
    data = b"".join(chunks)
    events, _ = read_events(list(enumerate(chunks)))
    ends = [sum(map(len, chunks[: i + 1])) for i in range(len(chunks))]
    for event in events:
        if event.terminated:
            assert event.t == next(i for i, end in enumerate(ends) if end >= event.end)
    assert all(event.end == len(data) for event in events if not event.terminated)


def test_a_missing_last_blank_line() -> None:
    (event,), _ = read_events([(1.0, b"event: done\n"), (2.0, b"data: x")])
    assert (event.event, event.data, event.terminated, event.t, event.end) == ("done", "x", False, 2.0, 19)
    (event,), _ = read_events([(1.0, b"data: x\n")])
    assert not event.terminated


@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\r\n"])
def test_line_ends_and_fields(newline: bytes) -> None:
    data = newline.join([b"id: 7", b"retry: 100", b": note", b"data:a", b"data:  b", b"data", b"", b""])
    (event,), reader = read_events([(0.0, data)])
    assert (event.id, event.retry, event.data, reader.comments) == ("7", "100", "a\n b\n", 1)
    assert reader.faults == []


def test_empty_data_is_not_no_data() -> None:
    events, reader = read_events([(0.0, b"data:\n\nevent: lone\n\n\n\ndata: x\n\n")])
    assert [(event.data, event.has_data) for event in events] == [("", True), ("x", True)]
    assert [(fault.kind, fault.offset) for fault in reader.faults] == [("blank_event", 7)]


@pytest.mark.parametrize(
    ("line", "kind", "offset"),
    [
        (b"data: \xff", "utf8", 6),
        (b"retry: soon", "field", 0),
        (b"retry:", "field", 0),
        ("retry: ٣".encode(), "field", 0),
        (b"id: a\0b", "field", 0),
        (b"Data: x", "field", 0),
        (b" data: x", "field", 0),
        (BOM + b"data: y", "field", 0),
    ],
)
def test_faults(line: bytes, kind: str, offset: int) -> None:
    first = b"data: 1\n\n"
    _, reader = read_events([(0.0, first + line + b"\ndata: 2\n\n")])
    assert [(fault.kind, fault.offset) for fault in reader.faults] == [(kind, len(first) + offset)]
    assert reader.faults[0].detail


def test_an_offset_behind_the_byte_order_mark() -> None:
    _, reader = read_events([(0.0, BOM + b"data: \xff\n\n")])
    assert reader.faults[0].offset == 9


def test_faults_are_bounded() -> None:
    _, reader = read_events([(0.0, b"x\n" * 1000)])
    assert len(reader.faults) == 100


@pytest.mark.parametrize("size", [10, 11, 12])
def test_the_limit_counts_bytes_of_an_event(size: int) -> None:
    line = b"data:".ljust(size, b"x")
    events, reader = read_events([(0.0, line + b"\n\ndata: ok\n\n")], max_event=11)
    assert [event.data for event in events] == (["x" * (size - 5), "ok"] if size <= 11 else ["ok"])
    assert [fault.kind for fault in reader.faults] == ([] if size <= 11 else ["too_large"])


def test_an_endless_line_takes_no_memory() -> None:
    reader = SSEReader(max_event=1000)
    for _ in range(100):
        assert list(reader.feed(b"data: " + b"x" * 990)) == []
        assert len(reader._tail) <= 1000
    assert [event.data for event in reader.feed(b"\n\ndata: after\n\n")] == ["after"]
    assert [fault.kind for fault in reader.faults] == ["too_large"]


def test_feeding_consumes_without_iterating() -> None:
    reader = SSEReader()
    reader.feed(b"data: 1\n\n")
    assert [event.data for event in reader.feed(b"data: 2\n\n")] == ["2"]
    assert list(reader.close()) == []


def test_an_event_has_its_place_its_time_and_its_fields() -> None:
    reader = SSEReader()
    assert list(reader.feed(BOM + b"\r\n: note\r\nid: 7\r\nretry: 10\r\nevent: a\r\n", 1.0)) == []
    (event,) = reader.feed(b"data: x\r\ndata\r\n\r\n", 2.0)
    # It begins at its first field, 13 bytes in, and ends with the CR of the blank line.
    assert event == ServerEvent("a", "x\n", 13, 44, 2.0, id="7", retry="10", has_data=True, terminated=True)
    # Nothing is left for the next one.
    (event,) = reader.feed(b"data: y\n\n", 3.0)
    assert event == ServerEvent("", "y", 58, 9, 3.0, id=None, retry=None)
    assert list(reader.feed(b"event: b\n", 4.0)) == []
    (event,) = reader.close()
    assert event == ServerEvent("b", "", 67, 9, 4.0, has_data=False, terminated=False)
    assert (reader.comments, reader.faults) == (1, [])


def test_an_event_begins_at_its_first_field() -> None:
    (event,), _ = read_events([(0.0, b"event: a\ndata: x\n\n")])
    assert (event.start, event.end) == (0, 18)


def test_bytes_without_a_time_came_at_nought() -> None:
    (event,) = SSEReader().feed(b"data: x\n\n")
    assert event.t == 0.0
    (event,), _ = read_events([(0.5, b"data: x\n"), (1.5, b"\n"), (2.5, b"")])
    assert event.t == 1.5


@pytest.mark.parametrize(
    "chunks", [[b"data: 1\n\ndata: 2\n\nid: a\ndata: 3\n\n"], [b"data: 1\n\nda", b"ta: 2\n\nid: a\n", b"x"]]
)
def test_what_comes_after_the_last_event_that_is_read_is_left(chunks: list[bytes]) -> None:
    reader = SSEReader(max_events=2)
    found = [event for chunk in chunks for event in reader.feed(chunk)]
    assert [event.data for event in found] == ["1", "2"]
    assert reader.full
    assert reader.faults == [FramingFault("too_many", 18, "rejoinder stopped reading after 2 events")]
    assert list(reader.feed(b"data: 4\n\n")) == list(reader.close()) == []
    assert len(reader.faults) == 1


def test_a_reader_is_full_at_its_limit() -> None:
    reader = SSEReader(max_events=2)
    assert [event.data for event in reader.feed(b"data: 1\n\nevent: x\n\n")] == ["1"]
    # An event without data does not count, and an unterminated one ends it all the same.
    assert not reader.full
    list(reader.feed(b"data: 2"))
    assert [(event.data, event.terminated) for event in reader.close()] == [("2", False)]
    assert SSEReader().max_events == MAX_EVENTS
    assert SSEReader().max_event == MAX_EVENT == read_events([])[1].max_event


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"data: ab\xff\xfe\n\n", FramingFault("utf8", 8, "invalid UTF-8: invalid start byte")),
        (b"retry: soon\ndata\n\n", FramingFault("field", 0, "retry is not a number of milliseconds: 'soon'")),
        (b"retry: " + b"9" * 90 + b"x\ndata\n\n", FramingFault(
            "field", 0, f"retry is not a number of milliseconds: {'9' * 80!r}")),
        (b"data\nid: \0\n\n", FramingFault("field", 5, "an id with a NUL character, which readers ignore")),
        (b"data\nk: v\n\n", FramingFault("field", 5, "unknown field 'k', which readers ignore")),
        (
            b"data\n" + b"k" * 90 + b"\n\n",
            FramingFault("field", 5, f"unknown field {'k' * 80!r}, which readers ignore"),
        ),
        (b"\nevent: e\nid: 1\n\n", FramingFault("blank_event", 1, "an event without a data field, which readers drop")),
    ],
)  # fmt: skip
def test_a_fault_says_what_is_wrong_and_where(data: bytes, fault: FramingFault) -> None:
    assert read_events([(0.0, data)])[1].faults == [fault]


def test_broken_characters_are_replaced() -> None:
    (event,), _ = read_events([(0.0, b"data: a\xffb\n\n")])
    assert event.data == "a\ufffdb"


def test_the_rest_of_an_event_that_is_dropped_is_dropped_with_it() -> None:
    data = b"data: 1\n" + b"data: " + b"x" * 20 + b"\nid: 5\nevent: e\n\xff\ndata: 2\n\ndata: 3\n\n"
    events, reader = read_events([(0.0, data)], max_event=16)
    assert [(event.data, event.id, event.event, event.start) for event in events] == [("3", None, "", len(data) - 9)]
    # The fault is where the limit was passed, and the only one: what is dropped is not looked at.
    assert reader.faults == [FramingFault("too_large", 8, "rejoinder dropped an event of more than 16 bytes")]
    # An unterminated event that was dropped is none.
    assert read_events([(0.0, data[: data.index(b"\n\ndata: 3")])], max_event=16)[0] == []


def test_the_size_of_an_event_is_that_of_its_fields() -> None:
    # Comments and line ends do not count: 5 + 6 bytes of 11.
    events, reader = read_events([(0.0, b"data:\n: a long comment line\ndata: \n\n")], max_event=11)
    assert [event.data for event in events] == ["\n"]
    assert reader.faults == []


@pytest.mark.parametrize(("begun", "at"), [(b"", 0), (BOM, 3), (b"data: 1\n", 8), (BOM + b"data: 1\n", 11)])
def test_an_endless_line_is_dropped_before_it_ends(begun: bytes, at: int) -> None:
    reader = SSEReader(max_event=10)
    assert list(reader.feed(begun)) == []
    assert list(reader.feed(b"data: " + b"x" * 20)) == []
    assert reader.faults == [FramingFault("too_large", at, "rejoinder dropped an event of more than 10 bytes")]
    assert list(reader.feed(b"y" * 20)) == []
    assert [(event.data, event.start) for event in reader.feed(b"\ndata: 2\n\ndata: 3\n\n")] == [
        ("3", len(begun) + 46 + 10)
    ]
    assert (len(reader.faults), reader.comments) == (1, 0)


@pytest.mark.parametrize(("begun", "text"), [(b"", "2"), (BOM, "2"), (b"data: 1\n", "1\n2")])
def test_an_endless_comment_costs_no_event(begun: bytes, text: str) -> None:
    reader = SSEReader(max_event=15)
    assert list(reader.feed(begun)) == []
    assert list(reader.feed(b": " + b"x" * 20)) == []
    assert list(reader.feed(b"y" * 20)) == []
    assert [event.data for event in reader.feed(b"\ndata: 2\n\n")] == [text]
    assert (reader.faults, reader.comments) == ([], 1)


def test_a_line_that_is_cut_off_while_it_is_skipped_is_no_event() -> None:
    reader = SSEReader(max_event=10)
    assert list(reader.feed(b"data: " + b"x" * 20)) == list(reader.close()) == []
    assert [fault.kind for fault in reader.faults] == ["too_large"]
