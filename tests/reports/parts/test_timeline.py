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


def test_strips_have_their_styles_and_their_own_axes(report_of: Any) -> None:
    rows = seconds()
    rows[1].server |= {
        "preemptions": 2.0,
        "prefix_hit_rate": 0.25,
        "gpu_use": 0.5,
        "gpu_power": 300.0,
        "gpu_memory": 9.0,
    }
    charts = timeline_charts(report_of(*rows)[TIMELINE])
    assert [[(curve.style, curve.area) for curve in chart.curves] for chart in charts] == [
        [("a", False), ("c", False), ("fail", True)],
        [("a", True)],
        [("c", True)],
        [("a", False), ("b", False)],
        [("a", False), ("b", False), ("c", False)],
        [("a", False), ("b", False), ("c", False)],
        [("a", False)],
        [("a", False)],
    ]
    labels = [[tick.label for tick in chart.y] for chart in charts]
    assert labels[1:4] == [["1", "2", "3", "4"], ["10", "20", "30"], ["200 ms", "400 ms", "600 ms", "800 ms"]]
    assert labels[5] == ["50.0 %", "100 %"]
    assert labels[6] == ["100", "200", "300"]
    assert [(tick.at, tick.label) for tick in charts[0].x] == [
        (0, "0 s"), (pytest.approx(100 / 6), "0.5 s"), (pytest.approx(100 / 3), "1 s"), (50, "1.5 s"),
        (pytest.approx(200 / 3), "2 s"), (pytest.approx(250 / 3), "2.5 s"), (100, "3 s"),
    ]  # fmt: skip
    # The words say the greatest value of each series.
    assert ["300" in charts[6].summary, "50.0 %" in charts[5].summary, "25.0 %" in charts[5].summary] == [True] * 3
    assert "4" in charts[1].summary
    assert "30.0" in charts[2].summary


def test_a_run_that_begins_later_is_drawn_from_nought(report_of: Any) -> None:
    rows = [SecondSample(t=t, started=1, finished=1, failed=0, in_flight=0, output_tokens=0.0) for t in (3, 4, 5)]
    timeline = report_of(*rows[::-1])[TIMELINE]
    assert [point.t for point in timeline.points] == [3, 4, 5]
    assert (timeline.span, timeline.window) == ((0.0, 6), None)
    ((started, *_),) = [chart.curves for chart in timeline_charts(timeline)[:1]]
    assert started.path.startswith(f"M{1000 * 3.5 / 6:.1f} ")
    # Nothing was measured of tokens and of first tokens, so there are two strips.
    assert len(timeline_charts(timeline)) == 2


@pytest.mark.parametrize(("count", "step"), [(180, 1), (181, 2), (360, 2), (361, 3)])
def test_a_run_has_at_most_so_many_points(count: int, step: int, report_of: Any) -> None:
    rows = [SecondSample(t=t, started=1, finished=1, failed=1, in_flight=0, output_tokens=0.0) for t in range(count)]
    timeline = report_of(*rows)[TIMELINE]
    assert (timeline.step, len(timeline.points)) == (step, -(-count // step))
    assert [point.t for point in timeline.points] == list(range(0, count, step))
    assert sum(point.seconds for point in timeline.points) == count
    assert str(count) in timeline_charts(timeline)[0].summary


def test_the_window_is_marked_within_the_run(loads: ModuleType, report_of: Any) -> None:
    *samples, load = loads.recorded([loads.Sent(0.1, 0.1, tokens=1)], duration=4.0)
    load.window = (-1.0, 2.0)
    marks = timeline_charts(report_of(*samples, load)[TIMELINE])[0].marks
    assert [mark.at for mark in marks] == [0, 100]
    load.window = (2.0, 2.0)
    assert timeline_charts(report_of(*samples, load)[TIMELINE])[0].marks == []


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
    # Requests, in flight, and the p99 that was measured.
    assert [len(chart.curves) for chart in charts] == [3, 1, 1]
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
