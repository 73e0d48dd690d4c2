"""What changed from one run to another."""

from __future__ import annotations

import random
import re
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.footer import Footer
from rejoinder.model.header import Header, RunTarget, new_header
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import Run
from rejoinder.model.samples import Departure, Stationarity
from rejoinder.model.verdict import Finding, Level, Problem, Status, Verdict
from rejoinder.reports import Diff, diff_runs, render_diff_html, render_diff_markdown, render_diff_text
from rejoinder.reports.diff import Change

NAMES = ["typical", "green", "checked", "empty", "unreachable", "load", "many", "hostile"]
ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


FOOTER = Footer(ended_at=2.0, exit_code=0)


def header(**fields: Any) -> Header:
    return new_header(RunTarget(url="", model=None, dialect="northstar"), started_at=1.0, **fields)


def run(cases: list[str] | None = None, **rules: Any) -> Run:
    """Return a run of rules, each given by its status, or by the kinds of its findings when it is broken."""
    verdicts = []
    for name, told in rules.items():
        rule = name.replace("_", "-")
        if isinstance(told, Status):
            verdicts.append(Verdict(rule, Level.MUST, told, 3))
        else:
            findings = [Finding(rule, Level.MUST, Problem(f"{kind} is broken", kind=kind), 1, ["one"]) for kind in told]
            verdicts.append(Verdict(rule, Level.MUST, Status.FAIL, 3, len(findings), "", findings))
    return Run(header(cases=dict.fromkeys(cases or [], "")), verdicts=verdicts, footer=FOOTER)


def told(diff: Diff) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, rules in diff.groups.items():
        for rule in rules:
            firsts = [f"{rule.id} {finding.message.split()[0]}" for finding in rule.findings]
            found.setdefault(kind.value, []).extend(firsts)
    return found


def test_findings_are_sorted_by_fingerprint() -> None:
    before = run(EVT_02=["a", "b"], USG_02=["c"], SSE_03=["d"], LIF_01=Status.PASS)
    after = run(EVT_02=["b", "e"], USG_02=Status.PASS, SSE_03=Status.NOT_APPLICABLE, LIF_01=["f"])
    diff = diff_runs(before, after)
    assert told(diff) == {
        "new": ["EVT-02 e", "LIF-01 f"],
        "still": ["EVT-02 b"],
        "gone": ["SSE-03 d"],
        "fixed": ["EVT-02 a", "USG-02 c"],
    }
    assert [change.id for change in diff.rules if change.changed] == ["LIF-01", "SSE-03", "USG-02"]
    assert diff.new_failures == ["EVT-02 e is broken", "LIF-01 f is broken"]
    assert diff.headline == "2 new failures"
    assert diff.sentence == (
        "Findings: 2 new, 1 still failing, 1 not tested again, 2 fixed. The verdict on 3 rules changed."
    )


def test_the_order_of_the_runs_matters() -> None:
    before, after = run(EVT_02=["a"]), run(EVT_02=Status.PASS)
    assert told(diff_runs(before, after)) == {"fixed": ["EVT-02 a"]}
    assert told(diff_runs(after, before)) == {"new": ["EVT-02 a"]}
    assert diff_runs(before, after).headline == "1 finding fixed, none new"


def test_what_did_not_run_is_not_fixed() -> None:
    before = run(EVT_02=["a"])
    assert told(diff_runs(before, run(["two"], EVT_02=Status.PASS))) == {"gone": ["EVT-02 a"]}
    assert told(diff_runs(before, run(["one", "two"], EVT_02=Status.PASS))) == {"fixed": ["EVT-02 a"]}
    assert told(diff_runs(before, run())) == {"gone": ["EVT-02 a"]}


def test_a_rule_can_break_without_a_new_finding() -> None:
    before = run(EVT_02=["a"])
    before.verdicts[0].status = Status.WARN
    diff = diff_runs(before, run(EVT_02=["a"]))
    assert diff.counts[Change.NEW] == 0
    assert diff.new_failures == ["EVT-02 failed. Previous verdict: warn."]


def test_new_warnings_are_no_failures() -> None:
    after = run(EVT_02=["a"])
    after.verdicts[0].status = Status.WARN
    diff = diff_runs(run(EVT_02=Status.PASS), after)
    assert (diff.headline, diff.new_failures) == ("No new failures, but new findings", [])


def test_equal_runs_have_nothing_new(examples: ModuleType) -> None:
    diff = diff_runs(examples.typical(), examples.typical())
    assert diff.headline == "No new findings"
    assert set(told(diff)) == {"still"}
    assert diff.notes == []
    assert not any(change.changed for change in diff.rules)
    assert {figure.change for figure in diff.figures} <= {"", "±0 %"}
    assert diff_runs(examples.green(), examples.empty()).headline == "Nothing to compare"


def test_runs_that_are_hard_to_compare_say_so(examples: ModuleType) -> None:
    first, second = examples.typical(), examples.green()
    second.header.target.dialect = "openai"
    second.header.started_at -= 60
    second.footer = None
    del second.verdicts[0]
    notes = " ".join(diff_runs(first, second).notes)
    for words in (
        "Dialect: northstar (vLLM-style Responses API) before, openai (",
        "started before the first",
        "was cut short",
        "Only the first run",
    ):
        assert words in notes


def _loaded(loads: ModuleType, factor: float, count: int = 400, ok: int | None = None) -> Run:
    dice = random.Random(3)
    sent = [loads.Sent(number / 40, 0.5 * factor * dice.lognormvariate(0, 0.3), tokens=1) for number in range(count)]
    for request in sent[count if ok is None else ok :]:
        request.outcome = RequestOutcome.NONCONFORMING
    return Run(header(), samples=loads.recorded(sent, rate=40.0), footer=FOOTER)


@pytest.mark.parametrize(
    ("factor", "count", "statement"),
    [
        (1.5, 400, "slower in "),
        (0.6, 400, "faster in "),
        (1.0, 400, "no significant difference"),
        (1.5, 5, "not tested: too few values (samples: 400 and 5)"),
    ],
)
def test_latencies_are_tested(factor: float, count: int, statement: str, loads: ModuleType) -> None:
    diff = diff_runs(_loaded(loads, 1.0), _loaded(loads, factor, count))
    figure = next(figure for figure in diff.figures if figure.name == "E2E latency p50")
    assert figure.statement.startswith(statement)


@pytest.mark.parametrize(
    ("factor", "unended", "statement"),
    [
        (1.5, (0, 3), "slower in "),
        (1.5, (3, 3), "slower in "),
        (0.6, (3, 3), "faster in "),
        (1.0, (3, 3), "no significant difference"),
        (1.0, (0, 60), "cannot be known: 60 samples have no end"),
        (0.8, (0, 150), "cannot be known: 150 samples have no end"),
    ],
)
def test_latencies_with_requests_without_an_end_are_tested_where_they_decide_nothing(
    factor: float, unended: tuple[int, int], statement: str, loads: ModuleType
) -> None:
    """A few of them hide no slowdown."""
    runs = []
    for scale, count in ((1.0, unended[0]), (factor, unended[1])):
        dice = random.Random(3)
        sent = [loads.Sent(number / 40, 0.5 * scale * dice.lognormvariate(0, 0.3), tokens=1) for number in range(400)]
        for request in dice.sample(sent, count):
            request.outcome = RequestOutcome.CENSORED
        runs.append(Run(header(), samples=loads.recorded(sent, rate=40.0), footer=FOOTER))
    figure = next(figure for figure in diff_runs(*runs).figures if figure.name == "E2E latency p50")
    assert figure.statement.startswith(statement), figure.statement


@pytest.mark.parametrize(
    ("factor", "headline", "severity"),
    [(3.0, "TTFT p50 rose 200 %", "warn"), (0.5, "TTFT p50 fell 50 %", "pass"), (1.0, "No signif", "pass")],
)
def test_two_loads_lead_with_the_largest_significant_change(
    factor: float, headline: str, severity: str, loads: ModuleType
) -> None:
    diff = diff_runs(_loaded(loads, 1.0), _loaded(loads, factor))
    assert diff.headline.startswith(headline)
    assert diff.severity == severity


def test_loads_that_were_set_differently_are_not_comparable(loads: ModuleType) -> None:
    slower = _loaded(loads, 1.0)
    assert slower.load is not None
    slower.load.settings["rate"] = 20.0
    diff = diff_runs(_loaded(loads, 1.0), slower)
    assert diff.headline == "Not comparable: rate 40 before, 20 after"
    assert diff.severity == "warn"


def test_no_green_tick_stands_over_a_slowdown(examples: ModuleType, loads: ModuleType) -> None:
    before, after = examples.green(), examples.green()
    before.samples, after.samples = _loaded(loads, 1.0).samples, _loaded(loads, 3.0).samples
    diff = diff_runs(before, after)
    assert diff.severity == "warn"
    assert diff.headline.startswith("No new findings, but under load TTFT p50 rose 200 %")


def test_a_load_that_was_not_steady_is_noted(loads: ModuleType) -> None:
    unsteady = _loaded(loads, 1.0)
    assert unsteady.load is not None
    queue = Departure(kind="queue", metric="in_flight", growth=4.7, text="The queue grew by 4.7 requests/s.")
    unsteady.load.stationarity = Stationarity(state="not steady", departures=[queue])
    notes = diff_runs(_loaded(loads, 1.0), unsteady).notes
    assert any("second run was not steady" in note for note in notes)


def test_a_load_that_ends_badly_now_is_a_new_failure(loads: ModuleType) -> None:
    good, bad = _loaded(loads, 1.0), _loaded(loads, 1.0, ok=300)
    diff = diff_runs(good, bad)
    assert diff.new_failures == ["Under load, 100 of 400 requests broke the contract."]
    figure = next(figure for figure in diff.figures if figure.name == "Succeeded")
    assert (figure.severity, figure.statement) == ("fail", "differs (p < 0.001)")
    assert diff_runs(bad, good).new_failures == []
    assert diff_runs(bad, bad).new_failures == []


@pytest.mark.slow(6)
@pytest.mark.parametrize("before", NAMES)
@pytest.mark.parametrize("after", ["typical", "hostile", "many", "empty"])
def test_every_writer_takes_every_pair(before: str, after: str, examples: ModuleType, check_page: Any) -> None:
    diff = diff_runs(examples.EXAMPLES[before](), examples.EXAMPLES[after]())
    text = render_diff_html(diff)
    check_page(text)
    assert len(text.encode()) < 800_000
    markdown = render_diff_markdown(diff)
    assert len(markdown.encode()) <= 60_000
    for written in (markdown, render_diff_text(diff)):
        assert not ACTIVE.search(written)


def test_the_page_links_and_labels(examples: ModuleType, check_page: Any) -> None:
    page = check_page(render_diff_html(diff_runs(examples.green(), examples.typical())))
    ids = {attributes.get("id") for _, attributes in page.elements}
    for tag, attributes in page.elements:
        href = attributes.get("href") or ""
        if tag in ("a", "use") and "?" not in href:
            assert href[1:] in ids, href
        if tag == "th":
            assert attributes.get("scope") in ("col", "row", "rowgroup")
    text = " ".join("".join(page.texts).split())
    for words in ("New", "Event 4 has no sequence_number.", "Not found in the first run.", "verdict changed"):
        assert words in text


def test_what_the_first_run_did_not_send_is_no_regression() -> None:
    quick, full = run(["two"], EVT_02=Status.PASS), run(["one", "two"], EVT_02=["a"])
    diff = diff_runs(quick, full)
    assert told(diff) == {"first": ["EVT-02 a"]}
    assert diff.new_failures == []
    assert diff.headline == "No new failures, 1 finding in cases that only the second run sent"
    assert "First tested" in render_diff_html(diff)
    # The same case, the same plan: a regression.
    assert told(diff_runs(run(["one"], EVT_02=Status.PASS), full)) == {"new": ["EVT-02 a"]}
    # A rule that the first run left out, or had not come to.
    assert told(diff_runs(run(["one"], SSE_03=Status.PASS), full)) == {"first": ["EVT-02 a"]}
    early = run(["one"], EVT_02=Status.NOT_APPLICABLE)
    assert told(diff_runs(early, full)) == {"new": ["EVT-02 a"]}
    early.footer = Footer(ended_at=2.0, exit_code=0, unsent=9)
    assert told(diff_runs(early, full)) == {"first": ["EVT-02 a"]}
