"""The histogram: its buckets, its error, its merge, its percentiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.histogram import Histogram, bucket, bucket_bounds, bucket_value, values_for

Value = tuple[float, bool]
"""A duration in seconds, and whether it has no end."""

durations = st.lists(st.floats(0, 100_000, allow_nan=False), max_size=60)
values_with_and_without_end = st.lists(st.tuples(st.floats(0, 100_000, allow_nan=False), st.booleans()), max_size=60)
# Below 2,048 us every value has a bucket of its own, so that nothing hides behind the width of buckets.
few_microseconds = st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=7)


def histogram_of(values: list[float]) -> Histogram:
    return histogram_with([(value, False) for value in values])


def histogram_with(values: Iterable[Value]) -> Histogram:
    histogram = Histogram()
    for value, endless in values:
        histogram.add(value, at_least=endless)
    return histogram


def ends_of(values: list[tuple[int, bool]]) -> Iterator[list[float]]:
    """Yield all values with every end that those without one may have: any number from theirs on, up to infinity."""
    choices = [[*range(value, 14), math.inf] if endless else [value] for value, endless in values]
    for ends in product(*choices):
        yield sorted(ends)


@given(few_microseconds.filter(lambda values: sum(endless for _, endless in values) <= 3), st.floats(0.1, 100))
def test_a_percentile_is_exact_or_lies_between_the_closest_bounds(
    values: list[tuple[int, bool]], percent: float
) -> None:
    figure = histogram_with([(value / 1e6, endless) for value, endless in values]).nearest_rank(percent)
    rank = max(1, math.ceil(round(percent * len(values) / 100, 9)))
    possible = {ends[rank - 1] for ends in ends_of(values)}
    assert figure is not None
    assert figure.value == min(possible) / 1e6
    assert figure.at_least == (len(possible) > 1)
    bounded = figure.at_least and max(possible) < math.inf
    assert figure.highest == (pytest.approx(max(possible) / 1e6) if bounded else None)


@given(few_microseconds)
def test_mean_and_maximum_are_lower_bounds_beside_values_without_an_end(values: list[tuple[int, bool]]) -> None:
    histogram = histogram_with([(value / 1e6, endless) for value, endless in values])
    numbers, unended = [value for value, _ in values], sum(endless for _, endless in values)
    assert histogram.unended == unended
    assert histogram.mean == (pytest.approx(sum(numbers) / len(numbers) / 1e6), unended > 0, None)
    assert histogram.longest == (max(numbers) / 1e6, unended > 0, None)


def test_one_request_of_five_without_an_end_leaves_the_median_exact() -> None:
    histogram = histogram_with([(0.2, False)] * 80 + [(60.0, True)] * 20)
    assert histogram.percentile(50) == (pytest.approx(0.2, rel=0.001), False, None)
    assert histogram.percentile(80) == (pytest.approx(0.2, rel=0.001), False, None)
    assert histogram.percentile(81) == (pytest.approx(60, rel=0.001), True, None)
    assert histogram.longest == (60.0, True, None)


def test_a_request_that_was_cut_off_early_leaves_even_the_median_open() -> None:
    assert histogram_with([(0.1, True), (0.2, False), (0.3, False)]).nearest_rank(50) == (
        0.2,
        True,
        pytest.approx(0.3, rel=0.001),
    )
    assert histogram_with([(0.1, True), (0.2, False), (0.3, False)]).nearest_rank(100) == (
        pytest.approx(0.3),
        True,
        None,
    )
    assert histogram_with([(0.1, True), (0.2, False), (0.3, False)]).nearest_rank(1) == (
        0.1,
        True,
        pytest.approx(0.2, rel=0.001),
    )


@given(st.lists(st.floats(0, 100_000), min_size=1, max_size=60), st.floats(0.1, 100))
def test_a_percentile_is_the_nearest_rank_to_a_tenth_of_a_percent(values: list[float], percent: float) -> None:
    exact = sorted(values)[max(1, math.ceil(round(percent * len(values) / 100, 9))) - 1]
    histogram = histogram_of(values)
    assert histogram.nearest_rank(percent) == (pytest.approx(exact, rel=0.001, abs=1e-6), False, None)
    assert histogram.percentile(percent) in (None, histogram.nearest_rank(percent))


@pytest.mark.parametrize(
    ("percent", "needed"),
    [(0, 1), (0.1, 1000), (1, 100), (10, 10), (50, 1), (90, 10), (95, 20), (99, 100), (99.9, 1000), (100, 1)],
)
def test_a_percentile_is_withheld_until_a_value_can_lie_beyond_it(percent: float, needed: int) -> None:
    assert values_for(percent) == needed
    assert histogram_of([0.1] * needed).percentile(percent) == (pytest.approx(0.1), False, None)
    assert histogram_of([0.1] * (needed - 1)).percentile(percent) is None


@given(values_with_and_without_end, values_with_and_without_end, values_with_and_without_end)
def test_merging_is_adding_in_any_order(first: list[Value], second: list[Value], third: list[Value]) -> None:
    whole = histogram_with([*first, *second, *third])
    merged = histogram_with(third)
    merged.merge(histogram_with(first))
    merged.merge(histogram_with(second))
    assert merged == whole
    pair = histogram_with(second)
    pair.merge(histogram_with(third))
    grouped = histogram_with(first)
    grouped.merge(pair)
    assert grouped == whole


@given(values_with_and_without_end)
def test_it_survives_json(values: list[Value]) -> None:
    histogram = histogram_with(values)
    assert msgspec.json.decode(msgspec.json.encode(histogram), type=Histogram) == histogram


def test_an_empty_one_has_no_values() -> None:
    histogram = Histogram()
    assert histogram.percentile(50) is None
    assert histogram.mean is None


def test_the_99th_of_100_values_is_not_the_largest() -> None:
    assert histogram_of([float(number) for number in range(1, 101)]).percentile(99) == (
        pytest.approx(99, rel=0.001),
        False,
        None,
    )


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"counts": 3}, "Expected `object`"),
        ({"counts": {"1": 2}, "n": 1}, "do not add up"),
        ({"counts": {"1": 0}}, ">= 1"),
        ({"counts": {"-1": 1}, "n": 1}, ">= 0"),
        ({"counts": {"131072": 1}, "n": 1}, "<= 131071"),
        ({"counts": {"1": 1}, "n": 1, "at_least": {"1": 2}}, "more values than counts"),
        ({"counts": {"1": 1}, "n": 1, "at_least": {"2": 1}}, "more values than counts"),
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
