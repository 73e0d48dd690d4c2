"""Speeds of requests."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.parts.objectives import PART as OBJECTIVES
from rejoinder.reports.parts.repeats import format_figure
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
    assert few[0].endswith("n=9, p10 needs 10")
    # They are no latencies.
    assert [row[0] for row in table(run, "<h3>Latency")][1:] == ["Latency", "TTFT"]
    assert not any("user" in line for line in forms(LATENCIES, run)[0])


def test_a_limit_on_a_speed_is_shown_per_second(loads: ModuleType, report_of: Any) -> None:
    # Three tokens: two of them in the 50 ms after the first read.
    sent = [loads.Sent(t / 10, 0.1, [0.02, 0.02], tokens=3, tail=0.01) for t in range(5)]
    (found,) = report_of(*loads.recorded(sent, ["tokens_per_user:p50>10/s"]))[OBJECTIVES]
    assert (found.value, found.severity) == ("40.0/s", "warn")


def test_a_change_of_a_speed_is_shown_per_second() -> None:
    assert format_figure("output_tokens_per_user:p1", 40.0) == "40.0/s"
    assert format_figure("ttft:p99", 0.04) == "40.0 ms"
