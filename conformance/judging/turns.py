"""What checks over several requests need of each: was it refused, what did it retrieve, what did the model say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import get, is_integer
from rejoinder.conformance.judging.registry import Declined
from rejoinder.conformance.judging.roles import Role
from rejoinder.model.error_text import error_text
from rejoinder.model.exchange import Outcome, parse_json
from rejoinder.model.tags import sent_for
from rejoinder.model.verdict import Problem
from rejoinder.wire.sse import read_events

LIVENESS_SECONDS: Final = 20.0
"""How long the simplest request may take after others failed."""

OVERSHOOT: Final = 8
"""How many tokens an answer that max_output_tokens ended may be above it, or which part of it (an eighth)."""

TERMINAL: Final = ("completed", "incomplete", "failed", "cancelled")
RUNNING: Final = ("queued", "in_progress")
LACKING: Final = (404, 405, 501)
"""The statuses with which an endpoint refuses an operation that it does not have."""

UNSTABLE: Final = "The model's responses at temperature 0 differ or are empty."
"""Why nothing can be compared where the model is not deterministic."""


def status_code(view: ExchangeView | None) -> int:
    """Return the HTTP status, 0 when there was no reply or no request."""
    return 0 if view is None or view.exchange.status is None else view.exchange.status


def is_broken(status: int) -> bool:
    """Return whether a status is a server error; 501 and 503 are legitimate."""
    return status >= 500 and status not in (501, 503)


def says_model_failed(view: ExchangeView) -> bool:
    """Return whether status 500 has the error type that the dialect has for a model that failed, if it has one."""
    types = view.dialect.response["model_error_types"]
    return status_code(view) == 500 and get(view.exchange.json(), "error", "type") in types


def is_server_error(status: int | None) -> bool:
    """Return whether a status says that the endpoint failed or is overloaded; 501 is a refusal (RFC 9110, 15.6.2)."""
    return status is not None and status >= 500 and status != 501


def reaches_outside(request: Any) -> bool:
    """Return whether any part of a request is an address that the endpoint would have to reach to serve it."""
    if isinstance(request, dict):
        return any(reaches_outside(value) for value in request.values())
    if isinstance(request, list):
        return any(map(reaches_outside, request))
    return isinstance(request, str) and request.startswith(("http://", "https://"))


_WORDS: Final = 12
"""How many words of an endpoint's message tell its failures apart."""

_WORD: Final = re.compile(r"[a-z]{1,24}(?:_[a-z]{1,24})*")
_QUOTED: Final = re.compile(r"(?<!\w)(['\"`])(.*?)\1(?!\w)")
_MARKUP: Final = re.compile(r"<[^<>]*>")


CRASH: Final = "5xx"
"""What the kinds of server errors have in common."""


def crash_kind(view: ExchangeView) -> str:
    """Return the kind of a problem that is a server error: its status and the endpoint's own words.

    Numbers, ids, paths, addresses and what quotes the request are left out, so that one cause gives one kind.
    """
    sent = view.exchange.request.body.decode("utf-8", "replace")
    text = _MARKUP.sub(" ", error_text(view.exchange))
    text = _QUOTED.sub(lambda found: f" {found[2] if found[2] not in sent else ''} ", text)
    words = [word.strip(".,:;!?()[]{}") for word in text.lower().split()]
    kept = [word for word in words if _WORD.fullmatch(word)]
    return " ".join([CRASH, str(status_code(view)), *kept[:_WORDS]])


def is_refusal(status: int) -> bool:
    """Return whether a status refuses the request; overload and missing authorisation do not count."""
    return 400 <= status < 500 and status not in (401, 403, 408, 413, 429)


def is_rejected(status: int) -> bool:
    """Return whether a status refuses the request or is a server error."""
    return is_refusal(status) or is_broken(status)


def is_answer(status: int) -> bool:
    """Return whether a status accepts or rejects the request."""
    return status == 200 or is_rejected(status)


def must_refuse(rule: str) -> Callable[[ExchangeView], bool]:
    """Return the condition that a request was sent to be refused by a rule, and was answered."""
    return lambda view: sent_for(rule) in view.exchange.tags and is_answer(status_code(view))


def refusable(case: CaseView, rule: str) -> list[ExchangeView]:
    """Return the answered requests of a case that a rule wants refused.

    There are none unless the endpoint answered the same request without its fault, in the role ``control``: what it
    refuses for another reason says nothing of the fault.
    """
    views = [view for view in case.views if must_refuse(rule)(view)]
    return views if response_of(case.get(Role.CONTROL)) is not None else []


def is_forgotten(view: ExchangeView) -> bool:
    """Return whether a request that continues a response that never was got a response all the same."""
    return sent_for("STA-06") in view.exchange.tags and response_of(view) is not None


def retrieved(view: ExchangeView | None) -> dict[str, Any] | None:
    """Return the response object in the body of the reply to retrieve or cancel, ``None`` without one."""
    if view is None or view.exchange.status != 200 or view.exchange.outcome is not Outcome.COMPLETE:
        return None
    body = view.body
    return body if isinstance(body, dict) else None


def response_of(view: ExchangeView | None) -> dict[str, Any] | None:
    """Return the response object that a create request got, terminal or not, ``None`` without one."""
    return None if view is None or not view.exchange.ok else view.response


def have_responses(case: CaseView, *roles: str) -> bool:
    """Return whether all create requests with these roles were sent and got a response."""
    return all(response_of(case.get(role)) is not None for role in roles)


def continuations(case: CaseView) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return the create requests that continue a response of the case, each behind the one that made that response."""
    created = ((get(view.response, "id"), view) for view in case.views if view.is_create)
    by_id = {identity: view for identity, view in created if isinstance(identity, str)}
    previous = ((view.request.get("previous_response_id"), view) for view in case.views)
    return [(by_id[identity], view) for identity, view in previous if isinstance(identity, str) and identity in by_id]


def state(response: dict[str, Any] | None) -> Any:
    """Return the status of a response object."""
    return get(response, "status")


def was_cut(view: ExchangeView) -> bool:
    """Return whether max_output_tokens ended the answer, whatever its status says.

    An answer far above the limit was not ended by it: the endpoint does not apply the limit. Few tokens more may be
    those that end an answer or that the endpoint counts in another way.
    """
    cap, used = view.request.get("max_output_tokens"), get(view.response, "usage", "output_tokens")
    spent = is_integer(cap) and is_integer(used) and cap <= used <= cap + max(OVERSHOOT, cap // OVERSHOOT)
    return state(view.response) != "completed" or spent


def calls(view: ExchangeView, *kinds: str) -> list[tuple[int, dict[str, Any]]]:
    """Return place and item of the output items of these types."""
    found = [pair for kind in kinds for pair in view.items_by_type.get(kind, ())]
    return sorted(found, key=itemgetter(0)) if len(kinds) > 1 else found


def whole_calls(view: ExchangeView) -> list[tuple[int, dict[str, Any]]]:
    """Return place and item of the function calls of the output that are complete."""
    return [
        (i, item)
        for i, item in calls(view, "function_call")
        if item.get("status") in (None, "completed") and isinstance(item.get("arguments"), str)
    ]


def has_refusal(view: ExchangeView) -> bool:
    """Return whether the model refused to answer."""
    return any(part.get("type") == "refusal" for _, part in view.content_parts())


def says(view: ExchangeView | None, word: str) -> bool:
    """Return whether the text of a reply holds a canary, other than in items of the input that were copied to it."""
    return view is not None and word.lower() in text_of(own_items(view.request.get("input"), view.output)).lower()


def own_items(given: Any, output: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the output items without those that are copies of items of the input.

    A copy has the id of an input item. A message without one is a copy if it has the text of an assistant message of
    the input and stands beside other messages.
    """
    items = [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
    ids = {item["id"] for item in items if isinstance(item.get("id"), str)}
    texts = {_content(item) for item in items if item.get("role") == "assistant"} - {""}
    several = sum(item.get("type") == "message" for item in output) > 1
    return [
        item
        for item in output
        if str(item.get("id")) not in ids
        and not (several and item.get("type") == "message" and _content(item) in texts)
    ]


def text_of(items: Iterable[dict[str, Any]]) -> str:
    """Return the joined text of the messages among items."""
    return "".join(_content(item) for item in items if item.get("type") == "message")


def _content(item: dict[str, Any]) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(
        part["text"] for part in parts if get(part, "type") == "output_text" and isinstance(part.get("text"), str)
    )


def replayed(view: ExchangeView) -> list[dict[str, Any]]:
    """Return the events of a replay (a retrieve with ``stream=true``) that are objects, in order.

    Those that clients of the dialect ignore are left out: no replay need have them.
    """
    ignored = view.dialect.stream["ignored_events"]
    data = (parse_json(event.data) for event in read_events(view.exchange.chunks)[0] if event.has_data)
    return [event for event in data if isinstance(event, dict) and event.get("type") not in ignored]


def is_replay(view: ExchangeView | None) -> bool:
    """Return whether a retrieve with ``stream=true`` was answered with a stream."""
    return view is not None and view.exchange.status == 200 and view.exchange.content_type == "text/event-stream"


def canary_of(case: CaseView, noun: str) -> str:
    """Return the first canary with this noun in the requests of a case; empty without one."""
    for view in case.views:
        text = view.exchange.request.body.decode("utf-8", "replace")
        place = text.find(f"{noun}-")
        if place >= 0:
            rest = text[place:]
            length = next((i for i, char in enumerate(rest) if not (char.isalnum() or char == "-")), len(rest))
            return rest[:length]
    return ""


def texts_of(case: CaseView, *roles: str) -> list[str]:
    """Return the texts of the responses to the requests in these roles, of those that were answered."""
    return [view.text() for view in case.having(*roles) if response_of(view) is not None]


def are_alike(case: CaseView, *roles: str) -> bool:
    """Return whether all of these requests were answered with one and the same text, that is not empty."""
    texts = texts_of(case, *roles)
    return len(texts) == len(roles) and len(set(texts)) == 1 and bool(texts[0])


def cannot_repeat() -> Declined:
    """Return the reason for testing nothing when a model did not show that it can repeat a canary."""
    return Declined("The model did not repeat the canary even when one request contained everything.")


def liveness_problem(view: ExchangeView) -> Problem | None:
    """Return what is wrong with the simplest request after others failed: refused, broken off, or not answered."""
    status, outcome = status_code(view), view.exchange.outcome
    hung = outcome is Outcome.CANCELLED and view.exchange.ended_at >= LIVENESS_SECONDS
    if outcome is Outcome.CANCELLED and not hung:
        return None  # the run was interrupted
    if not hung and status in (200, 429, 503):
        return None
    return Problem(
        f"A valid request afterwards got no complete response within {LIVENESS_SECONDS:.0f} s."
        if hung
        else f"A valid request afterwards {f'returned status {status}' if status else 'got no response'}.",
        expected=200,
        actual="timeout" if hung else status or outcome.value,
        kind=f"after {crash_kind(view)}" if is_server_error(status) and not hung else "after",
        exchange=view.exchange.id,
    )
