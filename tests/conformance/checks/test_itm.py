"""Which rule reports what is wrong with an item, in a response and in the events of a stream."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from rejoinder.conformance.judgement import problems_by_rule
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.sandbox import Sandbox, post
from rejoinder.strategies import to_sse, unfold

SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "Oslo"}}
CODE = {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "container_id": "c", "code": "1"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
}
Json = dict[str, Any]


def response(dialect: str, *items: Json, **request: Any) -> Json:
    """Return the response object of the sandbox with other output items."""
    exchange = Sandbox(dialect=dialect).exchange(post({"model": "parrot", "input": "Hi", **request}))
    made: Json = json.loads(exchange.body)
    return {**made, "output": [copy.deepcopy(item) for item in items] or made["output"]}


def found(dialect: str, body: Json | bytes, **request: Any) -> dict[str, list[str]]:
    """Return the MUST rules that a response object or a stream breaks, with the places of their problems."""
    is_stream = isinstance(body, bytes)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/event-stream" if is_stream else "application/json"
    sent = {"model": "parrot", "input": "Hi", **({"stream": True} if is_stream else {}), **request}
    exchange = Exchange(
        id="x",
        request=Request("POST", "/v1/responses", (), json.dumps(sent).encode()),
        outcome=Outcome.COMPLETE,
        status=200,
        headers=(("content-type", kind),),
        chunks=(Chunk(0.1, data),),
        started_at=1_900_000_000,
        tags=("valid",),
    )
    problems = problems_by_rule(exchange, dialect)
    return {rule: [problem.pointer for problem in here] for rule, here in problems.items()}


@pytest.mark.parametrize("dialect", ["northstar", "openai"])
@pytest.mark.parametrize("item", [SEARCH, CODE], ids=["search", "code"])
def test_a_status_that_the_type_requires_is_reported_once(dialect: str, item: Json) -> None:
    whole = response(dialect, item, MESSAGE)
    assert found(dialect, whole) == {}
    del whole["output"][0]["status"]
    assert found(dialect, whole) == {"ITM-16": ["/output/0/status"]}
    whole["output"][0]["status"] = "nonsense"
    assert found(dialect, whole) == {"RSP-05": ["/output/0/status"]}


@pytest.mark.parametrize(
    ("place", "value", "rule"),
    [
        ("/output/0/summary/0/text", None, "RSP-05"),
        ("/output/0/summary/0/type", "nonsense", "RSP-05"),
        ("/output/0/id", None, "ITM-16"),
        ("/output/1/role", "user", "ITM-22"),
        ("/output/1/content/0/annotations", None, "RSP-11"),
        ("/output/1/content/0/text", 7, "RSP-05"),
        ("/output/1/content/0/type", "nonsense", "RSP-05"),
        ("/output/1/status", "nonsense", "RSP-05"),
    ],
)
def test_one_defect_breaks_one_rule(place: str, value: Any, rule: str) -> None:
    whole = response("openai", REASONING, MESSAGE)
    target: Any = whole
    *path, last = place.split("/")[1:]
    for step in path:
        target = target[int(step) if isinstance(target, list) else step]
    target[int(last) if isinstance(target, list) else last] = value
    assert found("openai", whole) == {rule: [place]}


def test_what_the_request_has_too_is_no_fault() -> None:
    tool = {"type": "search_the_moon", "depth": 1}
    whole = {**response("openai"), "tools": [tool]}
    assert "RSP-05" not in found("openai", whole, tools=[tool])
    assert found("openai", whole)["RSP-05"] == ["/tools/0/type"]


def stream(dialect: str, change: Callable[[Json], None]) -> bytes:
    """Return a stream with reasoning and a message, of which every event was changed."""
    events = unfold(response(dialect, REASONING, MESSAGE), dialect=dialect)
    for event in events:
        change(event)
    return to_sse(events, dialect=dialect)


def on(type_: str, field: str, do: Callable[[Json], None], kind: str = "") -> Callable[[Json], None]:
    def change(event: Json) -> None:
        if event["type"] == type_ and (not kind or event[field].get("type") == kind):
            do(event[field])

    return change


@pytest.mark.parametrize("dialect", dialect_names())
@pytest.mark.parametrize(
    ("change", "rule", "place"),
    [
        (
            on("response.output_item.added", "item", lambda item: item.pop("summary"), "reasoning"),
            "ITM-23",
            "/item/summary",
        ),
        (on("response.output_item.added", "item", lambda item: item.pop("id"), "reasoning"), "ITM-23", "/item/id"),
        (on("response.output_item.added", "item", lambda item: item.pop("type"), "reasoning"), "ITM-23", "/item/type"),
        (
            on("response.output_item.done", "item", lambda item: item.pop("summary"), "reasoning"),
            "ITM-24",
            "/item/summary",
        ),
        (on("response.content_part.added", "part", dict.clear), "PRT-15", "/part/type"),
        (on("response.content_part.done", "part", dict.clear), "PRT-15", "/part/type"),
        (on("response.reasoning_summary_part.added", "part", dict.clear), "PRT-15", "/part/type"),
        (on("response.reasoning_summary_part.done", "part", lambda part: part.pop("text")), "PRT-15", "/part/text"),
    ],
)
def test_what_is_inside_of_events(dialect: str, change: Callable[[Json], None], rule: str, place: str) -> None:
    assert found(dialect, stream(dialect, lambda _: None)) == {}
    here = found(dialect, stream(dialect, change))
    assert place in here[rule]


def test_fields_that_come_later() -> None:
    """OpenAI adds a web search without its action."""
    events = unfold(response("openai", SEARCH, MESSAGE), dialect="openai")
    added = next(event for event in events if event["type"] == "response.output_item.added")
    del added["item"]["action"]
    assert "web_search_call.action" in load_dialect("openai").stream["added_may_lack"]
    assert found("openai", to_sse(events, dialect="openai")) == {}
    del added["item"]["id"]
    assert "ITM-23" in found("openai", to_sse(events, dialect="openai"))


def test_fields_of_events_that_are_optional() -> None:
    def obfuscated(event: Json) -> None:
        if event["type"] == "response.output_text.delta":
            event["obfuscation"] = 7

    assert found("northstar", stream("northstar", obfuscated)) == {"EVT-10": ["/obfuscation"]}
