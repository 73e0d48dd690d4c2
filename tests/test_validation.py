"""The validator agrees with the reference implementation and explains itself in places that exist."""

from __future__ import annotations

import copy
import json
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rejoinder.contract import SchemaVariant, dialect_names, load_dialect, load_schema, request_schema
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies import each_choice
from rejoinder.validation import SchemaError, Validator

MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [
        {"type": "output_text", "text": "hi", "annotations": [], "logprobs": []},
        {"type": "refusal", "refusal": "no"},
    ],
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c_1",
    "name": "f",
    "arguments": "{}",
    "status": "completed",
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [MESSAGE, CALL, {"type": "reasoning", "id": "rs_1", "summary": []}],
    "error": None,
    "tools": [],
    "usage": {
        "input_tokens": 1,
        "output_tokens": 1,
        "total_tokens": 2,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    },
}

schemas = {
    "permissive": request_schema(SchemaVariant.PERMISSIVE),
    "closed": request_schema(SchemaVariant.CLOSED),
    "response": load_schema("response"),
    "error": load_schema("error"),
}
validators = {name: (Validator(schema), Draft202012Validator(schema)) for name, schema in schemas.items()}
instances = st.sampled_from([*(case.body for case in each_choice()), *[RESPONSE] * 20, {"error": {"message": "m"}}])

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
    | st.sampled_from(["message", "function_call", "completed", "output_text", "\ud800", 10**400, 1e308]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "id", "text", "\udfff", "/", "~"]), inner, max_size=3)
    ),
    max_leaves=4,
)


def places(value, path=()):
    found = [path]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += places(child, (*path, key))
    return found


@st.composite
def mutants(draw):
    value = copy.deepcopy(draw(instances))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(value)))
        if not path:
            return draw(json_values)
        holder = reduce(lambda node, key: node[key], path[:-1], value)
        if isinstance(holder, dict) and draw(st.booleans()):
            del holder[path[-1]]
        else:
            holder[path[-1]] = draw(json_values)
        if isinstance(holder, dict) and draw(st.booleans()):
            holder[draw(st.sampled_from(["extra", "~/", "\ud800"]))] = draw(json_values)
    return value


def resolve(value, pointer):
    """Return what a JSON pointer names, ``ABSENT`` when only the parent is there; raises when that is not."""
    if not pointer:
        return value
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for part in parents:
        value = value[int(part)] if isinstance(value, list) else value[part]
    if isinstance(value, list):
        return value[int(last)]
    return value.get(last, ABSENT)


def check(name, instance):
    validator, reference = validators[name]
    errors = validator.errors(instance)
    assert (not errors) == validator.is_valid(instance) == reference.is_valid(instance)
    for error in errors:
        there = resolve(instance, error.pointer)
        assert (there is ABSENT) == (error.actual is ABSENT)
        assert "given schemas" not in error.message
        assert error.message
        assert error.branch in {"", *schemas[name].get("$defs", ())}
    assert len({(error.pointer, error.keyword, error.message) for error in errors}) == len(errors)
    return errors


@pytest.mark.parametrize("name", schemas)
@given(instance=mutants())
def test_agrees_and_explains(name, instance):
    check(name, instance)


@pytest.mark.parametrize("name", dialect_names())
def test_the_good_response(name):
    missing = {error.pointer for error in load_dialect(name).response_validator.errors(RESPONSE)}
    assert missing == {f"/{field}" for field in load_dialect(name).response["required"] if field not in RESPONSE}


def changed(path, value):
    body = copy.deepcopy(RESPONSE)
    holder = reduce(lambda node, key: node[key], path[:-1], body)
    if value is ABSENT:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("id",), ABSENT, ("/id", "required field 'id' is missing")),
        (("id",), 7, ("/id", "expected string, got integer")),
        (("object",), "list", ("/object", "expected 'response', got 'list'")),
        (("output",), {}, ("/output", "expected array, got object")),
        (("output", 0, "content", 0, "text"), ABSENT, ("/output/0/content/0/text", "required field 'text' is missing")),
        (("output", 0, "content", 0, "text"), None, ("/output/0/content/0/text", "expected string, got null")),
        (
            ("output", 0, "content", 0, "type"),
            "text",
            ("/output/0/content/0/type", "type 'text' is not one of the known types"),
        ),
        (("output", 0, "content", 0, "type"), ABSENT, ("/output/0/content/0/type", "type is missing")),
        (("output", 0, "content", 0), "hi", ("/output/0/content/0", "expected object, got string")),
        (("usage", "input_tokens"), "1", ("/usage/input_tokens", "expected integer or null, got string")),
    ],
)
def test_the_branch_that_type_names(path, value, expected):
    (error,) = check("response", changed(path, value))
    assert (error.pointer, error.message) == expected


def test_values_that_cannot_be_walked():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    validator = validators["response"][0]
    for value in (changed(("tools",), deep), changed(("usage", "x"), deep), {"deep": deep}, deep):
        errors = validator.errors(value)
        assert all(isinstance(error, SchemaError) for error in errors)


def test_unions_without_a_type():
    validator = Validator(
        {"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}]}
    )
    assert [(e.pointer, e.message) for e in validator.errors("x")] == [("", "expected integer or object, got string")]
    assert [(e.pointer, e.keyword) for e in validator.errors({})] == [("/a", "required")]
    assert [(e.pointer, e.keyword) for e in validator.errors({"a": 1})] == [("/a", "type")]
    assert validator.errors(json.loads("1")) == []
