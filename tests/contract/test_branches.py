from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.contract import SchemaVariant
from rejoinder.contract.nodes import request_nodes
from rejoinder.strategies import Branches, EndpointProfile, request_bodies
from rejoinder.strategies.profile import served


def test_the_number_of_branches_is_that_of_the_contract() -> None:
    """Counted independently of this code when the schema was compared with its source."""
    undisputed, permissive = Branches(), Branches(request_nodes(SchemaVariant.PERMISSIVE))
    assert (len(undisputed.all), len(undisputed.by_definition)) == (828, 741)
    assert (len(permissive.all), len(permissive.by_definition)) == (905, 774)
    assert undisputed.all < permissive.all


@settings(deadline=None)
@given(request_bodies())
@pytest.mark.slow(1)
def test_branches_of_a_body_are_branches_of_the_contract(body: dict[str, Any]) -> None:
    found = Branches().of(body)
    assert found <= Branches().all
    kind = "string" if isinstance(body["input"], str) else "array"
    assert f"input={kind}" in found
    for name in ("store", "temperature"):
        state = "absent" if name not in body else "null" if body[name] is None else "value"
        assert {branch for branch in found if branch.startswith(f"{name}=")} == {f"{name}={state}"}


@given(
    st.sampled_from(
        [
            {},
            [],
            None,
            {"input": 1},
            {"input": [{"type": "message"}]},
            {"input": "", "store": 1},
            {"input": "", "extra": 1},
            {"input": "", "truncation": "sometimes"},
            {"input": "", "metadata": {"a": 1}},
        ]
    )
)
def test_an_invalid_body_takes_no_branch(body: Any) -> None:
    assert Branches().of(body) == frozenset()


def test_a_narrowed_contract_has_fewer_branches_with_the_same_names() -> None:
    profile = EndpointProfile(model="m", unsupported_types=frozenset({"input_image", "input_file", "function"}))
    assert Branches(served(profile)).all < Branches().all


def test_twins_count_together_and_a_report_says_what_is_missing() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}
    report = Branches().report([{"input": [call]}])
    assert "input[array][]=ResponseFunctionToolCall" in report.seen
    assert "input[array][]=ResponseFunctionToolCallParam" in report.seen
    assert "input=string" in report.missing
    assert 0 < report.share < 0.2
