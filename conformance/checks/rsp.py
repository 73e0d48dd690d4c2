"""The response object, without streaming or in a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import CaseView, Event, ExchangeView
from rejoinder.conformance.judging.problems import (
    More,
    at_event,
    each,
    get,
    has_what,
    in_exchange,
    in_response,
    is_integer,
    is_number,
    is_set,
    is_what,
    one_of,
    quoted,
    repeated,
)
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import replayed, state
from rejoinder.contract import load_rules
from rejoinder.formatting import plural
from rejoinder.model.exchange import Outcome
from rejoinder.model.tags import UNCERTAIN
from rejoinder.model.verdict import ABSENT, Level, Problem, masked
from rejoinder.validation import SchemaError, pointer_keys

# No Responses endpoint is older than the API itself; clocks may run a day ahead.
_EARLIEST: Final = 1_577_836_800  # 2020-01-01
_DAY: Final = 86_400

_ECHOED: Final = {
    "description": "string or null",
    "parameters": "object or null",
    "strict": "boolean or null",
}
"""What an echoed function tool must have, with the values that each field takes."""


def _responses(view: ExchangeView) -> Iterator[tuple[Any, dict[str, Any], str]]:
    """Yield event (``None`` without streaming), response object and pointer to it, for every response object."""
    if view.is_stream:
        for shot in view.fold.snapshots:
            if isinstance(shot.response, dict):
                yield view.events[shot.event], shot.response, "/response"
    elif view.response is not None:
        yield None, view.response, ""


def _problem(event: Any, message: str, pointer: str, **details: Any) -> Problem:
    return (
        Problem(message, pointer=pointer, **details) if event is None else at_event(event, message, pointer, **details)
    )


def _has_responses(view: ExchangeView) -> bool:
    return view.exchange.ok and any(True for _ in _responses(view))


@check("RSP-01", Subject.CREATE, needs=_has_responses)
def object_is_response(view: ExchangeView) -> Iterator[Problem]:
    """Tests `object` of every response object, in a stream too. RSP-05 covers a missing one."""
    for event, response, pointer in _responses(view):
        value = response.get("object", ABSENT)
        if value is not ABSENT and value != "response":
            message = f"The object of a response object is {quoted(value)}."
            yield _problem(event, message, f"{pointer}/object", expected="response", actual=value)


@check("RSP-02", Subject.RETURNED)
@check("RSP-02", Subject.RESPONSE)
def id_is_there(view: ExchangeView) -> Iterator[Problem]:
    """Tests that `id` is not empty."""
    assert view.response is not None
    if view.response.get("id", ABSENT) == "":
        yield in_response(view, "The response id is empty.", "/id", expected="non-empty string", actual="")


@check("RSP-02", Subject.RUN, needs=lambda run: sum(1 for view in run.views if view.response is not None) > 1)
def ids_are_fresh(run: CaseView) -> Iterator[Problem]:
    """Compares the ids of all responses of the run."""
    seen: dict[str, str] = {}
    for view in run.views:
        identity = get(view.response, "id")
        if not isinstance(identity, str) or not identity or "request_id" in view.request:
            continue
        if identity in seen:
            yield in_response(
                view,
                f"Exchanges {seen[identity]} and {view.exchange.id} have the same response id.",
                "/id",
                expected="unique id",
                actual=identity,
                kind="reused",
            )
        seen.setdefault(identity, view.exchange.id)


@check("RSP-03", Subject.RETURNED)
@check("RSP-03", Subject.RESPONSE)
def plausible_times(view: ExchangeView) -> Iterator[Problem]:
    """Tests that `created_at` is between 2020 and tomorrow. Compares `completed_at` with `status` and `created_at`.

    RSP-05 covers the types of both.
    """
    response = view.response
    assert response is not None
    created = response.get("created_at", ABSENT)
    if is_number(created) and not _EARLIEST <= created <= view.exchange.started_at + _DAY:
        yield in_response(
            view,
            f"created_at is {quoted(created)}, which is not a plausible time in seconds.",
            "/created_at",
            expected=f"about {view.exchange.started_at:.0f}",
            actual=created,
            kind="implausible",
        )
    completed = response.get("completed_at", ABSENT)
    if completed is ABSENT or not view.dialect.response["completed_at"]:
        return  # RSP-05 requires it where the dialect has it
    if state(view.response) == "completed":
        # A whole second may be cut off of one of the two.
        if is_number(completed) and is_number(created) and int(completed) < int(created):
            yield in_response(
                view,
                f"completed_at is {quoted(completed)}, before created_at {quoted(created)}.",
                "/completed_at",
                expected=f"number of at least {created}",
                actual=completed,
                kind="order",
            )
    elif completed is not None:
        yield in_response(
            view,
            f"completed_at is set, but status is {quoted(state(view.response))}.",
            "/completed_at",
            expected=None,
            actual=completed,
            kind="early",
        )


@check("RSP-04", Subject.CREATE, needs=_has_responses)
def status_is_known(view: ExchangeView) -> Iterator[Problem]:
    """Compares `status` of every response object, in a stream too, with the list of the dialect.

    RSP-05 covers a status that is no string.
    """
    known = view.dialect.response["statuses"]
    for event, response, pointer in _responses(view):
        status = response.get("status", ABSENT)
        if isinstance(status, str) and status not in known:
            message = f"The dialect has no status {quoted(status)}."
            yield _problem(event, message, f"{pointer}/status", expected=one_of(known), actual=status)


def _is_required(view: ExchangeView, rule: str) -> bool:
    """Whether the dialect has a rule as MUST or SHOULD. What it leaves open is not all that the schema may refuse."""
    return view.dialect.level_of(load_rules()[rule]) in (Level.MUST, Level.SHOULD)


def _is_owned(view: ExchangeView, error: SchemaError, response: dict[str, Any]) -> bool:
    """Whether a more specific rule reports this error. Most look at the final response only."""
    if error.pointer == "/object":  # RSP-01
        return error.keyword != "required"
    if error.pointer == "/status":  # RSP-04
        return isinstance(error.actual, str)
    if response is not view.response:
        return False
    match pointer_keys(error.pointer):
        case ["error", "code" | "message"] | ["incomplete_details", "reason"]:  # RSP-06, RSP-08
            return True
        case ["output", _, "id" | "status"]:  # ITM-16
            return not isinstance(error.actual, str)
        case ["output", index, "role"]:  # ITM-22
            kind = get(response, "output", int(index), "type")
            return bool(kind == "message") and isinstance(error.actual, str) and _is_required(view, "ITM-22")
        case ["output", index, "content", part, "annotations"]:  # RSP-11
            kind = get(response, "output", int(index), "content", int(part), "type")
            return bool(kind == "output_text") and not isinstance(error.actual, list)
        case ["tools", _, name]:  # RSP-12
            return error.keyword == "required" and name in _ECHOED
        case ["usage", "input_tokens" | "output_tokens" | "total_tokens"]:  # USG-03, USG-12
            return True
        case ["usage", "input_tokens_details" | "output_tokens_details"]:  # USG-04
            return True
        case ["usage", "input_tokens_details", "cached_tokens"] | [
            "usage",
            "output_tokens_details",
            "reasoning_tokens",
        ]:
            return True
    return False


def _repeats_the_request(view: ExchangeView, response: dict[str, Any], pointer: str) -> bool:
    """Whether the response has the value of the request there or around it.

    A request with a doubtful value may come back changed in the field that has the value.
    """
    steps = pointer_keys(pointer)
    if not steps or steps[0] not in view.request:
        return False
    if not UNCERTAIN.isdisjoint(view.exchange.tags):
        return True
    ours: Any = view.request
    theirs: Any = response
    for step in steps:
        key = int(step) if isinstance(theirs, list) and step.isdecimal() else step
        ours, theirs = get(ours, key), get(theirs, key)
        if theirs is ABSENT or type(ours) is not type(theirs):
            return False
        if ours == theirs:
            return True
    return False


@check("RSP-05", Subject.CREATE, needs=_has_responses)
def required_fields(view: ExchangeView) -> Iterator[Problem | More]:
    """Validates every response object, in a stream too, against the response schema of the dialect.

    The schema includes output items, their parts, and what repeats the request: tools, text format and the like. Other
    rules cover status, ids, annotations, usage counts and the like. A value that the request has too is accepted.
    """

    def problem(place: tuple[Event | None, str, SchemaError]) -> Problem:
        event, pointer, error = place
        where = f" ({error.branch})" if error.branch else ""
        return _problem(
            event,
            f"The response object does not match the schema{where}: {error.located}.{repeated(error.more)}",
            f"{pointer}{error.pointer}",
            expected=error.wanted,
            actual=error.actual,
            kind="" if error.keyword == "required" else error.keyword,
        )

    yield from each(
        (
            (event, pointer, error)
            for event, response, pointer in _responses(view)
            for error in view.dialect.response_validator.errors(response)
            if not (_is_owned(view, error, response) or _repeats_the_request(view, response, error.pointer))
        ),
        problem,
        lambda place: (place[0] and place[0].type, masked(place[2].pointer), place[2].keyword),
    )


@check("RSP-06", Subject.RETURNED, needs=lambda view: isinstance(state(view.response), str))
@check("RSP-06", Subject.RESPONSE, needs=lambda view: isinstance(state(view.response), str))
def failed_means_error(view: ExchangeView) -> Iterator[Problem]:
    """Tests `error.code` and `error.message` of failed responses. Others must not have an `error`."""
    assert view.response is not None
    error = view.response.get("error", ABSENT)
    if state(view.response) != "failed":
        if is_set(error):
            yield in_response(
                view,
                f"The response has an error, but status is {quoted(state(view.response))}.",
                "/error",
                expected=None,
                actual=error,
                kind="unexpected",
            )
    elif not isinstance(error, dict):
        message = f"The error of a failed response {is_what(error)}."
        wanted = "object with code and message"
        yield in_response(view, message, "/error", expected=wanted, actual=error, kind="missing")
    else:
        for name in ("code", "message"):
            if not isinstance(error.get(name), str):
                yield in_response(
                    view,
                    f"The error of a failed response {has_what(name, error.get(name, ABSENT))}.",
                    f"/error/{name}",
                    expected="string",
                    actual=error.get(name, ABSENT),
                )


def _lists_codes(view: ExchangeView) -> bool:
    return bool(view.dialect.response["error_codes"]) and isinstance(get(view.response, "error", "code"), str)


@check("RSP-07", Subject.RESPONSE, needs=_lists_codes)
def error_codes_are_known(view: ExchangeView) -> Iterator[Problem]:
    """Compares `error.code` with the list of the dialect."""
    code = get(view.response, "error", "code")
    codes = view.dialect.response["error_codes"]
    if code not in codes:
        message = f"The dialect has no error code {quoted(code)}."
        yield in_response(view, message, "/error/code", expected=one_of(codes), actual=code)


@check("RSP-08", Subject.RETURNED, needs=lambda view: isinstance(state(view.response), str))
@check("RSP-08", Subject.RESPONSE, needs=lambda view: isinstance(state(view.response), str))
def incomplete_says_why(view: ExchangeView) -> Iterator[Problem]:
    """Tests `incomplete_details.reason` of incomplete responses. Others must not have `incomplete_details`."""
    assert view.response is not None
    details = view.response.get("incomplete_details", ABSENT)
    reason = get(details, "reason")
    reasons = view.dialect.response["incomplete_reasons"]
    if state(view.response) != "incomplete":
        if is_set(details):
            yield in_response(
                view,
                f"The response has incomplete_details, but status is {quoted(state(view.response))}.",
                "/incomplete_details",
                expected=None,
                actual=details,
                kind="unexpected",
            )
    elif reason not in reasons and not (not reasons and isinstance(reason, str) and reason):
        yield in_response(
            view,
            f"The incomplete_details.reason of an incomplete response {is_what(reason)}.",
            "/incomplete_details/reason",
            expected=one_of(reasons) if reasons else "non-empty string",
            actual=reason,
            kind="reason",
        )


def _was_cut(case: CaseView) -> bool:
    """Whether the case has one deterministic request with and without a cap, and the cap surely truncated the text."""
    whole, capped = case.get(Role.UNCAPPED), case.get(Role.CAPPED)
    if whole is None or capped is None or whole.response is None or capped.response is None:
        return False
    cap = capped.request.get("max_output_tokens")
    used = get(whole.response, "usage", "output_tokens")
    if not (is_integer(cap) and is_integer(used) and used > cap and state(whole.response) == "completed"):
        return False
    full, part = whole.text(), capped.text()
    return len(part) < len(full) and full.startswith(part)


@check("RSP-08", Subject.CASE, needs=_was_cut)
def cut_is_not_completed(case: CaseView) -> Iterator[Problem]:
    """Sends one request at temperature 0 without and with a small `max_output_tokens`.

    If the second text is a proper prefix of the first, the limit truncated it.
    """
    whole, capped = case.having(Role.UNCAPPED, Role.CAPPED)
    if state(capped.response) != "incomplete":
        yield in_response(
            capped,
            f"Truncated at max_output_tokens ({len(capped.text())} of {plural(len(whole.text()), 'character')}), "
            f"but status is {quoted(state(capped.response))}.",
            "/status",
            expected="incomplete",
            actual=state(capped.response),
            kind="cut",
        )


@check("RSP-09", Subject.RESPONSE, needs=lambda view: state(view.response) == "cancelled")
def only_background_is_cancelled(view: ExchangeView) -> Iterator[Problem]:
    """Tests that the request of every cancelled response has `background` true."""
    if view.request.get("background") is not True:
        yield in_response(
            view,
            'The status of a response is "cancelled", but the request did not set background.',
            "/status",
            expected="one of completed, incomplete, failed",
            actual="cancelled",
        )


@check(
    "RSP-10", Subject.RESPONSE, needs=lambda view: state(view.response) == "completed" and view.whole_output is not None
)
def completed_has_output(view: ExchangeView) -> Iterator[Problem]:
    """Counts the output items of every completed response."""
    if not view.whole_output:
        yield in_response(
            view, "A completed response has no output items.", "/output", expected="non-empty array", actual=[]
        )


@check("RSP-11", Subject.RETURNED, needs=lambda view: any(True for _ in view.text_parts()))
@check("RSP-11", Subject.RESPONSE, needs=lambda view: any(True for _ in view.text_parts()))
def text_parts_have_annotations(view: ExchangeView) -> Iterator[Problem]:
    """Tests `annotations` of every `output_text` part."""
    yield from _lists_of_parts(view, "annotations")


def _lists_of_parts(view: ExchangeView, name: str) -> Iterator[Problem]:
    """Yield a problem for each text part in which this field is not an array."""
    for pointer, part in view.text_parts():
        value = part.get(name, ABSENT)
        if not isinstance(value, list):
            message, place = f"An output_text part {has_what(name, value)}.", f"{pointer}/{name}"
            yield in_response(view, message, place, expected="array of objects", actual=value)


def _function_tools(view: ExchangeView) -> list[tuple[int, dict[str, Any]]]:
    tools = get(view.response, "tools")
    listed = enumerate(tools) if isinstance(tools, list) else ()
    return [(i, tool) for i, tool in listed if isinstance(tool, dict) and tool.get("type") == "function"]


@check("RSP-12", Subject.RESPONSE, needs=lambda view: bool(_function_tools(view)))
def echoed_tools_are_whole(view: ExchangeView) -> Iterator[Problem]:
    """Tests every function tool in `tools` for `description`, `parameters` and `strict`."""
    for i, tool in _function_tools(view):
        for name in _ECHOED:
            if name not in tool:
                yield in_response(
                    view,
                    f"An echoed function tool has no {name}.",
                    f"/tools/{i}/{name}",
                    expected=_ECHOED[name],
                    actual=ABSENT,
                )


def _names_conversation(view: ExchangeView) -> bool:
    return view.is_create and is_set(view.request.get("conversation", ABSENT))


@check("RSP-13", Subject.RESPONSE, needs=_names_conversation)
def conversation_is_named(view: ExchangeView) -> Iterator[Problem]:
    """Compares `conversation.id` of every response to a request with a conversation with the id in the request."""
    given = view.request["conversation"]
    wanted = given.get("id") if isinstance(given, dict) else given
    found = get(view.response, "conversation", "id")
    if found != wanted:
        yield in_response(view, f"conversation.id {is_what(found)}.", "/conversation/id", expected=wanted, actual=found)


@check("RSP-14", Subject.RESPONSE, needs=lambda view: isinstance(get(view.response, "output_text"), str))
def output_text_is_the_text(view: ExchangeView) -> Iterator[Problem]:
    """Compares a top-level `output_text` with the joined text of all `output_text` parts."""
    text, given = view.text(), get(view.response, "output_text")
    if text != given:
        message = (
            f"output_text ({plural(len(given), 'character')}) differs from the text of the output "
            f"({plural(len(text), 'character')})."
        )
        yield in_response(view, message, "/output_text", expected=text, actual=given)


def _tells_completion(view: ExchangeView) -> bool:
    return bool(view.dialect.response["completed_at"]) and state(view.response) == "completed"


@check("RSP-15", Subject.RESPONSE, needs=_tells_completion)
def completion_has_a_time(view: ExchangeView) -> Iterator[Problem]:
    """Tests that `completed_at` of completed responses is not null. RSP-05 covers responses that lack the field."""
    if get(view.response, "completed_at") is None:
        message = "completed_at of a completed response is null."
        yield in_response(view, message, "/completed_at", expected="time in seconds", actual=None)


def _lists_logprobs(view: ExchangeView) -> bool:
    return bool(view.dialect.response["logprobs"]) and any(True for _ in view.text_parts())


@check("RSP-16", Subject.RESPONSE, needs=_lists_logprobs)
def text_parts_have_logprobs(view: ExchangeView) -> Iterator[Problem]:
    """Tests `logprobs` of every `output_text` part."""
    yield from _lists_of_parts(view, "logprobs")


def _has_reply(view: ExchangeView) -> bool:
    """Whether an operation beside create returned a whole body, or a stream with response objects.

    Documents leave open what delete returns, so it may return nothing.
    """
    exchange = view.exchange
    if not (view.operation and exchange.ok and exchange.outcome is Outcome.COMPLETE):
        return False
    return bool(_objects_of(view)) and (bool(exchange.body) or exchange.request.method != "DELETE")


def _objects_of(view: ExchangeView) -> list[tuple[str, Any]]:
    """Return what an operation returned, with the pointer to it: a body, or the responses in the events of a replay."""
    if view.exchange.content_type != "text/event-stream":
        return [("", view.body)]
    return [("/response", event["response"]) for event in replayed(view) if isinstance(event.get("response"), dict)]


@check("RSP-17", Subject.CASE, needs=lambda case: any(map(_has_reply, case.views)))
def replies_of_operations_match(case: CaseView) -> Iterator[Problem]:
    """Validates the body of every 2xx response to an operation beside create against the schema of the operation.

    In replays of streams, the response objects are tested; BGR-09 compares the events. Of a retrieved, replayed or
    cancelled response, only what the created one has not wrong as well is reported. Empty responses to delete are not
    tested.
    """
    created = {get(view.response, "id"): view for view in case.views if view.response is not None}
    for view in case.views:
        if not _has_reply(view) or view.requested is None:
            continue
        operation = view.requested.operation
        earlier = created.get(view.requested.ids.get("response_id", ABSENT))
        known = set() if earlier is None else _faults(earlier)
        for pointer, body in _objects_of(view):
            if body is None:
                message = f"The body of a response to {operation.name} is not JSON."
                yield in_exchange(view, message, expected="JSON", actual=view.exchange.body[:200], kind=operation.name)
                continue
            for error in operation.reply_validator.errors(body):
                if _fault(error) in known:
                    continue
                if pointer:
                    known.add(_fault(error))  # the next event repeats it
                yield in_exchange(
                    view,
                    f"The response to {operation.name} does not match the schema"
                    f"{f' ({error.branch})' if error.branch else ''}: {error.located}.{repeated(error.more)}",
                    pointer + error.pointer,
                    expected=error.wanted,
                    actual=error.actual,
                    kind=f"{operation.name} {error.keyword}",
                )


def _faults(view: ExchangeView) -> set[tuple[str, str]]:
    """Return what is wrong with the response objects of a create request."""
    found = {_fault(error) for error in view.dialect.response_validator.errors(view.response)}
    for _, response, _ in _responses(view):
        found |= {_fault(error) for error in view.dialect.response_validator.errors(response)}
    return found


def _fault(error: SchemaError) -> tuple[str, str]:
    return error.pointer, error.keyword
