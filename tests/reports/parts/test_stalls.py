"""The map of gaps: how many of which length ended when."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rejoinder.model.samples import SecondSample
from rejoinder.reports.parts.stalls import PART as STALLS


def second(t: int, gaps: dict[int, int]) -> SecondSample:
    return SecondSample(t=t, started=1, finished=1, failed=0, in_flight=0, output_tokens=1.0, gaps=gaps)


def test_the_map_has_every_gap_where_it_ended(report_of: Any) -> None:
    found = report_of(second(0, {5: 90, 10: 10}), second(1, {5: 80}), second(2, {5: 70, 2000: 1}))[STALLS]
    assert found.table.head == [
        "time",
        *(f"≥ {name}" for name in ["5 ms", "10 ms", "20 ms", "50 ms", "100 ms", "200 ms", "500 ms", "1 s", "2 s"]),
    ]
    assert [row[1] for row in found.table.rows] == ["90", "80", "70"]
    assert found.table.rows[2][-1] == "1"
    assert found.rows == 9
    assert sum(path.count("M") for path, _ in found.shades) == 5
    assert "The longest, of 2 s or more, ended at 2 s" in found.summary
    # Longer gaps lie higher: those of 5 ms in the lowest row, the one of 2 s in the uppermost of the last second.
    lightest, strongest = found.shades[0], found.shades[-1]
    assert lightest == ("M666.7 0h333.3v1H666.7z", 2)
    assert strongest == ("M0 8h333.3v1H0zM333.3 8h333.3v1H333.3zM666.7 8h333.3v1H666.7z", 90)


def test_columns_of_a_long_run_hold_all_their_seconds(report_of: Any) -> None:
    # Of 250 s every 3 are a column, of points of 2 s every 2: 4 s, which are 63 columns.
    found = report_of(*(second(t, {10: 1, 500: int(t in (5, 6, 249))}) for t in range(250)))[STALLS]
    assert [row[0] for row in found.table.rows][:3] == ["0 s", "4 s", "8 s"]
    assert len(found.table.rows) == 63
    assert [row[1] for row in found.table.rows] == ["4"] * 62 + ["2"]
    assert [(row[0], row[-1]) for row in found.table.rows if row[-1] not in ("", "0")] == [("4 s", "2"), ("248 s", "1")]
    lefts = [float(left) for path, _ in found.shades for left in re.findall(r"M([\d.]+) \d+h", path)]
    assert max(lefts) == pytest.approx(1000 * 248 / 250)
    # The last column ends with the run.
    assert all(float(left) + float(width) <= 1000.1 for path, _ in found.shades
               for left, width in re.findall(r"M([\d.]+) \d+h([\d.]+)", path))  # fmt: skip


def test_when_the_longest_gaps_ended_is_told_for_the_first_four(report_of: Any) -> None:
    many = report_of(*(second(t, {2000: 1}) for t in range(1, 8)))[STALLS]
    assert "1 s, 2 s, 3 s, 4 s and 3 more times" in many.summary
    assert [most for _, most in many.shades] == [1]
    four = report_of(*(second(t, {2000: 1}) for t in range(1, 5)))[STALLS]
    assert "1 s, 2 s, 3 s, 4 s." in four.summary


def test_rows_are_labelled_as_far_as_there_is_room(report_of: Any) -> None:
    gaps = {0: 1, **{figure * 10**power: 1 for power in range(5) for figure in (1, 2, 5)}}
    found = report_of(second(0, gaps))[STALLS]
    assert (found.rows, len(found.y)) == (16, 9)
    # Every second row and the lowest, each at its lower edge.
    assert [(tick.at, tick.label) for tick in found.y][:3] == [(100, "0"), (93.75, "1 ms"), (81.25, "5 ms")]
    assert found.y[-1] == (6.25, "50 s")
    assert found.table.head[1] == "< 1 ms"
    assert [(tick.at, tick.label) for tick in found.x] == [
        (0, "0 s"), (20, "0.2 s"), (40, "0.4 s"), (pytest.approx(60), "0.6 s"), (80, "0.8 s"), (100, "1 s")
    ]  # fmt: skip


def test_lengths_that_no_run_file_has_are_left_out(report_of: Any) -> None:
    found = report_of(second(0, {10: 3, 11: 5, 20: 1}))[STALLS]
    assert found.table.rows == [["0 s", "3", "1"]]
    assert report_of(second(0, {11: 5})).get(STALLS) is None


def test_maps_of_long_runs_are_bounded(report_of: Any) -> None:
    gaps = {figure * 10**power: 7**power for power in range(5) for figure in (1, 2, 5)}
    found = report_of(*(second(t, gaps) for t in range(7200)))[STALLS]
    assert len(found.table.rows) <= 100
    assert sum(len(path) for path, _ in found.shades) < 40_000


def test_a_run_without_gaps_has_no_map(report_of: Any) -> None:
    assert report_of(second(0, {})).get(STALLS) is None
