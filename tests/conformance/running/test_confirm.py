"""Confirming: what fails every time is made small, what fails at times gets its rate, and neither is judged twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from rejoinder.conformance.assess import CheckResult
from rejoinder.conformance.coverage import measure_coverage
from rejoinder.conformance.judgement import judge, judge_run
from rejoinder.conformance.running.case import PlannedCase, RequestSpec
from rejoinder.conformance.running.confirm import CONFIRM_BUDGETS, NO_CONFIRM, ConfirmBudget, confirm
from rejoinder.conformance.running.engine import CheckRun
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.conformance.running.trial import fresh
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Exchange
from rejoinder.model.verdict import Finding, Minimal, Reruns, Verdict
from rejoinder.sandbox import FAULTS
from rejoinder.settings import Budget

DIALECT = load_dialect("northstar")
FULL = build_plan("full", DIALECT, model="parrot")
ALLOWANCE = ConfirmBudget(3, failures=20, warnings=5, reduce=40, total=400)


Confirmed = Callable[..., CheckResult]
Answering = Callable[..., Callable[[httpx.Request], Awaitable[httpx.Response]]]


def cases_of(names: Sequence[str]) -> Plan:
    return Plan("test", tuple(case for case in FULL.cases if case.id in names))


@pytest.fixture
def confirmed(conducted: Callable[..., CheckRun]) -> Confirmed:
    """Return a function that sends some cases of the plan, and then confirms what failed."""

    def run(
        answer: Any,
        cases: Sequence[str],
        *,
        confirm_budget: ConfirmBudget = ALLOWANCE,
        during: Any = None,
        **settings: Any,
    ) -> CheckResult:
        plan = cases_of(cases)

        async def work(sender: CheckRun) -> None:
            result = await sender.run()
            result.verdicts, run_context = judge_run(result.exchanges, DIALECT)

            def judging(exchanges: Sequence[Exchange], rules: str) -> list[Verdict]:
                return judge(exchanges, DIALECT, select=rules, run_context=run_context)

            result.warnings += await confirm(
                sender,
                sender.target,
                DIALECT,
                {case.id: case for case in plan.cases},
                result.verdicts,
                result.exchanges,
                judging,
                confirm_budget,
                on_progress=lambda spent, note: during(sender, spent) if during else None,
            )

        return conducted(answer, work, plan=plan, **settings).result

    return run


def finding_of(result: CheckResult, rule: str) -> Finding:
    return next(finding for verdict in result.verdicts if verdict.rule == rule for finding in verdict.findings)


def minimal_of(result: CheckResult, rule: str) -> tuple[Minimal, Any]:
    minimal = finding_of(result, rule).minimal
    assert minimal is not None
    return minimal, minimal.request.json()


def test_what_fails_every_time_is_reduced(confirmed: Confirmed, answering: Answering) -> None:
    result = confirmed(answering("terminal-missing"), ["stream.long", "tool.required"])
    finding = finding_of(result, "LIF-05")
    assert finding.reruns == Reruns(3, 3)
    minimal, body = minimal_of(result, "LIF-05")
    assert body == {
        "model": "parrot",
        "max_output_tokens": body["max_output_tokens"],
        "input": "Say hello.",
        "stream": True,
    }
    assert minimal.requests == 1
    # The evidence is that of the minimal request, which is recorded.
    shown = next(exchange for exchange in result.exchanges if exchange.id == minimal.exchange)
    assert finding.evidence.exchange == minimal.exchange
    assert shown.request == minimal.request


def test_model_and_limit_stay_and_a_name_goes_when_it_does_not_matter(
    confirmed: Confirmed, answering: Answering
) -> None:
    result = confirmed(answering("usage-missing"), ["request-id"])
    _, body = minimal_of(result, "USG-01")
    assert set(body) == {"model", "max_output_tokens", "input"}


def test_what_fails_at_times_is_told_with_its_rate(confirmed: Confirmed, answering: Answering) -> None:
    result = confirmed(answering("terminal-missing-at-times"), ["basic.input", "stream.long"], concurrency=1)
    finding = finding_of(result, "LIF-05")
    assert finding.reruns == Reruns(3, 1)
    assert finding.minimal is None
    assert "1 of 3" in finding.reruns.words


def test_one_kind_of_tool_is_what_is_left(confirmed: Confirmed, answering: Answering) -> None:
    cases = [
        case.id for case in FULL.cases for r in case.requests if b'"custom"' in json.dumps(r.body, default=str).encode()
    ]
    _, body = minimal_of(confirmed(answering("custom-tool-crashes"), cases), "HTTP-03")
    assert [tool["type"] for tool in body["tools"]] == ["custom"]
    assert body["tool_choice"] == "required"
    assert set(body) == {"model", "max_output_tokens", "input", "tools", "tool_choice"}


def test_what_was_wrong_with_a_request_goes_when_it_does_not_matter(
    answering: Answering, confirmed: Confirmed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {"model": "parrot", "max_output_tokens": 16, "input": "Say hello.", "user": None, "stream": True, "odd": 7}
    case = PlannedCase("odd", "A field that no contract has.", (RequestSpec("stream", bad, ("unknown-field",)),))
    monkeypatch.setattr(f"{__name__}.FULL", Plan("full", (case,)))
    minimal, body = minimal_of(confirmed(answering("terminal-missing"), ["odd"]), "LIF-05")
    assert body == {"model": "parrot", "max_output_tokens": 16, "input": "Say hello.", "stream": True}
    assert minimal.requests == 1


def test_requests_that_lead_there_are_kept(confirmed: Confirmed, answering: Answering) -> None:
    minimal, _ = minimal_of(confirmed(answering("delete-without-effect"), ["state.deleted"]), "STA-03")
    assert (minimal.request.method, minimal.requests) == ("GET", 4)


def test_a_question_that_no_longer_asks_proves_nothing(confirmed: Confirmed, answering: Answering) -> None:
    """Without the word in it, even a correct endpoint could not say it: such a request is no minimal one."""
    result = confirmed(answering("siblings-share-history"), ["basic.input", "probe.word", "state.siblings"])
    minimal, body = minimal_of(result, "STA-09")
    assert minimal.requests == 3
    assert "code word" in body["input"]


def test_what_no_rule_of_one_request_shows_keeps_its_twin(confirmed: Confirmed, answering: Answering) -> None:
    twins = [case.id for case in FULL.cases if [request.role for request in case.requests] == ["plain", "stream"]]
    result = confirmed(answering("input-counted-more-when-streamed"), twins[:12])
    minimal, body = minimal_of(result, FAULTS["input-counted-more-when-streamed"].breaks[0])
    assert minimal.requests == 2
    assert set(body) == {"model", "max_output_tokens", "input", "stream"}


def test_exchanges_beside_the_plan_are_judged_no_second_time(confirmed: Confirmed, answering: Answering) -> None:
    result = confirmed(answering("terminal-missing"), ["stream.long", "tool.required"])
    beside = [exchange for exchange in result.exchanges if {"rerun", "reduced"} & set(exchange.tags)]
    assert sum("rerun" in exchange.tags for exchange in beside) == 3
    assert any("reduced" in exchange.tags for exchange in beside)
    assert all("unjudged" in exchange.tags for exchange in beside)
    planned = [exchange for exchange in result.exchanges if exchange not in beside]
    counts = [(verdict.rule, verdict.judged, verdict.failed) for verdict in result.verdicts]
    for exchanges in (planned, result.exchanges):
        assert [(v.rule, v.judged, v.failed) for v in judge(exchanges, DIALECT)] == counts
        assert measure_coverage(exchanges) == measure_coverage(planned)


def test_the_budget_of_the_run_holds_for_it_too(confirmed: Confirmed, answering: Answering) -> None:
    spent = cases_of(["stream.long"]).requests
    result = confirmed(answering("terminal-missing"), ["stream.long"], budget=Budget(requests=spent + 2), concurrency=1)
    assert len(result.exchanges) == spent + 2
    assert finding_of(result, "LIF-05").reruns == Reruns(2, 2)


def test_the_allowance_is_kept_and_what_is_left_out_is_told(confirmed: Confirmed, answering: Answering) -> None:
    confirm_budget = ConfirmBudget(3, failures=20, warnings=5, reduce=40, total=4)
    result = confirmed(
        answering("terminal-missing", "usage-missing"), ["stream.long", "basic.input"], confirm_budget=confirm_budget
    )
    beside = [exchange for exchange in result.exchanges if "unjudged" in exchange.tags]
    assert len(beside) <= 4
    assert any("not confirmed" in warning for warning in result.warnings)


def test_nothing_is_sent_again_without_an_allowance(confirmed: Confirmed, answering: Answering) -> None:
    result = confirmed(answering("terminal-missing"), ["stream.long"], confirm_budget=NO_CONFIRM)
    assert len(result.exchanges) == 1
    assert finding_of(result, "LIF-05").reruns is None


def test_an_interrupted_confirmation_keeps_the_findings(confirmed: Confirmed, answering: Answering) -> None:
    def during(sender: CheckRun, spent: int) -> None:
        if spent >= 2:
            sender.stop()

    result = confirmed(answering("terminal-missing"), ["stream.long"], during=during, concurrency=1)
    assert result.interrupted
    assert result.exit_code == 130
    assert finding_of(result, "LIF-05").count == 1


def test_a_busy_endpoint_says_nothing_of_a_finding(
    confirmed: Confirmed, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rejoinder.conformance.running.engine.BUSY_RETRIES", 0)
    sandbox = answering("terminal-missing")
    asked = 0

    async def busy(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return await sandbox(request) if asked == 1 else httpx.Response(429, headers={"retry-after": "0"})

    result = confirmed(busy, ["stream.long"])
    assert finding_of(result, "LIF-05").reruns is None
    assert result.warnings == ["1 finding was not confirmed: the budget was spent, or the rerun got no response."]


def test_names_that_requests_give_themselves_are_new_each_time() -> None:
    case = PlannedCase(
        "c",
        "A case.",
        (
            RequestSpec("first", {"input": "", "request_id": "mine"}),
            RequestSpec("get", method="GET", path=("mine",)),
            RequestSpec("other", {"input": ""}),
        ),
    )
    once, again = fresh(case), fresh(case)
    first, get, other = once.requests
    assert isinstance(first.body, dict)
    assert isinstance(get.path, tuple)
    assert first.body["request_id"] == get.path[0] != "mine"
    assert other.body == {"input": ""}
    first_again = again.requests[0].body
    assert isinstance(first_again, dict)
    assert first_again["request_id"] != first.body["request_id"]


def test_allowances_follow_the_options() -> None:
    assert CONFIRM_BUDGETS["smoke"].total == 0
    assert 0 < CONFIRM_BUDGETS["quick"].total < CONFIRM_BUDGETS["full"].total
    assert CONFIRM_BUDGETS["full"].with_reruns(None) == CONFIRM_BUDGETS["full"]
    assert CONFIRM_BUDGETS["full"].with_reruns(0) == NO_CONFIRM
    assert CONFIRM_BUDGETS["smoke"].with_reruns(5) == replace(CONFIRM_BUDGETS["quick"], reruns=5)


def test_two_findings_of_one_root_share_the_work(confirmed: Confirmed, answering: Answering) -> None:
    sent: list[str] = []
    sandbox = answering("arguments-merged")

    async def counted(request: httpx.Request) -> httpx.Response:
        sent.append(request.content.decode())
        await asyncio.sleep(0)
        return await sandbox(request)

    cases = [case.id for case in FULL.cases if case.id.startswith("tool.parallel") or case.id == "tools.parallel"]
    result = confirmed(counted, cases or [case.id for case in FULL.cases if "parallel" in case.id])
    found = [finding for verdict in result.verdicts for finding in verdict.findings]
    assert len(found) > 1
    assert len({finding.minimal.request for finding in found if finding.minimal}) == 1
    # No body is sent more often than to confirm it: three times as it was, twice when smaller.
    beside = [exchange.request.body for exchange in result.exchanges if "reduced" in exchange.tags]
    assert max(beside.count(body) for body in beside) <= 2
