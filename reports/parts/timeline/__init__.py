"""The run over time: requests, tokens, TTFT, and the metrics that the server reported."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from rejoinder.formatting import format_count, format_rate, format_seconds
from rejoinder.model.metrics import SERVER
from rejoinder.model.samples import SecondSample
from rejoinder.reports.charts import (
    WIDTH,
    Chart,
    Linear,
    Tick,
    axis_number,
    axis_seconds,
    clock,
    draw,
    round_steps,
)
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.server import server_format

_MOST_POINTS: Final = 180
"""Points of a timeline; longer runs have several seconds to a point."""


class TimelinePoint(NamedTuple):
    """One or more seconds of the run: rates per second, requests in flight, time to first token in seconds.

    ``gaps`` are those that ended here, by the lower bound of their length in seconds; ``server`` has what the server
    reported, by the names of :data:`~rejoinder.model.metrics.SERVER`.
    """

    t: float
    seconds: int
    started: float
    finished: float
    failed: float
    in_flight: float
    tokens: float
    ttft_p50: float | None
    ttft_p99: float | None
    gaps: dict[float, int]
    server: dict[str, float]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run in points of ``step`` seconds each; ``window`` is where rates are taken, in seconds from its start."""

    points: list[TimelinePoint]
    step: int
    window: tuple[float, float] | None = None

    @property
    def span(self) -> tuple[float, float]:
        """The seconds that the time axis begins and ends with."""
        return min(0.0, self.points[0].t), self.end

    @property
    def end(self) -> float:
        """The second in which the last point ends."""
        return self.points[-1].t + self.step


def read(report: ReportModel) -> Timeline | None:
    """Return the seconds of a run in order, with neighbours joined so that at most 180 points remain."""
    seconds = sorted(report.run.samples_of(SecondSample), key=lambda second: second.t)
    if not seconds:
        return None
    total = report.run.load
    window = total.window if total and total.window[1] > total.window[0] else None
    begin = seconds[0].t
    step = max(1, math.ceil((seconds[-1].t - begin + 1) / _MOST_POINTS))
    groups: dict[int, list[SecondSample]] = {}
    for second in seconds:
        groups.setdefault((second.t - begin) // step, []).append(second)
    return Timeline([_joined(begin + index * step, group) for index, group in groups.items()], step, window)


def _joined(t: float, rows: list[SecondSample]) -> TimelinePoint:
    medians = sorted(row.ttft_p50 for row in rows if row.ttft_p50 is not None)
    tails = [row.ttft_p99 for row in rows if row.ttft_p99 is not None]
    gaps = sum((Counter(row.gaps) for row in rows), Counter[int]())
    # The run may end within the last point.
    seconds = len(rows)
    return TimelinePoint(
        t=t,
        seconds=seconds,
        started=sum(row.started for row in rows) / seconds,
        finished=sum(row.finished for row in rows) / seconds,
        failed=sum(row.failed for row in rows) / seconds,
        in_flight=max(row.in_flight for row in rows),
        tokens=sum(row.output_tokens for row in rows) / seconds,
        ttft_p50=medians[len(medians) // 2] if medians else None,
        ttft_p99=max(tails) if tails else None,
        gaps={bound / 1e3: count for bound, count in gaps.items()},
        server={name: value for name in SERVER if (value := _over(name, rows)) is not None},
    )


def _over(name: str, rows: list[SecondSample]) -> float | None:
    values = [row.server[name] for row in rows if name in row.server]
    if not values:
        return None
    return sum(values) if SERVER[name].summed else sum(values) / len(values)


Series = tuple[str, str, Callable[[TimelinePoint], float | None], bool]
"""Style, name, value of a second, and whether it is drawn as an area."""


def timeline_charts(timeline: Timeline) -> list[Chart]:
    """Return the strips of the run second by second; they share the time axis, which the last one carries."""
    rows = timeline.points
    begin, end = timeline.span
    span = end - begin

    def across(t: float) -> float:
        return WIDTH * (t + timeline.step / 2 - begin) / span

    ticks = [Tick(100 * (value - begin) / span, clock(value)) for value in round_steps(begin, end, 6)]
    marks = [Tick(100 * (min(max(at, begin), end) - begin) / span, "") for at in timeline.window or ()]

    def strip(
        title: str,
        summary: str,
        series: Sequence[Series],
        label: Callable[[float], str] = axis_number,
        least: float = 0.0,
    ) -> Chart:
        values = [v for _, _, get, _ in series for row in rows if (v := get(row)) is not None]
        scale = Linear(max(values, default=0.0), least)
        drawn = [
            draw(style, name, [(row.t, get(row)) for row in rows], across, scale, area=area)
            for style, name, get, area in series
        ]
        curves = [curve for curve in drawn if curve is not None]
        return Chart(title, summary, curves, ticks, scale.ticks(label), marks)

    charts = [
        strip(
            "Requests per second",
            f"Maximum: {format_rate(max(r.started for r in rows))} started,"
            f" {format_rate(max(r.finished for r in rows))} finished."
            f" Failed in total: {format_count(sum(r.failed * r.seconds for r in rows))}.",
            [
                ("a", "started", lambda r: r.started, False),
                ("c", "finished", lambda r: r.finished, False),
                ("fail", "failed", lambda r: r.failed, True),
            ],
        ),
        strip(
            "Requests in flight",
            f"Maximum: {format_count(max(r.in_flight for r in rows))}.",
            [("a", "in flight", lambda r: r.in_flight, True)],
        ),
    ]
    if any(r.tokens for r in rows):
        summary = f"Maximum: {format_rate(max(r.tokens for r in rows))}."
        charts.append(strip("Output tokens per second", summary, [("c", "output tokens", lambda r: r.tokens, True)]))
    if any(r.ttft_p50 is not None or r.ttft_p99 is not None for r in rows):
        slowest = max((r.ttft_p99 for r in rows if r.ttft_p99 is not None), default=None)
        charts.append(
            strip(
                "Time to first token (TTFT)",
                f"Highest p99 of a second: {format_seconds(slowest)}.",
                [
                    ("a", "p50", lambda r: r.ttft_p50, False),
                    ("b", "p99", lambda r: r.ttft_p99, False),
                    ("c", "mean reported by the server", lambda r: r.server.get("ttft"), False),
                ],
                axis_seconds,
            )
        )
    for title, names, least in _SERVER_STRIPS:
        labels = {name: label for name, label in names.items() if any(name in r.server for r in rows)}
        if labels:
            series = [
                (style, label, partial(_reported, name), False)
                for style, (name, label) in zip("abc", labels.items(), strict=False)
            ]
            most = [
                f"{label}, maximum {server_format(name)(max(r.server[name] for r in rows if name in r.server))}"
                for name, label in labels.items()
            ]
            form = server_format(next(iter(labels))) if least else axis_number
            charts.append(strip(title, f"{'; '.join(most)}.", series, form, least))
    return charts


_SERVER_STRIPS: Final[tuple[tuple[str, dict[str, str], float], ...]] = (
    ("Server: requests", {"running": "running", "waiting": "waiting", "preemptions": "preempted"}, 0.0),
    (
        "Server: cache and GPU",
        {"cache_use": "KV cache use", "prefix_hit_rate": "prefix cache hits", "gpu_use": "GPU utilization"},
        1.0,
    ),
    ("GPU power, W", {"gpu_power": "power"}, 0.0),
    ("GPU memory, MiB", {"gpu_memory": "memory"}, 0.0),
)
"""Title of a strip, its series with their names in the legend, and the least that its axis reaches to."""


def _reported(name: str, second: TimelinePoint) -> float | None:
    return second.server.get(name)


def page_values(timeline: Timeline, report: ReportModel) -> dict[str, Any]:
    """Return the strips, and the figures of the server that the table has a column for."""
    reported = [name for name in SERVER if any(name in point.server for point in timeline.points)]
    columns = [(name, SERVER[name].title, server_format(name)) for name in reported]
    return {"charts": timeline_charts(timeline), "columns": columns}


PART: Final = Part(__name__, Area.LOAD, 260, read, page_values=page_values)
