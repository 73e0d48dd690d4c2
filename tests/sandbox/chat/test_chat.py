"""The chat endpoint answers as OpenAI's does, and refuses what OpenAI refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from hypothesis_jsonschema import from_schema
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import (
    CompletionCreateParams,
    CompletionCreateParamsBase,
    CompletionCreateParamsNonStreaming,
)
from pydantic import TypeAdapter

from rejoinder.model.exchange import Request
from rejoinder.sandbox import ChatSandbox
from rejoinder.sandbox.chat.request_parsing import chat_request_schema
from rejoinder.sandbox.server import running

HI = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
SHAPE: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
ANSWER = {"role": "tool", "tool_call_id": "call_1", "content": "Rain."}


def send(sandbox: ChatSandbox | None = None, *, path: str = "/v1/chat/completions", **fields: Any) -> tuple[int, bytes]:
    body = {"model": "parrot", "messages": HI, **fields}
    content = json.dumps({name: value for name, value in body.items() if value is not ...}).encode()
    headers = (("content-type", "application/json"),)
    reply = (sandbox or ChatSandbox()).handle(Request("POST", path, headers, content))
    return reply.status, b"".join(piece.data for piece in reply.chunks)


def answered(**fields: Any) -> dict[str, Any]:
    status, body = send(**fields)
    assert status == 200, body
    ChatCompletion.model_validate_json(body, strict=True)
    completion: dict[str, Any] = json.loads(body)
    return completion


def chunks(**fields: Any) -> list[dict[str, Any]]:
    status, body = send(stream=True, **fields)
    assert status == 200, body
    events = body.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    found = [event.removeprefix("data: ") for event in events[:-2]]
    for event in found:
        if '"custom"' not in event:  # the types know no chunk of a custom tool's call
            ChatCompletionChunk.model_validate_json(event, strict=True)
    return [json.loads(event) for event in found]


def added_up(stream: list[dict[str, Any]], index: int = 0) -> dict[str, Any]:
    """Return the choice that the chunks of a stream make."""
    message: dict[str, Any] = {"role": "", "content": None, "refusal": None}
    calls: dict[int, dict[str, Any]] = {}
    logprobs: list[Any] = []
    reason = None
    for chunk in stream:
        for choice in chunk["choices"]:
            if choice["index"] != index:
                continue
            delta, reason = choice["delta"], choice["finish_reason"]
            logprobs += (choice["logprobs"] or {}).get("content") or []
            for name in ("role", "content", "refusal"):
                if delta.get(name) is not None:
                    message[name] = (message[name] or "") + delta[name]
            for part in delta.get("tool_calls") or ():
                call = calls.setdefault(part["index"], {})
                own = call.setdefault("own", {})
                call |= {name: part[name] for name in ("id", "type") if name in part}
                for name, value in part[call["type"]].items():
                    own[name] = own.get(name, "") + value
            if function := delta.get("function_call"):
                own = message.setdefault("function_call", {})
                for name, value in function.items():
                    own[name] = own.get(name, "") + value
    if calls:
        message["tool_calls"] = [
            {"id": call["id"], "type": call["type"], call["type"]: call["own"]} for call in calls.values()
        ]
    return {"message": message, "logprobs": logprobs, "finish_reason": reason}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "stop"),
        ({"max_tokens": 1, "messages": [{"role": "user", "content": "One two three."}]}, "length"),
        ({"max_completion_tokens": 1, "messages": [{"role": "user", "content": "One two three."}]}, "length"),
        ({"stop": "lo"}, "stop"),
        ({"model": "parrot-refusal"}, "stop"),
        ({"model": "parrot-reasoning"}, "stop"),
        ({"logprobs": True, "top_logprobs": 2}, "stop"),
        ({"tools": [WEATHER], "tool_choice": "required"}, "tool_calls"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}, "tool_calls"),
        ({"tools": [{"type": "custom", "custom": {"name": "note"}}], "tool_choice": "required"}, "tool_calls"),
        ({"functions": [WEATHER["function"]], "function_call": {"name": "get_weather"}}, "function_call"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}, "stop"),
        ({"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "As JSON."}]}, "stop"),
        ({"tools": [WEATHER], "messages": [*HI, CALLED, ANSWER]}, "stop"),
        ({"n": 2}, "stop"),
    ],
)
def test_a_stream_adds_up_to_the_plain_answer(fields: dict[str, Any], reason: str) -> None:
    completion = answered(**fields)
    stream = chunks(**fields, stream_options={"include_usage": True})
    for choice in completion["choices"]:
        streamed = added_up(stream, choice["index"])
        assert choice["finish_reason"] == streamed["finish_reason"] == reason
        assert streamed["message"] == choice["message"]
        assert streamed["logprobs"] == ((choice["logprobs"] or {}).get("content") or [])
    assert [chunk["usage"] for chunk in stream if chunk["usage"]] == [completion["usage"]]
    assert stream[-1]["choices"] == []
    assert "usage" not in chunks(**fields)[0]


def test_the_parrot_hears_every_message() -> None:
    parts = [{"type": "text", "text": "two"}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    messages = [{"role": "system", "content": "one"}, {"role": "user", "content": parts}, CALLED, ANSWER]
    content = answered(messages=messages, tools=[WEATHER])["choices"][0]["message"]["content"]
    assert [word in content for word in ("one", "two", "[image]", "Oslo", "Rain.")] == [True] * 5


def test_a_schema_is_followed_and_a_call_has_its_arguments() -> None:
    content = answered(response_format=SHAPE)["choices"][0]["message"]["content"]
    assert list(json.loads(content)) == ["answer"]
    [call] = answered(tools=[WEATHER], tool_choice="required")["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert list(json.loads(call["function"]["arguments"])) == ["city"]


def test_a_failure_in_the_middle_of_a_stream_is_an_error_event() -> None:
    status, body = send(model="parrot-failing", stream=True)
    last = body.decode().split("\n\n")[-2]
    assert (status, json.loads(last.removeprefix("data: "))["error"]["code"]) == (200, "server_error")
    assert send(model="parrot-failing")[0] == 500


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": ...}, "messages"),
        ({"messages": []}, "messages"),
        ({"model": "gpt"}, "model"),
        ({"input": "Hi"}, "input"),
        ({"max_output_tokens": 9}, "max_output_tokens"),
        (
            {"messages": [{"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}, *HI]},
            "messages[0].reasoning_content",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [*HI, ANSWER]}, "messages[1].tool_call_id"),
        ({"messages": [*HI, CALLED]}, "messages"),
        ({"messages": [*HI, CALLED, *HI, ANSWER]}, "messages[2]"),
        ({"messages": [*HI, CALLED, ANSWER, ANSWER]}, "messages[3].tool_call_id"),
        ({"messages": [*HI, {"role": "assistant", "content": None}]}, "messages[1].content"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"tools": []}, "tools"),
        ({"tools": [{"type": "function", "name": "get_weather"}]}, "tools[0].function"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "get_weather"}}, "tool_choice.type"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"max_tokens": 9, "max_completion_tokens": 9}, "max_tokens"),
        ({"response_format": {"type": "json_object"}}, "messages"),
        (
            {"response_format": {**SHAPE, "json_schema": {**SHAPE["json_schema"], "schema": {"type": "object"}}}},
            "response_format.json_schema.schema",
        ),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"temperature": 2.1}, "temperature"),
    ],
)
def test_what_openai_refuses_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    status, body = send(**fields)
    error = json.loads(body)["error"]
    assert status == (404 if param == "model" else 400)
    assert error["param"] == param, error
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_it_serves_nothing_but_chat_and_models() -> None:
    assert send(path="/v1/responses")[0] == 404
    reply = ChatSandbox().handle(Request("GET", "/v1/models", (), b""))
    assert b"parrot" in b"".join(piece.data for piece in reply.chunks)
    assert ChatSandbox().handle(Request("GET", "/v1/chat/completions", (), b"")).status == 405
    assert send(ChatSandbox(key="k"))[0] == 401


DEFINED: dict[str, Any] = deepcopy(dict(chat_request_schema()))  # the strategies change what they are made from


@pytest.mark.parametrize("name", ["message", "tool", "tool_choice", "response_format", "stream_options", "prediction"])
@pytest.mark.slow(5)
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_body_of_the_schema_is_one_of_openai(data: st.DataObject, name: str) -> None:
    value = data.draw(values_of(name))
    field = {"message": "messages", "tool": "tools"}.get(name, name)
    own = {field: [value] if field != name else value}
    adapter().validate_python({"model": "parrot", "messages": HI, **own})


@cache
def values_of(name: str) -> SearchStrategy[Any]:
    return from_schema(deepcopy({"$ref": f"#/$defs/{name}", "$defs": DEFINED["$defs"]}))


@cache
def adapter() -> TypeAdapter[Any]:
    return TypeAdapter(CompletionCreateParams)


def test_the_fields_are_those_of_openai() -> None:
    known = (
        CompletionCreateParamsNonStreaming.__annotations__.keys() | CompletionCreateParamsBase.__annotations__.keys()
    )
    assert set(DEFINED["properties"]) == known


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    with running(ChatSandbox()) as url, httpx.Client(trust_env=False) as http:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="none", http_client=http, max_retries=0)


def test_the_official_client_reads_it(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="parrot", messages=[{"role": "user", "content": "Say hello."}])
    assert plain.choices[0].message.content
    with client.chat.completions.stream(model="parrot", messages=[{"role": "user", "content": "Say hello."}]) as stream:
        assert stream.get_final_completion().choices[0].message.content == plain.choices[0].message.content
