"""Path data, axes and their labels."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.reports.charts import (
    Chart,
    Curve,
    Linear,
    Log,
    Tick,
    axis_number,
    axis_seconds,
    clock,
    coordinate,
    draw,
    path,
    round_steps,
)


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 100)), max_size=5), st.booleans())
def test_paths_hold_numbers_only(points: list[tuple[float, float]], area: bool) -> None:
    assert set(path(points, area=area)) <= set("MLz0123456789. -")


@pytest.mark.parametrize(
    ("points", "line", "area"),
    [
        ([], "", ""),
        # A single point is a short stroke, which can be seen.
        ([(500.0, 25.0)], "M496 25L504 25", "M496 100L496 25L504 25L504 100z"),
        (
            [(0.0, 100.0), (333.333, 50.0), (666.667, 0.06)],
            "M0 100L333.3 50L666.7 0.1",
            "M0 100L0 100L333.3 50L666.7 0.1L666.7 100z",
        ),
    ],
)
def test_paths_by_hand(points: list[tuple[float, float]], line: str, area: str) -> None:
    assert path(points) == line
    assert path(points, area=True) == area


def test_a_series_is_drawn_in_pieces() -> None:
    series = [(0.0, None), (1.0, 10.0), (2.0, 20.0), (3.0, None), (4.0, None), (5.0, 40.0)]
    curve = draw("a", "speed", series, lambda x: 100 * x, lambda y: 100 - y)
    assert curve == Curve("a", "speed", "M100 90L200 80M496 60L504 60", [(1.0, 10.0), (2.0, 20.0), (5.0, 40.0)], False)
    area = draw("b", "load", series[:3], lambda x: 100 * x, lambda y: 100 - y, area=True)
    assert area == Curve("b", "load", "M100 100L100 90L200 80L200 100z", [(1.0, 10.0), (2.0, 20.0)], True)
    assert draw("a", "nothing", [(0.0, None)], float, float) is None


def test_the_grid_has_a_line_at_each_label() -> None:
    chart = Chart("t", "s", [], x=[Tick(0, "0"), Tick(33.333, "5")], y=[Tick(50.06, "1")])
    assert chart.grid == "M0 50.1h1000M0 0v100M333.3 0v100"


def test_axes_grow_upwards_and_to_the_right() -> None:
    assert [Linear(10.0)(value) for value in (0, 5, 10)] == [100, 50, 0]
    assert [Log(0.01, 1.0)(value) for value in (0.01, 0.1, 1.0)] == [100, 50, 0]
    assert [Log(0.01, 1.0, flip=False)(value) for value in (0.01, 0.1, 1.0)] == [0, 500, 1000]
    assert [tick.label for tick in Log(0.01, 1.0).ticks()] == ["10 ms", "30 ms", "100 ms", "300 ms", "1 s"]


def test_what_lies_beyond_an_axis_is_drawn_at_its_end() -> None:
    assert [Linear(10.0)(value) for value in (-1, 11, 1000)] == [100, 0, 0]
    assert [Log(0.01, 1.0)(value) for value in (0, 0.001, 2)] == [100, 100, 0]
    assert [Log(0.01, 1.0, flip=False)(value) for value in (-1, 0.001, 2)] == [0, 0, 1000]


@pytest.mark.parametrize(
    ("top", "least", "labels", "end"),
    [
        (10.0, 0.0, [(50, "5"), (0, "10")], 10),
        (7.0, 0.0, [(100 * 5 / 7, "2"), (100 * 3 / 7, "4"), (100 / 7, "6")], 7),
        (0.0, 0.0, [(50, "0.5"), (0, "1")], 1),
        (0.3, 1.0, [(50, "0.5"), (0, "1")], 1),
        (2.0, 1.0, [(75, "0.5"), (50, "1"), (25, "1.5"), (0, "2")], 2),
    ],
)
def test_linear_axes_by_hand(top: float, least: float, labels: list[tuple[float, str]], end: float) -> None:
    axis = Linear(top, least)
    assert [(tick.at, tick.label) for tick in axis.ticks(axis_number)] == [
        (pytest.approx(at), label) for at, label in labels
    ]
    assert (axis(0), axis(end)) == (100, pytest.approx(0))


@given(st.floats(1e-6, 1e9))
def test_a_linear_axis_holds_its_largest_value(top: float) -> None:
    axis = Linear(top)
    places = [tick.at for tick in axis.ticks(str)]
    # At least half of the axis is used, and it has few labels.
    assert 0 <= axis(top) <= 50
    assert 1 <= len(places) <= 5
    assert all(0 <= place < 100 for place in places)
    for tick in axis.ticks(str):
        assert axis(float(tick.label)) == tick.at


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.001, 0.01, [(100, "1 ms"), (69.9, "2 ms"), (30.1, "5 ms"), (0, "10 ms")]),
        (0.0015, 0.03, [(90.4, "2 ms"), (59.76, "5 ms"), (36.62, "10 ms"), (13.53, "20 ms")]),
        # Three labels a decade are too many, so there are two, or one.
        (0.01, 1.0, [(100, "10 ms"), (76.14, "30 ms"), (50, "100 ms"), (26.14, "300 ms"), (0, "1 s")]),
        (1e-6, 1.0, [(100, "1 µs"), (66.67, "100 µs"), (33.33, "10 ms"), (0, "1 s")]),
        # An axis has three tenths of a decade at least, which is from 1 to 2.
        (1.0, 1.0, [(100, "1 s")]),
        (0.0, 0.0, [(100, "1 ns")]),
    ],
)
def test_logarithmic_axes_by_hand(low: float, high: float, labels: list[tuple[float, str]]) -> None:
    found = [(tick.at, tick.label) for tick in Log(low, high).ticks()]
    assert found == [(pytest.approx(at, abs=0.11), label) for at, label in labels]
    flat = [(tick.at, tick.label) for tick in Log(low, high, flip=False).ticks()]
    assert flat == [(pytest.approx(100 - at, abs=0.11), label) for at, label in labels]


@given(st.floats(1e-8, 1e3), st.floats(1.0, 1e9))
def test_labels_of_a_logarithmic_axis_stand_at_their_value(low: float, times: float) -> None:
    axis = Log(low, low * times)
    ticks = axis.ticks()
    assert len(ticks) <= 6
    units = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
    for tick in ticks:
        number, unit = tick.label.split()
        assert tick.at == pytest.approx(axis(float(number) * units[unit]), abs=0.006)
    assert [tick.at for tick in ticks] == sorted((tick.at for tick in ticks), reverse=True)


def test_a_logarithmic_axis_is_never_too_narrow() -> None:
    assert Log(1.0, 1.0)(10**0.15) == pytest.approx(50)
    assert Log(1.0, 10.0)(10**0.15) == pytest.approx(85)


@pytest.mark.parametrize(
    ("low", "high", "about", "steps"),
    [
        (0, 10, 4, [0, 5, 10]),
        (0, 8, 4, [0, 2, 4, 6, 8]),
        (0, 4, 4, [0, 1, 2, 3, 4]),
        (0, 0.9, 4, [0, 0.5]),
        (3, 47, 6, [10, 20, 30, 40]),
        (5, 45, 4, [10, 20, 30, 40]),
        (-3, 3, 6, [-3, -2, -1, 0, 1, 2, 3]),
        (7, 7, 4, [7]),
        (7, 6, 4, [7]),
        (0, 4000, 4, [0, 1000, 2000, 3000, 4000]),
        (0, 4004, 4, [0, 1000, 2000, 3000, 4000]),
        (0, 4005, 4, [0, 2000, 4000]),
    ],
)
def test_steps_are_round(low: float, high: float, about: int, steps: list[float]) -> None:
    assert round_steps(low, high, about) == pytest.approx(steps)


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6), st.integers(1, 8))
def test_steps_stay_within_and_are_about_so_many(low: float, span: float, about: int) -> None:
    steps = round_steps(low, low + span, about)
    slack = 1e-6 * span
    assert all(low - slack <= step <= low + span + slack for step in steps)
    assert len(steps) <= about + 1
    between = {round(later - earlier, 9) for earlier, later in itertools.pairwise(steps)}
    assert len(between) <= 1 or max(between) - min(between) < 1e-6 * max(between)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 s"), (90.0, "90 s"), (299.0, "299 s"), (300.0, "5 min"), (330.0, "330 s"), (3600.0, "60 min")],
)
def test_times_of_the_run(value: float, text: str) -> None:
    assert clock(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "0.25"), (9.5, "9.5"), (9.99999, "9.99999"), (10.0, "10"), (10.4, "10"), (1500.0, "1,500")],
)
def test_numbers_of_an_axis(value: float, text: str) -> None:
    assert axis_number(value) == text
    assert axis_number(1_234_567.0) == "1,234,567"
    # In its short form this one would be 1e+01.
    assert axis_number(9.9999999) == "10"


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.0, "2 s"), (1.0, "1 s"), (0.9995, "0.9995 s"), (0.5, "500 ms"), (0.001, "1 ms"), (0.0005, "500 µs"),
     (1e-6, "1 µs"), (5e-7, "500 ns"), (3e-9, "3 ns")],
)  # fmt: skip
def test_durations_of_an_axis(value: float, text: str) -> None:
    assert axis_seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (0.04, "0"), (33.349, "33.3"), (10.0, "10"), (99.96, "100")])
def test_coordinates_have_one_decimal(value: float, text: str) -> None:
    assert coordinate(value) == text
    assert math.isclose(float(coordinate(value)), value, abs_tol=0.05)
