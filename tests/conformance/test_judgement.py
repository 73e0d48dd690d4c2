"""The judge: grouping, statuses, selection, and checks that break."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.conformance.checks import checks_by_rule
from rejoinder.conformance.judgement import MAX_CASES, broken_rules, judge, judge_run, merge, select_rules
from rejoinder.conformance.judging import registry
from rejoinder.conformance.judging.context import RunContext
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.registry import Subject
from rejoinder.contract import load_dialect, load_rules
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Finding, Known, Level, Problem, Status, Verdict
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
    other = plain({**GOOD, "output_text": "No."})
    assert verdict_of("RSP-14", other).status is Status.WARN
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


def test_the_reason_of_a_rule_that_was_not_tested_names_a_plan_unless_a_feature_was_refused() -> None:
    [larger] = judge([plain(GOOD)], "northstar", select="MEM-01", plan="quick")
    assert "--plan full" in larger.reason
    [unplanned] = judge([plain(GOOD)], "northstar", select="MEM-01")
    assert unplanned.status is Status.NOT_APPLICABLE
    assert unplanned.reason
    assert "--plan" not in unplanned.reason
    # A larger plan would test no stream where streams are refused.
    request = Request("POST", "/v1/responses", (), b'{"input":"Hi","stream":true}')
    refused = replace(plain(GOOD), request=request, status=400)
    streamed = [
        verdict
        for verdict in judge([refused], "northstar", plan="smoke")
        if "streaming" in load_rules()[verdict.rule].features and verdict.status is Status.BLOCKED
    ]
    untried = {verdict.rule: verdict.reason for verdict in judge([plain(GOOD)], "northstar", plan="smoke")}
    assert any("--plan" in untried[verdict.rule] for verdict in streamed)
    for verdict in streamed:
        if not load_rules()[verdict.rule].unchecked:
            assert "feature streaming was refused" in verdict.reason
            assert "--plan" not in verdict.reason


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


def test_broken_rules_are_the_must_rules_of_one_exchange() -> None:
    stream = Sandbox(faults=["sequence-numbers-missing"]).exchange(post({"input": "Hi", "stream": True}))
    assert broken_rules(stream, "northstar") == ["EVT-02"]
    assert broken_rules(Sandbox().exchange(post({"input": "Hi", "stream": True})), "northstar") == []


@pytest.mark.slow(20)
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


Looks = Callable[[Any], Iterable[Any]]
CheckWith = Callable[..., None]


@pytest.fixture
def checked_by(monkeypatch: pytest.MonkeyPatch) -> CheckWith:
    """Return a function that gives one rule, RSP-01 by default, other checks: what each looks at, and what it does."""
    table = dict(checks_by_rule())
    monkeypatch.setattr("rejoinder.conformance.judgement.checks_by_rule", lambda: table)

    def replaced(
        *checks: tuple[Subject, Looks], rule: str = "RSP-01", needs: Callable[[Any], bool] | None = None
    ) -> None:
        table[rule] = tuple(registry.Registered(rule, subject, run, needs, "") for subject, run in checks)

    return replaced


def test_checks_get_what_they_look_at(checked_by: CheckWith) -> None:
    seen: dict[Subject, list[Any]] = {subject: [] for subject in Subject}

    def noting(subject: Subject) -> Looks:
        def look(found: Any) -> list[Problem]:
            seen[subject].append(found)
            return []

        return look

    checked_by(*((subject, noting(subject)) for subject in Subject))
    exchanges = [plain(GOOD, id="x1", case="a"), plain(GOOD, id="x2", case="b"), plain(GOOD, id="x3", case="a")]
    verdict = verdict_of("RSP-01", *exchanges)
    cases = [(case.id, [view.exchange.id for view in case.views]) for case in seen[Subject.CASE]]
    assert cases == [("a", ["x1", "x3"]), ("b", ["x2"])]
    assert [(run.id, [view.exchange.id for view in run.views]) for run in seen[Subject.RUN]] == [
        ("", ["x1", "x2", "x3"])
    ]
    for subject in (Subject.CREATE, Subject.PLAIN, Subject.RESPONSE, Subject.EXCHANGE):
        assert [view.exchange.id for view in seen[subject]] == ["x1", "x2", "x3"]
    assert seen[Subject.STREAM] == seen[Subject.REFUSAL] == []
    assert (verdict.status, verdict.judged, verdict.failed) == (Status.PASS, 4 * 3 + 2 + 1, 0)
    seen[Subject.RUN].clear()
    assert verdict_of("RSP-01").judged == 0
    assert seen[Subject.RUN] == []


def test_a_check_is_asked_only_about_what_it_needs(checked_by: CheckWith) -> None:
    checked_by((Subject.CREATE, lambda view: [Problem("Bad.")]), needs=lambda view: view.exchange.id != "x2")
    verdict = verdict_of("RSP-01", plain(GOOD, id="x1"), plain(GOOD, id="x2"), plain(GOOD, id="x3"))
    assert (verdict.judged, verdict.failed, verdict.findings[0].count) == (2, 2, 2)


def test_problems_of_a_case_are_those_of_the_exchange_that_they_name(checked_by: CheckWith) -> None:
    def looks(case: Any) -> list[Problem]:
        return [Problem("Bad.", "/a", exchange="x2"), Problem("Bad.", "/b"), Problem("Bad.", "/a", exchange="x1")]

    checked_by((Subject.RUN, looks))
    verdict = verdict_of("RSP-01", plain({**GOOD, "model": "long"}, id="x1", case="a"), plain(GOOD, id="x2", case="b"))
    # Equal problems of one subject count once; each exchange is evidence for its own, the smallest for all.
    assert [(found.evidence.pointer, found.count, found.cases) for found in verdict.findings] == [
        ("/a", 1, ["b", "a"]), ("/b", 1, ["a"])
    ]  # fmt: skip
    assert [found.evidence.exchange for found in verdict.findings] == ["x2", "x1"]
    assert (verdict.judged, verdict.failed) == (1, 1)


def test_of_equal_evidence_the_first_stays_and_findings_go_by_their_number(checked_by: CheckWith) -> None:
    def looks(view: Any) -> list[Problem]:
        often = [Problem("Often.", "/often", actual=view.exchange.id)]
        return often if view.exchange.id != "x1" else [Problem("Once.", "/once"), *often]

    checked_by((Subject.CREATE, looks))
    exchanges = [plain(GOOD, id=f"x{number}", case=f"c{number}") for number in range(1, MAX_CASES + 3)]
    verdict = verdict_of("RSP-01", *exchanges)
    often, once = verdict.findings
    assert (often.count, often.cases) == (MAX_CASES + 2, [f"c{number}" for number in range(1, MAX_CASES + 1)])
    assert (often.rule, often.level, often.evidence.actual, often.evidence.exchange) == (
        "RSP-01", Level.MUST, "x1", "x1"
    )  # fmt: skip
    assert (once.count, once.cases, once.known) == (1, ["c1"], None)


class Matcher:
    """A baseline that knows what ``knows`` says, and notes what it is told."""

    def __init__(self, knows: Callable[[str, str, str], Known | None]) -> None:
        self.known = knows
        self.settled: list[tuple[str, set[str], set[str]]] = []

    def settle(self, rule: str, judged: Iterable[str], unsettled: Iterable[str]) -> None:
        self.settled.append((rule, set(judged), set(unsettled)))


def judged_with(matcher: Matcher, rule: str, *exchanges: Exchange) -> Verdict:
    [verdict] = judge(exchanges, "northstar", select=rule, matcher=matcher)  # type: ignore[arg-type]
    return verdict


def test_what_a_baseline_expects_is_a_finding_of_its_own(checked_by: CheckWith) -> None:
    problem = Problem("Bad.", "/a")
    mark = Finding("RSP-01", Level.MUST, problem).fingerprint
    bug = Known("bug 1")
    matcher = Matcher(lambda *asked: bug if asked == ("RSP-01", "a", mark) else None)

    def looks(view: Any) -> list[Any]:
        case = view.exchange.case
        if case == "broken":
            raise ValueError("oops")
        return [registry.Declined("No.")] if case == "declined" else [problem]

    checked_by((Subject.CREATE, looks))
    exchanges = [plain(GOOD, id=f"x{n}", case=case) for n, case in enumerate(["a", "a", "b", "declined", "broken"])]
    verdict = judged_with(matcher, "RSP-01", *exchanges)
    assert [(found.known, found.count, found.cases) for found in verdict.findings] == [
        (None, 1, ["b"]),
        (bug, 2, ["a"]),
    ]
    assert verdict.status is Status.FAIL
    # Where the model declined, or the check broke, nothing is settled.
    assert matcher.settled == [("RSP-01", {"a", "b"}, {"declined", "broken"})]
    verdict = judged_with(matcher, "RSP-01", *exchanges[:2])
    assert (verdict.status, [found.known for found in verdict.findings]) == (Status.KNOWN, [bug])


def test_a_rule_that_only_informs_has_nothing_to_expect(checked_by: CheckWith) -> None:
    matcher = Matcher(lambda *asked: Known("bug 1"))
    may = next(rule.id for rule in load_rules().values() if load_dialect("northstar").level_of(rule) is Level.MAY)
    checked_by((Subject.CREATE, lambda view: [Problem("So it is.")]), rule=may)
    verdict = judged_with(matcher, may, plain(GOOD))
    assert (verdict.status, verdict.findings[0].known, matcher.settled) == (Status.PASS, None, [])


def test_a_broken_check_hides_no_problem_and_no_other_check(checked_by: CheckWith) -> None:
    def breaks(view: Any) -> Iterable[Problem]:
        yield Problem("Not counted.", "/lost")
        raise KeyError("k")

    checked_by((Subject.CREATE, breaks), (Subject.RUN, breaks))
    verdict = verdict_of("RSP-01", plain(GOOD, id="x1"), plain(GOOD, id="x2"))
    assert (verdict.status, verdict.judged, verdict.findings) == (Status.ERROR, 0, [])
    assert "KeyError" in verdict.reason
    assert "x1" in verdict.reason
    checked_by((Subject.CREATE, breaks), (Subject.PLAIN, lambda view: [Problem("Bad.")]))
    verdict = verdict_of("RSP-01", plain(GOOD, id="x1"))
    assert (verdict.status, verdict.judged, verdict.reason) == (Status.FAIL, 1, "")
    # That the model declined elsewhere does not matter where something was judged.
    checked_by((Subject.CREATE, lambda view: [registry.Declined("No.")]), (Subject.PLAIN, lambda view: []))
    verdict = verdict_of("RSP-01", plain(GOOD, id="x1"))
    assert (verdict.status, verdict.judged, verdict.reason) == (Status.PASS, 1, "")


def test_the_first_of_several_reasons_is_given(checked_by: CheckWith) -> None:
    checked_by((Subject.CREATE, lambda view: [registry.Declined(view.exchange.id), registry.Declined("Other.")]))
    assert verdict_of("RSP-01", plain(GOOD, id="x1"), plain(GOOD, id="x2")).reason == "x1"


def test_checks_see_the_run_that_their_exchanges_belong_to(checked_by: CheckWith) -> None:
    contexts: list[RunContext] = []

    def look(view: ExchangeView) -> list[Problem]:
        contexts.append(view.run_context)
        return []

    checked_by((Subject.CREATE, look))
    own = RunContext()
    _, returned = judge_run([plain(GOOD)], "northstar", select="RSP-01", required=["tools"], run_context=own)
    assert returned is own
    judge([plain(GOOD)], "northstar", select="RSP-01", run_context=own)
    assert [context is own for context in contexts] == [True, True]
    contexts.clear()
    # By default the exchanges are a run, which shows what it shows.
    _, returned = judge_run([plain(GOOD)], "northstar", select="RSP-01", required=["tools"])
    judge([plain(GOOD)], "northstar", select="RSP-01", required=["tools"])
    assert contexts[0] is returned
    assert [context.required for context in contexts] == [{"tools"}, {"tools"}]
    assert set(returned.capabilities) == set(contexts[1].capabilities) != set()
    judge([plain(GOOD)], load_dialect("openai"), select="RSP-01")
    assert len(contexts[2].capabilities) > 0


def test_broken_rules_may_be_asked_for_by_level_and_name(checked_by: CheckWith) -> None:
    broken = plain({**GOOD, "object": "x", "created_at": -1, "output_text": "No."})
    everything = broken_rules(broken, "northstar")
    assert {"RSP-01", "RSP-03"} <= set(everything)
    # In the order of the catalogue.
    assert everything == [rule for rule in load_rules() if rule in everything]
    assert broken_rules(broken, "northstar", only={"RSP-03", "SSE-01"}) == ["RSP-03"]
    assert broken_rules(broken, "northstar", only=()) == []
    should = broken_rules(broken, "northstar", level=Level.SHOULD)
    assert should == [verdict.rule for verdict in judge([broken], "northstar") if verdict.status is Status.WARN]
    assert should
    view = ExchangeView(broken, load_dialect("northstar"))
    assert broken_rules(view, load_dialect("northstar")) == everything
    # A problem of a whole case or run is none of a single exchange; checks after such a one are still asked.
    checked_by((Subject.CASE, lambda case: [Problem("Bad.")]), (Subject.RUN, lambda run: [Problem("Bad.")]))
    assert "RSP-01" not in broken_rules(broken, "northstar")
    checked_by((Subject.CASE, lambda case: []), (Subject.CREATE, lambda view: [Problem("Bad.")]))
    assert broken_rules(plain(GOOD), "northstar") == ["RSP-01"]
    checked_by((Subject.STREAM, lambda view: [Problem("Bad.")]))
    assert broken_rules(plain(GOOD), "northstar") == []


def verdict(status: Status, *findings: Finding, rule: str = "RSP-01", judged: int = 1, reason: str = "") -> Verdict:
    return Verdict(rule, Level.MUST, status, judged, len(findings), reason, list(findings))


def finding(pointer: str, *cases: str, known: Known | None = None) -> Finding:
    problem = Problem("Bad.", pointer, exchange=cases[0])
    return Finding("RSP-01", Level.MUST, problem, len(cases), list(cases), known=known)


STRONGEST_FIRST = (
    Status.FAIL,
    Status.WARN,
    Status.KNOWN,
    Status.ERROR,
    Status.PASS,
    Status.DECLINED,
    Status.BLOCKED,
    Status.NOT_APPLICABLE,
)


@pytest.mark.parametrize("after", Status)
@pytest.mark.parametrize("before", Status)
def test_of_two_verdicts_the_one_that_says_more_counts(before: Status, after: Status) -> None:
    [merged] = merge([verdict(before, judged=2, reason="first")], [verdict(after, judged=3, reason="second")])
    # A rule that was judged in one lot and not in the other was judged: a pass says more than a decline.
    first = STRONGEST_FIRST.index(before) <= STRONGEST_FIRST.index(after)
    assert (merged.status, merged.reason) == ((before, "first") if first else (after, "second"))
    assert merged.judged == 5


def test_findings_of_two_lots_are_joined_where_they_are_the_same() -> None:
    bug = Known("bug 1")
    before = verdict(Status.FAIL, finding("/a", "1", "2"), finding("/b", "1"), finding("/a", "9", known=bug))
    after = verdict(
        Status.FAIL, finding("/a", "2", "3"), finding("/c", "4", "5", "6", "7", "8"), finding("/a", "9", "8", known=bug)
    )
    [merged] = merge([before], [after])
    # The unexpected first, then by their number.
    assert [(found.evidence.pointer, found.known, found.count, found.cases) for found in merged.findings] == [
        ("/c", None, 5, ["4", "5", "6", "7", "8"]),
        ("/a", None, 4, ["1", "2", "3"]),
        ("/b", None, 1, ["1"]),
        ("/a", bug, 3, ["9", "8"]),
    ]
    # The evidence is that of the first lot.
    assert [found.evidence.exchange for found in merged.findings] == ["4", "1", "1", "9"]
    assert (merged.failed, merged.judged) == (6, 2)


@pytest.mark.parametrize(("had", "kept"), [(MAX_CASES - 2, MAX_CASES), (MAX_CASES + 5, MAX_CASES + 5)])
def test_joined_findings_keep_a_bounded_number_of_cases(had: int, kept: int) -> None:
    first, second = [f"a{number}" for number in range(had)], [f"b{number}" for number in range(5)]
    [merged] = merge([verdict(Status.FAIL, finding("/a", *first))], [verdict(Status.FAIL, finding("/a", *second))])
    assert merged.findings[0].cases == [*first, *second][:kept]
    assert merged.findings[0].count == had + 5


def test_rules_are_joined_by_name() -> None:
    one, two = verdict(Status.PASS), verdict(Status.PASS, rule="RSP-02")
    assert merge([], [one, two]) == [one, two]
    assert merge([one, two], [verdict(Status.FAIL, rule="RSP-02")]) == [
        one, verdict(Status.FAIL, rule="RSP-02", judged=2)
    ]  # fmt: skip
    assert merge([one], []) == [one]
