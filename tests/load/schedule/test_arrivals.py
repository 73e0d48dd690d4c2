"""Schedules: exact, seeded, and the same for any number of processes."""

from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rejoinder.errors import UsageError
from rejoinder.load.schedule.arrivals import Phase, parse_phases, schedule, share


@given(st.floats(0.1, 1000), st.floats(0.1, 30))
def test_a_constant_rate_has_no_drift(rate: float, duration: float) -> None:
    offsets = list(schedule("constant", rate, duration))
    assert offsets == [slot / rate for slot in range(len(offsets))]
    assert offsets[-1] < duration <= len(offsets) / rate


@given(
    st.sampled_from(["constant", "poisson", "gamma:0.25", "gamma:4"]),
    st.floats(1, 200),
    st.integers(1, 7),
    st.integers(0, 2**32),
)
def test_processes_share_one_schedule_without_loss(arrivals: str, rate: float, count: int, seed: int) -> None:
    whole = list(enumerate(schedule(arrivals, rate, 2.0, seed)))
    parts = [list(share(schedule(arrivals, rate, 2.0, seed), index, count)) for index in range(count)]
    assert sorted(itertools.chain(*parts)) == whole


@pytest.mark.parametrize(("arrivals", "variation"), [("poisson", 1.0), ("gamma:0.25", 2.0), ("gamma:4", 0.5)])
def test_random_arrivals_have_their_rate_and_burstiness(arrivals: str, variation: float) -> None:
    offsets = list(schedule(arrivals, 100.0, 400.0, seed=1))
    gaps = [later - earlier for earlier, later in itertools.pairwise(offsets)]
    assert len(offsets) == 40_000
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(variation, rel=0.05)


def test_the_seed_decides() -> None:
    assert list(schedule("poisson", 10, 5, seed=1)) == list(schedule("poisson", 10, 5, seed=1))
    assert list(schedule("poisson", 10, 5, seed=1)) != list(schedule("poisson", 10, 5, seed=2))


def test_without_a_duration_it_goes_on() -> None:
    assert next(itertools.islice(schedule("constant", 10, None), 1_000, None)) == 100.0


@pytest.mark.parametrize("arrivals", ["", "uniform", "gamma", "gamma:", "gamma:x", "gamma:0", "gamma:-1", "poisson:2"])
def test_an_unknown_process_is_a_clear_error(arrivals: str) -> None:
    with pytest.raises(UsageError, match="not an arrival process"):
        next(schedule(arrivals, 1.0, 1.0))


phases = st.lists(
    st.builds(Phase, st.floats(0, 50), st.floats(0, 50), st.floats(0.5, 10)).filter(
        lambda phase: phase.begin + phase.end > 0.5
    ),
    min_size=1,
    max_size=5,
)


@given(phases)
def test_every_phase_has_its_count_and_its_rate(plan: list[Phase]) -> None:
    offsets = list(schedule("constant", plan, None))
    assert offsets == sorted(offsets)
    begin = expected = 0.0
    for phase in plan:
        middle, end = begin + phase.seconds / 2, begin + phase.seconds
        early = expected + (phase.begin * 0.75 + phase.end * 0.25) * phase.seconds / 2
        expected += phase.starts
        assert sum(offset < middle for offset in offsets) == pytest.approx(early, abs=1.001)
        assert sum(offset < end for offset in offsets) == pytest.approx(expected, abs=1.001)
        begin = end
    assert offsets[-1] <= begin + 1e-6


@given(phases, st.sampled_from(["constant", "poisson", "gamma:0.5"]), st.integers(1, 5), st.floats(0.1, 20))
def test_processes_share_the_phases_too(plan: list[Phase], arrivals: str, count: int, duration: float) -> None:
    whole = list(enumerate(schedule(arrivals, plan, duration, 3)))
    parts = [list(share(schedule(arrivals, plan, duration, 3), index, count)) for index in range(count)]
    assert sorted(itertools.chain(*parts)) == whole
    assert all(offset < duration for _, offset in whole)


def test_random_arrivals_follow_a_ramp() -> None:
    offsets = list(schedule("poisson", parse_phases("10..90@400s"), None, seed=2))
    assert len(offsets) == pytest.approx(20_000, rel=0.03)
    assert sum(offset < 200 for offset in offsets) == pytest.approx(6_000, rel=0.05)


def test_phases_are_read() -> None:
    assert parse_phases("5@30s, 5..50 @ 1min,0@500ms") == (Phase(5, 5, 30), Phase(5, 50, 60), Phase(0, 0, 0.5))


@pytest.mark.parametrize("text", ["", "5", "@3s", "5@", "5@3x", "-5@3s", "5..@3s", "5..x@3s", "0@10s", "5@3s,,5@3s"])
def test_what_is_no_schedule_is_a_clear_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_phases(text)


@given(st.sampled_from(["poisson", "gamma:0.25"]), st.floats(0.5, 90), st.floats(1, 20), st.integers(0, 99))
@example("gamma:0.25", 6.0, 1.5, 74)
@example("gamma:0.25", 5.0, 1.5, 74)
def test_random_arrivals_have_the_number_that_the_rate_says(kind: str, rate: float, seconds: float, seed: int) -> None:
    offsets = list(schedule(kind, rate, seconds, seed))
    assert len(offsets) == max(1, round(rate * seconds))
    assert offsets == sorted(offsets)
    assert 0 < offsets[0] <= offsets[-1] < seconds
    plan = [Phase(rate, 2 * rate, seconds / 2), Phase(rate, rate, seconds / 2)]
    assert len(list(schedule(kind, plan, None, seed))) == max(1, round(1.25 * rate * seconds))


def test_given_their_number_poisson_arrivals_are_uniform() -> None:
    offsets = [offset for seed in range(300) for offset in schedule("poisson", 20, 1.0, seed)]
    apart = max(abs(place / len(offsets) - offset) for place, offset in enumerate(sorted(offsets)))
    assert apart < 1.63 / len(offsets) ** 0.5  # Kolmogorov and Smirnov, 1 %
