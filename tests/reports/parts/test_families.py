"""The rules counted by family and verdict."""

from __future__ import annotations

from typing import Any

from rejoinder.model.runfile import Run
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.families import PART as FAMILIES


def test_families_count_their_rules_by_verdict(checked: Run, forms: Any) -> None:
    families = read_report(checked)[FAMILIES]
    assert {family.id: family.counts for family in families} == {
        "SSE": {"warn": 1},
        "EVT": {"fail": 1, "pass": 1},
        "LIF": {"error": 1, "untested": 2},
    }
    markdown, terminal = forms(FAMILIES, checked)
    assert markdown[0] == "| Family | ❌ fail | ⚠️ warn | 🟪 error | ✅ pass | ➖ not tested |"
    assert [line.split("|")[-6:-1] for line in markdown[2:6]] == [
        ["  ", " 1 ", "  ", "  ", "  "],
        [" 1 ", "  ", "  ", " 1 ", "  "],
        ["  ", "  ", " 1 ", "  ", " 2 "],
        [" **1** ", " **1** ", " **1** ", " **1** ", " **2** "],
    ]
    assert terminal == ["", "  ✗ 1 failed  ! 1 warned  ? 1 error  ✓ 1 passed  – 2 not tested"]


def test_the_page_says_of_each_family_how_many_passed(checked: Run, section: Any) -> None:
    text = section(checked, "<h2>By family", "<details")
    assert [words.split()[-2:] for words in text.split(" passed")[:-1]][-3:] == [["0", "/1"], ["1", "/2"], ["0", "/3"]]
