"""Requests for the operations beside create: valid ones are valid, invalid ones are not, and all ends occur."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from rejoinder.contract import dialect_names, load_operations
from rejoinder.strategies import (
    EndpointProfile,
    invalid_operation_cases,
    invalid_operation_requests,
    operation_bodies,
    operation_cases,
    operation_queries,
)
from rejoinder.wire.query import decode_query, encode_query

pytestmark = pytest.mark.slow(2)

OPERATIONS = [(dialect, name) for dialect in dialect_names() for name in load_operations(dialect)]
READING = [(dialect, name) for dialect, name in OPERATIONS if load_operations(dialect)[name].query is not None]


@pytest.mark.parametrize(("dialect", "name"), OPERATIONS)
def test_cases_are_what_they_say(dialect: str, name: str) -> None:
    operation = load_operations(dialect)[name]
    profile = EndpointProfile(dialect=dialect, model="m")
    valid = operation_cases(name, dialect=dialect, profile=profile)
    invalid = invalid_operation_cases(name, dialect=dialect, profile=profile)
    assert len({case.id for case in (*valid, *invalid)}) == len(valid) + len(invalid)
    for case in (*valid, *invalid):
        sent = decode_query(encode_query(case.query), operation.query or {})
        takes = operation.query_validator.is_valid(sent) and operation.body_validator.is_valid(
            {} if operation.body is None else case.body
        )
        assert takes is (case.fault is None), case.id
    assert [case.param for case in valid].index("") == 0
    assert all(case.fault is not None for case in invalid)


def test_every_end_of_a_parameter_is_there() -> None:
    found = {case.name: case.query for case in operation_cases("list_conversation_items", dialect="openai")}
    assert {"limit.1", "limit.100", "order.asc", "order.desc", "include.all"} <= set(found)
    assert found["limit.100"] == {"limit": 100}
    wrong = [case.query for case in invalid_operation_cases("list_conversation_items", dialect="openai")]
    for query in ({"limit": 0}, {"limit": 101}, {"limit": "seven"}, {"order": "no_such_value"}):
        assert query in wrong


@pytest.mark.parametrize(("dialect", "name"), READING)
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_drawn_queries_are_valid(dialect: str, name: str, data: st.DataObject) -> None:
    operation = load_operations(dialect)[name]
    query = data.draw(operation_queries(name, dialect=dialect))
    assert operation.query_validator.is_valid(decode_query(encode_query(query), operation.query or {}))


@pytest.mark.parametrize("name", ["create_conversation", "update_conversation", "input_tokens"])
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_drawn_bodies_are_valid(name: str, data: st.DataObject) -> None:
    body: Any = data.draw(operation_bodies(name, dialect="openai"))
    assert load_operations("openai")[name].body_validator.errors(body) == []


@settings(max_examples=20)
@given(invalid_operation_requests("create_conversation_items", dialect="openai"))
def test_drawn_invalid_requests_have_one_fault(case: Any) -> None:
    assert case.fault is not None
    assert (
        not load_operations("openai")["create_conversation_items"].body_validator.is_valid(case.body)
        or case.query != {}
    )


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"no operation 'input_item'.*input_items"):
        operation_cases("input_item", dialect="openai")
    with pytest.raises(InvalidArgument, match="nothing in it can be invalid"):
        invalid_operation_requests("models", dialect="openai").validate()


def test_a_custom_dialect_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\nbase = "northstar"\n[overlay.operations.add]\n'
        '"/x-operations/jobs" = { method = "GET", path = "/v1/jobs", query = "JobsQuery", reply = "ModelList" }\n'
        '"/$defs/JobsQuery" = { type = "object", properties = { depth = { type = "integer", maximum = 7 } } }\n',
        "utf-8",
    )
    assert [case.query for case in operation_cases("jobs", dialect=path)] == [{}, {"depth": 7}]
    assert {"depth": 8} in [case.query for case in invalid_operation_cases("jobs", dialect=path)]
