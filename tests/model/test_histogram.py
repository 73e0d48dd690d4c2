"""The histogram: its error, its merge, its percentiles."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.histogram import Histogram

durations = st.lists(st.floats(0, 100_000, allow_nan=False), max_size=60)


def histogram_of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(st.lists(st.floats(0, 100_000), min_size=1, max_size=60), st.floats(0.1, 100))
def test_a_percentile_is_the_nearest_rank_to_a_tenth_of_a_percent(values: list[float], percent: float) -> None:
    exact = sorted(values)[max(1, math.ceil(round(percent * len(values) / 100, 9))) - 1]
    found = histogram_of(values).percentile(percent)
    assert found == pytest.approx(exact, rel=0.001, abs=1e-6)


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
    assert Histogram.from_json(json.loads(json.dumps(histogram.to_json()))) == histogram


def test_an_empty_one_has_no_values() -> None:
    histogram = Histogram()
    assert histogram.percentile(50) is None
    assert histogram.mean is None


def test_the_99th_of_100_values_is_not_the_largest() -> None:
    assert histogram_of([float(number) for number in range(1, 101)]).percentile(99) == pytest.approx(99, rel=0.001)


@pytest.mark.parametrize("record", [{}, {"counts": {"1": 2}, "n": 1, "sum": 1, "min": 1, "max": 1}, {"counts": 3}])
def test_foreign_data_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a histogram"):
        Histogram.from_json(record)
