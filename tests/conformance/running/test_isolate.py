"""Isolating what an endpoint refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from rejoinder.conformance.coverage import measure_coverage
from rejoinder.conformance.judgement import judge, judge_run
from rejoinder.conformance.judging.acceptance import outermost
from rejoinder.conformance.running.case import PlannedCase
from rejoinder.conformance.running.isolate import isolate
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import load_dialect
from rejoinder.contract.branches import Branches, is_below
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import Acceptance, CoverageResult
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Status
from rejoinder.strategies import EndpointProfile, each_choice, one_factor
from rejoinder.wire.client import encode_json

MODEL = "m"
Answer = Callable[[dict[str, Any]], int]


class Endpoint:
    """An endpoint that answers create requests with a status alone, and records what it got."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.exchanges: list[Exchange] = []
        self.requests = 0

    @property
    def ended(self) -> bool:
        return False

    async def send(self, case: PlannedCase, *tags: str) -> list[Exchange]:
        sent = [self.exchange(planned.body, case.id, planned.role, planned.tags) for planned in case.requests]
        self.requests += len(sent)
        self.exchanges += [e.tagged(Tag.UNJUDGED, *(t for t in tags if t not in e.tags)) for e in sent]
        return sent

    def exchange(self, body: Any, case: str, role: str, tags: tuple[str, ...]) -> Exchange:
        status = self.answer(body)
        reply: dict[str, Any] = {"id": "r", "object": "response", "status": "completed", "output": []}
        if status >= 400:
            reply = {"error": {"message": f"Refused with {status}.", "type": "invalid_request_error"}}
        return Exchange(
            id=f"x{len(self.exchanges):04}-{role}",
            request=Request("POST", "/v1/responses", (), encode_json(body)),
            outcome=Outcome.COMPLETE,
            status=status,
            headers=(("content-type", "application/json"),),
            chunks=(Chunk(0.0, json.dumps(reply).encode()),),
            case=case,
            role=role,
            tags=tags,
        )


def refusing(refused: Iterable[str], dialect: str = "northstar", status: int = 400) -> Answer:
    """Return the answers of an endpoint that refuses every request with one of these branches."""
    contract, branches = Branches.of_dialect(dialect), frozenset(refused)
    return lambda body: status if contract.of(body) & branches else 200


@cache
def bodies(plan: str, dialect: str) -> tuple[dict[str, Any], ...]:
    """Return the valid bodies of a plan that do not depend on replies."""
    return tuple(
        planned.body
        for case in build_plan(plan, load_dialect(dialect), model=MODEL).cases
        for planned in case.requests
        if Tag.VALID in planned.tags and isinstance(planned.body, dict) and planned.body.get("stream") is not True
    )


def isolated(answer: Answer, plan: str = "quick", dialect: str = "northstar", budget: int = 10_000) -> CoverageResult:
    endpoint = Endpoint(answer)
    planned = [
        endpoint.exchange(body, f"case{number}", "plain", (Tag.VALID,))
        for number, body in enumerate(bodies(plan, dialect))
    ]
    asyncio.run(isolate(endpoint, load_dialect(dialect), MODEL, planned, budget))
    assert endpoint.requests <= budget
    return measure_coverage([*planned, *endpoint.exchanges], dialect)


@cache
def single_forms(dialect: str) -> tuple[frozenset[str], ...]:
    """Return the branches of every request of the generator that holds one thing."""
    profile = EndpointProfile(dialect=dialect, model=MODEL, max_output_tokens=16)
    contract = Branches.of_dialect(dialect)
    return tuple(
        contract.of(case.body) for case in (*one_factor(profile=profile), *each_choice("item", profile=profile))
    )


@cache
def _sent(plan: str, dialect: str) -> tuple[str, ...]:
    contract = Branches.of_dialect(dialect)
    return tuple(sorted(frozenset().union(*(contract.of(body) for body in bodies(plan, dialect)))))


@cache
def _base(dialect: str) -> frozenset[str]:
    """Return the branches without which nothing can be sent."""
    return (
        frozenset.intersection(*single_forms(dialect))
        | Branches.of_dialect(dialect).of(
            {"model": MODEL, "max_output_tokens": 16, "input": [{"role": "user", "content": "Say hello."}]}
        )
        | Branches.of_dialect(dialect).of({"model": MODEL, "max_output_tokens": 16, "input": "Hi"})
    )


def refusable(plan: str = "quick", dialect: str = "northstar") -> list[str]:
    return [branch for branch in _sent(plan, dialect) if branch not in _base(dialect)]


HELLO: dict[str, Any] = {"model": MODEL, "max_output_tokens": 16, "input": "Hi"}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}
CALL = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "Rain."}
ASKED = {"role": "user", "content": "Say hello."}
FILE = {"type": "input_file", "filename": "note.txt", "file_data": "data:text/plain;base64,SGVsbG8u"}


def found_in(answer: Answer, *planned: dict[str, Any], budget: int = 100) -> tuple[CoverageResult, Endpoint]:
    """Return what isolating finds in these requests, and the endpoint with what it got."""
    endpoint = Endpoint(answer)
    sent = [endpoint.exchange(body, f"case{number}", "plain", (Tag.VALID,)) for number, body in enumerate(planned)]
    asyncio.run(isolate(endpoint, load_dialect("northstar"), MODEL, sent, budget))
    return measure_coverage([*sent, *endpoint.exchanges], "northstar"), endpoint


def bodies_of(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [exchange.request.json() for exchange in endpoint.exchanges]


def test_one_refused_field_of_many_stands_alone() -> None:
    packed = {**HELLO, "top_k": 3, "logit_bias": {"1": 1.0}, "top_logprobs": 2, "user": "u", "truncation": "disabled"}
    found, endpoint = found_in(lambda body: 400 if "top_logprobs" in body else 200, HELLO, packed)
    [refusal] = found.refusals
    assert (refusal.branches, refusal.status, refusal.words) == (["top_logprobs=value"], 400, "Refused with 400.")
    by_id = {exchange.id: exchange.request.json() for exchange in endpoint.exchanges}
    assert by_id[refusal.exchange] == {**HELLO, "top_logprobs": 2}
    assert by_id[refusal.control] == HELLO
    assert found.branches[Acceptance.TOGETHER] == []
    assert {"top_k=value", "logit_bias=value", "user=value", "truncation=disabled"} <= {
        *found.branches[Acceptance.ACCEPTED]
    }
    assert endpoint.requests <= 10


def test_a_server_error_is_isolated_like_a_refusal() -> None:
    packed = {**HELLO, "top_k": 3, "user": "u", "cache_salt": "s"}
    found, _ = found_in(lambda body: 500 if "user" in body else 200, HELLO, packed)
    assert found.branches[Acceptance.SERVER_ERROR] == ["user=value"]
    assert found.branches[Acceptance.REFUSED] == found.branches[Acceptance.TOGETHER] == []


def test_a_refused_item_is_refused_with_its_companions_and_what_is_inside_it_names_it() -> None:
    items = [ASKED, {"role": "user", "content": [{"type": "input_text", "text": "Hi"}, FILE]}, CALL, OUTPUT]
    found, endpoint = found_in(
        lambda body: 400 if "input_file" in json.dumps(body) else 200, HELLO, {**HELLO, "input": items}
    )
    [refusal] = found.refusals
    assert all(branch.endswith("=ResponseInputFileParam") for branch in refusal.branches)
    assert all(group.culprits for group in (*found.parts, *found.together))
    assert all(group.culprits[0] in refusal.branches for group in found.parts)
    assert found.parts
    # An output is never sent without its call.
    for body in bodies_of(endpoint):
        text = json.dumps(body)
        assert '"function_call"' in text or '"function_call_output"' not in text


@pytest.mark.parametrize(("alone", "claimed"), [(400, True), (422, False)])
def test_a_call_is_refused_without_its_output_only_in_the_same_words(alone: int, claimed: bool) -> None:
    """The endpoint here refuses the call, or only calls that have no output; its words hold the status."""

    def answer(body: dict[str, Any]) -> int:
        text = json.dumps(body)
        if '"function_call"' not in text:
            return 200
        return 400 if '"function_call_output"' in text else alone

    found, _ = found_in(answer, HELLO, {**HELLO, "input": [ASKED, CALL, OUTPUT]})
    branches = [branch for refusal in found.refusals for branch in refusal.branches]
    assert bool(branches) is claimed
    assert all("FunctionToolCall" in branch for branch in branches)
    together = {branch for group in found.together for branch in group.branches}
    assert "input[array][]=FunctionCallOutput" in together


def test_an_endpoint_without_lists_refuses_everything_inside_them_as_a_part_of_that() -> None:
    items = [ASKED, {"role": "user", "content": [{"type": "input_text", "text": "Hi"}, FILE]}, CALL, OUTPUT]
    planned = [HELLO, {**HELLO, "input": items}, {**HELLO, "input": [ASKED], "user": "u"}]
    endpoint = Endpoint(lambda body: 400 if isinstance(body.get("input"), list) else 200)
    sent = [endpoint.exchange(body, f"case{number}", "plain", (Tag.VALID,)) for number, body in enumerate(planned)]
    asyncio.run(isolate(endpoint, load_dialect("northstar"), MODEL, sent, 100))
    exchanges = [*sent, *endpoint.exchanges]
    _, context = judge_run(exchanges, "northstar", select="")
    found = measure_coverage(exchanges, "northstar", context.capabilities)
    assert found.branches[Acceptance.REFUSED] == ["input=array"]
    assert found.branches[Acceptance.TOGETHER] == []
    assert [group.culprits for group in found.parts] == [["input=array"]]
    files = context.capabilities["files"]
    assert (files.state, files.part_of, files.status) == (Acceptance.REFUSED, "input=array", 400)
    assert "as part of input=array" in files.sentence
    assert files.control


def test_a_tool_choice_keeps_the_tool_that_it_names() -> None:
    other = {**WEATHER, "name": "get_time"}
    choice = {"type": "function", "name": "get_weather"}
    packed = {**HELLO, "tools": [other, WEATHER], "tool_choice": choice, "user": "u"}
    found, endpoint = found_in(lambda body: 422 if "tool_choice" in body else 200, HELLO, packed)
    assert [branch.startswith("tool_choice=") for refusal in found.refusals for branch in refusal.branches] == [True]
    for body in bodies_of(endpoint):
        if body.get("tool_choice") == choice:
            assert WEATHER in body["tools"]
        assert body.get("tools") or not isinstance(body.get("tool_choice"), dict)


def test_an_endpoint_that_refuses_everything_isolates_nothing() -> None:
    found, endpoint = found_in(lambda body: 400, HELLO, {**HELLO, "user": "u"})
    assert endpoint.requests == 0
    assert found.refusals == []
    assert found.branches[Acceptance.REFUSED] == found.branches[Acceptance.ACCEPTED] == []


def test_an_endpoint_that_changes_its_mind_is_not_accused() -> None:
    answers = iter([200, 400])
    found, _ = found_in(lambda body: next(answers, 200), HELLO, {**HELLO, "user": "u"})
    assert found.refusals == []
    assert "user=value" in found.branches[Acceptance.ACCEPTED]


@pytest.mark.slow(3)
def test_what_gets_no_answer_stays_open() -> None:
    planned = [HELLO, {**HELLO, "user": "u", "top_k": 3}]
    found, _ = found_in(
        lambda body: 400 if {"user", "top_k"} <= body.keys() else 503 if "user" in body else 200, *planned
    )
    assert found.refusals == []
    assert "user=value" in found.branches[Acceptance.TOGETHER]
    assert "top_k=value" in found.branches[Acceptance.ACCEPTED]


def test_the_budget_is_kept_and_what_is_left_is_told() -> None:
    packed = {**HELLO, "top_k": 3, "logit_bias": {"1": 1.0}, "top_logprobs": 2, "user": "u", "truncation": "disabled"}
    endpoint = Endpoint(lambda body: 400 if "user" in body else 200)
    sent = [endpoint.exchange(body, f"case{n}", "plain", (Tag.VALID,)) for n, body in enumerate((HELLO, packed))]
    result = asyncio.run(isolate(endpoint, load_dialect("northstar"), MODEL, sent, 2))
    assert endpoint.requests == 2
    [warning] = result.warnings
    assert "refused only together with others: the budget of 2 requests" in warning


def test_a_feature_that_only_a_combination_shows_is_isolated_by_its_example() -> None:
    """Two functions are the same contract branches as one."""
    two = {**HELLO, "tools": [WEATHER, {**WEATHER, "name": "get_time"}]}
    one = {**HELLO, "tools": [WEATHER]}
    endpoint = Endpoint(lambda body: 400 if len(body.get("tools", ())) > 1 else 200)
    sent = [endpoint.exchange(body, f"case{n}", "plain", (Tag.VALID,)) for n, body in enumerate((HELLO, one, two))]
    asyncio.run(isolate(endpoint, load_dialect("northstar"), MODEL, sent, 100))
    _, context = judge_run([*sent, *endpoint.exchanges], "northstar", select="")
    known = context.capabilities["parallel_calls"]
    assert known.state is Acceptance.REFUSED
    assert known.control
    assert context.capabilities["function_tools"].state.is_accepted
    [pair] = context.refusals
    assert pair.difference == frozenset()
    assert len(pair.added) == pair.places == 1


def test_only_the_refused_one_of_several_required_features_fails() -> None:
    required = ["top_k", "logit_bias", "json_object", "logprobs"]
    logprobs = "message.output_text.logprobs"
    packed = {
        **HELLO,
        "top_k": 3,
        "logit_bias": {"1": 1.0},
        "text": {"format": {"type": "json_object"}},
        "include": [logprobs, "reasoning.encrypted_content"],
    }
    endpoint = Endpoint(lambda body: 400 if logprobs in body.get("include", ()) else 200)
    sent = [endpoint.exchange(body, f"case{n}", "plain", (Tag.VALID,)) for n, body in enumerate((HELLO, packed))]
    asyncio.run(isolate(endpoint, load_dialect("northstar"), MODEL, sent, 100))
    exchanges = [*sent, *endpoint.exchanges]
    [verdict] = judge(exchanges, "northstar", select="CAP-01", required=required)
    assert verdict.status is Status.FAIL
    [finding] = verdict.findings
    assert finding.evidence.kind == "logprobs"
    [shown] = [exchange for exchange in exchanges if exchange.id == finding.evidence.exchange]
    assert shown.request.json() == {**HELLO, "include": [logprobs]}
    assert "Refused with 400." in finding.evidence.message


@pytest.mark.slow(60)
@settings(max_examples=20, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@example({"input[array][]=ResponseFunctionToolCall", "input[array][]=ResponseFunctionToolCallParam", "user=value"})
@example({"input=array"})
@given(st.sets(st.sampled_from(refusable()), min_size=1, max_size=4))
def test_the_map_is_the_truth_for_any_set_of_refused_branches(refused: set[str]) -> None:
    check_map(refused, "quick", "northstar")


def check_map(refused: set[str], plan: str, dialect: str) -> None:
    found = isolated(refusing(refused, dialect), plan, dialect)
    accepted = set(found.branches[Acceptance.ACCEPTED])
    alone = set(found.branches[Acceptance.REFUSED])
    forms = single_forms(dialect)
    # Nothing that is refused is called accepted, and whatever can be accepted is.
    assert not accepted & refused
    can_be = frozenset().union(*(form for form in forms if not form & refused)) & set(_sent(plan, dialect))
    assert can_be <= accepted, can_be - accepted
    # What is called refused is refused in all of its forms.
    for branch in alone:
        assert branch in refused or all(form & refused for form in forms if branch in form), branch
    # So is what is called refused as part of another, and that part is isolated; nothing inside one is left open.
    parts = {branch: group.culprits for group in found.parts for branch in group.branches}
    assert sorted(parts) == found.branches[Acceptance.PART]
    claimed = alone | {*found.branches[Acceptance.SERVER_ERROR]}
    for branch, culprits in parts.items():
        assert culprits
        assert all(one in claimed and is_below(branch, one) for one in culprits)
        assert all(form & refused for form in forms if branch in form), branch
    together = {branch: group.culprits for group in found.together for branch in group.branches}
    assert sorted(together) == found.branches[Acceptance.TOGETHER]
    assert not any(is_below(branch, one) for branch in together for one in claimed)
    # What some request holds beside nothing but accepted things is isolated, or inside what is.
    for form in forms:
        for branch in outermost(form - accepted) if form & refused else ():
            if len(outermost(form - accepted)) == 1:
                assert any(branch == one or is_below(branch, one) or is_below(one, branch) for one in alone), branch
