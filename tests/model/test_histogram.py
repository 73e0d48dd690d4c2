"""The histogram: its buckets, its error, its merge, its percentiles."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.histogram import Histogram, bucket, bucket_bounds, bucket_value, values_for

durations = st.lists(st.floats(0, 100_000, allow_nan=False), max_size=60)


def histogram_of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(st.lists(st.floats(0, 100_000), min_size=1, max_size=60), st.floats(0.1, 100))
def test_a_percentile_is_the_nearest_rank_to_a_tenth_of_a_percent(values: list[float], percent: float) -> None:
    exact = sorted(values)[max(1, math.ceil(round(percent * len(values) / 100, 9))) - 1]
    histogram = histogram_of(values)
    assert histogram.nearest_rank(percent) == pytest.approx(exact, rel=0.001, abs=1e-6)
    assert histogram.percentile(percent) in (None, histogram.nearest_rank(percent))


@pytest.mark.parametrize(
    ("percent", "needed"), [(0.1, 1), (50, 1), (90, 10), (95, 20), (99, 100), (99.9, 1000), (100, 1)]
)
def test_a_percentile_is_withheld_until_a_value_can_lie_above_it(percent: float, needed: int) -> None:
    assert values_for(percent) == needed
    assert histogram_of([0.1] * needed).percentile(percent) == pytest.approx(0.1)
    assert histogram_of([0.1] * (needed - 1)).percentile(percent) is None


@given(durations, durations, durations)
def test_merging_is_adding_in_any_order(first: list[float], second: list[float], third: list[float]) -> None:
    whole = histogram_of([*first, *second, *third])
    merged = histogram_of(third)
    merged.merge(histogram_of(first))
    merged.merge(histogram_of(second))
    assert merged == whole


@given(durations)
def test_it_survives_json(values: list[float]) -> None:
    histogram = histogram_of(values)
    assert msgspec.json.decode(msgspec.json.encode(histogram), type=Histogram) == histogram


def test_an_empty_one_has_no_values() -> None:
    histogram = Histogram()
    assert histogram.percentile(50) is None
    assert histogram.mean is None


def test_the_99th_of_100_values_is_not_the_largest() -> None:
    assert histogram_of([float(number) for number in range(1, 101)]).percentile(99) == pytest.approx(99, rel=0.001)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"counts": 3}, "Expected `object`"),
        ({"counts": {"1": 2}, "n": 1}, "do not add up"),
        ({"counts": {"1": 0}}, ">= 1"),
        ({"counts": {"-1": 1}, "n": 1}, ">= 0"),
        ({"counts": {"131072": 1}, "n": 1}, "<= 131071"),
    ],
)
def test_foreign_data_is_refused(record: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        msgspec.convert(record, Histogram, str_keys=True)


@given(st.integers(0, 2**50))
def test_a_bucket_holds_its_values(value: int) -> None:
    low, high = bucket_bounds(bucket(value))
    assert low <= value < high
    assert high - low <= max(1, value / 1023)


@given(st.integers(0, 10**12))
def test_a_bucket_knows_its_values_to_a_tenth_of_a_percent(value: int) -> None:
    assert abs(bucket_value(bucket(value)) - value) <= value * 0.001


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_buckets_keep_the_order(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert bucket(low) <= bucket(high)


@given(durations, st.floats(0, 1000))
def test_what_lies_above_a_limit_is_counted(values: list[float], limit: float) -> None:
    far = [value for value in values if abs(value - limit) > 0.002 * limit + 1e-5]
    assert histogram_of(far).above(limit) == sum(value > limit for value in far)
