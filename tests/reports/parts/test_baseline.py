"""What became of the entries of a baseline."""

from __future__ import annotations

from typing import Any

from rejoinder.model.footer import BaselineResult, BaselineResults
from rejoinder.model.runfile import Run
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.baseline import PART as BASELINE


def test_entries_of_a_baseline_are_grouped_by_what_became_of_them(checked: Run, table: Any) -> None:
    entry = BaselineResult(
        rule="EVT-02", case="case-1", fingerprint="0f4f", reason="bug 9", link="l", expires="d", note=""
    )
    stale = BaselineResult(rule="EVT-09", case="*", reason="", note="not judged")
    assert checked.footer is not None
    checked.footer.baseline = BaselineResults(
        file="b.toml", strict=True, known=[entry, entry], stale=[stale], unexpected_passes=[], expired=[]
    )
    found = read_report(checked)[BASELINE]
    assert found.brief == "1 stale, 2 known failures"
    assert found.outdated == ["EVT-09@*: not judged"]
    assert table(checked, 'id="baseline"')[1] == ["EVT-09", "*", "", "–", "not judged"]
    assert table(checked, "Known failure: the rule fails as expected")[1:] == 2 * [
        ["EVT-02 0f4f", "case-1", "bug 9 l", "d", ""]
    ]
    checked.footer.baseline.strict = False
    assert read_report(checked)[BASELINE].outdated == []
