"""Repeats side by side, and the dots that changes are drawn with."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from rejoinder.model.samples import Repeat
from rejoinder.reports import render_markdown
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
