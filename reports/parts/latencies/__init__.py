"""How long requests took, by metric: percentiles with how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from rejoinder.formatting import format_count, format_seconds, one_line
from rejoinder.model.histogram import Histogram, values_for
from rejoinder.model.metrics import TIMES, Place, row_of, times_shown
from rejoinder.model.samples import PERCENTILES, HistogramSample, Percentile, Percentiles
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel


@dataclass(frozen=True, slots=True)
class LatencyDistribution:
    """The distribution of one metric; all values are seconds."""

    metric: str
    title: str
    meaning: str
    only_ok: bool
    values: Histogram
    bounds: Percentiles | None = None

    @property
    def n(self) -> int:
        """The number of values."""
        return self.values.n

    def percentile(self, p: float) -> float | None:
        """Return the nearest-rank percentile, or ``None`` when fewer than one value would lie above it."""
        return self.values.percentile(p)

    def percentile_text(self, p: float) -> str:
        """Return a percentile as text, or how many values it needs."""
        value = self.percentile(p)
        return f"needs n {format_count(values_for(p))}" if value is None else format_seconds(value)

    def quantile(self, q: float) -> float | None:
        """Return the value at rank ``ceil(q * n)``, however few values there are."""
        return self.values.nearest_rank(100 * q)

    def bound(self, p: float) -> Percentile | None:
        """Return how sure a percentile is, where the run says so."""
        return self.bounds.at(p) if self.bounds else None


@dataclass(frozen=True, slots=True)
class Latencies:
    """The distributions of a load, and the outcomes of the requests that they cover."""

    distributions: list[LatencyDistribution]
    covers: list[str]

    @property
    def of_all(self) -> list[LatencyDistribution]:
        """The distributions of all requests that count; there are others of the good ones only."""
        return [distribution for distribution in self.distributions if not distribution.only_ok]

    def find(self, metric: str) -> LatencyDistribution | None:
        """Return the distribution of a metric, if it has values."""
        return next((d for d in self.distributions if d.metric == metric and d.n), None)


def read(report: ReportModel) -> Latencies | None:
    """Return the histograms of the run."""
    samples, total = report.run.samples_of(HistogramSample), report.run.load
    if not samples:
        return None
    covers = [outcome.value for outcome in total.latencies_over] if total else []
    return Latencies(_distributions(samples, total.percentiles if total else ()), covers)


def _distributions(samples: Sequence[HistogramSample], bounds: Sequence[Percentiles]) -> list[LatencyDistribution]:
    sure = {line.metric: line for line in bounds}
    found = []
    for sample in samples:
        metric, row = one_line(sample.metric, 40), row_of(sample.metric)
        found.append(
            LatencyDistribution(
                metric=metric,
                title=row.title if row else metric,
                meaning=row.meaning if row else "",
                only_ok=metric.endswith("_ok"),
                values=sample.values,
                bounds=sure.get(sample.metric),
            )
        )
    order = {metric: index for index, metric in enumerate(TIMES)}
    return sorted(found, key=lambda d: (d.only_ok, order.get(d.metric.removesuffix("_ok"), len(order))))


def page_values(latencies: Latencies, report: ReportModel) -> dict[str, Any]:
    """Return the percentiles of the table."""
    return {"percentiles": PERCENTILES}


def markdown(latencies: Latencies, report: ReportModel, room: int) -> list[str]:
    """Return a table of percentiles."""
    lines = [
        "| | n | " + " | ".join(f"p{p:g}" for p in PERCENTILES) + " | max |",
        "|---|---:|" + "---:|" * (len(PERCENTILES) + 1),
    ]
    for distribution in latencies.of_all[:12]:
        values = " | ".join(distribution.percentile_text(p) for p in PERCENTILES)
        name, longest = escape(distribution.title), format_seconds(distribution.values.longest)
        lines.append(f"| {name} | {distribution.n:,} | {values} | {longest} |")
    return [*lines, ""]


def terminal(latencies: Latencies, report: ReportModel, width: int) -> list[Text]:
    """Return the percentiles of the metrics that matter most."""
    lines = []
    for metric in times_shown(Place.TERMINAL):
        distribution = latencies.find(metric.name)
        if distribution:
            figures = "  ".join(
                f"p{p:g} {distribution.percentile_text(p):<8}" for p in metric.percentiles(Place.TERMINAL)
            )
            lines.append(Text(f"        {metric.short or metric.name:<11} {figures} n {distribution.n:,}"))
    return lines


PART: Final = Part(__name__, Area.LOAD, 250, read, markdown=markdown, terminal=terminal, page_values=page_values)


def latency_of(report: ReportModel, metric: str) -> LatencyDistribution | None:
    """Return the distribution of a metric in a run, if it has values."""
    latencies = report.get(PART)
    return latencies.find(metric) if latencies else None
