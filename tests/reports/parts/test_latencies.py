"""Latencies: nearest rank, how sure they are, and what they say when there are too few."""

from __future__ import annotations

import math
import random
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import LoadSample, TokenDetails
from rejoinder.reports import render_html, render_markdown
from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.parts.latencies import latency_of, terminal
from rejoinder.reports.parts.latency_charts import percentile_chart


def test_percentiles_are_nearest_rank(loads: ModuleType, report_of: Any) -> None:
    dice = random.Random(5)
    values = [dice.lognormvariate(-3, 1) for _ in range(5000)]
    distribution = latency_of(report_of(loads.histogram("ttft", values)), "ttft")
    assert distribution is not None
    for p in (50.0, 90.0, 99.0, 99.9):
        exact = sorted(values)[math.ceil(p / 100 * 5000 - 1e-9) - 1]
        found = distribution.percentile(p)
        assert found == (pytest.approx(exact, rel=1e-3), False, None)
    assert distribution.quantile(1.0) == (pytest.approx(max(values), abs=1e-6), False, None)
    assert distribution.values.mean == (pytest.approx(sum(values) / 5000, abs=1e-6), False, None)


def test_percentiles_of_too_few_values_say_so_everywhere(
    loads: ModuleType, run_of: Any, report_of: Any, screen: Any, check_page: Any
) -> None:
    report = report_of(loads.histogram("ttft", [0.1] * 99), loads.histogram("e2e", [1.0] * 1000))
    few, many = report[LATENCIES].distributions
    assert (few.percentile_text(90), few.percentile(99), few.percentile_text(99)) == (
        "100 ms",
        None,
        "needs 100 samples",
    )
    assert many.percentile(99.9) is not None
    found = run_of(*loads.recorded([loads.Sent(t / 10, 0.1, [0.01], tokens=2) for t in range(99)]))
    assert "p99 needs 100  n=99" in screen(found)
    assert "| needs 100 samples | needs 1,000 samples |" in render_markdown(found)
    page = render_html(found)
    check_page(page)
    assert "<dt>TTFT p99</dt><dd>needs 100 samples</dd>" in page
    total = found.samples[-1]
    assert isinstance(total, LoadSample)
    sure = {line.metric: line for line in total.percentiles}["ttft"]
    assert (sure.p99.value, sure.p99.value_needs, sure.p99.needs) == (None, 100, 662)
    assert (sure.p90.value, sure.p90.value_needs) == (0.1, None)


@pytest.mark.parametrize(("times", "note"), [(1, "n=40"), (25, "n=1,000")])
@pytest.mark.parametrize("width", [60, 80])
def test_what_stands_beside_percentiles_is_never_cut_off(
    loads: ModuleType, report_of: Any, times: int, note: str, width: int
) -> None:
    sent = [loads.Sent(t / 10, 0.0935, outcome=RequestOutcome.TIMEOUT) for t in range(40)]
    report = report_of(*loads.recorded(sent * times))
    lines = [line.plain for line in terminal(report[LATENCIES], report, width)]
    assert all(len(line) <= width for line in lines)
    assert sum(line.endswith(note) for line in lines) >= 2


def test_percentiles_carry_their_bounds(loads: ModuleType, run_of: Any, report_of: Any, words: Any) -> None:
    samples = loads.cached(loads.load_samples)
    ttft = latency_of(report_of(*samples), "ttft")
    assert ttft is not None
    p95, p99, rare = ttft.bound(95.0), ttft.bound(99.0), ttft.bound(99.9)
    assert p95 is not None
    assert p99 is not None
    assert rare is not None
    assert p95.bound is not None
    # Nine of 1,200 requests timed out without a first token.
    assert (p99.value is not None, p99.bound, p99.needs) == (True, None, None)
    assert rare.needs == 6636
    assert "needs 6,636" in words(run_of(*samples))


def test_lower_bounds_are_marked_on_every_screen(loads: ModuleType, run_of: Any, table: Any, forms: Any) -> None:
    line = loads.histogram("e2e", [0.2] * 80)
    for _ in range(20):
        line.values.add(60.0, at_least=True)
    found = run_of(line)
    rows = table(found, "<h3>Latency")
    assert rows[2][1:] == ["200 ms", "≥ 60.0 s", "≥ 60.0 s", "≥ 60.0 s", "–", "≥ 60.0 s", "≥ 12.2 s", "100"]
    markdown, terminal = forms(LATENCIES, found)
    assert markdown[2].endswith("| 100 | 200 ms | ≥ 60.0 s | ≥ 60.0 s | ≥ 60.0 s | needs 1,000 samples | ≥ 60.0 s |")
    assert "p50 200 ms  p90 ≥ 60.0 s  p99 ≥ 60.0 s  n=100" in str(terminal[0])
    assert "≥: lower bound, because some requests have no end" in str(terminal[-1])
    exact, _ = forms(LATENCIES, run_of(loads.histogram("e2e", [0.2] * 80)))
    assert "≥" not in "".join(exact)


def test_columns_are_as_wide_as_their_figures(loads: ModuleType, run_of: Any, forms: Any, screen: Any) -> None:
    line = loads.histogram("e2e", [0.2] * 80)
    for _ in range(20):
        line.values.add(60.1, at_least=True)
    speed = loads.histogram("output_tokens_per_user", [40.0] * 100)
    lines = screen(run_of(loads.histogram("ttft", [0.05] * 100), line, speed)).splitlines()
    places = {tuple(row.index(mark) for mark in (" p50 ", "n=100")) for row in lines if "n=100" in row}
    assert len([row for row in lines if "n=100" in row]) == 3
    assert len(places) == 1


@pytest.mark.parametrize("estimated", [0, 40])
def test_rows_of_estimated_tokens_are_marked(
    estimated: int, loads: ModuleType, run_of: Any, table: Any, screen: Any
) -> None:
    samples = loads.recorded([loads.Sent(t / 10, 0.1, [0.01] * 3, tokens=4, tail=0.01) for t in range(80)])
    samples[-1].tokens = TokenDetails(responses=80, estimated=estimated * 4, estimated_responses=estimated)
    found, mark = run_of(*samples), "tokens estimated in 50.0 % of responses" if estimated else ""
    rows = {row[0].partition(" tokens")[0]: row[0] for row in table(found, "<h3>Latency")}
    assert (rows["TPOT"], rows["TTFT"]) == (f"TPOT {mark}".strip(), "TTFT")
    (speed,) = [
        row[0]
        for row in table(found, "<h3>Speed")
        if row[0].startswith("Output tokens/s per user ") or row[0] == "Output tokens/s per user"
    ][:1]
    assert speed == f"Output tokens/s per user {mark}".strip()
    lines = screen(found).splitlines()
    assert sum(line.endswith("n=80 ~") for line in lines) == (2 if estimated else 0)
    assert sum("~: tokens estimated in 50.0 % of responses" in line for line in lines) == (1 if estimated else 0)
    assert render_markdown(found).replace("\\", "").count("tokens estimated in 50.0 %") == (2 if estimated else 0)


def test_the_curve_ends_where_requests_without_an_end_leave_it_unknown(loads: ModuleType, report_of: Any) -> None:
    line = loads.histogram("e2e", [0.2 + number / 1000 for number in range(90)])
    for _ in range(10):
        line.values.add(60.0, at_least=True)
    chart = percentile_chart(report_of(line)[LATENCIES])
    assert chart is not None
    (curve,) = chart.curves
    assert 89 < curve.values[-1][0] <= 90
    (end,) = chart.points
    assert (end.shape, end.label) == ("ring", f"known up to p{curve.values[-1][0]:.3g}")
    exact = percentile_chart(report_of(loads.histogram("e2e", [0.2] * 100))[LATENCIES])
    assert exact is not None
    assert (exact.points, exact.curves[0].values[-1][0]) == ([], 99)


def test_the_table_has_the_percentiles_of_each_metric(loads: ModuleType, run_of: Any, table: Any, forms: Any) -> None:
    found = run_of(loads.histogram("ttft", [t / 1000 for t in range(1, 1001)]), loads.histogram("e2e", [2.0] * 4))
    rows = table(found, "<h3>Latency")
    assert rows[0] == ["Metric", "p50", "p90", "p95", "p99", "p99.9", "max", "mean", "samples"]
    assert rows.pop(1) == ["Latency"]
    assert rows[1][1:] == ["500 ms", "900 ms", "950 ms", "990 ms", "999 ms", "1.00 s", "500 ms", "1,000"]
    assert rows[2][1:] == ["2.00 s", "–", "–", "–", "–", "2.00 s", "2.00 s", "4"]
    markdown, terminal = forms(LATENCIES, found)
    assert markdown[2].endswith("| 1,000 | 500 ms | 900 ms | 950 ms | 990 ms | 999 ms | 1.00 s |")
    assert markdown[3].endswith(
        "| 4 | 2.00 s | needs 10 samples | needs 20 samples | needs 100 samples | needs 1,000 samples | 2.00 s |"
    )
    assert [line.partition("n=")[2] for line in terminal[:2]] == ["1,000", "4"]
    assert "p90 needs 10" in terminal[1]
    assert terminal[2].split() == ["TTFT:", "time", "to", "first", "token"]
    assert "p50 500 ms" in terminal[0]


def test_metrics_stand_in_groups(loads: ModuleType, run_of: Any, table: Any) -> None:
    names = ("stranger", "failed_latency", "connect", "itl", "tpot", "ttft")
    rows = table(run_of(*(loads.histogram(name, [0.1]) for name in names)), "<h3>Latency")
    assert [row[0] for row in rows[1:]] == [
        "Latency", "TTFT", "Streaming", "ITL", "TPOT", "Connection and start", "TCP connect", "Failed requests",
        "Failed E2E", "Other", "stranger",
    ]  # fmt: skip


def test_the_terminal_has_times_from_the_schedule_for_open_loops_only(
    loads: ModuleType, run_of: Any, screen: Any
) -> None:
    sent = [loads.Sent(t / 10, 0.1, [0.02, 0.02], tokens=3, lag=0.4) for t in range(5)]
    lines = screen(run_of(*loads.recorded(sent))).splitlines()
    (ttft,) = [number for number, line in enumerate(lines) if line.split()[:1] == ["TTFT"]]
    assert (lines[ttft].split()[1:4], lines[ttft + 1].split()[:4]) == (
        ["p50", "100", "ms"],
        ["scheduled", "p50", "500", "ms"],
    )
    assert any(line.split()[:4] == ["TPOT", "p50", "20.0", "ms"] for line in lines)
    assert "scheduled: from the scheduled start" in " ".join(lines)
    closed = screen(run_of(*loads.recorded(sent, rate=None, concurrency=2)))
    assert "TPOT" in closed
    assert "scheduled" not in closed
