"""Chat requests as the parrot understands them, and its response object as a chat completion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rejoinder.sandbox.endpoint.tokens import Json, tokens

_CALL_TYPES: Final = {"function": "function_call", "custom": "custom_tool_call"}


# Requests


def responses_body(chat: Mapping[str, Any]) -> Json:
    """Return the body of a Responses request that asks the same as a chat request."""
    body: Json = {"input": list(_items(chat["messages"])), "store": False}
    for name in ("temperature", "top_p", "logit_bias", "parallel_tool_calls"):
        if chat.get(name) is not None:
            body[name] = chat[name]
    limit = chat.get("max_completion_tokens") or chat.get("max_tokens")
    if limit is not None:
        body["max_output_tokens"] = limit
    if chat.get("reasoning_effort") is not None:
        body["reasoning"] = {"effort": chat["reasoning_effort"]}
    if chat.get("logprobs"):
        body |= {"include": ["message.output_text.logprobs"], "top_logprobs": chat.get("top_logprobs") or 0}
    tools = [{"type": tool["type"], **tool[tool["type"]]} for tool in chat.get("tools") or ()]
    tools += [{"type": "function", **function} for function in chat.get("functions") or ()]
    if tools:
        body["tools"] = tools
        body["tool_choice"] = _tool_choice(chat.get("tool_choice") or chat.get("function_call") or "auto")
    shape = chat.get("response_format") or {}
    if shape.get("type") == "json_schema":
        body["text"] = {"format": {"type": "json_schema", "schema": {}, **shape["json_schema"]}}
    elif shape.get("type") == "json_object":
        body["text"] = {"format": {"type": "json_object"}}
    return body


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice
    if "type" not in choice:  # the function_call of old clients
        return {"type": "function", **choice}
    if choice["type"] == "allowed_tools":
        allowed = choice["allowed_tools"]
        return {"type": "allowed_tools", "mode": allowed["mode"], "tools": [*map(_tool_choice, allowed["tools"])]}
    return {"type": choice["type"], **choice[choice["type"]]}


def _items(messages: Sequence[Mapping[str, Any]]) -> Iterator[Json]:
    custom: set[str] = set()
    for message in messages:
        role, content = message["role"], message.get("content")
        if role in ("tool", "function"):
            identity = message.get("tool_call_id") or message["name"]
            kind = "custom_tool_call_output" if identity in custom else "function_call_output"
            yield {"type": kind, "call_id": identity, "output": _content("user", content)}
            continue
        if content is not None:
            yield {"type": "message", "role": role, "content": _content(role, content)}
        elif message.get("refusal") is not None:
            refusal = {"type": "refusal", "refusal": message["refusal"]}
            yield {"type": "message", "role": role, "content": [refusal]}
        for call in message.get("tool_calls") or ():
            own = call[call["type"]]
            if call["type"] == "custom":
                custom.add(call["id"])
            yield {"type": _CALL_TYPES[call["type"]], "call_id": call["id"], **own}
        if function := message.get("function_call"):
            yield {"type": "function_call", "call_id": function["name"], **function}


def _content(role: str, content: Any) -> Any:
    return [_part(role, part) for part in content] if isinstance(content, list) else content or ""


def _part(role: str, part: Mapping[str, Any]) -> Json:
    if part["type"] == "text":
        return {"type": "output_text" if role == "assistant" else "input_text", "text": part["text"]}
    if part["type"] == "image_url":
        return {"type": "input_image", "image_url": part["image_url"]["url"]}
    if part["type"] == "file":
        return {"type": "input_file", **part["file"]}
    if part["type"] == "input_audio":
        return {"type": "input_text", "text": "[audio]"}
    return dict(part)


# Responses


def choice_of(response: Mapping[str, Any], chat: Mapping[str, Any]) -> Json:
    """Return the one choice that a response object is, without its index."""
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    logprobs: list[Json] = []
    calls: list[Json] = []
    for item in response["output"]:
        for part in item.get("content") or () if item["type"] == "message" else ():
            field = "refusal" if part["type"] == "refusal" else "content"
            message[field] = (message[field] or "") + (part.get("refusal") or part.get("text") or "")
            logprobs += part.get("logprobs") or []
        if item["type"] == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            calls.append({"id": item["call_id"], "type": "function", "function": function})
        elif item["type"] == "custom_tool_call":
            custom = {"name": item["name"], "input": item["input"]}
            calls.append({"id": item["call_id"], "type": "custom", "custom": custom})
    reason = "length" if response["status"] == "incomplete" else "stop"
    if isinstance(message["content"], str):
        said = _before(message["content"], chat.get("stop"))
        if said != message["content"]:
            message["content"], reason = said, "stop"
        logprobs = logprobs[: len(tokens(said))]
    if calls and "functions" in chat:
        message["function_call"] = calls[0]["function"]
        reason = "function_call" if reason == "stop" else reason
    elif calls:
        message["tool_calls"] = calls
        reason = "tool_calls" if reason == "stop" else reason
    wanted = {"content": logprobs, "refusal": None} if chat.get("logprobs") else None
    return {"message": message, "logprobs": wanted, "finish_reason": reason}


def _before(text: str, stop: Any) -> str:
    """Return the text before the first of the stop sequences."""
    stops = [stop] if isinstance(stop, str) else stop or []
    places = [text.find(one) for one in stops if one and one in text]
    return text[: min(places)] if places else text


def usage_of(response: Mapping[str, Any], choices: int) -> Json:
    """Return the usage of a response object for that number of choices."""
    usage = response["usage"]
    details = usage["output_tokens_details"]
    spoken = usage["output_tokens"] * choices
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": spoken,
        "total_tokens": usage["input_tokens"] + spoken,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": details["reasoning_tokens"] * choices,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def deltas_of(choice: Mapping[str, Any]) -> Iterator[tuple[Json, Any]]:
    """Yield the deltas of a choice, each with its logprobs; together they make its message."""
    message, wanted = choice["message"], choice["logprobs"]
    pending = list(wanted["content"]) if wanted else []

    def logprobs() -> Any:
        return {"content": [pending.pop(0)], "refusal": None} if pending else None

    spoken = "content" if message["content"] is not None else "refusal" if message["refusal"] is not None else ""
    yield {"role": "assistant", **({spoken: ""} if spoken == "content" else {"content": None}), "refusal": None}, None
    for token in tokens(message[spoken]) if spoken else ():
        yield {spoken: token}, logprobs()
    if function := message.get("function_call"):
        yield {"function_call": {"name": function["name"], "arguments": ""}}, None
        for token in tokens(function["arguments"]):
            yield {"function_call": {"arguments": token}}, None
    for index, call in enumerate(message.get("tool_calls") or ()):
        kind, argument = call["type"], "input" if call["type"] == "custom" else "arguments"
        own = {"name": call[kind]["name"], argument: ""}
        yield {"tool_calls": [{"index": index, "id": call["id"], "type": kind, kind: own}]}, None
        for token in tokens(call[kind][argument]):
            yield {"tool_calls": [{"index": index, kind: {argument: token}}]}, None
