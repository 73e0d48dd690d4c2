"""Speeds that each request had: low percentiles, since more is better."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from rich.text import Text

from rejoinder.formatting import Figure, format_count, format_rate, plural, uncapitalized, value_of
from rejoinder.model.histogram import Histogram, values_for
from rejoinder.model.metrics import SPEEDS, Metric, Place, row_of
from rejoinder.model.samples import PERCENTILES, HistogramSample
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.latencies import ESTIMATED, estimate_text, terminal_rows, unchecked_text
from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.terminal_text import FigureRow, align, fill

LOW_PERCENTILES: Final = tuple(round(100 - percent, 6) for percent in PERCENTILES)
"""The percentiles that the tables show."""


class Speed(NamedTuple):
    """The distribution of one speed, per second; ``only_ok``: over the good requests."""

    metric: Metric
    only_ok: bool
    values: Histogram

    @property
    def title(self) -> str:
        """The name of the row."""
        return f"{self.metric.title}, successful requests" if self.only_ok else self.metric.title

    @property
    def lowest(self) -> float | None:
        """The smallest value."""
        return value_of(self.values.at_rank(1))

    @property
    def mean(self) -> float | None:
        """The mean."""
        return value_of(self.values.mean)

    @property
    def n(self) -> int:
        """The number of values."""
        return self.values.n

    def percentile(self, p: float) -> Figure | None:
        """Return the nearest-rank percentile, or ``None`` when there are too few values."""
        return self.values.percentile(p)

    def percentile_text(self, p: float) -> str:
        """Return a percentile as text, or how many values it needs."""
        value = value_of(self.percentile(p))
        return f"needs {plural(values_for(p), 'sample')}" if value is None else format_rate(value)

    def quantile(self, q: float) -> Figure | None:
        """Return the value at rank ``ceil(q * n)``, however few values there are."""
        return self.values.nearest_rank(100 * q)


def read(report: ReportModel) -> list[Speed] | None:
    """Return the speeds of the run, the requests that count before the good ones of them."""
    samples = {sample.metric: sample.values for sample in report.run.samples_of(HistogramSample) if sample.values.n}
    found = [
        Speed(row, only_ok, samples[name])
        for row in SPEEDS.values()
        for only_ok, name in ((False, row.name), (True, row.judged_by))
        if name in samples and row_of(name) is row
    ]
    return found or None


def page_values(speeds: list[Speed], report: ReportModel) -> dict[str, Any]:
    """Return the percentiles of the table, and what stands beside speeds of estimated tokens."""
    return {
        "percentiles": LOW_PERCENTILES,
        "marks": {speed.title: _marks(speed, report) for speed in speeds},
    }


def _marks(speed: Speed, report: ReportModel) -> str:
    """Return what stands below the title of a row."""
    texts = [estimate_text(report, speed.metric), unchecked_text(report) if speed.only_ok else ""]
    return ", ".join(filter(None, texts))


def markdown(speeds: list[Speed], report: ReportModel, room: int) -> list[str]:
    """Return a table of percentiles."""
    lines = [
        "| Speed | Samples | " + " | ".join(f"p{p:g}" for p in LOW_PERCENTILES) + " | min |",
        "|---|---:|" + "---:|" * (len(LOW_PERCENTILES) + 1),
    ]
    for speed in speeds:
        if not speed.only_ok:
            values = " | ".join(speed.percentile_text(p) for p in LOW_PERCENTILES)
            estimated = f" ({text})" if (text := estimate_text(report, speed.metric)) else ""
            lines.append(
                f"| {escape(speed.title + estimated)} | {speed.values.n:,} | {values} | {format_rate(speed.lowest)} |"
            )
    return [*lines, ""]


def terminal(speeds: list[Speed], report: ReportModel, width: int) -> list[Text]:
    """Return the percentiles of all requests that count."""
    rows: list[FigureRow] = []
    names = []
    for speed in speeds:
        metric = speed.metric
        if speed.only_ok or Place.TERMINAL not in metric.shown:
            continue
        percents = metric.percentiles(Place.TERMINAL)
        figures = [f"p{p:g} {speed.percentile_text(p).removesuffix(' samples')}" for p in percents]
        estimated = f" {ESTIMATED}" if estimate_text(report, metric) else ""
        rows.append(FigureRow(metric.label, figures, f"n={format_count(speed.n)}{estimated}"))
        names.append(f"{metric.label}: {uncapitalized(metric.title)} (p1: the slowest 1 %)")
    latencies = report.get(LATENCIES)
    lines = align(rows, width, terminal_rows(latencies, report) if latencies else [])
    return [*lines, *(Text(f"        {line}", "dim") for line in fill(names, ", ", width - 8))]


def speed_of(report: ReportModel, metric: str) -> Speed | None:
    """Return the distribution of a speed over all requests that count, if it has values."""
    return next((speed for speed in report.get(PART) or () if speed.metric.name == metric and not speed.only_ok), None)


PART: Final = Part(__name__, Area.LOAD, 252, read, markdown=markdown, terminal=terminal, page_values=page_values)
