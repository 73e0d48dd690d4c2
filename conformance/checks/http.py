"""HTTP envelope of create requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import get, in_exchange, is_integer
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import is_broken, liveness_problem
from rejoinder.model.exchange import Outcome
from rejoinder.model.tags import UNCERTAIN, Tag
from rejoinder.model.verdict import ABSENT, Problem

# A stream of so many deltas (HTTP-16), all of them received within so many seconds after a wait of so many, was held
# back: no engine writes thousands of tokens a second after taking its time for the first.
_MANY_DELTAS: Final = 32
_BURST: Final = 0.005
_WAIT: Final = 0.5
_BUSY: Final = (429, 503)
_WHEN_AGAIN: Final = ("retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit-reset", "ratelimit")


@check("HTTP-01", Subject.PLAIN)
def plain_is_json(view: ExchangeView) -> Iterator[Problem]:
    """The media type of the Content-Type header is compared, parameters aside."""
    if view.exchange.content_type != "application/json":
        yield Problem(
            "A plain reply is not marked as JSON.",
            expected="application/json",
            actual=view.exchange.header("content-type") or ABSENT,
        )


@check("HTTP-02", Subject.CREATE, needs=lambda view: view.streamed and view.exchange.ok)
def stream_is_event_stream(view: ExchangeView) -> Iterator[Problem]:
    """The media type of the Content-Type header is compared, parameters aside."""
    if view.exchange.content_type != "text/event-stream":
        yield Problem(
            "The reply to a streaming request is not marked as an event stream.",
            expected="text/event-stream",
            actual=view.exchange.header("content-type") or ABSENT,
        )


def _was_to_be_answered(view: ExchangeView) -> bool:
    exchange = view.exchange
    if Tag.VALID not in exchange.tags or exchange.outcome is Outcome.CANCELLED:
        return False
    # Refusing a feature (4xx, 501) or being busy (429, 503) breaks no rule.
    return exchange.status is None or exchange.status < 400 or is_broken(exchange.status)


@check("HTTP-03", Subject.CREATE, needs=_was_to_be_answered)
def create_answers_200(view: ExchangeView) -> Iterator[Problem]:
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


@check(
    "HTTP-04", Subject.CREATE, needs=lambda view: Tag.BASIC in view.exchange.tags and view.exchange.status is not None
)
def both_inputs_are_taken(view: ExchangeView) -> Iterator[Problem]:
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


def _two_input_forms(case: CaseView) -> bool:
    replies = case.having(Role.STRING, Role.LIST)
    return len([view for view in replies if is_integer(get(view.response, "usage", "input_tokens"))]) == 2


@check("HTTP-04", Subject.CASE, needs=_two_input_forms)
def string_is_one_user_message(case: CaseView) -> Iterator[Problem]:
    """The same text as string and as one user message must count the same input tokens."""
    string, listed = case.having(Role.STRING, Role.LIST)
    first, second = (get(view.response, "usage", "input_tokens") for view in (string, listed))
    if first != second:
        message = "A string input counts other tokens than the same text as one user message."
        yield in_exchange(listed, message, "/usage/input_tokens", expected=first, actual=second, kind="tokens")


@check("HTTP-05", Subject.PLAIN)
def output_is_there(view: ExchangeView) -> Iterator[Problem]:
    """The body must be a JSON object whose output is an array."""
    if not isinstance(view.body, dict):
        yield Problem("The body of a plain reply is not a JSON object.", kind="body", actual=view.exchange.body[:200])
        return
    output = view.body.get("output", ABSENT)
    if not isinstance(output, list):
        yield Problem("A plain reply has no output array.", pointer="/output", expected="an array", actual=output)


def _sent_no_json(view: ExchangeView) -> bool:
    exchange = view.exchange
    whole = Tag.INVALID in exchange.tags and exchange.request.json() is None and exchange.request.body != b"null"
    return whole and exchange.status is not None and exchange.status not in _BUSY and not _other_media(view)


def _other_media(view: ExchangeView) -> bool:
    """Whether the request says that its body is something else than JSON or a form."""
    headers = view.exchange.request.headers
    value = next((value for name, value in headers if name.lower() == "content-type"), "")
    media = value.partition(";")[0].strip().lower()
    return bool(media) and media != "application/json" and not media.endswith(("+json", "urlencoded"))


@check("HTTP-06", Subject.CREATE, needs=_sent_no_json)
def broken_json_is_refused(view: ExchangeView) -> Iterator[Problem]:
    """Bodies that strict JSON parsers refuse are sent; lenient parsers may take those that can still be understood.

    A success counts as a problem only where nothing could be understood: cut off, empty, or binary.
    """
    status = view.exchange.status
    if view.exchange.ok:
        if Tag.BROKEN in view.exchange.tags:
            yield Problem(
                "A body that is no JSON by any reading was answered.", expected=400, actual=status, kind="answered"
            )
    elif status not in (400, 422):
        yield Problem(
            f"A body that is not JSON was refused with status {status}.",
            expected="400 or 422",
            actual=status,
            kind="5xx" if status is not None and status >= 500 else "status",
        )


@check("HTTP-07", Subject.CREATE, needs=lambda view: Tag.INVALID in view.exchange.tags and _other_media(view))
def other_media_are_refused(view: ExchangeView) -> Iterator[Problem]:
    """A good JSON body is sent as text, XML, multipart and under a name that is no media type."""
    status = view.exchange.status
    if status is None or not 400 <= status < 500:
        yield Problem(
            "A body that says to be something else than JSON was not refused.",
            expected="a 4xx",
            actual=status if status is not None else view.exchange.outcome.value,
            kind="status",
        )


def _asks_nothing(view: ExchangeView) -> bool:
    has_question = any(view.request.get(name) for name in ("input", "prompt", "previous_response_id", "conversation"))
    sent = isinstance(view.exchange.request.json(), dict) and "input" not in view.request
    return sent and not has_question and not _other_media(view) and view.exchange.status not in (None, *_BUSY)


@check("HTTP-08", Subject.CREATE, needs=_asks_nothing)
def input_is_demanded(view: ExchangeView) -> Iterator[Problem]:
    """Requests without input, prompt, previous_response_id and conversation are looked at."""
    status = view.exchange.status
    if status not in (400, 422):
        yield Problem(
            f"A request that asks nothing got status {status}.",
            pointer="/input",
            expected="400 or 422",
            actual=status,
            kind="answered" if view.exchange.ok else "status",
        )


@check(
    "HTTP-09",
    Subject.CREATE,
    needs=lambda view: Tag.UNKNOWN_MODEL in view.exchange.tags and view.exchange.status not in (None, *_BUSY),
)
def unknown_models_are_refused(view: ExchangeView) -> Iterator[Problem]:
    """A request names a model that no endpoint has.

    An endpoint that serves whatever it has may answer, as long as the response names another model than that.
    """
    exchange = view.exchange
    if exchange.ok:
        wanted, named = view.request.get("model"), get(view.response, "model")
        if named == wanted:
            yield Problem(
                "A model that does not exist is said to have answered.",
                pointer="/model",
                expected="status 404, or the model that answered",
                actual=named,
                kind="answered",
            )
        return
    code = get(exchange.json(), "error", "code")
    status = exchange.status or 0
    if status != 404 and not (400 <= status < 500 and code == "model_not_found"):
        yield Problem(
            f"An unknown model was refused with status {status} and the code {code!r}.",
            pointer="/error/code",
            expected="status 404, or a 4xx with the code model_not_found",
            actual=status,
            kind="status",
        )


def _refused_for_key(view: ExchangeView) -> bool:
    status = view.exchange.status
    return Tag.WRONG_KEY in view.exchange.tags and status is not None and status >= 400 and status not in _BUSY


@check("HTTP-10", Subject.CREATE, needs=_refused_for_key)
def wrong_key_is_unauthorised(view: ExchangeView) -> Iterator[Problem]:
    """A good request is sent with a key that cannot be right; an endpoint that answers it needs no key."""
    if view.exchange.status != 401:
        yield Problem(
            f"A wrong key was refused with status {view.exchange.status}.",
            expected=401,
            actual=view.exchange.status,
            kind="status",
        )


@check("HTTP-11", Subject.CREATE, needs=lambda view: view.exchange.status == 429)
def rate_limits_say_when(view: ExchangeView) -> Iterator[Problem]:
    """No limit is provoked; whatever 429 came up is looked at."""
    names = [name.lower() for name, _ in view.exchange.headers]
    if not any(name.startswith(_WHEN_AGAIN) for name in names):
        yield Problem("A 429 does not say when to come back.", expected="a Retry-After header", actual=ABSENT)


@check("HTTP-12", Subject.CREATE, needs=lambda view: view.exchange.status is not None and view.exchange.status >= 500)
def server_errors_have_the_envelope(view: ExchangeView) -> Iterator[Problem]:
    """No breakdown is provoked; whatever 5xx came up must be JSON with an error object that has a message."""
    body = view.exchange.json()
    if not isinstance(get(body, "error", "message"), str):
        yield Problem(
            "A server error comes without the error envelope.",
            pointer="/error/message",
            expected="a message",
            actual=view.exchange.body[:200] if body is None else body,
            kind="envelope",
        )


@check("HTTP-13", Subject.STREAM, needs=lambda view: Tag.INVALID in view.exchange.tags)
def refusals_are_no_streams(view: ExchangeView) -> Iterator[Problem]:
    """A stream for a request that must be refused is taken for a refusal when it fails without any output."""
    kinds = [event.type for event in view.events]
    failed = not kinds or "error" in kinds or "response.failed" in kinds
    if failed and not view.fold.items:
        yield Problem(
            "A request that is invalid was refused inside a stream with status 200.",
            expected="a 4xx with a JSON body",
            actual=f"status {view.exchange.status}, events {', '.join(kinds[:5]) or 'none'}",
            kind="stream",
        )


@check(
    "HTTP-14",
    Subject.EXCHANGE,
    needs=lambda view: Tag.WRONG_METHOD in view.exchange.tags and view.exchange.status not in (None, *_BUSY),
)
def wrong_methods_are_named(view: ExchangeView) -> Iterator[Problem]:
    """PUT is sent to the path of create, which no version of the API knows there."""
    if view.exchange.status != 405:
        yield Problem(
            f"{view.exchange.request.method} was answered with status {view.exchange.status}.",
            expected=405,
            actual=view.exchange.status,
            kind="status",
        )


def _liveness_requests(case: CaseView) -> list[ExchangeView]:
    """Return the good requests that follow those of the case that are invalid or extreme."""
    odd = any(not UNCERTAIN.isdisjoint(view.exchange.tags) for view in case.views)
    return [view for view in case.views if odd and view.exchange.role.partition("-")[0] == Role.AFTER]


@check("HTTP-15", Subject.CASE, needs=lambda case: bool(_liveness_requests(case)))
def good_request_after_bad(case: CaseView) -> Iterator[Problem]:
    """After each request that is invalid or extreme, the simplest one must be answered with 200 within 20 s."""
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
    """Streams of 32 deltas and more that took half a second are looked at: were all deltas received at once?"""
    times = _delta_times(view)
    if times[-1] - times[0] <= _BURST:
        yield Problem(
            f"{len(times)} deltas came all at once, {times[0]:.1f} s after the request.",
            expected="deltas as they come about",
            actual=f"{(times[-1] - times[0]) * 1000:.1f} ms between the first and the last",
            kind="burst",
        )
