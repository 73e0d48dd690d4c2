"""The load part: distributions, ledger, seconds, charts."""

from __future__ import annotations

import math
import random
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.reports._charts import gap_chart, path, percentile_chart, timeline_charts
from rejoinder.reports._load import read_load
from rejoinder.runfile import Run


def run(*samples: dict[str, object]) -> Run:
    return Run({}, samples=list(samples), footer={"ended_at": 1.0})


def test_percentiles_are_nearest_rank(examples: ModuleType) -> None:
    dice = random.Random(5)
    values = [dice.lognormvariate(-3, 1) for _ in range(5000)]
    load = read_load(run(examples.histogram("ttft", values)))
    assert load is not None
    distribution = load.distribution("ttft")
    assert distribution is not None
    for p in (50.0, 90.0, 99.0, 99.9):
        exact = sorted(values)[math.ceil(p / 100 * 5000 - 1e-9) - 1]
        found = distribution.percentile(p)
        assert found == pytest.approx(exact, rel=1e-3)
    assert distribution.quantile(1.0) == pytest.approx(max(values), abs=1e-6)
    assert distribution.mean == pytest.approx(sum(values) / 5000, abs=1e-6)


def test_percentiles_need_enough_values(examples: ModuleType) -> None:
    load = read_load(run(examples.histogram("ttft", [0.1] * 99), examples.histogram("e2e", [1.0] * 1000)))
    assert load is not None
    few, many = load.distributions
    assert few.percentile(90) is not None
    assert few.percentile(99) is None
    assert many.percentile(99.9) is not None


def test_the_ledger_must_add_up() -> None:
    load = read_load(run({"what": "load", "started": 10, "outcomes": {"ok": 7, "timeout": 2}}))
    assert load is not None
    assert [entry.outcome for entry in load.ledger] == ["ok", "timeout"]
    assert load.warnings == ["The outcomes add up to 9, but 10 requests were started."]


def test_a_run_that_died_is_counted_from_its_requests() -> None:
    load = read_load(run({"what": "request", "outcome": "ok"}, {"what": "request", "outcome": "truncated"}))
    assert load is not None
    assert (load.started, load.ok, load.bad) == (2, 1, 1)
    assert "ended early" in load.warnings[0]


def test_only_the_load_line_decides_on_validity(examples: ModuleType) -> None:
    load = read_load(Run({}, samples=examples.load_samples(verdict="SUSPECT", reasons=["a", "b"])))
    assert load is not None
    assert (load.verdict, load.reasons) == ("SUSPECT", ["a", "b"])
    assert load.rate == pytest.approx(28.375)
    assert len(load.slowest) == 10
    assert load.slowest[0].e2e == max(r["e2e"] for r in examples.load_samples() if r["what"] == "request")


def test_long_runs_are_drawn_with_fewer_points() -> None:
    seconds = [{"what": "second", "t": t, "started": 2, "in_flight": t % 7, "ttft_p99": 0.1} for t in range(3601)]
    load = read_load(run(*seconds))
    assert load is not None
    assert load.step == 21
    assert len(load.seconds) <= 180
    assert load.seconds[0].started == 2
    charts = timeline_charts(load)
    assert all(len(curve.path) < 20_000 for chart in charts for curve in chart.curves)


def test_charts_of_nothing_are_left_out() -> None:
    load = read_load(run({"what": "load", "started": 0, "outcomes": {}}))
    assert load is not None
    assert percentile_chart(load) is None
    assert gap_chart(load) is None
    assert timeline_charts(load) == []


def test_charts_say_what_they_show(examples: ModuleType) -> None:
    load = read_load(Run({}, samples=examples.load_samples()))
    assert load is not None
    chart = percentile_chart(load)
    assert chart is not None
    assert [curve.name for curve in chart.curves] == ["Time to first token", "Gap between tokens", "End to end"]
    assert "median" in chart.summary
    assert [chart.title for chart in timeline_charts(load)] == [
        "Requests per second",
        "In flight",
        "Output tokens per second",
        "Time to first token",
    ]
    for drawn in (chart, gap_chart(load), *timeline_charts(load)):
        assert drawn is not None
        for tick in (*drawn.x, *drawn.y, *drawn.marks):
            assert -0.5 <= tick.at <= 100.5


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 100)), max_size=5), st.booleans())
def test_paths_hold_numbers_only(points: list[tuple[float, float]], area: bool) -> None:
    assert set(path(points, area=area)) <= set("MLz0123456789. -")
