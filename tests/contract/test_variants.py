"""The three variants of the request schema lie inside one another."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rejoinder.contract import SchemaVariant, load_schema, request_schema
from rejoinder.strategies import each_choice
from rejoinder.validation import Validator

VALIDATORS = {variant: Validator(request_schema(variant)) for variant in SchemaVariant}
BODIES = [case.body for case in each_choice()]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[Any]:
    """Return the paths of all values inside a JSON value."""
    found = [path]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += places(child, (*path, key))
    return found


@st.composite
def mutants(draw: st.DrawFn) -> Any:
    """Bodies with a few values replaced, removed or added."""
    body = copy.deepcopy(draw(st.sampled_from(BODIES)))
    for _ in range(draw(st.integers(0, 3))):
        *parents, last = draw(st.sampled_from(places(body)[1:] or [("",)]))
        holder: Any = body
        for key in parents:
            holder = holder[key]
        match draw(st.sampled_from(["replace", "remove", "null", "add"])):
            case "replace":
                holder[last] = draw(json_values)
            case "null":
                holder[last] = None
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=5))] = draw(json_values)
            case _:
                holder.pop(last, None) if isinstance(holder, dict) else holder.pop(last)
    return body


@given(mutants())
def test_generation_lies_in_closed_and_closed_in_permissive(body: dict[str, Any]) -> None:
    generation, closed, permissive = (
        VALIDATORS[variant].is_valid(body)
        for variant in (SchemaVariant.GENERATION, SchemaVariant.CLOSED, SchemaVariant.PERMISSIVE)
    )
    assert generation <= closed <= permissive


@pytest.mark.parametrize("body", BODIES, ids=[case.id for case in each_choice()])
def test_the_covering_set_is_undisputed(body: dict[str, Any]) -> None:
    assert VALIDATORS[SchemaVariant.GENERATION].errors(body) == []


def test_what_tells_the_variants_apart() -> None:
    extra = {"input": "x", "surely_no_field": 1}
    assert [VALIDATORS[variant].is_valid(extra) for variant in SchemaVariant] == [True, False, False]
    contested = {"input": "x", "enable_response_messages": None}
    assert [VALIDATORS[variant].is_valid(contested) for variant in SchemaVariant] == [True, True, False]
    (error,) = VALIDATORS[SchemaVariant.CLOSED].errors(extra)
    assert (error.pointer, error.actual) == ("/surely_no_field", 1)


@pytest.mark.parametrize("variant", SchemaVariant)
def test_variants_are_valid_schemas_and_fresh_copies(variant: SchemaVariant) -> None:
    schema = request_schema(variant)
    Draft202012Validator.check_schema(schema)
    schema["properties"].clear()
    assert request_schema(variant)["properties"]


@pytest.mark.parametrize("name", ["request", "response", "events", "error"])
def test_every_reference_leads_somewhere(name: str) -> None:
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    for path in places(schema):
        if path and path[-1] == "$ref":
            node: Any = schema
            for key in path:
                node = node[key]
            assert node.startswith("#/$defs/")
            assert node.removeprefix("#/$defs/") in schema["$defs"]


def test_contested_nulls_can_be_taken_out() -> None:
    schema = load_schema("request")
    for path in places(schema):
        if path and path[-1] == "x-null":
            node: Any = schema
            for key in path[:-1]:
                node = node[key]
            assert node["x-null"] == "contested"
            assert {"type": "null"} in node["anyOf"]
            assert len(node["anyOf"]) > 1
