"""Searches over loads: what was found, and what each step brought and cost."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import SearchResult, SearchStep, SloResult, Validity
from rejoinder.reports import render_html, render_markdown
from rejoinder.reports.charts import Log
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.search import PART as SEARCH
from rejoinder.reports.parts.search.charts import search_charts, steps_table
from rejoinder.reports.parts.search.summary import SearchSummary
from rejoinder.reports.parts.verdict import PART as VERDICT


@pytest.mark.slow(1)
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
    assert "Knee at concurrency 32: 1,667 output tokens/s, TTFT p99 164 ms." in text
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
        (
            22.4,
            "Highest rate that meets every SLO: between 22.1 and 22.63 requests/s. 22.63 requests/s failed",
        ),
        (None, "Highest rate that meets every SLO: below 4 requests/s. 4 requests/s failed: ttft:p99<300ms was missed"),
    ],
)
def test_a_search_shows_what_was_kept(
    highest: float | None, found: str, examples: ModuleType, report_of: Any, words: Any, screen: Any
) -> None:
    run = examples.rate_search(highest)
    search = report_of(*run.samples)[SEARCH]
    (chart,) = search_charts(search)
    kept = [step.held for step in search.steps]
    shapes = [point.shape for point in chart.points]
    assert (shapes.count("dot"), shapes.count("cross")) == (kept.count(True), kept.count(False))
    assert kept.count(True) == (7 if highest else 0)
    text = words(run)
    assert found in text
    assert "ttft:p99<300ms was missed (" in text
    # The answer of the search leads, and the figures of the chosen step follow.
    verdict = report_of(*run.samples)[VERDICT]
    assert verdict.headline == found.partition(". ")[0]
    assert verdict.sentence.startswith(search.detail)
    assert f"At {search.chosen}: " in verdict.sentence
    lines = screen(run).splitlines()
    assert lines[0].endswith(verdict.headline)
    assert sum(verdict.headline in line for line in lines) == 1


def test_steps_of_a_search_that_was_cut_short_are_shown(
    examples: ModuleType, run_of: Any, report_of: Any, screen: Any
) -> None:
    for whole, level in ((examples.sweep(), "concurrency 2"), (examples.rate_search(), "16 requests/s")):
        steps = whole.samples_of(SearchStep)[:3]
        load, search, found = report_of(*steps)[LOAD], report_of(*steps)[SEARCH], run_of(*steps)
        assert (load.started, load.ok, load.whole) == (sum(step.started for step in steps),) * 2 + (False,)
        assert "stopped after 3 steps" in search.sentence
        assert search.sentence in screen(found)
        assert level in screen(found)
        rows = [line for line in render_markdown(found).splitlines() if line.startswith("| ")]
        assert len(rows) - rows.index(next(row for row in rows if "length" in row or "concurrency" in row)) == 4


def step(level: float, *, rate: bool = False, **fields: Any) -> SearchStep:
    """Return a step in which 90 of 100 requests succeeded."""
    given = {"rate": level} if rate else {"concurrency": int(level)}
    outcomes = {RequestOutcome.OK: 90, RequestOutcome.FAILED: 10}
    values: dict[str, Any] = {
        "started": 100, "outcomes": outcomes, "verdict": Validity.VALID, "ok_per_s": 9.0, "output_tokens_per_s": 0.0,
        "good": 90, "latencies": {}, "slos": [], "met": None, **given, **fields,
    }  # fmt: skip
    return SearchStep(**values)


def found(*steps: SearchStep, knee: float | None = None, highest: float | None = None) -> SearchSummary:
    return SearchSummary(steps[0].rate is None, list(steps), knee, highest)


def test_a_sweep_without_tokens_counts_requests_and_without_times_has_one_chart() -> None:
    search = found(step(1, ok_per_s=3.0), step(2, ok_per_s=6.0), knee=2)
    (chart,) = search_charts(search)
    assert [list(curve.values) for curve in chart.curves] == [[(1, 3.0), (2, 6.0)]]
    assert [(tick.at, tick.label) for tick in chart.x] == [(0, "1"), (pytest.approx(100), "2")]
    # The axis has an eighth of room above the highest point.
    assert chart.points[1].y == pytest.approx(100 * (1 - 1 / 1.12))
    assert (chart.points[0].shape, chart.points[1].shape) == ("dot", "ring")
    tokens = found(step(1, output_tokens_per_s=50.0), step(2))
    assert [curve.values for curve in search_charts(tokens)[0].curves] == [[(1, 50.0), (2, 0.0)]]


def test_axes_name_about_ten_steps() -> None:
    (chart,) = search_charts(found(*(step(level) for level in range(1, 25))))
    assert [tick.label for tick in chart.x] == ["1", "4", "7", "10", "13", "16", "19", "22"]
    (chart,) = search_charts(found(*(step(level) for level in range(1, 11))))
    assert len(chart.x) == 10
    rates = found(*(step(level, rate=True, latencies={"ttft_p99": 0.1}) for level in (1, 1, *range(1, 18))))
    ticks = search_charts(rates)[0].x
    assert [tick.label for tick in ticks][:9] == ["1", "2", "3", "4", "5", "6", "7", "8", "9"]
    assert len(ticks) < 17


def test_labels_of_close_rates_do_not_overlap() -> None:
    levels = (12.5, 13.0, 13.1, 13.12, 13.75, 25.0, 50.0)
    (chart,) = search_charts(found(*(step(level, rate=True, latencies={"ttft_p99": 0.1}) for level in levels)))
    assert [tick.label for tick in chart.x] == ["12.5", "25", "50"]
    # A character takes at most 1.4 % of the width of a narrow page.
    edges = [(tick.at, 1.4 * len(tick.label)) for tick in chart.x[1:-1]]
    assert all(b[0] - a[0] > (a[1] + b[1]) / 2 for a, b in pairwise(edges))


def test_the_chart_of_a_search_is_about_the_figure_of_its_slo() -> None:
    def slo(value: float, met: bool) -> list[SloResult]:
        return [SloResult(text="ttft:p90<400ms", metric="ttft", statistic="p90", limit=0.4, n=90, value=value, met=met)]

    latencies = {"ttft_p50": 0.05, "ttft_p99": 1.5}
    search = found(
        step(5, rate=True, latencies=latencies, slos=slo(0.1, True), met=True, held=True),
        step(9, rate=True, latencies=latencies, slos=slo(0.2, True), met=True, held=False, reason="the queue grew"),
        step(20, rate=True, latencies=latencies, slos=slo(1.0, False), met=False, held=False, reason="missed"),
    )
    (chart,) = search_charts(search)
    assert chart.title == "TTFT p90 by request rate"
    assert [curve.values for curve in chart.curves] == [[(5.0, 0.4), (20.0, 0.4)]]
    assert [point.shape for point in chart.points] == ["dot", "cross", "cross"]
    assert "1 of 3 steps met every SLO in a steady state. The line is the limit of ttft:p90<400ms." in chart.summary
    table = steps_table(search)
    assert table.head[:3] == ["requests/s", "result", "length"]
    assert [row[1] for row in table.rows] == ["sustained", "the queue grew", "missed"]
    assert table.words == {1}


def test_a_step_that_could_not_be_tested_has_a_sign_of_its_own(loads: ModuleType, run_of: Any, drawn: Any) -> None:
    def held(level: float, **fields: Any) -> SearchStep:
        return step(level, rate=True, latencies={"ttft_p99": 0.1}, **fields)

    steps = [
        held(5, held=True),
        held(9, held=False, untested=True, reason="the run was too short"),
        held(20, held=False, reason="the queue grew"),
    ]
    (chart,) = search_charts(found(*steps))
    assert [point.shape for point in chart.points] == ["dot", "diamond", "cross"]
    assert [sign.name for sign in chart.signs] == ["sustained", "failed", "not tested"]
    assert chart.summary.endswith("1 step could not be tested.")
    assert [sign.name for sign in search_charts(found(steps[0], steps[2]))[0].signs] == ["sustained", "failed"]
    *_, load = loads.recorded([loads.Sent(0.1, 0.1, tokens=1)], duration=1.0)
    load.search = SearchResult(kind="rate", steps=steps)
    (shown,) = drawn.charts(render_html(run_of(load)))
    assert shown.legend == {"dot": "sustained", "cross": "failed", "diamond": "not tested"}
    assert [(sign.shape, sign.style) for sign in shown.signs] == [
        ("dot", "pass"), ("diamond", "untested"), ("cross", "fail")
    ]  # fmt: skip


def test_a_search_for_a_rate_has_one_percentile_for_all_steps() -> None:
    whole = {"ttft_p50": 0.1, "ttft_p99": 0.4}
    first, second = step(1, rate=True, latencies=whole), step(2, rate=True, latencies={"ttft_p50": 0.2})
    nothing = step(4, rate=True, outcomes={RequestOutcome.FAILED: 100}, good=0)

    def times(*steps: SearchStep) -> list[float]:
        scale = Log(*((0.4 / 1.3, 0.4 * 1.3) if len(steps) == 2 and steps[1] is nothing else (0.1 / 1.3, 0.2 * 1.3)))
        (chart,) = search_charts(found(*steps))
        return [next(t for t in (0.1, 0.2, 0.4) if scale(t) == point.y) for point in chart.points]

    assert times(first, second) == [0.1, 0.2]
    # A step in which nothing succeeded has no times to take into account.
    assert times(first, nothing) == [0.4]
    assert search_charts(found(nothing)) == []


def test_the_table_of_a_search_by_hand() -> None:
    slos = [
        SloResult(text=text, metric="ttft", statistic="p99", limit=0.3, n=90, value=0.4, met=met)
        for text, met in (("ttft:p99<300ms", False), ("e2e:p99<1s", True), ("x" * 80, False))
    ]
    search = found(
        step(1, output_tokens_per_s=1500.0, latencies={"ttft_p50": 0.1, "e2e_p50": 1.5}, met=True, slos=slos[1:2]),
        step(1000, started=2000, met=False, slos=slos, verdict=Validity.SUSPECT),
        step(2000, outcomes={}, met=False),
        knee=1000,
    )
    table = steps_table(search)
    assert table.head == [
        "concurrency", "result", "requests, succeeded", "successful requests/s", "output tokens/s",
        "TTFT p50 / p99", "ITL p50 / p99", "TPOT p50", "E2E latency p50 / p99",
    ]  # fmt: skip
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    assert [row["concurrency"] for row in rows] == ["1", "1,000 (knee)", "2,000"]
    assert [row["requests, succeeded"] for row in rows] == ["100, 90.0 %", "2,000, 4.5 %", "100, 0 %"]
    assert (rows[0]["successful requests/s"], rows[0]["output tokens/s"]) == ("9.00", "1,500")
    # Of 90 values there is no p99, which takes 100.
    assert rows[0]["TTFT p50 / p99"] == "100 ms / needs 100"
    assert rows[0]["E2E latency p50 / p99"] == "1.50 s / needs 100"
    assert rows[2]["TTFT p50 / p99"] == "–"
    assert [row["result"] for row in rows] == [
        "met",
        f"missed: ttft:p99<300ms, {'x' * 60}… (20 more characters) (SUSPECT)",
        "missed",
    ]
    # Without limits and tokens there are no columns for them.
    assert steps_table(found(step(1))).head == [
        name for name in table.head if name not in ("result", "output tokens/s")
    ]
    assert steps_table(found(step(1, verdict=Validity.SUSPECT))).head[-1] == "measurement"
