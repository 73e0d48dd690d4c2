"""What a sample allows to claim: MLPerf's bound of a percentile and the limits of a share, with SciPy as oracle."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from rejoinder.load.objectives.confidence import (
    percentile_lines,
    share_bound,
    upper_bound,
    values_above,
    values_needed,
)
from rejoinder.model.histogram import Histogram

PERCENTS = st.sampled_from([1.0, 10.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99])


def histogram(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


@given(st.integers(1, 2_000_000), PERCENTS)
@example(1, 50.0)
@example(6, 50.0)  # (1/2)^6 is more than 1 %, (1/2)^7 is less
@example(7, 50.0)
@example(2_000_000, 99.99)
def test_the_rank_of_the_bound_is_the_greatest_that_the_binomial_allows(n: int, percent: float) -> None:
    tail = 1 - percent / 100
    found = values_above(n, percent)
    # Not for a probability that hits 1 % so closely that the last digits decide.
    assert found == 0 or binom.cdf(found, n, tail) <= 0.01 * (1 + 1e-9)
    assert binom.cdf(found + 1, n, tail) > 0.01 * (1 - 1e-9)


@pytest.mark.parametrize(("n", "percent"), [(0, 99.0), (-1, 99.0), (100, 100.0), (100, 0.0), (100, -5.0)])
def test_no_values_and_no_percentiles_have_no_bound(n: int, percent: float) -> None:
    assert values_above(n, percent) == 0


@pytest.mark.parametrize(("percent", "needed"), [(90, 64), (99, 662)])
def test_the_floor_of_the_bound_is_that_of_mlperf(percent: float, needed: int) -> None:
    assert values_needed(percent) == needed


@pytest.mark.parametrize("percent", [50.0, 75.0, 90.0, 95.0, 99.0, 99.9])
def test_the_floor_is_the_first_number_of_values_that_has_a_bound(percent: float) -> None:
    needed, tail = values_needed(percent), 1 - percent / 100
    assert values_above(needed - 1, percent) == 0
    assert values_above(needed, percent) == 1
    assert binom.cdf(1, needed, tail) <= 0.01 < binom.cdf(1, needed - 1, tail)


@given(st.integers(1, 100_000), st.data())
@example(1, None)
def test_the_bound_of_a_share_is_that_of_clopper_and_pearson(n: int, data: st.DataObject | None) -> None:
    found = data.draw(st.integers(0, n)) if data else 0
    bound = share_bound(found, n)
    expected = 1.0 if found == n else float(beta.ppf(0.99, found + 1, n - found))
    assert bound == pytest.approx(expected, abs=1e-9)


def test_a_share_of_nothing_has_no_bound() -> None:
    assert share_bound(0, 0) is None
    assert share_bound(0, 1) == pytest.approx(0.99, abs=1e-9)
    assert share_bound(1, 1) == 1.0


def test_the_bound_is_that_many_values_from_above() -> None:
    # Below 2,048 us a histogram keeps every value as it is. Of 2,000 values the 9th largest bounds the p99.
    values = histogram([k / 1e6 for k in range(1, 2001)])
    assert binom.cdf(9, 2000, 0.01) <= 0.01 < binom.cdf(10, 2000, 0.01)
    assert upper_bound(values, 99) == 0.001992
    assert upper_bound(values, 99.9) is None
    assert upper_bound(Histogram(), 50) is None


@given(st.integers(1, 2000), PERCENTS)
def test_the_bound_is_never_below_the_percentile(n: int, percent: float) -> None:
    values = histogram([k / 1e6 for k in range(1, n + 1)])
    bound = upper_bound(values, percent)
    figure = values.nearest_rank(percent)
    assert bound is None or (figure is not None and bound >= figure.value)


def test_percentiles_come_with_their_bounds_or_with_what_these_need() -> None:
    (few, many) = percentile_lines({"ttft": histogram([k / 1e6 for k in range(1, 2001)]), "e2e": histogram([0.5] * 20)})
    assert (few.metric, few.n, many.metric, many.n) == ("e2e", 20, "ttft", 2000)
    assert (many.p50.value, many.p50.bound, many.p50.needs, many.p50.value_needs) == (0.001, 0.001054, None, None)
    assert (many.p999.value, many.p999.bound, many.p999.needs) == (0.001998, None, values_needed(99.9))
    assert (few.p90.value, few.p90.value_needs, few.p90.bound, few.p90.needs) == (0.5, None, None, 64)
    assert (few.p99.value, few.p99.value_needs, few.p99.needs) == (None, 100, 662)


def test_many_values_are_no_work() -> None:
    assert values_above(100_000_000, 50) == binom.ppf(0.01, 100_000_000, 0.5) - 1
