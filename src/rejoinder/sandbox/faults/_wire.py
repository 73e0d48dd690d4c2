"""Faults of the wire: HTTP envelope, event-stream framing, event envelope, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from rejoinder.model.exchange import Headers
from rejoinder.sandbox.endpoint.reply import ApiError, Occasion, Piece, Reply
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    BACKGROUND,
    IN_PROGRESS,
    MULTI_BYTE,
    PART_ADDED,
    PART_DONE,
    PLAIN,
    STREAMED,
    TERMINAL,
    TEXT_DELTA,
    TEXT_DONE,
    Events,
    Fault,
    at_end,
    content_type,
    each,
    inserted,
    is_of,
    set_to,
    unset,
)


def _status(value: int) -> Callable[[int, Headers, Occasion], tuple[int, Headers]]:
    return lambda status, headers, o: (value if o.operation == "create" else status, headers)


def _refuse_string(body: Json, _: Occasion) -> Json:
    if isinstance(body["input"], str):
        raise ApiError(400, "input must be an array.", param="input", code="invalid_value")
    return body


def _refuse_list(body: Json, _: Occasion) -> Json:
    if isinstance(body["input"], list):
        raise ApiError(400, "input must be a string.", param="input", code="invalid_value")
    return body


def _wrap_string(body: Json, _: Occasion) -> Json:
    return {**body, "input": f"User: {body['input']}"} if isinstance(body["input"], str) else body


def _crash_on_images(body: Json, _: Occasion) -> Json:
    if '"input_image"' in json.dumps(body["input"]):
        raise ApiError(500, "Internal server error", code="server_error")
    return body


def _ignore_stream(body: Json, _: Occasion) -> Json:
    return {**body, "stream": False}


def _always_stream(body: Json, _: Occasion) -> Json:
    return {**body, "stream": True}


_HTTP = (
    Fault(
        id="json-as-text-plain",
        title="A plain reply is sent with the content type text/plain.",
        breaks=("HTTP-01",),
        head=content_type("text/plain; charset=utf-8", "application/json"),
    ),
    Fault(
        id="plain-answered-as-stream",
        title="A request without streaming is answered with an event stream.",
        breaks=("HTTP-01",),
        when=PLAIN,
        request=_always_stream,
    ),
    Fault(
        id="stream-as-text-plain",
        title="A stream is sent with the content type text/plain.",
        breaks=("HTTP-02",),
        head=content_type("text/plain; charset=utf-8", "text/event-stream"),
    ),
    Fault(
        id="stream-answered-as-json",
        title="stream is ignored and the answer comes as one JSON object.",
        breaks=("HTTP-02",),
        when=STREAMED,
        request=_ignore_stream,
    ),
    Fault(
        id="create-answers-201",
        title="A created response is answered with status 201.",
        breaks=("HTTP-03",),
        head=_status(201),
    ),
    Fault(
        id="background-answers-202",
        title="Work taken to the background is answered with status 202.",
        breaks=("HTTP-03",),
        when=BACKGROUND,
        head=_status(202),
    ),
    Fault(
        id="string-input-refused",
        title="Input that is a plain string is refused.",
        breaks=("HTTP-04",),
        request=_refuse_string,
    ),
    Fault(
        id="list-input-refused",
        title="Input that is a list of items is refused.",
        breaks=("HTTP-04",),
        request=_refuse_list,
    ),
    Fault(
        id="string-input-wrapped",
        title="Input that is a plain string is put into a template that a user message does not get.",
        breaks=("HTTP-04",),
        request=_wrap_string,
    ),
    Fault(
        id="image-input-crashes",
        title="A request with an image is answered with a server error.",
        breaks=("HTTP-03",),
        request=_crash_on_images,
    ),
    Fault(
        id="output-missing",
        title="A finished response lacks its output.",
        breaks=("HTTP-05", "RSP-05"),
        response=at_end(unset("output")),
    ),
    Fault(
        id="output-null",
        title="The output of a finished response is null.",
        breaks=("HTTP-05", "RSP-05"),
        response=at_end(set_to("output", None)),
    ),
)


# Event-stream framing


def _latin_1(data: bytes, _: Json, __: Occasion) -> bytes:
    return data.decode().encode("latin-1", "replace")


def _unquoted(data: bytes, event: Json, _: Occasion) -> bytes:
    """Print the event as a Python literal instead of JSON, in the in_progress event only."""
    if not is_of(event, IN_PROGRESS):
        return data
    return b"event: %b\ndata: %b\n\n" % (IN_PROGRESS.encode(), repr(event).encode("ascii", "backslashreplace"))


def _no_event_name(data: bytes, _: Json, __: Occasion) -> bytes:
    return re.sub(rb"\Aevent: [^\n]*\n", b"", data)


def _message_name(data: bytes, _: Json, __: Occasion) -> bytes:
    return re.sub(rb"\Aevent: [^\n]*", b"event: message", data)


def _delta_name(data: bytes, event: Json, _: Occasion) -> bytes:
    """Keep the event name of the delta on the typed done event."""
    if not is_of(event, TEXT_DONE):
        return data
    return re.sub(rb"\Aevent: [^\n]*", b"event: " + TEXT_DELTA.encode(), data)


def _id_field(data: bytes, event: Json, _: Occasion) -> bytes:
    return b"id: %d\n%b" % (event.get("sequence_number", 0), data)


def _joined_events(data: bytes, event: Json, _: Occasion) -> bytes:
    """Leave out the blank line after the in_progress event."""
    return data[:-1] if is_of(event, IN_PROGRESS) else data


def _bare_line(data: bytes, event: Json, _: Occasion) -> bytes:
    """Put JSON on a line without field name before the in_progress event."""
    return b'{"status":"working"}\n' + data if is_of(event, IN_PROGRESS) else data


def _chopped_tail(pieces: list[Piece], _: Occasion) -> list[Piece]:
    if pieces and pieces[-1].data.endswith(b"\n\n"):
        pieces[-1] = pieces[-1]._replace(data=pieces[-1].data[:-1])
    return pieces


def _not_a_number(data: bytes, event: Json, _: Occasion) -> bytes:
    if not is_of(event, IN_PROGRESS):
        return data
    return data.replace(b"}\n\n", b',"elapsed":NaN}\n\n')


def _half_characters(events: Events, _: Occasion) -> Events:
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


def _null_data(pieces: list[Piece], _: Occasion) -> list[Piece]:
    """Send an event whose data is null before the second event."""
    return [*pieces[:1], Piece(0.0, b"data: null\n\n"), *pieces[1:]] if len(pieces) > 1 else pieces


def _sentinels(n: int, place: int | None = None) -> Callable[[list[Piece], Occasion], list[Piece]]:
    """Return a hook that makes ``n`` sentinels of whatever was there, at the end or at a place among the events."""

    def hook(pieces: list[Piece], occasion: Occasion) -> list[Piece]:
        if not occasion.streamed:
            return pieces
        sentinel = Piece(0.0, b"data: [DONE]\n\n")
        events = [piece for piece in pieces if piece.data != sentinel.data]
        at = len(events) if place is None else len(events) + place
        return [*events[:at], *[sentinel] * n, *events[at:]]

    return hook


def _split_line(data: bytes, event: Json, _: Occasion) -> bytes:
    """Break the data of the in_progress event inside a string and send it as two data lines."""
    if not is_of(event, IN_PROGRESS):
        return data
    return data.replace(b'"object":"resp', b'"object":"re\ndata: sp')


def _pretty_printed(data: bytes, event: Json, _: Occasion) -> bytes:
    """Print the JSON of the in_progress event over several lines of which only the first is a data line."""
    if not is_of(event, IN_PROGRESS):
        return data
    return b"event: %b\ndata: %b\n\n" % (IN_PROGRESS.encode(), json.dumps(event, indent=2).encode())


def _held(reply: Reply, occasion: Occasion, seconds: float) -> Reply:
    return replace(reply, hold=seconds) if occasion.streamed else reply


_SSE = (
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
        ending=_held,
    ),
    Fault(
        id="string-split-over-data-lines",
        title="The data of response.in_progress is broken into two data lines inside a string.",
        breaks=("SSE-11", "SSE-02"),
        frame=_split_line,
    ),
    Fault(
        id="data-prefix-on-first-line-only",
        title="The data of response.in_progress is printed over several lines, and only the first is a data line.",
        breaks=("SSE-01", "SSE-02"),
        frame=_pretty_printed,
    ),
)


# Event envelope


def _renumbered(number: Callable[[int, Json], Any]) -> Callable[[Events, Occasion], Events]:
    """Return a hook that gives every event another sequence number, made from its place and itself."""

    def hook(events: Events, _: Occasion) -> Events:
        for place, event in enumerate(events):
            event["sequence_number"] = number(place, event)
        return events

    return hook


def _swapped_numbers(events: Events, _: Occasion) -> Events:
    if len(events) > 3:
        second, third = events[1], events[2]
        second["sequence_number"], third["sequence_number"] = third["sequence_number"], second["sequence_number"]
    return events


def _unnumbered_extension(events: Events, _: Occasion) -> Events:
    return [*events[:2], {"type": "sandbox:tick"}, *events[2:]]


def _extension_for_text(events: Events, _: Occasion) -> Events:
    """Send the last text delta as an extension event."""
    for event in reversed(events):
        if is_of(event, TEXT_DELTA):
            event["type"] = "sandbox:output_text.delta"
            break
    return events


def _less(event: Json, field: str) -> Json:
    return {key: value for key, value in event.items() if key != field}


def _no_type(events: Events, _: Occasion) -> Events:
    for event in events:
        if is_of(event, IN_PROGRESS):
            del event["type"]
    return events


_EVT = (
    Fault(
        id="type-missing",
        title="The data of response.in_progress has no type.",
        breaks=("EVT-01",),
        numbered=_no_type,
        frame=lambda data, event, _: data if "type" in event else data.replace(b"None", IN_PROGRESS.encode(), 1),
    ),
    Fault(
        id="sequence-numbers-missing",
        title="No event has a sequence_number.",
        breaks=("EVT-02",),
        numbered=lambda events, _: [_less(event, "sequence_number") for event in events],
    ),
    Fault(
        id="sequence-number-missing-at-end",
        title="The terminal event has no sequence_number.",
        breaks=("EVT-02",),
        numbered=each(*TERMINAL, do=unset("sequence_number")),
    ),
    Fault(
        id="sequence-numbers-are-strings",
        title="The sequence numbers are strings of digits.",
        breaks=("EVT-02",),
        numbered=_renumbered(lambda place, event: str(event["sequence_number"])),
    ),
    Fault(
        id="sequence-numbers-constant",
        title="Every event has the sequence_number 0.",
        breaks=("EVT-03",),
        numbered=_renumbered(lambda place, event: 0),
    ),
    Fault(
        id="sequence-numbers-swapped",
        title="The second and third event have each other's sequence_number.",
        breaks=("EVT-03",),
        numbered=_swapped_numbers,
    ),
    Fault(
        id="sequence-numbers-skip",
        title="The sequence numbers leave a gap after the second event.",
        breaks=("EVT-04",),
        numbered=_renumbered(lambda place, event: event["sequence_number"] + (place > 1)),
    ),
    Fault(
        id="sequence-numbers-start-at-one",
        title="The first sequence_number is one more than the dialect's examples show.",
        breaks=("EVT-05",),
        numbered=_renumbered(lambda place, event: event["sequence_number"] + 1),
    ),
    Fault(
        id="sequence-number-negative",
        title="The first sequence_number is -1.",
        breaks=("EVT-06",),
        numbered=_renumbered(lambda place, event: place - 1),
    ),
    Fault(
        id="unknown-event-type",
        title="A keepalive event of no known type stands in the stream.",
        breaks=("EVT-07",),
        events=inserted({"type": "keepalive"}, after=IN_PROGRESS),
    ),
    Fault(
        id="unknown-response-event",
        title="An event response.output_text.progress, which the contract does not know, stands in the stream.",
        breaks=("EVT-07",),
        events=inserted({"type": "response.output_text.progress", "percent": 50}, after=IN_PROGRESS),
    ),
    Fault(
        id="extension-event-not-numbered",
        title="An extension event has no sequence_number.",
        breaks=("EVT-08",),
        numbered=_unnumbered_extension,
    ),
    Fault(
        id="extension-event-carries-text",
        title="The last piece of a text comes in an extension event that clients skip.",
        breaks=("EVT-09",),
        events=_extension_for_text,
    ),
    Fault(
        id="item-id-missing-on-deltas",
        title="Text deltas have no item_id.",
        breaks=("EVT-10",),
        events=each(TEXT_DELTA, do=unset("item_id")),
    ),
    Fault(
        id="indexes-missing-on-deltas",
        title="Text deltas have neither output_index nor content_index.",
        breaks=("EVT-10",),
        events=each(TEXT_DELTA, do=unset("output_index", "content_index")),
    ),
    Fault(
        id="output-index-is-string",
        title="The output_index of content parts is a string.",
        breaks=("EVT-10",),
        events=each(PART_ADDED, PART_DONE, do=lambda e: e.__setitem__("output_index", str(e["output_index"]))),
    ),
    Fault(
        id="obfuscation-on-done",
        title="The padding field obfuscation is on the event that closes a text.",
        breaks=("EVT-11",),
        events=each(TEXT_DONE, do=set_to("obfuscation", "xxxxxxxx")),
    ),
)


# Refusals


def _reshaped(change: Callable[[Json], Any]) -> Callable[[int, Any, Occasion], tuple[int, Any]]:
    """Return a hook that replaces the body of every refusal by what is made of its error object."""
    return lambda status, body, _: (status, change(body["error"]) if isinstance(body, dict) else body)


_ERR = (
    Fault(
        id="error-as-detail",
        title="A refusal's body is an object with the message in detail.",
        breaks=("ERR-01",),
        error=_reshaped(lambda error: {"detail": error["message"]}),
    ),
    Fault(
        id="error-as-text",
        title="A refusal's body is plain text.",
        breaks=("ERR-01",),
        error=_reshaped(lambda error: error["message"].encode()),
    ),
    Fault(
        id="error-without-param",
        title="The error of a refusal has no param.",
        breaks=("ERR-01",),
        error=_reshaped(lambda error: {"error": _less(error, "param")}),
    ),
    Fault(
        id="error-code-is-number",
        title="The code of an error is the HTTP status as a number.",
        breaks=("ERR-02",),
        error=lambda status, body, _: (status, {"error": {**body["error"], "code": status}}),
    ),
    Fault(
        id="error-message-empty",
        title="The message of an error is empty.",
        breaks=("ERR-02",),
        error=_reshaped(lambda error: {"error": {**error, "message": ""}}),
    ),
)

FAULTS: Final = (*_HTTP, *_SSE, *_EVT, *_ERR)
