"""Freedoms of output items in a stream."""

from __future__ import annotations

from typing import Final

from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.fault import CALL_DELTA, CALL_DONE, ITEM_ADDED, STREAMED, Events, is_of
from rejoinder.sandbox.freedom import FreedomList, cite

FREEDOMS: Final = FreedomList()


@FREEDOMS.add(
    "calls-arrive-whole",
    cite("openresponses", "Items are streamable, as much detail as is available", "?plain=1#L233"),
    hook="events",
    when=STREAMED,
)
def _whole_calls(events: Events, _: RequestInfo) -> Events:
    """A newly added function call already has its arguments, and no deltas follow."""
    whole = {event["item_id"]: event["arguments"] for event in events if is_of(event, CALL_DONE)}
    for event in events:
        if is_of(event, ITEM_ADDED) and event["item"].get("id") in whole:
            event["item"]["arguments"] = whole[event["item"]["id"]]
    return [event for event in events if not is_of(event, CALL_DELTA)]
