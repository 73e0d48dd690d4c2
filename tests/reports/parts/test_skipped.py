"""The rules that were not judged, by reason."""

from __future__ import annotations

from typing import Any

from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Level, Status, Verdict
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.skipped import PART as SKIPPED

HEADER = new_header(RunTarget(url="", model=None, dialect="northstar"))


def test_rules_without_a_verdict_are_grouped_by_reason(checked: Run, section: Any) -> None:
    reasons = read_report(checked)[SKIPPED]
    assert [(skipped.severity, skipped.reason, [rule.id for rule in skipped.rules]) for skipped in reasons] == [
        ("error", "The connection broke.", ["LIF-01"]),
        ("untested", "No stream.", ["LIF-02", "LIF-03"]),
    ]
    text = section(checked, "<summary>Rules without a result, by reason", "</details>")
    assert text == (
        "Rules without a result, by reason 1 error, 2 not tested"
        " The connection broke. 1 error LIF-01 No stream. 2 not tested LIF-02 LIF-03"
    )


def test_a_run_of_passes_skips_nothing() -> None:
    run = Run(HEADER, verdicts=[Verdict("EVT-01", Level.MUST, Status.PASS, 1)])
    assert read_report(run).get(SKIPPED) is None
