"""Controls: a refusal says something of a fault only if the same request without the fault was answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2s
from typing import Any, Final

from rejoinder.conformance.judging.context import AnsweredRequest
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.model.tags import UNCERTAIN, Tag, wrong_field_of

_FAULTY: Final = frozenset({*UNCERTAIN, Tag.UNKNOWN_FIELD, Tag.UNKNOWN_MODEL, Tag.WRONG_KEY})
# What names one request does not decide whether it is answered. Input and stream are compared apart.
_FREE: Final = ("input", "stream", "request_id")
_ITEM: Final = re.compile(r"input\[(\d+)\]")
_FEW: Final = 16
"""Items in an input beyond which no control is looked for; requests with one fault have fewer."""


def answered_requests(views: Iterable[ExchangeView]) -> tuple[AnsweredRequest, ...]:
    """Return what the create requests of a run without a fault had in common with others, if they were answered.

    A stream counts only if it did not fail.
    """
    found: dict[str, AnsweredRequest] = {}
    for view in views:
        if _is_answered(view):
            request = _described(view.request)
            found.setdefault(repr(request), request)
    return tuple(found.values())


def _is_answered(view: ExchangeView) -> bool:
    answered = view.is_create and view.exchange.ok and _FAULTY.isdisjoint(view.exchange.tags)
    return answered and not (view.streamed and (view.fold.errors or "response.failed" in view.by_type))


def _described(request: Mapping[str, Any]) -> AnsweredRequest:
    fields = {name: value for name, value in request.items() if name not in _FREE}
    given = request.get("input")
    form = "string" if isinstance(given, str) else "list" if isinstance(given, list) else ""
    said = blake2s(json.dumps(given, sort_keys=True).encode("utf-8", "replace")).hexdigest()
    return AnsweredRequest(request.get("stream") is True, form, said, fields)


def has_control(view: ExchangeView, *faulty: str) -> bool:
    """Return whether the run answered a request that equals this one but for the fields that are at fault.

    Where ``input`` is at fault, only its form counts (string or list), not what it says; where it is absent, neither.
    """
    request = _described(view.request)
    wanted = {name: value for name, value in request.fields.items() if name not in faulty}
    return any(
        other.streamed is request.streamed
        and request.form in ("", other.form)
        and ("input" in faulty or not request.form or other.input == request.input)
        and {name: value for name, value in other.fields.items() if name not in faulty} == wanted
        for other in view.run_context.answered
    )


def has_control_of_any_form(view: ExchangeView) -> bool:
    """Return whether the run answered a request that equals this one but for its ``input``, whatever form that has."""
    request = _described(view.request)
    return any(
        other.streamed is request.streamed and other.fields == request.fields for other in view.run_context.answered
    )


def has_control_without_fault(view: ExchangeView) -> bool:
    """Return whether the run answered this request without the field that its tags name as wrong.

    If that is a place in one item of the input, the other items must be the same in a request that was answered: an
    endpoint may refuse what is wrong with them.
    """
    field = wrong_field_of(view.exchange.tags)
    name = field.partition(".")[0].partition("[")[0]
    if not name or not has_control(view, name):
        return False
    found = _ITEM.match(field)
    return found is None or _items_but(view.request, int(found[1])) in view.run_context.answered_items


def answered_items(views: Iterable[ExchangeView]) -> frozenset[str]:
    """Return what the input lists of the create requests of a run without a fault are but for one item, if answered.

    Each string is a hash of the other items and of the place of the one that is left out.
    """
    return frozenset(
        _items_but(view.request, place)
        for view in views
        if _is_answered(view) and isinstance(given := view.request.get("input"), list) and len(given) <= _FEW
        for place in range(len(given))
    )


def _items_but(request: Mapping[str, Any], place: int) -> str:
    """Return the hash of the other items of an input; the empty string, which none has, if it lacks the item."""
    given = request.get("input")
    if not isinstance(given, list) or not place < len(given) <= _FEW:
        return ""
    others = [repr(item) for number, item in enumerate(given) if number != place]
    return blake2s(repr((place, others)).encode("utf-8", "surrogatepass")).hexdigest()


def takes_lists(view: ExchangeView) -> bool:
    """Return whether the run answered any request whose ``input`` was a list, streamed or not as this one."""
    streamed = view.request.get("stream") is True
    return any(other.form == "list" and other.streamed is streamed for other in view.run_context.answered)


def has_any_control(view: ExchangeView) -> bool:
    """Return whether the run answered any create request, for requests whose body is no object."""
    return bool(view.run_context.answered)
