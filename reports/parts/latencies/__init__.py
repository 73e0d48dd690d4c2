"""Latencies by metric: percentiles with their confidence bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from rejoinder.formatting import Figure, format_count, format_percent, format_seconds, one_line, plural, uncapitalized
from rejoinder.model.histogram import Histogram, values_for
from rejoinder.model.metrics import SPEEDS, TIMES, Metric, Place, row_of, rows_shown
from rejoinder.model.samples import PERCENTILES, HistogramSample, Percentile, Percentiles
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.steady_state import PART as STEADY_STATE
from rejoinder.reports.terminal_text import FigureRow, align, fill

_SCHEDULED: Final = "  scheduled"
_SAMPLES: Final = " samples"
NOT_STEADY: Final = "*"
ESTIMATED: Final = "~"
"""Signs beside the rows of the terminal."""
_SCHEDULE: Final = "scheduled: from the scheduled start"


@dataclass(frozen=True, slots=True)
class LatencyDistribution:
    """The distribution of one metric; all values are seconds."""

    metric: str
    title: str
    group: str
    meaning: str
    only_ok: bool
    values: Histogram
    bounds: Percentiles | None = None

    @property
    def group_title(self) -> str:
        """The heading of the rows among which it stands."""
        return (self.group[:1].upper() + self.group[1:]) or "Other"

    @property
    def n(self) -> int:
        """The number of values."""
        return self.values.n

    def percentile(self, p: float) -> Figure | None:
        """Return the nearest-rank percentile, or ``None`` when fewer than one value would lie above it."""
        return self.values.percentile(p)

    def percentile_text(self, p: float) -> str:
        """Return a percentile as text, or how many values it needs."""
        value = self.percentile(p)
        return f"needs {plural(values_for(p), 'sample')}" if value is None else format_seconds(value)

    def quantile(self, q: float) -> Figure | None:
        """Return the value at rank ``ceil(q * n)``, however few values there are."""
        return self.values.nearest_rank(100 * q)

    def bound(self, p: float) -> Percentile | None:
        """Return how sure a percentile is, where the run says so."""
        return self.bounds.at(p) if self.bounds else None


@dataclass(frozen=True, slots=True)
class Latencies:
    """The distributions of a load, and the outcomes of the requests that they cover.

    ``scheduled``: requests started on a schedule, as in an open loop.
    """

    distributions: list[LatencyDistribution]
    covers: list[str]
    scheduled: bool

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
    scheduled = total is not None and total.mode == "open"
    return Latencies(_distributions(samples, total.percentiles if total else ()), covers, scheduled)


def _distributions(samples: Sequence[HistogramSample], bounds: Sequence[Percentiles]) -> list[LatencyDistribution]:
    sure = {line.metric: line for line in bounds}
    found = []
    for sample in samples:
        metric, row = one_line(sample.metric, 40), row_of(sample.metric)
        if row is not None and row.name in SPEEDS:
            continue
        found.append(
            LatencyDistribution(
                metric=metric,
                title=row.label if row else metric,
                group=row.group if row else "",
                meaning=_meaning(row) if row else "",
                only_ok=metric.endswith("_ok"),
                values=sample.values,
                bounds=sure.get(sample.metric),
            )
        )
    groups = list(dict.fromkeys(row.group for row in TIMES.values()))
    order = {row.name: (groups.index(row.group), index) for index, row in enumerate(TIMES.values())}
    last = (len(groups), 0)
    return sorted(found, key=lambda d: (d.only_ok, order.get(d.metric.removesuffix("_ok"), last)))


def _meaning(metric: Metric) -> str:
    """Return what a metric is, with the long form of its name first where the table has the short one."""
    return metric.meaning if metric.label == metric.title else f"{metric.title}: {metric.meaning}"


def _long_names(metrics: Sequence[Metric]) -> list[str]:
    """Return what the short names stand for: ``TTFT: time to first token``."""
    names = [(row.short, uncapitalized(row.title)) for row in metrics if row.short and not row.since]
    return [f"{short}: {title}" for short, title in names if short.isupper()]


def page_values(latencies: Latencies, report: ReportModel) -> dict[str, Any]:
    """Return the percentiles of the table, and what stands beside it and its rows."""
    estimates = {d.metric: estimate_text(report, row_of(d.metric)) for d in latencies.distributions}
    return {
        "percentiles": PERCENTILES,
        "mark": _mark(report),
        "estimates": estimates,
        "unchecked": unchecked_text(report),
    }


def unchecked_text(report: ReportModel) -> str:
    """Return how many of the requests that count as successful were not checked against all rules; empty for none."""
    total = report.run.load
    return f"{total.unjudged:,} of them not checked against all rules" if total and total.unjudged else ""


def estimate_text(report: ReportModel, metric: Metric | None) -> str:
    """Return in how many responses the tokens were estimated that a metric depends on; empty where in none."""
    total = report.run.load
    tokens = total.tokens if total else None
    if metric is None or not metric.of_tokens or tokens is None or not tokens.estimated_responses:
        return ""
    return f"tokens estimated in {format_percent(tokens.estimated_responses, tokens.responses)} of responses"


def _mark(report: ReportModel) -> str:
    """Return what stands beside percentiles of a run that was not in a steady state; empty for others."""
    state = report.get(STEADY_STATE)
    return "not steady" if state and state.unsteady else ""


def markdown(latencies: Latencies, report: ReportModel, room: int) -> list[str]:
    """Return a table of percentiles."""
    mark = f" ({_mark(report)})" if _mark(report) else ""
    lines = [
        f"| Latency{mark} | Samples | " + " | ".join(f"p{p:g}" for p in PERCENTILES) + " | max |",
        "|---|---:|" + "---:|" * (len(PERCENTILES) + 1),
    ]
    for distribution in latencies.of_all[:20]:
        values = " | ".join(distribution.percentile_text(p) for p in PERCENTILES)
        estimated = f" ({text})" if (text := estimate_text(report, row_of(distribution.metric))) else ""
        name, longest = escape(distribution.title + estimated), format_seconds(distribution.values.longest)
        lines.append(f"| {name} | {distribution.n:,} | {values} | {longest} |")
    rows = [row for distribution in latencies.of_all[:20] if (row := row_of(distribution.metric))]
    names = _long_names(rows)
    return [*lines, *(["", escape(f"{', '.join(names)}.")] if names else []), ""]


def terminal_rows(latencies: Latencies, report: ReportModel) -> list[FigureRow]:
    """Return the percentiles of the metrics that matter most, with signs that :func:`terminal` explains below."""
    mark = NOT_STEADY if _mark(report) else ""
    rows = []
    for metric, distribution in _on_terminal(latencies):
        percents = metric.percentiles(Place.TERMINAL)
        figures = [f"p{p:g} {distribution.percentile_text(p).removesuffix(_SAMPLES)}" for p in percents]
        signs = f"{mark}{ESTIMATED if estimate_text(report, metric) else ''}"
        label = _SCHEDULED if metric.since else metric.label
        rows.append(FigureRow(label, figures, f"n={format_count(distribution.n)} {signs}".rstrip()))
    return rows


def _on_terminal(latencies: Latencies) -> list[tuple[Metric, LatencyDistribution]]:
    found = [(metric, latencies.find(metric.name)) for metric in rows_shown(Place.TERMINAL)]
    # In a closed loop the schedule is the end of the request before.
    return [(metric, d) for metric, d in found if d and (not metric.since or latencies.scheduled)]


def terminal(latencies: Latencies, report: ReportModel, width: int) -> list[Text]:
    """Return the percentiles of the metrics that matter most, and what their names mean."""
    shown = _on_terminal(latencies)
    figures = [found.percentile(p) for metric, found in shown for p in metric.percentiles(Place.TERMINAL)]
    open_ended = {figure.highest is None for figure in figures if figure is not None and figure.at_least}
    bounds = ["≥: lower bound"] * (True in open_ended) + ["a–b: between two bounds"] * (False in open_ended)
    names = _long_names([metric for metric, _ in shown])
    names += [_SCHEDULE] if any(metric.since for metric, _ in shown) else []
    notes = [
        *fill(names, ", ", width - 8),
        *([f"{', '.join(bounds)}, because some requests have no end"] if bounds else []),
    ]
    notes += (
        [f"{NOT_STEADY}: {mark}, so percentiles depend on the length of the run"] if (mark := _mark(report)) else []
    )
    estimates = {estimate_text(report, metric) for metric, _ in shown} - {""}
    notes += [f"{ESTIMATED}: {text}" for text in estimates]
    return [*align(terminal_rows(latencies, report), width), *(Text(f"        {line}", "dim") for line in notes)]


PART: Final = Part(__name__, Area.LOAD, 250, read, markdown=markdown, terminal=terminal, page_values=page_values)


def latency_of(report: ReportModel, metric: str) -> LatencyDistribution | None:
    """Return the distribution of a metric in a run, if it has values."""
    latencies = report.get(PART)
    return latencies.find(metric) if latencies else None
