"""The verdict in words, and how much was checked."""

from __future__ import annotations

from typing import Any

from rejoinder.contract import load_rules
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Level
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.verdict import PART as VERDICT

SENTENCE = "2 defects: 1 of 2 MUST rules checked failed. Also: 1 SHOULD rule failed, 1 rule could not be checked."


def test_the_verdict_counts_what_was_judged_and_what_was_not(checked: Run, forms: Any) -> None:
    assert read_report(checked)[VERDICT] == ("fail", "Does not conform", SENTENCE, "")
    markdown, terminal = forms(VERDICT, checked)
    assert markdown == ["## ❌ Does not conform", "", escape(SENTENCE), ""]
    assert terminal[0] == "✗ Does not conform"
    assert " ".join(line.strip() for line in terminal[1:]) == SENTENCE


def test_the_page_counts_rules_by_verdict_and_level_and_says_how_many_are_in_force(checked: Run, section: Any) -> None:
    text = section(checked, '<div class="verdict', '<div class="target"')
    force = sum(rule.level_in("northstar") is not Level.OFF for rule in load_rules().values())
    assert "1 failed 1 warned 1 error 1 passed 2 not tested" in text
    assert "MUST required 1 failed, 1 error, 1 /5 passed SHOULD recommended 1 warned, 0 /1 passed" in text
    assert text.endswith(f"3 of {force} rules of this dialect checked against 2 exchanges.")
