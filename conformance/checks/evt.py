"""Fields of every event: type, sequence number, required fields, extensions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from rejoinder.conformance.judging.exchange_view import CaseView, Event, ExchangeView
from rejoinder.conformance.judging.problems import (
    More,
    at_event,
    at_misfit,
    differing,
    each,
    event_name,
    get,
    has_what,
    in_exchange,
    is_integer,
    is_number,
    is_set,
    is_what,
    mismatch,
    quoted,
)
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import is_replay, replayed
from rejoinder.formatting import plural
from rejoinder.model.verdict import ABSENT, Problem, masked
from rejoinder.validation import JSON_TYPES, SchemaError


def _has_objects(view: ExchangeView) -> bool:
    return bool(view.objects)


@check("EVT-01", Subject.STREAM, needs=_has_objects)
def type_on_every_event(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests that `type` of every event is a non-empty string."""
    yield from each(
        (event for event in view.objects if not event.type),
        lambda event: at_event(
            event,
            f"The type of event {event.number} {is_what(event.data.get('type', ABSENT))}.",
            "/type",
            expected="non-empty string",
            actual=event.data.get("type", ABSENT),
        ),
    )


@check("EVT-02", Subject.STREAM, needs=_has_objects)
def numbered(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests that `sequence_number` of every event that the dialect defines is an integer. EVT-07 covers others."""
    yield from each(
        (event for event in view.known if not is_integer(event.data.get("sequence_number"))),
        lambda event: at_event(
            event,
            f"{event_name(event)} {has_what('sequence_number', event.data.get('sequence_number', ABSENT))}.",
            "/sequence_number",
            expected="integer",
            actual=event.data.get("sequence_number", ABSENT),
        ),
        lambda event: event.type,
    )


def _has_two_numbers(view: ExchangeView) -> bool:
    return len(view.numbered) > 1


@check("EVT-03", Subject.STREAM, needs=_has_two_numbers)
def numbers_increase(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares each integer `sequence_number` with the previous one."""
    yield from each(
        ((before, event) for (_, before), (event, number) in itertools.pairwise(view.numbered) if number <= before),
        lambda place: at_event(
            place[1],
            f"sequence_number {quoted(place[1].data['sequence_number'])} follows {quoted(place[0])}.",
            "/sequence_number",
            expected=f"integer greater than {place[0]}",
            actual=place[1].data["sequence_number"],
        ),
        lambda place: place[1].type,
    )


@check("EVT-04", Subject.STREAM, needs=_has_two_numbers)
def numbers_have_no_gaps(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares each integer `sequence_number` with the previous one plus 1. EVT-03 covers smaller numbers."""
    yield from each(
        (
            (before, event)
            for (previous, before), (event, number) in itertools.pairwise(view.numbered)
            if number > before + 1 and event.number == previous.number + 1
        ),
        lambda place: at_event(
            place[1],
            f"sequence_number {quoted(place[1].data['sequence_number'])} follows {quoted(place[0])}.",
            "/sequence_number",
            expected=place[0] + 1,
            actual=place[1].data["sequence_number"],
        ),
        lambda place: place[1].type,
    )


@check("EVT-05", Subject.STREAM, needs=lambda view: bool(view.numbered) and view.numbered[0][0].number == 0)
def first_number(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the first `sequence_number` with `first_sequence_number` of the dialect."""
    event, number = view.numbered[0]
    first = view.dialect.stream["first_sequence_number"]
    if number != first:
        message = f"The first sequence_number is {quoted(number)}."
        yield at_event(event, message, "/sequence_number", expected=first, actual=number)


@check("EVT-06", Subject.STREAM, needs=lambda view: bool(view.numbered))
def numbers_are_not_negative(view: ExchangeView) -> Iterator[Problem | More]:
    """Reports every negative `sequence_number`."""
    yield from each(
        (event for event, number in view.numbered if number < 0),
        lambda event: at_event(
            event,
            f"{event_name(event)} has sequence_number {quoted(event.data['sequence_number'])}.",
            "/sequence_number",
            expected="non-negative integer",
            actual=event.data["sequence_number"],
        ),
        lambda event: event.type,
    )


@check("EVT-07", Subject.STREAM, needs=_has_objects)
def types_are_known(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares every event type with the list of the dialect. Other types must have the form `vendor:name`.

    `ignored_events` of the dialect lists types that its clients know and ignore, such as `keepalive`.
    """
    ignored = view.dialect.stream["ignored_events"]
    yield from each(
        (
            event
            for event in view.events
            if event.spec is None and event.type and not event.is_extension and event.type not in ignored
        ),
        lambda event: at_event(
            event,
            f"The dialect has no event type {quoted(event.type)}.",
            "/type",
            expected="event type of the dialect, or vendor:name",
            actual=event.type,
        ),
        lambda event: event.type,
    )


def _has_extensions(view: ExchangeView) -> bool:
    return any(event.is_extension for event in view.events)


@check("EVT-08", Subject.STREAM, needs=_has_extensions)
def extensions_are_numbered(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests that `sequence_number` of every event of type `vendor:name` is an integer."""
    yield from each(
        (event for event in view.events if event.is_extension and not is_integer(event.data.get("sequence_number"))),
        lambda event: at_event(
            event,
            f"The sequence_number of extension event {quoted(event.type)} "
            f"{is_what(event.data.get('sequence_number', ABSENT))}.",
            "/sequence_number",
            expected="integer",
            actual=event.data.get("sequence_number", ABSENT),
        ),
        lambda event: event.type,
    )


@check("EVT-09", Subject.STREAM, needs=lambda view: _has_extensions(view) and view.whole_output is not None)
def extensions_can_be_left_out(view: ExchangeView) -> Iterator[Problem | More]:
    """Reconstructs the output without extension events and compares it with the terminal response, as ACC-12 does."""
    message = "Without extension events, the reconstructed output differs at {} from the terminal response."
    yield from differing(in_exchange, view, message, *view.folded_and_final(), "/response/output", kind="fold")


# Parsed JSON has these types; a number may be whole.
_JSON_TYPES: Final[Mapping[str, type]] = {name: type_ for type_, name in JSON_TYPES.items()}

# Other rules look inside of these: RSP-05, ITM-23, ITM-24, PRT-15.
_OWN_RULES: Final = ("response", "item", "part", "annotation")
_Misfit = tuple[Event, SchemaError]


def _misfits(view: ExchangeView) -> Iterator[_Misfit]:
    """Yield where a field of an event is missing or does not match its definition."""
    for event in view.known:
        spec, data = event.spec, event.data
        assert spec is not None
        for name, wanted in spec.types.items():
            value = data.get(name, ABSENT)
            if wanted and type(value) is not _JSON_TYPES[wanted]:
                if value is ABSENT:
                    if name in spec.required:
                        message = f"required field {quoted(name)} is missing"
                        yield event, SchemaError(f"/{name}", message, "required", wanted=wanted)
                    continue
                if value is None and (name in spec.nullable or name == "item"):
                    continue  # ITM-06 covers an item that is null
                if not (wanted == "number" and is_number(value)):
                    yield event, SchemaError(f"/{name}", "", "type", actual=value, wanted=wanted)
                    continue
            # An empty list, such as that of log probabilities, has nothing inside.
            if name in spec.nested and value != [] and name not in _OWN_RULES and value is not ABSENT:
                for error in view.dialect.field_validator(spec.type, name).errors(value):
                    yield event, replace(error, pointer=f"/{name}{error.pointer}")


def _misfit(place: _Misfit) -> Problem:
    event, error = place
    name = error.pointer[1:]
    if error.keyword == "required" and "/" not in name:
        message = f"{event_name(event)} has no {name}."
    elif "/" not in name:
        message = f"{event_name(event)} has {name} {quoted(error.actual)}, expected {error.wanted}."
    else:
        message = mismatch(event_name(event), error)
    return at_misfit(event, error, message)


@check("EVT-10", Subject.STREAM, needs=lambda view: bool(view.known))
def required_fields(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the fields of every event with the dialect's definition of the event type.

    Other rules look into `response` (RSP-05), `item` (ITM-23, ITM-24), `part` and `annotation` (PRT-15).
    """
    yield from each(_misfits(view), _misfit, lambda place: (place[0].type, masked(place[1].pointer), place[1].keyword))
    for event in view.known:
        if event.spec is not None and event.spec.role == "error":
            yield from _error_event(event, view.dialect.stream["error_event"])


def _error_event(event: Event, shape: str) -> Iterator[Problem | More]:
    nested = event.data.get("error", ABSENT)
    if shape == "either":
        shape = "nested" if isinstance(nested, dict) else "flat"
    pointer = "/error/message" if shape == "nested" else "/message"
    message = get(event.data, "error", "message") if shape == "nested" else event.data.get("message", ABSENT)
    if not isinstance(message, str):
        text = f"The error event has no {pointer[1:].replace('/', '.')}."
        yield at_event(event, text, pointer, expected="string", actual=message, kind="error")


@check("EVT-11", Subject.STREAM, needs=_has_objects)
def obfuscation_only_on_deltas(view: ExchangeView) -> Iterator[Problem | More]:
    """Searches all events but deltas for `obfuscation`, and deltas too if `include_obfuscation` is false."""
    unwanted = get(view.request, "stream_options", "include_obfuscation") is False
    for event in view.events:
        padded = is_set(event.data.get("obfuscation", ABSENT))
        if padded and (unwanted or not event.type.endswith(".delta")):
            yield at_event(
                event,
                f"{event_name(event)} has obfuscation although include_obfuscation is false."
                if unwanted
                else f"{event_name(event)} has obfuscation but is not a delta.",
                "/obfuscation",
                expected="absent",
                actual=event.data["obfuscation"],
                kind="unwanted" if unwanted else "place",
            )


@check("EVT-11", Subject.CASE, needs=lambda case: is_replay(case.get(Role.REPLAY_BARE)))
def replays_have_no_unwanted_obfuscation(case: CaseView) -> Iterator[Problem]:
    """A stream is replayed with `include_obfuscation` false."""
    (view,) = case.having(Role.REPLAY_BARE)
    padded = [event for event in replayed(view) if is_set(event.get("obfuscation", ABSENT))]
    if padded:
        yield in_exchange(
            view,
            f"{plural(len(padded), 'event')} of a replay with include_obfuscation false "
            f"{'has' if len(padded) == 1 else 'have'} obfuscation.",
            "/obfuscation",
            expected="absent",
            actual=padded[0]["obfuscation"],
            kind="replay",
        )
