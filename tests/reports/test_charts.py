"""Path data and axes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rejoinder.reports.charts import Linear, Log, path


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 100)), max_size=5), st.booleans())
def test_paths_hold_numbers_only(points: list[tuple[float, float]], area: bool) -> None:
    assert set(path(points, area=area)) <= set("MLz0123456789. -")


def test_axes_grow_upwards_and_to_the_right() -> None:
    assert [Linear(10.0)(value) for value in (0, 5, 10)] == [100, 50, 0]
    assert [Log(0.01, 1.0)(value) for value in (0.01, 0.1, 1.0)] == [100, 50, 0]
    assert [Log(0.01, 1.0, flip=False)(value) for value in (0.01, 0.1, 1.0)] == [0, 500, 1000]
    assert [tick.label for tick in Log(0.01, 1.0).ticks()] == ["10 ms", "30 ms", "100 ms", "300 ms", "1 s"]
