"""What counts as an invalid body that was answered, and what is left out."""

from __future__ import annotations

import json

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.leniency import measure_leniency
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.tags import FaultKind, Tag, fault_of, with_fault, wrong_field
from rejoinder.sandbox import Sandbox

NULL = (Tag.INVALID, with_fault(FaultKind.NULL), wrong_field("input[0].role"))


def sent(
    role: str, status: int | None, *tags: str, case: str = "refused.mutants.x", ended: str = "completed"
) -> Exchange:
    request = Request("POST", "/v1/responses", (), b'{"input": "Hi"}')
    data = json.dumps({"status": ended, "output": []}).encode()
    return Exchange(
        f"{case}/{role}",
        request,
        Outcome.COMPLETE if status else Outcome.TIMEOUT,
        status,
        chunks=(Chunk(0.1, data),) if status else (),
        case=case,
        role=role,
        tags=tags,
    )


def counts(*exchanges: Exchange) -> dict[str, tuple[int, int]]:
    return {result.fault.value: (result.answered, result.sent) for result in measure_leniency(exchanges)}


def test_bodies_are_counted_where_their_control_is_accepted() -> None:
    control = sent("control", 200, Tag.VALID)
    assert counts(control, sent("a", 200, *NULL), sent("b", 400, *NULL)) == {"null": (1, 2)}
    assert counts(sent("control", 400, Tag.VALID), sent("a", 200, *NULL), sent("b", 400, *NULL)) == {}
    assert counts(sent("control", 200, Tag.VALID, ended="failed"), sent("a", 200, *NULL)) == {}


def test_without_a_control_the_simplest_request_decides() -> None:
    basic = sent("after", 200, Tag.VALID, Tag.BASIC, case="other")
    assert counts(basic, sent("a", 422, *NULL, case="edge.x")) == {"null": (0, 1)}
    assert counts(sent("a", 200, *NULL, case="edge.x")) == {}


@pytest.mark.parametrize("status", [None, 401, 429, 500, 503])
def test_what_neither_accepts_nor_refuses_is_left_out(status: int | None) -> None:
    assert counts(sent("control", 200, Tag.VALID), sent("a", status, *NULL)) == {}


def test_a_failed_response_is_no_answer_and_a_large_body_may_be_refused() -> None:
    control = sent("control", 200, Tag.VALID)
    assert counts(control, sent("a", 200, *NULL, ended="failed"), sent("b", 413, *NULL)) == {"null": (0, 2)}


def test_what_was_sent_again_does_not_count() -> None:
    control = sent("control", 200, Tag.VALID)
    assert counts(control, sent("a", 200, *NULL, Tag.UNJUDGED, Tag.RERUN)) == {}


def test_the_first_answer_is_named_with_its_field() -> None:
    [result] = measure_leniency([sent("control", 200), sent("a", 400, *NULL), sent("b", 200, *NULL)])
    assert (result.exchange, result.place) == ("refused.mutants.x/b", "input[0].role")
    [finding] = judge([sent("control", 200), sent("b", 200, *NULL)], "northstar", select="REQ-10")[0].findings
    assert finding.evidence.message == (
        "The endpoint answered an invalid body: null in a field that cannot be null (input[0].role)."
    )
    assert finding.evidence.kind == "null"


def test_every_kind_of_fault_has_a_tag_and_a_label() -> None:
    for kind in FaultKind:
        assert fault_of(("valid", with_fault(kind), "param:input")) is kind
        assert kind.label
    assert fault_of(("fault:nothing", "invalid")) is None


@pytest.mark.slow(4)
@pytest.mark.parametrize("dialect", dialect_names())
def test_the_plan_has_accepted_controls_and_a_lenient_endpoint_shows(dialect: str) -> None:
    plan = build_plan("full", load_dialect(dialect))
    chosen = Plan("invalid", tuple(case for case in plan.cases if case.id.startswith(("refused.", "edge."))))
    target = sandbox_target(dialect, model=None)

    def measured(*freedoms: str) -> dict[FaultKind, tuple[int, int]]:
        clock = ManualClock()
        sandbox = Sandbox(dialect, freedoms=freedoms, clock=clock)
        found = [one for batch in run_in_process(chosen, sandbox, target, clock) for one in batch]
        return {result.fault: (result.answered, result.sent) for result in measure_leniency(found)}

    strict, lenient = measured(), measured("lenient-parser")
    assert set(strict) == set(FaultKind)
    assert sum(sent for _, sent in strict.values()) > 60
    assert {answered for answered, _ in strict.values()} == {0}
    assert sum(answered for answered, _ in lenient.values()) > 25
    assert lenient[FaultKind.JSON][0] == lenient[FaultKind.MEDIA][0] == 0
