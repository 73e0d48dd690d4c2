"""Findings, the worst first, in each form, with the number of those that found no room."""

from __future__ import annotations

from typing import Any

from rejoinder.model.runfile import Run
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.findings import PART as FINDINGS
from rejoinder.reports.parts.findings.choice import amounts, choose


def test_findings_come_in_groups_and_known_ones_last(checked: Run) -> None:
    groups = read_report(checked)[FINDINGS]
    assert [
        (severity, defect.rule.id, [(finding.count, finding.known) for finding in defect.findings])
        for severity, defects in groups
        for defect in defects
    ] == [
        ("fail", "EVT-02", [(3, "")]),
        ("fail", "EVT-02", [(1, "")]),
        ("warn", "SSE-03", [(2, "")]),
        ("known", "EVT-02", [(7, "bug 9")]),
    ]


def test_markdown_has_each_finding_with_its_extent(checked: Run, forms: Any) -> None:
    lines, _ = forms(FINDINGS, checked)
    heads = [line for line in lines if line.startswith(("### ", "- "))]
    extents = [head.rpartition("(")[2].rstrip() for head in heads]
    assert extents == [
        "### Failures",
        "MUST, misleading, 3 exchanges)",
        "MUST, misleading, 1 exchange)",
        "### Warnings",
        "SHOULD, misleading, 2 exchanges)",
        "### Known failures",
        "MUST, misleading, 7 exchanges)",
    ]
    at = lines.index(heads[1])
    assert lines[at + 1 : at + 4] == [
        "  The text is wrong\\. `/output/0`  ",
        "  expected `a`, actual `b`  ",
        "  in `case-1`, `case-2`",
    ]


def test_markdown_counts_what_had_no_room(checked: Run) -> None:
    report = read_report(checked)
    assert FINDINGS.markdown is not None
    whole = FINDINGS.markdown(report[FINDINGS], report, 10_000)
    size = len("".join(f"{line}\n" for line in whole).encode())
    assert FINDINGS.markdown(report[FINDINGS], report, size + 200) == whole
    assert FINDINGS.markdown(report[FINDINGS], report, size + 199)[-1] == "1 more finding is in the HTML report."
    assert FINDINGS.markdown(report[FINDINGS], report, 0) == ["", "4 more findings are in the HTML report."]


def test_the_terminal_names_every_rule_and_shows_the_worst(checked: Run, forms: Any) -> None:
    _, lines = forms(FINDINGS, checked)
    assert [line.strip() for line in lines] == [
        "",
        "Failed",
        "✗ EVT-02  every event has a sequence_number  misleading, 3 exchanges",
        "The text is wrong. /output/0",
        "✗ EVT-02  every event has a sequence_number  misleading, 1 exchange",
        "The id is missing. /id",
        "",
        "Warned: SSE-03.",
        "",
        "Known failures: EVT-02.",
    ]


def test_the_page_says_how_often_a_rule_was_broken(checked: Run, section: Any) -> None:
    text = section(checked, '<section id="findings">', '<section id="rules">')
    assert "4 of 10 checks failed" in text
    assert "2 of 8 checks failed" in text
    assert "Event 2 Pointer /output/0 Response 200 · application/json · 10 B · 250 ms Exchange x1" in text
    assert "Expected a Actual b" in text


def test_evidence_goes_to_the_findings_that_come_first_while_there_is_room(checked: Run) -> None:
    report = read_report(checked)
    ((_, (broken,)), (_, (warned,))) = choose(checked, "http://h:1/v1/responses", report.groups, budget=1500, room=3)
    # In turn: the first finding of every rule before the second of any.
    assert [entry.evidence is not None for entry in (*broken.findings, *warned.findings)] == [True, False, True]
    assert [finding.count for finding in broken.lines] == [7]
    assert amounts([("fail", [broken]), ("warn", [warned])]) == (4, 0)
