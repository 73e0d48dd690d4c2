"""Bucket keys: their order and their error."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.buckets import bucket, bucket_bounds, bucket_value


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
