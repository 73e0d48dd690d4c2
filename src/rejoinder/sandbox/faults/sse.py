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
    is_of,
)


def _latin_1(data: bytes, _: Json, __: RequestInfo) -> bytes:
    return data.decode().encode("latin-1", "replace")


def _unquoted(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """Print the event as a Python literal instead of JSON, in the in_progress event only."""
    if not is_of(event, IN_PROGRESS):
        return data
    return b"event: %b\ndata: %b\n\n" % (IN_PROGRESS.encode(), repr(event).encode("ascii", "backslashreplace"))


def _no_event_name(data: bytes, _: Json, __: RequestInfo) -> bytes:
    return re.sub(rb"\Aevent: [^\n]*\n", b"", data)


def _message_name(data: bytes, _: Json, __: RequestInfo) -> bytes:
    return re.sub(rb"\Aevent: [^\n]*", b"event: message", data)


def _delta_name(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """Keep the event name of the delta on the typed done event."""
    if not is_of(event, TEXT_DONE):
        return data
    return re.sub(rb"\Aevent: [^\n]*", b"event: " + TEXT_DELTA.encode(), data)


def _id_field(data: bytes, event: Json, _: RequestInfo) -> bytes:
    return b"id: %d\n%b" % (event.get("sequence_number", 0), data)


def _joined_events(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """Leave out the blank line after the in_progress event."""
    return data[:-1] if is_of(event, IN_PROGRESS) else data


def _bare_line(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """Put JSON on a line without field name before the in_progress event."""
    return b'{"status":"working"}\n' + data if is_of(event, IN_PROGRESS) else data


def _chopped_tail(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    if pieces and pieces[-1].data.endswith(b"\n\n"):
        pieces[-1] = pieces[-1]._replace(data=pieces[-1].data[:-1])
    return pieces


def _not_a_number(data: bytes, event: Json, _: RequestInfo) -> bytes:
    if not is_of(event, IN_PROGRESS):
        return data
    return data.replace(b"}\n\n", b',"elapsed":NaN}\n\n')


def _half_characters(events: Events, _: RequestInfo) -> Events:
    """Send every character beyond the BMP as two deltas of half a surrogate pair each."""
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


def _null_data(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    """Send an event whose data is null before the second event."""
    return [*pieces[:1], Piece(0.0, b"data: null\n\n"), *pieces[1:]] if len(pieces) > 1 else pieces


def _sentinels(n: int, place: int | None = None) -> Callable[[list[Piece], RequestInfo], list[Piece]]:
    """Return a hook that makes ``n`` sentinels of whatever was there, at the end or at a place among the events."""

    def hook(pieces: list[Piece], info: RequestInfo) -> list[Piece]:
        if not info.streamed:
            return pieces
        sentinel = Piece(0.0, b"data: [DONE]\n\n")
        events = [piece for piece in pieces if piece.data != sentinel.data]
        at = len(events) if place is None else len(events) + place
        return [*events[:at], *[sentinel] * n, *events[at:]]

    return hook


def _split_line(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """Break the data of the in_progress event inside a string and send it as two data lines."""
    if not is_of(event, IN_PROGRESS):
        return data
    return data.replace(b'"object":"resp', b'"object":"re\ndata: sp')


def _pretty_printed(data: bytes, event: Json, _: RequestInfo) -> bytes:
    """Print the JSON of the in_progress event over several lines of which only the first is a data line."""
    if not is_of(event, IN_PROGRESS):
        return data
    return b"event: %b\ndata: %b\n\n" % (IN_PROGRESS.encode(), json.dumps(event, indent=2).encode())


def _held(reply: Reply, info: RequestInfo, seconds: float) -> Reply:
    return replace(reply, hold=seconds) if info.streamed else reply


FAULTS: Final = (
    Fault(
        id="text-in-latin-1",
        title="Events are sent in Latin-1 instead of UTF-8.",
        breaks=("SSE-01",),
        when=MULTI_BYTE,
        frame=_latin_1,
    ),
    Fault(
        id="bare-line-in-stream",
        title="A line of JSON without the field name data stands in the stream.",
        breaks=("SSE-01",),
        frame=_bare_line,
    ),
    Fault(
        id="data-prefix-on-first-line-only",
        title="The data of response.in_progress is printed over several lines, and only the first is a data line.",
        breaks=("SSE-01", "SSE-02"),
        frame=_pretty_printed,
    ),
    Fault(
        id="blank-line-missing",
        title="No blank line separates response.in_progress from the event after it, so that the two become one.",
        breaks=("SSE-02",),
        frame=_joined_events,
    ),
    Fault(
        id="data-not-json",
        title="The data of response.in_progress is a Python literal instead of JSON.",
        breaks=("SSE-02",),
        frame=_unquoted,
    ),
    Fault(
        id="event-names-missing",
        title="Events have no event field.",
        breaks=("SSE-03",),
        frame=_no_event_name,
    ),
    Fault(
        id="event-names-all-message",
        title="Every event is named message.",
        breaks=("SSE-03",),
        frame=_message_name,
    ),
    Fault(
        id="event-name-stale",
        title="The event that closes a text keeps the event name of the deltas before it.",
        breaks=("SSE-03",),
        frame=_delta_name,
    ),
    Fault(
        id="event-ids-sent",
        title="Every event has an id field.",
        breaks=("SSE-04",),
        frame=_id_field,
    ),
    Fault(
        id="last-blank-line-missing",
        title="The stream ends without the blank line after its last event.",
        breaks=("SSE-05",),
        when=STREAMED,
        body=_chopped_tail,
    ),
    Fault(
        id="nan-in-event",
        title="response.in_progress carries a field whose value is NaN.",
        breaks=("SSE-07",),
        frame=_not_a_number,
    ),
    Fault(
        id="surrogates-split",
        title="A character beyond the BMP comes as two deltas, half a surrogate pair in each.",
        breaks=("SSE-07",),
        when=MULTI_BYTE,
        events=_half_characters,
    ),
    Fault(
        id="null-event",
        title="The stream holds an event whose data is null.",
        breaks=("SSE-07",),
        when=STREAMED,
        body=_null_data,
    ),
    Fault(
        id="sentinel-missing",
        title="The stream ends without [DONE].",
        breaks=("SSE-08",),
        dialects=("openresponses",),
        body=_sentinels(0),
    ),
    Fault(
        id="sentinel-sent",
        title="The stream ends with [DONE], which clients of the dialect cannot read.",
        breaks=("SSE-08",),
        dialects=("northstar", "openai"),
        body=_sentinels(1),
    ),
    Fault(
        id="sentinel-twice",
        title="The stream ends with two [DONE].",
        breaks=("SSE-09",),
        body=_sentinels(2),
    ),
    Fault(
        id="sentinel-before-terminal",
        title="[DONE] comes before the terminal event.",
        breaks=("SSE-09",),
        body=_sentinels(1, place=-1),
    ),
    Fault(
        id="connection-held-open",
        title="The connection stays open after the last event.",
        breaks=("SSE-10",),
        on_end=_held,
    ),
    Fault(
        id="string-split-over-data-lines",
        title="The data of response.in_progress is broken into two data lines inside a string.",
        breaks=("SSE-11", "SSE-02"),
        frame=_split_line,
    ),
)
