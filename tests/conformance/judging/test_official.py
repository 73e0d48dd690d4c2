"""The official compliance suite: its requests as they are, and its verdict on the replies."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.assess import CheckResult, assess
from rejoinder.conformance.judging.official import EXPECTATIONS, PLAN, load_suite, measure_suite, suite_of
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.errors import ExitCode, UsageError
from rejoinder.model.exchange import Chunk, Exchange
from rejoinder.model.footer import SuiteResult, SuiteVerdict
from rejoinder.model.tags import Tag
from rejoinder.sandbox import Sandbox

SUITE = load_suite()
SENT = {case.name: case for case in SUITE.cases if case.body is not None}


@pytest.fixture(scope="module")
def exchanges() -> list[Exchange]:
    """Return the exchanges of the plan with a clean sandbox."""
    clock = ManualClock()
    plan = build_plan(PLAN, load_dialect(SUITE.dialect), model="parrot")
    target = sandbox_target(SUITE.dialect)
    return [one for batch in run_in_process(plan, Sandbox(SUITE.dialect, clock=clock), target, clock) for one in batch]


def verdicts(found: SuiteResult) -> dict[str, SuiteVerdict]:
    return {case.case: case.verdict for case in found.cases}


def test_the_suite_has_seventeen_cases_and_says_why_it_sends_nine() -> None:
    assert len(SUITE.cases) == 17
    assert len(SENT) == 9
    for case in SUITE.cases:
        assert (case.body is None) == bool(case.unsent), case.name
        assert case.title, case.name
        assert set(case.expects) <= EXPECTATIONS.keys(), case.name
    assert {name for case in SUITE.cases for name in case.expects} == EXPECTATIONS.keys()


def test_bodies_are_sent_as_they_are(exchanges: list[Exchange]) -> None:
    assert [exchange.case for exchange in exchanges] == [case.id for case in SENT.values()]
    for exchange, case in zip(exchanges, SENT.values(), strict=True):
        body = exchange.request.json()
        assert body == {
            **({"model": "parrot"} if case.model else {}),
            **(case.body or {}),
            **({"stream": True} if case.streamed else {}),
        }
        assert exchange.request.path.partition("/responses")[2] == (f"/{case.path}" if case.path else "")


def test_the_sandbox_passes_every_case_that_is_sent(exchanges: list[Exchange]) -> None:
    found = measure_suite(exchanges)
    assert {case.case: case.reasons for case in found.cases if case.verdict is SuiteVerdict.FAILED} == {}
    assert [name for name, verdict in verdicts(found).items() if verdict is SuiteVerdict.PASSED] == list(SENT)
    assert not found.failed


def test_what_was_not_sent_says_why(exchanges: list[Exchange]) -> None:
    found = {case.case: case for case in measure_suite(exchanges[:1]).cases}
    assert found["websocket-response"].reasons == [
        "The case needs a WebSocket. rejoinder sends requests over HTTP only."
    ]
    assert found["multi-turn"].reasons == ["The run ended before the case."]
    assert {case.verdict for case in found.values()} == {SuiteVerdict.PASSED, SuiteVerdict.NOT_SENT}


def changed(exchange: Exchange, change: Callable[[dict[str, Any]], Any]) -> Exchange:
    """Return an exchange with another JSON body; the change of a stream's is that of each event."""
    if not exchange.request.json().get("stream"):
        body = exchange.json()
        return replace(exchange, chunks=(Chunk(0.0, json.dumps(change(body) or body).encode()),))
    lines = exchange.body.decode().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            lines[number] = f"data: {json.dumps(change(event) or event)}"
    return replace(exchange, chunks=(Chunk(0.0, "\n".join([*lines, ""]).encode()),))


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("basic-response", lambda body: body.update(output=[]), "output has no items."),
        ("basic-response", lambda body: body.update(status="failed"), 'status is "failed", expected "completed".'),
        ("basic-response", lambda body: body.pop("usage") and None, "does not match its schema"),
        ("basic-response", lambda body: body.update(created_at="now"), "does not match its schema"),
        ("tool-calling", lambda body: body["output"][0].update(type="message"), 'no item of type "function_call"'),
        (
            "compact-response",
            lambda body: body.update(object="response"),
            'object is "response", expected',
        ),
        ("compact-response", lambda body: body.update(output=body["output"][:-1]), 'no item of type "compaction"'),
        ("streaming-response", lambda event: event.update(type="response.thought"), "which the specification lacks"),
        ("streaming-response", lambda event: event.pop("sequence_number") and None, "no integer sequence_number"),
        ("streaming-response", lambda event: event.pop("item", None) and None, "does not match its schema"),
        ("streaming-response", lambda event: {"type": "response.created"}, "has no terminal event"),
    ],
)
def test_what_the_suite_does_not_accept_fails(
    exchanges: list[Exchange], name: str, change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    broken = [changed(one, change) if one.case == SENT[name].id else one for one in exchanges]
    found = {case.case: case for case in measure_suite(broken).cases}
    assert found[name].verdict is SuiteVerdict.FAILED
    assert any(reason in text for text in found[name].reasons), found[name].reasons
    assert found[name].exchange.startswith(f"{SENT[name].id}/")
    assert {one for one, case in found.items() if case.verdict is SuiteVerdict.FAILED} == {name}


@pytest.mark.parametrize(("status", "reason"), [(500, "500"), (404, "404")])
def test_another_status_fails(exchanges: list[Exchange], status: int, reason: str) -> None:
    found = {case.case: case for case in measure_suite([replace(one, status=status) for one in exchanges]).cases}
    assert all(found[name].reasons == [f"The endpoint returned status {reason}, expected 200."] for name in SENT
               if SENT[name].statuses == (200,))  # fmt: skip


def test_a_request_that_was_sent_again_counts_once(exchanges: list[Exchange]) -> None:
    lost = replace(exchanges[0], status=None, chunks=()).tagged(Tag.UNJUDGED, Tag.REPEATED)
    assert not measure_suite([*exchanges, lost]).failed


def test_a_failed_case_fails_the_run(exchanges: list[Exchange]) -> None:
    result = CheckResult(exchanges=[changed(exchanges[0], lambda body: body.update(status="queued")), *exchanges[1:]])
    assess(result, SUITE.dialect, select="HTTP-01", plan=PLAN)
    assert result.exit_code is ExitCode.FAILED
    assert result.footer["suite"].failed
    other = CheckResult(exchanges=exchanges)
    assess(other, SUITE.dialect, select="HTTP-01", plan="smoke")
    assert other.footer["suite"] is None


def test_only_the_dialect_of_the_suite_has_the_plan() -> None:
    for name in dialect_names():
        dialect = load_dialect(name)
        if suite_of(dialect) is None:
            with pytest.raises(UsageError, match="official compliance suite") as caught:
                build_plan(PLAN, dialect)
            assert f"--dialect {SUITE.dialect}" in str(caught.value.hint)
    assert suite_of(load_dialect(SUITE.dialect)) == SUITE
