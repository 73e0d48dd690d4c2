"""Event envelope: type, sequence number, required fields, extensions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import Event, ExchangeView
from rejoinder.conformance.judging.problems import at_event, differing, get, in_exchange, is_integer, is_set
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.model.verdict import ABSENT, Problem


def _objects(view: ExchangeView) -> list[Event]:
    return [event for event in view.events if isinstance(event.value, dict)]


def _has_objects(view: ExchangeView) -> bool:
    return bool(_objects(view))


@check("EVT-01", Subject.STREAM, needs=_has_objects)
def type_on_every_event(view: ExchangeView) -> Iterator[Problem]:
    """Every event object must have a non-empty string as type."""
    for event in _objects(view):
        if not event.type:
            yield at_event(
                event, "An event has no type.", "/type", expected="a string", actual=event.data.get("type", ABSENT)
            )


@check("EVT-02", Subject.STREAM, needs=_has_objects)
def numbered(view: ExchangeView) -> Iterator[Problem]:
    """sequence_number must be an integer on every event object; extension events are left to EVT-08."""
    for event in _objects(view):
        number = event.data.get("sequence_number", ABSENT)
        if not is_integer(number) and not event.is_extension:
            yield at_event(
                event,
                "An event has no sequence_number."
                if number is ABSENT
                else "An event's sequence_number is not an integer.",
                "/sequence_number",
                expected="an integer",
                actual=number,
            )


def _has_two_numbers(view: ExchangeView) -> bool:
    return len(view.numbered) > 1


@check("EVT-03", Subject.STREAM, needs=_has_two_numbers)
def numbers_increase(view: ExchangeView) -> Iterator[Problem]:
    """Each integer sequence_number is compared with the one before it."""
    for (_, before), (event, number) in itertools.pairwise(view.numbered):
        if number <= before:
            yield at_event(
                event,
                "A sequence_number is not greater than the one before.",
                "/sequence_number",
                expected=f"more than {before}",
                actual=number,
            )


@check("EVT-04", Subject.STREAM, needs=_has_two_numbers)
def numbers_have_no_gaps(view: ExchangeView) -> Iterator[Problem]:
    """Each integer sequence_number must be one more than the one before; steps back are left to EVT-03."""
    for (previous, before), (event, number) in itertools.pairwise(view.numbered):
        if number > before + 1 and event.number == previous.number + 1:
            yield at_event(
                event, "Sequence numbers are skipped.", "/sequence_number", expected=before + 1, actual=number
            )


@check("EVT-05", Subject.STREAM, needs=lambda view: bool(view.numbered) and view.numbered[0][0].number == 0)
def first_number(view: ExchangeView) -> Iterator[Problem]:
    """The first event's sequence_number is compared with the dialect's first_sequence_number."""
    event, number = view.numbered[0]
    first = view.dialect.stream["first_sequence_number"]
    if number != first:
        yield at_event(
            event, "The first sequence_number is another one.", "/sequence_number", expected=first, actual=number
        )


@check("EVT-06", Subject.STREAM, needs=lambda view: bool(view.numbered))
def numbers_are_not_negative(view: ExchangeView) -> Iterator[Problem]:
    """No integer sequence_number may be below zero."""
    for event, number in view.numbered:
        if number < 0:
            yield at_event(
                event, "A sequence_number is negative.", "/sequence_number", expected="0 or more", actual=number
            )


@check("EVT-07", Subject.STREAM, needs=_has_objects)
def types_are_known(view: ExchangeView) -> Iterator[Problem]:
    """A type that the dialect's contract does not list must have the form vendor:name."""
    for event in view.events:
        if event.type and event.spec is None and not event.is_extension:
            yield at_event(
                event,
                "An event type is unknown to the contract and has no vendor prefix.",
                "/type",
                expected="a type of the contract, or vendor:name",
                actual=event.type,
            )


def _has_extensions(view: ExchangeView) -> bool:
    return any(event.is_extension for event in view.events)


@check("EVT-08", Subject.STREAM, needs=_has_extensions)
def extensions_are_numbered(view: ExchangeView) -> Iterator[Problem]:
    """Events whose type has the form vendor:name must have an integer sequence_number."""
    for event in view.events:
        number = event.data.get("sequence_number", ABSENT)
        if event.is_extension and not is_integer(number):
            yield at_event(
                event,
                "An extension event has no integer sequence_number.",
                "/sequence_number",
                expected="an integer",
                actual=number,
            )


@check("EVT-09", Subject.STREAM, needs=lambda view: _has_extensions(view) and view.whole_output is not None)
def extensions_can_be_left_out(view: ExchangeView) -> Iterator[Problem]:
    """The fold, which skips extension events, must arrive at the terminal response's output."""
    message = "Without its extension events the stream does not lead to its terminal response."
    output, pointer = view.fold.output(), "/response/output"
    yield from differing(in_exchange, view, message, output, view.whole_output, pointer, kind="fold")


_JSON_CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": is_integer,
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
}


@check("EVT-10", Subject.STREAM, needs=lambda view: bool(view.known))
def required_fields(view: ExchangeView) -> Iterator[Problem]:
    """Fields and their JSON types are compared with the contract's definition of the event type."""
    for event in view.events:
        spec = event.spec
        if spec is None:
            continue
        for name in spec.required:
            value = event.data.get(name, ABSENT)
            if value is ABSENT:
                yield at_event(
                    event, f"An event lacks its field {name}.", f"/{name}", expected="present", actual=ABSENT
                )
            elif name == "item" and value is None:
                continue  # ITM-06
            elif not _JSON_CHECKS[spec.types[name]](value):
                yield at_event(
                    event,
                    f"An event's field {name} is not of type {spec.types[name]}.",
                    f"/{name}",
                    expected=spec.types[name],
                    actual=value,
                    kind="type",
                )
        if spec.role == "error":
            yield from _error_event(event, view.dialect.stream["error_event"])


def _error_event(event: Event, shape: str) -> Iterator[Problem]:
    nested = event.data.get("error", ABSENT)
    if shape == "either":
        shape = "nested" if isinstance(nested, dict) else "flat"
    pointer = "/error/message" if shape == "nested" else "/message"
    message = get(event.data, "error", "message") if shape == "nested" else event.data.get("message", ABSENT)
    if not isinstance(message, str):
        yield at_event(
            event, "An error event has no message.", pointer, expected="a string", actual=message, kind="error"
        )


@check("EVT-11", Subject.STREAM, needs=_has_objects)
def obfuscation_only_on_deltas(view: ExchangeView) -> Iterator[Problem]:
    """The field obfuscation is looked for on all events, and on all of them when include_obfuscation was false."""
    unwanted = get(view.request, "stream_options", "include_obfuscation") is False
    for event in view.events:
        padded = is_set(event.data.get("obfuscation", ABSENT))
        if padded and (unwanted or not event.type.endswith(".delta")):
            yield at_event(
                event,
                "obfuscation was sent though the request turned it off."
                if unwanted
                else "obfuscation stands on an event that is no delta.",
                "/obfuscation",
                expected=ABSENT,
                actual=event.data["obfuscation"],
                kind="unwanted" if unwanted else "place",
            )
