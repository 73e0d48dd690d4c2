"""Streams that are surely broken: one change each to a correct stream.

They test what reads streams: checks, folds and clients. A set is made from a stream and the dialect's event table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.contract import Dialect, EventSpec, load_dialect
from rejoinder.json_copy import copy_json
from rejoinder.strategies.options import AnyDialect, reference
from rejoinder.validation import escape_key

__all__ = ["BrokenStream", "broken_streams"]

Event = dict[str, Any]

_SHIFT: Final = 7
_OTHER: Final = {"string": 7, "integer": "one", "object": "text", "array": "text"}
"""A value of another JSON type, by the type that a field must have."""
_DROPPED: Final = ("snapshot", "item.added", "item.done", "part.added", "part.done", "done", "terminal")
_DOUBLED: Final = ("item.added", "item.done", "part.added", "part.done", "delta", "done", "annotation", "terminal")
"""The roles of events that cannot be left out, and of those that cannot come twice."""
_INDEXES: Final = ("output_index", "content_index", "summary_index", "annotation_index")
_OBJECTS: Final = ("item", "part", "annotation")
"""The fields of events that hold an item, or a part of one."""
_DEEPEST: Final = 4
"""How many levels inside of an item or a part are changed."""


@dataclass(frozen=True)
class BrokenStream:
    """A stream with one change. ``name`` says which, and in which event; ``kind`` is the change alone."""

    name: str
    kind: str
    events: list[Event]


def broken_streams(events: Sequence[Event], *, dialect: AnyDialect) -> list[BrokenStream]:
    """Return the broken neighbours of a correct stream of a dialect, each with one change.

    The changes: an event is dropped, doubled, swapped with the next one of its item or sent after its item has ended; a
    required field is removed or has another JSON type, also inside of an item, a part and an annotation, where the
    dialect's schema refuses it; a text, an id or an index differs. Of each event type and each type of item or part in
    it the first event is changed. Sequence numbers count on as they do in a stream of a server.
    """
    return [
        BrokenStream(f"{kind}: {what}", kind, _numbered(changed, events))
        for kind, what, changed in _changes(list(events), load_dialect(reference(dialect)))
    ]


def _changes(events: list[Event], dialect: Dialect) -> Iterator[tuple[str, str, list[Event]]]:
    seen: set[tuple[str, str]] = set()
    for place, event in enumerate(events):
        spec = dialect.events.get(event["type"])
        if spec is None or (spec.type, _tag(event)) in seen:
            continue
        seen.add((spec.type, _tag(event)))
        name = f"{spec.type} {_tag(event)}".rstrip()
        for kind, changed in _orders(events, place, spec, dialect):
            yield kind, name, changed
        for field in spec.required:
            rest = {key: value for key, value in event.items() if key != field}
            yield "field removed", f"{name} {field}", _with(events, place, rest)
            wrong = {**event, field: _OTHER[spec.types[field] or "object"]}
            yield "wrong type", f"{name} {field}", _with(events, place, wrong)
            if field in _INDEXES:
                shifted = {**event, field: event[field] + _SHIFT}
                yield "index shifted", f"{name} {field}", _with(events, place, shifted)
            if field == "item_id":
                yield "id altered", f"{name} {field}", _with(events, place, {**event, field: f"{event[field]}x"})
        text = "delta" if spec.role == "delta" else spec.field if spec.role == "done" else ""
        if text and isinstance(event.get(text), str):
            yield "text altered", f"{name} {text}", _with(events, place, {**event, text: f"{event[text]}x"})
        for field in _OBJECTS:
            refuses = dialect.field_validator(spec.type, field)
            for kind, at, value in _inside(event.get(field), "", _DEEPEST):
                if not (refuses.is_valid(value) or _may_lack(event, spec, at, kind, dialect)):
                    yield f"inner {kind}", f"{name} {field}{at}", _with(events, place, {**event, field: value})


def _orders(events: list[Event], place: int, spec: EventSpec, dialect: Dialect) -> Iterator[tuple[str, list[Event]]]:
    """Yield the streams in which an event does not come, comes twice, too early or too late."""
    event, rest = events[place], events[:place] + events[place + 1 :]
    # A stream may begin at response.in_progress only where response.created is there.
    # An empty text without deltas needs no event that ends it.
    empty = spec.role == "done" and event.get(spec.field) == ""
    if spec.role in _DROPPED and spec.type not in ("response.in_progress", "response.queued") and not empty:
        yield "event dropped", rest
    if (spec.role in _DOUBLED or _step(spec) == _LAST) and event.get("delta") != "":
        yield "event doubled", [*events[: place + 1], event, *events[place + 1 :]]
    after = events[place + 1] if place + 1 < len(events) else {}
    next_spec = dialect.events.get(after.get("type", ""))
    if next_spec is not None and after.get("output_index", -1) == event.get("output_index"):
        opens = spec.role in ("item.added", "part.added") and spec.role != next_spec.role
        progresses = spec.role == next_spec.role == "progress" and _step(spec) < _step(next_spec)
        if opens or progresses:
            yield "events swapped", [*events[:place], after, event, *events[place + 2 :]]
    if spec.role == "progress":
        ends = [
            number
            for number, other in enumerate(rest)
            if other["type"] in dialect.events
            and dialect.events[other["type"]].role == "item.done"
            and other["output_index"] == event["output_index"]
        ]
        for end in ends[:1]:
            yield "event late", [*rest[: end + 1], event, *rest[end + 1 :]]


def _may_lack(event: Event, spec: EventSpec, at: str, kind: str, dialect: Dialect) -> bool:
    """Whether the dialect lets a field of a newly added item come later."""
    field = f"{_tag(event)}.{at[1:]}"
    return spec.role == "item.added" and kind == "field removed" and field in dialect.stream["added_may_lack"]


_LAST: Final = 2


def _step(spec: EventSpec) -> int:
    """Return how far a hosted tool is when it sends a progress event: 0 at its beginning, 2 at its end."""
    if spec.role != "progress":
        return -1
    return {"in_progress": 0, "completed": _LAST, "failed": _LAST}.get(spec.type.rpartition(".")[2], 1)


def _tag(event: Event) -> str:
    """Return the type of the item or part that an event holds; empty without one."""
    held: Event = next((event[field] for field in _OBJECTS if isinstance(event.get(field), dict)), {})
    return str(held.get("type", ""))


def _inside(value: Any, at: str, depth: int) -> Iterator[tuple[str, str, Any]]:
    """Yield what an object becomes without one of its fields, or with another type of value there: kind, place, object.

    Of lists the first element is changed.
    """
    if isinstance(value, dict) and depth:
        for key, inner in value.items():
            spot = f"{at}/{escape_key(key)}"
            yield "field removed", spot, {name: one for name, one in value.items() if name != key}
            yield "wrong type", spot, {**value, key: 7 if isinstance(inner, str) else "text"}
            for kind, place, changed in _inside(inner, spot, depth - 1):
                yield kind, place, {**value, key: changed}
    elif isinstance(value, list) and value and depth:
        yield "wrong type", f"{at}/0", [7 if isinstance(value[0], str) else "text", *value[1:]]
        for kind, place, changed in _inside(value[0], f"{at}/0", depth - 1):
            yield kind, place, [changed, *value[1:]]


def _with(events: list[Event], place: int, event: Event) -> list[Event]:
    return [*events[:place], event, *events[place + 1 :]]


def _numbered(changed: list[Event], events: Sequence[Event]) -> list[Event]:
    """Return a copy of the events with sequence numbers that count on from the first one of the correct stream."""
    first = events[0]["sequence_number"]
    return [{**copy_json(event), "sequence_number": number} for number, event in enumerate(changed, first)]
