"""The rules that responses under load broke: how many, what follows, and what shows it."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import RuleUnderLoad
from rejoinder.reports.parts.conformance_under_load import PART as CONFORMANCE
from rejoinder.reports.parts.load import PART as LOAD

STREAM = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"Hi"}\n\n'


def sent(loads: ModuleType, rules: dict[int, list[str]], count: int = 12) -> list[Any]:
    """Return requests that ended one after the other, of which some broke rules and succeeded all the same."""
    found = [loads.Sent(t / 10, 0.1, tokens=1, slot=t) for t in range(count)]
    for place, broken in rules.items():
        found[place].rules = broken
    return found


def test_rules_that_do_not_void_stand_beside_the_figures(
    loads: ModuleType, report_of: Any, run_of: Any, words: Any
) -> None:
    samples = loads.recorded(sent(loads, {0: ["ECH-04"], 1: ["ECH-04", "EVT-02"]}))
    found = report_of(*samples)[CONFORMANCE]
    expected = "2 of 12 checked responses break 2 MUST rules (ECH-04 ×2, EVT-02 ×1). None of them voids a response."
    assert found.sentence == expected
    assert [(rule.id, rule.responses, rule.counted, rule.severity) for rule in found.rules] == [
        ("ECH-04", 2, "succeeded", "warn"),
        ("EVT-02", 1, "succeeded", "warn"),
    ]
    text = words(run_of(*samples))
    assert "12 of 12 requests succeeded" in text
    assert expected in text


def test_rules_that_void_come_first(loads: ModuleType, report_of: Any, run_of: Any, table: Any) -> None:
    requests = sent(loads, {0: ["EVT-02"], 1: ["EVT-02"], 2: ["ACC-04"]})
    requests[2].outcome = RequestOutcome.NONCONFORMING
    samples = loads.recorded(requests)
    found = report_of(*samples)[CONFORMANCE]
    assert found.sentence.endswith("break 2 MUST rules (EVT-02 ×2, ACC-04 ×1). ACC-04 voids responses.")
    rows = table(run_of(*samples), "<h3>Conformance under load")
    assert [(row[0].split()[0], *row[1:]) for row in rows[1:]] == [
        ("ACC-04", "data lost", "1", "8.3 %", "failed"),
        ("EVT-02", "misleading", "2", "16.7 %", "succeeded"),
    ]


def test_known_failures_are_named(loads: ModuleType, report_of: Any) -> None:
    samples = loads.recorded(sent(loads, {0: ["ACC-04"], 1: ["ACC-04"]}))
    samples[-1].conformance = [RuleUnderLoad(rule="ACC-04", responses=2, known=2)]
    found = report_of(*samples)[CONFORMANCE]
    assert found.sentence.endswith("break 1 MUST rule (ACC-04 ×2). All are known failures.")
    [rule] = found.rules
    assert (rule.counted, rule.severity) == ("known failure", "known")


def test_a_problem_is_shown_with_its_bytes_and_request(loads: ModuleType, run_of: Any, words: Any) -> None:
    samples = loads.recorded(sent(loads, {0: ["EVT-02"]}))
    problem = {
        "message": "Event response.output_text.delta has no sequence_number.",
        "exchange": "load-0-0",
        "pointer": "/sequence_number",
        "event": 0,
        "event_type": "response.output_text.delta",
        "expected": "integer",
    }
    samples[-1].conformance[0].problems = [problem, problem, {"message": 7}]
    run = run_of(*samples)
    headers = (("content-type", "text/event-stream"),)
    request = Request("POST", "/v1/responses", (("content-type", "application/json"),), b'{"input":"planted"}')
    exchange = Exchange(
        "load-0-0", request, Outcome.COMPLETE, 200, headers, (Chunk(0.1, STREAM),), "load", ended_at=0.2
    )
    text = words(replace(run, exchanges=[exchange]))
    for expected in (problem["message"], "load-0-0", "curl", "planted", "/sequence_number", "Event stream"):
        assert str(expected) in text, expected
    assert text.count(str(problem["message"])) == 1
    assert "rejoinder replay" not in text
    assert "The run file does not contain this exchange" in words(run)


def test_runs_of_older_versions_name_their_rules(loads: ModuleType, report_of: Any) -> None:
    samples = loads.recorded(sent(loads, {0: ["EVT-02"], 1: ["EVT-02"]}))
    samples[-1].conformance = []
    found = report_of(*samples)[CONFORMANCE]
    assert found.sentence == "Responses break 1 MUST rule (EVT-02 ×2)."
    assert [(rule.id, rule.counted) for rule in found.rules] == [("EVT-02", "failed")]


def test_a_clean_run_says_that_all_follow(loads: ModuleType, report_of: Any) -> None:
    found = report_of(*loads.recorded(sent(loads, {})))[CONFORMANCE]
    assert (found.sentence, found.rules) == ("All 12 checked responses follow every MUST rule that was checked.", [])


def test_an_estimate_is_said_to_be_one(loads: ModuleType, report_of: Any, run_of: Any, words: Any) -> None:
    samples = loads.recorded(sent(loads, {}))
    total = samples[-1]
    total.outcomes = {RequestOutcome.NONCONFORMING: 4, RequestOutcome.UNJUDGED: 8}
    total.judged, total.unjudged, total.unjudged_bound = 4, 8, 1.0
    total.unjudged_voided, total.unjudged_voided_most = 8.0, 8
    load = report_of(*samples)[LOAD]
    assert (load.ok, load.bad) == (0, 12)
    assert load.succeeded_text == "about 0 of 12 requests succeeded (estimate, with 99 % confidence at least 0)"
    assert "About 12 of 12 requests broke the contract" in words(run_of(*samples))


def test_where_nothing_was_checked_the_headline_says_so(loads: ModuleType, run_of: Any, words: Any) -> None:
    samples = loads.recorded(sent(loads, {}))
    total = samples[-1]
    total.outcomes = {RequestOutcome.UNJUDGED: 12}
    total.judged, total.unjudged, total.unjudged_bound = 0, 12, 1.0
    total.unjudged_voided, total.unjudged_voided_most = None, 12
    text = words(run_of(*samples))
    assert "It cannot be known how many of 12 requests succeeded" in text
    assert "No response was checked against all rules." in text
