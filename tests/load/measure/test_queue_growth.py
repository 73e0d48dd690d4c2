"""Whether a queue grows: completions against arrivals, the wander of the number in flight, and what surely grows."""

from __future__ import annotations

import random
from bisect import bisect_left
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.load_module import load_module

from rejoinder.load.measure.queue_growth import GAP, Pulse, RequestsInFlight, find_waiting, sure_growth, wandering_p

steady_state: Any = load_module("benchmarks/steady_state.py")
EDGES = [1 + index for index in range(21)]


def in_flight(spans: list[Any]) -> RequestsInFlight:
    return RequestsInFlight([span.start for span in spans], [span.end for span in spans])


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 5)), min_size=1, max_size=40))
def test_the_mean_in_flight_is_the_time_that_requests_spend(requests: list[tuple[float, float]]) -> None:
    flight = RequestsInFlight([start for start, _ in requests], [start + took for start, took in requests])
    spent = sum(max(0.0, min(8.0, start + took) - max(2.0, start)) for start, took in requests)
    assert flight.mean(2.0, 8.0) * 6 == pytest.approx(spent, abs=1e-6)


def test_a_request_does_not_find_itself() -> None:
    flight = RequestsInFlight([0.0, 1.0, 2.0], [1.0, 3.0, 4.0])
    assert [flight.found_at(start) for start in (0.0, 1.0, 2.0)] == [0, 0, 1]


@pytest.mark.parametrize("rate", [None, 25.0])
@pytest.mark.parametrize("gap", [0.0, GAP])
def test_completions_of_a_full_server_are_its_capacity(rate: float | None, gap: float) -> None:
    """Four slots of 200 ms end 20 requests a second, and get 25."""
    spans = steady_state.open_loop(1, 25, 4, steady_state.constant(), 22)
    balance = in_flight(spans).balance(EDGES, rate, gap)
    assert balance.excess == pytest.approx(5, abs=3 * balance.error + 0.2)
    assert balance.p_grows() < 0.01
    assert balance.p_holds() > 0.99


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_more_requests_end_than_arrive_while_a_stable_queue_is_long(load: float) -> None:
    spans = steady_state.open_loop(1, 20 * load, 4, steady_state.constant(), 22)
    balance = in_flight(spans).balance(EDGES, 20 * load)
    assert balance.excess < 0
    assert balance.p_holds() < 0.01


def test_without_requests_nothing_is_sure() -> None:
    balance = RequestsInFlight([], []).balance(EDGES, 1.0)
    assert balance.p_grows() > 0.4
    assert balance.p_holds() > 0.4


def test_a_random_walk_seldom_rises_for_sure() -> None:
    dice = random.Random(4)
    found = []
    for _ in range(300):
        walk, at = [], 0.0
        for _ in range(20):
            at = abs(at + dice.gauss(0, 1))
            walk.append(at)
        found.append(wandering_p(walk))
    assert sum(p < 0.05 for p in found) / len(found) < 0.05
    assert wandering_p([float(index) for index in range(20)]) < 1e-6
    assert wandering_p([5.0] * 20) == 1.0


def test_the_wait_for_others_is_found_and_a_change_of_the_endpoint_is_not() -> None:
    dice = random.Random(1)
    numbers = [dice.randrange(12) for _ in range(400)]
    queued = find_waiting([(n, 0.2 + 0.05 * max(0, n - 4), i // 20) for i, n in enumerate(numbers)])
    assert queued.level == 4
    assert queued.slope == pytest.approx(0.05)
    assert queued.part(10) == pytest.approx(0.3)
    slower = find_waiting([(n + i // 40, 0.2 + i / 1000, i // 20) for i, n in enumerate(numbers)])
    assert slower.part(12) < 0.01


def pulses(spans: list[Any], until: float) -> list[Pulse]:
    starts, ends = sorted(span.start for span in spans), sorted(span.end for span in spans)
    times = [index / 2 for index in range(1, int(2 * until) + 1)]
    return [Pulse(at, bisect_left(starts, at), bisect_left(starts, at) - bisect_left(ends, at)) for at in times]


def looked_at(spans: list[Any], length: int) -> list[float]:
    """Return the growth that was sure, looking once a second."""
    found = []
    for second in range(1, length):
        ended = [span.start for span in spans if span.end < second]
        if (growth := sure_growth(pulses(spans, second), ended)) is not None:
            found.append(growth)
    return found


def test_a_queue_that_grows_fast_is_sure_within_seconds() -> None:
    spans = steady_state.open_loop(1, 50, 4, steady_state.constant(), 7, poisson=False)
    found = looked_at(spans, 7)
    assert found
    assert found == pytest.approx([30] * len(found), abs=1)


@pytest.mark.parametrize(
    "kind",
    [
        "M/M/4, 95 % load",
        "M/M/4, 105 % load",
        "M/M/1, 95 % load",
        "M/M/4 processor sharing, 95 % load",
        "unlimited slots, lognormal, mean 2 s, cv 1",
        "unlimited slots, lognormal, mean 6 s, cv 1",
        "pause of 2 s in the middle",
        "unlimited slots, three times slower from the middle on",
    ],
)
def test_nothing_else_is_sure(kind: str) -> None:
    for seed in range(10):
        assert looked_at(steady_state.KINDS[kind].simulate(seed, 20), 20) == []


def test_thinned_requests_count_for_those_that_they_stand_for() -> None:
    spans = steady_state.open_loop(1, 50, 4, steady_state.constant(), 7, poisson=False)
    ended = [span.start for span in spans if span.end < 6]
    assert sure_growth(pulses(spans, 6), ended[::2]) is None
    assert sure_growth(pulses(spans, 6), ended[::2], weight=2) is not None
