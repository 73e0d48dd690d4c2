"""What a run shows of its endpoint and its model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rejoinder.conformance.capabilities import abilities
from rejoinder.conformance.cases import ASKS_REPEAT
from rejoinder.conformance.view import View
from rejoinder.contract import load_dialect
from rejoinder.exchange import Chunk, Exchange, Outcome, Request

WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
SHAPED = {"text": {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": SCHEMA}}}
REPEAT = {"input": "The code word is quartz-1234. Answer with it."}
REQUIRED = {"tools": [WEATHER], "tool_choice": "required"}
REFUSED = {"error": {"message": "Not supported.", "type": "invalid_request", "param": None, "code": None}}


def message(text: str, kind: str = "output_text") -> dict[str, Any]:
    field = "refusal" if kind == "refusal" else "text"
    return {"type": "message", "id": "m", "role": "assistant", "content": [{"type": kind, field: text}]}


def exchange(
    request: dict[str, Any], *output: dict[str, Any], status: int = 200, tags: tuple[str, ...] = (), id: str = "x"
) -> Exchange:
    response = {"id": "r", "object": "response", "status": "completed", "output": output}
    return Exchange(
        id=id,
        request=Request("POST", "/v1/responses", (), json.dumps({"input": "Hi", **request}).encode()),
        outcome=Outcome.COMPLETE,
        status=status,
        headers=(("content-type", "application/json"),),
        chunks=(Chunk(0.0, json.dumps(response if status == 200 else REFUSED).encode()),),
        case="c",
        role="plain",
        tags=tags,
    )


def view(*args: Any, **fields: Any) -> View:
    return View(exchange(*args, **fields), load_dialect("northstar"))


@pytest.mark.parametrize(
    ("name", "seen", "shown"),
    [
        ("repeats", view(REPEAT, message("It is quartz-1234.")), True),
        ("repeats", view(REPEAT, message("It is quartz-4321."), tags=(ASKS_REPEAT,)), False),
        ("repeats", view(REPEAT, message("I must not.", "refusal"), tags=(ASKS_REPEAT,)), None),
        # A miss where the word was not the whole question says nothing.
        ("repeats", view(REPEAT, message("Rain.")), None),
        ("repeats", view(REPEAT, status=400, tags=(ASKS_REPEAT,)), None),
        ("repeats", view({}, message("It is quartz-1234.")), None),
        ("calls", view({"tools": [WEATHER]}, CALL), True),
        ("calls", view({"tools": [WEATHER]}, message("Rain.")), None),
        ("calls", view(REQUIRED, message("Rain.")), False),
        ("calls", view(REQUIRED, status=400), None),
        ("follows_schema", view(SHAPED, message('{"a": 1}')), True),
        ("follows_schema", view(SHAPED, message("One.")), False),
        ("follows_schema", view({}, message('{"a": 1}')), None),
    ],
)
def test_an_ability_is_shown_by_an_exchange(name: str, seen: View, shown: bool | None) -> None:
    assert getattr(abilities([seen]), name) is shown
    assert (name in abilities([seen]).evidence) is (shown is not None)


@pytest.mark.parametrize("shown_first", [True, False])
def test_one_exchange_that_shows_an_ability_is_enough(shown_first: bool) -> None:
    views = [view(REQUIRED, CALL, id="yes"), view(REQUIRED, message("Rain."), id="no")]
    found = abilities(views if shown_first else views[::-1])
    assert found.calls is True
    assert found.evidence["calls"] == "yes"


def test_nothing_is_known_of_a_run_without_exchanges() -> None:
    found = abilities([])
    assert (found.repeats, found.calls, found.follows_schema) == (None, None, None)
