"""Freedoms of the fields of events."""

from __future__ import annotations

from typing import Final

from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.fault import STREAMED, TEXT_DELTA, Events, is_of
from rejoinder.sandbox.freedom import FreedomList, cite

FREEDOMS: Final = FreedomList()


@FREEDOMS.add(
    "keepalive-events",
    cite("openai-node", "ResponseKeepAliveEvent, which is ignored", "src/internal/responses/response-accumulator.ts"),
    hook="events",
    dialects=("openai",),
    when=STREAMED,
)
def _keepalive(events: Events, _: RequestInfo) -> Events:
    """A stream has a keepalive event before its first text delta."""
    place = next((place for place, event in enumerate(events) if is_of(event, TEXT_DELTA)), None)
    if place is not None:
        events.insert(place, {"type": "keepalive"})
    return events
