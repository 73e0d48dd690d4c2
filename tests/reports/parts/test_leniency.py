"""Invalid bodies that the endpoint answered, on the page, in Markdown, on the terminal and side by side."""

from __future__ import annotations

from typing import Any

import pytest

from rejoinder.model.footer import LeniencyResult
from rejoinder.model.runfile import Run
from rejoinder.model.tags import FaultKind
from rejoinder.reports import render_comparison
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.leniency import PART as LENIENCY


@pytest.fixture
def lenient(checked: Run) -> Run:
    assert checked.footer is not None
    checked.footer.leniency = [
        LeniencyResult(fault=FaultKind.NULL, sent=12, answered=9, exchange="x2", place="input[0].role"),
        LeniencyResult(fault=FaultKind.JSON, sent=24, answered=0, exchange=None),
        LeniencyResult(fault=FaultKind.ROOT, sent=1, answered=1, exchange="x1"),
    ]
    return checked


def test_it_is_told_in_all_forms(lenient: Run, table: Any, forms: Any) -> None:
    assert table(lenient, 'id="leniency"') == [
        ["Invalid bodies", "Answered", "First response"],
        ["null in a field that cannot be null", "9 of 12", "x2 · input[0].role"],
        ["malformed JSON", "0 of 24", ""],
        ["body that is not an object", "1 of 1", "x1"],
    ]
    markdown, terminal = forms(LENIENCY, lenient)
    assert terminal == ["  leniency  answered 10 of 37 invalid bodies"]
    assert markdown == [
        "Leniency: answered 10 of 37 invalid bodies.",
        "",
        "| Invalid bodies | Answered | First |",
        "|---|---|---|",
        "| null in a field that cannot be null | 9 of 12 | `x2 · input[0].role` |",
        "| body that is not an object | 1 of 1 | `x1` |",
        "",
    ]


def test_it_stands_side_by_side(lenient: Run) -> None:
    page = render_comparison([lenient, lenient])
    assert page.count("answered 10 of 37 invalid bodies") == 2


def test_a_run_without_invalid_bodies_says_nothing(checked: Run) -> None:
    assert read_report(checked).get(LENIENCY) is None
    assert "leniency" not in render_comparison([checked, checked]).lower().replace("report.css", "")


def test_one_body_is_told_in_the_singular(checked: Run) -> None:
    assert checked.footer is not None
    checked.footer.leniency = [LeniencyResult(fault=FaultKind.TYPE, sent=1, answered=0, exchange=None)]
    assert read_report(checked)[LENIENCY].brief == "answered 0 of 1 invalid body"
