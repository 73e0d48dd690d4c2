"""Fields of every event: type, sequence number, required fields, extensions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

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
from rejoinder.validation import SchemaError


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
        (
            (before, view.numbered[place])
            for place, (before, number) in enumerate(itertools.pairwise(view.numbers), 1)
            if number <= before
        ),
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
            (before, view.numbered[place])
            for place, (before, number) in enumerate(itertools.pairwise(view.numbers), 1)
            if number > before + 1 and view.numbered[place].number == view.numbered[place - 1].number + 1
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


@check("EVT-05", Subject.STREAM, needs=lambda view: bool(view.numbered) and view.numbered[0].number == 0)
def first_number(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the first `sequence_number` with `first_sequence_number` of the dialect."""
    event, number = view.numbered[0], view.numbers[0]
    first = view.dialect.stream["first_sequence_number"]
    if number != first:
        message = f"The first sequence_number is {quoted(number)}."
        yield at_event(event, message, "/sequence_number", expected=first, actual=number)


@check("EVT-06", Subject.STREAM, needs=lambda view: bool(view.numbered))
def numbers_are_not_negative(view: ExchangeView) -> Iterator[Problem | More]:
    """Reports every negative `sequence_number`."""
    yield from each(
        (event for event, number in zip(view.numbered, view.numbers, strict=True) if number < 0),
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
        (event for event in view.unknown if not event.is_extension and event.type not in ignored),
        lambda event: at_event(
            event,
            f"The dialect has no event type {quoted(event.type)}.",
            "/type",
            expected="event type of the dialect, or vendor:name",
            actual=event.type,
        ),
        lambda event: event.type,
    )


@check("EVT-08", Subject.STREAM, needs=lambda view: bool(view.extensions))
def extensions_are_numbered(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests that `sequence_number` of every event of type `vendor:name` is an integer."""
    yield from each(
        (event for event in view.extensions if not is_integer(event.data.get("sequence_number"))),
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


@check("EVT-09", Subject.STREAM, needs=lambda view: bool(view.extensions) and view.whole_output is not None)
def extensions_can_be_left_out(view: ExchangeView) -> Iterator[Problem | More]:
    """Reconstructs the output without extension events and compares it with the terminal response, as ACC-12 does."""
    message = "Without extension events, the reconstructed output differs at {} from the terminal response."
    yield from differing(in_exchange, view, message, *view.folded_and_final(), "/response/output", kind="fold")


# Other rules look inside of these: RSP-05, ITM-23, ITM-24, PRT-15.
_OWN_RULES: Final = frozenset({"response", "item", "part", "annotation"})


class _Misfit(NamedTuple):
    """A field of an event that is missing (keyword ``required``), of another type, or wrong inside (``error``).

    A stream may have several for each event, so that they hold no more than what finds the problem.
    """

    event: Event
    field: str
    wanted: str
    value: Any
    keyword: str
    error: SchemaError | None = None


def _misfits(view: ExchangeView) -> Iterator[_Misfit]:
    """Yield where a field of an event is missing or does not match its definition."""
    for event in view.known:
        spec, data = event.spec, event.data
        assert spec is not None
        for name, wanted, kind, required, nullable, nested in spec.fields:
            value = data.get(name, ABSENT)
            if kind is not None and type(value) is not kind:
                if value is ABSENT:
                    if required:
                        yield _Misfit(event, name, wanted, value, "required")
                    continue
                if value is None and (nullable or name == "item"):
                    continue  # ITM-06 covers an item that is null
                if not (wanted == "number" and is_number(value)):
                    yield _Misfit(event, name, wanted, value, "type")
                    continue
            # An empty list, such as that of log probabilities, has nothing inside.
            if nested and value != [] and value is not ABSENT and name not in _OWN_RULES:
                for error in view.dialect.field_validator(spec.type, name).errors(value):
                    yield _Misfit(event, name, wanted, value, error.keyword, error)


def _kind(misfit: _Misfit) -> tuple[str, str, str]:
    inner = masked(misfit.error.pointer) if misfit.error else ""
    return misfit.event.type, misfit.field + inner, misfit.keyword


def _misfit(misfit: _Misfit) -> Problem:
    event, name, wanted, value, keyword, error = misfit
    if error is None:
        error = SchemaError(f"/{name}", "", keyword, actual=value, wanted=wanted)
    else:
        error = replace(error, pointer=f"/{name}{error.pointer}")
    if keyword == "required" and error.pointer == f"/{name}":
        message = f"{event_name(event)} has no {name}."
    elif error.pointer == f"/{name}":
        message = f"{event_name(event)} has {name} {quoted(error.actual)}, expected {error.wanted}."
    else:
        message = mismatch(event_name(event), error)
    return at_misfit(event, error, message)


@check("EVT-10", Subject.STREAM, needs=lambda view: bool(view.known))
def required_fields(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the fields of every event with the dialect's definition of the event type.

    Other rules look into `response` (RSP-05), `item` (ITM-23, ITM-24), `part` and `annotation` (PRT-15).
    """
    yield from each(_misfits(view), _misfit, _kind)
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
