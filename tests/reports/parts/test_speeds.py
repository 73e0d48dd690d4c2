"""Speeds of requests."""

from __future__ import annotations

import csv
from io import StringIO
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.metrics import format_change_figure
from rejoinder.reports import render_comparison, render_csv
from rejoinder.reports.diff import diff_runs
from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.parts.objectives import PART as OBJECTIVES
from rejoinder.reports.parts.speeds import PART as SPEEDS


def test_low_percentiles_of_speeds_are_shown(loads: ModuleType, run_of: Any, table: Any, forms: Any) -> None:
    name = "output_tokens_per_user"
    lines = [loads.histogram(name, range(1, 1001)), loads.histogram(f"{name}_ok", [40.0] * 9)]
    run = run_of(*lines, loads.histogram("ttft", [0.1]))
    rows = table(run, "<h3>Speed")
    assert rows[0] == ["Metric", "p50", "p10", "p5", "p1", "p0.1", "min", "mean", "samples"]
    assert rows[1] == ["Output tokens/s per user", "500", "100", "50.0", "10.0", "1.00", "1.00", "500", "1,000"]
    assert rows[2][:3] == ["Output tokens/s per user, successful requests", "40.0", "needs 10 samples"]
    markdown, terminal = forms(SPEEDS, run)
    assert (
        markdown[2].replace("\\", "") == "| Output tokens/s per user | 1,000 | 500 | 100 | 50.0 | 10.0 | 1.00 | 1.00 |"
    )
    assert len(markdown) == 4
    assert terminal[0].split() == ["Tok/s/user", "p50", "500", "p10", "100", "p1", "10.0", "n=1,000"]
    few = forms(SPEEDS, run_of(lines[1], loads.histogram(name, [5.0] * 9)))[1]
    assert few[0].split()[3:5] == ["p10", "needs"]
    # They are no latencies.
    assert [row[0] for row in table(run, "<h3>Latency")][1:] == ["Latency", "TTFT"]
    assert not any("user" in line for line in forms(LATENCIES, run)[0])


def test_a_limit_on_a_speed_is_shown_per_second(loads: ModuleType, report_of: Any) -> None:
    # Three tokens: two of them in the 50 ms after the first read.
    sent = [loads.Sent(t / 10, 0.1, [0.02, 0.02], tokens=3, tail=0.01) for t in range(5)]
    (found,) = report_of(*loads.recorded(sent, ["tokens_per_user:p50>10/s"]))[OBJECTIVES]
    assert (found.value, found.severity) == ("40.0/s", "warn")


def test_speeds_are_compared_and_more_is_better(loads: ModuleType, run_of: Any) -> None:
    name = "output_tokens_per_user"
    sent = [loads.Sent(t / 10, 0.1, tokens=1) for t in range(5)]

    def run(speed: float) -> Any:
        samples = [line for line in loads.recorded(sent) if getattr(line, "metric", "") != name]
        return run_of(*samples, loads.histogram(name, [speed + number / 100 for number in range(200)]))

    fast, slow = run(80.0), run(40.0)
    for before, after, words in ((fast, slow, "slower in 100 % of pairs"), (slow, fast, "faster in 100 % of pairs")):
        figures = {figure.name: figure for figure in diff_runs(before, after).figures}
        assert words in figures["Tok/s/user p50"].statement
        assert figures["Tok/s/user p1"].before == ("80.0" if before is fast else "40.0")
    page = render_comparison([fast, slow])
    assert "Tok/s/user p50" in page
    assert "Tok/s/user samples" in page


def test_request_lines_and_csv_have_the_speed(loads: ModuleType, run_of: Any) -> None:
    # Three tokens: two of them in the 50 ms after the first read.
    run = run_of(*loads.recorded([loads.Sent(0.0, 0.1, [0.02, 0.02], tokens=3, tail=0.01)]))
    (row,) = csv.DictReader(StringIO(render_csv(run)))
    assert float(row["output_tokens_per_user"]) == pytest.approx(40.0)


def test_a_change_of_a_speed_is_shown_per_second() -> None:
    assert format_change_figure("output_tokens_per_user:p1", 40.0) == "40.0/s"
    assert format_change_figure("ttft:p99", 0.04) == "40.0 ms"
