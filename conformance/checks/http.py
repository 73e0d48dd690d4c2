"""HTTP envelope of create requests."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.conformance.checks._problems import get, is_integer
from rejoinder.conformance.registry import On, check
from rejoinder.conformance.view import Case, View
from rejoinder.exchange import Outcome
from rejoinder.verdict import ABSENT, Problem


@check("HTTP-01", On.PLAIN)
def plain_is_json(view: View) -> Iterator[Problem]:
    """The media type of the Content-Type header is compared, parameters aside."""
    if view.exchange.content_type != "application/json":
        yield Problem(
            "A plain reply is not marked as JSON.",
            expected="application/json",
            actual=view.exchange.header("content-type") or ABSENT,
        )


@check("HTTP-02", On.CREATE, needs=lambda view: view.streamed and view.exchange.ok)
def stream_is_event_stream(view: View) -> Iterator[Problem]:
    """The media type of the Content-Type header is compared, parameters aside."""
    if view.exchange.content_type != "text/event-stream":
        yield Problem(
            "The reply to a streaming request is not marked as an event stream.",
            expected="text/event-stream",
            actual=view.exchange.header("content-type") or ABSENT,
        )


def _was_to_be_answered(view: View) -> bool:
    exchange = view.exchange
    if "valid" not in exchange.tags or exchange.outcome is Outcome.CANCELLED:
        return False
    # Refusing a feature (4xx, 501) or being busy (429, 503) breaks no rule.
    return exchange.status is None or exchange.status < 400 or _is_server_error(exchange.status)


def _is_server_error(status: int) -> bool:
    return status >= 500 and status not in (501, 503)


@check("HTTP-03", On.CREATE, needs=_was_to_be_answered)
def create_answers_200(view: View) -> Iterator[Problem]:
    """Only bodies that are valid beyond dispute are judged; a 4xx, 429, 501 or 503 counts as refused, not as broken."""
    exchange = view.exchange
    if exchange.status is None:
        yield Problem(f"A valid request got no reply: {exchange.detail}", kind=exchange.outcome.value)
    elif exchange.status != 200:
        yield Problem(
            f"A valid request was answered with status {exchange.status}.",
            expected=200,
            actual=exchange.status,
            kind="5xx" if exchange.status >= 500 else "status",
        )
    elif not view.streamed and exchange.outcome is not Outcome.COMPLETE:
        yield Problem(f"The reply to a valid request broke off: {exchange.detail}", kind=exchange.outcome.value)


@check("HTTP-04", On.CREATE, needs=lambda view: "basic" in view.exchange.tags and view.exchange.status is not None)
def both_inputs_are_taken(view: View) -> Iterator[Problem]:
    """The simplest string input and the simplest list of one user message must not be refused."""
    status = view.exchange.status
    if status is not None and 400 <= status < 500 and status != 429:
        form = "string" if isinstance(view.request.get("input"), str) else "list"
        yield Problem(
            f"The simplest {form} input is refused with status {status}.",
            pointer="/input",
            expected=200,
            actual=status,
            kind=form,
        )


def _two_input_forms(case: Case) -> bool:
    replies = [case.get("string"), case.get("list")]
    return all(view is not None and is_integer(get(view.response, "usage", "input_tokens")) for view in replies)


@check("HTTP-04", On.CASE, needs=_two_input_forms)
def string_is_one_user_message(case: Case) -> Iterator[Problem]:
    """The same text as string and as one user message must count the same input tokens."""
    string, listed = case.get("string"), case.get("list")
    assert string is not None
    assert listed is not None
    first = get(string.response, "usage", "input_tokens")
    second = get(listed.response, "usage", "input_tokens")
    if first != second:
        yield Problem(
            "A string input counts other tokens than the same text as one user message.",
            pointer="/usage/input_tokens",
            expected=first,
            actual=second,
            kind="tokens",
            exchange=listed.exchange.id,
        )


@check("HTTP-05", On.PLAIN)
def output_is_there(view: View) -> Iterator[Problem]:
    """The body must be a JSON object whose output is an array."""
    if not isinstance(view.body, dict):
        yield Problem("The body of a plain reply is not a JSON object.", kind="body", actual=view.exchange.body[:200])
        return
    output = view.body.get("output", ABSENT)
    if not isinstance(output, list):
        yield Problem("A plain reply has no output array.", pointer="/output", expected="an array", actual=output)
