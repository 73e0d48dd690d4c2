from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from rejoinder.contract import SchemaVariant, request_schema
from rejoinder.errors import ContractError
from rejoinder.strategies import from_contract

LEAVES: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": "string", "pattern": "^[a-f]+$"},
    {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$", "minLength": 1, "maxLength": 64},
    {"type": "string", "pattern": "^[^@]{2,3}$"},
    {"type": "string", "pattern": "a.?b$"},
    {"type": "string", "maxLength": 10_485_760},
    {"type": "string", "format": "date"},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 6},
    {"type": "integer", "minimum": 2, "multipleOf": 3},
    {"type": "integer"},
    {"type": "integer", "minimum": 3},
    {"type": "integer", "maximum": -3},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "number", "exclusiveMinimum": 0},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["string", "null"]},
    {"type": ["integer", "string"], "minimum": 1, "minLength": 1},
    {"const": "fixed"},
    {"const": None},
    {"enum": ["a", "b", 3, None, True]},
    {"type": "object"},
    {"type": "object", "maxProperties": 2, "minProperties": 1, "additionalProperties": {"type": "string"}},
    {"type": "object", "propertyNames": {"pattern": "^k[0-9]$"}, "additionalProperties": {"type": "integer"}},
    {
        "type": "object",
        "properties": {name: {"type": "integer"} for name in "abcd"},
        "dependentRequired": {"a": ["b"], "b": ["c"]},
        "minProperties": 1,
        "maxProperties": 3,
        "additionalProperties": False,
    },
    {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 4}, "uniqueItems": True, "minItems": 2},
    {"type": "array", "items": {"type": "boolean"}, "maxItems": 128},
    {},
]


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of the supported part, nested a little."""
    names = st.sampled_from("abc")

    def grow(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        objects = st.builds(
            lambda properties, required, extra: {
                "type": "object",
                "properties": properties,
                "required": sorted(set(required) & set(properties)),
                "additionalProperties": extra,
            },
            st.dictionaries(names, inner, max_size=3),
            st.lists(names, max_size=3),
            st.sampled_from([False, True]) | inner,
        )
        arrays = st.builds(
            lambda items, smallest, more: {
                "type": "array",
                "items": items,
                "minItems": smallest,
                "maxItems": smallest + more,
            },
            inner,
            st.integers(0, 2),
            st.integers(0, 2),
        )
        unions = st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=3))
        references = inner.map(lambda target: {"$ref": "#/$defs/x", "$defs": {"x": target}})
        return objects | arrays | unions | references.filter(lambda schema: "$ref" not in json.dumps(schema["$defs"]))

    # A reference is only resolvable from the root of a document, so it is not nested any deeper.
    tree = st.recursive(st.sampled_from(LEAVES), grow, max_leaves=6)
    return tree.filter(lambda schema: "$defs" in schema or "$ref" not in json.dumps(schema))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(schemas(), st.data())
def test_values_are_valid_under_their_schema(schema: dict[str, Any], data: st.DataObject) -> None:
    value = data.draw(from_contract(schema))
    assert jsonschema_rs.Draft202012Validator(schema, validate_formats=True).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "pointer", "keyword"),
    [
        ({"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}]}}}, "/properties/a", "oneOf"),
        ({"type": "object", "patternProperties": {}}, "/", "patternProperties"),
        ({"type": "array", "prefixItems": []}, "/", "prefixItems"),
        ({"anyOf": [{"type": "string"}], "type": "string"}, "/", "type"),
        ({"$ref": "#/$defs/missing"}, "/", "$ref"),
        ({"$ref": "other.json#/a"}, "/", "$ref"),
        ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}, "/$defs/a/anyOf/0", "$ref"),
        (
            {
                "$defs": {
                    "a": {"type": "object", "required": ["b"], "properties": {"b": {"$ref": "#/$defs/a"}}},
                },
                "$ref": "#/$defs/a",
            },
            "/$defs/a",
            "$ref",
        ),
        ({"type": "array", "items": False}, "/items", "items"),
        ({"type": "array", "uniqueItems": "yes"}, "/", "uniqueItems"),
        ({"type": "object", "minProperties": 2, "maxProperties": 1}, "/", "minProperties"),
        ({"type": "object", "propertyNames": {"type": "string", "minimum": 1}}, "/propertyNames", "minimum"),
        ({"type": "object", "properties": {"a": {}}, "dependentRequired": {"a": ["b"]}}, "/", "dependentRequired"),
        ({"type": "object", "required": ["a"], "properties": {}}, "/", "required"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 2}, "/", "minItems"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "/", "minimum"),
        ({"type": "string", "pattern": "("}, "/", "pattern"),
        ({"type": "string", "minimum": 3}, "/", "minimum"),
        ({"type": "string", "const": 3}, "/", "const"),
        ({"type": "string", "enum": ["a", None]}, "/", "enum"),
        ({"enum": []}, "/", "enum"),
        ({"enum": [{}]}, "/", "enum"),
        ({"anyOf": []}, "/", "anyOf"),
        ({"type": []}, "/", "type"),
        ({"type": "text"}, "/", "type"),
        ({"type": "object", "properties": {"a~/b": False}}, "/properties/a~0~1b", "a~/b"),
        ({"minimum": 1}, "/", "minimum"),
    ],
)
def test_what_is_not_honoured_is_refused_by_place_and_keyword(
    schema: dict[str, Any], pointer: str, keyword: str
) -> None:
    with pytest.raises(ContractError) as caught:
        from_contract(schema, file="overlay.json")
    assert str(caught.value).startswith(f"overlay.json: at {pointer}, keyword {keyword!r}: ")
    assert caught.value.hint


def test_annotations_are_allowed_anywhere() -> None:
    schema = {"$schema": "x", "title": "t", "x-null": "contested", "type": "string", "description": "d", "examples": []}
    assert find(from_contract(schema), lambda _: True) == ""


FOLDER: dict[str, Any] = {
    "$defs": {
        "entry": {"anyOf": [{"$ref": "#/$defs/file"}, {"$ref": "#/$defs/folder"}]},
        "file": {"type": "string", "minLength": 1},
        "folder": {
            "type": "object",
            "properties": {"entries": {"type": "array", "items": {"$ref": "#/$defs/entry"}}},
            "required": ["entries"],
            "additionalProperties": False,
        },
    },
    "$ref": "#/$defs/folder",
}


def _depth(folder: Any) -> int:
    return 0 if isinstance(folder, str) else 1 + max(map(_depth, folder["entries"]), default=0)


@given(from_contract(FOLDER))
def test_definitions_that_contain_themselves_have_finite_values(folder: dict[str, Any]) -> None:
    assert jsonschema_rs.Draft202012Validator(FOLDER).is_valid(folder)
    assert _depth(folder) <= 3


def test_values_of_recursive_definitions_are_nested() -> None:
    found = find(from_contract(FOLDER), lambda folder: _depth(folder) == 3)
    assert found == {"entries": [{"entries": [{"entries": []}]}]}


def _items(body: dict[str, Any], type_: str) -> list[dict[str, Any]]:
    given_ = body["input"]
    return [item for item in given_ if item.get("type") == type_] if isinstance(given_, list) else []


def _file_in_tool_output(body: dict[str, Any]) -> bool:
    outputs = [item["output"] for item in _items(body, "function_call_output")]
    return any(isinstance(parts, list) and any(part["type"] == "input_file" for part in parts) for parts in outputs)


def _long_arguments(body: dict[str, Any]) -> bool:
    return any(len(item["arguments"]) > 5 and item.get("status") for item in _items(body, "function_call"))


def _field_of_a_part(body: dict[str, Any]) -> bool:
    contents = [item["content"] for item in _items(body, "message")]
    return any(
        isinstance(parts, list) and any(part["type"] == "input_image" and part.get("file_id") for part in parts)
        for parts in contents
    )


def _left_drag(body: dict[str, Any]) -> bool:
    actions = [item["action"] for item in _items(body, "computer_call")]
    paths = [action["path"] for action in actions if action["type"] == "drag"]
    return any(len(path) >= 2 and any(point["x"] < -10 for point in path) for path in paths)


def _two_fields(body: dict[str, Any]) -> bool:
    return body.get("temperature") is not None and bool((body.get("text") or {}).get("verbosity"))


MINIMAL: list[tuple[Any, dict[str, Any]]] = [
    (
        _file_in_tool_output,
        {"input": [{"type": "function_call_output", "call_id": "", "output": [{"type": "input_file"}]}]},
    ),
    (
        _long_arguments,
        {
            "input": [
                {"type": "function_call", "arguments": "000000", "call_id": "", "name": "", "status": "in_progress"}
            ]
        },
    ),
    (
        _field_of_a_part,
        {
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_image", "detail": "low", "file_id": "0"}],
                }
            ]
        },
    ),
    (
        _left_drag,
        {
            "input": [
                {
                    "type": "computer_call",
                    "id": "",
                    "call_id": "",
                    "pending_safety_checks": [],
                    "status": "in_progress",
                    "action": {"type": "drag", "path": [{"x": 0, "y": 0}, {"x": -11, "y": 0}]},
                }
            ]
        },
    ),
    (_two_fields, {"input": "", "temperature": 0, "text": {"verbosity": "low"}}),
]


@pytest.mark.slow(4)
@pytest.mark.parametrize(("fails", "smallest"), MINIMAL, ids=lambda value: getattr(value, "__name__", "").strip("_"))
def test_counterexamples_shrink_to_the_smallest_body(fails: Any, smallest: dict[str, Any]) -> None:
    found = find(
        from_contract(request_schema(SchemaVariant.GENERATION)),
        fails,
        settings=settings(
            max_examples=20_000, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        ),
    )
    assert found == smallest


@pytest.mark.parametrize("step", [1, 3])
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_integers_keep_bounds_that_no_float_can_name(step: int, data: st.DataObject) -> None:
    low, high = -(2**63), 2**63 - 1
    value = data.draw(from_contract({"type": "integer", "minimum": low, "maximum": high, "multipleOf": step}))
    assert low <= value <= high
    assert value % step == 0
