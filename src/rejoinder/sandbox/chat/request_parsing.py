"""Reading chat requests: what OpenAI refuses is refused, with the field that is wrong.

The shapes are those of ``request.schema.json``. The rules over several fields are those of the OpenAI API reference,
Create chat completion: what needs ``tools`` is refused without them, every tool call is answered before the next turn,
and a strict JSON Schema is closed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from rejoinder.model.exchange import Request
from rejoinder.sandbox.endpoint.reply import ApiError
from rejoinder.sandbox.endpoint.request_parsing import param_of, read_json
from rejoinder.sandbox.endpoint.schema_instances import is_schema
from rejoinder.sandbox.endpoint.tokens import Json, text_of
from rejoinder.validation import Validator

_NEEDS_TOOLS: Final = ("tool_choice", "parallel_tool_calls")


@cache
def chat_request_schema() -> Mapping[str, Any]:
    """Return the JSON Schema of the body of a chat request."""
    schema: Mapping[str, Any] = json.loads(
        files("rejoinder.sandbox.chat").joinpath("request.schema.json").read_text("utf-8")
    )
    return schema


@cache
def _validator() -> Validator:
    return Validator(chat_request_schema())


def read_chat(request: Request, models: tuple[str, ...]) -> Json:
    """Return the body of a chat request; raises :class:`ApiError` that names the first field that is wrong."""
    body = read_json(request)
    validator = _validator()
    if not validator.is_valid(body):
        error = validator.errors(body)[0]
        param = param_of(error.pointer)
        code = "missing_required_parameter" if error.keyword == "required" else "invalid_value"
        raise ApiError(400, f"{f'{param}: ' if param else ''}{error.message}.", param=param, code=code)
    checked: Json = body
    if checked["model"] not in models:
        name = checked["model"][:200]
        raise ApiError(404, f"The model {name!r} does not exist.", param="model", code="model_not_found")
    for param, problem in _problems(checked):
        raise ApiError(400, f"{param} {problem}.", param=param, code="invalid_value")
    return checked


def _problems(body: Json) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between fields, as the parameter and a verb phrase."""
    yield from _field_problems(body)
    yield from _tool_problems(body)
    yield from _format_problems(body)
    yield from _turn_problems(body["messages"])


def _field_problems(body: Json) -> Iterator[tuple[str, str]]:
    if body.get("stream_options") is not None and body.get("stream") is not True:
        yield "stream_options", "needs stream to be true"
    if body.get("top_logprobs") is not None and body.get("logprobs") is not True:
        yield "top_logprobs", "needs logprobs to be true"
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        yield "max_tokens", "cannot be used together with max_completion_tokens"
    if body.get("store") is not True and body.get("metadata"):
        yield "metadata", "needs store to be true"
    if "audio" in (body.get("modalities") or ()):
        yield "modalities", "must not contain audio, because the model speaks text only"


def _tool_problems(body: Json) -> Iterator[tuple[str, str]]:
    tools = body.get("tools") or []
    for name in _NEEDS_TOOLS:
        if name in body and not tools:
            yield name, "needs tools"
    if "function_call" in body and "functions" not in body:
        yield "function_call", "needs functions"
    for index, tool in enumerate(tools):
        own = tool[tool["type"]]
        if not is_schema(own.get("parameters") or {}):
            yield f"tools[{index}].function.parameters", "is not a valid JSON Schema"
        elif own.get("strict") and (problem := _looseness(own.get("parameters") or {})):
            yield f"tools[{index}].function.parameters", problem
    known = [(tool["type"], tool[tool["type"]]["name"]) for tool in tools]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        allowed = choice["type"] == "allowed_tools"
        for named in choice["allowed_tools"]["tools"] if allowed else [choice]:
            if (named["type"], named[named["type"]]["name"]) not in known:
                yield "tool_choice", "names a tool that is not among the tools"


def _format_problems(body: Json) -> Iterator[tuple[str, str]]:
    shape = body.get("response_format") or {}
    if shape.get("type") == "json_object":
        texts = " ".join(text_of(message.get("content")) for message in body["messages"])
        if "json" not in texts.lower():
            yield "messages", "must contain the word json to use a response_format of type json_object"
    if shape.get("type") == "json_schema":
        own = shape["json_schema"]
        if not is_schema(own.get("schema") or {}):
            yield "response_format.json_schema.schema", "is not a valid JSON Schema"
        elif own.get("strict") and (problem := _looseness(own.get("schema") or {})):
            yield "response_format.json_schema.schema", problem


def _looseness(schema: Any) -> str:
    """Return what keeps a schema from being strict, as a verb phrase: open objects and optional properties."""
    pending = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        if not isinstance(part, dict):
            continue
        pending += [value for name, value in part.items() if name not in ("enum", "const", "default", "examples")]
        if part.get("type") == "object" or isinstance(part.get("properties"), dict):
            if part.get("additionalProperties") is not False:
                return "must have additionalProperties false at every object"
            if set(part.get("required") or ()) != set(part.get("properties") or ()):
                return "must require all properties of every object"
    return ""


def _turn_problems(messages: list[Json]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the order of messages: each call is answered once, right after it was made."""
    waiting: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            identity = message["tool_call_id"]
            if identity not in waiting:
                yield f"messages[{index}].tool_call_id", "names no tool call of the assistant message before it"
                return
            waiting.remove(identity)
            continue
        if waiting:
            yield f"messages[{index}]", f"comes before the tool message that answers the call {waiting[0][:100]}"
            return
        if message["role"] == "assistant":
            calls = message.get("tool_calls") or []
            if not calls and all(message.get(name) is None for name in ("content", "refusal", "function_call")):
                yield f"messages[{index}].content", "is missing, and there are no tool_calls"
                return
            waiting = [call["id"] for call in calls]
    if waiting:
        yield "messages", f"ends before a tool message answers the call {waiting[0][:100]}"
