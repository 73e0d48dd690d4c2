"""Limits of the endpoint, in every form of a report."""

from __future__ import annotations

from typing import Any

import pytest

from rejoinder.model.footer import LimitResult, LimitStop
from rejoinder.model.runfile import Run
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.limits import PART as LIMITS

HOW = "413 text/plain: length <limit>"


def limit(name: str, title: str, unit: str, largest: int | None, smallest: int | None, **fields: Any) -> LimitResult:
    return LimitResult(limit=name, title=title, unit=unit, largest=largest, smallest=smallest, **fields)


@pytest.fixture
def limited(checked: Run) -> Run:
    assert checked.footer is not None
    found, budget, refused = LimitStop.FOUND, LimitStop.BUDGET, LimitStop.REFUSED
    checked.footer.limits = [
        limit("body", "Request body", "bytes", 2_097_152, 2_200_000, how=HOW, stop=found, accepted="x1", refused="x2"),
        limit("metadata_pairs", "Metadata pairs", "pairs", 1, None, documented=16, stop=budget, accepted="x1"),
        limit("tools", "Function tools", "tools", None, 8, how="400: No tools.", stop=refused, refused="x2"),
    ]
    return checked


def test_a_limit_that_was_not_reached_says_so(limited: Run, table: Any, forms: Any) -> None:
    assert table(limited, 'id="limits"') == [
        ["Limit", "Largest accepted", "Smallest rejected", "How it ended", "Documented"],
        ["Request body", "2,097,152 bytes", "2,200,000 bytes", HOW, ""],
        ["Metadata pairs", "at least 1 pair", "", "stopped by the budget", "16 pairs"],
        ["Function tools", "", "8 tools", "400: No tools.", ""],
    ]
    markdown, terminal = forms(LIMITS, limited)
    assert markdown == [
        "Limits found: 1 found, 1 not reached, 1 rejected at the smallest size.",
        "",
        "| Limit | Largest accepted | Smallest rejected | How it ended | Documented |",
        "|---|---|---|---|---|",
        r"| Request body | 2,097,152 bytes | 2,200,000 bytes | 413 text\/plain\: length &lt;limit&gt; |  |",
        "| Metadata pairs | at least 1 pair |  | stopped by the budget | 16 pairs |",
        r"| Function tools |  | 8 tools | 400\: No tools\. |  |",
        "",
    ]
    assert " ".join(" ".join(terminal).split()) == (
        "Limits: 1 found, 1 not reached, 1 rejected at the smallest size "
        f"Request body: accepted 2,097,152 bytes, rejected 2,200,000 bytes ({HOW}) "
        "Function tools: rejected 8 tools (400: No tools.) not reached Metadata pairs: at least 1 pair"
    )


def test_a_column_without_content_is_left_out(limited: Run, table: Any) -> None:
    assert limited.footer is not None
    limited.footer.limits = limited.footer.limits[:1]
    assert table(limited, 'id="limits"')[0] == ["Limit", "Largest accepted", "Smallest rejected", "How it ended"]


def test_a_run_without_limits_has_no_part(checked: Run) -> None:
    assert read_report(checked).get(LIMITS) is None
