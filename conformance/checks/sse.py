"""Event-stream framing (SSE)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.problems import at_event
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.model.exchange import Outcome
from rejoinder.model.verdict import ABSENT, Problem


@check("SSE-01", Subject.STREAM)
def clean_framing(view: ExchangeView) -> Iterator[Problem]:
    """The stream reader reports invalid UTF-8, oversized events and lines that hold content outside of a data field.

    Unknown field names are allowed by the standard and only count when they look like content that lost its prefix.
    """
    for fault in view.reader.faults:
        if fault.kind in ("utf8", "too_large", "too_many") or (
            fault.kind == "field" and any(c in fault.detail for c in '{}[]"')
        ):
            yield Problem(f"Broken framing: {fault.detail}.", offset=fault.offset, kind=fault.kind)


@check("SSE-02", Subject.STREAM, needs=lambda view: bool(view.events))
def data_is_an_object(view: ExchangeView) -> Iterator[Problem]:
    """Each event's data is parsed; anything but one JSON object is a problem, except null, which SSE-07 judges."""
    for event in view.events:
        if event.error:
            yield at_event(
                event,
                f"The data of an event is not JSON: {event.error}.",
                expected="a JSON object",
                actual=event.frame.data[:200],
                kind="json",
            )
        elif event.value is not None and not isinstance(event.value, dict):
            yield at_event(
                event,
                "The data of an event is JSON, but not an object.",
                expected="a JSON object",
                actual=event.value,
                kind="object",
            )


@check("SSE-03", Subject.STREAM, needs=lambda view: any(event.type for event in view.events))
def event_names_match(view: ExchangeView) -> Iterator[Problem]:
    """The event field is compared with the type in the data; events without a type are left to EVT-01."""
    for event in view.events:
        if event.type and event.frame.event != event.type:
            missing = not event.frame.event
            yield at_event(
                event,
                "An event has no event field." if missing else "An event's name differs from the type in its data.",
                expected=event.type,
                actual=ABSENT if missing else event.frame.event,
                kind="missing" if missing else "differs",
            )


@check("SSE-04", Subject.STREAM, needs=lambda view: bool(view.events))
def no_id_fields(view: ExchangeView) -> Iterator[Problem]:
    """Any id field is a problem."""
    for event in view.events:
        if event.frame.id is not None:
            yield at_event(event, "An event carries an id field.", expected=ABSENT, actual=event.frame.id)


@check("SSE-05", Subject.STREAM, needs=lambda view: bool(view.frames) and view.exchange.outcome is Outcome.COMPLETE)
def last_event_is_terminated(view: ExchangeView) -> Iterator[Problem]:
    """The body of a stream that ended in order must end the last event with a blank line."""
    last = view.frames[-1]
    if not last.terminated:
        yield Problem("The last event is not ended by a blank line; browsers drop it.", offset=last.start)


@check("SSE-07", Subject.STREAM, needs=lambda view: bool(view.events))
def strict_json(view: ExchangeView) -> Iterator[Problem]:
    """The parser reports NaN and Infinity; strings are searched for surrogates that stand alone."""
    for event in view.events:
        if event.constants:
            yield at_event(
                event,
                f"The data holds {event.constants[0]}, which is not JSON.",
                actual=event.constants[0],
                kind="constant",
            )
        elif event.value is None and not event.error:
            yield at_event(
                event, "The data of an event is a bare null.", expected="a JSON object", actual=None, kind="null"
            )
        elif "\\u" in event.frame.data and _has_lone_surrogate(event.value):
            yield at_event(
                event, "The data holds half of a surrogate pair, which no UTF-8 text can hold.", kind="surrogate"
            )


def _has_lone_surrogate(value: Any) -> bool:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            if not item.isascii() and any("\ud800" <= character <= "\udfff" for character in item):
                return True
        elif isinstance(item, dict):
            todo.extend(item)
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return False


def _ended(view: ExchangeView) -> bool:
    return view.exchange.outcome is Outcome.COMPLETE and bool(view.fold.terminals)


@check("SSE-08", Subject.STREAM, needs=_ended)
def sentinel_as_the_dialect_says(view: ExchangeView) -> Iterator[Problem]:
    """The dialect's done_sentinel says whether [DONE] must be there, may be, or must not."""
    wanted = view.dialect.stream["done_sentinel"]
    if wanted == "required" and not view.sentinels:
        yield Problem("The stream ends without the sentinel [DONE].", expected="[DONE]", actual=ABSENT, kind="missing")
    elif wanted == "absent" and view.sentinels:
        frame = view.frames[view.sentinels[0]]
        yield Problem(
            "The stream ends with the sentinel [DONE], which clients of this dialect cannot parse.",
            expected=ABSENT,
            actual="[DONE]",
            offset=frame.start,
            kind="present",
        )


@check("SSE-09", Subject.STREAM, needs=lambda view: bool(view.sentinels))
def sentinel_once_and_last(view: ExchangeView) -> Iterator[Problem]:
    """The place of every [DONE] among the framed events is looked at."""
    first = view.sentinels[0]
    frame = view.frames[first]
    if len(view.sentinels) > 1:
        yield Problem("The sentinel [DONE] is sent more than once.", offset=frame.start, kind="twice")
    elif first != len(view.frames) - 1:
        yield Problem("Events follow the sentinel [DONE].", offset=frame.start, kind="not last")
    if not any(view.events[number].frame.start < frame.start for number in view.fold.terminals):
        yield Problem("The sentinel [DONE] comes before any terminal event.", offset=frame.start, kind="early")


@check("SSE-10", Subject.STREAM, needs=lambda view: bool(view.fold.terminals))
def stream_ends_after_the_end(view: ExchangeView) -> Iterator[Problem]:
    """After the terminal event the connection must end before the client's patience does, and within ten seconds."""
    terminal = view.events[view.fold.terminals[0]]
    waited = view.exchange.ended_at - terminal.frame.t
    if view.exchange.outcome is Outcome.TIMEOUT or waited > 10:
        yield at_event(
            terminal,
            f"The connection stayed open for {waited:.0f} s after the terminal event.",
            expected="the end of the stream",
            kind="open",
        )


@check("SSE-11", Subject.STREAM, needs=lambda view: any("\n" in event.frame.data for event in view.events))
def data_lines_join(view: ExchangeView) -> Iterator[Problem]:
    """Data of several lines must be JSON when joined by line feeds, as readers join it."""
    for event in view.events:
        if event.error and "\n" in event.frame.data:
            yield at_event(
                event,
                "Data spread over several lines is not JSON once its lines are joined by line feeds.",
                actual=event.frame.data[:200],
            )
