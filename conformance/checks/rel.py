"""Related requests: the same request, sent in another way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import differing, get, in_exchange, in_response
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.relations import can_compare, differences
from rejoinder.conformance.judging.turns import RUNNING, response_of, retrieved, state
from rejoinder.contract import load_volatile
from rejoinder.model.tags import ON_PURPOSE
from rejoinder.model.verdict import Problem


def _relation_rule(rule: str, what: str) -> None:
    """Register the checks of a rule about requests that are the same in another form."""

    def same_response(case: CaseView) -> Iterator[Problem | Declined]:
        yield from differences(case, rule)

    same_response.__doc__ = (
        f"Compares the responses to {what}: every field of the response object that the dialect defines, other than "
        "ids and times. Compares the output and the token counts only at temperature 0, and only if one of the "
        "requests was sent twice and got the same output twice."
    )
    for subject in (Subject.CASE, Subject.RUN):
        check(rule, subject, needs=can_compare(rule))(same_response)


_relation_rule(
    "REL-01",
    "requests whose `input` has the same meaning in another form: a string or a list, messages with or without `type`, "
    "text as a string or as a part",
)
_relation_rule("REL-02", "requests without an optional field, with null in it and with its documented default")
_relation_rule("REL-03", "requests that are the same JSON, with another order of fields, whitespace or escapes")
_relation_rule("REL-04", "requests with `store` true and false")
_relation_rule("REL-05", "requests with and without `background`, once both have ended")
_relation_rule("REL-06", "requests with `previous_response_id` and requests with the same history as `input`")


def _runs_and_retrieves(case: CaseView) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return the requests that were taken up as background work, each with every retrieve of its response."""
    created: dict[str, ExchangeView] = {}
    found = []
    for view in case.views:
        if view.is_create and view.request.get("background") is True:
            response = response_of(view)
            if state(response) in RUNNING:
                created.setdefault(str(get(response, "id")), view)
        elif view.exchange.request.method == "GET" and "?" not in view.exchange.request.path:
            body = retrieved(view)
            first = created.get(str(get(body, "id")))
            if first is not None and get(body, "object") == "response":
                found.append((first, view))
    return found


_SETTLED_LATER: Final = frozenset({"completed_at", "service_tier"})


@check("REL-08", Subject.CASE, needs=lambda case: bool(_runs_and_retrieves(case)))
def background_responses_keep_their_fields(case: CaseView) -> Iterator[Problem]:
    """Compares the response that a background request returned at once with every retrieve of it.

    Compares the fields that the dialect defines and that both have, other than those that the model has a part in.
    """
    outcome = load_volatile().outcome | _SETTLED_LATER
    for created, fetched in _runs_and_retrieves(case):
        before, after = response_of(created) or {}, retrieved(fetched) or {}
        for name in sorted((created.dialect.response_fields | created.dialect.parameters) - outcome):
            if before.get(name) is not None and after.get(name) is not None:
                message = f"{{}} of a background response differs from when it was created ({created.exchange.id})."
                yield from differing(in_exchange, fetched, message, before[name], after[name], f"/{name}")


def _tools(view: ExchangeView) -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Return place, tool and repeated tool, if the response repeats as many tools of the same types and names."""
    sent, back = view.request.get("tools"), (response_of(view) or {}).get("tools")
    if not isinstance(sent, list) or not isinstance(back, list) or len(sent) != len(back):
        return []
    found = [pair for pair in zip(sent, back, strict=True) if all(isinstance(tool, dict) for tool in pair)]
    alike = len(found) == len(sent) and all(
        tool.get(name) == repeated.get(name) for tool, repeated in found for name in ("type", "name")
    )
    return [(place, *pair) for place, pair in enumerate(found)] if alike else []


def _repeated_tools(run: CaseView) -> dict[str, list[tuple[ExchangeView, int, dict[str, Any]]]]:
    """Return every place at which the responses repeat a tool, by the tool as JSON."""
    found: dict[str, list[tuple[ExchangeView, int, dict[str, Any]]]] = {}
    for view in run.views:
        if view.is_create and not ON_PURPOSE.intersection(view.exchange.tags):
            for place, tool, repeated in _tools(view):
                found.setdefault(json.dumps(tool, sort_keys=True), []).append((view, place, repeated))
    return {tool: places for tool, places in found.items() if len(places) > 1}


@check("REL-07", Subject.RUN, needs=lambda run: bool(run.once(_repeated_tools)))
def tools_are_repeated_alike(run: CaseView) -> Iterator[Problem]:
    """Compares all responses that repeat one tool, whatever else their requests have.

    Responses that repeat fewer tools, or change their type or name, are not compared. ECH-01 covers them.
    """
    for (first, _, expected), *others in run.once(_repeated_tools).values():
        for view, place, actual in others:
            message = f"{{}} differs from the same tool in the response of another request ({first.exchange.id})."
            yield from differing(
                in_response, view, message, expected, actual, f"/tools/{place}", others=(first.exchange.id,)
            )
