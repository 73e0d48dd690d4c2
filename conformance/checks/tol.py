"""Tools: whether tool_choice is obeyed, what calls look like, and whether they are accepted as input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from rejoinder.conformance.judging.controls import takes_lists
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.formats import declared_parameters
from rejoinder.conformance.judging.problems import get, in_exchange, in_response, is_integer, is_number
from rejoinder.conformance.judging.recall import answers_to, text_with
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import INSTRUCTIONS_ANYWHERE, Role, role_of
from rejoinder.conformance.judging.turns import (
    calls,
    canary_of,
    crash_kind,
    has_refusal,
    have_responses,
    is_answer,
    is_broken,
    is_refusal,
    is_rejected,
    refusable,
    says,
    status_code,
    was_cut,
    whole_calls,
)
from rejoinder.contract import load_dialect
from rejoinder.formatting import plural
from rejoinder.model.exchange import parse_json
from rejoinder.model.verdict import ABSENT, Problem

CLIENT_CALLS: Final = ("function_call", "custom_tool_call")
_CLIENT_TOOLS: Final = ("function", "custom")
_CALLS: Final = (*CLIENT_CALLS, "computer_call")
_CALL_OF_TOOL: Final = dict(zip(_CLIENT_TOOLS, CLIENT_CALLS, strict=True))
_TOOL_OF_CALL: Final = {call: tool for tool, call in _CALL_OF_TOOL.items()}
_MAX_CALL_ID: Final = 64


def _tools(view: ExchangeView) -> list[dict[str, Any]]:
    tools = view.request.get("tools")
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []


def _only_client_tools(view: ExchangeView) -> bool:
    """Whether every tool is one that the client runs, so that a call of it must show in the output."""
    tools = _tools(view)
    return bool(tools) and all(tool.get("type") in _CLIENT_TOOLS for tool in tools)


def _choice(view: ExchangeView) -> Any:
    choice = view.request.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return choice.get("mode", "auto")
    return choice


def _is_bound(view: ExchangeView) -> bool:
    choice = _choice(view)
    if not _only_client_tools(view):
        return False
    if choice == "none":
        return True
    declared = [(tool.get("type"), tool.get("name")) for tool in _tools(view)]
    forced = choice == "required" or (isinstance(choice, dict) and (choice.get("type"), choice.get("name")) in declared)
    return forced and (bool(calls(view, *CLIENT_CALLS)) or not was_cut(view)) and not has_refusal(view)


@check("TOL-01", Subject.RESPONSE, needs=_is_bound)
def tool_choice_is_obeyed(view: ExchangeView) -> Iterator[Problem]:
    """Responses to `tool_choice` "none", "required" or a named tool are searched for calls of client tools.

    A response that was truncated or refused may lack a call.
    """
    choice, made = _choice(view), calls(view, *CLIENT_CALLS)
    if choice == "none":
        for i, item in made:
            yield in_response(
                view,
                f'Tool {item.get("name")} is called, although tool_choice is "none".',
                f"/output/{i}",
                expected="absent",
                actual=item.get("name", ABSENT),
                kind="none",
            )
        return
    if not made:
        yield in_response(
            view,
            "No tool is called, although tool_choice requires a call.",
            "/output",
            expected="tool call" if choice == "required" else f"call of {choice.get('name')}",
            actual=[item.get("type") for item in view.output],
            kind="required" if choice == "required" else "named",
        )
    for i, item in made if isinstance(choice, dict) else ():
        if item.get("type") != _CALL_OF_TOOL[choice["type"]] or item.get("name") != choice.get("name"):
            yield in_response(
                view,
                f"{_called(item)}, although tool_choice names {choice['type']} tool {choice.get('name')}.",
                f"/output/{i}/name",
                expected=f"{_CALL_OF_TOOL[choice['type']]} of {choice.get('name')}",
                actual=f"{item.get('type')} of {item.get('name')}",
                kind="other",
            )


def _called(item: dict[str, Any]) -> str:
    """Return the start of a sentence about a call: which tool, of which type, is called."""
    return f"{_TOOL_OF_CALL[item['type']].capitalize()} tool {item.get('name')} is called"


def _temptation(case: CaseView) -> Iterator[Problem | Declined]:
    (tempted,) = case.having(Role.TEMPTED)
    if not calls(tempted, *CLIENT_CALLS):
        yield Declined('The model called no tool, even with tool_choice "auto".')


@check("TOL-01", Subject.CASE, needs=lambda case: have_responses(case, Role.TEMPTED, Role.NONE))
def none_was_a_temptation(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt is sent with `tool_choice` "auto" and "none". Testing the rule needs a model that calls with "auto"."""
    yield from _temptation(case)


def _allowed(view: ExchangeView) -> set[Any] | None:
    choice = view.request.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None
    tools = choice.get("tools")
    return {get(tool, "name") for tool in tools} if isinstance(tools, list) else None


@check("TOL-02", Subject.RESPONSE, needs=lambda view: _allowed(view) is not None and bool(calls(view, *CLIENT_CALLS)))
def allowed_tools_are_a_limit(view: ExchangeView) -> Iterator[Problem]:
    """The name of each call is looked up in the allowed tools."""
    allowed = _allowed(view) or set()
    for i, item in calls(view, *CLIENT_CALLS):
        if item.get("name") not in allowed:
            yield in_response(
                view,
                f"Tool {item.get('name')} is called, although allowed_tools does not list it.",
                f"/output/{i}/name",
                expected=sorted(map(str, allowed)),
                actual=item.get("name", ABSENT),
            )


@check("TOL-02", Subject.CASE, needs=lambda case: have_responses(case, Role.TEMPTED, Role.LIMITED))
def the_limit_was_a_temptation(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt needs a tool. Testing the rule needs a model that calls the tool where it is allowed."""
    yield from _temptation(case)


def _is_single(view: ExchangeView) -> bool:
    return view.request.get("parallel_tool_calls") is False and bool(calls(view, *CLIENT_CALLS))


@check("TOL-03", Subject.RESPONSE, needs=_is_single)
def one_call_at_a_time(view: ExchangeView) -> Iterator[Problem]:
    """The calls of client tools are counted in responses to `parallel_tool_calls` false."""
    made = calls(view, *CLIENT_CALLS)
    if len(made) > 1:
        yield in_response(
            view,
            f"The response has {len(made)} tool calls, although parallel_tool_calls is false.",
            f"/output/{made[1][0]}",
            expected="at most 1 call",
            actual=len(made),
        )


def _asked_for(view: ExchangeView) -> list[tuple[int, dict[str, Any]]]:
    """Return the calls that are left to the client: those that the server did not answer itself."""
    answered = {item.get("call_id") for item in view.output if str(item.get("type")).endswith("_output")}
    return [(i, item) for i, item in calls(view, *CLIENT_CALLS) if item.get("call_id") not in answered]


def _knows_its_tools(view: ExchangeView) -> bool:
    # Tools may also come from a prompt template, a namespace or a server that is named.
    return _only_client_tools(view) and not view.request.get("prompt") and bool(_asked_for(view))


@check("TOL-04", Subject.RESPONSE, needs=_knows_its_tools)
def called_tools_are_declared(view: ExchangeView) -> Iterator[Problem]:
    """The name of each call is looked up in the request's tools, where all of them are client tools."""
    declared = {(_CALL_OF_TOOL[tool["type"]], tool.get("name")) for tool in _tools(view)}
    for i, item in _asked_for(view):
        if (item["type"], item.get("name")) not in declared:
            yield in_response(
                view,
                f"{_called(item)}, but the request does not declare it.",
                f"/output/{i}/name",
                expected=sorted(f"{kind} of {name}" for kind, name in declared),
                actual=f"{item['type']} of {item.get('name')}",
            )


@check("TOL-05", Subject.RETURNED, needs=lambda view: bool(calls(view, *_CALLS)))
@check("TOL-05", Subject.RESPONSE, needs=lambda view: bool(calls(view, *_CALLS)))
def call_ids_can_be_sent_back(view: ExchangeView) -> Iterator[Problem]:
    """The `call_id` of each call must be a non-empty string, unique in the response."""
    seen: set[str] = set()
    for i, item in calls(view, *_CALLS):
        identity = item.get("call_id", ABSENT)
        if not isinstance(identity, str) or not identity:
            yield in_response(
                view,
                "call_id is not a non-empty string.",
                f"/output/{i}/call_id",
                expected="non-empty string",
                actual=identity,
                kind="form",
            )
        elif identity in seen:
            yield in_response(
                view,
                f'Two tool calls of the response have call_id "{identity}".',
                f"/output/{i}/call_id",
                expected="unique call_id",
                actual=identity,
                kind="reused",
            )
        else:
            seen.add(identity)


@check("TOL-14", Subject.RESPONSE, needs=lambda view: bool(calls(view, *_CALLS)))
def call_ids_fit_into_an_input(view: ExchangeView) -> Iterator[Problem]:
    """The `call_id` of each call must have at most 64 characters."""
    for i, item in calls(view, *_CALLS):
        identity = item.get("call_id")
        if isinstance(identity, str) and len(identity) > _MAX_CALL_ID:
            yield in_response(
                view,
                f"call_id has {len(identity)} characters.",
                f"/output/{i}/call_id",
                expected=f"at most {_MAX_CALL_ID} characters",
                actual=identity,
            )


def _sent(*roles: str) -> Callable[[CaseView], bool]:
    """Return the condition that one of these requests of a case was accepted or rejected."""
    return lambda case: any(is_answer(status_code(case.get(role))) for role in roles)


def _rejected(view: ExchangeView, what: str, pointer: str) -> Iterator[Problem]:
    """Yield a problem where a request was rejected that had to be accepted; ``what`` it sent opens the message."""
    status = status_code(view)
    if is_rejected(status):
        message = f"{what} returned status {status}{_reason(view)}."
        yield in_exchange(view, message, pointer, expected=200, actual=status, kind=view.exchange.role)


def _reason(view: ExchangeView) -> str:
    """Return the endpoint's error message in quotes, after a colon; empty without one."""
    message = get(view.exchange.json(), "error", "message")
    return f': "{message}"' if isinstance(message, str) and message else ""


def _code_class(view: ExchangeView) -> str:
    return crash_kind(view) if is_broken(status_code(view)) else "4xx"


def _sent_back(case: CaseView, *, reasoning: bool) -> list[ExchangeView]:
    """Return the answered requests with output items as input: those with reasoning items, or the others.

    They say nothing at an endpoint that answers no list input at all.
    """
    views = case.having(Role.SENT_BACK, Role.SENT_BACK_BARE)
    answered = [view for view in views if is_answer(status_code(view)) and _has_output_items(view)]
    return [view for view in answered if _has_reasoning(view) is reasoning and takes_lists(view)]


def _has_output_items(view: ExchangeView) -> bool:
    items = view.request.get("input")
    return isinstance(items, list) and any(
        get(item, "role") == "assistant" or get(item, "type") not in ("message", ABSENT) for item in items
    )


def _has_reasoning(view: ExchangeView) -> bool:
    items = view.request.get("input")
    return isinstance(items, list) and any(get(item, "type") == "reasoning" for item in items)


@check("TOL-06", Subject.CASE, needs=lambda case: bool(_sent_back(case, reasoning=False)))
def output_is_taken_as_input(case: CaseView) -> Iterator[Problem]:
    """The output items of a response are sent in the input of the next request, which must be accepted.

    Items are sent unchanged, except for fields that the dialect forbids in the input. Function calls, together with an
    output, are also sent without `id` and `status`. TOL-15 covers reasoning items.
    """
    for view in _sent_back(case, reasoning=False):
        how = "unchanged" if view.exchange.role == Role.SENT_BACK else "without id and status"
        yield from _rejected(view, f"Output items sent as input {how}", "/input")


@check("TOL-15", Subject.CASE, needs=lambda case: bool(_sent_back(case, reasoning=True)))
def reasoning_is_taken_as_input(case: CaseView) -> Iterator[Problem]:
    """Reasoning items of a response, with its other items, are sent in the input of the next request.

    A field that the dialect forbids in the input, such as `content` in Open Responses, is left out.
    """
    for view in _sent_back(case, reasoning=True):
        yield from _rejected(view, "Output items with reasoning sent as input", "/input")


_FORMS: Final = (
    (Role.WITHOUT, Role.SENT_BACK, "An output item sent as input without its optional fields"),
    (Role.NULLS, Role.SENT_BACK, "An output item sent as input with null for id and status"),
)
"""The roles of requests that send items in a form, the role that shows that they are accepted, and what they are."""


def _forms(case: CaseView) -> list[tuple[ExchangeView, str]]:
    """Return the requests that sent back, in another form, items that were taken as they came, and what they sent."""
    return [
        (view, what)
        for role, control, what in _FORMS
        for view in case.having(role)
        if case.id.startswith("roundtrip.") and is_answer(status_code(view)) and status_code(case.get(control)) == 200
    ]


@check("TOL-12", Subject.CASE, needs=lambda case: bool(_forms(case)))
def own_items_are_taken_back(case: CaseView) -> Iterator[Problem]:
    """Output items that the endpoint accepts unchanged are sent as input in other forms, which it must accept.

    The forms are: without optional fields, and with null for `id` and `status`. Null may be refused with a 4xx where
    the sources of the contract disagree about it.
    """
    for view, what in _forms(case):
        status = status_code(view)
        undisputed = view.exchange.role != Role.NULLS or _is_undisputed(view)
        if is_broken(status) or (is_refusal(status) and undisputed):
            yield in_exchange(
                view,
                f"{what} returned status {status}{_reason(view)}.",
                "/input",
                expected=200 if undisputed else "200 or 4xx status",
                actual=status,
                kind=f"{view.exchange.role} {_code_class(view)}",
            )


@check("TOL-16", Subject.CASE, needs=lambda case: have_responses(case, Role.IN_ORDER) and _sent(Role.REVERSED)(case))
def outputs_may_come_in_any_order(case: CaseView) -> Iterator[Problem]:
    """The outputs of two calls, which the endpoint accepts in the order of the calls, are sent in reverse order."""
    for view in case.having(Role.REVERSED):
        yield from _rejected(view, "An input with the outputs of two calls in reverse order", "/input")


def _is_undisputed(view: ExchangeView) -> bool:
    return view.dialect.sound_requests.is_valid(view.request)


_CONTROLS: Final = (Role.CONTROL, role_of(Role.CONTROL, Role.AGAIN))


def _placed(case: CaseView) -> list[ExchangeView]:
    """Return the answered requests, unless the same conversation without the message fails before or after them."""
    if case.id != INSTRUCTIONS_ANYWHERE or not have_responses(case, *_CONTROLS):
        return []
    return [view for view in case.views if is_answer(status_code(view)) and view.exchange.role not in _CONTROLS]


@check("TOL-13", Subject.CASE, needs=lambda case: bool(_placed(case)))
def instructions_may_stand_anywhere(case: CaseView) -> Iterator[Problem]:
    """A conversation is sent with a system message, and with a developer message, at each of four positions.

    A role that is accepted at one position must be accepted at all, and beside `instructions`. No position may cause a
    server error. Before and after, the endpoint must answer the same conversation without the message.
    """
    taken = {view.exchange.role.partition("-")[0] for view in _placed(case) if view.exchange.ok}
    for view in _placed(case):
        status, (role, _, place) = status_code(view), view.exchange.role.partition("-")
        where = "beside instructions" if place == "instructions" else f"at position {place}"
        if is_broken(status) or (is_refusal(status) and role in taken):
            yield in_exchange(
                view,
                f"A conversation with a {role} message {where} returned status {status}{_reason(view)}.",
                "/input",
                expected=200,
                actual=status,
                kind=f"{view.exchange.role} {_code_class(view)}",
            )


@check(
    "TOL-07",
    Subject.CASE,
    needs=lambda case: any(have_responses(case, role) for role in (Role.TEXT_OUTPUT, Role.LIST_OUTPUT)),
)
def both_forms_of_output_are_taken(case: CaseView) -> Iterator[Problem]:
    """The output of a function call is sent as a string and as a list with one text part.

    An endpoint that accepts one of them must accept the other. If it accepts neither, the call may be what it refuses.
    """
    for view in case.having(Role.TEXT_OUTPUT, Role.LIST_OUTPUT):
        form = "a string" if view.exchange.role == Role.TEXT_OUTPUT else "a list of content parts"
        yield from _rejected(view, f"A function_call_output with {form} as output", "/input/2/output")


def _not_refused(view: ExchangeView, what: str, pointer: str) -> Iterator[Problem]:
    status = status_code(view)
    if not is_refusal(status):
        yield in_exchange(
            view,
            f"{what} returned status {status}.",
            pointer,
            expected="4xx status",
            actual=status,
            kind=f"{view.exchange.role} {crash_kind(view) if is_broken(status) else status}",
        )


@check("TOL-07", Subject.CASE, needs=lambda case: have_responses(case, Role.TEXT_OUTPUT, Role.LIST_OUTPUT))
def both_forms_of_output_are_heard(case: CaseView) -> Iterator[Problem | Declined]:
    """Both forms contain a canary, and the prompt asks the model to repeat it.

    If the model repeats it from the string, it must repeat it from the list. Only two misses count.
    """
    word = canary_of(case, "quartz")
    if not says(case.get(Role.TEXT_OUTPUT), word):
        yield Declined("The model did not repeat a canary from the output of a call.")
        return
    answers = answers_to(case, Role.LIST_OUTPUT, Role.LIST_OUTPUT_AGAIN)
    if len(answers) == 2 and not any(says(view, word) for view in answers):
        message = "The list output of a function_call_output does not reach the model. A string does."
        yield in_exchange(
            answers[1], message, "/output", expected=text_with(word), actual=answers[1].text(), kind="unheard"
        )


@check("TOL-08", Subject.CASE, needs=lambda case: bool(refusable(case, "TOL-08")))
def unknown_call_is_refused(case: CaseView) -> Iterator[Problem]:
    """A `function_call_output` is sent with and without its call. A 4xx to the second is expected."""
    for view in refusable(case, "TOL-08"):
        items = view.request.get("input")
        kinds = [get(item, "type") for item in items] if isinstance(items, list) else []
        place = kinds.index("function_call_output") if "function_call_output" in kinds else 0
        yield from _not_refused(view, "A function_call_output with an unknown call_id", f"/input/{place}/call_id")


@check("TOL-09", Subject.CASE, needs=lambda case: bool(refusable(case, "TOL-09")))
def bad_tool_fields_are_refused(case: CaseView) -> Iterator[Problem]:
    """A request that the endpoint accepts is sent with an unknown `tool_choice`. A 4xx is expected.

    Where the dialect has such limits, a `max_tool_calls` of 0 and a tool name with a space are sent, too.
    """
    fields: dict[str, tuple[str, str]] = {
        Role.CHOICE: ("An unknown tool_choice", "/tool_choice"),
        Role.MAX_CALLS: ("A max_tool_calls of 0", "/max_tool_calls"),
        Role.NAME: ("A tool name with a space", "/tools/0/name"),
    }
    for view in refusable(case, "TOL-09"):
        what, pointer = fields.get(view.exchange.role, ("An invalid tool field", ""))
        yield from _not_refused(view, what, pointer)


@check("TOL-10", Subject.CASE, needs=lambda case: bool(refusable(case, "TOL-10")))
def undeclared_choice_is_refused(case: CaseView) -> Iterator[Problem]:
    """A `tool_choice` is sent that names a declared function, and one that names none. A 4xx to that is expected."""
    for view in refusable(case, "TOL-10"):
        yield from _not_refused(view, "A tool_choice that names an undeclared function", "/tool_choice/name")


@cache
def _actions(dialect: str) -> frozenset[str]:
    """Return the types of actions that a computer call of the dialect may have; none where it does not list them."""
    definitions = load_dialect(dialect).schema("response")["$defs"]
    branches = definitions.get("ComputerAction", {}).get("anyOf", ())
    named = (definitions[branch["$ref"].rpartition("/")[2]] for branch in branches)
    return frozenset(str(definition["properties"]["type"]["const"]) for definition in named)


@check("TOL-11", Subject.RESPONSE, needs=lambda view: bool(calls(view, "computer_call")))
def computer_calls_are_whole(view: ExchangeView) -> Iterator[Problem]:
    """Each `computer_call` must have a `call_id` and an action of a documented type."""
    known = _actions(view.dialect.reference)
    for i, item in calls(view, "computer_call"):
        identity, action = item.get("call_id", ABSENT), get(item, "action", "type")
        if not isinstance(identity, str) or not identity:
            message = "The computer call has no call_id."
            yield in_response(view, message, f"/output/{i}/call_id", expected="non-empty string", actual=identity)
        if known and action not in known:
            message = "The computer call has an undocumented action type."
            yield in_response(view, message, f"/output/{i}/action/type", expected=sorted(known), actual=action)


@check("TOL-11", Subject.CASE, needs=lambda case: have_responses(case, role_of(Role.ACTION, "screenshot")))
def computer_histories_are_taken(case: CaseView) -> Iterator[Problem]:
    """Computer calls with each action, and with an acknowledged safety check, are sent with their screenshot.

    If the endpoint accepts the call with action "screenshot", it must accept all others.
    """
    for view in case.views:
        role, status = view.exchange.role, status_code(view)
        if is_rejected(status):
            message = f"A computer call in the history ({role}) returned status {status}{_reason(view)}."
            yield in_exchange(view, message, "/input/1", expected=200, actual=status, kind=role)


def _sent_screenshot(case: CaseView) -> bool:
    return _sent(Role.SCREENSHOT)(case) and all(map(takes_lists, case.having(Role.SCREENSHOT)))


@check("TOL-11", Subject.CASE, needs=_sent_screenshot)
def screenshots_are_taken(case: CaseView) -> Iterator[Problem]:
    """A `computer_call_output` with a screenshot is sent for a computer call. It must be accepted.

    HTTP-04 covers an endpoint that accepts no list as input.
    """
    (view,) = case.having(Role.SCREENSHOT)
    yield from _rejected(view, "A computer_call_output with a screenshot", "/input")


_IS_OF_TYPE: Final[Mapping[str, Callable[[Any], bool]]] = {
    "integer": is_integer,
    "number": is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
"""Tests of JSON values that a string can be taken for."""


def _typed_arguments(view: ExchangeView) -> Iterator[tuple[int, str, str, Any]]:
    """Yield place of the call, name, declared type and value of the arguments of loose tools that are no strings."""
    loose = declared_parameters(view, strict=False)
    for i, item in [] if was_cut(view) else whole_calls(view):
        arguments = parse_json(item["arguments"].encode("utf-8", "replace"))
        properties = get(loose.get(str(item.get("name"))), "properties")
        if isinstance(arguments, dict) and isinstance(properties, dict):
            for name, value in arguments.items():
                kind = get(properties.get(name), "type")
                if isinstance(kind, str) and kind in _IS_OF_TYPE:
                    yield i, name, kind, value


@check("TOL-17", Subject.RESPONSE, needs=lambda view: any(True for _ in _typed_arguments(view)))
def loose_arguments_have_their_types(view: ExchangeView) -> Iterator[Problem]:
    """A tool without strict has parameters of each type. A string is a problem if it is JSON of the declared type.

    ACC-16 covers strict tools.
    """
    for i, name, kind, value in _typed_arguments(view):
        if isinstance(value, str) and _IS_OF_TYPE[kind](parse_json(value.encode("utf-8", "replace"))):
            yield in_response(
                view,
                f"Argument {name} is a string with JSON of type {kind}.",
                f"/output/{i}/arguments",
                expected=kind,
                actual=value,
                kind=kind,
            )


_REFERENCES: Final = (
    (Role.FORMAT_INLINE, Role.FORMAT_REFERENCE, "text.format", "/text/format/schema"),
    (Role.TOOL_INLINE, Role.TOOL_REFERENCE, "a tool", "/tools/0/parameters"),
)
"""The roles of requests with a schema, without and with a local reference, and where it is."""


def _referring(case: CaseView) -> list[tuple[ExchangeView, str, str]]:
    """Return the answered requests with a local reference, whose schema is accepted without it."""
    return [
        (view, what, pointer)
        for control, role, what, pointer in _REFERENCES
        for view in case.having(role)
        if have_responses(case, control) and is_answer(status_code(view))
    ]


@check("TOL-18", Subject.CASE, needs=lambda case: bool(_referring(case)))
def local_references_are_accepted(case: CaseView) -> Iterator[Problem]:
    """A schema is sent as text format and as parameters of a tool, without and with `$defs` and a local `$ref`.

    An endpoint that accepts the first must accept the second. HTTP-03 covers server errors.
    """
    for view, what, pointer in _referring(case):
        status = status_code(view)
        if is_refusal(status):
            message = f"A schema of {what} with a local $ref returned status {status}{_reason(view)}."
            yield in_exchange(view, message, pointer, expected=200, actual=status, kind=view.exchange.role)


_HOSTED: Final = ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call")


@check(
    "TOL-19",
    Subject.RESPONSE,
    needs=lambda view: is_integer(view.request.get("max_tool_calls")) and bool(calls(view, *_HOSTED)),
)
def hosted_calls_are_limited(view: ExchangeView) -> Iterator[Problem]:
    """The calls of hosted tools are counted in responses to requests with `max_tool_calls`."""
    most, made = max(view.request["max_tool_calls"], 0), calls(view, *_HOSTED)
    if len(made) > most:
        yield in_response(
            view,
            f"The response has {plural(len(made), 'call')} of hosted tools, although max_tool_calls is {most}.",
            f"/output/{made[most][0]}",
            expected=f"at most {plural(most, 'call')}",
            actual=len(made),
        )


_HISTORY_FORMS: Final[Mapping[str, tuple[str, str]]] = {
    Role.EMPTY_AUTO: ('An empty tools list with tool_choice "auto"', "/tools"),
    Role.EMPTY_NONE: ('An empty tools list with tool_choice "none"', "/tools"),
    Role.SPECIAL_NAMES: ("An input with functions that have the names of hosted tools", "/tools"),
    Role.REFUSAL: ("An output message with a refusal as input", "/input"),
}
"""Requests that are to be accepted if the control is, by role: what they send, and where."""


def _accepted_forms(*roles: Role) -> Callable[[CaseView], bool]:
    """Return the condition that one of these requests was answered, and the control accepted."""
    return lambda case: have_responses(case, Role.CONTROL) and _sent(*roles)(case)


def _refused_forms(case: CaseView, *roles: Role) -> Iterator[Problem]:
    """Yield a problem for each of these requests that was refused; HTTP-03 covers server errors."""
    for view in case.having(*roles):
        status = status_code(view)
        if is_refusal(status):
            what, pointer = _HISTORY_FORMS[view.exchange.role]
            message = f"{what} returned status {status}{_reason(view)}."
            yield in_exchange(view, message, pointer, expected=200, actual=status, kind=view.exchange.role)


@check("TOL-20", Subject.CASE, needs=_accepted_forms(Role.EMPTY_AUTO, Role.EMPTY_NONE))
def empty_tools_are_accepted(case: CaseView) -> Iterator[Problem]:
    """A request is sent without `tools`, and with an empty list and each `tool_choice` that needs no tool."""
    yield from _refused_forms(case, Role.EMPTY_AUTO, Role.EMPTY_NONE)


@check("TOL-21", Subject.CASE, needs=_accepted_forms(Role.SPECIAL_NAMES))
def any_function_name_is_accepted(case: CaseView) -> Iterator[Problem]:
    """Functions and their calls in the history have ordinary names in one request. In another they have names of hosted
    tools, and one of 64 characters.
    """
    yield from _refused_forms(case, Role.SPECIAL_NAMES)


@check("TOL-22", Subject.CASE, needs=_accepted_forms(Role.REFUSAL))
def refusals_are_accepted(case: CaseView) -> Iterator[Problem]:
    """An output message is sent in the history, once with text and once with a refusal."""
    yield from _refused_forms(case, Role.REFUSAL)
