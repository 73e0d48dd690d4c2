"""Windows and rates against loads whose rates are known: simulated servers of constant and of random service times."""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable
from itertools import count, takewhile

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rejoinder.load.measure.throughput import (
    Throughput,
    Window,
    closed_window,
    open_window,
    slice_of,
    slice_width,
    totals_within,
)
from rejoinder.model.outcomes import RequestOutcome

OK, CENSORED, TIMEOUT = RequestOutcome.OK, RequestOutcome.CENSORED, RequestOutcome.TIMEOUT
Sent = tuple[float, float, RequestOutcome]
HASTE = 5e-5
"""Seconds that a user needs to send its next request."""


def counts_of(sent: list[Sent]) -> Throughput:
    counts = Throughput()
    for start, end, outcome in sent:
        counts.count(start, end, outcome, good=outcome is OK)
    return counts


def closed_loop(
    users: int,
    service: Callable[[int, float], float],
    *,
    duration: float = float("inf"),
    requests: int | None = None,
    stagger: float = 0.0,
) -> list[Sent]:
    """Return the requests of users that send one after the other; ``service`` gets a user and a time."""
    free = [(user * stagger / users, user) for user in range(users)]
    sent: list[Sent] = []
    while free:
        start, user = heapq.heappop(free)
        if start < duration and (requests is None or len(sent) < requests):
            end = start + service(user, start)
            sent.append((start, end, OK))
            heapq.heappush(free, (end + HASTE, user))
    return sent


def open_loop(starts: list[float], service: float, slots: int | None = None) -> list[Sent]:
    """Return the requests of a schedule to a server with that many slots and a queue."""
    free = [0.0] * (slots or 0)
    sent: list[Sent] = []
    for start in starts:
        begin = max(start, heapq.heappop(free)) if free else start
        if slots:
            heapq.heappush(free, begin + service)
        sent.append((start, begin + service, OK))
    return sent


def every(rate: float, seconds: float) -> list[float]:
    """Return starts at a constant rate."""
    return list(takewhile(lambda at: at < seconds - 1e-9, (number / rate for number in count())))


def rate(counts: Throughput, window: Window) -> float:
    """Return the successful requests per second of a window."""
    return totals_within(counts, window.first, window.last)["ok"] / (window.high - window.low)


def started(window: Window) -> float:
    """Return the started requests per second of a window."""
    return window.started / (window.starts[1] - window.starts[0])


@pytest.mark.parametrize("users", [1, 8])
@pytest.mark.parametrize("requests", [1, 8, 10, 40, 41, 200])
def test_a_closed_loop_of_a_number_of_requests(users: int, requests: int) -> None:
    counts = counts_of(closed_loop(users, lambda *_: 0.2, requests=requests))
    window = closed_window(counts, ramp=0.0, users=users, issued=counts.last_start or 0.0)
    # Fewer requests than users are never in flight together.
    kept = min(users, requests)
    assert rate(counts, window) == pytest.approx(kept / 0.2, rel=0.02)
    assert counts.mean_in_flight(window.edges) == pytest.approx(kept, rel=0.02)


def test_one_request_takes_as_long_as_it_takes() -> None:
    for length in (0.0004, 0.003, 0.0127, 0.9, 30.0):
        counts = counts_of([(0.0021, 0.0021 + length, OK)])
        window = closed_window(counts, ramp=0.0, users=1, issued=0.0021)
        assert rate(counts, window) == pytest.approx(1 / length)
        assert window.edges == pytest.approx((0.0021, 0.0021 + length))


@given(
    service=st.floats(0.002, 20.0),
    users=st.integers(1, 12),
    rounds=st.floats(0.05, 40),
    stagger=st.floats(0.0, 0.02),
)
@example(service=0.65, users=8, rounds=15.38, stagger=0.0)
@pytest.mark.slow(1)
def test_a_constant_service_time_gives_its_rate_in_a_closed_loop_of_any_length(
    service: float, users: int, rounds: float, stagger: float
) -> None:
    sent = closed_loop(users, lambda *_: service, duration=rounds * service, stagger=stagger * service)
    counts = counts_of(sent)
    window = closed_window(counts, ramp=0.0, users=users, issued=rounds * service)
    truth = users / (service + HASTE)
    if len(sent) >= users:
        assert rate(counts, window) == pytest.approx(truth, rel=0.06)
    if started_late := [start for start, _, _ in sent if start > service]:
        assert len(started_late) < 4 * users or started(window) == pytest.approx(truth, rel=0.3)


@given(service=st.floats(0.005, 5.0), offered=st.integers(5, 60), seconds=st.floats(1.0, 30.0))
@example(service=0.65, offered=20, seconds=3.0)
@example(service=5.0, offered=20, seconds=1.0)
@pytest.mark.slow(1)
def test_a_constant_service_time_gives_the_offered_rate_in_an_open_loop(
    service: float, offered: int, seconds: float
) -> None:
    counts = counts_of(open_loop(every(offered, seconds), service))
    window = open_window(counts, issued=seconds)
    assert rate(counts, window) == pytest.approx(offered, rel=0.01)
    assert started(window) == pytest.approx(offered, abs=1 / seconds + 1e-6)


@pytest.mark.parametrize("seconds", [3, 10, 60])
@pytest.mark.parametrize("offered", [22, 26, 80])
def test_an_overloaded_open_loop_gives_the_capacity(seconds: int, offered: int) -> None:
    counts = counts_of(open_loop(every(offered, seconds), 0.19, slots=4))
    window = open_window(counts, issued=seconds)
    assert rate(counts, window) == pytest.approx(4 / 0.19, rel=0.03)
    assert started(window) == pytest.approx(offered, rel=0.01)
    # The drain is no part of it.
    assert window.high <= seconds


def test_random_times_give_the_rate_on_average() -> None:
    found: dict[str, list[float]] = {"closed": [], "poisson": []}
    for seed in range(40):
        drawn = random.Random(seed)
        times = [drawn.expovariate(5) for _ in range(200)]
        counts = counts_of(closed_loop(8, lambda *_, times=times: times.pop(), requests=200))
        found["closed"].append(rate(counts, closed_window(counts, ramp=0.0, users=8, issued=counts.last_start or 0.0)))
        gaps = [drawn.expovariate(20) for _ in range(400)]
        starts = list(takewhile(lambda at: at < 10, (sum(gaps[:number]) for number in range(len(gaps)))))
        counts = counts_of([(start, start + drawn.expovariate(2), OK) for start in starts])
        found["poisson"].append(rate(counts, open_window(counts, issued=10.0)))
    assert sum(found["closed"]) / 40 == pytest.approx(40, rel=0.05)
    assert sum(found["poisson"]) / 40 == pytest.approx(20, rel=0.05)


def test_a_dip_in_flight_does_not_shorten_the_window() -> None:
    # For 3 s of 20 s three of four users get answers that take ten times as long, or pause.
    def service(user: int, at: float) -> float:
        return 3.0 if user and 8 <= at < 8.2 else 0.2

    counts = counts_of(closed_loop(4, service, duration=20.0))
    window = closed_window(counts, ramp=0.0, users=4, issued=20.0)
    assert window.high - window.low == pytest.approx(20, abs=0.3)
    # 17 s of four users and 3 s of one.
    assert rate(counts, window) == pytest.approx((17 * 20 + 3 * 5) / 20, rel=0.03)

    paused = [(start, end, outcome) for start, end, outcome in closed_loop(4, lambda *_: 0.2, duration=20.0)]
    paused = [one for one in paused if not 8 <= one[0] < 11]
    counts = counts_of(paused)
    window = closed_window(counts, ramp=0.0, users=4, issued=20.0)
    assert window.high - window.low == pytest.approx(20, abs=0.3)
    assert counts.mean_in_flight(window.edges) == pytest.approx(4 * 17 / 20, rel=0.03)


@pytest.mark.parametrize("outcome", [CENSORED, TIMEOUT])
def test_a_silence_at_the_end_belongs_to_the_window(outcome: RequestOutcome) -> None:
    # From 5 s on the endpoint answers nothing.
    sent = [one for one in closed_loop(4, lambda *_: 0.2, duration=5.0) if one[1] < 5]
    hanging: list[Sent] = [(5.0, 70.0, outcome)] * 4
    counts = counts_of([*sent, *hanging])
    window = closed_window(counts, ramp=0.0, users=4, issued=10.0)
    assert window.high == 10.0
    assert rate(counts, window) == pytest.approx(len(sent) / 10, rel=0.01)
    assert counts.mean_in_flight(window.edges) == pytest.approx(4, rel=0.03)

    sent = open_loop(every(20, 5), 0.2)
    counts = counts_of([*sent, *((start, start + 60, outcome) for start in every(20, 10) if start >= 5)])
    window = open_window(counts, issued=10.0)
    assert (window.high, started(window)) == (10.0, 20.0)


def test_a_ramp_is_left_out() -> None:
    sent = closed_loop(4, lambda *_: 0.2, duration=10.0, stagger=2.0)
    counts = counts_of(sent)
    window = closed_window(counts, ramp=2.0, users=4, issued=10.0)
    assert window.low == 2.0
    assert rate(counts, window) == pytest.approx(20, rel=0.03)
    # One that takes most of the run leaves too little: then the run is taken as it was.
    assert closed_window(counts, ramp=9.0, users=4, issued=10.0).low == 0.0


def test_what_has_no_window_says_why() -> None:
    assert closed_window(Throughput(), ramp=0.0, users=4, issued=1.0).why == "no request was sent"
    assert open_window(Throughput(), issued=1.0).why == "no request was sent"
    alone = open_window(counts_of([(0.0, 0.2, OK)]), issued=1.0)
    assert (alone.why, alone.low) == ("only one request ended", alone.high)
    together = open_window(counts_of([(0.0, 0.2, OK)] * 3), issued=1.0)
    assert together.why == "all requests ended at the same time"
    # Where nothing ended by itself, the window is the time in which requests were started.
    hanging = counts_of([(0.0, 60.0, TIMEOUT), (0.5, 60.5, TIMEOUT)])
    assert open_window(hanging, issued=1.0).edges == (0.0, 1.0)
    assert closed_window(hanging, ramp=0.0, users=2, issued=1.0).edges == (0.0, 1.0)


@given(st.floats(0, 10**6))
def test_a_slice_is_at_most_a_hundredth_of_the_time_that_has_passed(at: float) -> None:
    begin = slice_of(at)
    width = slice_width(begin)
    assert begin <= at * 1e3 < begin + width + 1e-6
    assert width == 1 or width <= at * 1e3 / 100
    assert slice_of((begin + width) / 1e3 + 1e-9) == begin + width


@pytest.mark.slow(2)
def test_a_day_is_bounded() -> None:
    counts = Throughput()
    for second in range(0, 86_400, 4):
        for part in range(2):
            at = second + part / 2
            counts.count(at, at + 0.3, OK, good=True)
    assert len(counts.slices) < 4000
    window = open_window(counts, issued=86_400.0)
    assert rate(counts, window) == pytest.approx(0.5, rel=1e-4)
    assert counts.mean_in_flight(window.edges) == pytest.approx(0.15, rel=1e-3)
    assert len(msgspec.json.encode(counts)) < 1_000_000


requests = st.tuples(st.floats(0, 30), st.floats(0, 5), st.sampled_from([OK, OK, CENSORED, TIMEOUT, *RequestOutcome]))


@pytest.mark.slow(1)
@given(st.lists(st.lists(requests, max_size=6), min_size=1, max_size=4), st.integers())
def test_the_order_of_merging_does_not_matter(parts: list[list[Sent]], order: int) -> None:
    whole = [(start, start + length, outcome) for part in parts for start, length, outcome in part]
    pieces = [counts_of([(start, start + length, outcome) for start, length, outcome in part]) for part in parts]
    pieces = [msgspec.convert(json.loads(msgspec.json.encode(piece)), Throughput, str_keys=True) for piece in pieces]
    random.Random(order).shuffle(pieces)
    merged = Throughput()
    for piece in pieces:
        merged.merge(piece)
    alone = counts_of(whole)
    assert (merged.first_start, merged.last_start, merged.last_finish, merged.lengths) == (
        alone.first_start,
        alone.last_start,
        alone.last_finish,
        alone.lengths,
    )
    for closed in (True, False):
        one, other = (
            closed_window(found, ramp=0.0, users=3, issued=20.0) if closed else open_window(found, issued=20.0)
            for found in (merged, alone)
        )
        assert one.edges == pytest.approx(other.edges)
        assert (one.first, one.last, one.started, one.why) == (other.first, other.last, other.started, other.why)
        assert totals_within(merged, one.first, one.last) == totals_within(alone, other.first, other.last)
