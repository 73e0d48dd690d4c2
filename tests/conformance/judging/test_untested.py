"""Why a run says nothing of a rule: the reasons are told apart, and the first that is true is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.plan_rules import cases_of
from rejoinder.conformance.running.in_process import SECOND_KEY, ManualClock, run_in_process
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Status, Verdict
from rejoinder.sandbox import Sandbox
from rejoinder.wire.target import Target

REFUSAL = {"error": {"message": "No such field.", "type": "invalid_request_error", "param": None, "code": None}}


@cache
def sent() -> tuple[Exchange, ...]:
    clock = ManualClock()
    target = Target("http://sandbox/v1/responses", second_key=SECOND_KEY)
    plan = build_plan("quick", load_dialect("northstar"))
    batches = run_in_process(plan, Sandbox("northstar", clock=clock), target, clock)
    return tuple(exchange for batch in batches for exchange in batch)


def verdict_of(rule: str, change: Callable[[Exchange], Exchange | None], plan: str = "quick") -> Verdict:
    """Return the verdict on a rule after a change to each exchange; ``None`` leaves it out."""
    changed = [other for exchange in sent() if (other := change(exchange)) is not None]
    [verdict] = judge(changed, "northstar", select=rule, plan=plan)
    return verdict


def in_cases_of(rule: str, change: Callable[[Exchange], Exchange | None]) -> Callable[[Exchange], Exchange | None]:
    cases = cases_of(rule, load_dialect("northstar"), "quick")
    assert cases
    return lambda exchange: change(exchange) if exchange.case in cases else exchange


def refused(exchange: Exchange) -> Exchange:
    if Tag.VALID not in exchange.tags:
        return exchange
    return replace(exchange, status=400, chunks=(Chunk(0.0, json.dumps(REFUSAL).encode()),))


def silent(exchange: Exchange) -> Exchange:
    detail = "The server closed the connection."
    return replace(exchange, status=None, headers=(), chunks=(), outcome=Outcome.CUT, detail=detail)


def only_refusals(exchange: Exchange) -> Exchange | None:
    return None if Tag.VALID in exchange.tags else exchange


@pytest.mark.parametrize(
    ("change", "words"),
    [(refused, 'that returned 400: "No such field."'), (silent, 'that got no response: "The server closed the')],
)
def test_a_rule_is_blocked_by_a_valid_request_that_was_not_answered(
    change: Callable[[Exchange], Exchange], words: str
) -> None:
    verdict = verdict_of("USG-11", in_cases_of("USG-11", change))
    assert verdict.status is Status.BLOCKED
    assert words in verdict.reason
    blocking = next(exchange for exchange in sent() if exchange.id == verdict.blocked_by)
    assert blocking.case in cases_of("USG-11", load_dialect("northstar"), "quick")
    assert blocking.id in verdict.reason
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_it_is_not_blocked_without_a_plan() -> None:
    verdict = verdict_of("USG-11", refused, plan="")
    assert (verdict.status, verdict.blocked_by) == (Status.NOT_APPLICABLE, "")


def test_a_rule_is_not_blocked_where_the_run_ended_before_its_cases() -> None:
    verdict = verdict_of("USG-11", in_cases_of("USG-11", lambda exchange: None))
    assert verdict.status is Status.NOT_APPLICABLE
    assert verdict.reason == "The run ended before the cases that test this rule."


def test_a_rule_of_a_larger_plan_is_not_blocked() -> None:
    verdict = verdict_of("MEM-01", refused)
    assert (verdict.status, verdict.reason) == (Status.NOT_APPLICABLE, "Not tested by plan quick. Use --plan full.")


def test_a_rule_that_is_tested_is_not_blocked() -> None:
    [first] = cases_of("HTTP-01", load_dialect("northstar"), "quick")[:1]
    verdict = verdict_of("HTTP-01", lambda exchange: silent(exchange) if exchange.case == first else exchange)
    assert (verdict.status, verdict.blocked_by) == (Status.PASS, "")


def test_a_feature_that_was_refused_only_with_other_things_blocks() -> None:
    def change(exchange: Exchange) -> Exchange:
        body = exchange.request.json()
        return refused(exchange) if isinstance(body, dict) and body.get("stream") is True else exchange

    verdict = verdict_of("SSE-02", change)
    assert verdict.status is Status.BLOCKED
    assert "It is not known whether the feature is the reason." in verdict.reason
    assert verdict.blocked_by


def test_what_is_valid_and_answered_blocks_nothing() -> None:
    # Every refusal here is one that the plan provokes.
    verdicts = judge(sent(), "northstar", plan="quick")
    assert [verdict.rule for verdict in verdicts if verdict.status is Status.BLOCKED] == []
    assert verdict_of("SSE-02", only_refusals).status is Status.NOT_APPLICABLE


def test_cases_that_a_model_could_not_show_are_declined() -> None:
    """A run passes over the cases that look for canaries when the model repeats none."""

    def mute(exchange: Exchange) -> Exchange | None:
        if exchange.case.startswith("meaning."):
            return None
        data = b"".join(chunk.data for chunk in exchange.chunks).replace(b"quartz-", b"mute-")
        return replace(exchange, chunks=(Chunk(0.0, data),)) if exchange.case == "probe.word" else exchange

    plain = [one for one in map(mute, sent()) if one is not None and one.case in ("basic.input", "probe.word")]
    [found] = judge(plain, "northstar", select="MEM-01", plan="full")
    assert found.status is Status.DECLINED
    assert found.reason.startswith("Not sent, because the model did not repeat a canary (")
    [other] = judge(plain, "northstar", select="BGR-04", plan="full")
    assert other.status is Status.NOT_APPLICABLE
