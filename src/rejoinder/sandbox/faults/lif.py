"""Faults of the response lifecycle in a stream."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from rejoinder.json_copy import copy_json
from rejoinder.model.exchange import Headers
from rejoinder.sandbox.endpoint.reply import Piece, RequestInfo
from rejoinder.sandbox.fault import (
    BACKGROUND,
    CREATED,
    IN_PROGRESS,
    ITEM_ADDED,
    ITEM_DONE,
    QUEUED,
    STREAMED,
    TERMINAL,
    TEXT_DELTA,
    Condition,
    Events,
    EventsHook,
    Fault,
    FaultList,
    answer_format,
    changed,
    each,
    every,
    final_of,
    in_final,
    in_response,
    in_streams,
    is_of,
    lengthened,
    set_to,
    swapped,
    twice,
    without,
)


def _moved(kind: str, *, after: str = "", last: bool = False) -> EventsHook:
    """Return a hook that moves the first (or last) event of a type behind the first of another, or to an end.

    Without ``after`` the first goes to the front and the last to the end of the stream.
    """

    def hook(events: Events, _: RequestInfo) -> Events:
        places = [i for i, event in enumerate(events) if is_of(event, kind)]
        if not places:
            return events
        event = events.pop(places[-1] if last else places[0])
        if after:
            place = next((i + 1 for i, other in enumerate(events) if is_of(other, after)), len(events))
        else:
            place = len(events) if last else 0
        events.insert(place, event)
        return events

    return hook


_ZERO_USAGE: Final = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


def _effort(body: Mapping[str, Any]) -> Any:
    reasoning = body.get("reasoning")
    return reasoning.get("effort") if isinstance(reasoning, Mapping) else None


def _stream_of_created(events: Events, _: RequestInfo) -> Events:
    """Break off after the first event."""
    return events[:1]


def _says_gzip(status: int, headers: Headers, info: RequestInfo) -> tuple[int, Headers]:
    return status, (*headers, ("content-encoding", "gzip")) if info.streamed else headers


FAULTS: Final = FaultList(
    Fault(
        id="created-missing",
        title="The stream starts with response.in_progress.",
        breaks=("LIF-01", "LIF-02"),
        events=without(CREATED),
    ),
    Fault(
        id="in-progress-first",
        title="response.in_progress comes before response.created.",
        breaks=("LIF-01",),
        events=swapped(CREATED, IN_PROGRESS),
    ),
    Fault(
        id="item-before-created",
        title="The first item is added before response.created.",
        breaks=("LIF-01", "LIF-04"),
        events=_moved(ITEM_ADDED),
    ),
    Fault(
        id="created-twice",
        title="The stream has two response.created events.",
        breaks=("LIF-02",),
        events=twice(CREATED),
    ),
    Fault(
        id="in-progress-twice",
        title="The stream has two response.in_progress events.",
        breaks=("LIF-02",),
        events=twice(IN_PROGRESS),
    ),
    Fault(
        id="in-progress-late",
        title="response.in_progress comes after the first item is added.",
        breaks=("LIF-03",),
        events=_moved(IN_PROGRESS, after=ITEM_ADDED),
    ),
    Fault(
        id="terminal-missing",
        title="The stream has no terminal event.",
        breaks=("LIF-05",),
        events=without(*TERMINAL),
    ),
    Fault(
        id="terminal-missing-at-times",
        title="The stream has no terminal event.",
        breaks=("LIF-05",),
        when=every(3),
        events=without(*TERMINAL),
    ),
    Fault(
        id="terminal-twice", title="The stream has two terminal events.", breaks=("LIF-05",), events=twice(*TERMINAL)
    ),
    Fault(
        id="terminal-named-done",
        title="The type of the terminal event is response.done.",
        breaks=("LIF-05", "EVT-07"),
        events=each(*TERMINAL, do=set_to("type", "response.done")),
    ),
    Fault(
        id="error-without-failed",
        title="A run fails with an error event, but without response.failed.",
        breaks=("LIF-08",),
        when=STREAMED,
        fails=True,
        events=without("response.failed"),
    ),
    Fault(
        id="json-schema-stream-aborts",
        title="A stream with a JSON Schema breaks off after its first event.",
        breaks=("LIF-05",),
        when=Condition(
            "only with stream and a JSON Schema",
            lambda info: info.streamed and answer_format(info.body) == "json_schema",
        ),
        events=_stream_of_created,
    ),
    Fault(
        id="high-effort-stream-aborts",
        title="A stream with high reasoning effort breaks off after its first event.",
        breaks=("LIF-05",),
        when=Condition("only with stream and effort high", lambda info: info.streamed and _effort(info.body) == "high"),
        events=_stream_of_created,
    ),
    Fault(
        id="item-closed-after-terminal",
        title="response.output_item.done of the last item comes after the terminal event.",
        breaks=("LIF-06",),
        events=_moved(ITEM_DONE, last=True),
    ),
    Fault(
        id="incomplete-named-completed",
        title="The terminal event of an incomplete response is response.completed.",
        breaks=("LIF-15",),
        events=each("response.incomplete", do=set_to("type", "response.completed")),
    ),
    Fault(
        id="terminal-still-in-progress",
        title="The response in the terminal event has status in_progress.",
        breaks=("LIF-07",),
        events=in_final(set_to("status", "in_progress")),
    ),
    Fault(
        id="response-id-changes",
        title="The response has a different id in the terminal event.",
        breaks=("LIF-09",),
        events=in_final(changed("id", lengthened)),
    ),
    Fault(
        id="created-at-changes",
        title="created_at is one second later in the terminal event.",
        breaks=("LIF-10",),
        events=in_final(changed("created_at", lambda seconds: seconds + 1)),
    ),
    Fault(
        id="model-changes",
        title="The model is unknown in the terminal event.",
        breaks=("LIF-10",),
        events=in_final(set_to("model", "unknown")),
    ),
    Fault(
        id="parameters-change",
        title="The echoed parameters have their defaults in the terminal event.",
        breaks=("LIF-10",),
        events=in_final(lambda response: response.update(max_output_tokens=None, tools=[], metadata={}, temperature=0)),
    ),
    Fault(
        id="in-progress-has-error",
        title="The response in response.in_progress has an empty error object.",
        breaks=("LIF-11",),
        response=in_response(set_to("error", {}), (IN_PROGRESS,)),
    ),
    Fault(
        id="early-usage",
        title="The response in response.created has a usage of zeros.",
        breaks=("LIF-12",),
        response=in_response(set_to("usage", dict(_ZERO_USAGE)), (CREATED,)),
    ),
    Fault(
        id="usage-on-deltas",
        title="Text deltas have usage.",
        breaks=("LIF-12",),
        events=each(TEXT_DELTA, do=set_to("usage", dict(_ZERO_USAGE))),
    ),
    Fault(
        id="queued-without-in-progress",
        title="A background stream has items after response.queued, without response.in_progress.",
        breaks=("LIF-14",),
        when=BACKGROUND,
        events=without(IN_PROGRESS),
    ),
)


@FAULTS.add("tool-progress-before-created", "LIF-01", "LIF-04", hook="events", not_in=("openresponses", "vllm"))
def _progress_before_created(events: Events, _: RequestInfo) -> Events:
    """The progress event of a hosted tool comes before response.created."""
    place = next((i for i, event in enumerate(events) if event["type"].endswith("_call.in_progress")), None)
    if place is not None:
        events.insert(0, events.pop(place))
    return events


@FAULTS.add("two-lifecycles", "LIF-02", "LIF-05", hook="events", not_in=("openresponses",))
def _two_lifecycles(events: Events, _: RequestInfo) -> Events:
    """After a hosted tool call, the response ends and starts again in the same stream."""
    place = next(
        (i for i, e in enumerate(events) if is_of(e, ITEM_DONE) and e["item"]["type"].startswith(("web", "mcp_call"))),
        None,
    )
    if place is None or not is_of(events[-1], "response.completed"):
        return events
    begun = [copy_json(event) for event in events if is_of(event, CREATED, IN_PROGRESS)]
    ended = copy_json(events[-1])
    ended["response"]["output"] = ended["response"]["output"][: events[place]["output_index"] + 1]
    return [*events[: place + 1], ended, *begun, *events[place + 1 :]]


@FAULTS.add("long-stream-loses-its-end", "LIF-05", hook="events", when=in_streams("of more than 64 events"))
def _lost_when_long(events: Events, _: RequestInfo) -> Events:
    """A long stream ends after as many events as a buffer holds."""
    return events[:64]


@FAULTS.add(
    "connection-cut", "LIF-05", hook="body", when=STREAMED, on_end=lambda reply, _, __: replace(reply, cut=True)
)
def _cut(pieces: list[Piece], info: RequestInfo) -> list[Piece]:
    """The connection breaks in the middle of an event."""
    if not info.streamed or len(pieces) < 3:
        return pieces
    place = len(pieces) * 2 // 3
    broken = pieces[place]
    return [*pieces[:place], broken._replace(data=broken.data[: len(broken.data) // 2])]


@FAULTS.add(
    "compressed-stream-cut",
    "LIF-05",
    hook="body",
    when=Condition(
        "only with stream, for one create request in 3", lambda info: info.streamed and info.number % 3 == 0
    ),
    head=_says_gzip,
)
def _compressed(pieces: list[Piece], info: RequestInfo) -> list[Piece]:
    """The endpoint compresses a stream without Accept-Encoding in the request and loses its end."""
    if not info.streamed:
        return pieces
    data = gzip.compress(b"".join(piece.data for piece in pieces), mtime=0)
    return [Piece(0.0, data[:-16])]


@FAULTS.add("created-has-output", "LIF-11", hook="events")
def _early_output(events: Events, _: RequestInfo) -> Events:
    """The response in response.created already has its output."""
    output = final_of(events).get("output", [])
    for event in events:
        if is_of(event, CREATED):
            event["response"]["output"] = copy_json(output)
    return events


@FAULTS.add("status-goes-back", "LIF-13", hook="events")
def _back_to_queued(events: Events, _: RequestInfo) -> Events:
    """The status of a response goes from in_progress back to queued."""
    started = next((event for event in events if is_of(event, IN_PROGRESS)), None)
    if started is None:
        return events
    again = {"type": QUEUED, "response": {**copy_json(started["response"]), "status": "queued"}}
    return [*events[:-1], again, events[-1]]
