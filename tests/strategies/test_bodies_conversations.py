from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import find, given, settings
from hypothesis.errors import InvalidArgument

from rejoinder.contract import SchemaVariant, request_schema
from rejoinder.strategies import EndpointProfile, conversations

VALIDATOR = jsonschema_rs.Draft202012Validator(request_schema(SchemaVariant.GENERATION))


@settings(deadline=None)
@given(conversations(reasoning=True))
def test_conversations_hold_together(body: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(body)
    tools = {tool["name"]: tool["parameters"] for tool in body.get("tools", ())}
    waiting: set[str] = set()
    used: set[str] = set()
    for item in body["input"]:
        if item["type"] == "function_call":
            assert item["call_id"] not in used
            used.add(item["call_id"])
            waiting.add(item["call_id"])
            assert jsonschema_rs.is_valid(tools[item["name"]], json.loads(item["arguments"]))
        elif item["type"] == "function_call_output":
            waiting.remove(item["call_id"])
        else:
            assert not waiting
    assert not waiting
    assert body["input"][-1].get("role") != "assistant"


@pytest.mark.slow(2)
def test_several_calls_at_once_occur_and_the_smallest_is_one_message() -> None:
    def answered_in_another_order(body: dict[str, Any]) -> bool:
        answers = [item["call_id"] for item in body["input"] if item["type"] == "function_call_output"]
        return answers != sorted(answers)

    assert find(conversations(), answered_in_another_order)
    smallest = find(conversations(profile=EndpointProfile(model="m")), lambda body: True)
    assert smallest == {
        "input": [{"type": "message", "role": "user", "content": ""}],
        "model": "m",
        "max_output_tokens": 16,
    }


def test_no_turn_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        conversations(max_turns=0).validate()
