"""Freedoms of the event envelope."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import Piece, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import STREAMED, TEXT_DELTA, Events, EventsHook, is_of
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite
from rejoinder.sandbox.freedoms.citations import OPENAI_EXTRA, OPENRESPONSES_EXTENSIONS

_SEQUENCE: Final = (
    cite("openai-openapi", "ResponseCreatedEvent.sequence_number"),
    cite("openresponses-openapi", "ResponseCreatedStreamingEvent.sequence_number"),
)
_ENVELOPE: Final = ("type", "sequence_number")


def _renumbered(number: Callable[[int], int]) -> EventsHook:
    """Return a hook that gives every event another sequence number."""

    def hook(events: list[Json], _: RequestInfo) -> list[Json]:
        return [{**event, "sequence_number": number(event["sequence_number"])} for event in events]

    return hook


def _between(event: Json, every: int) -> EventsHook:
    """Return a hook that inserts an event after every few events, but neither first nor last."""

    def hook(events: list[Json], _: RequestInfo) -> list[Json]:
        found: list[Json] = []
        for place, one in enumerate(events):
            found.append(one)
            if place % every == every - 1 and 1 < place < len(events) - 2:
                found.append(dict(event))
        return found

    return hook


def _every(change: Callable[[Json], None], *ends: str) -> EventsHook:
    """Return a hook that changes every event whose type ends with one of these, or every one."""

    def hook(events: list[Json], info: RequestInfo) -> list[Json]:
        for event in events:
            if not ends or str(event.get("type")).endswith(ends):
                change(event)
        return events

    return hook


def _obfuscated(events: list[Json], info: RequestInfo) -> list[Json]:
    options = info.body.get("stream_options")
    if isinstance(options, dict) and options.get("include_obfuscation") is False:
        return events
    for event in events:
        if str(event.get("type")).endswith(".delta") and not is_of(event, "response.reasoning_text.delta"):
            event["obfuscation"] = "qYs3Lr"[: 1 + len(str(event.get("delta"))) % 6]
    return events


def _reordered(events: list[Json], _: RequestInfo) -> list[Json]:
    return [
        {**{key: event[key] for key in reversed(event) if key not in _ENVELOPE}, **{k: event[k] for k in _ENVELOPE}}
        for event in events
    ]


FREEDOMS: Final = FreedomList(
    Freedom(
        id="sequence-starts-at-one",
        title="The first sequence_number of a stream is 1.",
        sources=_SEQUENCE,
        argument="No document names the first number.",
        choice="sequence numbers",
        numbered=_renumbered(lambda number: number + 1),
    ),
    Freedom(
        id="sequence-starts-high",
        title="The first sequence_number of a stream is 1000.",
        sources=_SEQUENCE,
        argument="No document names the first number.",
        choice="sequence numbers",
        numbered=_renumbered(lambda number: number + 1000),
    ),
    Freedom(
        id="vendor-events",
        title="A stream has an extension event after every third event.",
        dialects=("openresponses", "northstar"),
        sources=(cite("openresponses", "Extending streaming events"),),
        events=_between({"type": "acme:trace_event", "phase": "decode"}, 3),
    ),
    Freedom(
        id="event-extra-fields",
        title="Every event has fields that the dialect does not define.",
        sources=(OPENAI_EXTRA, OPENRESPONSES_EXTENSIONS),
        events=_every(lambda event: event.update(created_at=1_760_000_000, provider="acme", response_id=None)),
    ),
    Freedom(
        id="delta-obfuscation",
        title="Delta events have the field obfuscation.",
        sources=(
            cite("openai-openapi", "ResponseStreamOptions.include_obfuscation"),
            cite("openresponses-openapi", "ResponseOutputTextDeltaStreamingEvent.obfuscation"),
        ),
        events=_obfuscated,
    ),
    Freedom(
        id="event-fields-in-other-order",
        title="The type and sequence_number of an event come after its other fields.",
        sources=(cite("rfc8259", "section 4, Objects", "#section-4"),),
        numbered=_reordered,
    ),
    Freedom(
        id="sequence-with-gaps",
        title="The sequence_number grows by 2 from event to event.",
        sources=_SEQUENCE,
        argument="No document says that the numbers have no gaps.",
        choice="sequence numbers",
        numbered=_renumbered(lambda number: number * 2),
    ),
)


_KEEPALIVE: Final = cite(
    "openai-node", "ResponseKeepAliveEvent, which is ignored", "src/internal/responses/response-accumulator.ts"
)
_IN_SILENCE: Final[Mapping[str, Any]] = {
    "dialects": ("openai",),
    "when": STREAMED,
    "choice": "keepalive",
    "argument": "No document says which fields the event has, or that it is replayed.",
}


@FREEDOMS.add("keepalive-events", _KEEPALIVE, hook="events", **_IN_SILENCE)
def _keepalive(events: Events, _: RequestInfo) -> Events:
    """A stream has a keepalive event before its first text delta."""
    place = next((place for place, event in enumerate(events) if is_of(event, TEXT_DELTA)), None)
    if place is not None:
        events.insert(place, {"type": "keepalive"})
    return events


@FREEDOMS.add("keepalive-unnumbered", _KEEPALIVE, hook="numbered", **_IN_SILENCE)
def _unnumbered(events: Events, _: RequestInfo) -> Events:
    """A stream has keepalive events without a sequence_number: the third, and the last but one."""
    return [*events[:2], {"type": "keepalive"}, *events[2:-1], {"type": "keepalive"}, *events[-1:]]


@FREEDOMS.add("keepalive-live", _KEEPALIVE, hook="body", **_IN_SILENCE)
def _live(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    """A stream has a keepalive event with the number of the event before it, which its replay does not have."""
    numbers = re.findall(rb'"sequence_number":(\d+)', b"".join(piece.data for piece in pieces[:2]))
    if len(pieces) < 3 or not numbers:
        return pieces
    data = b'event: keepalive\ndata: {"type":"keepalive","sequence_number":%b}\n\n' % numbers[-1]
    return [*pieces[:2], Piece(0.0, data), *pieces[2:]]
