"""Repeats side by side, and the dots that changes are drawn with."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.metrics import format_change_figure
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import ChangeResult, Repeat, Validity
from rejoinder.reports import render_html, render_markdown
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.repeats import PART as REPEATS


def test_every_repeat_has_a_row_and_a_dot(examples: ModuleType, report_of: Any) -> None:
    repeats = report_of(*examples.compared().samples)[REPEATS]
    assert len(repeats.table.rows) == 10
    assert [row[:2] for row in repeats.table.rows[:2]] == [["1", "this endpoint"], ["1", "baseline"]]
    dots = repeats.dots["ttft:p99<+10%"]
    assert (len(dots.ours), len(dots.others)) == (5, 5)
    assert min(dots.ours) > max(dots.others)
    assert dots.before is not None
    assert dots.limit is not None
    assert min(dots.others) <= dots.before <= max(dots.others) < dots.limit
    assert all(0 <= place <= 100 for place in (*dots.ours, *dots.others, dots.before, dots.limit))


def test_repeats_that_were_cut_short_are_shown(examples: ModuleType, run_of: Any, report_of: Any, screen: Any) -> None:
    repeats = examples.compared().samples_of(Repeat)[:3]
    load = report_of(*repeats)[LOAD]
    assert (load.started, load.ok, load.bad, load.whole) == (900, 894, 6, False)
    assert "baseline" in screen(run_of(*repeats))
    assert render_markdown(run_of(*repeats)).count("| VALID |") == 3


def two_repeats(**figures: float) -> list[Repeat]:
    outcomes = {RequestOutcome.OK: 1234, RequestOutcome.FAILED: 411}
    return [
        Repeat(of="endpoint", repeat=0, started=1645, outcomes=outcomes, verdict=Validity.VALID, figures=figures),
        Repeat(of="against", repeat=1, started=2, outcomes={}, verdict=Validity.SUSPECT, figures={}),
    ]


def changed(figure: str, before: float | None = None) -> ChangeResult:
    return ChangeResult(
        text=f"{figure}<+10%", figure=figure, limit=0.1, n=(3, 3), verdict="kept", met=True, before=before
    )


def test_a_row_has_the_figures_of_its_repeat(report_of: Any) -> None:
    repeats = report_of(*two_repeats(**{"ttft:p50": 0.25, "goodput": 0.75, "requests": 12.5}))[REPEATS]
    names = repeats.figures
    assert names[:1] == ["ttft:p50"]
    assert set(names) <= {"ttft:p50", "goodput", "requests"}
    shown = {"ttft:p50": "250 ms", "goodput": "75.0 %", "requests": "12.5/s"}
    assert repeats.table.rows == [
        ["1", "this endpoint", "1,645", "75.0 %", *(shown[name] for name in names), "VALID"],
        ["2", "baseline", "2", "0 %", *("–" for _ in names), "SUSPECT"],
    ]
    assert repeats.table.head == ["repeat", "endpoint", "requests", "succeeded", "TTFT p50", "goodput", "measurement"]
    alone = report_of(two_repeats(**{"ttft:p50": 0.25})[0])[REPEATS].table
    assert alone.head == ["repeat", "requests", "succeeded", "TTFT p50", "measurement"]
    assert alone.rows == [["1", "1,645", "75.0 %", "250 ms", "VALID"]]


def test_the_figures_of_the_limits_are_shown_before_the_usual_ones(loads: ModuleType, report_of: Any) -> None:
    *_, load = loads.recorded([loads.Sent(0.1, 0.1, tokens=1)], duration=1.0)
    load.repeats = two_repeats(**{"ttft:p50": 0.25, "tail:p90": 0.001, "goodput": 1.0})
    load.changes = [changed("tail:p90"), changed("goodput"), changed("tail:p90"), changed("itl:p99")]
    assert report_of(load)[REPEATS].figures == ["tail:p90", "goodput"]
    # Where no repeat has a figure that is limited, the usual ones are shown, and there are no dots.
    load.changes = [changed("itl:p99")]
    found = report_of(load)[REPEATS]
    assert found.figures == ["ttft:p50", "goodput"]
    dots = found.dots["itl:p99<+10%"]
    assert (dots.ours, dots.others, dots.before, dots.limit) == ([], [], None, None)
    load.changes = [changed("itl:p99", before=0.5)]
    dots = report_of(load)[REPEATS].dots["itl:p99<+10%"]
    assert (dots.ours, dots.others, dots.before, dots.limit) == ([], [], pytest.approx(6), pytest.approx(94))


def test_many_figures_and_repeats_are_bounded(loads: ModuleType, report_of: Any, run_of: Any) -> None:
    *_, load = loads.recorded([loads.Sent(0.1, 0.1, tokens=1)], duration=1.0)
    figures = {f"ttft:p{number}": 0.1 for number in range(20, 40)}
    load.repeats = [two_repeats(**figures)[0]] * 120
    load.changes = [changed(name) for name in figures] * 6
    found = report_of(load)[REPEATS]
    assert (len(found.figures), len(found.table.rows), len(found.dots)) == (8, 100, 20)
    # The table is closed where limits say what it shows.
    page = render_html(run_of(load))
    assert "<summary>100 repeats" in page
    load.changes = []
    assert '<details class="table" open>\n<summary>100 repeats' in render_html(run_of(load))
    assert '<details class="table" open>\n<summary>100 repeats' not in page


@pytest.mark.parametrize(
    ("figure", "value", "text"),
    [("ttft:p99", 0.0123, "12.3 ms"), ("goodput", 0.5, "50.0 %"), ("requests", 2.5, "2.50/s"), ("goodput", None, "–")],
)
def test_figures_have_their_unit(figure: str, value: float | None, text: str) -> None:
    assert format_change_figure(figure, value) == text
