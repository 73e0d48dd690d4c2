"""Throughput and latency of the steps of a search: charts and a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from rejoinder.formatting import format_count, format_rate, one_line, plural
from rejoinder.model.metrics import TIMES
from rejoinder.model.outcomes import good_of
from rejoinder.model.samples import SearchStep, SloResult, step_latencies
from rejoinder.reports.charts import WIDTH, Chart, FigureTable, Linear, Log, Point, SignMeaning, Tick, axis_number, draw
from rejoinder.reports.parts.search.summary import SearchSummary, label_of, latency_text, share_ok, step_title

_SUSTAINED: Final = SignMeaning("dot", "pass", "sustained")
_FAILED: Final = SignMeaning("cross", "fail", "failed")
_UNTESTED: Final = SignMeaning("diamond", "untested", "not tested")
_SIGNS: Final = (_SUSTAINED, _FAILED, _UNTESTED)
_LABEL_WIDTH: Final = 1.4
"""Percent of the width of a chart that a character of a label takes on a narrow page."""


def search_charts(search: SearchSummary) -> list[Chart]:
    """Return what the steps of a search brought and what they cost; the first one carries the table of the steps."""
    return _sweep_charts(search) if search.sweep else _highest_charts(search)


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
    # With room for the signs at the right edge.
    reached = Linear(1.05 * max(search.throughput(step) for step in steps))

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
            for number, (step, (x, y)) in enumerate(zip(timed, drawn.values, strict=True)):
                sign = "ring" if step is at else "dot"
                names = [label_of(step)] if labelled else []
                names += ["≥"] if metric in step.at_least else []
                # From where throughput falls the curve goes back to the left, where its label would be.
                right = x > drawn.values[number + 1][0] if number + 1 < len(timed) else x < drawn.values[number - 1][0]
                signs.append(Point(across(x) / 10, scale(y), sign, style, " ".join(names), right))
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


def _limit_of(search: SearchSummary) -> SloResult | None:
    """Return the latency SLO that the chart is about: the first that a step missed, else the first there is."""
    slos = [slo for step in search.steps for slo in step.slos if slo.metric in TIMES and slo.value is not None]
    return next((slo for slo in slos if slo.met is False), slos[0] if slos else None)


def _highest_charts(search: SearchSummary) -> list[Chart]:
    """Return the latency that an SLO limits by the load, with the limit as a line."""
    steps = search.steps
    levels = Log(steps[0].level, steps[-1].level, flip=False)
    slo = _limit_of(search)
    if slo is not None:
        title = f"{TIMES[slo.metric].label} {slo.statistic}"
        found = [(step, _value_of(step, slo)) for step in steps]
        timed = [(step, value) for step, value in found if value]
    else:
        # Short steps may have too few answers for a p99; one percentile has to do for all.
        percent = 99 if all("ttft_p99" in step.latencies for step in steps if good_of(step.outcomes)) else 50
        title = step_title(f"ttft_p{percent}")
        timed = [(step, value) for step in steps if (value := step.latencies.get(f"ttft_p{percent}", 0.0)) > 0]
    if not timed:
        return []
    limit = slo.limit if slo is not None and slo.limit > 0 else None
    values = [*(value for _, value in timed), *([] if limit is None else [limit])]
    scale = Log(min(values) / 1.3, max(values) * 1.3)
    held, untested = sum(_held(step) for step in steps), sum(step.untested for step in steps)
    name = f"{title} by {'concurrency' if search.unit == 'concurrency' else 'request rate'}"
    ends = () if limit is None else ((steps[0].level, limit), (steps[-1].level, limit))
    line = draw("b", "limit" if slo is None else f"limit of {one_line(slo.text, 60)}", ends, levels, scale)
    summary = f"{held:,} of {plural(len(steps), 'step')} met every SLO in a steady state."
    if untested:
        summary += f" {plural(untested, 'step')} could not be tested."
    if slo is not None and line is not None:
        summary += f" The line is the limit of {slo.text}."
    chart = Chart(
        name,
        summary,
        [line] if line else [],
        _labels([(levels(step.level) / 10, label_of(step)) for step in steps]),
        scale.ticks(),
        [Tick(levels(search.highest) / 10, f"highest {search.highest:,.4g}")] if search.highest else [],
        [
            Point(
                *(levels(step.level) / 10, scale(value), *_sign(step)[:2]),
                "≥" if _is_bound(step, slo) else "",
            )
            for step, value in timed
        ],
        steps_table(search),
        [sign for sign in _SIGNS if any(_sign(step) is sign for step, _ in timed)],
    )
    return [chart]


def _value_of(step: SearchStep, slo: SloResult) -> float | None:
    """Return a step's value of the figure that an SLO limits."""
    return next((one.value for one in step.slos if (one.metric, one.statistic) == (slo.metric, slo.statistic)), None)


def _is_bound(step: SearchStep, slo: SloResult | None) -> bool:
    """Return whether a step's value of that figure is only a lower bound."""
    return slo is not None and any(
        one.at_least for one in step.slos if (one.metric, one.statistic) == (slo.metric, slo.statistic)
    )


def _held(step: SearchStep) -> bool:
    return bool(step.met if step.held is None else step.held)


def _sign(step: SearchStep) -> SignMeaning:
    return _SUSTAINED if _held(step) else _UNTESTED if step.untested else _FAILED


def _labels(places: Sequence[tuple[float, str]]) -> list[Tick]:
    """Return the labels of an axis, in percent of its width, without those that would overlap one before them."""
    ticks: list[Tick] = []
    end = -1.0
    for at, label in places:
        half = _LABEL_WIDTH * (len(label) + 1) / 2
        left, right = (0.0, 2 * half) if at < half else (at - half, at + half)
        if left >= end:
            ticks.append(Tick(at, label))
            end = right
    return ticks


def _some(steps: Sequence[SearchStep], most: int = 10) -> Sequence[SearchStep]:
    """Return the steps, thinned out evenly to what an axis can name."""
    return steps[:: math.ceil(len(steps) / most)]


def steps_table(search: SearchSummary) -> FigureTable:
    """Return the steps of a search as a table, narrow enough for a page: percentiles of one metric share a column."""
    columns: list[tuple[str, Callable[[SearchStep], str]]] = [(search.unit, partial(_level, search))]
    words = frozenset[int]()
    if any(step.held is not None or step.met is not None for step in search.steps):
        columns.append(("result", _result))
        words = frozenset({1})
    if any(step.held is not None for step in search.steps):
        columns.append(("length", lambda step: "–" if step.duration is None else f"{step.duration:.3g} s"))
    columns += [
        ("requests, succeeded", lambda step: f"{format_count(step.started)}, {share_ok(step)}"),
        ("successful requests/s", lambda step: format_rate(step.ok_per_s)),
    ]
    if search.counts_tokens:
        columns.append(("output tokens/s", lambda step: format_rate(step.output_tokens_per_s)))
    for names in _by_metric().values():
        title = " / ".join([step_title(names[0]), *(step_title(name).rpartition(" ")[2] for name in names[1:])])
        columns.append((title, partial(_latencies, names)))
    if search.sweep and any(step.stationarity and step.stationarity.state != "steady" for step in search.steps):
        columns.append(("steady state", lambda step: "–" if step.stationarity is None else step.stationarity.state))
    if not words and any(step.verdict.rank for step in search.steps):
        columns.append(("measurement", lambda step: step.verdict.value))
    head = [title for title, _ in columns]
    return FigureTable(head, [[text(step) for _, text in columns] for step in search.steps], words)


def _by_metric() -> dict[str, list[str]]:
    """Return the names of the latencies of a step by their metric."""
    names: dict[str, list[str]] = {}
    for name, (metric, _) in step_latencies().items():
        names.setdefault(metric, []).append(name)
    return names


def _latencies(names: Sequence[str], step: SearchStep) -> str:
    texts = [latency_text(step, name, short=True) for name in names]
    return "–" if set(texts) == {"–"} else " / ".join(texts)


def _level(search: SearchSummary, step: SearchStep) -> str:
    return label_of(step) + (" (knee)" if search.sweep and step.level == search.knee else "")


def _result(step: SearchStep) -> str:
    """Return in words whether a step sustained its load, else whether it met its SLOs, and what limits its figures."""
    return f"{_outcome(step)} ({step.verdict.value})" if step.verdict.rank else _outcome(step)


def _outcome(step: SearchStep) -> str:
    if step.held is not None:
        reason = f"not tested: {step.reason}" if step.untested else step.reason
        return "confirmed" if step.held and step.confirms else "sustained" if step.held else one_line(reason, 160)
    if step.met is None:
        return "–"
    missed = [one_line(slo.text, 60) for slo in step.slos[:12] if slo.met is False]
    return "met" if step.met else f"missed: {', '.join(missed)}" if missed else "missed"
