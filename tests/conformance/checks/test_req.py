"""Refused forms of what an endpoint accepts, and what is no business of these rules."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.cases.req import cases
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import Plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Finding
from rejoinder.sandbox import FAULTS, Sandbox

ISOLATED = "null-in-action-refused"
"""A fault that no pair of the plan shows, but one that isolates the refusal after the plan."""
FAMILY = [fault.id for fault in FAULTS.values() if fault.breaks[0].startswith("REQ-0") and fault.id != ISOLATED]


@cache
def run(dialect: str, *faults: str, plan: str = "full") -> tuple[Exchange, ...]:
    clock = ManualClock()
    found = Plan(plan, tuple(cases(CaseContext(load_dialect(dialect), "parrot"), plan)))
    target = sandbox_target(dialect)
    batches = run_in_process(found, Sandbox(dialect, faults, clock=clock), target, clock)
    return tuple(exchange for batch in batches for exchange in batch)


def findings(exchanges: tuple[Exchange, ...], dialect: str, rule: str = "REQ-0*") -> dict[str, list[Finding]]:
    verdicts = judge(list(exchanges), dialect, select=rule)
    assert not [verdict.reason for verdict in verdicts if verdict.status.value == "error"]
    return {verdict.rule: verdict.findings for verdict in verdicts if verdict.findings}


def pair(
    variant: dict[str, Any], *, control: int = 200, status: int = 400, role: str = "absent.message.type"
) -> list[Exchange]:
    def sent(role: str, body: Any, status: int, *tags: str) -> Exchange:
        data = json.dumps({"error": {"message": "Not\nthis \x1b[31mform."}}).encode()
        request = Request("POST", "/v1/responses", (), json.dumps(body).encode())
        return Exchange(
            f"x-{role}",
            request,
            Outcome.COMPLETE,
            status,
            chunks=(Chunk(0.1, data),),
            case="forms.x",
            role=role,
            tags=tags,
        )

    return [
        sent("control", {"input": [{"role": "user", "type": "message"}]}, control),
        sent(role, variant, status, "REQ-01"),
    ]


@pytest.mark.parametrize("dialect", dialect_names())
def test_a_correct_endpoint_breaks_none_and_is_tested_by_all(dialect: str) -> None:
    verdicts = judge(list(run(dialect)), dialect, select="REQ-0*")
    assert {verdict.rule: verdict.judged > 0 for verdict in verdicts} == {f"REQ-0{n}": True for n in range(1, 10)}
    assert not findings(run(dialect), dialect)


@pytest.mark.parametrize("fault", FAMILY)
def test_each_fault_breaks_its_rule_and_no_other(fault: str) -> None:
    dialect = (FAULTS[fault].dialects or ("openresponses",))[0]
    found = findings(run(dialect, fault), dialect)
    assert set(found) == {FAULTS[fault].breaks[0]}
    for finding in found[FAULTS[fault].breaks[0]]:
        message = finding.evidence.message
        assert 'is refused with status 400: "' in message
        assert "is accepted (" in message
        assert finding.evidence.kind


def test_a_feature_refused_as_a_whole_breaks_nothing() -> None:
    exchanges = run("northstar", "images-refused")
    assert not findings(exchanges, "northstar")
    # One request showed it; nothing was made from a request that was refused.
    assert [exchange.role for exchange in exchanges if exchange.case == "forms.image"] == ["control"]


def test_the_problem_names_the_one_thing_and_quotes_the_endpoint() -> None:
    [finding] = findings(tuple(pair({"input": [{"role": "user"}]})), "northstar")["REQ-01"]
    assert finding.evidence.message == (
        'input[0] without type is refused with status 400: "Not this \x1b[31mform.". '
        'The same with type "message" is accepted (x-control).'
    )
    assert (finding.evidence.expected, finding.evidence.actual) == ("2xx status", 400)


def test_null_instead_of_an_absent_field_is_named() -> None:
    variant = {"input": [{"role": "user", "type": "message", "phase": None}]}
    [finding] = findings(tuple(pair(variant, role="null.message.phase")), "northstar")["REQ-01"]
    assert finding.evidence.message.startswith("Null as phase of message is refused with status 400")
    assert finding.evidence.message.endswith("The same without phase is accepted (x-control).")


@pytest.mark.parametrize("variant", [{"input": [{"role": "user"}], "store": True}, {"input": "Hi"}, {"input": []}])
def test_requests_that_differ_in_more_than_the_field_are_no_pair(variant: dict[str, Any]) -> None:
    assert not findings(tuple(pair(variant)), "northstar")


@pytest.mark.parametrize(
    ("control", "status"),
    [(400, 400), (500, 400), (200, 200), (200, 500), (200, 501), (200, 413), (200, 429), (200, 401)],
)
def test_only_a_refusal_beside_an_accepted_control_counts(control: int, status: int) -> None:
    assert not findings(tuple(pair({"input": [{"role": "user"}]}, control=control, status=status)), "northstar")


def test_a_demanded_field_is_found_behind_a_refused_seed() -> None:
    """The plainest call is refused; with all fields it is accepted, and without one of them refused again."""
    exchanges = run("northstar", "computer-output-status-demanded")
    [finding] = findings(exchanges, "northstar")["REQ-01"]
    assert "without status" in finding.evidence.message


MESSAGE: dict[str, Any] = {"type": "message", "role": "user", "content": "Hi."}

SHELL: dict[str, Any] = {
    "type": "local_shell_call",
    "id": "lsc_1",
    "call_id": "call_1",
    "status": "completed",
    "action": {"type": "exec", "command": ["ls"], "env": {}},
}


def isolated(
    rejected: list[Any], accepted: list[Any], *, status: int = 400, control: int = 200
) -> tuple[Exchange, ...]:
    """Return a request of a plan, and the pair that isolates a refusal after it."""

    def sent(role: str, given: list[Any], status: int) -> Exchange:
        answer = {"object": "response", "status": "completed", "output": []}
        return Exchange(
            role,
            Request("POST", "/v1/responses", (), json.dumps({"input": given}).encode()),
            Outcome.COMPLETE,
            status,
            chunks=(Chunk(0.1, json.dumps(answer if status == 200 else {"error": {"message": "No."}}).encode()),),
            case="isolated.1",
            role=role,
            tags=(Tag.VALID, Tag.NARROWED, Tag.UNJUDGED),
        )

    first = replace(sent("plain", [MESSAGE], 200), case="basic", tags=(Tag.VALID,))
    return first, sent("with", rejected, status), sent("without", accepted, control)


@pytest.mark.parametrize(
    ("exchanges", "rule", "kind"),
    [
        (isolated([{**SHELL, "action": {**SHELL["action"], "user": None}}], [SHELL]), "REQ-03", "null.exec.user"),
        (
            isolated([{"role": "user", "content": "Hi."}], [MESSAGE]),
            "REQ-01",
            "absent.input.type",
        ),
        # Two differences, a value that may be a feature, a server error, a refused control, and a whole item.
        (
            isolated([{**SHELL, "action": {"type": "exec", "command": ["ls"], "env": {}, "user": None}}], [MESSAGE]),
            "",
            "",
        ),
        (isolated([{**SHELL, "action": {**SHELL["action"], "user": "root"}}], [SHELL]), "", ""),
        (isolated([{**SHELL, "action": {**SHELL["action"], "user": None}}], [SHELL], status=500), "", ""),
        (isolated([{**SHELL, "action": {**SHELL["action"], "user": None}}], [SHELL], control=400), "", ""),
        (isolated([MESSAGE, SHELL], [MESSAGE]), "", ""),
    ],
)
def test_an_isolated_refusal_of_one_field_breaks_its_rule(
    exchanges: tuple[Exchange, ...], rule: str, kind: str
) -> None:
    found = findings(exchanges, "openai")
    assert {name: [finding.evidence.kind for finding in those] for name, those in found.items()} == (
        {rule: [kind]} if rule else {}
    )


@pytest.mark.parametrize("dialect", dialect_names())
def test_quick_stays_small(dialect: str) -> None:
    cases = [exchange.case.partition(".")[0] for exchange in run(dialect, plan="quick")]
    assert 15 < cases.count("forms") <= 25
    assert len(cases) - cases.count("forms") <= 10
    assert not run(dialect, plan="smoke")


@pytest.mark.parametrize("dialect", dialect_names())
def test_forms_that_only_the_schema_allows_are_disputed(dialect: str) -> None:
    parsed = load_dialect(dialect)
    by_role = {exchange.role: exchange.tags for exchange in run(dialect)}
    for form in parsed.request["disputed_forms"]:
        if form in by_role:
            assert by_role[form] == ("REQ-09",)


def asked(query: str, *, control: int = 200, status: int = 400, answered: tuple[str, ...] = ()) -> list[Exchange]:
    """Return the plainest request for input items, one with a query, and create requests with values of include."""

    def sent(role: str, query: str, status: int, *tags: str) -> Exchange:
        page: dict[str, Any] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        body = page if status == 200 else {"error": {"message": "No."}}
        request = Request("GET", f"/v1/responses/resp_1/input_items?{query}", (), b"")
        chunks = (Chunk(0.1, json.dumps(body).encode()),)
        return Exchange(
            f"x-{role}", request, Outcome.COMPLETE, status, chunks=chunks, case="operations.x", role=role, tags=tags
        )

    creates = [
        Exchange(
            f"create-{value}",
            Request("POST", "/v1/responses", (), json.dumps({"input": "Hi", "include": [value]}).encode()),
            Outcome.COMPLETE,
            200,
            chunks=(Chunk(0.1, json.dumps({"id": "r", "status": "completed"}).encode()),),
            case=value,
            role="plain",
            tags=("valid",),
        )
        for value in answered
    ]
    return [sent("control", "", control), sent("other", query, status, "REQ-11"), *creates]


INCLUDED = "message.output_text.logprobs"


@pytest.mark.parametrize(
    ("exchanges", "fails"),
    [
        (asked("limit=100"), True),
        (asked("limit=100", status=200), False),
        (asked("limit=100", control=404), False),
        (asked("limit=100", status=500), False),
        # An endpoint that refuses the value in create requests lacks the feature.
        (asked(f"include={INCLUDED}"), False),
        (asked(f"include={INCLUDED}", answered=(INCLUDED,)), True),
    ],
)
def test_what_is_documented_is_accepted(exchanges: list[Exchange], fails: bool) -> None:
    assert ("REQ-11" in findings(tuple(exchanges), "openai", "REQ-11")) is fails
