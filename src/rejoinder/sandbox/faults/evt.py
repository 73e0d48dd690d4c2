"""Faults of the fields of every event: types, numbers, required fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import Piece, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    IN_PROGRESS,
    ITEM_ADDED,
    PART_ADDED,
    PART_DONE,
    STREAMED,
    TERMINAL,
    TEXT_DELTA,
    TEXT_DONE,
    Events,
    EventsHook,
    Fault,
    FaultList,
    changed,
    each,
    in_streams,
    inserted,
    is_of,
    is_reasoning,
    set_to,
    unset,
    without_field,
)


def _renumbered(number: Callable[[int, Json], Any]) -> EventsHook:
    """Return a hook that gives every event another sequence number, made from its place and itself."""

    def hook(events: Events, _: RequestInfo) -> Events:
        for place, event in enumerate(events):
            event["sequence_number"] = number(place, event)
        return events

    return hook


def _named_error(data: bytes, event: Json, _: RequestInfo) -> bytes:
    return data.replace(b"event: response.failed", b"event: error", 1) if is_of(event, "response.failed") else data


def _nameless_tokens(event: Json) -> None:
    for entry in event.get("logprobs") or ():
        entry.pop("token", None)


FAULTS: Final = FaultList(
    Fault(
        id="sequence-numbers-missing",
        title="No event has a sequence_number.",
        breaks=("EVT-02",),
        numbered=lambda events, _: [without_field(event, "sequence_number") for event in events],
    ),
    Fault(
        id="sequence-number-missing-at-end",
        title="The terminal event has no sequence_number.",
        breaks=("EVT-02",),
        numbered=each(*TERMINAL, do=unset("sequence_number")),
    ),
    Fault(
        id="sequence-numbers-are-strings",
        title="Every sequence_number is a string of digits.",
        breaks=("EVT-02",),
        numbered=_renumbered(lambda place, event: str(event["sequence_number"])),
    ),
    Fault(
        id="error-event-not-numbered",
        title="A run fails, and its error event has no sequence_number.",
        breaks=("EVT-02",),
        when=STREAMED,
        fails=True,
        numbered=each("error", do=unset("sequence_number")),
    ),
    Fault(
        id="sequence-numbers-constant",
        title="Every event has sequence_number 0.",
        breaks=("EVT-03",),
        numbered=_renumbered(lambda place, event: 0),
    ),
    Fault(
        id="sequence-numbers-skip",
        title="The sequence_number after the second event is skipped.",
        breaks=("EVT-04",),
        numbered=_renumbered(lambda place, event: event["sequence_number"] + (place > 1)),
    ),
    Fault(
        id="sequence-numbers-start-at-one",
        title="The first sequence_number is 1 too high for the dialect.",
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
        title="The stream has a keepalive event with an unknown type.",
        breaks=("EVT-07",),
        # Clients of the dialect openai know keepalive and ignore it.
        dialects=("northstar", "openresponses"),
        events=inserted({"type": "keepalive"}, after=IN_PROGRESS),
    ),
    Fault(
        id="unknown-response-event",
        title="The stream has the unknown event response.output_text.progress.",
        breaks=("EVT-07",),
        events=inserted({"type": "response.output_text.progress", "percent": 50}, after=IN_PROGRESS),
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
        id="logprobs-without-token-on-deltas",
        title="The log probabilities of text deltas have no token.",
        breaks=("EVT-10",),
        events=each(TEXT_DELTA, do=_nameless_tokens),
    ),
    Fault(
        id="output-index-is-string",
        title="The output_index of content part events is a string.",
        breaks=("EVT-10",),
        events=each(PART_ADDED, PART_DONE, do=changed("output_index", str)),
    ),
    Fault(
        id="summary-index-missing",
        title="The events of reasoning summaries have no summary_index.",
        breaks=("EVT-10",),
        events=lambda events, _: [
            {name: value for name, value in event.items() if name != "summary_index"} for event in events
        ],
    ),
    Fault(
        id="obfuscation-on-done",
        title="response.output_text.done has the padding field obfuscation.",
        breaks=("EVT-11",),
        events=each(TEXT_DONE, do=set_to("obfuscation", "xxxxxxxx")),
    ),
)


@FAULTS.add(
    "type-missing",
    "EVT-01",
    hook="numbered",
    frame=lambda data, event, _: data if "type" in event else data.replace(b"None", IN_PROGRESS.encode(), 1),
)
def _no_type(events: Events, _: RequestInfo) -> Events:
    """The data of response.in_progress has no type."""
    for event in events:
        if is_of(event, IN_PROGRESS):
            del event["type"]
    return events


@FAULTS.add("sequence-numbers-swapped", "EVT-03", hook="numbered")
def _swapped_numbers(events: Events, _: RequestInfo) -> Events:
    """The sequence_numbers of the second and the third event are swapped."""
    if len(events) > 3:
        second, third = events[1], events[2]
        second["sequence_number"], third["sequence_number"] = third["sequence_number"], second["sequence_number"]
    return events


@FAULTS.add("long-stream-loses-events", "EVT-04", hook="numbered", when=in_streams("of more than 40 events"))
def _lost_after_numbering(events: Events, _: RequestInfo) -> Events:
    """A long stream loses every tenth event after its beginning."""
    return [event for place, event in enumerate(events) if place < 40 or place % 10]


@FAULTS.add("reasoning-part-events", "EVT-07", hook="events", dialects=("openai",))
def _part_events(events: Events, _: RequestInfo) -> Events:
    """The parts of reasoning items have response.reasoning_part events."""
    reasoning = {event["item"]["id"] for event in events if is_of(event, ITEM_ADDED) and is_reasoning(event["item"])}
    for event in events:
        if event.get("item_id") in reasoning and event["type"].startswith("response.content_part."):
            event["type"] = event["type"].replace("content_part", "reasoning_part")
    return events


@FAULTS.add("extension-event-not-numbered", "EVT-08", hook="numbered")
def _unnumbered_extension(events: Events, _: RequestInfo) -> Events:
    """An extension event has no sequence_number."""
    return [*events[:2], {"type": "sandbox:tick"}, *events[2:]]


@FAULTS.add("extension-event-carries-text", "EVT-09", hook="events")
def _extension_for_text(events: Events, _: RequestInfo) -> Events:
    """The last piece of the text is in an extension event, which clients ignore."""
    for event in reversed(events):
        if is_of(event, TEXT_DELTA):
            event["type"] = "sandbox:output_text.delta"
            break
    return events


@FAULTS.add("failed-without-response", "EVT-10", "SSE-03", hook="events", when=STREAMED, fails=True, frame=_named_error)
def _failed_without_response(events: Events, _: RequestInfo) -> Events:
    """A run fails, and response.failed has the event field error and an error instead of a response."""
    for event in events:
        if is_of(event, "response.failed"):
            event["error"] = event.pop("response")["error"]
    return events


@FAULTS.add(
    "error-event-nested",
    "EVT-10",
    hook="events",
    through=lambda do: each("error", do=do),
    when=STREAMED,
    dialects=("openai",),
    fails=True,
)
def _nested(event: Json) -> None:
    """A run fails, and the fields of its error event are in an error object."""
    event["error"] = {"type": "server_error", "code": event.pop("code"), "message": event.pop("message")}
    event["error"]["param"] = event.pop("param", None)


@FAULTS.add(
    "error-event-flat",
    "EVT-10",
    hook="events",
    through=lambda do: each("error", do=do),
    when=STREAMED,
    dialects=("openresponses",),
    fails=True,
)
def _flat(event: Json) -> None:
    """A run fails, and the fields of its error event are beside its type."""
    event |= event.pop("error")
    event["type"] = "error"


@FAULTS.add("replay-obfuscated", "EVT-11", hook="body", dialects=("openai",))
def _padded(pieces: list[Piece], info: RequestInfo) -> list[Piece]:
    """Replays have obfuscation, although include_obfuscation is false."""
    if "include_obfuscation=false" not in info.request.path:
        return pieces
    return [piece._replace(data=piece.data.replace(b'"delta":', b'"obfuscation":"x","delta":', 1)) for piece in pieces]
