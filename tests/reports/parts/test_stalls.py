"""The map of gaps: how many of which length ended when."""

from __future__ import annotations

from typing import Any

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


def test_maps_of_long_runs_are_bounded(report_of: Any) -> None:
    gaps = {figure * 10**power: 7**power for power in range(5) for figure in (1, 2, 5)}
    found = report_of(*(second(t, gaps) for t in range(7200)))[STALLS]
    assert len(found.table.rows) <= 100
    assert sum(len(path) for path, _ in found.shades) < 40_000


def test_a_run_without_gaps_has_no_map(report_of: Any) -> None:
    assert report_of(second(0, {})).get(STALLS) is None
