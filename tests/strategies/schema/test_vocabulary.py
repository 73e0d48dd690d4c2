"""Every keyword of JSON Schema is honoured or refused: no value is drawn that the schema does not allow."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rejoinder.contract.nodes import Object, parse
from rejoinder.errors import ContractError
from rejoinder.strategies import from_contract
from rejoinder.strategies.sampling import drawn
from rejoinder.strategies.sets.invalid import PermissiveReading

Schema = dict[str, Any]

REFUSED = {
    "patternProperties",
    "prefixItems",
    "contains",
    "minContains",
    "maxContains",
    "oneOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedProperties",
    "unevaluatedItems",
    "dependentSchemas",
    "$dynamicRef",
}
"""Keywords that the contract's schemas cannot have."""

NAMES = st.sampled_from("abc")
LEAVES: list[Schema] = [
    {"type": "string"},
    {"type": "string", "minLength": 1, "maxLength": 3},
    {"type": "string", "pattern": "^[ab]+$"},
    {"type": "integer", "minimum": 1, "maximum": 3},
    {"type": "integer", "minimum": 0, "exclusiveMaximum": 10, "multipleOf": 4},
    {"type": "number", "minimum": 0, "exclusiveMaximum": 2},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["integer", "null"], "maximum": 0},
    {"enum": ["a", "b", 1, True, None]},
    {"const": "a"},
    {},
]
COUNTS = st.integers(0, 3)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Schema]:
    return st.fixed_dictionaries({}, optional=fields)


def schemas(*, whole: bool) -> st.SearchStrategy[Schema]:
    """Schemas of a few levels; with ``whole`` also those with keywords that are refused, and contradictions."""

    def grow(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
        lists = st.lists(inner, min_size=1, max_size=2)
        odd_objects: dict[str, st.SearchStrategy[Any]] = {
            "patternProperties": st.builds(lambda one: {"^a": one}, inner),
            "unevaluatedProperties": st.booleans(),
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentSchemas": st.builds(lambda one: {"a": one}, inner),
            "oneOf": lists,
            "allOf": lists,
            "not": inner,
        }
        odd_arrays: dict[str, st.SearchStrategy[Any]] = {
            "prefixItems": lists,
            "contains": inner,
            "minContains": COUNTS,
            "maxContains": COUNTS,
            "unevaluatedItems": st.booleans(),
        }
        objects = st.builds(
            lambda properties, required, more: {
                "type": "object",
                "properties": properties,
                "required": [name for name in required if name in properties],
                **more,
            },
            st.dictionaries(NAMES, inner, max_size=3),
            st.lists(NAMES, max_size=2, unique=True),
            optional(
                additionalProperties=st.booleans() | inner,
                minProperties=COUNTS,
                maxProperties=COUNTS,
                propertyNames=st.sampled_from(
                    [True, {"pattern": "^[ab]"}, {"maxLength": 2}, {"enum": ["a", "b", "x"]}]
                ),
                dependentRequired=st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
                **(odd_objects if whole else {}),
            ),
        )
        arrays = st.builds(
            lambda more: {"type": "array", **more},
            optional(
                items=inner,
                minItems=COUNTS,
                maxItems=COUNTS,
                uniqueItems=st.booleans(),
                **(odd_arrays if whole else {}),
            ),
        )
        unions = st.builds(lambda branches: {"anyOf": branches}, lists)
        return objects | arrays | unions | (st.builds(lambda one: {"oneOf": one}, lists) if whole else st.nothing())

    return st.recursive(st.sampled_from(LEAVES), grow, max_leaves=5)


def keywords(schema: Any) -> set[str]:
    """Return all keys in a schema, those of names of fields among them."""
    if isinstance(schema, dict):
        return {*schema}.union(*map(keywords, schema.values()))
    return set().union(*map(keywords, schema)) if isinstance(schema, list) else set()


def refusal(schema: Schema) -> ContractError | None:
    """Return the error with which a schema is refused, ``None`` where it is not."""
    try:
        from_contract(schema, file="own.json")
    except ContractError as error:
        return error
    return None


QUIET = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow(8)
@QUIET
@given(schemas(whole=True), st.integers(0, 9))
def test_a_schema_is_honoured_or_refused_with_place_and_keyword(schema: Schema, seed: int) -> None:
    error = refusal(schema)
    if error is not None:
        found = re.fullmatch(r"own\.json: at (/\S*), keyword '(\S+)': .+\.", error.message)
        assert found, error.message
        node: Any = schema
        for step in found[1].split("/")[1:]:
            if step:
                node = node[int(step)] if isinstance(node, list) else node[step]
        assert found[2] in node, error.message
        assert error.hint
        return
    assert not REFUSED & keywords(schema), "a keyword that changes what is valid was passed over"
    accepts = Draft202012Validator(schema).is_valid
    assert [value for value in drawn(from_contract(schema), 5, seed=seed) if not accepts(value)] == []


@pytest.mark.slow(5)
@QUIET
@given(schemas(whole=False), st.integers(0, 9))
def test_neighbours_of_a_value_are_surely_invalid(schema: Schema, seed: int) -> None:
    root = None if refusal(schema) else parse(schema)
    assume(isinstance(root, Object))
    assert isinstance(root, Object)
    oracle = Draft202012Validator(schema)
    reading = PermissiveReading(schema, (), root)
    for value in drawn(from_contract(schema), 2, seed=seed):
        assert oracle.is_valid(value)
        for mutant in reading.mutants(value, "schema"):
            assert not oracle.is_valid(mutant.body), mutant.id
            assert oracle.is_valid(mutant.base)


@pytest.mark.parametrize(
    ("schema", "pointer", "keyword"),
    [
        ({"type": "object", "patternProperties": {"^a": {}}}, "/", "patternProperties"),
        (
            {"type": "object", "properties": {"a": {"type": "array", "prefixItems": [{}]}}},
            "/properties/a",
            "prefixItems",
        ),
        ({"type": "array", "contains": {"type": "string"}}, "/", "contains"),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "/", "oneOf"),
        ({"type": "string", "not": {"const": "a"}}, "/", "not"),
        ({"type": "object", "if": {}, "then": {}}, "/", "if"),
        ({"allOf": [{"type": "string"}]}, "/", "allOf"),
        ({"type": "object", "unevaluatedProperties": False}, "/", "unevaluatedProperties"),
        ({"type": "object", "propertyNames": {"anyOf": [{"const": "a"}]}}, "/propertyNames", "anyOf"),
        ({"type": "object", "propertyNames": {"type": "integer"}}, "/propertyNames", "type"),
        (
            {"type": "object", "properties": {"a": {}}, "required": ["a"], "propertyNames": {"pattern": "^b"}},
            "/",
            "propertyNames",
        ),
        (
            {"type": "object", "properties": {"a": {}}, "additionalProperties": False, "minProperties": 2},
            "/",
            "minProperties",
        ),
        (
            {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"], "maxProperties": 1},
            "/",
            "maxProperties",
        ),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3}, "/", "uniqueItems"),
        ({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 4}, "/", "exclusiveMinimum"),
        ({"type": "integer", "minimum": 5, "maximum": 7, "multipleOf": 4}, "/", "multipleOf"),
        ({"type": "number", "minimum": 5, "exclusiveMaximum": 5}, "/", "minimum"),
        ({"type": "number", "minimum": float("inf")}, "/", "minimum"),
    ],
)
def test_what_no_value_can_have_is_refused(schema: Schema, pointer: str, keyword: str) -> None:
    with pytest.raises(ContractError) as caught:
        from_contract(schema, file="own.json")
    assert caught.value.message.startswith(f"own.json: at {pointer}, keyword {keyword!r}: ")


CYCLE: Schema = {
    "type": "object",
    "properties": {name: {"type": "integer"} for name in "abc"},
    "dependentRequired": {"a": ["b"], "b": ["a"]},
    "maxProperties": 2,
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "schema",
    [
        CYCLE,
        {**CYCLE, "maxProperties": 1},
        {**CYCLE, "minProperties": 2},
        {"type": "object", "properties": {"a": {}}, "minProperties": 3, "maxProperties": 4},
        {"type": "object", "properties": {"a": {}}, "propertyNames": {"enum": ["a", "x", "y"]}, "minProperties": 3},
        {"type": "object", "properties": {"a": {}, "b": {}}, "propertyNames": {"pattern": "^b"}},
        {"type": "object", "propertyNames": {"enum": ["x", "y"]}, "maxProperties": 9},
        {
            "type": "object",
            "propertyNames": True,
            "properties": {"a": {}, "b": {}},
            "dependentRequired": {"a": ["b"]},
            "required": ["a"],
        },
        {"type": "array", "items": {"enum": [1, 2.0, True]}, "uniqueItems": True, "minItems": 3},
        {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 2}, "uniqueItems": True, "minItems": 2},
        {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 2}, "uniqueItems": True, "maxItems": 9},
    ],
)
def test_limits_that_meet_are_kept(schema: Schema) -> None:
    values = drawn(from_contract(schema), 200, seed=1)
    accepts = Draft202012Validator(schema).is_valid
    assert [value for value in values if not accepts(value)] == []
    assert len({repr(value) for value in values}) > 1
