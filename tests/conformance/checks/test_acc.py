"""What the checks of ACC compare, and what they leave alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Status, Verdict

USAGE = {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "id": text, "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def asked(
    role: str, text: str = "Hi.", *, http: int = 200, request: dict[str, Any] | None = None, **fields: Any
) -> Exchange:
    streamed = role == "stream"
    body = {"input": "Hi", **(request or {}), **({"stream": True} if streamed else {})}
    response: dict[str, Any] = {
        "id": role,
        "object": "response",
        "status": "completed",
        "model": "m",
        "output": [message(text)],
    }
    response |= {"usage": USAGE, **fields}
    told: Any = {"error": {"message": "No."}} if http != 200 else response
    data = json.dumps(told)
    if streamed and http == 200:
        kind = f"response.{response['status']}"
        data = f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': 0, 'response': response})}\n\n"
    return Exchange(
        id=role,
        request=Request("POST", "/v1/responses", (), json.dumps(body).encode()),
        outcome=Outcome.COMPLETE,
        status=http,
        headers=(("content-type", "text/event-stream" if streamed and http == 200 else "application/json"),),
        chunks=(Chunk(0.0, data.encode()),),
        case="c",
        role=role,
    )


def verdict(rule: str, *exchanges: Exchange) -> Verdict:
    [found] = judge(exchanges, "northstar", select=rule)
    return found


# Shows that the endpoint streams at all.
STREAMS = replace(asked("stream"), case="other")


@pytest.mark.parametrize(
    ("plain", "stream", "status"),
    [
        (asked("plain"), asked("stream"), Status.PASS),
        (asked("plain"), asked("stream", http=400), Status.WARN),
        (asked("plain"), asked("stream", http=500), Status.WARN),
        (asked("plain", http=400), asked("stream"), Status.WARN),
        (asked("plain", http=400), asked("stream", http=422), Status.PASS),
        # What fails in the stream may be refused there, or may have lost its connection to a model.
        (asked("plain", http=400), asked("stream", status="failed"), Status.NOT_APPLICABLE),
        (asked("plain"), asked("stream", status="failed"), Status.NOT_APPLICABLE),
        (asked("plain"), asked("stream", http=429), Status.NOT_APPLICABLE),
        (asked("plain", http=400, request={"stream": None}), asked("stream"), Status.NOT_APPLICABLE),
        (
            asked("plain", http=400, request={"stream_options": {"include_obfuscation": False}}),
            asked("stream", request={"stream_options": {"include_obfuscation": False}}),
            Status.NOT_APPLICABLE,
        ),
        (asked("plain", request={"temperature": 1}), asked("stream", http=400), Status.NOT_APPLICABLE),
        (
            asked("plain", request={"background": True}),
            asked("stream", http=400, request={"background": True}),
            Status.NOT_APPLICABLE,
        ),
        (asked("plain", request={"request_id": "a"}), asked("stream", request={"request_id": "b"}), Status.PASS),
    ],
)
def test_what_is_taken_plain_is_taken_streamed(plain: Exchange, stream: Exchange, status: Status) -> None:
    assert verdict("ACC-17", plain, stream, STREAMS).status is status


def test_an_endpoint_that_streams_nothing_is_not_told_so_in_every_case() -> None:
    assert verdict("ACC-17", asked("plain"), asked("stream", http=400)).status is Status.BLOCKED


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, ""),
        ({"model": "other"}, "/response/model"),
        ({"temperature": 0.5}, "/response/temperature"),
        ({"tools": [{"type": "function", "name": "g"}]}, "/response/tools/0/name"),
        ({"usage": {"input_tokens": 3, "output_tokens": 9}}, "/response/usage"),
        ({"top_p": None}, "/response/top_p"),
        # What was answered, what is new each time, and how much it cost.
        ({"id": "other", "output": [], "created_at": 9, "service_tier": "flex", "usage": None}, ""),
        ({"usage": {**USAGE, "output_tokens": 9}}, ""),
    ],
)
def test_fields_that_repeat_the_request_are_the_same(fields: dict[str, Any], pointer: str) -> None:
    common: dict[str, Any] = {
        "temperature": 1.0,
        "top_p": 1.0,
        "tools": [{"type": "function", "name": "f"}],
        "service_tier": "default",
    }
    found = verdict("ACC-18", asked("plain", **common), asked("stream", **{**common, **fields}))
    assert found.status is (Status.WARN if pointer else Status.PASS)
    assert [finding.evidence.pointer for finding in found.findings] == ([pointer] if pointer else [])


@pytest.mark.parametrize(
    ("plain", "stream", "again", "status"),
    [
        ("Red.", "Red.", "Red.", Status.PASS),
        ("Red.", "Blue.", "Red.", Status.WARN),
        ("Red.", "Blue.", "Green.", Status.DECLINED),
        ("Red.", "Red.", "Green.", Status.DECLINED),
    ],
)
def test_only_who_answers_twice_alike_must_stream_alike(plain: str, stream: str, again: str, status: Status) -> None:
    texts = {"plain": plain, "stream": stream, "again": again}
    sent = [asked(role, text, request={"temperature": 0}) for role, text in texts.items()]
    assert verdict("ACC-19", *sent).status is status


def test_no_output_is_compared_at_another_temperature() -> None:
    sent = [asked("plain", "Red."), asked("stream", "Blue."), asked("again", "Red.")]
    assert verdict("ACC-19", *sent).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "/response/status"),
        ({"usage": {**USAGE, "output_tokens": 9}}, "/response/usage/output_tokens"),
        ({"output": [{**message("Red."), "status": "incomplete"}]}, "/response/output/0/status"),
        ({"output": [{**message("Red."), "id": "another"}]}, ""),
    ],
)
def test_everything_that_the_model_has_a_part_in_is_compared(fields: dict[str, Any], pointer: str) -> None:
    request = {"temperature": 0}
    plain, again = (asked(role, "Red.", request=request) for role in ("plain", "again"))
    found = verdict("ACC-19", plain, asked("stream", "Red.", request=request, **fields), again)
    assert [finding.evidence.pointer for finding in found.findings] == ([pointer] if pointer else [])


def test_a_missing_item_differs() -> None:
    both = [message("Red."), message("Blue.")]
    request = {"temperature": 0}
    found = verdict(
        "ACC-19",
        asked("plain", output=both, request=request),
        asked("stream", output=both[:1], request=request),
        asked("again", output=both, request=request),
    )
    assert found.findings[0].evidence.pointer == "/response/output/1"


WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}


CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}


TEXT = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}


CLOSED = {"type": "object", "required": ["a"], "additionalProperties": False, "properties": {"a": {"type": "integer"}}}


SHAPE = {"type": "json_schema", "name": "n", "strict": True, "schema": CLOSED}


@pytest.mark.parametrize(
    ("text", "shape", "status"),
    [
        ('{"a": 1}', SHAPE, Status.PASS),
        ('{"b": 1}', SHAPE, Status.FAIL),
        ("Once upon a time", SHAPE, Status.FAIL),
        ("Once upon a time", {**SHAPE, "strict": False}, Status.NOT_APPLICABLE),
        ("[" * 100_000, SHAPE, Status.FAIL),
        ('{"b": 1}', {**SHAPE, "schema": {**CLOSED, "$ref": "https://example.org/schema"}}, Status.PASS),
        ('{"b": 1}', {**SHAPE, "schema": {**CLOSED, "properties": {"b": {"type": "no type"}}}}, Status.PASS),
        # Strict schemas are those of closed objects. What an endpoint makes of others is open.
        ("Once upon a time", {**SHAPE, "schema": {}}, Status.NOT_APPLICABLE),
        ("Once upon a time", {**SHAPE, "schema": {"type": "object"}}, Status.NOT_APPLICABLE),
    ],
)
def test_text_fits_its_schema(
    replied: Callable[..., Exchange], text: str, shape: dict[str, Any], status: Status
) -> None:
    message = {**TEXT, "content": [{"type": "output_text", "text": text}]}
    assert verdict("ACC-15", replied({"text": {"format": shape}}, [message])).status is status


@pytest.mark.parametrize(("arguments", "status"), [("{}", Status.PASS), ("", Status.FAIL), ('{"a":', Status.FAIL)])
def test_arguments_are_json(replied: Callable[..., Exchange], arguments: str, status: Status) -> None:
    assert verdict("ACC-16", replied({"tools": [WEATHER]}, [{**CALL, "arguments": arguments}])).status is status


def test_cut_arguments_are_no_json_and_break_nothing(replied: Callable[..., Exchange]) -> None:
    cut = replied({"max_output_tokens": 4}, [{**CALL, "arguments": '{"a":'}], usage={"output_tokens": 4})
    assert verdict("ACC-16", cut).status is Status.NOT_APPLICABLE


def test_tokens_that_are_not_shown_may_stand_around_the_text(replied: Callable[..., Exchange]) -> None:
    def entry(text: str) -> dict[str, Any]:
        return {"token": text, "bytes": list(text.encode()), "logprob": -0.1, "top_logprobs": []}

    def part(*tokens: str) -> dict[str, Any]:
        shown = {"type": "output_text", "text": "Hi.", "logprobs": [entry(token) for token in tokens]}
        return {**TEXT, "content": [shown]}

    assert verdict("ACC-10", replied({}, [part("<start>", "Hi", ".", "<end>")])).status is Status.PASS
    assert verdict("ACC-10", replied({}, [part("Hi", "!")])).status is Status.WARN


def told(role: str, sent: dict[str, Any], tokens: int) -> Exchange:
    """Return the exchange of a request that was answered without text, plain or in a stream of one event."""
    usage = {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}
    response = {"id": f"resp_{role}", "object": "response", "status": "completed", "output": [], "usage": usage}
    streamed = sent.get("stream") is True
    event = {"type": "response.completed", "sequence_number": 0, "response": response}
    text = f"event: response.completed\ndata: {json.dumps(event)}\n\n" if streamed else json.dumps(response)
    media = "text/event-stream" if streamed else "application/json"
    request = Request("POST", "/v1/responses", (), json.dumps(sent).encode())
    chunks = (Chunk(0.1, text.encode()),)
    headers = (("content-type", media),)
    return Exchange(role, request, Outcome.COMPLETE, 200, headers, chunks, case="c", role=role)


@pytest.mark.parametrize(
    ("plain", "streamed", "found"),
    [
        ({"input": "a", "temperature": 0}, {"input": "a", "temperature": 0}, True),
        ({"input": "a", "temperature": 0, "stream": False}, {"temperature": 0.0, "input": "a"}, True),
        # Another question may well have another number of tokens.
        ({"input": "a", "temperature": 0}, {"input": "b", "temperature": 0}, None),
        ({"input": "a"}, {"input": "a"}, None),
        (
            {"input": "a", "temperature": 0, "background": True},
            {"input": "a", "temperature": 0, "background": True},
            None,
        ),
    ],
)
def test_only_one_and_the_same_request_is_compared(
    plain: dict[str, Any], streamed: dict[str, Any], found: bool | None
) -> None:
    exchanges = [told("plain", plain, 68), told("stream", {**streamed, "stream": True}, 69)]
    [verdict] = judge(exchanges, "northstar", select="ACC-14")
    assert verdict.status.value != "error", verdict.reason
    assert (bool(verdict.findings) if verdict.judged else None) is found
