"""Small builders, so that checks read as rules."""

from __future__ import annotations

from typing import Any, TypeGuard

from rejoinder.conformance.judging.exchange_view import Event, ExchangeView
from rejoinder.model.verdict import ABSENT, Problem


def at_event(event: Event, message: str, pointer: str = "", **details: Any) -> Problem:
    """Return a problem at an event; ``pointer`` points into the event's data."""
    return Problem(
        message, pointer=pointer, event=event.number, event_type=event.type, offset=event.frame.start, **details
    )


def in_response(view: ExchangeView, message: str, pointer: str = "", **details: Any) -> Problem:
    """Return a problem inside the final response; ``pointer`` points into the response object.

    In a stream it is placed at the terminal event, with ``/response`` before the pointer.
    """
    event = view.response_event
    if event is None:
        return Problem(message, pointer=pointer, **details)
    return at_event(event, message, f"/response{pointer}", **details)


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
