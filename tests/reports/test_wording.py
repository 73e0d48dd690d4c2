"""Whatever a run holds, what people read has right plurals and none of the words that the wording rules ban."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.footer import (
    AbilityResult,
    Acceptance,
    BaselineResult,
    BaselineResults,
    CoverageResult,
    FeatureResult,
    Footer,
)
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Finding, Known, Level, Problem, Reruns, Status, Verdict
from rejoinder.reports import (
    diff_runs,
    render_badge,
    render_comparison,
    render_ctrf,
    render_diff_html,
    render_diff_markdown,
    render_diff_text,
    render_html,
    render_junit,
    render_markdown,
    summarize,
)

BANNED = re.compile(
    r"\b(?:told|tells|asked|what became of|whoever|of one's own|so many|sorts of|ended well|ended badly|an answer"
    r" that|the unfinished|planted|lanes|analyst|judged?|judging|nothing there|any value|see the rule|where none is"
    r"|as far as|if anything does|for want of|sooner|shall|thereof|no longer|reply|replies)\b",
    re.IGNORECASE,
)
NOUNS = (
    r"(?:MUST rule|SHOULD rule|rule|request|finding|case|check|exchange|event|feature|line|step|repeat|sample|response"
    r"|known failure|gap|SLO|rerun|run|warning|part|failure|verdict|comment line|regression limit)"
)
# "1 of 1 MUST rules checked" counts a part of a whole, and the whole has its plural.
WRONG_PLURAL = re.compile(
    rf"(?<![\d.,:-])(?<!of )1 (?:{NOUNS}|error)s\b|(?<![\d.,:-])(?:0|2) {NOUNS}\b(?![-/]| file)"
    r"|\b1 [a-z]+ are\b|\b2 [a-z]+ is\b"
)


def run_with(n: int, loads: ModuleType) -> Run:
    """Return a run that has ``n`` of everything that reports count."""
    rules = itertools.count(1)

    def verdicts(level: Level, status: Status, *, findings: bool = False, known: bool = False) -> Iterator[Verdict]:
        for _ in range(n):
            rule = f"EVT-{next(rules):02}"
            found = [
                Finding(
                    rule,
                    level,
                    Problem("Field is missing.", f"/f{number}", expected="integer"),
                    count=n,
                    cases=[f"case-{case}" for case in range(n)],
                    reruns=Reruns(n, n),
                    known=Known("issue 7") if known else None,
                )
                for number in range(n if findings else 0)
            ]
            yield Verdict(rule, level, status, n, n, "No case exercises it.", found)

    entry = BaselineResult(rule="EVT-01", case="case-1", reason="issue 7", note="still fails")
    baseline = BaselineResults(
        file="known.toml",
        strict=True,
        unexpected_passes=[entry] * n,
        expired=[entry] * n,
        stale=[entry] * n,
        known=[entry] * n,
    )
    states = {state: [f"{state.value}={number}" for number in range(n)] for state in Acceptance}
    features = [
        FeatureResult(feature=f"{state.value}-{number}", title="", state=state, evidence=None)
        for state in Acceptance
        for number in range(n)
    ]
    requests = [loads.Sent(number / 4, 0.1, [0.02], tokens=2, scenario="chat") for number in range(2 * n)]
    for request in requests[:n]:
        request.outcome = RequestOutcome.FAILED
    shown = ("repeats", "calls", "follows_schema")[:n]
    return Run(
        header=new_header(RunTarget(url="http://h:1/v1/responses", model="m", dialect="northstar"), plan="quick"),
        verdicts=[
            *verdicts(Level.MUST, Status.FAIL, findings=True),
            *verdicts(Level.SHOULD, Status.WARN, findings=True),
            *verdicts(Level.MUST, Status.KNOWN, findings=True, known=True),
            *verdicts(Level.MAY, Status.PASS, findings=True),
            *verdicts(Level.MUST, Status.PASS),
            *verdicts(Level.MUST, Status.ERROR),
            *verdicts(Level.MUST, Status.DECLINED),
            *verdicts(Level.MUST, Status.NOT_APPLICABLE),
        ],
        samples=loads.recorded(requests, ["ttft:p99<1ms", "error<1%"]) if n else [],
        footer=Footer(
            ended_at=1.0,
            exit_code=1,
            coverage=CoverageResult(total=4 * n, counts={}, branches=states),
            capabilities=features,
            abilities={name: AbilityResult(shown=False, exchange=None) for name in shown},
            baseline=baseline,
        ),
        damage=["line 3: not JSON"] * n,
    )


def texts(run: Run, other: Run, check_page: Any) -> Iterator[tuple[str, str]]:
    """Yield everything that people read of a run, with the name of the form."""
    diff = diff_runs(other, run)
    for name, page in (
        ("page", render_html(run)),
        ("diff page", render_diff_html(diff)),
        ("comparison", render_comparison([run, other])),
    ):
        parsed = check_page(page)
        yield name, " ".join(" ".join(parsed.texts).split())
        labels = (
            attributes.get(key) for _, attributes in parsed.elements for key in ("title", "aria-label", "placeholder")
        )
        yield f"{name}, labels", "\n".join(filter(None, labels))
    yield "Markdown", render_markdown(run).replace("\\", "")
    yield "Markdown of a diff", render_diff_markdown(diff).replace("\\", "")
    yield "terminal", summarize(run).plain(200)
    yield "terminal of a diff", render_diff_text(diff)
    for name, text in (("JUnit", render_junit(run)), ("CTRF", render_ctrf(run))):
        yield name, text.replace('"judged"', "")  # the name of a property
    yield "badge", render_badge(run)


def mistakes(run: Run, other: Run, check_page: Any, pattern: re.Pattern[str]) -> list[str]:
    """Return the places where the texts of a run have what they must not have."""
    return [
        f"{name}: …{text[max(0, match.start() - 60) : match.end() + 30]}…"
        for name, text in texts(run, other, check_page)
        for match in pattern.finditer(text)
    ]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_counts_and_verbs_agree(n: int, loads: ModuleType, check_page: Any) -> None:
    run = run_with(n, loads)
    assert mistakes(run, run_with(1, loads), check_page, WRONG_PLURAL) == []
    assert mistakes(run, run_with(0, loads), check_page, BANNED) == []


@pytest.mark.parametrize(
    "name",
    ["typical", "green", "empty", "unreachable", "load_only", "sweep", "rate_search", "compared", "nothing_answered"],
)
@pytest.mark.slow(1)
def test_no_report_has_a_banned_word(name: str, examples: ModuleType, check_page: Any) -> None:
    run = getattr(examples, name)()
    assert mistakes(run, examples.healthy_load(), check_page, BANNED) == []
    assert mistakes(run, examples.healthy_load(), check_page, WRONG_PLURAL) == []


def test_the_patterns_find_what_they_are_for() -> None:
    for wrong in ("1 rules", "1 known failures", "2 MUST rule failed", "0 request", "1 entry are", "2 rules is"):
        assert WRONG_PLURAL.search(wrong), wrong
    for right in ("1 rule", "1 of 1 MUST rules checked", "0 rules", "21 rules", "2 requests", "1.1 samples"):
        assert not WRONG_PLURAL.search(right), right
    assert BANNED.search("Not every request ended well.")
