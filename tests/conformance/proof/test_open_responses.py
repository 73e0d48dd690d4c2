"""A server that enforces the Open Responses document: what rejoinder sends it is valid, and it gets no finding."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest
from tests import open_responses

from rejoinder.conformance.judgement import judge, judge_run
from rejoinder.conformance.judging.capabilities import capabilities
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.proof.minimal import SandboxSender
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.confirm import ConfirmBudget, confirm
from rejoinder.conformance.running.fuzz import random_cases
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.contract import load_dialect
from rejoinder.load.generator.request_source import RequestSource
from rejoinder.load.settings import LoadSettings
from rejoinder.load.workload.profiles import shipped_profiles
from rejoinder.model.exchange import Exchange, parse_json
from rejoinder.model.footer import Acceptance
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Status, Verdict
from rejoinder.sandbox import Freedom, RequestInfo, Sandbox, post
from rejoinder.sandbox.endpoint.reply import ApiError
from rejoinder.sandbox.endpoint.request_parsing import param_of
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import ANNOTATION, as_if, each, every_item, in_response, only, set_to

DIALECT: Final = "openresponses"
FUZZED: Final = 150
"""Random cases that are sent."""


def strict_sandbox(clock: ManualClock) -> Sandbox:
    """Return a sandbox that refuses what the document refuses, with its error ``invalid_request``.

    The document lets a response have no schema of its text format but null.
    """

    def parsed(body: dict[str, Any], _: RequestInfo) -> dict[str, Any]:
        errors = open_responses.validator("CreateResponseBody").errors(body)
        if errors:
            raise ApiError(400, f"{errors[0].located}.", param=param_of(errors[0].pointer), code="invalid_value")
        return body

    sandbox = Sandbox(DIALECT, clock=clock, freedoms=["text-format-schema-null"])
    strict = Freedom(id="strict-document", title="Only what the document allows.", argument="It.", parsed=parsed)
    sandbox.variations = (*sandbox.variations, strict)
    return sandbox


def sent(plan: Plan, model: str | None) -> list[Exchange]:
    """Return the exchanges of a plan with the strict sandbox."""
    clock = ManualClock()
    target = sandbox_target(DIALECT, model=model)
    return [one for batch in run_in_process(plan, strict_sandbox(clock), target, clock) for one in batch]


@pytest.fixture(scope="module", params=["parrot", "parrot-reasoning"])
def full(request: pytest.FixtureRequest) -> list[Exchange]:
    """Return the exchanges of the plan ``full``, with a model that reasons and with one that does not."""
    return sent(build_plan("full", load_dialect(DIALECT), model=request.param), request.param)


def refused(exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Yield what the document refuses in bodies that are tagged as valid."""
    for view in (ExchangeView(one, load_dialect(DIALECT)) for one in exchanges):
        if view.is_create and Tag.VALID in view.exchange.tags:
            for error in open_responses.validator("CreateResponseBody").errors(view.request)[:1]:
                yield f"{view.exchange.id}: {error.located}"


def test_the_strict_server_refuses_what_the_document_refuses() -> None:
    sandbox = strict_sandbox(ManualClock())
    message = {"type": "message", "role": "user", "content": "Hello."}
    good: list[dict[str, Any]] = [
        {"input": "Hi"},
        {"input": [message], "stream": True},
        {"input": [message], "top_p": 1},
    ]
    bad: list[dict[str, Any]] = [
        {"input": [{"role": "user", "content": "Hello."}]},
        {"input": "Hi", "store": None},
        {"input": "Hi", "max_output_tokens": 1},
        {"input": [{"type": "reasoning", "summary": [], "content": []}, message]},
    ]
    assert [sandbox.exchange(post(body)).status for body in good] == [200] * len(good)
    replies = [sandbox.exchange(post(body)) for body in bad]
    assert [reply.status for reply in replies] == [400] * len(bad)
    assert [reply.json()["error"]["type"] for reply in replies] == ["invalid_request"] * len(bad)


@pytest.mark.slow(8)
def test_every_valid_body_of_the_largest_plan_is_valid_by_the_document(full: list[Exchange]) -> None:
    assert sum(Tag.VALID in exchange.tags for exchange in full) > 300
    assert list(refused(full)) == []


@pytest.mark.parametrize("name", ["smoke", "quick", "official"])
def test_every_valid_body_of_a_plan_is_valid_by_the_document(name: str) -> None:
    exchanges = sent(build_plan(name, load_dialect(DIALECT), model="parrot"), "parrot")
    assert exchanges
    assert list(refused(exchanges)) == []


@pytest.mark.slow(3)
def test_random_bodies_are_valid_by_the_document() -> None:
    cases = random_cases(CaseContext(load_dialect(DIALECT), "parrot"), 0)
    some = tuple(next(cases) for _ in range(FUZZED))
    assert list(refused(sent(Plan("fuzz", some), "parrot"))) == []


@pytest.mark.slow(5)
@pytest.mark.parametrize("fault", ["usage-details-missing", "sequence-numbers-are-strings"])
def test_bodies_that_confirm_and_minimise_a_finding_are_valid_by_the_document(fault: str) -> None:
    dialect, clock = load_dialect(DIALECT), ManualClock()
    plan, target = build_plan("smoke", dialect, model="parrot"), sandbox_target(DIALECT)
    sandbox = Sandbox(DIALECT, (fault,), clock=clock)
    exchanges = [one for batch in run_in_process(plan, sandbox, target, clock) for one in batch]
    verdicts, context = judge_run(exchanges, dialect)

    def judging(some: Sequence[Exchange], rules: str) -> list[Verdict]:
        return judge(some, dialect, select=rules, run_context=context)

    sender, cases = SandboxSender(sandbox, target, clock), {case.id: case for case in plan.cases}
    budget = ConfirmBudget(reruns=1, failures=3, warnings=1, reduce=20, total=80)
    asyncio.run(confirm(sender, target, dialect, cases, verdicts, exchanges, judging, budget))
    assert any(finding.minimal for verdict in verdicts for finding in verdict.findings)
    assert len(sender.exchanges) > 3
    assert list(refused(sender.exchanges)) == []


@pytest.mark.parametrize("profile", shipped_profiles())
def test_bodies_of_workloads_are_valid_by_the_document(profile: str) -> None:
    form = load_dialect(DIALECT).usual_form.input.value
    settings = LoadSettings(url="http://h/v1", model="m", dialect=DIALECT, profile=profile, input_form=form)
    source = RequestSource(settings)
    for slot in range(60):
        errors = open_responses.validator("CreateResponseBody").errors(parse_json(source.body(slot)))
        assert [error.located for error in errors] == []


@pytest.mark.slow(3)
def test_the_strict_server_gets_no_finding(full: list[Exchange]) -> None:
    verdicts, _ = judge_run(full, DIALECT, plan="full")
    loud = {
        verdict.rule: [finding.evidence.message for finding in verdict.findings]
        for verdict in verdicts
        if verdict.status in (Status.FAIL, Status.WARN, Status.ERROR)
    }
    assert loud == {}


def test_no_feature_of_the_strict_server_counts_as_refused(full: list[Exchange]) -> None:
    found = capabilities([ExchangeView(one, load_dialect(DIALECT)) for one in full])
    assert {name: one.state for name, one in found.items() if not one.state.is_accepted} == {}
    assert Acceptance.SEEN in {one.state for one in found.values()}


def invalid(exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Yield what is invalid by the document in successful replies."""
    dialect = load_dialect(DIALECT)
    for view in (ExchangeView(one, dialect) for one in exchanges if one.ok):
        if view.is_plain:
            found = [("", error) for error in open_responses.validator("ResponseResource").errors(view.response)]
        elif view.is_stream:
            events = open_responses.event_validators()
            found = [(event.type, error) for event in view.events for error in events[event.type].errors(event.value)]
        else:
            continue
        yield from (f"{view.exchange.id} {place}: {error.located}" for place, error in found[:1])


def test_replies_of_the_strict_server_are_valid_by_the_document(full: list[Exchange]) -> None:
    assert list(invalid(full)) == []


def _without_name(response: Json) -> None:
    choice = response.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        response["tool_choice"] = {"type": "function"}


def _of_text(response: Json, place: str, _: RequestInfo) -> None:
    if place == "plain":
        for item in response["output"]:
            if item["type"] == "message":
                item["content"] = [{"type": "text", "text": part.get("text", "")} for part in item["content"]]


ALLOWED: Final[dict[str, tuple[dict[str, Any], tuple[str, ...]]]] = {
    "annotation is Annotation or null": (
        {"events": each(ANNOTATION, do=set_to("annotation", None))},
        ("content.annotations",),
    ),
    "FunctionToolChoice.name is optional": (
        {"response": in_response(_without_name)},
        ("tool.named", "tools.forced", "tools.choice", "feature.tool"),
    ),
    "background says whether the request ran in the background": (
        {"request": as_if(background=False)},
        ("content.background", "background.", "feature.background"),
    ),
    "Message.role has four values": (
        every_item(only("message", set_to("role", "developer"))),
        ("basic.", "content.", "stream."),
    ),
    "Message.content has nine types of parts": ({"response": _of_text}, ("basic.", "content.", "state.")),
    "an item that is done may be null": (
        {"events": each("response.output_item.done", do=set_to("item", None))},
        ("basic.", "stream.", "tool.", "content."),
    ),
}
"""What the document allows and rules once took for a defect: how the sandbox does it, and the cases that meet it."""


@pytest.mark.slow(1)
@pytest.mark.parametrize("what", ALLOWED)
def test_what_the_document_allows_breaks_no_must_rule(what: str) -> None:
    hooks, wanted = ALLOWED[what]
    clock, target = ManualClock(), sandbox_target(DIALECT)
    sandbox = Sandbox(DIALECT, clock=clock)
    sandbox.variations = (*sandbox.variations, Freedom(id="allowed", title=what, argument="The document.", **hooks))
    plan = build_plan("full", load_dialect(DIALECT), model="parrot")
    some = Plan("full", tuple(case for case in plan.cases if case.id.startswith(wanted)))
    exchanges = [one for batch in run_in_process(some, sandbox, target, clock) for one in batch]
    verdicts, _ = judge_run(exchanges, DIALECT, plan="full")
    assert sum(verdict.judged for verdict in verdicts) > 100
    assert {one.rule: [found.evidence for found in one.findings] for one in verdicts if one.status is Status.FAIL} == {}
