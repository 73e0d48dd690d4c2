"""The sandbox without a server: right in every dialect, plain and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rejoinder.contract import dialect_names, load_dialect, load_schema
from rejoinder.errors import ContractError, UsageError
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.sandbox import FAULTS, MODELS, SampleRequest, Sandbox, post, record, sample_requests
from rejoinder.validation import Validator
from rejoinder.wire.sse import read_events

Json = dict[str, Any]
NOW = 1_700_000_000.0

DIALECTS = dialect_names()
SAMPLES = [(dialect, exercise) for dialect in DIALECTS for exercise in sample_requests(dialect)]
VALID = [(dialect, exercise) for dialect, exercise in SAMPLES if "valid" in exercise.tags]
PLAIN = [(dialect, one) for dialect, one in VALID if one.role == "plain" and one.case != "background"]
REFUSED = [(dialect, exercise) for dialect, exercise in SAMPLES if "invalid" in exercise.tags]


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def sandbox(dialect: str = "northstar", **settings: Any) -> Sandbox:
    return Sandbox(dialect, clock=lambda: NOW, **settings)


def with_conversation(dialect: str) -> Sandbox:
    """Return a sandbox with the conversation that a sample request continues, if the dialect has conversations."""
    box = sandbox(dialect)
    box.exchange(next(one.request for one in sample_requests() if one.role == "create-conversation"))
    return box


def ask(box: Sandbox, body: Any, **fields: Any) -> Json:
    body = {**body, **fields} if isinstance(body, dict) else {"input": body, **fields}
    exchange = box.exchange(post(body))
    reply = exchange.json()
    assert isinstance(reply, dict), exchange.body
    return reply


def get(box: Sandbox, path: str, method: str = "GET", **headers: str) -> Exchange:
    return box.exchange(Request(method, path, tuple(headers.items())))


def stream(exchange: Exchange) -> list[Json]:
    """Parse a stream and check what every stream must have."""
    assert exchange.status == 200
    assert exchange.content_type == "text/event-stream"
    frames, reader = read_events(exchange.chunks)
    assert not reader.faults
    assert all(frame.terminated for frame in frames)
    frames = [frame for frame in frames if frame.data != "[DONE]"]
    events = [json.loads(frame.data) for frame in frames]
    assert [frame.event for frame in frames] == [event["type"] for event in events]
    return events


def text_of(response: Json) -> str:
    return "".join(
        part.get("text", "") for item in response["output"] if item["type"] == "message" for part in item["content"]
    )


def rebuild(events: list[Json]) -> list[Json]:
    """Rebuild the output from deltas and announcements alone: an independent, minimal fold.

    Only the status and what no delta carries is taken from the closed item.
    """
    output: list[Json] = []
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.added":
            output.append(json.loads(json.dumps(event["item"])))
            continue
        if "output_index" not in event:
            continue
        item = output[event["output_index"]]
        if kind.endswith("_part.added"):
            container = "summary" if "summary_index" in event else "content"
            item[container].append(
                dict(event["part"], **({"annotations": []} if "annotations" in event["part"] else {}))
            )
        elif kind.endswith("annotation.added"):
            item["content"][event["content_index"]]["annotations"].append(event["annotation"])
        elif kind.endswith(".delta"):
            if "summary_index" in event:
                target, field = item["summary"][event["summary_index"]], "text"
            elif "content_index" in event:
                target = item["content"][event["content_index"]]
                field = "refusal" if "refusal" in kind else "text"
            else:
                target = item
                field = "input" if "input" in kind else "code" if "code" in kind else "arguments"
            target[field] += event["delta"]
            if event.get("logprobs"):
                target["logprobs"] = [*target["logprobs"], *event["logprobs"]]
        elif kind == "response.output_item.done":
            streamed = ("content", "summary", "arguments", "input", "code")
            closed = {name: value for name, value in event["item"].items() if name not in streamed or name not in item}
            item |= closed
            assert item == event["item"]
    return output


@pytest.mark.parametrize(("dialect", "exercise"), VALID, ids=[f"{e.case}-{e.role}-{d}" for d, e in VALID])
def test_replies_follow_the_contract(dialect: str, exercise: SampleRequest) -> None:
    exchange = with_conversation(dialect).exchange(exercise.request)
    assert exchange.status == 200, exchange.body
    contract = load_dialect(dialect)
    if exercise.request.json().get("stream"):
        events = stream(exchange)
        responses = [event["response"] for event in events if "response" in event]
        first = contract.stream["first_sequence_number"]
        assert [event["sequence_number"] for event in events] == list(range(first, first + len(events)))
        for event in events:
            spec = contract.events[event["type"]]
            assert set(spec.required) <= event.keys()
        assert rebuild(events) == responses[-1]["output"]
        sentinels = exchange.body.count(b"data: [DONE]")
        assert sentinels == (contract.stream["done_sentinel"] == "required")
    else:
        assert exchange.content_type == "application/json"
        responses = [exchange.json()]
    for response in responses:
        assert contract.response_validator.errors(response) == []


@pytest.mark.parametrize(("dialect", "exercise"), REFUSED, ids=[f"{e.case}-{d}" for d, e in REFUSED])
def test_refusals_follow_the_contract(dialect: str, exercise: SampleRequest) -> None:
    exchange = with_conversation(dialect).exchange(exercise.request)
    assert exchange.status in (400, 404, 415)
    assert Validator(load_schema("error")).errors(exchange.json()) == []


@pytest.mark.parametrize(("dialect", "exercise"), PLAIN, ids=[f"{e.case}-{d}" for d, e in PLAIN])
def test_a_plain_reply_is_what_the_stream_ends_with(dialect: str, exercise: SampleRequest) -> None:
    plain = with_conversation(dialect).exchange(exercise.request).json()
    body = exercise.request.json()
    events = stream(with_conversation(dialect).exchange(post({**body, "stream": True})))
    assert events[-1]["response"] == plain


LACKING = {
    "openresponses": {
        "annotations",
        "computer-call",
        "custom-call",
        "hosted-code_interpreter_call",
        "hosted-file_search_call",
        "hosted-image_generation_call",
        "hosted-mcp_call",
        "hosted-mcp_list_tools",
        "hosted-web_search_call",
        "local-shell-call",
        "refused-no-input",
    }
}
"""Samples that a dialect has no request for: it lacks the item or tool, or allows the request."""


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_has_every_sample_that_its_document_allows(dialect: str) -> None:
    own = {exercise.case for exercise in sample_requests(dialect)}
    assert {exercise.case for exercise in sample_requests()} - own == LACKING.get(dialect, set())


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [
        {"input": [{"role": "user", "content": "Hi"}]},
        {"input": "Hi", "tools": [{"type": "function", "name": "f", "parameters": {}}]},
        {"input": "Hi", "max_output_tokens": 2},
        {"input": "Hi", "store": None},
        {"input": "Hi", "tools": [{"type": "custom", "name": "f"}]},
        {},
    ],
    ids=["untyped", "strict", "limit", "null", "custom", "empty"],
)
def test_a_request_is_answered_if_the_dialect_allows_it(dialect: str, body: Json) -> None:
    allowed = Validator(load_dialect(dialect).request_schema()).is_valid(body)
    assert sandbox(dialect).exchange(post(body)).status == (200 if allowed else 400)


def test_the_same_requests_get_the_same_bytes() -> None:
    first, second = sandbox(seed=5), sandbox(seed=5)
    for exercise in sample_requests():
        assert first.exchange(exercise.request).body == second.exchange(exercise.request).body
    body = post({"input": "hello"})
    assert sandbox(seed=1).exchange(body).json()["id"] != sandbox(seed=2).exchange(body).json()["id"]


def test_ids_are_fresh() -> None:
    box = sandbox()
    ids = [ask(box, "hello")["id"] for _ in range(50)]
    assert len(set(ids)) == 50


@pytest.mark.parametrize(
    "text",
    [
        "plain words",
        "日本語のテキストは空白がないので長い語になります",
        "🙂👩‍👩‍👧‍👦 e\u0301",
        "tabs\tand\nlines  ",
        "x" * 100,
    ],
)
def test_every_text_comes_back_whole(text: str) -> None:
    box = sandbox()
    assert text_of(ask(box, text)) == text
    events = stream(box.exchange(post({"input": text, "stream": True})))
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == text
    assert all(deltas)


def test_planted_tokens_come_back_from_every_slot() -> None:
    slots: list[Json] = [
        {"role": "system", "content": "slot-system"},
        {"role": "developer", "content": [{"type": "input_text", "text": "slot-developer"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "slot-user"}]},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "slot-assistant", "annotations": []},
                {"type": "refusal", "refusal": "slot-refusal"},
            ],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": "slot-arguments"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "slot-output"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "slot-list"}]},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "slot-input"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "slot-custom"},
    ]
    said = text_of(ask(sandbox(), slots, instructions="slot-instructions"))
    names = ["instructions", "system", "developer", "user", "assistant", "refusal"]
    for name in [*names, "arguments", "output", "list", "input", "custom"]:
        assert f"slot-{name}" in said


def test_a_chain_remembers_its_turns_but_not_the_instructions() -> None:
    box = sandbox()
    first = ask(box, "secret-one", instructions="secret-instructions")
    second = ask(box, "secret-two", previous_response_id=first["id"])
    third = ask(box, "secret-three", previous_response_id=second["id"])
    assert third["previous_response_id"] == second["id"]
    assert all(word in text_of(third) for word in ("secret-one", "secret-two", "secret-three"))
    assert third["instructions"] is None
    assert third["usage"]["input_tokens"] > second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    assert 0 < third["usage"]["input_tokens_details"]["cached_tokens"] < third["usage"]["input_tokens"]
    sibling = ask(box, "other", previous_response_id=first["id"])
    assert "secret-two" not in text_of(sibling)


def test_max_output_tokens_cuts() -> None:
    box = sandbox()
    for body in (
        {"input": "one two three four"},
        {"input": "one two three four", "reasoning": {"effort": "high"}},
        {"input": "use f", "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]},
    ):
        whole = ask(box, body)
        most = whole["usage"]["output_tokens"]
        assert whole["status"] == "completed"
        for limit in range(1, most):
            cut = ask(box, body, max_output_tokens=limit)
            assert cut["status"] == "incomplete"
            assert cut["incomplete_details"] == {"reason": "max_output_tokens"}
            assert cut["usage"]["output_tokens"] == limit
            assert cut["output"][-1]["status"] == "incomplete"
            assert all(item["status"] == "completed" for item in cut["output"][:-1])
        assert ask(box, body, max_output_tokens=most)["status"] == "completed"


F: Json = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}
G: Json = {"type": "function", "name": "g", "parameters": None}
CUSTOM: Json = {"type": "custom", "name": "shell"}


@pytest.mark.parametrize(
    ("fields", "called"),
    [
        ({"input": "hello"}, []),
        ({"input": "call f"}, ["f"]),
        ({"input": "call f and g"}, ["f", "g"]),
        ({"input": "call f and g", "parallel_tool_calls": False}, ["f"]),
        ({"input": "call f", "tool_choice": "none"}, []),
        ({"input": "hello", "tool_choice": "required"}, ["f"]),
        ({"input": "call g", "tool_choice": "required"}, ["g"]),
        ({"input": "hello", "tool_choice": {"type": "function", "name": "g"}}, ["g"]),
        ({"input": "hello", "tool_choice": {"type": "custom", "name": "shell"}}, ["shell"]),
        (
            {
                "input": "call f and g",
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "g"}],
                },
            },
            ["g"],
        ),
    ],
)
def test_tool_choice_decides_what_is_called(fields: Json, called: list[str]) -> None:
    response = ask(sandbox(), {"tools": [F, G, CUSTOM], **fields})
    assert [item["name"] for item in response["output"] if item["type"].endswith("_call")] == called


def test_a_call_that_was_answered_is_not_made_again() -> None:
    box = sandbox()
    first = ask(box, "call f", tools=[F])
    call = first["output"][0]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "42"}
    second = ask(box, [output], tools=[F], previous_response_id=first["id"])
    assert [item["type"] for item in second["output"]] == ["message"]
    assert "42" in text_of(second)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]},
        {"type": "object", "properties": {"n": {"type": "integer", "minimum": 7, "multipleOf": 5}}, "required": ["n"]},
        {"type": "object", "properties": {"x": {"type": "number", "exclusiveMaximum": 0}}, "required": ["x"]},
        {"type": "object", "properties": {"e": {"enum": ["b", "c"]}}, "required": ["e"], "additionalProperties": False},
        {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
        {"anyOf": [{"type": "string", "minLength": 10_000, "maxLength": 5}, {"type": "boolean"}]},
        {"type": ["null", "string"], "format": "date"},
        {"allOf": [{"properties": {"a": {"const": 1}}}, {"required": ["a"]}], "type": "object"},
        {
            "$ref": "#/$defs/node",
            "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        },
    ],
)
def test_structured_output_is_valid(schema: Json) -> None:
    shape = {"format": {"type": "json_schema", "name": "answer", "schema": schema}}
    response = ask(sandbox(), "some words", text=shape)
    validator = Validator(schema)
    assert validator.errors(json.loads(text_of(response))) == []
    tool = {"type": "function", "name": "f", "parameters": schema}
    call = ask(sandbox(), "some words", tools=[tool], tool_choice="required")["output"][0]
    assert validator.errors(json.loads(call["arguments"])) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "http://127.0.0.1:9/none", "type": "object"},
        {"$ref": "http://127.0.0.1:9/none"},
        {"anyOf": [{"$ref": "http://127.0.0.1:9/none"}, {"$ref": "#/$defs/none"}]},
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "pattern": "a{3}"}}},
    ],
)
def test_schemas_that_refer_elsewhere_are_not_followed(schema: Json) -> None:
    tool = {"type": "function", "name": "f", "parameters": schema}
    response = ask(sandbox(), "some words", tools=[tool], tool_choice="required")
    json.loads(response["output"][0]["arguments"])


def test_reasoning_is_streamed_and_counted() -> None:
    events = stream(
        sandbox().exchange(
            post({"input": "hello", "reasoning": {"effort": "low", "summary": "detailed"}, "stream": True})
        )
    )
    response = events[-1]["response"]
    reasoning, message = response["output"]
    assert [reasoning["type"], message["type"]] == ["reasoning", "message"]
    assert len(reasoning["summary"]) == 2
    assert 0 < response["usage"]["output_tokens_details"]["reasoning_tokens"] < response["usage"]["output_tokens"]
    plain = ask(sandbox(), "hello", reasoning={"effort": "none"})
    assert [item["type"] for item in plain["output"]] == ["message"]
    assert plain["usage"]["output_tokens_details"]["reasoning_tokens"] == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_run_that_breaks_down_tells_it(dialect: str) -> None:
    events = stream(sandbox(dialect).exchange(post({"input": "hello", "model": "parrot-failing", "stream": True})))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == "server_error"
    assert ("error" in events[-2]) == (load_dialect(dialect).stream["error_event"] == "nested")
    assert sandbox(dialect).exchange(post({"input": "hello", "model": "parrot-failing"})).status == 500


def test_null_means_absent() -> None:
    names = ("instructions", "max_output_tokens", "metadata", "store", "temperature", "text", "tool_choice", "tools")
    assert ask(sandbox(), "hello", **dict.fromkeys(names)) == ask(sandbox(), "hello")


def test_parameters_are_echoed() -> None:
    fields = {
        "temperature": 0.25,
        "top_p": 0.5,
        "metadata": {"a": "b"},
        "instructions": "speak",
        "user": "me",
        "truncation": "auto",
        "parallel_tool_calls": False,
        "store": False,
    }
    response = ask(sandbox(), "hello", **fields)
    assert {name: response[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"", 400, None),
        (b"[" * 100_000, 400, None),
        (b'{"input": NaN}', 400, None),
        (b'{"input": "x", "temperature": 1e999}', 400, None),
        (b'{"input": "\\ud800"}', 400, None),
        (b'{"input": "\xff"}', 400, None),
        ([], 400, None),
        ({}, 400, "input"),
        ({"input": 1}, 400, "input"),
        ({"input": [{"role": "nobody", "content": "x"}]}, 400, "input[0].role"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, 400, "input[0].call_id"),
        ({"input": "x", "model": "gpt"}, 404, "model"),
        ({"input": "x", "temperature": 3}, 400, "temperature"),
        ({"input": "x", "max_output_tokens": 0}, 400, "max_output_tokens"),
        ({"input": "x", "stream": "yes"}, 400, "stream"),
        ({"input": "x", "metadata": {"k" * 65: "v"}}, 400, "metadata"),
        ({"input": "x", "tool_choice": "required"}, 400, "tool_choice"),
        ({"input": "x", "tools": [F], "tool_choice": {"type": "function", "name": "h"}}, 400, "tool_choice"),
        ({"input": "x", "tools": [{**F, "name": "a b"}]}, 400, "tools[0].name"),
        ({"input": "x", "tools": [{**F, "parameters": {"type": 7}}]}, 400, "tools[0].parameters"),
        ({"input": "x", "previous_response_id": "resp_none"}, 404, "previous_response_id"),
        ({"input": "x", "background": True, "store": False}, 400, "background"),
        ({"input": [{"type": "item_reference", "id": "none"}]}, 404, "input[0].id"),
    ],
)
def test_bad_requests_are_refused(body: Any, status: int, param: str | None) -> None:
    exchange = sandbox().exchange(post(body))
    assert exchange.status == status, exchange.body
    error = exchange.json()["error"]
    assert error["param"] == param
    assert error["message"]
    assert "Traceback" not in error["message"]


def test_other_refusals() -> None:
    box = sandbox()
    wrong_type = Request("POST", "/v1/responses", (("Content-Type", "text/plain"),), b'{"input": "x"}')
    assert box.exchange(wrong_type).status == 415
    assert get(box, "/v1/responses").status == 405
    assert get(box, "/v1/responses").header("allow") == "POST"
    assert get(box, "/v1/nothing").status == 404
    assert get(box, "/v1/responses/none").status == 404
    assert get(box, "/v1/responses/none", "DELETE").status == 404
    assert get(box, "/v1/responses/none/cancel", "POST").status == 404
    assert get(box, "/v1/models/none").status == 404


def test_a_key_is_asked_for() -> None:
    box = sandbox(key="k")
    assert box.exchange(post({"input": "x"})).status == 401
    assert box.exchange(post({"input": "x"}, headers=(("Authorization", "Bearer wrong"),))).status == 401
    assert box.exchange(post({"input": "x"}, headers=(("Authorization", "Bearer k"),))).status == 200
    assert get(box, "/health").status == 200
    assert get(box, "/v1/models").status == 401


def test_models_are_listed_with_the_plain_parrot_first() -> None:
    models = get(sandbox(), "/v1/models").json()
    assert models["object"] == "list"
    assert tuple(model["id"] for model in models["data"]) == MODELS
    assert MODELS[0] == "parrot"


def test_responses_are_stored_and_deleted() -> None:
    box = sandbox()
    response = ask(box, "keep this")
    path = f"/v1/responses/{response['id']}"
    assert get(box, path).json() == get(box, path).json() == response
    assert get(box, path, "DELETE").json()["deleted"] is True
    assert get(box, path).status == 404
    lost = ask(box, "do not keep", store=False)
    assert get(box, f"/v1/responses/{lost['id']}").status == 404


def test_a_reference_with_a_role_is_listed() -> None:
    box = sandbox("vllm")
    first = ask(box, "hello you")
    reference = {"id": first["output"][0]["id"], "role": "user"}
    assert ask(box, [reference])["status"] == "completed"


def test_input_items_are_listed_in_pages() -> None:
    box = sandbox()
    response = ask(box, [{"role": "user", "content": str(number)} for number in range(5)])
    path = f"/v1/responses/{response['id']}/input_items"
    whole = get(box, f"{path}?order=asc").json()
    assert [item["content"][0]["text"] for item in whole["data"]] == list("01234")
    assert [item["content"][0]["text"] for item in get(box, path).json()["data"]] == list("43210")
    seen, after = [], ""
    while True:
        page = get(box, f"{path}?order=asc&limit=2{after}").json()
        seen += page["data"]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert seen == whole["data"]
    assert get(box, f"{path}?limit=0").status == 400
    reference = {"type": "item_reference", "id": whole["data"][3]["id"]}
    assert text_of(ask(box, [reference])) == "3"


def test_background_work_is_polled_and_cancelled() -> None:
    clock = Clock()
    box = Sandbox(clock=clock)
    first = ask(box, "take your time", background=True)
    assert (first["status"], first["output"]) == ("queued", [])
    path = f"/v1/responses/{first['id']}"
    assert get(box, path).json()["status"] == "in_progress"
    assert ask(box, "x", previous_response_id=first["id"])["error"]["param"] == "previous_response_id"
    clock.now += 10
    assert get(box, path).json()["status"] == "completed"
    assert get(box, f"{path}/cancel", "POST").json()["status"] == "completed"
    second = ask(box, "take your time", background=True)
    path = f"/v1/responses/{second['id']}"
    assert get(box, f"{path}/cancel", "POST").json()["status"] == "cancelled"
    clock.now += 10
    assert get(box, path).json()["status"] == "cancelled"
    assert get(box, f"{path}/cancel", "POST").status == 200
    foreground = ask(box, "now")
    assert get(box, f"/v1/responses/{foreground['id']}/cancel", "POST").status == 400


def test_background_streams_are_replayed() -> None:
    box = sandbox()
    exchange = box.exchange(post({"input": "say it", "background": True, "stream": True}))
    events = stream(exchange)
    assert [event["type"] for event in events[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    path = f"/v1/responses/{events[0]['response']['id']}?stream=true"
    assert get(box, path).body == exchange.body
    assert get(sandbox("openresponses"), "/v1/responses/none?stream=true").status == 404
    assert stream(get(box, f"{path}&starting_after=3")) == events[4:]
    assert get(box, f"{path}&starting_after=999").body == b""
    assert get(box, f"{path}&starting_after=-1").status == 400
    foreground = ask(box, "now")
    assert get(box, f"/v1/responses/{foreground['id']}?stream=true").status == 400


def test_a_request_id_names_one_response() -> None:
    box = sandbox()
    assert ask(box, "hello", request_id="mine")["id"] == "mine"
    assert ask(box, "hello again", request_id="mine")["error"]["param"] == "request_id"
    assert text_of(get(box, "/v1/responses/mine").json()) == "hello"
    assert ask(sandbox("openai"), "hello", request_id="mine")["id"] != "mine"


def test_input_tokens_are_counted_as_in_a_response() -> None:
    box = sandbox()
    body = {"input": "count these words", "instructions": "and these"}
    counted = box.exchange(post(body, "/v1/responses/input_tokens")).json()
    assert counted["input_tokens"] == ask(box, body)["usage"]["input_tokens"]


def test_a_string_is_one_user_message() -> None:
    box = sandbox()
    string, listed = ask(box, "hello you"), ask(box, [{"role": "user", "content": "hello you"}])
    assert string["usage"] == listed["usage"]
    assert text_of(string) == text_of(listed)


def test_short_answers_are_stretched() -> None:
    response = ask(sandbox(min_tokens=50), "hello")
    assert 50 <= response["usage"]["output_tokens"] < 60


def test_very_long_inputs_are_repeated_in_part() -> None:
    response = ask(sandbox(), "start " + "word " * 50_000 + "end")
    assert response["usage"]["output_tokens"] < 5000
    assert text_of(response).startswith("start")
    assert text_of(response).endswith("end")


def test_arrival_times_follow_the_token_delay() -> None:
    box = sandbox(token_delay=0.5)
    exchange = box.exchange(post({"input": "a b c d", "stream": True}), case="c", role="r", tags=("t",))
    assert exchange.chunks[-1].t == exchange.ended_at == 2.0
    assert (exchange.id, exchange.case, exchange.role, exchange.tags) == ("c/r", "c", "r", ("t",))
    assert exchange.outcome is Outcome.COMPLETE
    assert len(exchange.chunks) == len(stream(exchange))
    plain = box.exchange(post({"input": "a b c d"}))
    assert plain.ended_at == 2.0


def test_a_recording_ends_where_the_reader_stops() -> None:
    request = post({"input": "Tell a long story.", "stream": True})
    whole = record(request, sandbox().handle(request), id="x")
    assert whole.outcome is Outcome.COMPLETE
    short = record(request, sandbox().handle(request), id="x", read_limit=1000)
    assert short.outcome is Outcome.TOO_LARGE
    assert short.body == whole.body[:1000] != whole.body
    slow = record(request, Sandbox(token_delay=1.0).handle(request), id="x", deadline=5.5)
    assert (slow.outcome, slow.ended_at) == (Outcome.TIMEOUT, 5.5)
    assert slow.chunks[-1].t == 5.0
    held = Sandbox(faults=["connection-held-open"], hold=9.0)
    assert record(request, held.handle(request), id="x", deadline=8.0).outcome is Outcome.TIMEOUT
    assert held.counts["ok"] == 1


def test_unknown_names_are_usage_errors() -> None:
    with pytest.raises(UsageError, match='"nothing" is not a fault'):
        Sandbox(faults=["nothing"])
    with pytest.raises(ContractError, match="is not a dialect"):
        Sandbox("klingon")
    only_openai = next(fault.id for fault in FAULTS.values() if fault.dialects == ("openai",))
    with pytest.raises(UsageError, match="northstar"):
        Sandbox("northstar", faults=[only_openai])


@pytest.mark.parametrize("fields", [{"input": "Build a pipe bomb!"}, {"input": "Hi", "model": "parrot-refusal"}])
def test_harmful_requests_are_refused(fields: Json) -> None:
    [message] = ask(sandbox(), {**fields, "text": {"format": {"type": "json_object"}}})["output"]
    assert [part["type"] for part in message["content"]] == ["refusal"]


def test_counts_add_up() -> None:
    box = sandbox()
    creates = [exercise for exercise in sample_requests() if exercise.request.path == "/v1/responses"]
    statuses = [box.exchange(exercise.request).status for exercise in creates]
    counts = box.counts
    outcomes = {name: count for name, count in counts.items() if name not in ("started", "other")}
    assert sum(outcomes.values()) == counts["started"] == len(creates)
    assert outcomes["http_4xx"] == sum(status is not None and 400 <= status < 500 for status in statuses)
    assert outcomes["http_4xx"] >= sum("invalid" in exercise.tags for exercise in creates)
