"""The run second by second: which series has which values, and where they are drawn."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.samples import SecondSample
from rejoinder.reports.parts.timeline import PART as TIMELINE
from rejoinder.reports.parts.timeline import timeline_charts


def seconds() -> list[SecondSample]:
    rows = [(0, 4, 1, 0, 3, 10.0), (1, 6, 5, 2, 4, 30.0), (2, 0, 4, 1, 0, 20.0)]
    found = [
        SecondSample(t=t, started=s, finished=f, failed=bad, in_flight=flying, output_tokens=tokens)
        for t, s, f, bad, flying, tokens in rows
    ]
    found[0].ttft_p50, found[0].ttft_p99 = 0.1, 0.2
    found[2].ttft_p50, found[2].ttft_p99 = 0.3, 0.8
    found[1].server = {"running": 3.0, "waiting": 7.0, "cache_use": 0.5}
    return found


def test_every_series_has_its_own_values(report_of: Any) -> None:
    charts = timeline_charts(report_of(*seconds())[TIMELINE])
    assert {chart.title: {curve.name: list(curve.values) for curve in chart.curves} for chart in charts} == {
        "Requests per second": {
            "started": [(0, 4), (1, 6), (2, 0)],
            "finished": [(0, 1), (1, 5), (2, 4)],
            "failed": [(0, 0), (1, 2), (2, 1)],
        },
        "Requests in flight": {"in flight": [(0, 3), (1, 4), (2, 0)]},
        "Output tokens per second": {"output tokens": [(0, 10), (1, 30), (2, 20)]},
        "Time to first token (TTFT)": {"p50": [(0, 0.1), (2, 0.3)], "p99": [(0, 0.2), (2, 0.8)]},
        "Server: requests": {"running": [(1, 3)], "waiting": [(1, 7)]},
        "Server: cache and GPU": {"KV cache use": [(1, 0.5)]},
    }
    assert charts[0].summary == "Maximum: 6.00 started, 5.00 finished. Failed in total: 3."
    assert charts[3].summary == "Highest p99 of a second: 800 ms."


def test_values_are_drawn_where_they_belong(report_of: Any) -> None:
    charts = timeline_charts(report_of(*seconds())[TIMELINE])
    started, finished, _ = charts[0].curves
    # A second is drawn in its middle, nothing at the bottom; the axis ends at 6.
    assert started.path == "M166.7 33.3L500 0L833.3 100"
    assert finished.path == "M166.7 83.3L500 16.7L833.3 33.3"
    assert [(tick.at, tick.label) for tick in charts[0].y] == [
        (pytest.approx(200 / 3), "2"), (pytest.approx(100 / 3), "4"), (0, "6")
    ]  # fmt: skip
    # What was not measured is not drawn: two pieces, each of one second.
    assert len(re.findall("M", charts[3].curves[0].path)) == 2


def test_the_table_has_a_row_for_each_second(run_of: Any, table: Any) -> None:
    rows = table(run_of(*seconds()), "<summary>Over time as a table")
    assert rows[0][:8] == [
        "time (s)", "started/s", "finished/s", "failed/s", "in flight", "output tokens/s", "TTFT p50", "TTFT p99"
    ]  # fmt: skip
    assert rows[0][8:] == ["Running", "Waiting", "KV cache use"]
    assert rows[1:] == [
        ["0", "4.00", "1.00", "0.00", "3", "10.0", "100 ms", "200 ms", "–", "–", "–"],
        ["1", "6.00", "5.00", "2.00", "4", "30.0", "–", "–", "3", "7", "50.0 %"],
        ["2", "0.00", "4.00", "1.00", "0", "20.0", "300 ms", "800 ms", "–", "–", "–"],
    ]


def test_long_runs_are_drawn_with_fewer_points(report_of: Any) -> None:
    long = [
        SecondSample(t=t, started=2, finished=2, failed=0, in_flight=t % 7, output_tokens=0.0, ttft_p99=0.1)
        for t in range(3601)
    ]
    timeline = report_of(*long)[TIMELINE]
    assert timeline.step == 21
    assert len(timeline.points) <= 180
    assert (timeline.points[0].started, timeline.points[0].in_flight) == (2, 6)
    charts = timeline_charts(timeline)
    assert all(len(curve.path) < 20_000 for chart in charts for curve in chart.curves)


def test_everything_stays_within_the_plot(loads: ModuleType, report_of: Any) -> None:
    charts = timeline_charts(report_of(*loads.cached(loads.load_samples))[TIMELINE])
    assert [curve.name for curve in charts[3].curves] == ["p50", "p99", "mean reported by the server"]
    assert [chart.title for chart in charts[-2:]] == ["GPU power, W", "GPU memory, MiB"]
    for chart in charts:
        for tick in (*chart.x, *chart.y, *chart.marks):
            assert -0.5 <= tick.at <= 100.5


def test_a_run_without_seconds_has_no_timeline(loads: ModuleType, report_of: Any) -> None:
    assert report_of(loads.histogram("ttft", [0.1])).get(TIMELINE) is None
