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
from rejoinder.conformance.running.confirm import CONFIRM_BUDGETS, NO_CONFIRM, ConfirmBudget, add_scripts, confirm
from rejoinder.conformance.running.engine import CheckRun
from rejoinder.conformance.running.in_process import dry_run
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.conformance.running.script import cases_of as cases_of_steps
from rejoinder.conformance.running.script import needed_steps
from rejoinder.conformance.running.trial import fresh
from rejoinder.contract import SchemaVariant, load_dialect
from rejoinder.model.exchange import Exchange
from rejoinder.model.script import Taken
from rejoinder.model.verdict import Finding, Minimal, Reruns, Verdict
from rejoinder.sandbox import FAULTS
from rejoinder.settings import Budget
from rejoinder.validation import Validator

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
    result = confirmed(answering("total-tokens-wrong"), ["request-id"])
    _, body = minimal_of(result, "USG-02")
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
        answering("terminal-missing", "total-tokens-wrong"),
        ["stream.long", "basic.input"],
        confirm_budget=confirm_budget,
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
    monkeypatch.setattr("rejoinder.conformance.running.engine.PATIENT_RETRIES", 0)
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


def test_each_search_has_its_own_requests_and_all_share_what_they_find(
    confirmed: Confirmed, answering: Answering
) -> None:
    """What other searches send at the same time takes nothing from the requests of one."""
    cases = ["tool.required", "content.parts", "content.json-schema", "content.parallel-calls", "packed.18.00"]
    budget = replace(ALLOWANCE, reduce=24, total=1000)
    result = confirmed(answering("total-tokens-wrong", "terminal-missing"), cases, confirm_budget=budget)
    found = [f for v in result.verdicts for f in v.findings if f.reruns and f.reruns.deterministic]
    assert {finding.rule for finding in found} == {"LIF-05", "USG-02"}
    for finding in found:
        assert finding.minimal is not None
        assert len(finding.minimal.request.body) < 100, finding.minimal.request.body


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


def test_both_bodies_of_a_comparison_are_reduced(confirmed: Confirmed, answering: Answering) -> None:
    minimal, _ = minimal_of(confirmed(answering("counting-disagrees"), ["echo.fields"]), "USG-11")
    create, count = (step.request.json() for step in minimal.steps)
    assert create == {**count, "max_output_tokens": 16}
    assert count == {"model": "parrot", "input": "Say hello."}


def test_what_the_plan_makes_with_functions_is_reduced_too(confirmed: Confirmed, answering: Answering) -> None:
    minimal, _ = minimal_of(confirmed(answering("truncation-reported-as-completed"), ["cut.story"]), "RSP-08")
    whole, cut = (step.request.json() for step in minimal.steps)
    assert {**whole, "max_output_tokens": 16} == cut
    assert set(cut) == {"model", "input", "max_output_tokens", "temperature"}
    assert isinstance(cut["input"], str)


def test_a_sequence_is_data_whose_later_requests_take_values_of_earlier_replies(
    confirmed: Confirmed, answering: Answering
) -> None:
    minimal, _ = minimal_of(confirmed(answering("delete-without-effect"), ["state.deleted"]), "STA-03")
    first, *others = minimal.steps
    assert not first.taken
    assert {taken for step in others for taken in step.taken} == {Taken(0, "/id", text=others[0].taken[0].text)}
    assert [step.line for step in others][-1] == "GET /v1/responses/{reply 1 /id}"
    # What the plan made with functions is data that can be sent again.
    case, *rest = cases_of_steps(minimal.steps, "/v1/responses")
    assert not rest
    sent = dry_run([case], "northstar", "parrot")[0]
    assert [exchange.status for exchange in sent] == [200] * (len(sent) - 1) + [404]
    assert {exchange.request.path.split("/")[3] for exchange in sent[1:]} == {sent[0].json()["id"]}


def one_case(monkeypatch: pytest.MonkeyPatch, *requests: RequestSpec) -> None:
    case = PlannedCase("odd", "A case of its own.", requests)
    monkeypatch.setattr(f"{__name__}.FULL", Plan("full", (case,)))


def lenient(answer: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> Any:
    """Return an endpoint that takes any model and any id of an item."""

    async def answered(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        body["model"] = "parrot"
        for item in body["input"] if isinstance(body["input"], list) else ():
            item.pop("id", None)
        content = json.dumps(body).encode()
        return await answer(httpx.Request(request.method, request.url, headers=request.headers, content=content))

    return answered


@pytest.mark.parametrize(
    "odd",
    [
        {"model": 7},
        {"input": [{"type": "message", "id": 7, "role": "user", "content": "Say hello."}]},
    ],
    ids=["model", "id of an item"],
)
def test_a_fault_of_the_request_goes_when_it_does_not_matter(
    confirmed: Confirmed, answering: Answering, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    body = {"model": "parrot", "max_output_tokens": 16, "input": "Say hello.", "stream": True, **odd}
    one_case(monkeypatch, RequestSpec("stream", body, ("invalid",)))
    minimal, body = minimal_of(confirmed(lenient(answering("terminal-missing")), ["odd"]), "LIF-05")
    assert body == {"model": "parrot", "max_output_tokens": 16, "input": "Say hello.", "stream": True}
    assert minimal.fault == ""


def test_a_fault_of_the_request_that_matters_is_named(
    confirmed: Confirmed, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": "parrot", "max_output_tokens": 16, "input": "Say hello.", "temperature": "hot", "user": "me"}
    one_case(monkeypatch, RequestSpec("plain", body, ("invalid", "param:temperature")))
    sandbox = answering()

    async def crashing(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content).get("temperature") == "hot":
            return httpx.Response(500, json={"error": {"message": "oops", "type": "server_error"}})
        return await sandbox(request)

    minimal, body = minimal_of(confirmed(crashing, ["odd"]), "ERR-05")
    assert set(body) == {"model", "max_output_tokens", "input", "temperature"}
    assert minimal.fault.startswith("The request is invalid on purpose: expected number")
    assert "/temperature" in minimal.fault


@pytest.mark.parametrize(
    "odd",
    [
        {"input": 7},
        {"input": [{"role": "nobody", "content": "Say hello."}]},
        {"input": [{"type": "message", "role": "user"}]},
        {"tools": [{"type": "function", "name": 7}, {"type": "no_such_tool"}]},
    ],
    ids=["input", "role", "content", "two faults"],
)
def test_what_only_an_invalid_request_shows_has_no_minimal_request(
    confirmed: Confirmed, answering: Answering, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    """The endpoint answers this body, without an end of its stream. The rule has nothing to do with refusals."""
    body = {"model": "parrot", "max_output_tokens": 16, "input": "Say hello.", "stream": True, "user": "me"}
    one_case(monkeypatch, RequestSpec("stream", {**body, **odd}, ("invalid",)))
    broken, sound = answering("terminal-missing"), answering()
    valid = Validator(load_dialect("northstar").request_schema(SchemaVariant.GENERATION)).is_valid

    async def lenient_in_part(request: httpx.Request) -> httpx.Response:
        if valid(json.loads(request.content)):
            return await sound(request)
        content = json.dumps(body).encode()
        return await broken(httpx.Request(request.method, request.url, headers=request.headers, content=content))

    finding = finding_of(confirmed(lenient_in_part, ["odd"]), "LIF-05")
    assert finding.minimal is not None
    assert not finding.minimal.reduced
    assert finding.minimal.fault.startswith("The request is invalid on purpose: ")


def test_a_refusal_that_is_judged_keeps_one_fault(
    confirmed: Confirmed, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint breaks on the role. Without its content the message would have a second fault."""
    item = {"role": "nobody", "content": "Say hello.", "type": "message"}
    body = {"model": "parrot", "max_output_tokens": 16, "input": [item], "user": "me"}
    one_case(monkeypatch, RequestSpec("plain", body, ("invalid",)))
    sandbox = answering()

    async def crashing(request: httpx.Request) -> httpx.Response:
        if b"nobody" in request.content:
            return httpx.Response(500, json={"error": {"message": "oops", "type": "server_error"}})
        return await sandbox(request)

    minimal, body = minimal_of(confirmed(crashing, ["odd"]), "ERR-05")
    assert minimal.reduced
    assert body["input"][0].keys() - {"type"} == {"role", "content"}
    assert set(body) == {"model", "max_output_tokens", "input"}


@pytest.mark.slow(10)
def test_a_large_body_becomes_small(
    confirmed: Confirmed, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = " ".join(f"word{number}" for number in range(3500))
    body = {"model": "parrot", "max_output_tokens": 16, "input": f"{words} poison {words}", "stream": True}
    nested = b'{"model":"parrot","input":' + b"[" * 3000 + b"]" * 3000 + b"}"
    one_case(monkeypatch, RequestSpec("stream", body), RequestSpec("nested", nested, ("edge",)))
    sandbox = answering()

    async def crashing(request: httpx.Request) -> httpx.Response:
        if b"poison" in request.content or request.content.count(b"[") > 500:
            return httpx.Response(500, json={"error": {"message": "oops", "type": "server_error"}})
        return await sandbox(request)

    result = confirmed(crashing, ["odd"], confirm_budget=replace(ALLOWANCE, reduce=80))
    texts = [f.minimal.request.body for v in result.verdicts for f in v.findings if f.minimal]
    assert texts
    assert all(len(text) < 1200 for text in texts), [(len(text), text[:90], text.count(b"[")) for text in texts]
    assert any(b"poison" in text for text in texts) or any(500 < text.count(b"[") < 520 for text in texts)


@pytest.mark.parametrize("status", [400, 404, 500, 502])
def test_a_rerun_that_broke_for_another_reason_is_none_that_passed(
    confirmed: Confirmed, answering: Answering, status: int
) -> None:
    """The endpoint takes the request at first, and refuses it from then on."""
    sandbox = answering("terminal-missing")
    asked = 0

    async def changing(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        error = {"error": {"message": "no", "type": "t", "code": "c", "param": None}}
        return await sandbox(request) if asked == 1 else httpx.Response(status, json=error)

    finding = finding_of(confirmed(changing, ["stream.long"]), "LIF-05")
    assert finding.reruns == Reruns(0, 0, 3)
    assert finding.reruns.words == "not confirmed: 3 reruns ended in another way"
    assert not finding.reruns.random
    assert finding.minimal is None


def test_every_second_request_that_fails_for_another_reason_does_not_make_it_random(
    confirmed: Confirmed, answering: Answering
) -> None:
    sandbox = answering("terminal-missing")
    asked = 0

    async def shaky(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return await sandbox(request) if asked % 2 else httpx.Response(500, json={"error": {"message": "no"}})

    finding = finding_of(confirmed(shaky, ["stream.long"], concurrency=1), "LIF-05")
    assert finding.reruns == Reruns(1, 1, 2)
    assert finding.reruns.deterministic


def test_a_defect_that_is_gone_in_the_rerun_did_not_fail(confirmed: Confirmed, answering: Answering) -> None:
    """A response that is deleted at last is no other way: the rule demands that it is not there."""
    broken, mended = answering("delete-without-effect"), answering()
    asked = 0

    async def mending(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return await (broken if asked <= cases_of_plan else mended)(request)

    cases_of_plan = cases_of(["state.deleted"]).requests
    finding = finding_of(confirmed(mending, ["state.deleted"], concurrency=1), "STA-03")
    assert finding.reruns == Reruns(3, 0)
    assert finding.reruns.random


def test_two_cases_that_show_a_finding_together_are_both_sent(confirmed: Confirmed, answering: Answering) -> None:
    result = confirmed(answering("response-id-constant"), ["basic.input", "stream.long"])
    found = [f for v in result.verdicts if v.rule == "RSP-02" for f in v.findings if f.minimal]
    assert found
    for finding in found:
        assert finding.reruns == Reruns(3, 3)
        assert finding.minimal is not None
        assert len(finding.minimal.steps) == finding.minimal.requests == 2


@pytest.mark.slow(4)
def test_related_requests_of_two_cases_are_both_sent(confirmed: Confirmed, answering: Answering) -> None:
    finding = finding_of(confirmed(answering("last-tool-marked"), ["forms.tool", "related.calls"]), "REL-07")
    assert finding.reruns == Reruns(3, 3)
    assert finding.minimal is not None
    assert len(finding.minimal.steps) == finding.minimal.requests >= 2


def test_a_name_that_is_taken_is_renamed_in_all_places(confirmed: Confirmed, answering: Answering) -> None:
    cases = ["parameters.request-id-taken"]
    finding = finding_of(confirmed(answering("taken-request-id-overwrites"), cases), "PAR-01")
    assert finding.reruns == Reruns(3, 3)
    assert finding.minimal is not None
    *_, second = [step for step in finding.minimal.steps if step.request.method == "POST"]
    assert Taken(0, "/id", "/request_id") in second.taken
    assert finding.minimal.fault.startswith("The request is invalid on purpose: a correct endpoint refuses it")


def test_what_makes_replies_the_same_stays_where_they_are_compared(
    confirmed: Confirmed, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": "parrot", "max_output_tokens": 16, "input": "Say hello.", "temperature": 0, "top_p": 0.5}
    one_case(monkeypatch, RequestSpec("plain", body), RequestSpec("stream", {**body, "stream": True}))
    result = confirmed(answering("input-counted-more-when-streamed"), ["odd"])
    minimal, _ = minimal_of(result, FAULTS["input-counted-more-when-streamed"].breaks[0])
    for step in minimal.steps:
        assert step.request.json()["temperature"] == 0
        assert "top_p" not in step.request.json()


def test_what_is_not_minimised_has_the_requests_of_its_case(confirmed: Confirmed, answering: Answering) -> None:
    faults = ("delete-without-effect", "usage-missing")
    result = confirmed(answering(*faults), ["state.deleted"], confirm_budget=NO_CONFIRM)
    add_scripts(result.verdicts, {case.id: case for case in cases_of(["state.deleted"]).cases}, result.exchanges)
    # A rule that compares replies needs the whole case.
    minimal = finding_of(result, "STA-03").minimal
    assert minimal is not None
    assert not minimal.reduced
    assert minimal.title == "requests of the case"
    assert [step.exchange for step in minimal.steps] == [exchange.id for exchange in result.exchanges]
    # For a rule on one response, the request is enough.
    assert finding_of(result, "USG-01").minimal is None
    # What takes values needs what they come from.
    last = minimal.steps[-1]
    assert [step.role for step in needed_steps(minimal.steps, last.exchange)] == ["first", last.role]
    assert needed_steps(minimal.steps, "unknown") == ()


def test_what_the_run_has_answered_is_not_sent_again(confirmed: Confirmed, answering: Answering) -> None:
    """The smallest recorded case that shows a finding is where its reduction starts."""
    result = confirmed(answering("terminal-missing"), ["basic.stream", "packed.18.00", "tool.required"])
    finding = finding_of(result, "LIF-05")
    reruns = {exchange.case for exchange in result.exchanges if "rerun" in exchange.tags}
    assert reruns == {"basic.stream"}
    assert finding.minimal is not None
    assert sum("reduced" in exchange.tags for exchange in result.exchanges) <= 5
