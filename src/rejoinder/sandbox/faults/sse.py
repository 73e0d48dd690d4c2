"""Faults of event-stream framing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from rejoinder.sandbox.endpoint.reply import Piece, Reply, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    IN_PROGRESS,
    MULTI_BYTE,
    STREAMED,
    TEXT_DELTA,
    TEXT_DONE,
    Events,
    Fault,
    FaultList,
    is_of,
)


def _sentinels(n: int, place: int | None = None) -> Callable[[list[Piece], RequestInfo], list[Piece]]:
    """Return a hook that sends ``n`` sentinels in place of the existing ones, at the end or among the events."""

    def hook(pieces: list[Piece], info: RequestInfo) -> list[Piece]:
        if not info.streamed:
            return pieces
        sentinel = Piece(0.0, b"data: [DONE]\n\n")
        events = [piece for piece in pieces if piece.data != sentinel.data]
        at = len(events) if place is None else len(events) + place
        return [*events[:at], *[sentinel] * n, *events[at:]]

    return hook


FAULTS: Final = FaultList(
    Fault(
        id="sentinel-missing",
        title="The stream has no [DONE].",
        breaks=("SSE-08",),
        dialects=("openresponses",),
        body=_sentinels(0),
    ),
    Fault(
        id="sentinel-sent",
        title="The stream ends with [DONE], which clients of the dialect cannot parse.",
        breaks=("SSE-08",),
        dialects=("northstar",),
        body=_sentinels(1),
    ),
    Fault(id="sentinel-twice", title="The stream ends with two [DONE].", breaks=("SSE-09",), body=_sentinels(2)),
    Fault(
        id="sentinel-before-terminal",
        title="[DONE] comes before the terminal event.",
        breaks=("SSE-09",),
        body=_sentinels(1, place=-1),
    ),
)


@FAULTS.add("text-in-latin-1", "SSE-01", hook="frame", when=MULTI_BYTE)
def _latin_1(data: bytes, _: Json, __: RequestInfo) -> bytes:
    """Events are encoded as Latin-1 instead of UTF-8."""
    return data.decode().encode("latin-1", "replace")


@FAULTS.add("bare-line-in-stream", "SSE-01", hook="frame")
def _bare_line(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """The stream has a line of JSON without the field name data."""
    return b'{"status":"working"}\n' + data if is_of(event, IN_PROGRESS) else data


@FAULTS.add("data-prefix-on-first-line-only", "SSE-01", "SSE-02", hook="frame")
def _pretty_printed(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """The data of response.in_progress spans several lines, but only the first has the field name data."""
    if not is_of(event, IN_PROGRESS):
        return data
    return b"event: %b\ndata: %b\n\n" % (IN_PROGRESS.encode(), json.dumps(event, indent=2).encode())


@FAULTS.add("blank-line-missing", "SSE-02", hook="frame")
def _joined_events(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """No blank line separates response.in_progress from the next event, so the two become one."""
    return data[:-1] if is_of(event, IN_PROGRESS) else data


@FAULTS.add("data-not-json", "SSE-02", hook="frame")
def _unquoted(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """The data of response.in_progress is a Python literal instead of JSON."""
    if not is_of(event, IN_PROGRESS):
        return data
    return b"event: %b\ndata: %b\n\n" % (IN_PROGRESS.encode(), repr(event).encode("ascii", "backslashreplace"))


@FAULTS.add("event-names-missing", "SSE-03", hook="frame")
def _no_event_name(data: bytes, _: Json, __: RequestInfo) -> bytes:
    """Events have no event field."""
    return re.sub(rb"\Aevent: [^\n]*\n", b"", data)


@FAULTS.add("event-names-all-message", "SSE-03", hook="frame")
def _message_name(data: bytes, _: Json, __: RequestInfo) -> bytes:
    """The event field of every event is message."""
    return re.sub(rb"\Aevent: [^\n]*", b"event: message", data)


@FAULTS.add("event-name-stale", "SSE-03", hook="frame")
def _delta_name(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """response.output_text.done has the event field of the deltas before it."""
    if not is_of(event, TEXT_DONE):
        return data
    return re.sub(rb"\Aevent: [^\n]*", b"event: " + TEXT_DELTA.encode(), data)


@FAULTS.add("event-ids-sent", "SSE-04", hook="frame")
def _id_field(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """Every event has an id field."""
    return b"id: %d\n%b" % (event.get("sequence_number", 0), data)


@FAULTS.add("last-blank-line-missing", "SSE-05", hook="body", when=STREAMED)
def _chopped_tail(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    """The stream has no blank line after its last event."""
    if pieces and pieces[-1].data.endswith(b"\n\n"):
        pieces[-1] = pieces[-1]._replace(data=pieces[-1].data[:-1])
    return pieces


@FAULTS.add("nan-in-event", "SSE-07", hook="frame")
def _not_a_number(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """response.in_progress has a field with the value NaN."""
    if not is_of(event, IN_PROGRESS):
        return data
    return data.replace(b"}\n\n", b',"elapsed":NaN}\n\n')


@FAULTS.add("surrogates-split", "SSE-07", hook="events", when=MULTI_BYTE)
def _half_characters(events: Events, _: RequestInfo) -> Events:
    """A character beyond the BMP is split into two deltas, with half a surrogate pair in each."""
    sent: Events = []
    for event in events:
        pieces = re.split(r"([\U00010000-\U0010ffff])", event["delta"]) if is_of(event, TEXT_DELTA) else []
        if len(pieces) < 2:
            sent.append(event)
            continue
        for piece in filter(None, pieces):
            units = piece.encode("utf-16-be", "surrogatepass") if ord(piece[0]) > 0xFFFF else b""
            halves = [units[:2].decode("utf-16-be", "surrogatepass"), units[2:].decode("utf-16-be", "surrogatepass")]
            sent.extend({**event, "delta": half} for half in (halves if units else [piece]))
    return sent


@FAULTS.add("null-event", "SSE-07", hook="body", when=STREAMED)
def _null_data(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    """The stream has an event whose data is null."""
    return [*pieces[:1], Piece(0.0, b"data: null\n\n"), *pieces[1:]] if len(pieces) > 1 else pieces


@FAULTS.add("connection-held-open", "SSE-10", hook="on_end")
def _held(reply: Reply, info: RequestInfo, seconds: float) -> Reply:
    """The connection stays open after the last event."""
    return replace(reply, hold=seconds) if info.streamed else reply


@FAULTS.add("string-split-over-data-lines", "SSE-11", "SSE-02", hook="frame")
def _split_line(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """The data of response.in_progress is split into two data lines inside a string."""
    if not is_of(event, IN_PROGRESS):
        return data
    return data.replace(b'"object":"resp', b'"object":"re\ndata: sp')
