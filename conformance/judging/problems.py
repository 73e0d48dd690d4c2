"""Small builders, so that checks read as rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

from rejoinder.conformance.judging.exchange_view import Event, ExchangeView
from rejoinder.conformance.judging.json_diff import first_difference
from rejoinder.model.verdict import ABSENT, Problem


def at_event(event: Event, message: str, pointer: str = "", **details: Any) -> Problem:
    """Return a problem at an event; ``pointer`` points into the event's data."""
    return Problem(
        message, pointer=pointer, event=event.number, event_type=event.type, offset=event.frame.start, **details
    )


def in_exchange(view: ExchangeView, message: str, pointer: str = "", **details: Any) -> Problem:
    """Return a problem of an exchange as a whole; ``pointer`` points into the body of its reply."""
    return Problem(message, pointer=pointer, **{"exchange": view.exchange.id, **details})


def in_response(view: ExchangeView, message: str, pointer: str = "", **details: Any) -> Problem:
    """Return a problem inside the final response; ``pointer`` points into the response object.

    In a stream it is placed at the terminal event, with ``/response`` before the pointer.
    """
    event = view.response_event
    if event is None:
        return in_exchange(view, message, pointer, **details)
    return at_event(event, message, f"/response{pointer}", **{"exchange": view.exchange.id, **details})


def differing(
    at: Callable[..., Problem],
    subject: Event | ExchangeView,
    message: str,
    expected: Any,
    actual: Any,
    pointer: str = "",
    **details: Any,
) -> Iterator[Problem]:
    """Yield a problem at the first place below the pointer where two JSON values differ, if they do.

    ``at`` is one of the builders above, ``subject`` what it takes.
    """
    difference = first_difference(expected, actual, pointer)
    if difference:
        where, left, right = difference
        yield at(subject, message, where, expected=left, actual=right, **details)


def get(value: Any, *path: str | int) -> Any:
    """Walk into parsed JSON; return :data:`ABSENT` where the path leads nowhere."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step, ABSENT)
        elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
            value = value[step]
        else:
            return ABSENT
    return value


def is_integer(value: Any) -> TypeGuard[int]:
    """Return whether a parsed JSON value is an integer (true and false are not)."""
    return type(value) is int


def is_set(value: Any) -> bool:
    """Return whether a field is there and not null."""
    return value is not ABSENT and value is not None
