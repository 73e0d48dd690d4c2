"""The response object, plain or at the end of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import at_event, get, in_response, is_integer, is_set
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import state
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import ABSENT, Problem

# No Responses endpoint is older than the API itself; clocks may run a day ahead.
_EARLIEST: Final = 1_577_836_800  # 2020-01-01
_DAY: Final = 86_400


def _responses(view: ExchangeView) -> Iterator[tuple[Any, dict[str, Any], str]]:
    """Yield event (``None`` for plain), response object and pointer to it, for the body or every snapshot."""
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
    """Object is compared in the plain body and in every snapshot of a stream; its absence is left to RSP-05."""
    for event, response, pointer in _responses(view):
        value = response.get("object", ABSENT)
        if value is not ABSENT and value != "response":
            yield _problem(
                event, "The object is not called response.", f"{pointer}/object", expected="response", actual=value
            )


@check("RSP-02", Subject.RESPONSE)
def id_is_there(view: ExchangeView) -> Iterator[Problem]:
    """The id must be a non-empty string, equal to the request_id when one was sent and the dialect knows that field."""
    assert view.response is not None
    identity = view.response.get("id", ABSENT)
    if identity == "":
        yield in_response(view, "The response id is empty.", "/id", expected="a non-empty string", actual="")
    wanted = view.request.get("request_id")
    # Of an id that is taken PAR-01 speaks.
    if not isinstance(wanted, str) or not wanted or Tag.TAKEN in view.exchange.tags:
        return
    if view.dialect.response["request_id"] and identity != wanted:
        yield in_response(
            view,
            "The response does not carry the request_id that was sent.",
            "/id",
            expected=wanted,
            actual=identity,
            kind="request_id",
        )


@check("RSP-02", Subject.RUN, needs=lambda run: sum(1 for view in run.views if view.response is not None) > 1)
def ids_are_fresh(run: CaseView) -> Iterator[Problem]:
    """The ids of all responses of the run are compared."""
    seen: dict[str, str] = {}
    for view in run.views:
        identity = get(view.response, "id")
        if not isinstance(identity, str) or not identity or "request_id" in view.request:
            continue
        if identity in seen:
            yield in_response(
                view,
                f"Two requests got the same response id (the other is {seen[identity]}).",
                "/id",
                expected="an id of its own",
                actual=identity,
                kind="reused",
            )
        seen.setdefault(identity, view.exchange.id)


@check("RSP-03", Subject.RESPONSE)
def plausible_times(view: ExchangeView) -> Iterator[Problem]:
    """created_at must be an integer between 2020 and tomorrow; completed_at must fit status and created_at."""
    response = view.response
    assert response is not None
    created = response.get("created_at", ABSENT)
    if created is not ABSENT:
        whole = is_integer(created) or (isinstance(created, float) and created.is_integer())
        if not whole:
            yield in_response(
                view,
                "created_at is not whole seconds.",
                "/created_at",
                expected="an integer",
                actual=created,
                kind="type",
            )
        elif not _EARLIEST <= created <= view.exchange.started_at + _DAY:
            yield in_response(
                view,
                "created_at is not a plausible time in seconds.",
                "/created_at",
                expected=f"about {view.exchange.started_at:.0f}",
                actual=created,
                kind="implausible",
            )
    completed = response.get("completed_at", ABSENT)
    if completed is ABSENT or not view.dialect.response["completed_at"]:
        return  # RSP-05 asks for it where the dialect has it
    if state(view.response) == "completed":
        if not is_integer(completed) and not isinstance(completed, float):
            yield in_response(
                view,
                "A completed response has no completed_at.",
                "/completed_at",
                expected="an integer",
                actual=completed,
                kind="missing",
            )
        elif is_integer(completed) and is_integer(created) and completed < created:
            yield in_response(
                view,
                "completed_at lies before created_at.",
                "/completed_at",
                expected=f"{created} or later",
                actual=completed,
                kind="order",
            )
    elif completed is not None:
        yield in_response(
            view,
            "completed_at is set on a response that is not completed.",
            "/completed_at",
            expected=None,
            actual=completed,
            kind="early",
        )


@check("RSP-04", Subject.CREATE, needs=_has_responses)
def status_is_known(view: ExchangeView) -> Iterator[Problem]:
    """Status is compared with the dialect's list, in the plain body and in every snapshot of a stream."""
    known = view.dialect.response["statuses"]
    for event, response, pointer in _responses(view):
        status = response.get("status", ABSENT)
        if status is not ABSENT and status not in known:
            yield _problem(event, "The status is unknown.", f"{pointer}/status", expected=known, actual=status)


def _is_owned(pointer: str, missing: bool) -> bool:
    """Whether a more specific rule tells of this place, so that RSP-05 need not."""
    steps = pointer.split("/")[1:]
    if not steps:
        return False
    if len(steps) == 1:
        return not missing and steps[0] in ("object", "status", "created_at")
    if steps[0] == "output" and len(steps) == 3:
        return steps[2] in ("id", "type", "status", "role")  # ITM-16, ITM-17, ITM-22
    if steps[0] == "output" and len(steps) == 5 and steps[2] == "content":
        return steps[4] in ("annotations", "logprobs")  # RSP-11
    # The counts themselves are judged by USG-03.
    return steps[0] == "usage" and len(steps) == 2


@check("RSP-05", Subject.CREATE, needs=_has_responses)
def required_fields(view: ExchangeView) -> Iterator[Problem]:
    """The plain body and every snapshot are validated against the dialect's response schema.

    Places that have a rule of their own (status, ids, annotations, usage counts and so on) are left to it.
    """
    for event, response, pointer in _responses(view):
        for error in view.dialect.response_validator.errors(response):
            missing = error.keyword == "required"
            if _is_owned(error.pointer, missing):
                continue
            where = f" ({error.branch})" if error.branch else ""
            yield _problem(
                event,
                f"The response object breaks its schema{where}: {error.message}.",
                f"{pointer}{error.pointer}",
                expected=error.wanted,
                actual=error.actual,
                kind="" if missing else error.keyword,
            )


@check("RSP-06", Subject.RESPONSE, needs=lambda view: isinstance(state(view.response), str))
def failed_means_error(view: ExchangeView) -> Iterator[Problem]:
    """Error must be an object with code and message exactly when status is failed."""
    assert view.response is not None
    error = view.response.get("error", ABSENT)
    if state(view.response) != "failed":
        if is_set(error):
            yield in_response(
                view,
                "A response that did not fail has an error.",
                "/error",
                expected=None,
                actual=error,
                kind="unexpected",
            )
    elif not isinstance(error, dict):
        yield in_response(
            view, "A failed response has no error.", "/error", expected="an object", actual=error, kind="missing"
        )
    else:
        for name in ("code", "message"):
            if not isinstance(error.get(name), str):
                yield in_response(
                    view,
                    f"The error of a failed response has no {name}.",
                    f"/error/{name}",
                    expected="a string",
                    actual=error.get(name, ABSENT),
                )


def _lists_codes(view: ExchangeView) -> bool:
    return bool(view.dialect.response["error_codes"]) and isinstance(get(view.response, "error", "code"), str)


@check("RSP-07", Subject.RESPONSE, needs=_lists_codes)
def error_codes_are_known(view: ExchangeView) -> Iterator[Problem]:
    """error.code is compared with the dialect's list."""
    code = get(view.response, "error", "code")
    if code not in view.dialect.response["error_codes"]:
        yield in_response(view, "The error code is unknown.", "/error/code", actual=code)


@check("RSP-08", Subject.RESPONSE, needs=lambda view: isinstance(state(view.response), str))
def incomplete_says_why(view: ExchangeView) -> Iterator[Problem]:
    """incomplete_details must be an object with a known reason exactly when status is incomplete."""
    assert view.response is not None
    details = view.response.get("incomplete_details", ABSENT)
    reason = get(details, "reason")
    reasons = view.dialect.response["incomplete_reasons"]
    if state(view.response) != "incomplete":
        if is_set(details):
            yield in_response(
                view,
                "A response that is not incomplete has incomplete_details.",
                "/incomplete_details",
                expected=None,
                actual=details,
                kind="unexpected",
            )
    elif reason not in reasons:
        yield in_response(
            view,
            "An incomplete response does not say why in incomplete_details.",
            "/incomplete_details/reason",
            expected=reasons,
            actual=reason,
            kind="reason",
        )


def _was_cut(case: CaseView) -> bool:
    """Whether the case has the uncapped and the capped reply to one deterministic request, and the cap surely cut."""
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
    """One request is sent at temperature 0 without and with a small max_output_tokens.

    When the capped text is a proper beginning of the whole one, the cap cut it, and the status must be incomplete.
    """
    whole, capped = case.having(Role.UNCAPPED, Role.CAPPED)
    if state(capped.response) != "incomplete":
        yield in_response(
            capped,
            "A response that max_output_tokens cut short is not incomplete: without the cap the same request gave "
            f"{len(whole.text())} characters, with it {len(capped.text())}.",
            "/status",
            expected="incomplete",
            actual=state(capped.response),
            kind="cut",
        )


@check("RSP-09", Subject.RESPONSE, needs=lambda view: state(view.response) == "cancelled")
def only_background_is_cancelled(view: ExchangeView) -> Iterator[Problem]:
    """A cancelled response must answer a request with background set to true."""
    if view.request.get("background") is not True:
        yield in_response(
            view,
            "A response is cancelled that was no background work.",
            "/status",
            expected="no cancelled",
            actual="cancelled",
        )


@check(
    "RSP-10", Subject.RESPONSE, needs=lambda view: state(view.response) == "completed" and view.whole_output is not None
)
def completed_has_output(view: ExchangeView) -> Iterator[Problem]:
    """The output of completed responses must hold at least one item."""
    if not view.whole_output:
        yield in_response(
            view, "A completed response has no output.", "/output", expected="one item or more", actual=[]
        )


@check("RSP-11", Subject.RESPONSE, needs=lambda view: any(True for _ in view.text_parts()))
def text_parts_have_annotations(view: ExchangeView) -> Iterator[Problem]:
    """annotations, and logprobs where the dialect says so, must be arrays on every output_text part of the output."""
    names = ["annotations", *(["logprobs"] if view.dialect.response["logprobs"] else [])]
    for pointer, part in view.text_parts():
        for name in names:
            value = part.get(name, ABSENT)
            if not isinstance(value, list):
                yield in_response(
                    view,
                    f"An output_text part has no {name} array.",
                    f"{pointer}/{name}",
                    expected="an array",
                    actual=value,
                )


def _function_tools(view: ExchangeView) -> list[tuple[int, dict[str, Any]]]:
    tools = get(view.response, "tools")
    listed = enumerate(tools) if isinstance(tools, list) else ()
    return [(i, tool) for i, tool in listed if isinstance(tool, dict) and tool.get("type") == "function"]


@check("RSP-12", Subject.RESPONSE, needs=lambda view: bool(_function_tools(view)))
def echoed_tools_are_whole(view: ExchangeView) -> Iterator[Problem]:
    """Every function tool in the response's tools must have description, parameters and strict, null allowed."""
    for i, tool in _function_tools(view):
        for name in ("description", "parameters", "strict"):
            if name not in tool:
                yield in_response(
                    view,
                    f"An echoed function tool lacks {name}.",
                    f"/tools/{i}/{name}",
                    expected="present",
                    actual=ABSENT,
                )


@check("RSP-13", Subject.RESPONSE, needs=lambda view: is_set(view.request.get("conversation", ABSENT)))
def conversation_is_named(view: ExchangeView) -> Iterator[Problem]:
    """A request with a conversation must get a response whose conversation has an id."""
    if not isinstance(get(view.response, "conversation", "id"), str):
        yield in_response(
            view,
            "The reply does not identify the conversation.",
            "/conversation/id",
            expected="a string",
            actual=get(view.response, "conversation", "id"),
        )


@check("RSP-14", Subject.RESPONSE, needs=lambda view: isinstance(get(view.response, "output_text"), str))
def output_text_is_the_text(view: ExchangeView) -> Iterator[Problem]:
    """A top-level output_text is compared with the joined text of all output_text parts."""
    text, given = view.text(), get(view.response, "output_text")
    if text != given:
        yield in_response(
            view, "output_text is not the text of the output.", "/output_text", expected=text, actual=given
        )
