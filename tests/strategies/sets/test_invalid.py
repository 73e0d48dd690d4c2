from __future__ import annotations

import copy
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from rejoinder.contract import SchemaVariant, request_schema
from rejoinder.strategies import EndpointProfile, each_choice, request_bodies
from rejoinder.strategies.sets.invalid import KINDS, Mutant, candidates, classify, invalid_requests, surely_invalid

PERMISSIVE = request_schema(SchemaVariant.PERMISSIVE)
VALIDATOR = jsonschema_rs.Draft202012Validator(PERMISSIVE)


LIMITED = Path(__file__).parent.parent / "limits.toml"
"""A dialect with every keyword that limits values."""

LIMITS = {
    "below",
    "above",
    "step",
    "short",
    "long",
    "pattern",
    "few",
    "many",
    "repeated",
    "few_fields",
    "many_fields",
    "name",
    "alone",
}
"""Kinds that break a limit; the default dialect has none."""


@cache
def mutants() -> tuple[Mutant, ...]:
    return tuple(surely_invalid())


def test_every_mutant_is_invalid_and_every_kind_occurs() -> None:
    assert [mutant.id for mutant in mutants() if VALIDATOR.is_valid(mutant.body)] == []
    assert set(Counter(mutant.kind for mutant in mutants())) == set(KINDS) - LIMITS


def test_the_reference_validator_agrees() -> None:
    slow = Draft202012Validator(PERMISSIVE)
    assert [mutant.id for mutant in mutants()[::40] if slow.is_valid(mutant.body)] == []


def test_there_are_as_many_distinct_faults_as_promised_with_ids_of_their_own() -> None:
    assert len(mutants()) >= 1700
    assert len({(mutant.kind, mutant.variant, mutant.location) for mutant in mutants()}) == len(mutants())
    ids = [mutant.id for mutant in mutants()]
    assert len(set(ids)) == len(ids)
    assert all(id_.isascii() and " " not in id_ for id_ in ids)


def _look(body: Any, pointer: str) -> tuple[Any, str]:
    """Return what holds the place that a pointer names, and its last part."""
    parts = pointer.split("/")[1:]
    for part in parts[:-1]:
        body = body[int(part)] if isinstance(body, list) else body[part]
    return body, parts[-1]


def test_the_pointer_leads_to_the_fault() -> None:
    for mutant in mutants():
        if mutant.kind == "root":
            assert mutant.pointer == mutant.param == ""
            continue
        holder, key = _look(mutant.body, mutant.pointer)
        there = int(key) < len(holder) if isinstance(holder, list) else key in holder
        assert there is (mutant.kind not in ("missing", "type_missing")), mutant.id


def test_param_is_written_like_a_path() -> None:
    params = {mutant.id: mutant.param for mutant in mutants()}
    assert params["invalid.type_unknown.computer_call.action.click.type"] == "input[1].action.type"
    assert params["invalid.missing.request.input"] == "input"


@settings(max_examples=40, deadline=None)
@given(request_bodies())
def test_a_mutant_differs_in_one_place_and_the_body_stays_as_it_was(body: dict[str, Any]) -> None:
    before = json.dumps(body)
    for number, mutant in enumerate(classify(body)):
        assert json.dumps(body) == before
        assert not VALIDATOR.is_valid(mutant.body)
        if number > 60:
            break
        if mutant.kind == "root":
            continue
        holder, key = _look(mutant.body, mutant.pointer)
        original, _ = _look(copy.deepcopy(body), mutant.pointer)
        if isinstance(original, list):
            holder[int(key)] = original[int(key)]
        elif key in original:
            holder[key] = original[key]
        else:
            del holder[key]
        assert mutant.body == body


def test_the_fast_count_says_the_same() -> None:
    body = next(case.body for case in each_choice("item") if case.id == "item.function_call")
    judged = list(candidates(body))
    below = [mutant for mutant in classify(body) if mutant.kind != "root"]
    assert sum(judged) == len(below) < len(judged)


def test_contested_places_are_left_alone() -> None:
    """No source makes these invalid, so refusing them cannot be demanded."""
    ids = {mutant.id for mutant in mutants()}
    contested = request_schema(SchemaVariant.PERMISSIVE)["properties"]
    for name, schema in contested.items():
        if schema.get("x-null") == "contested":
            assert f"invalid.null.request.{name}" not in ids
    assert "invalid.type_missing.message.type" not in ids
    assert "invalid.missing.image_generation_call.result" not in ids
    assert not any(mutant.kind == "extra" and mutant.location == "/no_such_value" for mutant in mutants())


@pytest.mark.parametrize("field", ["model", "max_output_tokens"])
def test_a_profile_shows_in_mutants(field: str) -> None:
    profile = EndpointProfile(model="m", max_output_tokens=1)
    for mutant in surely_invalid(profile=profile):
        if isinstance(mutant.body, dict) and field not in mutant.param:
            assert field in mutant.body


@given(invalid_requests())
def test_the_strategy_draws_mutants(mutant: Mutant) -> None:
    assert mutant in mutants()


def test_every_limit_of_a_schema_is_broken_by_a_mutant_that_names_it() -> None:
    accepts = jsonschema_rs.Draft202012Validator(
        request_schema(SchemaVariant.PERMISSIVE, dialect=LIMITED), validate_formats=True
    ).is_valid
    found = surely_invalid(dialect=LIMITED)
    assert [mutant.id for mutant in found if accepts(mutant.body)] == []
    assert [mutant.id for mutant in found if not accepts(mutant.base)] == []
    assert {mutant.kind for mutant in found} == set(KINDS)
    reasons = {mutant.id.removeprefix("invalid."): mutant.reason for mutant in found}
    assert reasons["few.request.numbers"] == "numbers has too few elements (minItems)."
    assert reasons["step.request.numbers.*"] == "numbers[0] is not a multiple of the step (multipleOf)."
    assert reasons["above.request.share"] == "share is above the largest value (maximum)."
    assert reasons["pattern.request.code"] == "code does not match the pattern (pattern)."
    assert reasons["name.request.labels"] == "labels has a name that is not allowed (propertyNames)."
    assert reasons["alone.request.window.from"] == (
        "window.from is missing beside the field that requires it (dependentRequired)."
    )


def test_a_limit_is_missed_by_one_step() -> None:
    found = {mutant.id.removeprefix("invalid."): mutant.body for mutant in surely_invalid(dialect=LIMITED)}
    assert found["below.request.numbers.*"]["numbers"][0] == 9
    assert found["above.request.numbers.*"]["numbers"][0] == 41
    assert found["below.request.share"]["share"] == 0
    assert len(found["long.request.code"]["code"]) == 6
    assert len(found["short.request.code"]["code"]) == 2
    assert len(found["many.request.numbers"]["numbers"]) == 5
    assert len(found["many_fields.request.labels"]["labels"]) == 4
    assert found["few_fields.request.labels"]["labels"] == {}
