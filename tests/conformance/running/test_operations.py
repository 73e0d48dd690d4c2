"""Cases of the operations beside create: made from the dialect's schemas, and nothing is left at the endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.cases import handwritten_cases
from rejoinder.conformance.running.in_process import ManualClock, run_in_process
from rejoinder.conformance.running.operations import generated_cases
from rejoinder.conformance.running.plan import Plan
from rejoinder.contract import dialect_names, load_dialect, requested_operation
from rejoinder.model.exchange import Exchange
from rejoinder.model.tags import Tag
from rejoinder.sandbox import Sandbox
from rejoinder.wire.target import Target


def sent(plan: Plan, dialect: str) -> list[Exchange]:
    target = Target("http://sandbox/v1/responses", "parrot", dialect=dialect, form=load_dialect(dialect).usual_form)
    clock = ManualClock()
    return [one for batch in run_in_process(plan, Sandbox(dialect, clock=clock), target, clock) for one in batch]


@pytest.mark.slow(3)
def test_every_conversation_of_a_run_is_deleted() -> None:
    dialect = load_dialect("openai")
    cases = handwritten_cases(CaseContext(dialect, "parrot"), "full")
    talks = tuple(case for case in cases if any(spec.collection == "conversations" for spec in case.requests))
    made, deleted = set(), set()
    for exchange in sent(Plan("talks", talks), "openai"):
        request = exchange.request
        requested = requested_operation(dialect.operations.values(), request.method, request.path)
        if requested is None or not exchange.ok:
            continue
        if requested.operation.name == "create_conversation":
            made.add(exchange.json()["id"])
        elif requested.operation.name == "delete_conversation":
            deleted.add(requested.ids["conversation_id"])
    assert len(made) > 10
    assert made == deleted


@pytest.mark.slow(3)
@pytest.mark.parametrize("dialect", dialect_names())
def test_generated_requests_are_answered_as_they_should_be(dialect: str) -> None:
    cases = tuple(generated_cases(CaseContext(load_dialect(dialect), "parrot"), "full"))
    known = load_dialect(dialect).operations
    assert {case.id for case in cases} == {f"operations.{name}" for name in known if _takes_something(dialect, name)}
    exchanges = sent(Plan("operations", cases), dialect)
    served = {exchange.case for exchange in exchanges if exchange.role == Role.CONTROL and exchange.ok}
    for exchange in exchanges:
        if exchange.case in served:
            refused = Tag.INVALID in exchange.tags
            assert (400 <= (exchange.status or 0) < 500) is refused, exchange.id
    assert served == {case.id for case in cases}


def _takes_something(dialect: str, name: str) -> bool:
    operation = load_dialect(dialect).operations[name]
    # The parameters of the default dialect's retrieve concern streams only.
    return (
        operation.body is not None
        or set((operation.query or {}).get("properties", ()))
        - {
            *("stream", "starting_after", "include_obfuscation"),
        }
        != set()
    )


def test_the_quick_plan_sends_a_few() -> None:
    [case] = generated_cases(CaseContext(load_dialect("openai"), "parrot"), "quick")
    assert len(case.requests) < 12
    assert list(generated_cases(CaseContext(load_dialect("northstar"), "parrot"), "quick")) == []


def test_an_operation_with_ids_that_nothing_makes_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\nbase = "northstar"\n[overlay.operations.add]\n'
        '"/x-operations/job" = { method = "GET", path = "/v1/jobs/{job}", query = "JobQuery", reply = "ModelList" }\n'
        '"/x-operations/jobs" = { method = "GET", path = "/v1/jobs", query = "JobQuery", reply = "ModelList" }\n'
        '"/$defs/JobQuery" = { type = "object", properties = { depth = { type = "integer", maximum = 7 } } }\n',
        "utf-8",
    )
    cases = generated_cases(CaseContext(load_dialect(path), "parrot"), "full")
    assert [case.id for case in cases] == ["operations.jobs"]
