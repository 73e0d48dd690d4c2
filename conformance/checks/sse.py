"""Event-stream framing (SSE)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rejoinder.conformance.judging.exchange_view import Event, ExchangeView
from rejoinder.conformance.judging.formats import has_lone_surrogate
from rejoinder.conformance.judging.problems import More, at_event, each, event_name, quoted
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.formatting import plural
from rejoinder.model.exchange import Outcome
from rejoinder.model.verdict import ABSENT, Problem

_FRAMING: Final = {
    "utf8": "valid UTF-8",
    "too_large": "event within the size limit",
    "too_many": "fewer events",
    "field": "content in a data field",
}
"""The kinds of framing faults that count, with what was expected."""


@check("SSE-01", Subject.STREAM)
def clean_framing(view: ExchangeView) -> Iterator[Problem | More]:
    """Reports invalid UTF-8, content outside a `data` field, and streams or events over the reader's size limits.

    The standard allows unknown field names. One counts as content only if it contains quotes, braces or brackets.
    """
    for fault in view.reader.faults:
        if fault.kind in _FRAMING and (fault.kind != "field" or any(c in fault.detail for c in '{}[]"')):
            yield Problem(
                f"The framing of the stream is broken: {fault.detail}.",
                expected=_FRAMING[fault.kind],
                actual=fault.detail,
                offset=fault.offset,
                kind=fault.kind,
            )


@check("SSE-02", Subject.STREAM, needs=lambda view: bool(view.events))
def data_is_an_object(view: ExchangeView) -> Iterator[Problem | More]:
    """Parses the data of each event, which must be one JSON object. SSE-07 covers null."""
    yield from each(
        (event for event in view.events if not event.is_json),
        lambda event: at_event(
            event,
            f"The data of event {event.number} is not JSON: {event.error}.",
            expected="JSON object",
            actual=event.frame.data[:200],
            kind="json",
        ),
    )
    yield from each(
        (event for event in view.events if event.value is not None and not isinstance(event.value, dict)),
        lambda event: at_event(
            event,
            f"The data of event {event.number} is {quoted(event.value)}, not a JSON object.",
            expected="JSON object",
            actual=event.value,
            kind="object",
        ),
    )


@check("SSE-03", Subject.STREAM, needs=lambda view: any(event.type for event in view.events))
def event_names_match(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the `event` field with the `type` in the data. EVT-01 covers events without a type."""

    def problem(event: Event) -> Problem:
        missing = not event.frame.event
        return at_event(
            event,
            f"{event_name(event)} has no event field."
            if missing
            else f"{event_name(event)} has the event field {quoted(event.frame.event)}.",
            expected=event.type,
            actual=ABSENT if missing else event.frame.event,
            kind="missing" if missing else "differs",
        )

    wrong = (event for event in view.events if event.type and event.frame.event != event.type)
    yield from each(wrong, problem, lambda event: (event.type, not event.frame.event))


@check("SSE-04", Subject.STREAM, needs=lambda view: bool(view.events))
def no_id_fields(view: ExchangeView) -> Iterator[Problem | More]:
    """Reports every event with an `id` field."""
    yield from each(
        (event for event in view.events if event.frame.id is not None),
        lambda event: at_event(
            event,
            f"{event_name(event)} has the SSE id {quoted(event.frame.id)}.",
            expected="absent",
            actual=event.frame.id,
        ),
        lambda event: event.type,
    )


@check("SSE-05", Subject.STREAM, needs=lambda view: bool(view.frames) and view.exchange.outcome is Outcome.COMPLETE)
def last_event_is_terminated(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests streams that the endpoint sent to the end. A blank line must end the last event."""
    last = view.frames[-1]
    if not last.terminated:
        yield Problem(
            "No blank line ends the last event. Browsers drop it.",
            expected="blank line",
            actual="end of the stream",
            offset=last.start,
        )


@check("SSE-07", Subject.STREAM, needs=lambda view: bool(view.events))
def strict_json(view: ExchangeView) -> Iterator[Problem | More]:
    """Searches the data of each event for NaN, Infinity, lone surrogates and a bare null."""
    for event in view.events:
        if event.constants:
            yield at_event(
                event,
                f"{event_name(event)} contains {event.constants[0]}, which is not JSON.",
                expected="JSON number or null",
                actual=event.constants[0],
                kind="constant",
            )
        elif "\\u" in event.frame.data and has_lone_surrogate(event.value):
            yield at_event(
                event,
                f"{event_name(event)} contains a lone surrogate, which UTF-8 cannot encode.",
                expected="whole characters",
                actual=event.frame.data[:200],
                kind="surrogate",
            )
    yield from each(
        (event for event in view.events if event.value is None and event.is_json and not event.constants),
        lambda event: at_event(
            event, f"The data of event {event.number} is null.", expected="JSON object", actual=None, kind="null"
        ),
    )


def _ended(view: ExchangeView) -> bool:
    return view.exchange.outcome is Outcome.COMPLETE and bool(view.fold.terminals)


@check("SSE-08", Subject.STREAM, needs=_ended)
def sentinel_as_the_dialect_says(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the end of the stream with `done_sentinel` of the dialect: required, allowed or absent."""
    wanted = view.dialect.stream["done_sentinel"]
    if wanted == "required" and not view.sentinels:
        yield Problem("The stream has no [DONE] sentinel.", expected="[DONE]", actual=ABSENT, kind="missing")
    elif wanted == "absent" and view.sentinels:
        frame = view.frames[view.sentinels[0]]
        yield Problem(
            "The stream has a [DONE] sentinel, which the dialect does not have.",
            expected="absent",
            actual="[DONE]",
            offset=frame.start,
            kind="present",
        )


@check("SSE-09", Subject.STREAM, needs=lambda view: bool(view.sentinels))
def sentinel_once_and_last(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the position of every `[DONE]` in the stream."""
    first = view.sentinels[0]
    frame = view.frames[first]
    if len(view.sentinels) > 1:
        count = len(view.sentinels)
        message = f"The stream has {count} [DONE] sentinels."
        yield Problem(message, expected=1, actual=count, offset=frame.start, kind="twice")
    elif first != len(view.frames) - 1:
        after = len(view.frames) - 1 - first
        message = f"{plural(after, 'event')} {'follows' if after == 1 else 'follow'} the [DONE] sentinel."
        actual = plural(after, "event")
        yield Problem(message, expected="end of the stream", actual=actual, offset=frame.start, kind="not last")
    if not any(view.events[number].frame.start < frame.start for number in view.fold.terminals):
        yield Problem(
            "No terminal event comes before the [DONE] sentinel.",
            expected="terminal event before [DONE]",
            offset=frame.start,
            kind="early",
        )


@check("SSE-10", Subject.STREAM, needs=lambda view: bool(view.fold.terminals))
def stream_ends_after_the_end(view: ExchangeView) -> Iterator[Problem | More]:
    """Measures the time from the terminal event to the end of the connection."""
    terminal = view.events[view.fold.terminals[0]]
    waited = view.exchange.ended_at - terminal.frame.t
    if view.exchange.outcome is Outcome.TIMEOUT or waited > 10:
        yield at_event(
            terminal,
            f"The connection stayed open for {waited:.0f} s after {terminal.type}.",
            expected="end of the stream within 10 s",
            actual=f"open for {waited:.0f} s",
            kind="open",
        )


@check("SSE-11", Subject.STREAM, needs=lambda view: any("\n" in event.frame.data for event in view.events))
def data_lines_join(view: ExchangeView) -> Iterator[Problem | More]:
    """Joins the `data` lines of each event by line feeds, as readers do, and parses the result."""
    for event in view.events:
        lines = event.frame.data.count("\n") + 1
        if lines > 1 and not event.is_json:
            yield at_event(
                event,
                f"The {lines} data lines of event {event.number} do not join to JSON.",
                expected="JSON object",
                actual=event.frame.data[:200],
            )
