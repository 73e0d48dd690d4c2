"""The table of all rules."""

from __future__ import annotations

from typing import Any

from rejoinder.contract import load_rules
from rejoinder.model.footer import Acceptance, FeatureResult, Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Level, Status, Verdict
from rejoinder.reports import render_html
from rejoinder.reports.model import read_report


def test_the_table_has_every_rule_with_its_numbers(checked: Run, table: Any) -> None:
    rows = [row for row in table(checked, '<section id="rules">') if len(row) == 5]
    assert [(row[0], row[1].split()[0], *row[2:]) for row in rows] == [
        ("Verdict", "Rule", "Level", "Checked", "Failed"),
        ("warn", "SSE-03", "SHOULD", "8", "2"),
        ("pass", "EVT-01", "MUST", "5", ""),
        ("fail", "EVT-02", "MUST", "10", "4"),
        ("error", "LIF-01", "MUST", "0", ""),
        ("not tested", "LIF-02", "MUST", "0", ""),
        ("not tested", "LIF-03", "MUST", "0", ""),
    ]
    assert rows[4][1].endswith("The connection broke.")


def test_a_rule_whose_feature_was_refused_is_not_applicable() -> None:
    verdicts = [Verdict(rule, Level.MUST, Status.NOT_APPLICABLE) for rule in ("HTTP-01", "SSE-01")]
    assert load_rules()["SSE-01"].features == ("streaming",)
    refused = FeatureResult(feature="streaming", title="", state=Acceptance.REFUSED, evidence=None)
    footer = Footer(ended_at=1.0, exit_code=0, capabilities=[refused])
    header = new_header(RunTarget(url="", model=None, dialect="northstar"))
    report = read_report(Run(header, verdicts=verdicts, footer=footer))
    assert {rule.id: rule.severity.counted(1) for rule in report.rules} == {
        "HTTP-01": "not tested",
        "SSE-01": "not applicable",
    }


def test_statements_show_names_as_code(checked: Run) -> None:
    assert "Every event has an integer <code>sequence_number</code>" in render_html(checked)
