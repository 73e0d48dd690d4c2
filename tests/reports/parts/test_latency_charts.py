"""The charts of latency: which quantile stands where, and how high the bars are."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest

from rejoinder.reports.charts import Chart
from rejoinder.reports.parts.latency_charts import PART as LATENCY_CHARTS


def points(path: str) -> list[tuple[float, float]]:
    """Return the points of a line."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path)]


def only(charts: list[Chart], title: str) -> Chart:
    (found,) = [chart for chart in charts if chart.title == title]
    return found


def test_each_curve_has_the_quantiles_of_its_metric(loads: ModuleType, report_of: Any) -> None:
    samples = [
        loads.histogram("e2e", [t / 100 for t in range(1, 1001)]),  # 10 ms to 10 s
        loads.histogram("itl", [t / 100_000 for t in range(1, 1001)]),  # 10 us to 10 ms
        loads.histogram("ttft", [t / 1000 for t in range(1, 1001)]),  # 1 ms to 1 s
    ]
    chart = only(report_of(*samples)[LATENCY_CHARTS], "Latency by percentile")
    assert [curve.name for curve in chart.curves] == ["TTFT", "ITL", "E2E latency"]
    for curve, longest in zip(chart.curves, (1.0, 0.01, 10.0), strict=True):
        drawn = dict(curve.values)
        # Three nines fit 1,000 values: 40 steps to each.
        for share in (0, 90, 99, 99.9):
            (value,) = [value for percent, value in drawn.items() if percent == pytest.approx(share)]
            assert value == pytest.approx(max(share / 100, 0.001) * longest, rel=2e-3)
        line = points(curve.path)
        assert len(line) == len(curve.values) == 121
        assert [x for x, _ in line[::40]] == [pytest.approx(x, abs=0.1) for x in (0, 1000 / 3, 2000 / 3, 1000)]
        # Time grows upwards.
        assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)
    # One scale for all: ten times the time lies as far above, wherever it is.
    ttft, _, e2e = (points(curve.path)[80][1] for curve in chart.curves)
    assert ttft - e2e == pytest.approx(100 / 6, abs=0.2)
    assert [(tick.at, tick.label) for tick in chart.x] == [
        (pytest.approx(10.03), "p50"), (33.33, "p90"), (66.67, "p99"), (100.0, "p99.9")
    ]  # fmt: skip


def test_the_table_behind_it_has_the_same_figures(loads: ModuleType, report_of: Any) -> None:
    chart = only(
        report_of(loads.histogram("ttft", [t / 1000 for t in range(1, 1001)]))[LATENCY_CHARTS], "Latency by percentile"
    )
    assert chart.table is not None
    assert {row[0]: row[1] for row in chart.table.rows} == {
        "p10": "100 ms", "p25": "250 ms", "p50": "500 ms", "p75": "750 ms", "p90": "900 ms", "p95": "950 ms",
        "p99": "990 ms", "p99.9": "999 ms", "p99.99": "needs 10,000 samples", "max": "1.00 s",
    }  # fmt: skip


def test_gap_bars_stand_upright_and_are_as_high_as_there_are_gaps(loads: ModuleType, report_of: Any) -> None:
    chart = only(report_of(loads.histogram("itl", [0.01] * 90 + [0.1] * 30))[LATENCY_CHARTS], "ITL distribution")
    (curve,) = chart.curves
    counted = [(low, count) for low, count in curve.values if count]
    assert counted == [(pytest.approx(0.01, rel=0.05), 90), (pytest.approx(0.1, rel=0.05), 30)]
    # The words have the number, the median and the longest.
    assert ["120" in chart.summary, "10.0 ms" in chart.summary, "100 ms" in chart.summary] == [True] * 3
    bars = [
        (float(x), float(bottom), float(top))
        for x, bottom, top in re.findall(r"M([\d.]+) ([\d.]+)V([\d.]+)h", curve.path)
    ]
    assert [bottom for _, bottom, _ in bars] == [100, 100]
    assert [100 - top for _, _, top in bars] == [pytest.approx(84, abs=0.1), pytest.approx(28, abs=0.1)]
    assert bars[0][0] < 20 < 960 < bars[1][0]
    assert [(mark.label, mark.at < 50) for mark in chart.marks] == [("p50 10.0 ms", True), ("p99 100 ms", False)]
    assert chart.y[0].label == "75 %"
    assert chart.table is not None
    assert [row[1:] for row in chart.table.rows] == [["90", "75.0 %"], ["30", "25.0 %"]]


@pytest.mark.parametrize(("n", "share"), [(1, 50), (2, 50), (3, 100 * 2 / 3), (10, 90), (50, 90), (5000, 99.9)])
def test_a_curve_ends_where_its_values_do(n: int, share: float, loads: ModuleType, report_of: Any) -> None:
    chart = only(
        report_of(loads.histogram("ttft", [0.1 + k / 1000 for k in range(n)]))[LATENCY_CHARTS], "Latency by percentile"
    )
    (curve,) = chart.curves
    assert (len(curve.values), curve.values[-1][0]) == (121, pytest.approx(share, abs=0.01))


def test_charts_of_nothing_are_left_out(loads: ModuleType, report_of: Any) -> None:
    assert report_of(*loads.recorded([])).get(LATENCY_CHARTS) is None
