"""Faults: each breaks one thing and leaves the rest of the reply in order.

A fault hooks in where the defect that it imitates arises: on the parsed request, on every response object, on the
stream's events before or after they are numbered, on the bytes of an event or of the whole body, on status and headers,
on the body of a refusal, or on the connection. Hooks may change what they are given; they get copies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from rejoinder.exchange import Headers
from rejoinder.sandbox._reply import ApiError, Occasion, Piece, Reply
from rejoinder.sandbox._text import Json

Events = list[Json]


@dataclass(frozen=True, slots=True)
class Condition:
    """When a fault shows: in words, and as a test of the request."""

    words: str
    test: Callable[[Occasion], bool]

    def __call__(self, occasion: Occasion) -> bool:
        """Return whether the fault shows on this occasion."""
        return self.test(occasion)


def every(n: int) -> Condition:
    """Return the condition that holds for every n-th create request."""
    return Condition(f"every {n}th create request", lambda o: o.number % n == 0)


def _beyond_ascii(value: Any) -> bool:
    return not json.dumps(value, ensure_ascii=False).isascii()


ALWAYS: Final = Condition("", lambda _: True)
STREAMED: Final = Condition("only streamed", lambda o: o.streamed)
PLAIN: Final = Condition("only not streamed", lambda o: not o.streamed)
MULTI_BYTE: Final = Condition(
    "only when the input is more than ASCII", lambda o: _beyond_ascii([o.body.get("input"), o.body.get("instructions")])
)
BACKGROUND: Final = Condition("only in the background", lambda o: o.body.get("background") is True)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One defect of the sandbox.

    ``breaks`` names the rules that are surely broken where the fault shows; ``title`` says in one sentence what it
    does; ``dialects`` the dialects in which that is a defect (all when empty). ``fails`` makes the run break down in
    the middle, for defects in how a failure is told. The other fields are the hooks, in the order in which they are
    called:

    - ``request`` gets the valid body of a create request and returns the one to answer, or refuses it;
    - ``response`` changes a response object; its second argument is the event type, or ``plain`` for a plain body;
    - ``events`` gets all events before they are numbered, ``numbered`` after, and returns the ones to send;
    - ``frame`` gets the bytes of one event and the event, ``body`` all timed pieces of a body;
    - ``head`` gets status and headers of a success; ``error`` status and body of a refusal (bytes are sent as they
      are);
    - ``ending`` gets the reply and the seconds to hold a connection open.
    """

    id: str
    title: str
    breaks: tuple[str, ...]
    when: Condition = ALWAYS
    dialects: tuple[str, ...] = ()
    fails: bool = False
    request: Callable[[Json, Occasion], Json] | None = None
    response: Callable[[Json, str, Occasion], None] | None = None
    events: Callable[[Events, Occasion], Events] | None = None
    numbered: Callable[[Events, Occasion], Events] | None = None
    frame: Callable[[bytes, Json, Occasion], bytes] | None = None
    body: Callable[[list[Piece], Occasion], list[Piece]] | None = None
    head: Callable[[int, Headers, Occasion], tuple[int, Headers]] | None = None
    error: Callable[[int, Any, Occasion], tuple[int, Any]] | None = None
    ending: Callable[[Reply, Occasion, float], Reply] | None = None

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the hooks that the fault uses."""
        hooks = ("request", "response", "events", "numbered", "frame", "body", "head", "error", "ending")
        return tuple(hook for hook in hooks if getattr(self, hook) is not None)

    @property
    def condition(self) -> str:
        """When the fault shows, in words; empty for always."""
        return self.when.words


_CREATED, _IN_PROGRESS, _QUEUED = "response.created", "response.in_progress", "response.queued"
_ITEM_ADDED, _ITEM_DONE = "response.output_item.added", "response.output_item.done"
_PART_ADDED, _PART_DONE = "response.content_part.added", "response.content_part.done"
_TEXT_DELTA, _TEXT_DONE = "response.output_text.delta", "response.output_text.done"
_CALL_DELTA, _CALL_DONE = "response.function_call_arguments.delta", "response.function_call_arguments.done"
_SUMMARY = "response.reasoning_summary"
_ANNOTATION = "response.output_text.annotation.added"
_TERMINAL = ("response.completed", "response.incomplete", "response.failed")
_FINAL = (*_TERMINAL, "plain")


# Tools to write faults with


def _is(event: Json, *kinds: str) -> bool:
    return event.get("type") in kinds


def _final(events: Events) -> Json:
    """Return the response of the terminal event; an empty object when there is none."""
    found: Any = next((event["response"] for event in reversed(events) if _is(event, *_TERMINAL)), {})
    return found if isinstance(found, dict) else {}


def _ended(response: Json) -> bool:
    return response.get("status") in ("completed", "incomplete", "failed")


def _each(*kinds: str, do: Callable[[Json], None]) -> Callable[[Events, Occasion], Events]:
    """Return a hook that changes every event of these types."""

    def hook(events: Events, _: Occasion) -> Events:
        for event in events:
            if _is(event, *kinds):
                do(event)
        return events

    return hook


def _first(*kinds: str, do: Callable[[Json], None]) -> Callable[[Events, Occasion], Events]:
    """Return a hook that changes the first event of these types."""

    def hook(events: Events, _: Occasion) -> Events:
        for event in events:
            if _is(event, *kinds):
                do(event)
                break
        return events

    return hook


def _without(*kinds: str) -> Callable[[Events, Occasion], Events]:
    """Return a hook that leaves out all events of these types."""
    return lambda events, _: [event for event in events if not _is(event, *kinds)]


def _twice(*kinds: str) -> Callable[[Events, Occasion], Events]:
    """Return a hook that sends every event of these types a second time."""

    def hook(events: Events, _: Occasion) -> Events:
        doubled: Events = []
        for event in events:
            doubled.append(event)
            if _is(event, *kinds):
                doubled.append(deepcopy(event))
        return doubled

    return hook


def _swapped(first: str, second: str) -> Callable[[Events, Occasion], Events]:
    """Return a hook that swaps two events of these types wherever the second directly follows the first."""

    def hook(events: Events, _: Occasion) -> Events:
        for index in range(len(events) - 1):
            if _is(events[index], first) and _is(events[index + 1], second):
                events[index], events[index + 1] = events[index + 1], events[index]
        return events

    return hook


def _inserted(event: Json, *, before: str = "", after: str = "") -> Callable[[Events, Occasion], Events]:
    """Return a hook that inserts one event before or after the first event of a type."""

    def hook(events: Events, _: Occasion) -> Events:
        place = next((i for i, other in enumerate(events) if _is(other, before or after)), None)
        if place is not None:
            events.insert(place if before else place + 1, dict(event))
        return events

    return hook


def _set(field: str, value: Any) -> Callable[[Json], None]:
    def change(target: Json) -> None:
        target[field] = value

    return change


def _unset(*fields: str) -> Callable[[Json], None]:
    def change(target: Json) -> None:
        for field in fields:
            target.pop(field, None)

    return change


def _in_response(do: Callable[[Json], None], places: Sequence[str] = ()) -> Callable[[Json, str, Occasion], None]:
    """Return a hook that changes the response objects at these places, or all of them."""

    def hook(response: Json, place: str, _: Occasion) -> None:
        if not places or place in places:
            do(response)

    return hook


def _at_end(do: Callable[[Json], None]) -> Callable[[Json, str, Occasion], None]:
    """Return a hook that changes terminal responses, in a stream and as plain body."""

    def hook(response: Json, place: str, _: Occasion) -> None:
        if place in _FINAL and _ended(response):
            do(response)

    return hook


def _items(response: Json) -> Iterator[Json]:
    output = response.get("output")
    for item in output if isinstance(output, list) else ():
        if isinstance(item, dict):
            yield item


def _every_item(do: Callable[[Json], None], *, added: bool = True, done: bool = True) -> dict[str, Any]:
    """Return the two hooks that change every output item alike, streamed or in a response."""
    kinds = (*((_ITEM_ADDED,) if added else ()), *((_ITEM_DONE,) if done else ()))

    def final(response: Json) -> None:
        for item in _items(response):
            do(item)

    return {"events": _each(*kinds, do=lambda event: do(event["item"])), "response": _at_end(final)}


def _every_part(do: Callable[[Json], None], *, added: bool = True) -> dict[str, Any]:
    """Return the two hooks that change every content part alike, wherever it stands."""

    def item(item: Json) -> None:
        for part in item.get("content") or ():
            do(part)

    hooks = _every_item(item)
    of_items = hooks["events"]
    of_parts = _each(*((_PART_ADDED,) if added else ()), _PART_DONE, do=lambda event: do(event["part"]))
    return {**hooks, "events": lambda events, o: of_parts(of_items(events, o), o)}


def _only(kind: str, do: Callable[[Json], None]) -> Callable[[Json], None]:
    """Return the change, limited to items or parts of a type."""

    def change(target: Json) -> None:
        if target.get("type") == kind:
            do(target)

    return change


def _reindexed(events: Events, mapping: Callable[[int], int]) -> Events:
    """Give every event of an item another output_index."""
    for event in events:
        if isinstance(event.get("output_index"), int):
            event["output_index"] = mapping(event["output_index"])
    return events


def _in_final(do: Callable[[Json], None]) -> Callable[[Events, Occasion], Events]:
    """Return a hook that changes the response of the terminal event only."""

    def hook(events: Events, _: Occasion) -> Events:
        response = _final(events)
        if response:
            do(response)
        return events

    return hook


def _final_item(kind: str, do: Callable[[Json], None]) -> Callable[[Events, Occasion], Events]:
    """Return a hook that changes the items of a type in the terminal event only."""

    def change(response: Json) -> None:
        for item in _items(response):
            if item.get("type") == kind:
                do(item)

    return _in_final(change)


def _first_text(item: Json, change: Callable[[str], str], container: str = "content", field: str = "text") -> None:
    parts = item.get(container)
    if isinstance(parts, list) and parts and isinstance(parts[0].get(field), str):
        parts[0][field] = change(parts[0][field])


def _altered(text: str) -> str:
    """Return another text of nearly the same length."""
    return f"{text[:-1]}~" if text else "~"


def _alter(field: str) -> Callable[[Json], None]:
    return lambda target: target.__setitem__(field, _altered(target[field]))


def _lost_delta(kind: str) -> Callable[[Events, Occasion], Events]:
    """Return a hook that loses the last delta of a type."""

    def hook(events: Events, _: Occasion) -> Events:
        place = next((i for i in reversed(range(len(events))) if _is(events[i], kind)), None)
        if place is not None:
            del events[place]
        return events

    return hook


def _content_type(value: str, media: str) -> Callable[[int, Headers, Occasion], tuple[int, Headers]]:
    """Return a hook that sends another content type in place of ``media``."""

    def hook(status: int, headers: Headers, occasion: Occasion) -> tuple[int, Headers]:
        changed = tuple(
            (name, value if name == "content-type" and text.startswith(media) else text) for name, text in headers
        )
        return status, changed if occasion.operation == "create" else headers

    return hook


# HTTP


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


def _last_only(body: Json, _: Occasion) -> Json:
    """Read a string as if it were no message at all."""
    return {**body, "input": []} if isinstance(body["input"], str) else body


def _ignore_stream(body: Json, _: Occasion) -> Json:
    return {**body, "stream": False}


def _always_stream(body: Json, _: Occasion) -> Json:
    return {**body, "stream": True}


def _crash(wanted: Sequence[int], codes: Sequence[str] = ()) -> Callable[[int, Any, Occasion], tuple[int, Any]]:
    """Return a hook that turns refusals of these statuses and codes into a server error."""

    def hook(status: int, body: Any, _: Occasion) -> tuple[int, Any]:
        error = body.get("error", {}) if isinstance(body, dict) else {}
        if status in wanted and (not codes or error.get("code") in codes):
            message = "Internal server error"
            return 500, {"error": {"type": "server_error", "message": message, "param": None, "code": None}}
        return status, body

    return hook


_HTTP = (
    Fault(
        id="json-as-text-plain",
        title="A plain reply is sent with the content type text/plain.",
        breaks=("HTTP-01",),
        head=_content_type("text/plain; charset=utf-8", "application/json"),
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
        head=_content_type("text/plain; charset=utf-8", "text/event-stream"),
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
        id="output-missing",
        title="A finished response lacks its output.",
        breaks=("HTTP-05", "RSP-05"),
        response=_at_end(_unset("output")),
    ),
    Fault(
        id="output-null",
        title="The output of a finished response is null.",
        breaks=("HTTP-05", "RSP-05"),
        response=_at_end(_set("output", None)),
    ),
)


# Event-stream framing


def _latin_1(data: bytes, _: Json, __: Occasion) -> bytes:
    return data.decode().encode("latin-1", "replace")


def _unquoted(data: bytes, event: Json, _: Occasion) -> bytes:
    """Print the event as a Python literal instead of JSON, in the in_progress event only."""
    if not _is(event, _IN_PROGRESS):
        return data
    return b"event: %b\ndata: %b\n\n" % (_IN_PROGRESS.encode(), repr(event).encode("ascii", "backslashreplace"))


def _no_event_name(data: bytes, _: Json, __: Occasion) -> bytes:
    return re.sub(rb"\Aevent: [^\n]*\n", b"", data)


def _message_name(data: bytes, _: Json, __: Occasion) -> bytes:
    return re.sub(rb"\Aevent: [^\n]*", b"event: message", data)


def _delta_name(data: bytes, event: Json, _: Occasion) -> bytes:
    """Keep the event name of the delta on the typed done event."""
    if not _is(event, _TEXT_DONE):
        return data
    return re.sub(rb"\Aevent: [^\n]*", b"event: " + _TEXT_DELTA.encode(), data)


def _id_field(data: bytes, event: Json, _: Occasion) -> bytes:
    return b"id: %d\n%b" % (event.get("sequence_number", 0), data)


def _joined_events(data: bytes, event: Json, _: Occasion) -> bytes:
    """Leave out the blank line after the in_progress event."""
    return data[:-1] if _is(event, _IN_PROGRESS) else data


def _bare_line(data: bytes, event: Json, _: Occasion) -> bytes:
    """Put the JSON of the in_progress event after a line that belongs to no field."""
    return b"keep-alive\n" + data if _is(event, _IN_PROGRESS) else data


def _chopped_tail(pieces: list[Piece], _: Occasion) -> list[Piece]:
    if pieces and pieces[-1].data.endswith(b"\n\n"):
        pieces[-1] = pieces[-1]._replace(data=pieces[-1].data[:-1])
    return pieces


def _not_a_number(data: bytes, event: Json, _: Occasion) -> bytes:
    if not _is(event, _IN_PROGRESS):
        return data
    return data.replace(b"}\n\n", b',"elapsed":NaN}\n\n')


def _half_characters(events: Events, _: Occasion) -> Events:
    """Send every character beyond the BMP as two deltas of half a surrogate pair each."""
    sent: Events = []
    for event in events:
        pieces = re.split(r"([\U00010000-\U0010ffff])", event["delta"]) if _is(event, _TEXT_DELTA) else []
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
    if not _is(event, _IN_PROGRESS):
        return data
    return data.replace(b'"object":"resp', b'"object":"re\ndata: sp')


def _pretty_printed(data: bytes, event: Json, _: Occasion) -> bytes:
    """Print the JSON of the in_progress event over several lines of which only the first is a data line."""
    if not _is(event, _IN_PROGRESS):
        return data
    return b"event: %b\ndata: %b\n\n" % (_IN_PROGRESS.encode(), json.dumps(event, indent=2).encode())


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
        title="A line that is no field stands in the stream.",
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
        frame=lambda data, event, _: data,
    ),
    Fault(
        id="null-event",
        title="The stream holds an event whose data is null.",
        breaks=("SSE-02", "SSE-07"),
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
        if _is(event, _TEXT_DELTA):
            event["type"] = "sandbox:output_text.delta"
            break
    return events


def _no_type(events: Events, _: Occasion) -> Events:
    for event in events:
        if _is(event, _IN_PROGRESS):
            del event["type"]
    return events


_EVT = (
    Fault(
        id="type-missing",
        title="The data of response.in_progress has no type.",
        breaks=("EVT-01",),
        numbered=_no_type,
        frame=lambda data, event, _: data if "type" in event else data.replace(b"None", _IN_PROGRESS.encode(), 1),
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
        numbered=_each(*_TERMINAL, do=_unset("sequence_number")),
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
        events=_inserted({"type": "keepalive"}, after=_IN_PROGRESS),
    ),
    Fault(
        id="unknown-response-event",
        title="An event response.output_text.progress, which the contract does not know, stands in the stream.",
        breaks=("EVT-07",),
        events=_inserted({"type": "response.output_text.progress", "percent": 50}, after=_IN_PROGRESS),
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
        events=_each(_TEXT_DELTA, do=_unset("item_id")),
    ),
    Fault(
        id="indexes-missing-on-deltas",
        title="Text deltas have neither output_index nor content_index.",
        breaks=("EVT-10",),
        events=_each(_TEXT_DELTA, do=_unset("output_index", "content_index")),
    ),
    Fault(
        id="output-index-is-string",
        title="The output_index of content parts is a string.",
        breaks=("EVT-10",),
        events=_each(_PART_ADDED, _PART_DONE, do=lambda e: e.__setitem__("output_index", str(e["output_index"]))),
    ),
    Fault(
        id="obfuscation-on-done",
        title="The padding field obfuscation is on the event that closes a text.",
        breaks=("EVT-11",),
        events=_each(_TEXT_DONE, do=_set("obfuscation", "xxxxxxxx")),
    ),
)


def _less(event: Json, field: str) -> Json:
    return {key: value for key, value in event.items() if key != field}


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType({fault.id: fault for fault in (*_HTTP, *_SSE, *_EVT)})
"""Every fault by its id, in the order of the rule catalogue."""
