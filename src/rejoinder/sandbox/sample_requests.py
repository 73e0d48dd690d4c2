"""Requests that between them show everything the sandbox can do, and with it every fault."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from rejoinder.contract import DEFAULT_DIALECT, load_dialect
from rejoinder.contract.examples import CITED_MESSAGE, COMPUTER_TOOL, HOSTED_CALLS
from rejoinder.model.exchange import Request
from rejoinder.model.tags import Tag, wrong_field
from rejoinder.sandbox.core import post
from rejoinder.sandbox.endpoint.conversations import kept_id
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.validation import Validator
from rejoinder.wire.base_form import fit_input

_WEATHER: Final[Json] = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city", "days"],
    },
    "strict": False,
}
_TIME: Final[Json] = {
    "type": "function",
    "name": "get_time",
    "description": "The time.",
    "parameters": None,
    "strict": False,
}
_SHELL: Final[Json] = {"type": "custom", "name": "shell"}


_SWOLLEN: Final[Json] = {"type": "input_image", "image_url": {"url": "data:image/png;base64," + "QUJD" * 4000}}
_LOOSE_CALL: Final[Json] = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": {"days": 1},
}


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One request to the sandbox, with the case, role and tags of the exchange that it makes."""

    case: str
    role: str
    request: Request
    tags: tuple[str, ...] = ()


def sample_requests(dialect: str = DEFAULT_DIALECT) -> list[SampleRequest]:
    """Return the standard requests in the order in which they are to be sent to one sandbox of a dialect.

    Their input has the usual form of the dialect. Those that the dialect's request schema refuses are left out of the
    valid ones, such as a request with a tool that the dialect lacks. Raises
    :class:`~rejoinder.errors.ContractError` for a dialect that cannot be read.
    """
    known = load_dialect(dialect)
    requests = known.possible_requests
    form = known.usual_form.input

    def fitted(samples: Iterable[SampleRequest]) -> Iterator[SampleRequest]:
        for sample in samples:
            body = fit_input(sample.request.json(), form)
            if isinstance(body, dict) and "input" in body:
                sample = replace(sample, request=replace(sample.request, body=post(body).body))
            if Tag.VALID not in sample.tags or requests.is_valid(body):
                yield sample

    # Sent as it is: some endpoints of a dialect whose messages need a type do without it.
    untyped = SampleRequest("untyped", "plain", post({"input": _user("Say hello.")}))
    found = [*fitted(_valid()), *fitted(_refused(requests)), untyped]
    return [*found, *fitted(_echoes(_creates(found), requests))]


def _valid() -> Iterator[SampleRequest]:
    hello = "Say hello to Oslo."
    yield SampleRequest("input", "string", post({"input": hello}), (Tag.VALID, Tag.BASIC))
    yield SampleRequest("input", "list", post({"input": _user(hello)}), (Tag.VALID, Tag.BASIC))
    story: Json = {"input": _user("Tell a long story.")}
    yield SampleRequest("cut", "uncapped", post(story), (Tag.VALID,))
    yield SampleRequest("cut", "capped", post({**story, "max_output_tokens": 16}), (Tag.VALID,))
    yield SampleRequest("cut", "capped-stream", post({**story, "max_output_tokens": 16, "stream": True}), (Tag.VALID,))
    talk = {"items": [{"type": "message", **message} for message in _user("My name is Ada.")]}
    yield SampleRequest("conversation", "create-conversation", post(talk, "/v1/conversations"))
    for case, body in _bodies():
        yield SampleRequest(case, "plain", post(body), (Tag.VALID,))
        again = {**body, "request_id": f"{body['request_id']}-again"} if "request_id" in body else body
        yield SampleRequest(case, "stream", post({**again, "stream": True}), (Tag.VALID,))
    yield SampleRequest("after-stream", "string", post({"input": hello}), (Tag.VALID, Tag.BASIC))


def _bodies() -> Iterator[tuple[str, Json]]:
    yield "text", {"input": "Repeat after me: the parrot speaks.", "instructions": "Be brief.", "temperature": 0.5}
    yield "multi-byte", {"input": "Grüße aus Köln, 日本語, naïve café 🙂, e\u0301tude."}
    parts = [{"type": "input_text", "text": "first part"}, {"type": "input_text", "text": "second part"}]
    yield "parts", {"input": [{"role": "user", "content": parts}]}
    image = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "https://example.org/i", "detail": "auto"},
    ]
    yield "image", {"input": [{"role": "user", "content": image}]}
    yield (
        "roles",
        {"input": [{"role": role, "content": f"I am {role}"} for role in ("system", "developer", "assistant")]},
    )
    tools = [_WEATHER, _TIME]
    yield "call", {"input": "Weather in Oslo, please.", "tools": tools, "tool_choice": "required"}
    yield "calls", {"input": "Use get_weather and get_time for Oslo.", "tools": tools}
    odd = {
        "type": "object",
        "properties": {"größe": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "child": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}}},
    }
    measure = {"type": "function", "name": "measure", "parameters": odd, "strict": False}
    yield "odd-schema", {"input": "Measure it.", "tools": [measure]}
    cut = {"max_output_tokens": 16}  # the lowest limit that all dialects take
    numbers = " ".join(str(number) for number in range(1, 21))
    yield "call-cut", {"input": f"Use get_weather for Oslo. {numbers}", "tools": tools, **cut}
    yield "named-call", {"input": "Oslo", "tools": tools, "tool_choice": {"type": "function", "name": "get_time"}}
    answered = [
        *_user("Use get_weather for Oslo."),
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "Rain in Oslo"},
    ]
    yield "call-output", {"input": answered, "tools": tools}
    yield "custom-call", {"input": "List the files", "tools": [_SHELL], "tool_choice": "required"}
    yield "computer-call", {"input": "Look", "tools": [COMPUTER_TOOL], "tool_choice": {"type": "computer_use_preview"}}
    yield "reasoning", {"input": "Is 91 prime?", "reasoning": {"effort": "low"}}
    yield "summary", {"input": "Is 91 prime?", "reasoning": {"effort": "high", "summary": "detailed"}}
    yield "reasoning-cut", {"input": f"Is 91 prime? Try {numbers}.", "reasoning": {"effort": "low"}, **cut}
    yield "refusal", {"input": "Say something rude.", "model": "parrot-refusal"}
    yield "annotations", {"input": [CITED_MESSAGE, *_user("Say it again.")]}
    [part] = CITED_MESSAGE["content"]
    link = {**part, "annotations": [note for note in part["annotations"] if note["type"] == "url_citation"]}
    yield "annotation", {"input": [{**CITED_MESSAGE, "content": [link]}, *_user("Say it again.")]}
    for item in HOSTED_CALLS:
        yield f"hosted-{item['type']}", {"input": [*_user("Find Oslo."), item]}
    command: dict[str, Any] = {"type": "exec", "command": ["ls"], "env": {}, "user": None}
    shell = {"type": "local_shell_call", "id": "lsh_1", "call_id": "call_1", "status": "completed", "action": command}
    yield "local-shell-call", {"input": [*_user("List the files."), shell]}
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    yield (
        "json-schema",
        {"input": "Oslo", "text": {"format": {"type": "json_schema", "name": "city", "schema": schema}}},
    )
    yield "logprobs", {"input": "Say this.", "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    yield "background", {"input": "Take your time.", "background": True}
    yield "sampling", {"input": "Say hello.", "top_p": 0.9, "top_logprobs": 2}
    yield "not-stored", {"input": "Forget this.", "store": False, "metadata": {"run": "1"}}
    yield "request-id", {"input": "Name this.", "request_id": "exercise-1"}
    yield "conversation", {"input": "Remember this.", "conversation": kept_id("conv", 0)}


def _refused(requests: Validator) -> Iterator[SampleRequest]:
    if not requests.is_valid({}):
        yield SampleRequest("refused-no-input", "plain", post({}), (Tag.INVALID, wrong_field("input")))
    for case, body, tags in (
        ("input-type", {"input": 7}, (wrong_field("input"),)),
        ("role", {"input": [{"role": "nobody", "content": "Hi"}]}, (wrong_field("input"),)),
        ("model", {"input": "Hi", "model": "no-such-model"}, (Tag.UNKNOWN_MODEL, wrong_field("model"))),
        ("temperature", {"input": "Hi", "temperature": 3}, (wrong_field("temperature"),)),
        ("stream", {"input": 7, "stream": True}, (wrong_field("input"),)),
        ("image", {"input": [{"role": "user", "content": [_SWOLLEN]}]}, (wrong_field("input"),)),
        ("arguments", {"input": [_LOOSE_CALL]}, (wrong_field("input"),)),
        ("broken-json", b'{"input": "Hi", ', (Tag.BROKEN,)),
    ):
        yield SampleRequest(f"refused-{case}", "plain", post(body), (Tag.INVALID, *tags))
    good = {"input": "Say hello."}
    yield SampleRequest("refused-broken-json", "after", post(good), (Tag.VALID, Tag.BASIC))
    text = Request("POST", "/v1/responses", (("content-type", "text/plain"),), post(good).body)
    yield SampleRequest("refused-content-type", "plain", text, (Tag.INVALID,))
    # A freedom refuses it, and no test plan sends it.
    untyped = Request("POST", "/v1/responses", (), post(good).body)
    yield SampleRequest("no-content-type", "plain", untyped)
    put = Request("PUT", "/v1/responses", (("content-type", "application/json"),), post(good).body)
    yield SampleRequest("refused-method", "put", put, (Tag.WRONG_METHOD,))
    key = post(good, headers=(("authorization", "Bearer wrong"),))
    yield SampleRequest("refused-key", "wrong-key", key, (Tag.WRONG_KEY,))
    unknown = post({**good, "no_such_field": True})
    yield SampleRequest("unknown-field", "plain", unknown, (Tag.UNKNOWN_FIELD,))


def _echoes(number: int, requests: Validator) -> Iterator[SampleRequest]:
    """Yield what depends on earlier replies; ``number`` create requests came before."""
    body: Json = {
        "input": "Say hello.",
        "instructions": "Be brief.",
        "temperature": 0.7,
        "top_p": 0.9,
        "truncation": "auto",
        "parallel_tool_calls": False,
        "tools": [_WEATHER],
        "tool_choice": "none",
        "metadata": {"purpose": "exercise", "Grüße": "Köln"},
        "service_tier": "default",
        "store": True,
    }
    yield SampleRequest("echo", "create", post(body), (Tag.VALID,))
    yield SampleRequest("echo", "get", Request("GET", f"/v1/responses/{created_id(number + 1)}"))
    counted = {name: body[name] for name in ("input", "instructions", "tools", "tool_choice")}
    yield SampleRequest("echo", "count", post(counted, "/v1/responses/input_tokens"))
    talk = [*_user("It is quartz-1234."), {"type": "message", "role": "assistant", "content": "I see."}]
    compacted: Json = {"model": "parrot", "input": talk}
    yield SampleRequest("compaction", "compact", post(compacted, "/v1/responses/compact"))
    yield SampleRequest("compaction", "without-model", post({"input": talk}, "/v1/responses/compact"))
    plain: Json = {"input": "Say hello."}
    yield SampleRequest("nulls", "absent", post(plain), (Tag.VALID,))
    optional = ("instructions", "metadata", "previous_response_id", "temperature", "top_p", "store")
    nulls = {name: None for name in optional if requests.is_valid({**plain, name: None})}
    yield SampleRequest("nulls", "nulls", post({**plain, **nulls}), (Tag.VALID,))
    yield SampleRequest("chain", "first", post({"input": "Say hello.", "instructions": "Be brief."}), (Tag.VALID,))
    for role, text, back in (("second", "Say it again.", 4), ("third", "And once more.", 5)):
        continued = {"input": text, "previous_response_id": created_id(number + back)}
        yield SampleRequest("chain", role, post(continued))
    encrypted = {"input": "Is 91 prime?", "reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]}
    yield SampleRequest("encrypted-reasoning", "plain", post(encrypted), (Tag.VALID,))
    yield SampleRequest("long-stream", "stream", post({"input": "Tell a long story.", "stream": True}), (Tag.VALID,))


def created_id(number: int, seed: int = 0) -> str:
    """Return the id of the response to the create request of that number, where the request names none itself."""
    return f"resp_{hashlib.blake2s(f'{seed}/{number}'.encode(), digest_size=12).hexdigest()}"


def _creates(found: list[SampleRequest]) -> int:
    return sum(sample.request.path == "/v1/responses" for sample in found)


def _user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]
