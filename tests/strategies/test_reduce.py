from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from rejoinder.contract import SchemaVariant, request_schema
from rejoinder.strategies import each_choice, request_bodies
from rejoinder.strategies.reduce import minimise, minimise_bytes

VALIDATOR = jsonschema_rs.Draft202012Validator(request_schema(SchemaVariant.GENERATION))


def _items(body: dict[str, Any], type_: str) -> list[dict[str, Any]]:
    return [item for item in body["input"] if isinstance(item, dict) and item.get("type") == type_]


def file_in_tool_output(body: dict[str, Any]) -> bool:
    outputs = [item["output"] for item in _items(body, "function_call_output")]
    return any(isinstance(parts, list) and any(part["type"] == "input_file" for part in parts) for parts in outputs)


def long_arguments(body: dict[str, Any]) -> bool:
    return any(len(item["arguments"]) > 5 and item.get("status") for item in _items(body, "function_call"))


def drag(body: dict[str, Any]) -> bool:
    return any(item["action"]["type"] == "drag" for item in _items(body, "computer_call"))


def two_fields(body: dict[str, Any]) -> bool:
    return body.get("temperature") is not None and bool((body.get("text") or {}).get("verbosity"))


SMALLEST: dict[Callable[[dict[str, Any]], bool], int] = {
    file_in_tool_output: 125,
    long_arguments: 160,
    drag: 190,
    two_fields: 75,
}


@pytest.mark.parametrize("fails", SMALLEST, ids=lambda fails: fails.__name__)
def test_a_packed_body_becomes_small_within_the_budget(fails: Callable[[dict[str, Any]], bool]) -> None:
    tried = 0
    for case in [*each_choice("all"), *each_choice(16)]:
        body = {**case.body, "temperature": 1, "text": {"verbosity": "low", "format": {"type": "json_object"}}}
        if not fails(body):
            continue
        tried += 1
        before = json.dumps(body)
        reduction = minimise(body, fails)
        assert json.dumps(body) == before
        assert reduction.calls <= 50
        assert fails(reduction.body)
        assert VALIDATOR.is_valid(reduction.body)
        assert len(json.dumps(reduction.body)) <= SMALLEST[fails], json.dumps(reduction.body)
    assert tried


@settings(max_examples=40, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.filter_too_much])
@given(request_bodies())
def test_a_reduced_body_still_fails_and_keeps_only_what_matters(body: dict[str, Any]) -> None:
    keys = sorted(set(body) - {"input"})
    assume(keys)
    sent: list[str] = []

    def fails(candidate: Any) -> bool:
        sent.append(json.dumps(candidate, sort_keys=True))
        return keys[-1] in candidate

    reduction = minimise(body, fails)
    assert len(sent) == len(set(sent)) == reduction.calls <= 50
    assert keys[-1] in reduction.body
    assert VALIDATOR.is_valid(reduction.body)
    assert set(reduction.body) == {"input", keys[-1]}


@pytest.mark.parametrize("budget", [0, 1, 5])
def test_the_budget_is_kept(budget: int) -> None:
    body = each_choice("all")[0].body
    reduction = minimise(body, lambda candidate: False, budget=budget)
    assert reduction.body == body
    assert reduction.calls == budget
    assert reduction.exhausted


def test_an_invalid_body_may_stay_invalid() -> None:
    reduction = minimise({"input": 7, "store": "yes", "user": "me"}, lambda body: body.get("store") == "yes")
    assert reduction.body["store"] == "yes"
    assert "user" not in reduction.body


def test_a_strict_schema_stays_whole_and_a_loose_one_does_not() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

    def body(*, strict: bool) -> dict[str, Any]:
        shape = {"type": "json_schema", "name": "person", "strict": strict, "schema": schema}
        return {"input": "Who?", "text": {"format": shape}}

    def fails(candidate: dict[str, Any]) -> bool:
        shape = (candidate.get("text") or {}).get("format") or {}
        return shape.get("type") == "json_schema" and "strict" in shape

    assert minimise(body(strict=True), fails).body["text"]["format"]["schema"] == schema
    assert minimise(body(strict=False), fails).body["text"]["format"]["schema"] == {}


def test_no_list_becomes_empty_where_another_is() -> None:
    body = {"input": [{"type": "message", "role": "user", "content": []}]}
    assert minimise(body, lambda candidate: "input" in candidate).body["input"] != []


def test_no_member_is_left_that_does_not_matter() -> None:
    data = b'{"model":"m","input":"Say hello.","temperature":NaN}'
    reduction = minimise_bytes(data, lambda some: some[:2] == b'{"' and some.endswith(b'"temperature":NaN}'))
    assert reduction.body == b'{"temperature":NaN}'
