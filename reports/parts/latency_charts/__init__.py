"""Latency by percentile, and the histogram of gaps between tokens."""

from __future__ import annotations

import math
from typing import Final

from rejoinder.formatting import format_count, format_percent, format_seconds, plural, value_of
from rejoinder.model.metrics import Place, rows_shown
from rejoinder.reports.charts import HEIGHT, WIDTH, Chart, Curve, FigureTable, Log, Point, Tick, coordinate, draw
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.parts.latencies import Latencies, LatencyDistribution


def read(report: ReportModel) -> list[Chart] | None:
    """Return the charts that the run has values for."""
    latencies = report.get(LATENCIES)
    charts = [percentile_chart(latencies), gap_chart(latencies)] if latencies else []
    return [chart for chart in charts if chart is not None] or None


def percentile_chart(latencies: Latencies) -> Chart | None:
    """Return latency by percentile: one nine more of the percentile at each step right, time on a log scale."""
    found = [
        (style, d)
        for style, metric in zip("abc", rows_shown(Place.CHART), strict=False)
        if (d := latencies.find(metric.name)) is not None
    ]
    if not found:
        return None
    nines = max(1, min(4, math.floor(math.log10(max(d.n for _, d in found)) + 1e-9)))
    lows = [value_of(d.quantile(0.0)) or 0.0 for _, d in found]
    highs = [value_of(d.values.longest) or 0.0 for _, d in found]
    scale = Log(min((v for v in lows if v > 0), default=1e-6), max(highs))

    def across(percent: float) -> float:
        return -WIDTH * math.log10(1 - percent / 100) / nines

    curves, ends = [], []
    for style, distribution in found:
        own = min(float(nines), math.log10(max(distribution.n, 2)))
        series = [(100 * q, _known(distribution, q)) for q in (1 - 10 ** (-own * step / 120) for step in range(121))]
        curve = draw(style, distribution.title, series, across, scale)
        if curve is not None:
            curves.append(curve)
            if distribution.values.unended:
                last, value = curve.values[-1]
                ends.append(Point(across(last) / WIDTH * 100, scale(value), "ring", style, f"known up to p{last:.3g}"))
    ticks = []
    for name, depth in (("50", math.log10(2)), ("90", 1.0), ("99", 2.0), ("99.9", 3.0), ("99.99", 4.0)):
        if depth <= nines + 1e-9:
            ticks.append(Tick(round(100 * depth / nines, 2), f"p{name}"))
    summary = "; ".join(
        f"{d.title}: median {format_seconds(d.quantile(0.5))}, maximum {format_seconds(d.values.longest)}, "
        f"{plural(d.n, 'sample')}"
        for _, d in found
    )
    shares = (10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
    rows = [[f"p{p:g}", *(d.percentile_text(p) for _, d in found)] for p in shares if p <= 90 or nines > 1]
    rows.append(["max", *(format_seconds(d.values.longest) for _, d in found)])
    table = FigureTable(["percentile", *(d.title for _, d in found)], rows)
    return Chart("Latency by percentile", f"{summary}.", curves, ticks, scale.ticks(), points=ends, table=table)


def _known(distribution: LatencyDistribution, q: float) -> float | None:
    """Return a quantile that is exact; where it is only a lower bound, the curve ends."""
    figure = distribution.quantile(q)
    return None if figure is None or figure.at_least else figure.value


def gap_chart(latencies: Latencies, bins: int = 60) -> Chart | None:
    """Return the histogram of gaps between tokens, with time on a log scale."""
    distribution = latencies.find("itl")
    if distribution is None or distribution.n < 2:
        return None
    low = max(value_of(distribution.quantile(0.001)) or 0.0, 1e-5)
    high = max(value_of(distribution.values.longest) or 0.0, low * 1.5)
    scale = Log(low, high, flip=False)
    sums = [0] * bins
    for bucket in distribution.values.buckets:
        # The buckets are far narrower than the bins, so each goes whole into the bin of its middle.
        sums[min(int(scale(bucket.middle) / WIDTH * bins), bins - 1)] += bucket.amount
    top = max(sums) or 1
    width = WIDTH / bins
    bars = "".join(
        f"M{coordinate((i + 0.08) * width)} 100V{coordinate(HEIGHT * (1 - 0.84 * max(value / top, 0.012)))}"
        f"h{coordinate(width * 0.84)}V100z"
        for i, value in enumerate(sums)
        if value
    )
    marks = [
        Tick(scale(value.value) / WIDTH * 100, f"p{p:g} {format_seconds(value)}")
        for p in (50.0, 99.0)
        if (value := distribution.percentile(p)) is not None
    ]
    edges = [10 ** (math.log10(low) + i / bins * (math.log10(high) - math.log10(low))) for i in range(bins + 1)]
    lines = [
        [
            f"{format_seconds(edges[i])} – {format_seconds(edges[i + 3])}",
            format_count(amount),
            format_percent(amount, distribution.n),
        ]
        for i in range(0, bins, 3)
        if (amount := sum(sums[i : i + 3]))
    ]
    median, longest = format_seconds(distribution.quantile(0.5)), format_seconds(distribution.values.longest)
    summary = f"{plural(distribution.n, 'sample')}, median {median}, maximum {longest}."
    return Chart(
        f"{distribution.title} distribution",
        summary,
        [Curve("b", distribution.title, bars, list(zip(edges, sums, strict=False)), area=True)],
        scale.ticks(),
        [Tick(16, f"{100 * top / distribution.n:.2g} %")],
        marks,
        table=FigureTable(["length", "samples", "share"], lines),
    )


PART: Final = Part(__name__, Area.LOAD, 280, read)
