"""The event-stream reader against the standard's algorithm, under every split, and within its bounds."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rejoinder.wire.sse import SSEReader, read_events

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


def observe(chunks, max_event=1 << 20):
    """Return everything that a reader tells of the bytes but the times."""
    events, reader = read_events(((0.0, chunk) for chunk in chunks), max_event)
    return events, reader.faults, reader.comments


def cut(data, places):
    """Return the data in chunks that end at the given places (taken modulo its length)."""
    stops = sorted({place % (len(data) + 1) for place in places})
    return [data[start:stop] for start, stop in zip([0, *stops], [*stops, len(data)], strict=True)]


def reference(data):
    """Interpret a stream as the HTML standard says, lines first; the unterminated last event is kept and marked."""
    text = data.decode("utf-8", "replace")
    if data.startswith(BOM):
        text = text[1:]
    lines = re.split("\r\n|\n|\r", text)
    last = lines.pop()
    events, comments = [], 0
    event, ident, payload, begun = "", None, [], False
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
def test_any_split_gives_the_same(data, places):
    whole = observe([data])
    assert observe(cut(data, places)) == whole
    assert observe([data[i : i + 1] for i in range(len(data))]) == whole


@settings(max_examples=500)
@given(streams, st.lists(st.integers(0, 200)), st.integers(1, 24))
@example(BOM + b": note\n", [], 1)
@example(BOM + b"data: 1\n", [], 2)
@example(BOM + b"\n\n", [], 3)
@example(b"data: 1\ndata: 22\r", [], 8)
def test_any_split_gives_the_same_within_tiny_bounds(data, places, max_event):
    whole = observe([data], max_event)
    assert observe(cut(data, places), max_event) == whole
    assert observe([data[i : i + 1] for i in range(len(data))], max_event) == whole


@settings(max_examples=500)
@given(streams)
@example(b"id: 7\0\ndata: x\n\n")
@example(BOM + b"data: x\r\n\r")
def test_agrees_with_the_standard(data):
    events, reader = read_events([(0.0, data)])
    found = [(event.event, event.id, event.data, event.terminated) for event in events]
    assert (found, reader.comments) == reference(data)


@given(streams)
def test_offsets_are_where_the_events_stand(data):
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
def test_what_is_written_is_read(wanted, newline, bom):
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
def test_times_are_those_of_the_last_byte(chunks):
    data = b"".join(chunks)
    events, _ = read_events(list(enumerate(chunks)))
    ends = [sum(map(len, chunks[: i + 1])) for i in range(len(chunks))]
    for event in events:
        if event.terminated:
            assert event.t == next(i for i, end in enumerate(ends) if end >= event.end)
    assert all(event.end == len(data) for event in events if not event.terminated)


def test_a_missing_last_blank_line():
    (event,), _ = read_events([(1.0, b"event: done\n"), (2.0, b"data: x")])
    assert (event.event, event.data, event.terminated, event.t, event.end) == ("done", "x", False, 2.0, 19)
    (event,), _ = read_events([(1.0, b"data: x\n")])
    assert not event.terminated


@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\r\n"])
def test_line_ends_and_fields(newline):
    data = newline.join([b"id: 7", b"retry: 100", b": note", b"data:a", b"data:  b", b"data", b"", b""])
    (event,), reader = read_events([(0.0, data)])
    assert (event.id, event.retry, event.data, reader.comments) == ("7", "100", "a\n b\n", 1)
    assert reader.faults == []


def test_empty_data_is_not_no_data():
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
def test_faults(line, kind, offset):
    first = b"data: 1\n\n"
    _, reader = read_events([(0.0, first + line + b"\ndata: 2\n\n")])
    assert [(fault.kind, fault.offset) for fault in reader.faults] == [(kind, len(first) + offset)]
    assert reader.faults[0].detail


def test_an_offset_behind_the_byte_order_mark():
    _, reader = read_events([(0.0, BOM + b"data: \xff\n\n")])
    assert reader.faults[0].offset == 9


def test_faults_are_bounded():
    _, reader = read_events([(0.0, b"x\n" * 1000)])
    assert len(reader.faults) == 100


@pytest.mark.parametrize("size", [10, 11, 12])
def test_the_limit_counts_bytes_of_an_event(size):
    line = b"data:".ljust(size, b"x")
    events, reader = read_events([(0.0, line + b"\n\ndata: ok\n\n")], max_event=11)
    assert [event.data for event in events] == (["x" * (size - 5), "ok"] if size <= 11 else ["ok"])
    assert [fault.kind for fault in reader.faults] == ([] if size <= 11 else ["too_large"])


def test_an_endless_line_takes_no_memory():
    reader = SSEReader(max_event=1000)
    for _ in range(100):
        assert list(reader.feed(b"data: " + b"x" * 990)) == []
        assert len(reader._tail) <= 1000
    assert [event.data for event in reader.feed(b"\n\ndata: after\n\n")] == ["after"]
    assert [fault.kind for fault in reader.faults] == ["too_large"]


def test_feeding_consumes_without_iterating():
    reader = SSEReader()
    reader.feed(b"data: 1\n\n")
    assert [event.data for event in reader.feed(b"data: 2\n\n")] == ["2"]
    assert list(reader.close()) == []
