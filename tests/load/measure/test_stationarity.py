"""Steady state: false alarms and power on queues that are simulated with fixed seeds, and what each finding says."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.load.measure.stationarity import RequestSpan, SpanKeeper, find_stationarity
from rejoinder.load.measure.trend import correlation_factor, kendall_trend, student_tail
from rejoinder.model.samples import Stationarity

Service = Callable[[random.Random, float], float]
RUNS = 100


def exponential(mean: float) -> Service:
    return lambda generator, _: generator.expovariate(1 / mean)


def constant(length: float) -> Service:
    return lambda generator, _: length + generator.gauss(0, 0.001)


def bimodal(generator: random.Random, _: float) -> float:
    return 0.1 if generator.random() < 0.5 else 1.0


def changing(before: float, after: float, at: float) -> Service:
    return lambda generator, now: (before if now < at else after) * generator.uniform(0.8, 1.2)


def open_loop(
    seed: int, rate: float, slots: int, service: Service, length: float, poisson: bool = True
) -> list[RequestSpan]:
    """Return the requests of an open loop on a server of ``slots`` that is idle at first."""
    generator = random.Random(seed)
    free = [0.0] * slots
    at = 0.0
    spans: list[RequestSpan] = []
    while True:
        at += generator.expovariate(rate) if poisson else 1 / rate
        if at >= length:
            return spans
        took = service(generator, at)
        begun = max(at, heapq.heappop(free))
        heapq.heappush(free, begun + took)
        spans.append(RequestSpan(at, begun + took, begun - at + took / 4, begun - at + took))


def closed_loop(seed: int, users: int, service: Service, length: float) -> list[RequestSpan]:
    """Return the requests of a closed loop on a server without a limit."""
    generator = random.Random(seed)
    spans: list[RequestSpan] = []
    for user in range(users):
        at = user * 0.01
        while at < length:
            took = service(generator, at)
            spans.append(RequestSpan(at, at + took, took / 4, took))
            at += took
    return spans


def states(make: Callable[[int], list[RequestSpan]], length: float, *, is_open: bool) -> list[Stationarity]:
    return [find_stationarity(make(seed), end=length, open_loop=is_open) for seed in range(RUNS)]


def share_unsteady(make: Callable[[int], list[RequestSpan]], length: float, *, is_open: bool) -> float:
    return sum(one.state == "not steady" for one in states(make, length, is_open=is_open)) / RUNS


@pytest.mark.slow(4)
@pytest.mark.parametrize(
    ("make", "is_open", "most"),
    [
        (lambda seed: open_loop(seed, 10, 4, exponential(0.2), 30), True, 0.1),
        (lambda seed: open_loop(seed, 16, 4, exponential(0.2), 30), True, 0.1),
        (lambda seed: open_loop(seed, 16, 4, constant(0.2), 30), True, 0.06),
        (lambda seed: open_loop(seed, 19, 4, constant(0.2), 30, poisson=False), True, 0.0),
        (lambda seed: open_loop(seed, 10, 1000, bimodal, 30), True, 0.06),
        (lambda seed: closed_loop(seed, 4, constant(0.2), 30), False, 0.0),
        (lambda seed: closed_loop(seed, 4, bimodal, 30), False, 0.04),
    ],
    ids=[
        "M/M/4 at 50 %",
        "M/M/4 at 80 %",
        "M/D/4 at 80 %",
        "D/D/4 at 95 %",
        "M/bimodal",
        "closed constant",
        "closed bimodal",
    ],
)
def test_false_alarms_are_rare(make: Callable[[int], list[RequestSpan]], is_open: bool, most: float) -> None:
    assert share_unsteady(make, 30, is_open=is_open) <= most


@pytest.mark.slow(4)
@pytest.mark.parametrize(
    ("make", "is_open", "least"),
    [
        (lambda seed: open_loop(seed, 21.2, 4, constant(0.19), 30, poisson=False), True, 0.98),
        (lambda seed: open_loop(seed, 30, 4, exponential(0.2), 30), True, 0.98),
        (lambda seed: open_loop(seed, 24, 4, exponential(0.2), 30), True, 0.85),
        (lambda seed: closed_loop(seed, 4, changing(0.2, 0.6, 15), 30), False, 0.98),
        (lambda seed: closed_loop(seed, 4, changing(1.2, 0.2, 5), 30), False, 0.98),
        (lambda seed: closed_loop(seed, 4, lambda _, at: 0.2 * (1 + at / 30), 30), False, 0.98),
    ],
    ids=["0.7 % over capacity", "M/M/4 at 150 %", "M/M/4 at 120 %", "slower half-way", "warm-up", "drift"],
)
def test_departures_are_found(make: Callable[[int], list[RequestSpan]], is_open: bool, least: float) -> None:
    assert share_unsteady(make, 30, is_open=is_open) >= least


def paused(seed: int, rate: float, low: float, high: float, length: float) -> list[RequestSpan]:
    """Return the requests of an open loop on a server that is silent between two times, and answers in 50 ms."""
    generator = random.Random(seed)
    at, spans = 0.0, []
    while (at := at + generator.expovariate(rate)) < length:
        end = (high if low <= at < high else at) + 0.05 * generator.uniform(0.9, 1.3)
        spans.append(RequestSpan(at, end, end - at - 0.01, end - at))
    return spans


@pytest.mark.slow(4)
@pytest.mark.parametrize(
    ("make", "length", "is_open", "least"),
    [
        (lambda seed: paused(seed, 25, 2, 4, 8), 8, True, 0.95),
        (lambda seed: paused(seed, 25, 12, 14, 30), 30, True, 0.98),
        (lambda seed: closed_loop(seed, 4, lambda g, at: g.uniform(0.04, 0.06) * (6 if 10 <= at < 14 else 1), 30), 30,
         False, 0.98),
    ],
    ids=["pause of 2 in 8 s", "pause of 2 in 30 s", "six times slower for 4 in 30 s"],
)  # fmt: skip
def test_an_episode_in_the_middle_is_found(
    make: Callable[[int], list[RequestSpan]], length: float, is_open: bool, least: float
) -> None:
    assert share_unsteady(make, length, is_open=is_open) >= least


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


@pytest.mark.slow(2)
@pytest.mark.parametrize("length", [10, 30])
def test_false_alarms_of_short_runs_under_high_load(length: int) -> None:
    assert share_unsteady(lambda seed: open_loop(seed, 16, 4, exponential(0.2), length), length, is_open=True) <= 0.12


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
    found = find_stationarity(closed_loop(0, 4, changing(0.1, 0.4, 12), 30), end=30, open_loop=False)
    (change,) = found.departures
    assert (change.kind, change.metric) == ("change", "ttft")
    assert change.at == pytest.approx(12, abs=0.5)
    assert change.before == pytest.approx(0.025, rel=0.2)
    assert change.after == pytest.approx(0.1, rel=0.2)
    assert change.text.startswith("From 12")
    assert found.warm_up is None


def test_a_beginning_that_differs_suggests_a_warm_up() -> None:
    found = find_stationarity(closed_loop(1, 4, changing(1.0, 0.2, 4.5), 30), end=30, open_loop=False)
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
