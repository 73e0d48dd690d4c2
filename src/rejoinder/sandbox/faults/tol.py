"""Faults of tools, of answers in a given form, and of what is said twice: plain and streamed, told and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import ApiError, Occasion
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    CALL_DONE,
    MULTI_BYTE,
    PLAIN,
    STREAMED,
    TEXT_DELTA,
    TEXT_DONE,
    Condition,
    Events,
    Fault,
    altered,
    at_end,
    each,
    every_item,
    in_response,
    is_of,
    items_of,
    only,
)


def _with(**fields: Any) -> Callable[[Json, Occasion], Json]:
    """Return a hook that answers the request as if it had these fields."""
    return lambda body, _: {**body, **fields}


def _chooses(kind: str) -> Condition:
    def test(occasion: Occasion) -> bool:
        choice = occasion.body.get("tool_choice")
        return choice == kind or (isinstance(choice, dict) and choice.get("type") == kind)

    return Condition(f"only with tool_choice {kind}", test)


def _calls(do: Callable[[Json], None]) -> dict[str, Any]:
    """Return the hooks that change every function call, wherever it stands."""
    return every_item(only("function_call", do))


def _renamed(item: Json) -> None:
    item["name"] = f"{item['name']}_v2"


def _wrong_name() -> dict[str, Any]:
    hooks = _calls(_renamed)
    of_items = hooks["events"]
    of_done = each(CALL_DONE, do=_renamed)
    return {**hooks, "events": lambda events, o: of_done(of_items(events, o), o)}


def _items(body: Json) -> list[Json]:
    given = body["input"]
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []


def _refuses(what: str, test: Callable[[Json], bool]) -> Callable[[Json, Occasion], Json]:
    """Return a hook that refuses requests with such an item in their input."""

    def hook(body: Json, _: Occasion) -> Json:
        if any(test(item) for item in _items(body)):
            raise ApiError(400, f"{what} is not supported.", param="input", code="unsupported_value")
        return body

    return hook


def _is_own(item: Json) -> bool:
    return item.get("type") == "message" and item.get("role") == "assistant" and "id" in item and "status" in item


def _is_bare(item: Json) -> bool:
    return item.get("type") == "function_call" and "id" not in item


def _deaf_to_lists(body: Json, _: Occasion) -> Json:
    """Hear nothing of outputs that are lists."""
    items = body["input"]
    if isinstance(items, list):
        items = [
            {**item, "output": ""}
            if item.get("type") == "function_call_output" and isinstance(item["output"], list)
            else item
            for item in items
        ]
    return {**body, "input": items}


def _orphans_dropped(body: Json, _: Occasion) -> Json:
    """Leave out outputs whose call is not in this request."""
    calls = {item.get("call_id") for item in _items(body) if item.get("type") == "function_call"}
    if not isinstance(body["input"], list) or body.get("previous_response_id"):
        return body
    kept = [i for i in body["input"] if i.get("type") != "function_call_output" or i["call_id"] in calls]
    return {**body, "input": kept}


def _breaks_down(code: str, *params: str) -> Callable[[int, Any, Occasion], tuple[int, Any]]:
    """Return a hook that turns refusals over these parameters into a server error."""

    def hook(status: int, body: Any, _: Occasion) -> tuple[int, Any]:
        error = body["error"]
        known = any(str(error["param"] or "").startswith(param) for param in params)
        if known and code in (error["code"], ""):
            return 500, {"error": {**error, "type": "server_error", "message": "Something went wrong."}}
        return status, body

    return hook


def _unknown_action(item: Json) -> None:
    item["action"] = {"type": "teleport"}


def _long_id(item: Json) -> None:
    item["call_id"] = item["call_id"] * 4


def _prose(body: Json, _: Occasion) -> Json:
    """Take no notice of the form that the text is to have."""
    return {**body, "text": None}


def _format_kept(response: Json, place: str, occasion: Occasion) -> None:
    """Echo the form that was asked for all the same."""
    text = occasion.body.get("text")
    if isinstance(text, dict) and text.get("format"):
        response["text"] = {"format": text["format"]}


def _wrong_arguments(response: Json) -> None:
    for item in items_of(response):
        if item["type"] == "function_call" and item["status"] == "completed":
            item["arguments"] = item["arguments"][:-1]


def _loose_arguments(response: Json) -> None:
    for item in items_of(response):
        if item["type"] == "function_call" and item["status"] == "completed":
            item["arguments"] = '{"town": 7}'


# Logprobs


def _logprobs_of(response: Json) -> list[Json]:
    parts = (part for item in items_of(response) if item["type"] == "message" for part in item["content"])
    return [entry for part in parts for entry in part.get("logprobs") or ()]


def _above_zero(response: Json) -> None:
    for entry in _logprobs_of(response)[:1]:
        entry["logprob"] = 0.5


def _too_many(response: Json) -> None:
    for entry in _logprobs_of(response)[:1]:
        entry["top_logprobs"] = entry["top_logprobs"] * 3


def _shifted(response: Json) -> None:
    entries = _logprobs_of(response)
    for entry, following in zip(entries, [entry["bytes"] for entry in entries[1:]], strict=False):
        entry["bytes"] = following


def _lose_logprobs(event: Json) -> None:
    if event.get("logprobs"):
        event["logprobs"] = []


def _broken_characters(events: Events, _: Occasion) -> Events:
    """Cut each delta that begins beyond ASCII in the middle of a character."""
    for event in events:
        if is_of(event, TEXT_DELTA):
            event["delta"] = "".join(c if c.isascii() else "\N{REPLACEMENT CHARACTER}" * 2 for c in event["delta"])
    return events


def _one_more(response: Json, place: str, occasion: Occasion) -> None:
    """Count an input token more in streams than in plain replies."""
    if occasion.streamed and isinstance(response.get("usage"), dict):
        response["usage"]["input_tokens"] += 1
        response["usage"]["total_tokens"] += 1


def _kept_differently(response: Json, place: str, occasion: Occasion) -> None:
    """Say something else when the response is retrieved."""
    if occasion.operation == "response":
        for item in items_of(response):
            for part in item.get("content") or ():
                if "text" in part:
                    part["text"] = altered(part["text"])


def _streams_without_tools(body: Json, _: Occasion) -> Json:
    if body.get("tools"):
        raise ApiError(400, "Tools cannot be streamed.", param="stream", code="unsupported_value")
    return body


def _other_model(response: Json, place: str, occasion: Occasion) -> None:
    if occasion.streamed:
        response["model"] = f"{response['model']}-fast"


def _bare_usage(response: Json, place: str, occasion: Occasion) -> None:
    if occasion.streamed and isinstance(response.get("usage"), dict):
        response["usage"].pop("input_tokens_details", None)


def _one_call(body: Json, _: Occasion) -> Json:
    return {**body, "parallel_tool_calls": False}


def _calls_kept(response: Json, place: str, occasion: Occasion) -> None:
    """Echo what was asked for all the same."""
    asked = occasion.body.get("parallel_tool_calls")
    response["parallel_tool_calls"] = True if asked is None else asked


def _louder(body: Json, _: Occasion) -> Json:
    """Hear the user's words in capitals, so that the answer is another one of the same length."""
    items = body["input"]
    if isinstance(items, list):
        items = [
            {**item, "content": item["content"].upper()}
            if item.get("role") == "user" and isinstance(item.get("content"), str)
            else item
            for item in items
        ]
    return {**body, "input": items}


_RETRIEVED: Final = Condition("only when retrieved", lambda o: o.operation == "response")


def _shows_image(item: Json) -> bool:
    content = item.get("content")
    return isinstance(content, list) and any(part.get("type") == "input_image" for part in content)


_CAP = (
    Fault(
        id="images-refused",
        title="Images are refused.",
        breaks=("CAP-01",),
        request=_refuses("An image", _shows_image),
    ),
)


def _null_breaks(body: Json, _: Occasion) -> Json:
    if any("id" in item and item["id"] is None for item in _items(body)):
        raise ApiError(500, "Something went wrong.", code="server_error")
    return body


def _lacks_status(item: Json) -> bool:
    return item.get("type") == "function_call" and "status" not in item


def _against_order(body: Json, _: Occasion) -> Json:
    """Refuse outputs that do not stand in the order of their calls."""
    calls = [item["call_id"] for item in _items(body) if item.get("type") == "function_call"]
    outputs = [item["call_id"] for item in _items(body) if item.get("type") == "function_call_output"]
    if [call for call in calls if call in outputs] != [call for call in outputs if call in calls]:
        raise ApiError(400, "Outputs must stand in the order of their calls.", param="input", code="invalid_value")
    return body


def _system_late(body: Json, _: Occasion) -> Json:
    if any(item.get("role") == "system" for item in _items(body)[1:]):
        raise ApiError(500, "System message must be at the beginning.", code="server_error")
    return body


def _developer_late(body: Json, _: Occasion) -> Json:
    items = _items(body)
    if len(items) > 1 and items[-1].get("role") == "developer":
        raise ApiError(400, "The last message must be the user's.", param="input", code="invalid_value")
    return body


_TOL = (
    Fault(
        id="own-reasoning-refused",
        title="Reasoning items are refused as input.",
        breaks=("TOL-06",),
        request=_refuses("Reasoning", lambda item: item.get("type") == "reasoning"),
    ),
    Fault(
        id="own-custom-calls-refused",
        title="Calls of custom tools are refused as input.",
        breaks=("TOL-06",),
        dialects=("northstar", "openai"),
        request=_refuses("A custom call", lambda item: item.get("type") == "custom_tool_call"),
    ),
    Fault(
        id="null-id-breaks-server",
        title="An item with null for its id is answered with a server error.",
        breaks=("TOL-12",),
        request=_null_breaks,
    ),
    Fault(
        id="items-without-status-refused",
        title="Function calls are refused as input when they lack a status.",
        breaks=("TOL-12",),
        request=_refuses("A call without a status", _lacks_status),
    ),
    Fault(
        id="reversed-outputs-refused",
        title="The outputs of several calls are refused when they stand in another order than the calls.",
        breaks=("TOL-12",),
        request=_against_order,
    ),
    Fault(
        id="late-system-message-breaks-server",
        title="A system message that is not the first is answered with a server error.",
        breaks=("TOL-13",),
        request=_system_late,
    ),
    Fault(
        id="last-developer-message-refused",
        title="A developer message is refused at the end of the input.",
        breaks=("TOL-13",),
        request=_developer_late,
    ),
    Fault(
        id="tool-choice-none-ignored",
        title="Tools are called though tool_choice is none.",
        breaks=("TOL-01",),
        when=_chooses("none"),
        request=_with(tool_choice="required"),
    ),
    Fault(
        id="tool-choice-required-ignored",
        title="tool_choice required demands no call.",
        breaks=("TOL-01",),
        when=_chooses("required"),
        request=_with(tool_choice="none"),
    ),
    Fault(
        id="tool-choice-named-ignored",
        title="A tool that tool_choice names need not be called.",
        breaks=("TOL-01",),
        when=_chooses("function"),
        request=_with(tool_choice="none"),
    ),
    Fault(
        id="tools-dropped",
        title="Tools are taken and never called.",
        breaks=("TOL-01",),
        request=_with(tools=None, tool_choice=None),
    ),
    Fault(
        id="allowed-tools-ignored",
        title="Tools are called that allowed_tools does not list.",
        breaks=("TOL-02",),
        when=_chooses("allowed_tools"),
        request=_with(tool_choice="auto"),
    ),
    Fault(
        id="parallel-tool-calls-ignored",
        title="Several tools are called at once though parallel_tool_calls is false.",
        breaks=("TOL-03",),
        request=_with(parallel_tool_calls=True),
    ),
    Fault(
        id="undeclared-tool-called",
        title="Function calls name a tool that was not declared.",
        breaks=("TOL-04",),
        **_wrong_name(),
    ),
    Fault(
        id="call-id-empty",
        title="The call_id of function calls is empty.",
        breaks=("TOL-05",),
        **_calls(lambda item: item.__setitem__("call_id", "")),
    ),
    Fault(
        id="call-id-constant",
        title="All function calls have the same call_id.",
        breaks=("TOL-05",),
        **_calls(lambda item: item.__setitem__("call_id", "call_0")),
    ),
    Fault(
        id="call-id-too-long",
        title="The call_id of function calls is longer than the 64 characters that can be sent back.",
        breaks=("TOL-05",),
        **_calls(_long_id),
    ),
    Fault(
        id="own-items-refused",
        title="Output messages are refused as input when they have an id and a status.",
        breaks=("TOL-06",),
        request=_refuses("A message with an id", _is_own),
    ),
    Fault(
        id="bare-items-refused",
        title="Function calls are refused as input when they lack an id.",
        breaks=("TOL-06",),
        request=_refuses("A message without an id", _is_bare),
    ),
    Fault(
        id="own-calls-refused",
        title="Function calls are refused as input.",
        breaks=("TOL-06",),
        request=_refuses("A function call", lambda item: item.get("type") == "function_call"),
    ),
    Fault(
        id="list-output-refused",
        title="The output of a function call is refused when it is a list.",
        breaks=("TOL-07",),
        request=_refuses(
            "An output that is a list",
            lambda item: item.get("type") == "function_call_output" and isinstance(item["output"], list),
        ),
    ),
    Fault(
        id="list-output-unheard",
        title="The output of a function call is taken as a list and left out.",
        breaks=("TOL-07",),
        request=_deaf_to_lists,
    ),
    Fault(
        id="unknown-call-accepted",
        title="An output for a call that nobody made is accepted.",
        breaks=("TOL-08",),
        request=_orphans_dropped,
    ),
    Fault(
        id="bad-tool-fields-break-server",
        title="Bad tool fields are answered with a server error.",
        breaks=("TOL-09",),
        error=_breaks_down("", "tools[", "tool_choice", "max_tool_calls"),
    ),
    Fault(
        id="undeclared-choice-breaks-server",
        title="A tool_choice that names no tool of the request is answered with a server error.",
        breaks=("TOL-10",),
        when=_chooses("function"),
        error=_breaks_down("invalid_value", "tool_choice"),
    ),
    Fault(
        id="computer-action-unknown",
        title="Computer calls have an action that the contract does not name.",
        breaks=("TOL-11",),
        dialects=("northstar",),
        **every_item(only("computer_call", _unknown_action)),
    ),
    Fault(
        id="screenshot-refused",
        title="The output of a computer call is refused.",
        breaks=("TOL-11",),
        dialects=("northstar",),
        request=_refuses("A screenshot", lambda item: item.get("type") == "computer_call_output"),
    ),
)

_ACC = (
    Fault(
        id="tools-not-streamed",
        title="Requests with tools are refused when they are to be streamed.",
        breaks=("ACC-17",),
        when=STREAMED,
        request=_streams_without_tools,
    ),
    Fault(
        id="streamed-model-differs",
        title="Streams name another model than plain replies.",
        breaks=("ACC-18",),
        when=STREAMED,
        response=_other_model,
    ),
    Fault(
        id="streamed-usage-bare",
        title="The usage of streams lacks the details that it has in plain replies.",
        breaks=("ACC-18",),
        when=STREAMED,
        response=_bare_usage,
    ),
    Fault(
        id="streamed-calls-missing",
        title="Of several calls only the first is streamed.",
        breaks=("ACC-19",),
        when=STREAMED,
        request=_one_call,
        response=_calls_kept,
    ),
    Fault(
        id="streamed-text-differs",
        title="Streams say something else than plain replies.",
        breaks=("ACC-19",),
        when=STREAMED,
        request=_louder,
    ),
    Fault(
        id="done-logprobs-empty",
        title="The done event of a text has no logprobs, though its deltas have.",
        breaks=("ACC-10",),
        when=STREAMED,
        events=each(TEXT_DONE, do=_lose_logprobs),
    ),
    Fault(
        id="streamed-logprobs-missing",
        title="Deltas have no logprobs, though plain replies have.",
        breaks=("ACC-10",),
        when=STREAMED,
        events=each(TEXT_DELTA, TEXT_DONE, do=_lose_logprobs),
    ),
    Fault(
        id="logprob-above-zero",
        title="A logprob is above 0.",
        breaks=("ACC-10",),
        when=PLAIN,
        response=at_end(_above_zero),
    ),
    Fault(
        id="top-logprobs-too-many",
        title="A token has more alternatives than top_logprobs asked for.",
        breaks=("ACC-10",),
        when=PLAIN,
        response=at_end(_too_many),
    ),
    Fault(
        id="logprobs-shifted",
        title="The bytes of tokens belong to the token after.",
        breaks=("ACC-10",),
        when=PLAIN,
        response=at_end(_shifted),
    ),
    Fault(
        id="characters-broken-in-deltas",
        title="Letters outside of ASCII are broken in two by the borders of deltas.",
        breaks=("ACC-11",),
        when=MULTI_BYTE,
        events=_broken_characters,
    ),
    Fault(
        id="retrieved-text-differs",
        title="A retrieved response says something else than the one that was told.",
        breaks=("ACC-13",),
        when=_RETRIEVED,
        response=_kept_differently,
    ),
    Fault(
        id="streamed-input-tokens-differ",
        title="Streams count an input token more than plain replies.",
        breaks=("ACC-14",),
        when=STREAMED,
        response=_one_more,
    ),
    Fault(
        id="json-schema-ignored",
        title="A JSON Schema for the text is taken and not kept to.",
        breaks=("ACC-15",),
        request=_prose,
        response=_format_kept,
    ),
    Fault(
        id="arguments-not-json",
        title="The arguments of function calls are not JSON.",
        breaks=("ACC-16",),
        when=PLAIN,
        response=in_response(_wrong_arguments),
    ),
    Fault(
        id="arguments-break-strict-schema",
        title="The arguments of function calls do not fit the parameters of a strict tool.",
        breaks=("ACC-16",),
        when=PLAIN,
        response=in_response(_loose_arguments),
    ),
)

FAULTS: Final = (*_TOL, *_ACC, *_CAP)
