from __future__ import annotations

from hypothesis import strategies as st

from rejoinder.strategies import request_bodies, sample


def test_samples_are_repeatable() -> None:
    first = sample(request_bodies(), 30, seed=7)
    assert len(first) == 30
    assert sample(request_bodies(), 30, seed=7) == first
    assert sample(request_bodies(), 30, seed=8) != first
    assert sample(st.booleans(), 30) in ([False, True], [True, False])
    assert sample(request_bodies(), 0) == []
