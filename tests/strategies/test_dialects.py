"""Requests in every dialect: valid there, and covering what can be sent there."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rejoinder.contract import SchemaVariant, dialect_names, request_schema
from rejoinder.strategies import Branches, EndpointProfile, each_choice, edge_cases, request_bodies, surely_invalid
from rejoinder.strategies.profile import served
from rejoinder.validation import Validator

#: Call ids and their items are always sent, so that calls and outputs fit together.
PAIRED = ("call_id=null", ".id=absent")

MUTANTS = {"northstar": 1900, "openai": 3900, "openresponses": 480, "vllm": 900}
"""The least number of mutants in each dialect: Open Responses leaves out faults that its documents do not agree on."""

KINDS = {"root", "missing", "null", "type", "value", "extra"} | {
    f"type_{kind}" for kind in ("unknown", "case", "blank", "number", "missing", "null")
}


@pytest.mark.parametrize("dialect", dialect_names())
@pytest.mark.parametrize("pack", ["plain", "variant", "item", "all", 4])
def test_covering_sets_are_undisputed_and_complete(dialect: str, pack: str | int) -> None:
    profile = EndpointProfile(dialect=dialect, model="m")
    sound = Validator(request_schema(SchemaVariant.GENERATION, dialect=dialect))
    cases = each_choice(pack, profile=profile)  # type: ignore[arg-type]
    assert [case.id for case in cases if not sound.is_valid(case.body)] == []
    assert len({case.id for case in cases}) == len(cases)
    if pack != "plain":
        missing = Branches(served(profile)).report(case.body for case in cases).missing
        assert [name for name in missing if not name.endswith(PAIRED)] == []
        assert len(missing) < 5


@pytest.mark.parametrize("dialect", dialect_names())
def test_mutants_are_surely_invalid_in_their_dialect(dialect: str) -> None:
    accepts = Validator(request_schema(SchemaVariant.PERMISSIVE, dialect=dialect)).is_valid
    mutants = surely_invalid(profile=EndpointProfile(dialect=dialect))
    assert len(mutants) >= MUTANTS[dialect]
    assert {mutant.kind for mutant in mutants} >= KINDS
    assert [mutant.id for mutant in mutants if accepts(mutant.body)] == []


@pytest.mark.slow(1)
@pytest.mark.parametrize("dialect", dialect_names())
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_requests_are_undisputed_in_their_dialect(dialect: str, data: st.DataObject) -> None:
    sound = Validator(request_schema(SchemaVariant.GENERATION, dialect=dialect))
    body = data.draw(request_bodies(profile=EndpointProfile(dialect=dialect, model="m")))
    assert sound.errors(body) == []


@pytest.mark.parametrize("dialect", dialect_names())
def test_edge_cases_are_made_for_every_dialect(dialect: str) -> None:
    assert {case.tier for case in edge_cases(profile=EndpointProfile(dialect=dialect), size=1000)} == {
        "valid",
        "edge",
        "raw",
    }
