"""Schemas mean the same in the contract's vocabulary, or accept more and say so."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract._vocabulary import check
from rejoinder.contract.openapi.document import Document
from rejoinder.contract.openapi.translate import Loss, Translator

NAMES = ("a", "b", "type")
WORDS = ("x", "y", "longer")
scalars = st.sampled_from([*WORDS, 0, 1, 2, 1.5, True, None])
instances = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "other"]), inner, max_size=3),
    max_leaves=6,
)


def bounds(**limits: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=limits)


low, high = st.integers(0, 1), st.integers(1, 3)
leaves = st.one_of(
    st.builds(lambda more: {"type": "string", **more}, bounds(minLength=low, maxLength=high, pattern=st.just("^x"))),
    st.builds(lambda kind, more: {"type": kind, **more}, st.sampled_from(["integer", "number"]),
              bounds(minimum=low, maximum=high)),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}, {}, True]),
    st.lists(scalars, min_size=1, max_size=3, unique_by=repr).map(lambda values: {"enum": values}),
    scalars.map(lambda value: {"const": value}),
    st.sampled_from(["R", "S"]).map(lambda name: {"$ref": f"#/components/schemas/{name}"}),
)  # fmt: skip


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda fields, required, more: {
            "type": "object",
            "properties": fields,
            "required": [name for name in required if name in fields],
            **more,
        },
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        st.lists(st.sampled_from(NAMES), unique=True),
        bounds(additionalProperties=st.booleans() | inner),
    )


schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        objects(inner),
        st.builds(
            lambda items, more: {"type": "array", "items": items, **more}, inner, bounds(minItems=low, maxItems=high)
        ),
        st.builds(
            lambda keyword, branches, more: {keyword: branches, **more},
            st.sampled_from(["anyOf", "oneOf", "allOf"]),
            st.lists(inner, min_size=1, max_size=3),
            st.sampled_from([{}, {}, {"type": "object", "required": ["a"]}, {"type": ["object", "string"]}]),
        ),
    ),
    max_leaves=6,
)
components = st.fixed_dictionaries({"R": objects(leaves), "S": schemas})


def translated(schema: Any, parts: dict[str, Any]) -> tuple[dict[str, Any], set[Loss]]:
    root = {"openapi": "3.1.0", "paths": {}, "components": {"schemas": parts}}
    losses: set[Loss] = set()
    translator = Translator(Document("api.json", root), losses)
    found = translator.schema(schema, "/x")
    return {**found, "$defs": translator.used(found)}, losses


def acyclic(schema: Any) -> bool:
    """Return whether a schema has no reference; what R and S refer to could lead back to them."""
    return "$ref" not in str(schema)


@pytest.mark.slow(4)
@given(schema=schemas, parts=components, values=st.lists(instances, min_size=1, max_size=8))
def test_a_translation_accepts_what_the_schema_accepts(schema: Any, parts: dict[str, Any], values: list[Any]) -> None:
    """Without a loss the two accept the same values; with one the translation accepts more, never less."""
    parts = {name: part if acyclic(part) else {"type": "string"} for name, part in parts.items()}
    found, losses = translated(schema, parts)
    check(found, "translated")
    original = {"$ref": "#/x", "x": schema, "components": {"schemas": parts}} if isinstance(schema, dict) else schema
    before = jsonschema_rs.Draft202012Validator(original)
    after = jsonschema_rs.Draft202012Validator(found)
    for value in values:
        if losses:
            assert before.is_valid(value) <= after.is_valid(value), (value, losses)
        else:
            assert before.is_valid(value) == after.is_valid(value), value


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "enum": ["a"]}, {"const": "a"}),
        ({"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"enum": ["a", "b", None]}, {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}),
        ({"anyOf": [{"type": "null"}]}, {"type": "null"}),
        ({"allOf": [{"type": "string"}, {"maxLength": 3}]}, {"type": "string", "maxLength": 3}),
        ({"allOf": [{"$ref": "#/components/schemas/R"}, {}]}, {"$ref": "#/$defs/R"}),
        ({"oneOf": [{"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"type": "null"}]},
         {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}),
        ({"type": "object", "properties": {}, "required": []}, {"type": "object"}),
        ({"type": "integer", "minimum": 1.0}, {"type": "integer", "minimum": 1}),
        ({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 16},
         {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 16}),
        ({"type": "array", "uniqueItems": True}, {"type": "array", "uniqueItems": True}),
        ({"type": "object", "propertyNames": {"maxLength": 3}, "minProperties": 1},
         {"type": "object", "propertyNames": {"type": "string", "maxLength": 3}, "minProperties": 1}),
        ({"type": "object", "dependentRequired": {"a": ["b"]}},
         {"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}}),
        ({"title": "T", "description": "D", "default": 1, "example": 1, "type": "integer"}, {"type": "integer"}),
    ],
)  # fmt: skip
def test_the_form_of_a_translation(schema: Any, expected: Any) -> None:
    found, losses = translated(schema, {"R": {"type": "object", "properties": {"a": {"type": "string"}}}})
    del found["$defs"]
    assert (found, losses) == (expected, set())


@pytest.mark.parametrize(
    ("schema", "expected", "keyword"),
    [
        ({"type": "string", "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, "nullable"),
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}, "type"),
        ({"type": "array", "contains": {}}, {"type": "array"}, "contains"),
        ({"type": "string", "pattern": "\\p{L}"}, {"type": "string"}, "pattern"),
        ({"type": "integer", "format": "int64"}, {"type": "integer"}, "format"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]},
         {"anyOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"enum": [{"a": 1}]}, {}, "enum"),
        ({"type": "object", "patternProperties": {"^x": {}}}, {"type": "object"}, "patternProperties"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, {}, "x"),
    ],
)  # fmt: skip
def test_what_is_not_carried_over(schema: Any, expected: Any, keyword: str) -> None:
    found, losses = translated(schema, {})
    del found["$defs"]
    assert (found, [loss.keyword for loss in losses]) == (expected, [keyword])


def test_a_discriminator_gives_types_to_alternatives_without_one() -> None:
    bare = {"type": "object", "properties": {"text": {"type": "string"}}}
    parts = {"A": bare, "B": {"type": "object", "properties": {"text": {"type": "integer"}}}}
    union = {
        "oneOf": [{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/B"}],
        "discriminator": {"propertyName": "type", "mapping": {"a": "#/components/schemas/A", "b": "B"}},
    }
    found, losses = translated(union, parts)
    assert not losses
    validator = jsonschema_rs.Draft202012Validator(found)
    assert validator.is_valid({"type": "a", "text": "x"})
    assert not validator.is_valid({"type": "b", "text": "x"})
    assert not validator.is_valid({"text": "x"})


def test_two_definitions_of_one_name_are_kept_apart() -> None:
    parts = {"R": {"type": "object", "properties": {"a": {"type": "object", "properties": {"R": {"type": "string"}}}}}}
    pair = {
        "type": "object",
        "properties": {
            "one": {"$ref": "#/components/schemas/R"},
            "two": {"$ref": "#/components/schemas/R/properties/a/properties/R"},
        },
    }
    found, _ = translated(pair, parts)
    assert found["properties"] == {"one": {"$ref": "#/$defs/R"}, "two": {"$ref": "#/$defs/R_2"}}
    assert found["$defs"]["R_2"] == {"type": "string"}
