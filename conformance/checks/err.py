"""Errors: the body of refused requests, and parameters without effect."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from typing import Any, Final

from msgspec import structs

from rejoinder.conformance.judging.controls import has_control, has_control_without_fault
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.formats import has_lone_surrogate
from rejoinder.conformance.judging.problems import at_event, get, in_exchange, in_response, is_what
from rejoinder.conformance.judging.recall import ATTEMPTS, is_about, unheard_words
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.turns import (
    UNSTABLE,
    are_alike,
    crash_kind,
    have_responses,
    is_answer,
    is_broken,
    is_server_error,
    reaches_outside,
    response_of,
    says_model_failed,
    status_code,
    texts_of,
)
from rejoinder.model.exchange import Outcome
from rejoinder.model.tags import UNCERTAIN, Tag, sent_for, wrong_field_of
from rejoinder.model.verdict import ABSENT, Problem
from rejoinder.validation import JSON_TYPES

_LARGEST_ERROR: Final = 8 * 1024
_SERVER: Final = range(500, 600)
_CLIENT: Final = (*range(400, 500), 501)
"""The statuses of refusals; with 501 an endpoint refuses what it does not support."""
# What error types say of the status, in lower case without separators and the ending "error". Types that are not listed
# say nothing that could contradict it.
_STATUSES_OF_TYPE: Final[Mapping[str, Container[int]]] = {
    "server": _SERVER,
    "internalserver": _SERVER,
    "internal": _SERVER,
    "invalidrequest": _CLIENT,
    "badrequest": _CLIENT,
    "validation": _CLIENT,
    "notfound": range(404, 405),
    "toomanyrequests": range(429, 430),
    "authentication": range(401, 404),
    "permission": range(401, 404),
}
# What only the insides of a program look like, as the languages that servers are written in print it.
_INSIDES: Final[Mapping[str, re.Pattern[str]]] = {
    "a Python stack trace": re.compile(r"Traceback \(most recent call last\)|\bFile \\?\"[^\"]+\", line \d+"),
    "a JavaScript stack trace": re.compile(r"\bat (?:\S+ )?\(?(?:file://)?/\S+\.[cm]?[jt]s:\d+:\d+|node_modules/"),
    "a Java stack trace": re.compile(r"\bat [\w$.]+\([\w$]+\.(?:java|kt|scala):\d+\)"),
    "a Rust panic": re.compile(r"panicked at |RUST_BACKTRACE"),
    "a Go stack trace": re.compile(r"\bgoroutine \d+ \["),
    "the path of a source file": re.compile(r"/(?:[\w.@-]+/)+[\w.-]+\.(?:py|rs|go|cpp|cc|hpp|h|rb|php|java|ts|js)\b"),
}


def _error(view: ExchangeView) -> dict[str, Any] | None:
    body = view.exchange.json()
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else None


def _is_refusal(view: ExchangeView) -> bool:
    """Whether the status refuses the request; HTTP-12 covers server errors."""
    return not is_server_error(view.exchange.status)


def _is_refused_create(view: ExchangeView) -> bool:
    """Whether a create request was refused that the documents of the dialects cover: they name no content codings."""
    return view.is_create and _is_refusal(view) and sent_for("LIM-01") not in view.exchange.tags


@check("ERR-01", Subject.REFUSAL, needs=_is_refused_create)
def error_envelope(view: ExchangeView) -> Iterator[Problem]:
    """The body must be a JSON object whose `error` is an object with the fields that the dialect requires.

    Only create requests are tested. HTTP-12 covers 5xx, ERR-12 the other operations, LIM-01 compressed requests.
    """
    yield from _envelope(view)


def _envelope(view: ExchangeView) -> Iterator[Problem]:
    error, required = _error(view), view.dialect.error_schema.get("required", [])
    if error is None:
        body = view.exchange.json()
        yield Problem(
            "The body of the refused request has no error object.",
            pointer="/error",
            expected=f"object with {', '.join(required)}",
            actual=body if body is not None else view.exchange.body[:200],
            kind="none",
        )
        return
    for name in required:
        if name not in error:
            yield Problem(
                f"The error object has no {name}.", pointer=f"/error/{name}", expected="present", actual=ABSENT
            )


def _is_served(view: ExchangeView) -> bool:
    """Whether the request is for an operation that the endpoint has, so that it is the operation that refuses it."""
    lacking = view.exchange.status in (404, 405) and view.operation not in view.run_context.operations
    return bool(view.operation) and not lacking


@check("ERR-12", Subject.REFUSAL, needs=lambda view: _is_served(view) and _is_refusal(view))
def error_envelope_of_other_operations(view: ExchangeView) -> Iterator[Problem]:
    """As ERR-01, for refused requests to every other operation.

    Status 404 and 405 of an operation that never succeeds are not tested: the endpoint may lack the operation.
    """
    yield from _envelope(view)


@check("ERR-02", Subject.REFUSAL, needs=lambda view: _error(view) is not None)
def error_fields_have_their_types(view: ExchangeView) -> Iterator[Problem]:
    """The JSON types of `message`, `type`, `code` and `param` are compared with the dialect, where present."""
    error = _error(view) or {}
    for name, allowed in view.dialect.error_field_types.items():
        value = error.get(name, ABSENT)
        if value is not ABSENT and JSON_TYPES.get(type(value)) not in allowed:
            yield Problem(
                f"The error's {name} {is_what(value)}.",
                pointer=f"/error/{name}",
                expected=" or ".join(allowed),
                actual=value,
            )


@check("ERR-13", Subject.REFUSAL, needs=lambda view: isinstance(get(_error(view), "message"), str))
def error_message_is_not_empty(view: ExchangeView) -> Iterator[Problem]:
    """The `message` of an error must have more than white space. ERR-02 covers its type."""
    message = get(_error(view), "message")
    if not message.strip():
        yield Problem(
            "The error's message is empty.", pointer="/error/message", expected="non-empty string", actual=message
        )


@check("ERR-03", Subject.REFUSAL, needs=lambda view: isinstance(get(_error(view), "type"), str))
def error_type_fits(view: ExchangeView) -> Iterator[Problem]:
    """Error types with a known meaning are compared with the HTTP status.

    The suffix `_error` is optional.
    """
    kind, status = get(_error(view), "type"), view.exchange.status or 0
    meant = _STATUSES_OF_TYPE.get(_plain_type(kind))
    if meant is not None and status not in meant:
        yield Problem(
            f'Error type "{kind}" contradicts status {status}.',
            pointer="/error/type",
            expected=f"type for status {status // 100}xx",
            actual=kind,
            kind=f"{status // 100}xx",
        )


def _plain_type(kind: str) -> str:
    return re.sub(r"[^a-z]", "", kind.lower()).removesuffix("error")


def _has_param(view: ExchangeView) -> bool:
    if get(_error(view), "param") is ABSENT or not wrong_field_of(view.exchange.tags) or status_code(view) >= 500:
        return False
    if view.operation:  # the plainest request for the operation is its control
        return view.operation in view.run_context.operations
    return has_control_without_fault(view) and not _parts_a_call(view)


def _parts_a_call(view: ExchangeView) -> bool:
    """Whether a call lacks its output, or an output its call, where the endpoint passes over the item at fault.

    Then the endpoint may refuse the other one.
    """
    found, items = re.match(r"input\[(\d+)\]", wrong_field_of(view.exchange.tags)), view.request.get("input")
    if found is None or not isinstance(items, list):
        return False
    others = [
        item for number, item in enumerate(items) if number != int(found[1]) and isinstance(get(item, "call_id"), str)
    ]
    outputs = [str(get(item, "type")).endswith("_output") for item in others]
    ids = [
        {str(get(item, "call_id")) for item, is_output in zip(others, outputs, strict=True) if is_output is wanted}
        for wanted in (True, False)
    ]
    return ids[0] != ids[1]


@check("ERR-04", Subject.REFUSAL, needs=_has_param)
def param_names_the_field(view: ExchangeView) -> Iterator[Problem]:
    """Bodies with one invalid field are sent. `param` must name that top-level field, or a place inside it.

    The end of a field's name names it, too: `response_id` for `previous_response_id`. The endpoint must accept such a
    body without the invalid field. Items whose fault parts a call from its output are not tested. ERR-01 covers an
    absent `param`, ERR-14 null.
    """
    expected, param = wrong_field_of(view.exchange.tags), get(_error(view), "param")
    steps = re.findall(r"[A-Za-z_]\w*", param) if isinstance(param, str) else []
    if steps[:1] == ["body"]:
        steps = steps[1:]
    name = re.findall(r"[A-Za-z_]\w*", expected)[0]
    named = bool(steps) and f"_{name}".endswith(f"_{steps[0]}")
    if param is not None and not named:
        yield Problem(
            f"The error's param does not name the invalid field {expected}.",
            pointer="/error/param",
            expected=expected,
            actual=param,
            kind="other",
        )


@check("ERR-14", Subject.REFUSAL, needs=_has_param)
def param_is_set(view: ExchangeView) -> Iterator[Problem]:
    """Bodies with one invalid field are sent, as for ERR-04. Reports a `param` that is null."""
    if get(_error(view), "param") is None:
        expected = wrong_field_of(view.exchange.tags)
        yield Problem(
            f"The error's param is null, although {expected} is invalid.",
            pointer="/error/param",
            expected=expected,
            actual=None,
        )


def _may_be_refused(view: ExchangeView) -> bool:
    tags, exchange = view.exchange.tags, view.exchange
    unsent = exchange.outcome is Outcome.CANCELLED or exchange.timed_out_connecting
    return not UNCERTAIN.isdisjoint(tags) and not unsent


def _splits_a_character(view: ExchangeView) -> bool:
    return b"\\u" in view.exchange.request.body and has_lone_surrogate(view.exchange.request.json())


@check("ERR-05", Subject.CREATE, needs=lambda view: _may_be_refused(view) and not _splits_a_character(view))
def bad_bodies_are_no_server_errors(view: ExchangeView) -> Iterator[Problem]:
    """Invalid and extreme bodies are sent. A 5xx, a broken connection and a timeout are problems.

    503 counts as busy, as does a failure of the model with the error type that the dialect has for it. Accepting such a
    body is not a problem for this rule. ERR-15 covers bodies with a lone surrogate.
    """
    yield from _server_error(view)


@check("ERR-15", Subject.CREATE, needs=lambda view: _may_be_refused(view) and _splits_a_character(view))
def lone_surrogates_are_no_server_errors(view: ExchangeView) -> Iterator[Problem]:
    """As ERR-05, for bodies with an escaped lone surrogate. RFC 8259 allows them and warns of what receivers do."""
    yield from _server_error(view)


def _server_error(view: ExchangeView) -> Iterator[Problem]:
    exchange = view.exchange
    if Tag.INVALID not in exchange.tags and says_model_failed(view):
        return
    if exchange.status is None:
        yield Problem(
            f"{_what(view)} request got no response: {exchange.detail}",
            expected="2xx or 4xx status",
            actual=exchange.outcome.value,
            kind=exchange.outcome.value,
        )
    elif is_broken(exchange.status) and not (exchange.status in (502, 504) and reaches_outside(view.request)):
        yield Problem(
            f"{_what(view)} request returned status {exchange.status}.",
            expected="2xx or 4xx status",
            actual=exchange.status,
            kind=crash_kind(view),
        )
    elif exchange.outcome is not Outcome.COMPLETE and not exchange.ok:
        yield Problem(
            f"The response to an {_what(view).lower()} request broke off: {exchange.detail}",
            expected="complete response",
            actual=exchange.outcome.value,
            kind=exchange.outcome.value,
        )


def _what(view: ExchangeView) -> str:
    return "Invalid" if Tag.INVALID in view.exchange.tags else "Extreme"


@check("ERR-06", Subject.REFUSAL)
def no_insides_in_errors(view: ExchangeView) -> Iterator[Problem]:
    """The body is searched for stack traces and source file paths that the request does not contain."""
    text = view.exchange.body[:100_000].decode("utf-8", "replace")
    sent = view.exchange.request.body.decode("utf-8", "replace")
    for what, pattern in _INSIDES.items():
        found = pattern.search(text)
        if found is not None and found.group() not in sent:
            yield Problem(
                f"The body of the refused request contains {what}.",
                expected="absent",
                actual=found.group()[:200],
                kind=what,
            )


@check("ERR-10", Subject.REFUSAL)
def errors_are_small(view: ExchangeView) -> Iterator[Problem]:
    """The size of each refused request's response body is checked. One invalid request contains a large image."""
    size = len(view.exchange.body)
    if size > _LARGEST_ERROR:
        yield Problem(
            f"The body of the refused request has {size} bytes.",
            expected=f"at most {_LARGEST_ERROR} bytes",
            actual=size,
            kind="large",
        )


def _are_twins(case: CaseView) -> bool:
    """Whether the same invalid body was sent with and without streaming, and both statuses answer it."""
    twins = [view for view in case.having(Role.PLAIN, Role.STREAM) if Tag.INVALID in view.exchange.tags]
    answered = all(status_code(view) not in (0, 401, 403, 408, 429, 503) for view in twins)
    return len(twins) == 2 and answered and all(map(has_control_without_fault, twins))


@check("ERR-11", Subject.CASE, needs=_are_twins)
def refused_alike(case: CaseView) -> Iterator[Problem]:
    """An invalid body is sent with and without `stream`. Status and error `type`, `code` and `param` must match.

    The endpoint must accept such a body without the invalid field, with and without `stream`.
    """
    plain, stream = case.having(Role.PLAIN, Role.STREAM)
    before, after = plain.exchange.status, stream.exchange.status
    if before != after:
        message = f"Invalid body returns status {before} without stream and {after} with stream."
        yield in_exchange(stream, message, expected=before, actual=after, kind="status")
        return
    if plain.exchange.ok:
        return  # other rules require the refusal
    for name in ("type", "code", "param"):
        once, again = get(_error(plain), name), get(_error(stream), name)
        if once != again:
            message = (
                f"Error {name} differs between the streaming and the non-streaming request with the same invalid body."
            )
            yield in_exchange(stream, message, f"/error/{name}", expected=once, actual=again)


@check("ERR-07", Subject.STREAM, needs=lambda view: any(event.type == "response.failed" for event in view.events))
def failures_are_told_by_an_event(view: ExchangeView) -> Iterator[Problem]:
    """A stream with a `response.failed` event must have an `error` event before it."""
    kinds = [event.type for event in view.events]
    if "error" not in kinds[: kinds.index("response.failed")]:
        failed = view.events[kinds.index("response.failed")]
        yield at_event(failed, "No error event before response.failed.", expected="error event", actual=ABSENT)


_WITH_LOGPROBS: Final = "message.output_text.logprobs"
_WITH_REASONING: Final = "reasoning.encrypted_content"


def _included(view: ExchangeView) -> list[Any]:
    included = view.request.get("include")
    return included if isinstance(included, list) and get(view.response, "status") == "completed" else []


@check("ERR-08", Subject.RESPONSE, needs=lambda view: _WITH_LOGPROBS in _included(view) and bool(view.text()))
def asked_logprobs_are_there(view: ExchangeView) -> Iterator[Problem]:
    """If `include` has "message.output_text.logprobs" and the response is completed, its text must have logprobs."""
    parts = [part for _, part in view.text_parts()]
    if not any(part.get("logprobs") for part in parts):
        yield in_response(
            view,
            'The text has no logprobs, although include has "message.output_text.logprobs".',
            "/output",
            expected="non-empty array",
            actual=next((part["logprobs"] for part in parts if "logprobs" in part), ABSENT),
            kind="logprobs",
        )


def _reasoning(view: ExchangeView) -> list[dict[str, Any]]:
    return [item for item in view.output if item.get("type") == "reasoning"]


@check("ERR-08", Subject.RESPONSE, needs=lambda view: _WITH_REASONING in _included(view) and bool(_reasoning(view)))
def asked_encrypted_reasoning_is_there(view: ExchangeView) -> Iterator[Problem]:
    """If `include` has "reasoning.encrypted_content", every reasoning item must have `encrypted_content`."""
    for item in _reasoning(view):
        if not item.get("encrypted_content"):
            yield in_response(
                view,
                'A reasoning item has no encrypted_content, although include has "reasoning.encrypted_content".',
                "/output",
                expected="present",
                actual=item.get("encrypted_content", ABSENT),
                kind="encrypted_content",
            )
            break


@check("ERR-08", Subject.CASE, needs=is_about("ERR-08", *ATTEMPTS))
def unknown_prompts_are_refused(case: CaseView) -> Iterator[Problem | Declined]:
    """Requests name a prompt template that does not exist, with a canary in a variable, and should be refused.

    The model is requested to repeat the canary: plain, streamed and in another wording. An endpoint fails only if it
    accepts the requests, all responses lack the canary, and the model repeats it from a user message.
    """
    for found in unheard_words(case):
        if isinstance(found, Problem):
            message = "The endpoint accepted a prompt template that does not exist, and ignored it."
            yield structs.replace(
                found, message=message, pointer="/prompt", expected="4xx status", actual=200, kind="prompt"
            )
        else:
            yield found


_SURE: Final = tuple(role_of(Role.SURE, n) for n in (1, 2, 3))
_GREEDY: Final = tuple(role_of(Role.GREEDY, n) for n in (1, 2, 3))


@check("ERR-08", Subject.CASE, needs=lambda case: len(texts_of(case, *_GREEDY)) == len(_GREEDY))
def top_k_of_one_leaves_no_choice(case: CaseView) -> Iterator[Problem | Declined]:
    """One prompt is sent three times with `top_k` 1 at temperature 1, and three times at temperature 0.

    If the responses at temperature 0 are identical, those with `top_k` 1 must be identical too.
    """
    if not are_alike(case, *_SURE):
        yield Declined(UNSTABLE)
    elif not are_alike(case, *_GREEDY):
        (view,) = case.having(_GREEDY[-1])
        yield _ignored(view, "top_k", "Responses with top_k 1 differ, although those at temperature 0 are identical.")


def _ignored(view: ExchangeView, name: str, message: str) -> Problem:
    return in_response(view, message, "/output", expected=f"effect of {name}", actual=view.text(), kind=name)


@check(
    "ERR-09",
    Subject.CREATE,
    needs=lambda view: (
        Tag.UNKNOWN_FIELD in view.exchange.tags
        and view.exchange.status is not None
        and has_control(view, *(name for name in view.request if name not in view.dialect.parameters))
    ),
)
def unknown_fields_are_passed_over(view: ExchangeView) -> Iterator[Problem]:
    """A valid request is sent with one added field that no version of the API has. A 4xx is reported.

    The endpoint must accept the same request without the field.
    """
    status = view.exchange.status
    if status is not None and 400 <= status < 500 and status != 429:
        yield Problem(
            f"A request with an unknown field returned status {status}.",
            expected=200,
            actual=status,
            kind="refused",
        )


def _has_fault(view: ExchangeView) -> bool:
    tags, exchange = view.exchange.tags, view.exchange
    odd = not UNCERTAIN.isdisjoint(tags) or Tag.WRONG_METHOD in tags
    unsent = exchange.outcome is Outcome.CANCELLED or exchange.timed_out_connecting
    return odd and bool(view.at_operation) and not unsent


@check("ERR-16", Subject.EXCHANGE, needs=_has_fault)
def bad_requests_to_operations_are_no_server_errors(view: ExchangeView) -> Iterator[Problem]:
    """Requests with malformed ids, invalid parameters, invalid bodies and wrong methods go to every other operation.

    503 counts as busy. ERR-05 covers create requests.
    """
    yield from _server_error(view)


def _must_be_refused(view: ExchangeView) -> bool:
    status = status_code(view)
    named = bool(view.operation) and view.operation in view.run_context.operations
    answered = view.exchange.ok or (is_answer(status) and not is_broken(status))
    return named and Tag.INVALID in view.exchange.tags and answered


@check("ERR-17", Subject.EXCHANGE, needs=_must_be_refused)
def bad_requests_to_operations_are_refused(view: ExchangeView) -> Iterator[Problem]:
    """As ERR-16, for requests that the dialect does not allow. A 2xx is a problem.

    The operation must have succeeded at least once in the run. ERR-16 covers server errors.
    """
    status = status_code(view)
    if view.exchange.ok:
        yield Problem(
            f"An invalid request to {view.operation} returned status {status}.",
            expected="4xx status",
            actual=status,
            kind=f"{view.operation} {wrong_field_of(view.exchange.tags)}".strip(),
        )


def _has_broken_image(case: CaseView) -> bool:
    """Whether an image was accepted, and one that is none was answered."""
    return is_answer(status_code(case.get(Role.BROKEN_IMAGE))) and have_responses(case, Role.PLAIN)


@check("ERR-18", Subject.CASE, needs=_has_broken_image)
def broken_images_are_refused(case: CaseView) -> Iterator[Problem]:
    """A request with an image is sent, and the same with a text in its place, which must not have a completed response.

    The endpoint must accept the image. HTTP-03 and ERR-05 cover server errors.
    """
    view = case.get(Role.BROKEN_IMAGE)
    if view is not None and response_of(view) is not None and get(view.response, "status") == "completed":
        yield in_response(
            view,
            "A request with an image that cannot be decoded has a completed response.",
            "/status",
            expected="4xx status or failed",
            actual="completed",
        )
