"""The repeats of a load run, of one endpoint or of two in turns, side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from rich.text import Text

from rejoinder.formatting import format_count, format_percent, one_line, plural, uncapitalized
from rejoinder.model.metrics import METRICS, RATES, SHARES, Place, format_change_figure, rows_shown
from rejoinder.model.outcomes import good_of
from rejoinder.model.samples import ChangeResult, Repeat
from rejoinder.reports.charts import FigureTable
from rejoinder.reports.markdown_text import table
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.latencies import PART as LATENCIES

_MOST: Final = 100
_ROWS_ON_TERMINAL: Final = 12
_ROOM: Final = 0.06
"""Share of the width of a dot plot that stays free on both sides."""


@dataclass(frozen=True, slots=True)
class DotPlot:
    """A dot plot: the repeats of both sides, the means and the limit, in percent of its width; ``None``: not known."""

    ours: list[float]
    others: list[float]
    before: float | None
    limit: float | None


@dataclass(slots=True)
class RepeatsSummary:
    """All repeats, and the figures that changes are judged by."""

    repeats: list[Repeat] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    dots: dict[str, DotPlot] = field(default_factory=dict)
    """Dot plots by the text of the limit that they belong to."""

    @property
    def table(self) -> FigureTable:
        """The repeats, in the order in which they were run; with their endpoint where there are two."""
        sides = ["endpoint"] if self._of_two else []
        head = ["repeat", *sides, "requests", "succeeded", *map(_title, self.figures), "measurement"]
        return FigureTable(head, [self._row(repeat) for repeat in self.repeats])

    @property
    def _of_two(self) -> bool:
        return any(repeat.of == "against" for repeat in self.repeats)

    def _row(self, repeat: Repeat) -> list[str]:
        return [
            str(repeat.repeat + 1),
            *(["this endpoint" if repeat.of == "endpoint" else "baseline"] if self._of_two else []),
            format_count(repeat.started),
            format_percent(good_of(repeat.outcomes), repeat.started),
            *(format_change_figure(name, repeat.figures.get(name)) for name in self.figures),
            repeat.verdict.value,
        ]


def _title(figure: str) -> str:
    """Return what a table calls a figure: ``TTFT p99`` for ``ttft:p99``."""
    metric, _, statistic = figure.partition(":")
    row = METRICS.get(metric)
    return one_line(" ".join(filter(None, (uncapitalized(row.label) if row else metric, statistic))), 60)


def read(report: ReportModel) -> RepeatsSummary | None:
    """Return the repeats of the run with the figures that its limits are about."""
    total = report.run.load
    samples, changes = (total.repeats, total.changes) if total else (report.run.samples_of(Repeat), [])
    if not samples:
        return None
    found = samples[:_MOST]
    known = {name for repeat in found for name in repeat.figures}
    limited = dict.fromkeys(change.figure for change in changes)
    chosen = [name for name in limited if name in known] or [name for name in _usual_figures() if name in known]
    repeats = RepeatsSummary(found, chosen[:8])
    for change in changes[:_MOST]:
        repeats.dots[one_line(change.text, 120)] = _dots(found, change)
    return repeats


def _usual_figures() -> list[str]:
    """Return the figures that are shown where no limit chooses others."""
    times = [f"{row.name}:p{p:g}" for row in rows_shown(Place.REPEAT) for p in row.percentiles(Place.REPEAT)]
    return [*times, *(row.name for row in (*RATES.values(), *SHARES.values()) if Place.REPEAT in row.shown)]


def _dots(repeats: list[Repeat], change: ChangeResult) -> DotPlot:
    ours, others = (
        [repeat.figures[change.figure] for repeat in repeats if repeat.of == side and change.figure in repeat.figures]
        for side in ("endpoint", "against")
    )
    before = change.before
    limit = None if before is None else before * (1 + change.limit)
    values = [*ours, *others, *(value for value in (before, limit) if value is not None)]
    if not values:
        return DotPlot([], [], None, None)
    low, high = min(values), max(values)
    span = (high - low) / (1 - 2 * _ROOM) or 1.0
    start = low - _ROOM * span if high > low else low - 0.5

    def place(value: float) -> float:
        return 100 * (value - start) / span

    return DotPlot(
        [place(value) for value in ours],
        [place(value) for value in others],
        None if before is None else place(before),
        None if limit is None else place(limit),
    )


def page_values(repeats: RepeatsSummary, report: ReportModel) -> dict[str, Any]:
    """Return the title of the table, and whether it starts open."""
    total = report.run.load
    title = plural(len(repeats.repeats), "repeat")
    if report.get(LATENCIES):
        title += "; the sections below show the median repeat"
    return {"title": title, "open": not (total and total.changes)}


def markdown(repeats: RepeatsSummary, report: ReportModel, room: int) -> list[str]:
    """Return the repeats as a table."""
    return [*table(repeats.table), ""]


def terminal(repeats: RepeatsSummary, report: ReportModel, width: int) -> list[Text]:
    """Return the repeats of a run that did not come to its end; else the SLOs and regression limits show the result."""
    if report.run.load is not None:
        return []
    return [Text(f"        {'  '.join(row)}") for row in (repeats.table.head, *repeats.table.rows[:_ROWS_ON_TERMINAL])]


PART: Final = Part(__name__, Area.LOAD, 220, read, markdown=markdown, terminal=terminal, page_values=page_values)
