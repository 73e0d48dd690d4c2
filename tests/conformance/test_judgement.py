"""The judge: grouping, statuses, selection, and checks that break."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.conformance.checks import checks_by_rule
from rejoinder.conformance.judgement import broken_rules, judge, select_rules
from rejoinder.conformance.judging import registry
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.registry import Subject
from rejoinder.contract import load_dialect, load_rules
from rejoinder.errors import ContractError
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Level, Problem, Status, Verdict
from rejoinder.sandbox import Sandbox, post


def plain(body: dict[str, Any], **fields: Any) -> Exchange:
    settings: dict[str, Any] = {"id": "x1", "case": "c", "role": "plain", "tags": ("valid",), **fields}
    return Exchange(
        request=Request("POST", "/v1/responses", (), b'{"input":"Hi"}'),
        outcome=Outcome.COMPLETE,
        status=200,
        headers=(("content-type", "application/json"),),
        chunks=(Chunk(0.1, json.dumps(body).encode()),),
        started_at=1_760_000_000.0,
        **settings,
    )


def verdict_of(rule: str, *exchanges: Exchange, dialect: str = "northstar") -> Verdict:
    [verdict] = judge(exchanges, dialect, select=rule)
    return verdict


GOOD = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_760_000_000,
    "model": "m",
    "status": "completed",
    "output": [],
    "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
}


def test_equal_problems_are_one_finding_with_the_smallest_evidence() -> None:
    bad = {**GOOD, "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 5}}
    long = {**bad, "model": "m" * 500}
    verdict = verdict_of("USG-02", plain(long, id="x1", case="a"), plain(bad, id="x2", case="b"), plain(GOOD, id="x3"))
    [finding] = verdict.findings
    assert (verdict.status, verdict.judged, verdict.failed) == (Status.FAIL, 3, 2)
    assert (finding.count, finding.cases, finding.evidence.exchange) == (2, ["a", "b"], "x2")


def test_levels_make_statuses() -> None:
    empty = plain(GOOD)
    assert verdict_of("RSP-10", empty).status is Status.WARN
    stream = Sandbox(faults=["sentinel-twice"]).exchange(post({"input": "Hi", "stream": True}))
    informed = verdict_of("SSE-08", stream)
    assert informed.status is Status.PASS
    assert informed.findings[0].level is Level.MAY


def test_nothing_to_judge_is_not_applicable_with_a_reason() -> None:
    verdict = verdict_of("SSE-03", plain(GOOD))
    assert verdict.status is Status.NOT_APPLICABLE
    assert "streaming" in verdict.reason
    unchecked = verdict_of("SSE-06", plain(GOOD))
    assert unchecked.status is Status.NOT_APPLICABLE
    assert unchecked.reason.startswith("Not checked: ")


def test_rules_that_are_off_have_no_verdict() -> None:
    assert judge([plain(GOOD)], "northstar", select="RSP-12") == []
    assert [verdict.rule for verdict in judge([plain(GOOD)], "openresponses", select="RSP-12")] == ["RSP-12"]


def test_unjudged_exchanges_are_left_out() -> None:
    bad = plain({**GOOD, "object": "x"})
    assert verdict_of("RSP-01", bad).status is Status.FAIL
    assert verdict_of("RSP-01", bad.tagged("unjudged")).status is Status.NOT_APPLICABLE


def test_a_check_that_breaks_is_an_error_of_its_rule_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(view: ExchangeView) -> list[Any]:
        raise ZeroDivisionError("oops")

    table = dict(checks_by_rule())
    table["RSP-01"] = (registry.Registered("RSP-01", Subject.CREATE, breaks, None, ""),)
    monkeypatch.setattr("rejoinder.conformance.judgement.checks_by_rule", lambda: table)
    verdicts = {verdict.rule: verdict for verdict in judge([plain(GOOD)], "northstar", select="RSP-*")}
    assert verdicts["RSP-01"].status is Status.ERROR
    assert "ZeroDivisionError at exchange x1: oops" in verdicts["RSP-01"].reason
    assert verdicts["RSP-04"].status is Status.PASS


@pytest.mark.parametrize(
    ("yielded", "status", "judged"),
    [
        ([registry.Declined("The model would not.")], Status.DECLINED, 0),
        ([registry.Declined("The model would not."), Problem("Broken.")], Status.FAIL, 1),
        ([], Status.PASS, 1),
    ],
)
def test_a_check_may_say_that_the_model_declined(
    monkeypatch: pytest.MonkeyPatch, yielded: list[Any], status: Status, judged: int
) -> None:
    table = dict(checks_by_rule())
    table["RSP-01"] = (registry.Registered("RSP-01", Subject.CREATE, lambda view: yielded, None, ""),)
    monkeypatch.setattr("rejoinder.conformance.judgement.checks_by_rule", lambda: table)
    verdict = verdict_of("RSP-01", plain(GOOD))
    assert (verdict.status, verdict.judged) == (status, judged)
    assert verdict.reason == ("The model would not." if status is Status.DECLINED else "")


def test_selection_by_patterns() -> None:
    assert [rule.id for rule in select_rules("usg-*")] == []
    assert [rule.id for rule in select_rules("USG-0[1-3], SSE-03")] == ["SSE-03", "USG-01", "USG-02", "USG-03"]
    assert len(select_rules()) == len(load_rules())


def test_every_checkable_rule_has_a_documented_check() -> None:
    for rule, found in checks_by_rule().items():
        assert bool(found) != bool(load_rules()[rule].unchecked), rule
        assert all(registered.doc for registered in found), rule


def test_a_check_needs_a_rule_of_the_catalogue() -> None:
    for rule in ("XXX-01", "SSE-06"):
        with pytest.raises(ContractError, match=rule):
            registry.check(rule, Subject.CREATE)(lambda view: [])


def test_broken_rules_are_the_must_rules_of_one_exchange() -> None:
    stream = Sandbox(faults=["sequence-numbers-missing"]).exchange(post({"input": "Hi", "stream": True}))
    assert broken_rules(stream, "northstar") == ["EVT-02"]
    assert broken_rules(Sandbox().exchange(post({"input": "Hi", "stream": True})), "northstar") == []


@given(
    body=st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                b"data: ",
                b"event: response.created\n",
                b'{"type":"response.created","response":',
                b"{}",
                b"[1]",
                b"null",
                b"NaN",
                b'"\\ud800"',
                b"}",
                b"\n\n",
                b'{"type":"response.output_item.added","item":null,"output_index":-1}',
                b'{"type":"response.output_text.delta","delta":{},"content_index":"0"}',
                b'{"type":"response.completed","response":[]}',
                b'{"type":"response.completed","response":{"output":[[],1,{"type":"message","content":[null]}]}}',
                b"[" * 2000,
                b"[DONE]",
                b": hi\n",
            ]
        ),
        max_size=30,
    ).map(b"".join),
    status=st.sampled_from([200, 204, 400, 500]),
    outcome=st.sampled_from(Outcome),
    request=st.sampled_from(
        [b'{"input":"Hi","stream":true}', b'{"input":"Hi"}', b"[]", b"\xff", b'{"stream":true,"input":[]}']
    ),
    kind=st.sampled_from(["text/event-stream", "application/json", "", "\x00"]),
)
@settings(max_examples=300, deadline=None)
def test_garbage_is_judged_without_errors(
    body: bytes, status: int, outcome: Outcome, request: bytes, kind: str
) -> None:
    exchange = Exchange(
        id="x",
        request=Request("POST", "/v1/responses", (), request),
        outcome=outcome,
        status=status,
        headers=(("content-type", kind),),
        chunks=(Chunk(0.0, body[:10]), Chunk(0.1, body[10:])),
        tags=("valid", "basic"),
    )
    for dialect in ("northstar", "openai", "openresponses"):
        errors = [v for v in judge([exchange, exchange], load_dialect(dialect)) if v.status is Status.ERROR]
        assert [(verdict.rule, verdict.reason) for verdict in errors] == []
