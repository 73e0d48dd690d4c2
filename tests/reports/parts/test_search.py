"""Searches over loads: what was found, and what each step brought and cost."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.samples import SearchStep
from rejoinder.reports import render_markdown
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.search import PART as SEARCH
from rejoinder.reports.parts.search.charts import search_charts


def test_a_sweep_shows_its_knee(examples: ModuleType, report_of: Any, words: Any) -> None:
    sweep = examples.sweep()
    search = report_of(*sweep.samples)[SEARCH]
    first, second = search_charts(search)
    assert [mark.label for mark in first.marks] == ["knee at 32"]
    assert [point.shape for point in first.points].count("ring") == 1
    # Two of the nine steps have too few requests for a p99.
    assert len(second.points) == 27 - 2
    for chart in (first, second):
        assert all(-0.5 <= place <= 100.5 for point in chart.points for place in (point.x, point.y))
    assert first.table is not None
    assert [row[0] for row in first.table.rows][4:7] == ["16", "32 (knee)", "64"]
    text = words(sweep)
    assert "Knee at concurrency 32: 1,766 output tokens/s, TTFT p99 164 ms." in text
    assert "The load generator was the bottleneck in some steps" in text
    assert "No knee found" in words(examples.sweep(3, False))


def test_the_curves_of_a_sweep_have_the_figures_of_its_steps(examples: ModuleType, report_of: Any) -> None:
    search = report_of(*examples.sweep().samples)[SEARCH]
    first, second = search_charts(search)
    drawn = [(step.level, step.output_tokens_per_s) for step in search.steps]
    assert [list(curve.values) for curve in first.curves] == [drawn]
    assert {curve.name: list(curve.values) for curve in second.curves} == {
        name: [(step.output_tokens_per_s, step.latencies[figure]) for step in search.steps if figure in step.latencies]
        for name, figure in (
            ("TTFT p99", "ttft_p99"), ("TTFT p50", "ttft_p50"), ("E2E latency p50", "e2e_p50")
        )
    }  # fmt: skip
    # Throughput grows upwards; the last chart has it grow to the right, and time upwards.
    heights = {point.y: step.output_tokens_per_s for point, step in zip(first.points, search.steps, strict=True)}
    assert [heights[y] for y in sorted(heights, reverse=True)] == sorted(heights.values())
    assert [point.x for point in first.points] == sorted(point.x for point in first.points)


@pytest.mark.parametrize(
    ("highest", "found"),
    [
        (22.4, "Highest rate that met every SLO: 22.12 requests/s."),
        (None, "No tested rate met every SLO. The lowest was 4 requests/s."),
    ],
)
def test_a_search_shows_what_was_kept(
    highest: float | None, found: str, examples: ModuleType, report_of: Any, words: Any
) -> None:
    run = examples.rate_search(highest)
    search = report_of(*run.samples)[SEARCH]
    (chart,) = search_charts(search)
    kept = [step.met for step in search.steps]
    shapes = [point.shape for point in chart.points]
    assert (shapes.count("dot"), shapes.count("cross")) == (kept.count(True), kept.count(False))
    assert kept.count(True) == (6 if highest else 0)
    text = words(run)
    assert found in text
    assert "missed: ttft:p99<300ms" in text


def test_steps_of_a_search_that_was_cut_short_are_shown(
    examples: ModuleType, run_of: Any, report_of: Any, screen: Any
) -> None:
    for whole, level in ((examples.sweep(), "concurrency 2"), (examples.rate_search(), "100 requests/s")):
        steps = whole.samples_of(SearchStep)[:3]
        load, search, found = report_of(*steps)[LOAD], report_of(*steps)[SEARCH], run_of(*steps)
        assert (load.started, load.ok, load.whole) == (sum(step.started for step in steps),) * 2 + (False,)
        assert "stopped after 3 steps" in search.sentence
        assert search.sentence in screen(found)
        assert level in screen(found)
        assert render_markdown(found).count("| VALID |") == 3
