"""Faults of tools."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import ApiError, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    CALL_DONE,
    NORTHSTAR_ONLY,
    PLAIN,
    Change,
    Condition,
    ErrorHook,
    Fault,
    FaultList,
    as_if,
    changed,
    each,
    every_item,
    input_items,
    items_of,
    only,
    refuse_items,
    set_to,
    unheard,
    with_strings,
)


def _chooses(kind: str) -> Condition:
    def test(info: RequestInfo) -> bool:
        choice = info.body.get("tool_choice")
        return choice == kind or (isinstance(choice, dict) and choice.get("type") == kind)

    return Condition(f"only with tool_choice {kind}", test)


def _calls(do: Change) -> dict[str, Any]:
    """Return the hooks that change every function call, wherever it stands."""
    return every_item(only("function_call", do))


def _wrong_name() -> dict[str, Any]:
    renamed = changed("name", lambda name: f"{name}_v2")
    hooks = _calls(renamed)
    of_items = hooks["events"]
    of_done = each(CALL_DONE, do=renamed)
    return {**hooks, "events": lambda events, info: of_done(of_items(events, info), info)}


def _breaks_down(code: str, *params: str) -> ErrorHook:
    """Return a hook that turns refusals over these parameters into a server error."""

    def hook(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
        error = body["error"]
        known = any(str(error["param"] or "").startswith(param) for param in params)
        if known and code in (error["code"], ""):
            return 500, {"error": {**error, "type": "server_error", "message": "Something went wrong."}}
        return status, body

    return hook


FAULTS: Final = FaultList(
    Fault(
        id="tool-choice-none-ignored",
        title='Tools are called although tool_choice is "none".',
        breaks=("TOL-01",),
        when=_chooses("none"),
        request=as_if(tool_choice="required"),
    ),
    Fault(
        id="tool-choice-required-ignored",
        title='tool_choice "required" does not lead to a call.',
        breaks=("TOL-01",),
        when=_chooses("required"),
        request=as_if(tool_choice="none"),
    ),
    Fault(
        id="tool-choice-named-ignored",
        title="The tool that tool_choice names is not always called.",
        breaks=("TOL-01",),
        when=_chooses("function"),
        request=as_if(tool_choice="none"),
    ),
    Fault(
        id="tools-dropped",
        title="Tools are accepted but never called.",
        breaks=("TOL-01",),
        request=as_if(tools=None, tool_choice=None),
    ),
    Fault(
        id="allowed-tools-ignored",
        title="Tools are called although allowed_tools does not list them.",
        breaks=("TOL-02",),
        when=_chooses("allowed_tools"),
        request=as_if(tool_choice="auto"),
    ),
    Fault(
        id="parallel-tool-calls-ignored",
        title="Several tools are called although parallel_tool_calls is false.",
        breaks=("TOL-03",),
        dialects=("openai", "openresponses"),
        request=as_if(parallel_tool_calls=True),
    ),
    Fault(
        id="undeclared-tool-called",
        title="Function calls name an undeclared tool.",
        breaks=("TOL-04",),
        **_wrong_name(),
    ),
    Fault(
        id="call-id-empty",
        title="The call_id of function calls is empty.",
        breaks=("TOL-05",),
        **_calls(set_to("call_id", "")),
    ),
    Fault(
        id="call-id-constant",
        title="All function calls have the same call_id.",
        breaks=("TOL-05",),
        **_calls(set_to("call_id", "call_0")),
    ),
    Fault(
        id="call-id-too-long",
        title="The call_id of function calls is longer than 64 characters.",
        breaks=("TOL-14",),
        dialects=("openai", "openresponses"),
        **_calls(changed("call_id", lambda call_id: call_id * 4)),
    ),
    Fault(
        id="own-reasoning-refused",
        title="Reasoning items are refused as input.",
        breaks=("TOL-15",),
        request=refuse_items("Reasoning", lambda item: item.get("type") == "reasoning"),
    ),
    Fault(
        id="own-custom-calls-refused",
        title="Calls of custom tools are refused as input.",
        breaks=("TOL-06",),
        dialects=("northstar", "openai"),
        request=refuse_items("A custom call", lambda item: item.get("type") == "custom_tool_call"),
    ),
    Fault(
        id="own-calls-refused",
        title="Function calls are refused as input.",
        breaks=("TOL-06",),
        request=refuse_items("A function call", lambda item: item.get("type") == "function_call"),
    ),
    Fault(
        id="list-output-refused",
        title="A function_call_output with a list as output is refused.",
        breaks=("TOL-07",),
        request=refuse_items(
            "An output that is a list",
            lambda item: item.get("type") == "function_call_output" and isinstance(item["output"], list),
        ),
    ),
    Fault(
        id="bad-tool-fields-break-server",
        title="Invalid tool fields cause a server error.",
        breaks=("TOL-09",),
        error=_breaks_down("", "tools[", "tool_choice", "max_tool_calls"),
    ),
    Fault(
        id="undeclared-choice-breaks-server",
        title="A tool_choice that names an undeclared function causes a server error.",
        breaks=("TOL-10",),
        when=_chooses("function"),
        error=_breaks_down("invalid_value", "tool_choice"),
    ),
    Fault(
        id="computer-action-unknown",
        title="Computer calls have an undocumented action.",
        breaks=("TOL-11",),
        dialects=("northstar",),
        not_in=("vllm",),
        **every_item(only("computer_call", set_to("action", {"type": "teleport"}))),
    ),
    Fault(
        id="screenshot-refused",
        title="A computer_call_output is refused.",
        breaks=("TOL-11",),
        dialects=("northstar",),
        not_in=("vllm",),
        request=refuse_items("A screenshot", lambda item: item.get("type") == "computer_call_output"),
    ),
)


@FAULTS.add("own-items-refused", "TOL-06", hook="request", through=partial(refuse_items, "A message with an id"))
def _is_own(item: Json) -> bool:
    """Output messages with id and status are refused as input."""
    return item.get("type") == "message" and item.get("role") == "assistant" and "id" in item and "status" in item


@FAULTS.add("bare-items-refused", "TOL-06", hook="request", through=partial(refuse_items, "A message without an id"))
def _is_bare(item: Json) -> bool:
    """Function calls without id are refused as input."""
    return item.get("type") == "function_call" and "id" not in item


@FAULTS.add("list-output-unheard", "TOL-07", hook="request")
def _deaf_to_lists(body: Json, _: RequestInfo) -> Json:
    """The list output of a function call is accepted but does not reach the model."""
    items = body["input"]
    if isinstance(items, list):
        items = [
            {**item, "output": ""}
            if item.get("type") == "function_call_output" and isinstance(item["output"], list)
            else item
            for item in items
        ]
    return {**body, "input": items}


@FAULTS.add("unknown-call-accepted", "TOL-08", hook="request")
def _orphans_dropped(body: Json, _: RequestInfo) -> Json:
    """A function_call_output with an unknown call_id is accepted."""
    calls = {item.get("call_id") for item in input_items(body) if item.get("type") == "function_call"}
    if not isinstance(body["input"], list) or body.get("previous_response_id"):
        return body
    kept = [i for i in body["input"] if i.get("type") != "function_call_output" or i["call_id"] in calls]
    return {**body, "input": kept}


@FAULTS.add(
    "drag-refused",
    "TOL-11",
    hook="request",
    through=partial(refuse_items, "drag"),
    dialects=NORTHSTAR_ONLY,
    not_in=("vllm",),
)
def _drags(item: Json) -> bool:
    """Computer calls with action "drag" are refused as input."""
    return item.get("type") == "computer_call" and bool(item["action"]["type"] == "drag")


@FAULTS.add("safety-checks-refused", "TOL-11", hook="request", dialects=NORTHSTAR_ONLY, not_in=("vllm",))
def _checks_refused(body: Json, _: RequestInfo) -> Json:
    """A computer_call_output with acknowledged safety checks is refused."""
    if any(item.get("acknowledged_safety_checks") for item in input_items(body)):
        raise ApiError(400, "acknowledged_safety_checks is unknown.", param="input", code="unsupported_value")
    return body


@FAULTS.add("null-id-breaks-server", "TOL-12", hook="request")
def _null_breaks(body: Json, _: RequestInfo) -> Json:
    """An item with id null causes a server error."""
    if any("id" in item and item["id"] is None for item in input_items(body)):
        raise ApiError(500, "Something went wrong.", code="server_error")
    return body


@FAULTS.add("reversed-outputs-refused", "TOL-16", hook="request")
def _against_order(body: Json, _: RequestInfo) -> Json:
    """Tool outputs in another order than their calls are refused."""
    calls = [item["call_id"] for item in input_items(body) if item.get("type") == "function_call"]
    outputs = [item["call_id"] for item in input_items(body) if item.get("type") == "function_call_output"]
    if [call for call in calls if call in outputs] != [call for call in outputs if call in calls]:
        raise ApiError(400, "Outputs must be in the order of their calls.", param="input", code="invalid_value")
    return body


@FAULTS.add(
    "items-without-status-refused", "TOL-12", hook="request", through=partial(refuse_items, "A call without a status")
)
def _lacks_status(item: Json) -> bool:
    """Function calls without status are refused as input."""
    return item.get("type") == "function_call" and "status" not in item


@FAULTS.add("late-system-message-breaks-server", "TOL-13", hook="request")
def _system_late(body: Json, _: RequestInfo) -> Json:
    """A system message after the first item causes a server error."""
    if any(item.get("role") == "system" for item in input_items(body)[1:]):
        raise ApiError(500, "System message must be at the beginning.", code="server_error")
    return body


@FAULTS.add("last-developer-message-refused", "TOL-13", hook="request")
def _developer_late(body: Json, _: RequestInfo) -> Json:
    """A developer message at the end of the input is refused."""
    items = input_items(body)
    if len(items) > 1 and items[-1].get("role") == "developer":
        raise ApiError(400, "The last message must be the user's.", param="input", code="invalid_value")
    return body


@FAULTS.add("loose-arguments-as-strings", "TOL-17", hook="response", when=PLAIN)
def _texts_for_types(response: Json, _: str, info: RequestInfo) -> None:
    """Numbers, booleans, arrays and objects in the arguments of tools that are not strict are strings."""
    strict = [tool.get("name") for tool in info.body.get("tools") or () if tool.get("strict") is True]
    for item in items_of(response):
        if item["type"] == "function_call" and item.get("name") not in strict:
            item["arguments"] = with_strings(item["arguments"])


def _refers(value: Any) -> bool:
    """Return whether a schema has a local reference."""
    if isinstance(value, dict):
        return str(value.get("$ref")).startswith("#/") or any(map(_refers, value.values()))
    return isinstance(value, list) and any(map(_refers, value))


@FAULTS.add("local-references-refused", "TOL-18", hook="request")
def _no_references(body: Json, _: RequestInfo) -> Json:
    """Schemas with a local $ref are refused."""
    for name in ("text", "tools"):
        if _refers(body.get(name)):
            raise ApiError(400, "$ref is not supported.", param=name, code="unsupported_value")
    return body


FAULTS.append(
    Fault(
        id="max-tool-calls-ignored",
        title="max_tool_calls is ignored.",
        breaks=("TOL-19",),
        # The parrot repeats calls of hosted tools, which an input cannot contain in these dialects.
        not_in=("openresponses", "vllm"),
        **unheard("max_tool_calls"),
    )
)


@FAULTS.add("empty-tools-refused", "TOL-20", hook="request")
def _no_empty_tools(body: Json, _: RequestInfo) -> Json:
    """An empty list of tools with a tool_choice is refused."""
    if body.get("tools") == [] and body.get("tool_choice") is not None:
        raise ApiError(400, "tool_choice needs tools.", param="tool_choice", code="invalid_value")
    return body


@FAULTS.add("function-name-special-cased", "TOL-21", hook="request")
def _reserved_names(body: Json, _: RequestInfo) -> Json:
    """Calls of a function with the name tool_search are refused as input."""
    for index, item in enumerate(input_items(body)):
        if item.get("type") == "function_call" and item.get("name") == "tool_search":
            raise ApiError(400, "The search has no query.", param=f"input[{index}]", code="invalid_value")
    return body


@FAULTS.add("refusal-part-refused", "TOL-22", hook="request")
def _no_refusals(body: Json, _: RequestInfo) -> Json:
    """An assistant message with a refusal is refused as input."""
    for index, item in enumerate(input_items(body)):
        content = item.get("content")
        if isinstance(content, list) and any(part.get("type") == "refusal" for part in content):
            raise ApiError(400, "The part has no text.", param=f"input[{index}].content", code="invalid_value")
    return body


@FAULTS.add("system-message-beside-instructions-refused", "TOL-13", hook="request")
def _one_system_message(body: Json, _: RequestInfo) -> Json:
    """A system or developer message beside instructions is refused."""
    if body.get("instructions") and any(item.get("role") in ("system", "developer") for item in input_items(body)):
        raise ApiError(400, "The system message must be at the beginning.", param="input", code="invalid_value")
    return body
