"""HTTP status, headers and body of create requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rejoinder.conformance.judging.controls import (
    has_any_control,
    has_control,
    has_control_of_any_form,
    has_control_without_fault,
)
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import get, has_what, in_exchange, is_integer, is_what, one_of, quoted
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import (
    crash_kind,
    is_broken,
    is_server_error,
    liveness_problem,
    reaches_outside,
    says_model_failed,
)
from rejoinder.formatting import plural
from rejoinder.model.exchange import Outcome
from rejoinder.model.tags import UNCERTAIN, Tag
from rejoinder.model.verdict import ABSENT, Problem
from rejoinder.wire.pacing import BUSY

# A stream with at least _MANY_DELTAS deltas was buffered (HTTP-16) if all of them arrive within _BURST seconds after a
# wait of at least _WAIT seconds: no engine writes thousands of tokens a second after a slow first one.
_MANY_DELTAS: Final = 32
_BURST: Final = 0.005
_WAIT: Final = 0.5
_GATEWAY: Final = (502, 504)
"""The statuses by which a server says that it could not reach another one (RFC 9110, sections 15.6.3 and 15.6.5)."""
_WHEN_AGAIN: Final = ("retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit-reset", "ratelimit")


@check("HTTP-01", Subject.RETURNED)
@check("HTTP-01", Subject.PLAIN)
def plain_is_json(view: ExchangeView) -> Iterator[Problem]:
    """Compares the media type of the `Content-Type` header and ignores its parameters."""
    if view.exchange.content_type != "application/json":
        actual = view.exchange.header("content-type") or ABSENT
        yield Problem(
            f"Content-Type of a non-streaming response {is_what(actual)}.", expected="application/json", actual=actual
        )


@check("HTTP-02", Subject.CREATE, needs=lambda view: view.streamed and view.exchange.ok)
def stream_is_event_stream(view: ExchangeView) -> Iterator[Problem]:
    """Compares the media type of the `Content-Type` header and ignores its parameters."""
    if view.exchange.content_type != "text/event-stream":
        actual = view.exchange.header("content-type") or ABSENT
        yield Problem(
            f"Content-Type of the response to a streaming request {is_what(actual)}.",
            expected="text/event-stream",
            actual=actual,
        )


def _was_to_be_answered(view: ExchangeView) -> bool:
    exchange = view.exchange
    if Tag.VALID not in exchange.tags or exchange.outcome is Outcome.CANCELLED or exchange.timed_out_connecting:
        return False
    # An endpoint may refuse a feature (4xx, 501) and may be busy (429, 503). What it cannot reach is not its fault.
    if exchange.status in _GATEWAY and reaches_outside(view.request):
        return False
    if says_model_failed(view):
        return False
    return exchange.status is None or exchange.status < 400 or is_broken(exchange.status)


@check("HTTP-03", Subject.CREATE, needs=_was_to_be_answered)
def create_answers_200(view: ExchangeView) -> Iterator[Problem]:
    """Tests only requests that every version of the API accepts. Status 4xx, 501 and 503 count as a refusal.

    Status 502 and 504 do too if the request names an address outside of the endpoint. Status 500 does if its error
    type is the one that the dialect has for a model that failed.
    """
    exchange = view.exchange
    types = view.dialect.response["model_error_types"]
    if exchange.status is None:
        yield Problem(
            f"The endpoint sent no response to a valid request: {exchange.detail}",
            expected=200,
            actual="no response",
            kind=exchange.outcome.value,
        )
    elif exchange.status != 200:
        named = exchange.status == 500 and types
        has = has_what("error type", get(exchange.json(), "error", "type"))
        with_type = f" with {has.removeprefix('has ')}" if named else ""
        yield Problem(
            f"The endpoint returned status {exchange.status} for a valid request{with_type}.",
            expected=f"200, or 500 with error type {one_of(types)} if the model failed" if named else 200,
            actual=exchange.status,
            kind=crash_kind(view) if exchange.status >= 500 else "status",
        )
    elif exchange.outcome is Outcome.TOO_LARGE:
        yield Problem(
            f"The response to a valid request did not end before rejoinder stopped reading: {exchange.detail}",
            expected="end of the response",
            actual=f"cut by rejoinder after {plural(len(exchange.body), 'byte')}",
            kind=exchange.outcome.value,
        )
    elif not view.streamed and exchange.outcome is not Outcome.COMPLETE:
        yield Problem(
            f"The response to a valid request is truncated: {exchange.detail}",
            expected="complete response",
            actual=plural(len(exchange.body), "byte"),
            kind=exchange.outcome.value,
        )


def _basic(view: ExchangeView) -> bool:
    if Tag.BASIC not in view.exchange.tags or view.exchange.status is None:
        return False
    # An endpoint that refuses the request in every form refuses something else than the form of the input.
    return view.exchange.ok or has_control_of_any_form(view)


@check("HTTP-04", Subject.CREATE, needs=_basic)
def both_inputs_are_taken(view: ExchangeView) -> Iterator[Problem]:
    """Sends a short string as `input`, and a list of one user message. The endpoint must accept both."""
    status = view.exchange.status
    if status is not None and 400 <= status < 500 and status != 429:
        form = "string" if isinstance(view.request.get("input"), str) else "list"
        yield Problem(
            f"The endpoint refused a simple {form} input with status {status}.",
            pointer="/input",
            expected=200,
            actual=status,
            kind=form,
        )


def _two_input_forms(case: CaseView) -> bool:
    views = case.having(Role.STRING, Role.LIST)
    return len([view for view in views if is_integer(get(view.response, "usage", "input_tokens"))]) == 2


@check("HTTP-04", Subject.CASE, needs=_two_input_forms)
def string_is_one_user_message(case: CaseView) -> Iterator[Problem]:
    """Sends one text as a string and as one user message, and compares `usage.input_tokens`."""
    string, listed = case.having(Role.STRING, Role.LIST)
    first, second = (get(view.response, "usage", "input_tokens") for view in (string, listed))
    if first != second:
        message = f"The text has {quoted(first)} input tokens as a string and {quoted(second)} as a user message."
        yield in_exchange(listed, message, "/usage/input_tokens", expected=first, actual=second, kind="tokens")


@check("HTTP-05", Subject.PLAIN)
def output_is_there(view: ExchangeView) -> Iterator[Problem]:
    """Parses the body. It must be a JSON object whose `output` is an array."""
    if not isinstance(view.body, dict):
        yield Problem(
            "The body of a non-streaming response is not a JSON object.",
            expected="JSON object",
            actual=view.exchange.body[:200],
            kind="body",
        )
        return
    output = view.body.get("output", ABSENT)
    if not isinstance(output, list):
        yield Problem(
            f"The output of the response {is_what(output)}.", pointer="/output", expected="array", actual=output
        )


def _sent_no_json(view: ExchangeView) -> bool:
    exchange = view.exchange
    whole = Tag.INVALID in exchange.tags and exchange.request.json() is None and exchange.request.body != b"null"
    answered = exchange.status is not None and exchange.status not in BUSY
    return whole and answered and not view.is_other_media and has_any_control(view)


@check("HTTP-06", Subject.CREATE, needs=_sent_no_json)
def broken_json_is_refused(view: ExchangeView) -> Iterator[Problem]:
    """Sends bodies that a strict JSON parser refuses.

    A success is a problem only for truncated, empty and binary bodies. Lenient parsers may understand the others.
    """
    status = view.exchange.status
    if view.exchange.ok:
        if Tag.BROKEN in view.exchange.tags:
            yield Problem(
                f"The endpoint returned status {status} for a body that is not JSON.",
                expected="status 400 or 422",
                actual=status,
                kind="answered",
            )
    elif status not in (400, 422):
        yield Problem(
            f"The endpoint returned status {status} for a malformed JSON body.",
            expected="status 400 or 422",
            actual=status,
            kind=crash_kind(view) if status is not None and status >= 500 else "status",
        )


def _sent_other_media(view: ExchangeView) -> bool:
    return Tag.INVALID in view.exchange.tags and view.is_other_media and not view.exchange.timed_out_connecting


@check("HTTP-07", Subject.CREATE, needs=_sent_other_media)
def other_media_are_refused(view: ExchangeView) -> Iterator[Problem]:
    """Sends a valid JSON body with the content types text, XML, multipart and one that does not exist."""
    status = view.exchange.status
    if status is None or not 400 <= status < 500:
        yield Problem(
            "The endpoint did not refuse a request whose Content-Type is not JSON.",
            expected="4xx status",
            actual=status if status is not None else view.exchange.outcome.value,
            kind="status",
        )


def _lacks_input(view: ExchangeView) -> bool:
    has_input = any(view.request.get(name) for name in ("input", "prompt", "previous_response_id", "conversation"))
    sent = isinstance(view.exchange.request.json(), dict) and "input" not in view.request
    answered = view.exchange.status not in (None, *BUSY)
    return sent and not has_input and not view.is_other_media and answered and has_control(view, "input")


@check("HTTP-08", Subject.CREATE, needs=_lacks_input)
def input_is_demanded(view: ExchangeView) -> Iterator[Problem]:
    """Tests requests without `input`, `prompt`, `previous_response_id` and `conversation`.

    The endpoint must accept the same request with `input`.
    """
    status = view.exchange.status
    if status not in (400, 422):
        yield Problem(
            f"The endpoint returned status {status} for a request without input.",
            pointer="/input",
            expected="status 400 or 422",
            actual=status,
            kind="answered" if view.exchange.ok else "status",
        )


def _names_no_model(view: ExchangeView) -> bool:
    status = view.exchange.status
    return Tag.UNKNOWN_MODEL in view.exchange.tags and status is not None and status != 429 and status < 500


@check("HTTP-09", Subject.CREATE, needs=lambda view: _names_no_model(view) and has_control(view, "model"))
def unknown_models_are_refused(view: ExchangeView) -> Iterator[Problem]:
    """Sends a request with a model name that no endpoint has. The endpoint must accept the same request with its own
    model, or without a model. ERR-05 covers server errors.

    An endpoint that ignores the name may serve the request, but `model` in the response must name another model.
    """
    exchange = view.exchange
    if exchange.ok:
        wanted, named = view.request.get("model"), get(view.response, "model")
        if named == wanted:
            yield Problem(
                f"The response names a model that does not exist: {quoted(named)}.",
                pointer="/model",
                expected="status 404, or the name of another model",
                actual=named,
                kind="answered",
            )
        return
    code = get(exchange.json(), "error", "code")
    status = exchange.status or 0
    if status != 404 and not (400 <= status < 500 and code == "model_not_found"):
        yield Problem(
            f"The endpoint refused an unknown model with status {status} and "
            f"{'no error.code' if code is ABSENT else f'error.code {quoted(code)}'}.",
            pointer="/error/code",
            expected="status 404, or another 4xx status with code model_not_found",
            actual=status,
            kind="status",
        )


def _serves_unlisted(view: ExchangeView) -> bool:
    return Tag.UNLISTED_MODEL in view.exchange.tags and _names_no_model(view) and has_control(view, "model")


@check("HTTP-17", Subject.CREATE, needs=_serves_unlisted)
def unlisted_models_are_not_served(view: ExchangeView) -> Iterator[Problem]:
    """As HTTP-09, at an endpoint whose `GET /v1/models` lists models. A refusal with any 4xx is correct."""
    wanted, named = view.request.get("model"), get(view.response, "model")
    if view.exchange.ok and named == wanted:
        yield Problem(
            f"The response names model {quoted(named)}, which GET /v1/models does not list.",
            pointer="/model",
            expected="4xx status, or the name of a listed model",
            actual=named,
            kind="answered",
        )


def _refused_for_key(view: ExchangeView) -> bool:
    status = view.exchange.status
    refused = status is not None and status >= 400 and status not in BUSY
    return Tag.WRONG_KEY in view.exchange.tags and refused and has_control(view)


@check("HTTP-10", Subject.CREATE, needs=_refused_for_key)
def wrong_key_is_unauthorised(view: ExchangeView) -> Iterator[Problem]:
    """Sends a valid request with an invalid API key. An endpoint that returns 200 requires no key and is not tested.

    The endpoint must accept the same request with the right key.
    """
    status = view.exchange.status
    if status is not None and status != 401:
        yield Problem(
            f"The endpoint returned status {status} for an invalid API key.",
            expected=401,
            actual=status,
            kind=crash_kind(view) if status >= 500 else "status",
        )


@check("HTTP-11", Subject.CREATE, needs=lambda view: view.exchange.status == 429)
def rate_limits_say_when(view: ExchangeView) -> Iterator[Problem]:
    """Tests every response with status 429 in the run. No case provokes a rate limit."""
    names = [name.lower() for name, _ in view.exchange.headers]
    if not any(name.startswith(_WHEN_AGAIN) for name in names):
        yield Problem(
            "The response with status 429 has no Retry-After header.", expected="Retry-After header", actual=ABSENT
        )


@check("HTTP-12", Subject.EXCHANGE, needs=lambda view: is_server_error(view.exchange.status))
def server_errors_have_the_envelope(view: ExchangeView) -> Iterator[Problem]:
    """Tests every 5xx response to every operation. Its body must be JSON with a string `error.message`.

    Status 501 is a refusal, which ERR-01 and ERR-12 cover.
    """
    body = view.exchange.json()
    if not isinstance(get(body, "error", "message"), str):
        yield Problem(
            f"The response with status {view.exchange.status} has no error.message.",
            pointer="/error/message",
            expected="JSON object with error.message",
            actual=view.exchange.body[:200] if body is None else body,
            kind="envelope",
        )


@check(
    "HTTP-13",
    Subject.STREAM,
    needs=lambda view: Tag.INVALID in view.exchange.tags and has_control_without_fault(view),
)
def refusals_are_no_streams(view: ExchangeView) -> Iterator[Problem]:
    """Sends invalid streaming requests. A stream that fails without any output counts as a refusal.

    The stream of the same request without the invalid field must not fail.
    """
    kinds = [event.type for event in view.events]
    failed = not kinds or "error" in kinds or "response.failed" in kinds
    if failed and not view.fold.items:
        yield Problem(
            f"The endpoint refused an invalid streaming request in a stream with status {view.exchange.status}.",
            expected="4xx status with a JSON body",
            actual=f"status {view.exchange.status}, events {', '.join(kinds[:5]) or 'none'}",
            kind="stream",
        )


def _has_other_methods(view: ExchangeView) -> bool:
    """Whether the path of a request with another method is there: a request to it was answered."""
    if view.at_operation:
        return not view.run_context.operations.isdisjoint(view.at_operation)
    return has_control(view)


@check(
    "HTTP-14",
    Subject.EXCHANGE,
    needs=lambda view: (
        Tag.WRONG_METHOD in view.exchange.tags
        and view.exchange.status not in (None, *BUSY)
        and _has_other_methods(view)
    ),
)
def wrong_methods_are_named(view: ExchangeView) -> Iterator[Problem]:
    """Sends PUT to the path of every operation, where no version of the API supports it. Status 501 is right, too: it
    says that the endpoint does not know the method (RFC 9110, section 9.1). The operation must succeed in the run.
    """
    if view.exchange.status not in (405, 501):
        yield Problem(
            f"The endpoint returned status {view.exchange.status} for {view.exchange.request.method}.",
            expected="status 405 or 501",
            actual=view.exchange.status,
            kind="status",
        )


def _liveness_requests(case: CaseView) -> list[ExchangeView]:
    """Return the valid requests that follow invalid or extreme ones of the case and are answered elsewhere."""
    odd = any(not UNCERTAIN.isdisjoint(view.exchange.tags) for view in case.views)
    after = [view for view in case.views if odd and view.exchange.role.partition("-")[0] == Role.AFTER]
    return [view for view in after if view.exchange.ok or has_control(view)]


@check("HTTP-15", Subject.CASE, needs=lambda case: bool(_liveness_requests(case)))
def good_request_after_bad(case: CaseView) -> Iterator[Problem]:
    """Sends a minimal valid request after each invalid or extreme one. It must get status 200 within 20 seconds.

    The endpoint must answer such a request at least once in the run.
    """
    for view in _liveness_requests(case):
        problem = liveness_problem(view)
        if problem is not None:
            yield problem
            return


def _delta_times(view: ExchangeView) -> list[float]:
    return [event.frame.t for event in view.events if event.spec is not None and event.spec.role == "delta"]


def _tells_pace(view: ExchangeView) -> bool:
    times = _delta_times(view)
    return len(times) >= _MANY_DELTAS and times[-1] >= _WAIT


@check("HTTP-16", Subject.STREAM, needs=_tells_pace)
def streams_are_incremental(view: ExchangeView) -> Iterator[Problem]:
    """Tests streams of at least 32 deltas and 0.5 seconds. Their deltas must not all arrive at once."""
    times = _delta_times(view)
    if times[-1] - times[0] <= _BURST:
        yield Problem(
            f"All {len(times)} deltas arrived at once, {times[0]:.1f} s after the request.",
            expected="deltas spread over the generation time",
            actual=f"{(times[-1] - times[0]) * 1000:.1f} ms between the first and the last delta",
            kind="burst",
        )
