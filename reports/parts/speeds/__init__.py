"""Speeds that each request had: low percentiles, since more is better."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from rich.text import Text

from rejoinder.formatting import format_count, format_rate, plural, value_of
from rejoinder.model.histogram import Histogram, values_for
from rejoinder.model.metrics import SPEEDS, Metric, Place, row_of
from rejoinder.model.samples import PERCENTILES, HistogramSample
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.terminal_text import fill

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

    def text(self, p: float) -> str:
        """Return a percentile as text, or how many values it needs."""
        value = value_of(self.values.percentile(p))
        return f"needs {plural(values_for(p), 'sample')}" if value is None else format_rate(value)


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
    """Return the percentiles of the table."""
    return {"percentiles": LOW_PERCENTILES}


def markdown(speeds: list[Speed], report: ReportModel, room: int) -> list[str]:
    """Return a table of percentiles."""
    lines = [
        "| Speed | Samples | " + " | ".join(f"p{p:g}" for p in LOW_PERCENTILES) + " | min |",
        "|---|---:|" + "---:|" * (len(LOW_PERCENTILES) + 1),
    ]
    for speed in speeds:
        if not speed.only_ok:
            values = " | ".join(speed.text(p) for p in LOW_PERCENTILES)
            lines.append(f"| {escape(speed.title)} | {speed.values.n:,} | {values} | {format_rate(speed.lowest)} |")
    return [*lines, ""]


def terminal(speeds: list[Speed], report: ReportModel, width: int) -> list[Text]:
    """Return the percentiles of all requests that count."""
    lines: list[Text] = []
    names = []
    for metric, only_ok, values in speeds:
        if only_ok or Place.TERMINAL not in metric.shown:
            continue
        percents = metric.percentiles(Place.TERMINAL)
        figures = "  ".join(f"p{p:g} {format_rate(value_of(values.percentile(p))):<7}" for p in percents)
        lacking = [p for p in percents if values.percentile(p) is None]
        needs = f", p{lacking[0]:g} needs {format_count(values_for(lacking[0]))}" if lacking else ""
        lines.append(Text(f"        {metric.label:<11} {figures}  n={format_count(values.n)}{needs}"))
        names.append(f"{metric.label}: {metric.title[:1].lower()}{metric.title[1:]} (p1: the slowest 1 %)")
    return [*lines, *(Text(f"        {line}", "dim") for line in fill(names, ", ", width - 8))]


PART: Final = Part(__name__, Area.LOAD, 252, read, markdown=markdown, terminal=terminal, page_values=page_values)
