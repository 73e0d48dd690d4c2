"""The rules that responses under load broke: how many, what follows, and what shows it."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import Repeat, RuleUnderLoad, SearchResult, SearchStep, Validity
from rejoinder.reports import render_html, render_markdown
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


def row(rule: str, responses: int, run: int = 0, voided: int = 0) -> RuleUnderLoad:
    """Return a rule that was broken, with a problem of the run of this number; 0: with none."""
    problem = {"message": f"{rule} is broken.", "exchange": f"run-{run}-load-0-0", "pointer": "/sequence_number"}
    return RuleUnderLoad(rule=rule, responses=responses, voided=voided, problems=[problem] if run else [])


def step(level: int, *rows: RuleUnderLoad, rate: bool = False) -> SearchStep:
    broken = max((one.responses for one in rows), default=0)
    load: dict[str, Any] = {"rate": float(level)} if rate else {"concurrency": level}
    return SearchStep(
        started=20, outcomes={RequestOutcome.OK: 20}, verdict=Validity.VALID, good=20, judged=20, broken=broken,
        conformance=list(rows), **load,
    )  # fmt: skip


def repeat(number: int, *rows: RuleUnderLoad, other: bool = False) -> Repeat:
    return Repeat(
        of="against" if other else "endpoint", repeat=number, started=20, outcomes={RequestOutcome.OK: 20},
        verdict=Validity.VALID, figures={}, judged=20, broken=len(rows), conformance=list(rows),
    )  # fmt: skip


def exchange_of(run: int) -> Exchange:
    request = Request("POST", "/v1/responses", (("content-type", "application/json"),), b'{"input":"of run %d"}' % run)
    headers = (("content-type", "text/event-stream"),)
    return Exchange(
        f"run-{run}-load-0-0", request, Outcome.COMPLETE, 200, headers, (Chunk(0.1, STREAM),), "load", ended_at=0.2
    )


@pytest.mark.parametrize("rate", [False, True])
def test_what_the_steps_of_a_search_broke_is_shown_together(
    rate: bool, loads: ModuleType, run_of: Any, report_of: Any, words: Any, table: Any, screen: Any
) -> None:
    """The third step breaks one more rule; the run in the file is the first one, which broke nothing."""
    samples = loads.recorded(sent(loads, {}))
    steps = [
        step(1, rate=rate),
        step(8, row("EVT-02", 3, run=2), rate=rate),
        step(16, row("EVT-02", 12), row("ACC-04", 2, run=3, voided=2), rate=rate),
    ]
    samples[-1].search = SearchResult(kind="rate" if rate else "sweep", steps=steps)
    run = replace(run_of(*samples), exchanges=[exchange_of(2), exchange_of(3)])
    unit = "requests/s" if rate else "concurrency"
    sentence = (
        "15 of 60 checked responses in 3 steps break 2 MUST rules (EVT-02 ×15, ACC-04 ×2). ACC-04 voids responses."
    )
    places = f"By {unit}: EVT-02: 3 at 8, 12 at 16; ACC-04: 2 at 16."
    found = report_of(*samples)[CONFORMANCE]
    assert (found.sentence, found.places, found.voiding) == (sentence, places, [])
    for text in (screen(run), render_markdown(run).replace("\\", "")):
        assert f"{sentence} {places}" in " ".join(text.split())
    rows = table(run, "<h3>Conformance under load")
    assert rows[0][-1] == f"Responses by {unit}"
    assert [(line[0].split()[0], line[-1]) for line in rows[1:]] == [
        ("ACC-04", "2 at 16"), ("EVT-02", "3 at 8, 12 at 16"),
    ]  # fmt: skip
    text = words(run)
    levels = ["8 requests/s", "16 requests/s"] if rate else ["concurrency 8", "concurrency 16"]
    for expected in (
        f"example from step 2 ({levels[0]})", f"example from step 3 ({levels[1]})", "of run 2", "of run 3",
        "run-3-load-0-0", "curl", "Event stream",
    ):  # fmt: skip
        assert expected in text, expected


def test_what_repeats_broke_is_shown_together_and_the_other_endpoint_apart(
    loads: ModuleType, run_of: Any, report_of: Any, words: Any
) -> None:
    samples = loads.recorded(sent(loads, {0: ["EVT-02"]}))
    samples[-1].repeats = [
        repeat(0, row("EVT-02", 1, run=1)),
        repeat(0, row("SSE-02", 1, run=2), other=True),
        repeat(1, row("EVT-02", 1)),
        repeat(1, other=True),
    ]
    run = replace(run_of(*samples), exchanges=[exchange_of(1), exchange_of(2)])
    found = report_of(*samples)[CONFORMANCE]
    assert found.sentence.startswith("2 of 40 checked responses in 2 repeats break 1 MUST rule (EVT-02 ×2).")
    assert found.places == "EVT-02: 1 in repeat 1, 1 in repeat 2."
    assert found.others.startswith("The other endpoint: 1 of 40 checked responses breaks 1 MUST rule (SSE-02 ×1).")
    text = words(run)
    assert "example from repeat 1" in text
    # A curl command of this endpoint would not reproduce what the other one did.
    assert "of run 2" not in text
    assert found.others in text


def test_steps_of_a_search_that_was_cut_short_have_their_rules(run_of: Any, report_of: Any) -> None:
    found = report_of(step(4, row("EVT-02", 3, run=1)), step(8))[CONFORMANCE]
    assert found.sentence.startswith("3 of 40 checked responses in 2 steps break 1 MUST rule (EVT-02 ×3).")


def test_steps_of_older_versions_show_the_rules_of_the_chosen_one(loads: ModuleType, report_of: Any) -> None:
    samples = loads.recorded(sent(loads, {0: ["EVT-02"]}))
    old = step(4)
    old.judged = 0
    samples[-1].search = SearchResult(kind="sweep", steps=[old])
    found = report_of(*samples)[CONFORMANCE]
    assert found.sentence.startswith("1 of 12 checked responses breaks 1 MUST rule (EVT-02 ×1).")
    assert [rule.findings for rule in found.rules] == [[]]


def test_rules_under_load_are_linked_as_those_of_a_check(loads: ModuleType, run_of: Any) -> None:
    """The row of a rule links to its finding, and the heading of its findings back to the row."""
    samples = loads.recorded(sent(loads, {0: ["EVT-02"]}))
    samples[-1].conformance = [row("EVT-02", 1, run=1)]
    page = render_html(run_of(*samples))
    assert '<tr id="r-EVT-02">' in page
    assert '<h4 id="under-load-1"><a href="#r-EVT-02"><code>EVT-02</code></a> ' in page
    assert page.count('<a href="#f-') >= 2
