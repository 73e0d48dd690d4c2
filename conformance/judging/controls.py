"""Controls: a refusal says something of a fault only if the same request without the fault was answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rejoinder.conformance.judging.context import AnsweredRequest
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.model.tags import UNCERTAIN, Tag, wrong_field_of

_FAULTY: Final = frozenset({*UNCERTAIN, Tag.UNKNOWN_FIELD, Tag.UNKNOWN_MODEL, Tag.WRONG_KEY})
# What names one request, and what the input says, do not decide whether a request is answered.
_FREE: Final = ("input", "stream", "request_id")


def answered_requests(views: Iterable[ExchangeView]) -> tuple[AnsweredRequest, ...]:
    """Return what the create requests of a run without a fault had in common with others, if they were answered.

    A stream counts only if it did not fail.
    """
    found: dict[str, AnsweredRequest] = {}
    for view in views:
        answered = view.is_create and view.exchange.ok and _FAULTY.isdisjoint(view.exchange.tags)
        if answered and not (view.streamed and (view.fold.errors or "response.failed" in view.by_type)):
            request = _described(view.request)
            found.setdefault(repr(request), request)
    return tuple(found.values())


def _described(request: Mapping[str, Any]) -> AnsweredRequest:
    fields = {name: value for name, value in request.items() if name not in _FREE}
    given = request.get("input")
    form = "string" if isinstance(given, str) else "list" if isinstance(given, list) else ""
    return AnsweredRequest(request.get("stream") is True, form, fields)


def has_control(view: ExchangeView, *faulty: str) -> bool:
    """Return whether the run answered a request that equals this one but for the fields that are at fault.

    Only the form of ``input`` counts (string or list), not what it says.
    """
    request = _described(view.request)
    wanted = {name: value for name, value in request.fields.items() if name not in faulty}
    return any(
        other.streamed is request.streamed
        and request.form in ("", other.form)
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
    """Return whether the run answered this request without the field that its tags name as wrong."""
    field = wrong_field_of(view.exchange.tags).partition(".")[0].partition("[")[0]
    return bool(field) and has_control(view, field)


def takes_lists(view: ExchangeView) -> bool:
    """Return whether the run answered any request whose ``input`` was a list, streamed or not as this one."""
    streamed = view.request.get("stream") is True
    return any(other.form == "list" and other.streamed is streamed for other in view.run_context.answered)


def has_any_control(view: ExchangeView) -> bool:
    """Return whether the run answered any create request, for requests whose body is no object."""
    return bool(view.run_context.answered)
