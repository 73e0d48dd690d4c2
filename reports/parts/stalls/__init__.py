"""Inter-token gaps by length and by the time at which they ended."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from rejoinder.formatting import format_count, plural
from rejoinder.reports.charts import WIDTH, FigureTable, Tick, axis_seconds, clock, coordinate, round_steps
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.timeline import PART as TIMELINE


@dataclass(frozen=True, slots=True)
class StallMap:
    """How many gaps of which length ended when: one path for each shade, light to dark, in a box 1000 by ``rows``.

    ``shades`` holds the path and the most gaps that a cell of the shade has.
    """

    summary: str
    shades: list[tuple[str, int]]
    rows: int
    x: list[Tick]
    y: list[Tick]
    table: FigureTable


GAP_STEPS: Final = (0.0, *(figure * 10**power / 1e3 for power in range(6) for figure in (1, 2, 5)))
"""Lengths in seconds between which the gaps of a second are counted in a run file."""
SHADES: Final = 5
_MOST_COLUMNS: Final = 100


def read(report: ReportModel) -> StallMap | None:
    """Return the gaps between content as a map of time (across) and length (up), or ``None`` where none are known."""
    timeline = report.get(TIMELINE)
    rows = [row for row in timeline.points if row.gaps] if timeline else []
    if timeline is None or not rows:
        return None
    begin, end = timeline.span
    wide = timeline.step * math.ceil((end - begin) / timeline.step / _MOST_COLUMNS)
    columns = max(1, math.ceil((end - begin) / wide))
    cells: dict[tuple[int, float], int] = {}
    for row in rows:
        column = min(columns - 1, max(0, int((row.t - begin) // wide)))
        for bound, amount in row.gaps.items():
            cells[column, bound] = cells.get((column, bound), 0) + amount
    present = {bound for _, bound in cells}
    # The steps between the shortest and the longest are drawn too, empty as they are.
    bounds = [bound for bound in GAP_STEPS if min(present) <= bound <= max(present)]
    cells = {key: amount for key, amount in cells.items() if key[1] in bounds}
    if not cells:
        return None
    top = max(cells.values())
    width, tall = WIDTH * wide / (end - begin), len(bounds)
    # On a log scale: one gap of two seconds must be seen beside a thousand of ten milliseconds.
    most = [math.floor(top ** ((index + 1) / SHADES) + 1e-9) for index in range(SHADES)]
    shapes: list[list[str]] = [[] for _ in range(SHADES)]
    for (column, bound), amount in sorted(cells.items()):
        shade = bisect_left(most, amount) if top > 1 else SHADES - 1
        x, y = column * width, tall - 1 - bounds.index(bound)
        shapes[shade].append(f"M{coordinate(x)} {y}h{coordinate(min(width, WIDTH - x))}v1H{coordinate(x)}z")
    shades = [("".join(shape), most[index]) for index, shape in enumerate(shapes) if shape]
    longest = max(bounds)
    late = [begin + column * wide for column, bound in sorted(cells) if bound == longest]
    ends = ", ".join(clock(at) for at in late[:4]) + (f" and {len(late) - 4:,} more times" if len(late) > 4 else "")
    summary = (
        f"{plural(sum(cells.values()), 'gap')} of {_bound(bounds[0])} or more. "
        f"The longest, of {_bound(longest)} or more, ended at {ends}."
    )
    names = ["time", *(f"≥ {_bound(bound)}" if bound else f"< {_bound(GAP_STEPS[1])}" for bound in bounds)]
    lines = [
        [
            clock(begin + column * wide),
            *(format_count(cells[column, b]) if (column, b) in cells else "" for b in bounds),
        ]
        for column in sorted({column for column, _ in cells})
    ]
    return StallMap(
        summary=summary,
        shades=shades,
        rows=tall,
        x=[Tick(100 * (value - begin) / (end - begin), clock(value)) for value in round_steps(begin, end, 6)],
        y=[
            Tick(100 * (tall - index) / tall, _bound(bound))
            for index, bound in enumerate(bounds)
            if (tall - 1 - index) % math.ceil(tall / 8) == 0 or index == 0
        ],
        table=FigureTable(names, lines),
    )


def _bound(value: float) -> str:
    return axis_seconds(value) if value else "0"


PART: Final = Part(__name__, Area.LOAD, 270, read)
