"""Streams that are surely broken: one change each to a correct stream.

They test what reads streams: checks, folds and clients. A set is made from a stream and the dialect's event table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.contract import Dialect, load_dialect
from rejoinder.json_copy import copy_json
from rejoinder.strategies.options import AnyDialect, reference

__all__ = ["BrokenStream", "broken_streams"]

Event = dict[str, Any]

_SHIFT: Final = 7
_OTHER: Final = {"string": 7, "integer": "one", "object": "text", "array": "text"}
"""A value of another JSON type, by the type that a field must have."""
_DROPPED: Final = ("snapshot", "item.added", "item.done", "part.added", "done", "terminal")
_DOUBLED: Final = ("item.added", "item.done", "part.added", "delta", "done", "terminal")
"""The roles of events that cannot be left out, and of those that cannot come twice."""


@dataclass(frozen=True)
class BrokenStream:
    """A stream with one change. ``name`` says which, and in which event; ``kind`` is the change alone."""

    name: str
    kind: str
    events: list[Event]


def broken_streams(events: Sequence[Event], *, dialect: AnyDialect) -> list[BrokenStream]:
    """Return the broken neighbours of a correct stream of a dialect, each with one change.

    The changes: an event is dropped, doubled or swapped with the next one of its item; a required field is removed or
    has another JSON type; a text or an index differs. Of each event type the first event is changed, and sequence
    numbers count on as they do in a stream of a server.
    """
    return [
        BrokenStream(f"{kind}: {what}", kind, _numbered(changed, events))
        for kind, what, changed in _changes(list(events), load_dialect(reference(dialect)))
    ]


def _changes(events: list[Event], dialect: Dialect) -> Iterator[tuple[str, str, list[Event]]]:
    seen: set[str] = set()
    for place, event in enumerate(events):
        spec = dialect.events.get(event["type"])
        if spec is None or spec.type in seen:
            continue
        seen.add(spec.type)
        # A stream may begin at response.in_progress only where response.created is there.
        if spec.role in _DROPPED and spec.type not in ("response.in_progress", "response.queued"):
            yield "event dropped", spec.type, events[:place] + events[place + 1 :]
        if spec.role in _DOUBLED and event.get("delta") != "":
            yield "event doubled", spec.type, [*events[: place + 1], event, *events[place + 1 :]]
        if spec.role in ("item.added", "part.added") and place + 1 < len(events):
            after = events[place + 1]
            if after.get("output_index") == event["output_index"] and spec.role != dialect.events[after["type"]].role:
                yield "events swapped", spec.type, [*events[:place], after, event, *events[place + 2 :]]
        for field in spec.required:
            changed = {name: value for name, value in event.items() if name != field}
            yield "field removed", f"{spec.type} {field}", _with(events, place, changed)
            wrong = {**event, field: _OTHER[spec.types[field] or "object"]}
            yield "wrong type", f"{spec.type} {field}", _with(events, place, wrong)
            if field in ("output_index", "content_index", "summary_index"):
                shifted = {**event, field: event[field] + _SHIFT}
                yield "index shifted", f"{spec.type} {field}", _with(events, place, shifted)
        text = "delta" if spec.role == "delta" else spec.field if spec.role == "done" else ""
        if text and isinstance(event.get(text), str):
            yield "text altered", f"{spec.type} {text}", _with(events, place, {**event, text: f"{event[text]}x"})


def _with(events: list[Event], place: int, event: Event) -> list[Event]:
    return [*events[:place], event, *events[place + 1 :]]


def _numbered(changed: list[Event], events: Sequence[Event]) -> list[Event]:
    """Return a copy of the events with sequence numbers that count on from the first one of the correct stream."""
    first = events[0]["sequence_number"]
    return [{**copy_json(event), "sequence_number": number} for number, event in enumerate(changed, first)]
