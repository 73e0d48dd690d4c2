"""Faults in which a request gets another response when it is sent in another way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import ApiError, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import Change, Condition, Fault, FaultList, at_end, ended, in_response, set_to, unset


def _messages(info: RequestInfo) -> list[Json]:
    given = info.body.get("input")
    items = given if isinstance(given, list) else ()
    return [item for item in items if isinstance(item, dict) and "role" in item]


def _is_reversed(info: RequestInfo) -> bool:
    names = [name for name in info.body if name in ("input", "max_output_tokens")]
    return names == ["input", "max_output_tokens"]


_STRING: Final = Condition("only with a string as input", lambda info: isinstance(info.body.get("input"), str))
_TYPED: Final = Condition("only with typed messages", lambda info: any("type" in item for item in _messages(info)))
_STRING_CONTENT: Final = Condition(
    "only with a string as content", lambda info: any(isinstance(item.get("content"), str) for item in _messages(info))
)
_NULL: Final = Condition("only with null in a field", lambda info: None in info.body.values())
_NULL_OR_DEFAULT: Final = Condition(
    "only with parallel_tool_calls true or tool_choice auto",
    lambda info: info.body.get("parallel_tool_calls") is True or info.body.get("tool_choice") == "auto",
)
_REVERSED: Final = Condition("only with input before max_output_tokens", _is_reversed)
_UNSTORED: Final = Condition("only with store false", lambda info: info.body.get("store") is False)
_BACKGROUND: Final = Condition("only with background", lambda info: info.body.get("background") is True)
_CHAINED: Final = Condition(
    "only with previous_response_id", lambda info: isinstance(info.body.get("previous_response_id"), str)
)


def _loud(text: Any) -> Any:
    return text.upper() if isinstance(text, str) else text


def _louder(body: Json, _: RequestInfo) -> Json:
    """Return a request whose messages are in capitals."""
    given = body["input"]
    return {**body, "input": [_louder_item(item) for item in given] if isinstance(given, list) else _loud(given)}


def _louder_item(item: Json) -> Json:
    content = item.get("content")
    if isinstance(content, list):
        return {
            **item,
            "content": [{**part, "text": _loud(part["text"])} if "text" in part else part for part in content],
        }
    return {**item, "content": _loud(content)} if isinstance(content, str) else item


def _refuse(what: str) -> Callable[[Json, RequestInfo], Json]:
    def hook(body: Json, _: RequestInfo) -> Json:
        raise ApiError(400, f"{what} is not supported.", code="unsupported_value")

    return hook


def _one_more_token(response: Json) -> None:
    usage = response.get("usage")
    if isinstance(usage, dict):
        usage["output_tokens"] += 1
        usage["total_tokens"] += 1


def _of_background(do: Change) -> dict[str, Any]:
    """Return the hook that changes finished background responses, wherever they are returned."""

    def hook(response: Json, place: str, info: RequestInfo) -> None:
        if response.get("background") is True and ended(response):
            do(response)

    return {"response": hook}


FAULTS: Final = FaultList(
    Fault(
        id="string-input-loses-instructions",
        title="The response to a string input has no instructions.",
        breaks=("REL-01",),
        when=_STRING,
        response=in_response(set_to("instructions", None)),
    ),
    Fault(
        id="string-input-through-another-template",
        title="A string input reaches the model in another form than a user message.",
        breaks=("REL-01",),
        when=_STRING,
        request=_louder,
    ),
    Fault(
        id="typed-messages-through-another-template",
        title="Messages with a type reach the model in another form than messages without.",
        breaks=("REL-01",),
        dialects=("northstar", "openai", "vllm"),
        when=_TYPED,
        request=_louder,
    ),
    Fault(
        id="string-content-with-more-output-tokens",
        title="Responses to messages with a string as content count one output token more.",
        breaks=("REL-01",),
        when=_STRING_CONTENT,
        response=at_end(_one_more_token),
    ),
    Fault(
        id="null-changes-top-p",
        title="A field that is null changes top_p of the response.",
        breaks=("REL-02",),
        when=_NULL,
        response=in_response(set_to("top_p", 0.95)),
    ),
    Fault(
        id="null-changes-output",
        title="A field that is null changes what reaches the model.",
        breaks=("REL-02",),
        dialects=("northstar", "openai", "vllm"),
        when=_NULL,
        request=_louder,
    ),
    Fault(
        id="default-changes-output",
        title="A field with its default value changes what reaches the model.",
        breaks=("REL-02",),
        when=_NULL_OR_DEFAULT,
        request=_louder,
    ),
    Fault(
        id="default-refused",
        title="The endpoint refuses parallel_tool_calls true.",
        breaks=("REL-02",),
        dialects=("northstar", "openai"),
        when=Condition("only with parallel_tool_calls true", lambda info: info.body.get("parallel_tool_calls") is True),
        request=_refuse("parallel_tool_calls"),
    ),
    Fault(
        id="fields-after-input-lost",
        title="The endpoint does not repeat temperature if max_output_tokens follows input.",
        breaks=("REL-03",),
        when=_REVERSED,
        response=in_response(set_to("temperature", 1.0)),
    ),
    Fault(
        id="field-order-changes-output",
        title="The order of fields changes what reaches the model.",
        breaks=("REL-03",),
        when=_REVERSED,
        request=_louder,
    ),
    Fault(
        id="unstored-without-max-output-tokens",
        title="Responses that are not stored do not repeat max_output_tokens.",
        breaks=("REL-04",),
        when=_UNSTORED,
        response=in_response(set_to("max_output_tokens", None)),
    ),
    Fault(
        id="unstored-output-differs",
        title="Requests with store false reach the model in another form.",
        breaks=("REL-04",),
        when=_UNSTORED,
        request=_louder,
    ),
    Fault(
        id="unstored-without-usage",
        title="Responses that are not stored have no usage.",
        breaks=("REL-04",),
        when=_UNSTORED,
        response=in_response(unset("usage")),
    ),
    Fault(
        id="background-loses-metadata",
        title="Finished background responses have no metadata.",
        breaks=("REL-05",),
        **_of_background(set_to("metadata", {})),
    ),
    Fault(
        id="background-output-differs",
        title="Background requests reach the model in another form.",
        breaks=("REL-05",),
        when=_BACKGROUND,
        request=_louder,
    ),
    Fault(
        id="background-usage-differs",
        title="Background responses count one output token more.",
        breaks=("REL-05",),
        **_of_background(_one_more_token),
    ),
    Fault(
        id="chained-loses-max-output-tokens",
        title="Continued responses do not repeat max_output_tokens.",
        breaks=("REL-06",),
        when=_CHAINED,
        response=in_response(set_to("max_output_tokens", None)),
    ),
    Fault(
        id="history-sent-twice",
        title="The model gets the earlier turns of a continued response twice.",
        breaks=("REL-06",),
        when=_CHAINED,
        resolved=lambda resolved, _: replace(
            resolved, items=[*resolved.items[: len(resolved.items) - len(resolved.fresh)], *resolved.items]
        ),
    ),
)


@FAULTS.add("second-tool-repeated-bare", "REL-07", hook="response", through=in_response)
def _bare_tools(response: Json) -> None:
    """The response repeats every tool but the first without strict."""
    for tool in (response.get("tools") or [])[1:]:
        tool.pop("strict", None)


@FAULTS.add("retrieved-background-created-later", "REL-08", hook="response")
def _created_later(response: Json, place: str, info: RequestInfo) -> None:
    """Retrieved background responses have a later created_at than the response at their creation."""
    if info.operation == "response" and response.get("background") is True:
        response["created_at"] += 5


@FAULTS.add("retrieved-background-limit-differs", "REL-08", hook="response")
def _without_limit(response: Json, place: str, info: RequestInfo) -> None:
    """Retrieved background responses have another max_output_tokens than the response at their creation."""
    if info.operation == "response" and response.get("background") is True:
        response["max_output_tokens"] = 4096


@FAULTS.add("last-tool-marked", "REL-07", hook="response", through=in_response)
def _marked_tool(response: Json) -> None:
    """The response repeats the last of several tools with an added field."""
    tools = response.get("tools") or []
    if len(tools) > 1:
        tools[-1]["cache_control"] = {"type": "ephemeral"}
