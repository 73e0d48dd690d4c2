"""Throughput and latency of the steps of a search: charts and a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rejoinder.formatting import format_count, format_rate, one_line, plural
from rejoinder.model.outcomes import good_of
from rejoinder.model.samples import SearchStep, step_latencies
from rejoinder.reports.charts import WIDTH, Chart, FigureTable, Linear, Log, Point, Tick, axis_number, draw
from rejoinder.reports.parts.search.summary import SearchSummary, label_of, latency_text, share_ok, step_title


def search_charts(search: SearchSummary) -> list[Chart]:
    """Return what the steps of a search brought and what they cost; the first one carries the table of the steps."""
    return _sweep_charts(search) if search.sweep else _rate_charts(search)


def _sweep_charts(search: SearchSummary) -> list[Chart]:
    steps = search.steps
    levels = Log(steps[0].level, steps[-1].level, flip=False)
    brought = Linear(1.12 * max(search.throughput(step) for step in steps))
    unit = "Output tokens/s" if search.counts_tokens else "Successful requests/s"
    curve = draw("a", unit, [(step.level, search.throughput(step)) for step in steps], levels, brought)
    at = next((step for step in steps if step.level == search.knee), None)
    first = Chart(
        f"{unit} by concurrency",
        "; ".join(f"concurrency {label_of(step)}: {search.throughput_text(step)}" for step in _some(steps)) + ".",
        [curve] if curve else [],
        [Tick(levels(step.level) / 10, label_of(step)) for step in _some(steps)],
        brought.ticks(axis_number),
        [Tick(levels(at.level) / 10, f"knee at {label_of(at)}")] if at else [],
        [
            Point(levels(step.level) / 10, brought(search.throughput(step)), "ring" if step is at else "dot", "a")
            for step in steps
        ],
        steps_table(search),
    )
    series = [
        ("b", step_title("ttft_p99"), "ttft_p99"),
        ("a", step_title("ttft_p50"), "ttft_p50"),
        ("c", step_title("e2e_p50"), "e2e_p50"),
    ]
    times = [step.latencies[name] for step in steps for _, _, name in series if step.latencies.get(name, 0.0) > 0]
    if not times:
        return [first]
    reached = Linear(max(search.throughput(step) for step in steps))

    def across(throughput: float) -> float:
        return WIDTH - 10 * reached(throughput)

    scale = Log(min(times) / 1.3, max(times) * 1.3)
    curves, signs = [], []
    for style, name, metric in series:
        timed = [step for step in steps if step.latencies.get(metric, 0.0) > 0]
        drawn = draw(style, name, [(search.throughput(step), step.latencies[metric]) for step in timed], across, scale)
        if drawn is not None:
            curves.append(drawn)
            labelled = metric == series[0][2]
            for step, (x, y) in zip(timed, drawn.values, strict=True):
                sign = "ring" if step is at else "dot"
                signs.append(Point(across(x) / 10, scale(y), sign, style, label_of(step) if labelled else ""))
    second = Chart(
        f"Latency by {unit.lower()}",
        "Each point is one step, labelled with its concurrency. Further right and lower is better.",
        curves,
        [Tick(100 - tick.at, tick.label) for tick in reached.ticks(axis_number)],
        scale.ticks(),
        [Tick(across(search.throughput(at)) / 10, "knee")] if at else [],
        signs,
    )
    return [first, second]


def _rate_charts(search: SearchSummary) -> list[Chart]:
    steps = search.steps
    rates = Log(steps[0].level, steps[-1].level, flip=False)
    # Short steps may have too few answers for a p99; one percentile has to do for all.
    percent = 99 if all("ttft_p99" in step.latencies for step in steps if good_of(step.outcomes)) else 50
    timed = [(step, value) for step in steps if (value := step.latencies.get(f"ttft_p{percent}", 0.0)) > 0]
    if not timed:
        return []
    scale = Log(min(value for _, value in timed) / 1.3, max(value for _, value in timed) * 1.3)
    kept = sum(bool(step.met) for step in steps)
    firsts: dict[str, SearchStep] = {}
    for step in steps:
        firsts.setdefault(label_of(step), step)
    chart = Chart(
        f"{step_title(f'ttft_p{percent}')} by request rate",
        f"{kept:,} of {plural(len(steps), 'step')} met every SLO.",
        [],
        [Tick(rates(step.level) / 10, label_of(step)) for step in _some(list(firsts.values()), 8)],
        scale.ticks(),
        [Tick(rates(search.highest) / 10, f"SLOs met up to {search.highest:,.4g}")] if search.highest else [],
        [
            Point(rates(step.level) / 10, scale(value), "dot" if step.met else "cross", "pass" if step.met else "fail")
            for step, value in timed
        ],
        steps_table(search),
    )
    return [chart]


def _some(steps: Sequence[SearchStep], most: int = 10) -> Sequence[SearchStep]:
    """Return the steps, thinned out evenly to what an axis can name."""
    return steps[:: math.ceil(len(steps) / most)]


def steps_table(search: SearchSummary) -> FigureTable:
    """Return the steps of a search as a table."""
    times = step_latencies()
    judged = any(step.met is not None for step in search.steps)
    head = [search.unit, "requests", "succeeded", "successful requests/s", "output tokens/s", *map(step_title, times)]
    rows = []
    for step in search.steps:
        marked = " (knee)" if search.sweep and step.level == search.knee else ""
        row = [
            label_of(step) + marked,
            format_count(step.started),
            share_ok(step),
            format_rate(step.ok_per_s),
            format_rate(step.output_tokens_per_s),
        ]
        row += [latency_text(step, name, short=True) for name in times]
        if judged:
            missed = [one_line(slo.text, 60) for slo in step.slos[:12] if slo.met is False]
            row.append("met" if step.met else f"missed: {', '.join(missed)}" if missed else "missed")
        rows.append([*row, step.verdict.value])
    return FigureTable([*head, *(["SLOs"] if judged else []), "measurement"], rows)
