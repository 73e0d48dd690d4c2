"""Schedules: exact, seeded, and the same for any number of processes."""

from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.errors import UsageError
from rejoinder.load.arrivals import schedule, share


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
    assert len(offsets) == pytest.approx(40_000, rel=0.03)
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(variation, rel=0.05)


def test_the_seed_decides() -> None:
    assert list(schedule("poisson", 10, 5, seed=1)) == list(schedule("poisson", 10, 5, seed=1))
    assert list(schedule("poisson", 10, 5, seed=1)) != list(schedule("poisson", 10, 5, seed=2))


def test_without_a_duration_it_goes_on() -> None:
    assert next(itertools.islice(schedule("constant", 10, None), 1_000, None)) == 100.0


@pytest.mark.parametrize("arrivals", ["", "uniform", "gamma", "gamma:", "gamma:x", "gamma:0", "gamma:-1", "poisson:2"])
def test_an_unknown_process_is_a_clear_error(arrivals: str) -> None:
    with pytest.raises(UsageError, match="no arrival process"):
        next(schedule(arrivals, 1.0, 1.0))
