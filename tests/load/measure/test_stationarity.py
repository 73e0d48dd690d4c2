"""Steady state: false alarms and power on queues that are simulated with fixed seeds, and what each finding says."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.load_module import load_module

from rejoinder.load.measure.stationarity import RequestSpan, SpanKeeper, find_stationarity
from rejoinder.load.measure.trend import correlation_factor, kendall_trend, student_tail

steady_state: Any = load_module("benchmarks/steady_state.py")
closed_loop, constant, exponential, open_loop, paused, stepping = (
    getattr(steady_state, name)
    for name in ("closed_loop", "constant", "exponential", "open_loop", "paused", "stepping")
)
RUNS = 40
"""Runs of each kind, with fixed seeds: the page on load measurement has the shares of many more."""


def shares(kind: str, length: float) -> dict[str, float]:
    found: dict[str, float] = steady_state.KINDS[kind].shares(length, RUNS)
    return found


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        *((f"M/M/4, {load} % load", 10) for load in (50, 80, 90, 95)),
        *((f"M/D/4, {load} % load", 10) for load in (80, 95)),
        ("M/M/4, 95 % load", 30),
        ("M/D/4, 95 % load", 30),
        ("M/M/1, 95 % load", 30),
        ("M/M/4 processor sharing, 95 % load", 10),
        ("D/D/4, 95 % load", 10),
        ("unlimited slots, two kinds of latency", 30),
        ("unlimited slots, lognormal, mean 6 s, cv 1", 10),
        ("closed loop, constant", 10),
        ("closed loop, two kinds of latency", 10),
        ("closed loop, more users than slots", 10),
    ],
)
def test_a_stationary_run_is_seldom_called_unsteady(kind: str, length: int) -> None:
    assert shares(kind, length)["not steady"] <= 0.07


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        *((f"M/M/4, {load} % load", 10) for load in (105, 120)),
        ("M/M/4, 105 % load", 30),
        ("M/M/1, 105 % load", 10),
        ("M/G/4 (lognormal, cv 0.5), 105 % load", 10),
        *((f"M/D/4, {load} % load", 10) for load in (105, 110)),
        ("M/D/4, 105 % load", 30),
        ("D/D/4, 102 % load", 10),
        ("M/M/4 processor sharing, 105 % load", 10),
        ("4 slots, from 50 to 125 % load in the middle", 10),
    ],
)
def test_a_growing_queue_is_not_called_steady(kind: str, length: int) -> None:
    assert shares(kind, length)["steady"] <= 0.04


@pytest.mark.parametrize(
    ("kind", "length", "least"),
    [
        ("D/D/4, 102 % load", 10, 1.0),
        ("M/D/4, 105 % load", 30, 0.75),
        ("M/D/4, 110 % load", 30, 0.95),
        ("M/M/16, 105 % load", 30, 0.45),
        ("M/M/4, 120 % load", 30, 0.85),
        ("M/M/4, 150 % load", 10, 0.95),
        ("4 slots, from 50 to 95 % load in the middle", 30, 0.95),
        ("4 slots, from 50 to 125 % load in the middle", 10, 0.95),
        ("closed loop, three times slower from the middle on", 10, 0.98),
        ("unlimited slots, three times slower from the middle on", 30, 0.98),
        ("closed loop, latency doubles slowly", 10, 0.98),
        ("unlimited slots, latency doubles slowly", 10, 0.95),
        ("closed loop, slow for the first sixth", 30, 0.98),
        ("unlimited slots, slow for the first sixth", 10, 0.9),
        ("pause of 2 s in the middle", 10, 0.95),
    ],
)
def test_departures_are_found(kind: str, length: int, least: float) -> None:
    assert shares(kind, length)["not steady"] >= least


@pytest.mark.parametrize(
    ("kind", "length", "least"),
    [
        ("D/D/4, 95 % load", 10, 1.0),
        ("M/D/4, 95 % load", 30, 0.85),
        ("M/D/4, 80 % load", 10, 0.8),
        ("M/M/4, 50 % load", 30, 0.9),
        ("M/M/4, 80 % load", 30, 0.8),
        ("unlimited slots, exponential", 10, 0.8),
    ],
)
def test_a_run_that_is_long_enough_is_called_steady(kind: str, length: int, least: float) -> None:
    assert shares(kind, length)["steady"] >= least


def test_a_run_that_cannot_tell_has_the_length_that_can() -> None:
    found = find_stationarity(open_loop(1, 19, 4, exponential(0.2), 10), end=10, open_loop=True, rate=19)
    assert found.state == "too short"
    assert found.text.startswith("Too short to tell whether the queue grows: ")
    assert found.needed is not None
    assert 20 <= found.needed <= 80


def test_requests_that_are_never_answered_are_a_queue_that_grows() -> None:
    spans = [RequestSpan(i / 10, i / 10 + (0.2 if i % 5 else 60), 0.05, 0.2 if i % 5 else None) for i in range(100)]
    found = find_stationarity(spans, end=10, open_loop=True, rate=10)
    assert found.queue_growth == pytest.approx(2, abs=0.1)


def test_responses_that_last_as_long_as_the_run_are_no_queue() -> None:
    found = find_stationarity(open_loop(1, 10, 1000, constant(6.0), 10), end=10, open_loop=True, rate=10)
    assert (found.state, found.departures) == ("too short", [])
    mixed = [RequestSpan(i / 10, i / 10 + (0.2 if i % 5 else 7), 0.05, 0.2 if i % 5 else 7) for i in range(100)]
    found = find_stationarity(mixed, end=10, open_loop=True, rate=10)
    assert (found.state, found.departures) == ("too short", [])
    assert "the first requests took up to 7.00 s, half of the run or more" in found.text
    assert found.needed == 28


def test_an_episode_has_its_beginning_and_its_end() -> None:
    found = find_stationarity(paused(1, 25, 12, 14, 30), end=30, open_loop=True)
    (change,) = found.departures
    assert (change.kind, change.metric) == ("change", "ttft")
    assert change.at == pytest.approx(12, abs=1.6)
    assert change.until == pytest.approx(14, abs=1.6)
    assert change.before == pytest.approx(0.05, abs=0.02)
    assert change.after is not None
    assert change.after > 0.5
    assert "otherwise" in change.text


def test_the_growth_of_a_queue_is_no_wider_than_what_was_seen() -> None:
    for seed in range(20):
        spans = open_loop(seed, 19, 4, exponential(0.2), 12)
        found = find_stationarity(spans, end=12, open_loop=True)
        most = max(sum(one.start <= at.start < one.end for one in spans) for at in spans)
        assert found.growth is not None
        assert found.growth[1] <= 1.3 * most / 12


def test_the_growth_of_a_queue_is_measured() -> None:
    """A server that ends 20 requests a second gets 25."""
    found = find_stationarity(open_loop(0, 25, 4, constant(0.2), 20, poisson=False), end=20, open_loop=True)
    assert found.state == "not steady"
    assert found.queue_growth == pytest.approx(5, abs=0.2)
    (queue,) = found.departures
    assert queue.interval is not None
    assert queue.interval[0] - 0.1 <= 5 <= queue.interval[1] + 0.1
    assert queue.growth is not None
    assert queue.interval[0] <= queue.growth <= queue.interval[1]
    assert found.text.startswith("The queue grew by ")


def test_a_change_in_the_middle_has_its_moment() -> None:
    found = find_stationarity(closed_loop(0, 4, stepping(0.1, 0.4, 12), 30), end=30, open_loop=False)
    (change,) = found.departures
    assert (change.kind, change.metric) == ("change", "ttft")
    assert change.at == pytest.approx(12, abs=0.5)
    assert change.before == pytest.approx(0.025, rel=0.2)
    assert change.after == pytest.approx(0.1, rel=0.2)
    assert change.text.startswith("From 12")
    assert found.warm_up is None


def test_a_beginning_that_differs_suggests_a_warm_up() -> None:
    found = find_stationarity(closed_loop(1, 4, stepping(1.0, 0.2, 4.5), 30), end=30, open_loop=False)
    assert [one.kind for one in found.departures] == ["beginning"]
    assert found.warm_up in (5, 6)


def test_a_change_is_found_after_a_beginning_that_differs() -> None:
    def service(generator: random.Random, at: float) -> float:
        return (1.0 if at < 6 else 0.2 if at < 24 else 0.6) * generator.uniform(0.9, 1.1)

    found = find_stationarity(closed_loop(1, 8, service, 40), end=40, open_loop=False)
    assert ("change", 24) in [(one.kind, round(one.at or 0)) for one in found.departures]


def test_a_server_that_turns_bad_is_told_with_the_time() -> None:
    spans = [RequestSpan(i / 10, i / 10 + 0.1, 0.05, 0.1, failed=i >= 120 and i % 5 > 0) for i in range(300)]
    found = find_stationarity(spans, end=30, open_loop=True)
    (change,) = found.departures
    assert (change.kind, change.metric) == ("change", "error")
    assert change.at == pytest.approx(12, abs=0.5)
    assert "80 % of the requests failed, before 0 %" in change.text


@pytest.mark.parametrize(
    ("spans", "end", "reason"),
    [
        ([], 10, "0 requests, needs 24"),
        (
            [RequestSpan(i * 0.1, i * 0.1 + 0.2, 0.1, 0.2) for i in range(20)],
            2,
            "18 requests after the first 200 ms, needs 24",
        ),
        ([RequestSpan(i * 0.01, i * 0.01 + 5, 0.1, 5.0) for i in range(1000)], 10, "times the latency"),
    ],
    ids=["nothing", "few", "shorter than the latency allows"],
)
def test_a_short_run_is_not_judged(spans: list[RequestSpan], end: float, reason: str) -> None:
    found = find_stationarity(spans, end=end, open_loop=True)
    assert found.state == "too short"
    assert reason in found.text


def test_a_load_that_changes_by_design_is_not_tested() -> None:
    assert find_stationarity([], end=10, open_loop=True, paced_evenly=False).state == "not tested"


@pytest.mark.slow(2)
@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.builds(
            lambda start, took, ttft, failed: RequestSpan(start, start + took, ttft, None if failed else took, failed),
            st.floats(0, 10),
            st.floats(0, 100),
            st.none() | st.floats(0, 10),
            st.booleans(),
        ),
        max_size=60,
    ),
    st.booleans(),
)
def test_any_requests_have_a_state(spans: list[RequestSpan], is_open: bool) -> None:
    found = find_stationarity(spans, end=10, open_loop=is_open)
    assert found.state in ("steady", "not steady", "too short")
    assert bool(found.departures) == (found.state == "not steady")
    assert (found.state == "steady") == (not found.text)


def test_many_requests_are_thinned_evenly() -> None:
    keeper = SpanKeeper(limit=1000)
    keeper.extend(RequestSpan(i / 1000, i / 1000 + 0.1, 0.1, 0.1) for i in range(10_000))
    assert len(keeper.spans) <= 1000
    assert len(keeper.spans) * keeper.weight == pytest.approx(10_000, rel=0.01)
    starts = [span.start for span in keeper.spans]
    assert max(b - a for a, b in pairwise(starts)) == pytest.approx(keeper.weight / 1000)


@pytest.mark.slow(3)
def test_student_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for degrees in (1, 2, 5, 8, 19, 40):
        for t in (0.0, 0.3, 1.0, 2.5, 7.0):
            assert student_tail(t, degrees) == pytest.approx(2 * stats.t.sf(t, degrees), abs=1e-9)


def test_kendall_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = random.Random(3)
    times = [float(index) for index in range(15)]
    values = [generator.gauss(0.3 * at, 1) for at in times]
    trend = kendall_trend(times, values)
    slope, _, _, _ = stats.theilslopes(values, times)
    assert trend.slope == pytest.approx(slope)
    assert trend.low < slope < trend.high
    assert trend.p < 0.01
    assert kendall_trend(times, [1.0] * 15).p == 1.0


def test_dependent_values_widen_a_test() -> None:
    generator = random.Random(5)
    independent = [generator.gauss(0, 1) for _ in range(400)]
    walk, last = [], 0.0
    for one in independent:
        last = 0.8 * last + one
        walk.append(last)
    assert correlation_factor(independent) < 1.3
    assert correlation_factor(walk) == pytest.approx(9, rel=0.3)
