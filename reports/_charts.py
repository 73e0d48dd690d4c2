"""Geometry of the charts: numbers in, SVG path data and tick positions out. The templates draw them.

Every plot lives in a box 1000 wide and 100 high that is stretched to the page (strokes are not), and its labels are
placed in percent, so one drawing fits a telephone and a wide screen alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rejoinder.reports._load import Load, Second
from rejoinder.reports._text import count, rate, seconds

WIDTH: Final = 1000.0
HEIGHT: Final = 100.0


class Tick(NamedTuple):
    """A label on an axis at a position in percent (y: from the top)."""

    at: float
    label: str


class Curve(NamedTuple):
    """One drawn series: its style class, its name for the legend, and path data."""

    style: str
    name: str
    path: str
    area: bool = False


Series = tuple[str, str, Callable[[Second], float | None], bool]
"""Style, name, value of a second, and whether it is drawn as an area."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot. ``summary`` says in a sentence what it shows, for those who cannot see it."""

    title: str
    summary: str
    curves: list[Curve]
    x: list[Tick] = field(default_factory=list)
    y: list[Tick] = field(default_factory=list)
    marks: list[Tick] = field(default_factory=list)


def percentile_chart(load: Load) -> Chart | None:
    """Return latency by percentile: one nine more of the percentile at each step right, time on a log scale."""
    found = [
        (style, d)
        for style, metrics in (("a", ("ttft",)), ("b", ("itl",)), ("c", ("e2e",)))
        if (d := load.distribution(*metrics)) is not None
    ]
    if not found:
        return None
    nines = max(1, min(4, math.floor(math.log10(max(d.n for _, d in found)) + 1e-9)))
    lows = [d.quantile(0.0) or 0.0 for _, d in found]
    highs = [d.high or d.quantile(1.0) or 0.0 for _, d in found]
    scale = Log(min((v for v in lows if v > 0), default=1e-6), max(highs))
    curves = []
    for style, distribution in found:
        points = []
        own = min(float(nines), math.log10(max(distribution.n, 2)))
        for step in range(121):
            depth = own * step / 120
            value = distribution.quantile(1 - 10**-depth)
            if value is not None:
                points.append((WIDTH * depth / nines, scale(value)))
        curves.append(Curve(style, distribution.title, path(points)))
    ticks = []
    for name, depth in (("50", math.log10(2)), ("90", 1.0), ("99", 2.0), ("99.9", 3.0), ("99.99", 4.0)):
        if depth <= nines + 1e-9:
            ticks.append(Tick(round(100 * depth / nines, 2), f"{name} %"))
    told = "; ".join(
        f"{d.title}: median {seconds(d.quantile(0.5))}, longest {seconds(d.high)} of {d.n:,}" for _, d in found
    )
    return Chart("Latency by percentile", f"{told}.", curves, ticks, scale.ticks())


def gap_chart(load: Load, bins: int = 60) -> Chart | None:
    """Return the histogram of gaps between tokens, with time on a log scale."""
    distribution = load.distribution("itl")
    if distribution is None or distribution.n < 2:
        return None
    low = max(distribution.quantile(0.001) or 0.0, 1e-5)
    high = max(distribution.high or 0.0, low * 1.5)
    scale = Log(low, high, flip=False)
    sums = [0] * bins
    for bucket in distribution.buckets:
        # The buckets are far narrower than the bins, so each goes whole into the bin of its middle.
        sums[min(int(scale(bucket.middle) / WIDTH * bins), bins - 1)] += bucket.amount
    top = max(sums) or 1
    width = WIDTH / bins
    bars = "".join(
        f"M{_n((i + 0.08) * width)} 100V{_n(HEIGHT * (1 - 0.84 * max(value / top, 0.012)))}h{_n(width * 0.84)}V100z"
        for i, value in enumerate(sums)
        if value
    )
    marks = [
        Tick(scale(value) / WIDTH * 100, f"p{p:g} {seconds(value)}")
        for p in (50.0, 99.0)
        if (value := distribution.percentile(p)) is not None
    ]
    median, longest = seconds(distribution.quantile(0.5)), seconds(distribution.high)
    told = f"{distribution.n:,} gaps, median {median}, longest {longest}."
    return Chart(
        distribution.title,
        told,
        [Curve("b", distribution.title, bars, area=True)],
        scale.ticks(),
        [Tick(16, f"{100 * top / distribution.n:.2g} %")],
        marks,
    )


def time_span(load: Load) -> tuple[float, float]:
    """Return the seconds that the time axis of the strips begins and ends with."""
    if not load.seconds:
        return 0.0, 1.0
    begin, end = min(0.0, load.seconds[0].t), load.seconds[-1].t + load.step
    return begin, end if end > begin else begin + 1.0


def timeline_charts(load: Load) -> list[Chart]:
    """Return the strips of the run second by second; they share the time axis, which the last one carries."""
    rows = load.seconds
    if not rows:
        return []
    begin, end = time_span(load)
    span = end - begin

    def x(row: Second) -> float:
        return WIDTH * (row.t + load.step / 2 - begin) / span

    ticks = [Tick(100 * (value - begin) / span, _clock(value)) for value in _steps(begin, end, 6)]
    marks = [Tick(100 * (min(max(at, begin), end) - begin) / span, "") for at in load.window or ()]

    def strip(title: str, told: str, series: Sequence[Series]) -> Chart:
        values = [v for _, _, get, _ in series for row in rows if (v := get(row)) is not None]
        scale = Linear(max(values, default=0.0))
        label = _round_seconds if title == "Time to first token" else _round
        curves = []
        for style, name, get, area in series:
            points = [(x(row), scale(v)) for row in rows if (v := get(row)) is not None]
            if points:
                curves.append(Curve(style, name, path(points, area=area), area))
        return Chart(title, told, curves, ticks, scale.ticks(label), marks)

    charts = [
        strip(
            "Requests per second",
            f"At most {rate(max(r.started for r in rows))} started and {rate(max(r.finished for r in rows))} finished;"
            f" {count(sum(r.failed for r in rows) * load.step)} failed in all.",
            [
                ("a", "started", lambda r: r.started, False),
                ("c", "finished", lambda r: r.finished, False),
                ("fail", "failed", lambda r: r.failed, True),
            ],
        ),
        strip(
            "In flight",
            f"At most {count(max(r.in_flight for r in rows))} requests at once.",
            [("a", "in flight", lambda r: r.in_flight, True)],
        ),
    ]
    if any(r.tokens for r in rows):
        told = f"At most {rate(max(r.tokens for r in rows))}."
        charts.append(strip("Output tokens per second", told, [("c", "output tokens", lambda r: r.tokens, True)]))
    if any(r.ttft_p50 is not None or r.ttft_p99 is not None for r in rows):
        slowest = max((r.ttft_p99 for r in rows if r.ttft_p99 is not None), default=None)
        charts.append(
            strip(
                "Time to first token",
                f"The worst second had a p99 of {seconds(slowest)}.",
                [("a", "p50", lambda r: r.ttft_p50, False), ("b", "p99", lambda r: r.ttft_p99, False)],
            )
        )
    return charts


class Linear:
    """A vertical axis from zero to a round number above the largest value."""

    def __init__(self, top: float) -> None:
        self._steps = _steps(0.0, top if top > 0 else 1.0, 4)
        self._top = max(top, self._steps[-1]) or 1.0

    def __call__(self, value: float) -> float:
        return HEIGHT * (1 - min(max(value / self._top, 0.0), 1.0))

    def ticks(self, label: Callable[[float], str]) -> list[Tick]:
        """Return the labelled positions, zero left out because the base line shows it."""
        return [Tick(self(value), label(value)) for value in self._steps if value > 0]


class Log:
    """A logarithmic axis for durations; vertical (large values on top) unless ``flip`` is false."""

    def __init__(self, low: float, high: float, *, flip: bool = True) -> None:
        low = max(low, 1e-9)
        self._low = math.log10(low)
        self._span = max(math.log10(max(high, low)) - self._low, 0.3)
        self._flip = flip

    def __call__(self, value: float) -> float:
        share = min(max((math.log10(max(value, 1e-12)) - self._low) / self._span, 0.0), 1.0)
        return HEIGHT * (1 - share) if self._flip else WIDTH * share

    def ticks(self) -> list[Tick]:
        """Return labels at 1, 2 and 5 of each power of ten, thinned out to at most six."""
        for digits in ((1, 2, 5), (1, 3), (1,)):
            values = [
                digit * 10.0**exponent
                for exponent in range(math.floor(self._low) - 1, math.ceil(self._low + self._span) + 1)
                for digit in digits
            ]
            values = [v for v in values if self._low - 1e-9 <= math.log10(v) <= self._low + self._span + 1e-9]
            if len(values) <= 6:
                break
        whole = HEIGHT if self._flip else WIDTH
        values = values[:: math.ceil(len(values) / 6)] if values else []
        return [Tick(round(100 * self(value) / whole, 2), _round_seconds(value)) for value in values]


def path(points: Sequence[tuple[float, float]], *, area: bool = False) -> str:
    """Return SVG path data through the points; as an area it is closed along the base line."""
    if not points:
        return ""
    line = "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
    if len(points) == 1:
        (x, y) = points[0]
        line = f"{_n(x - 4)} {_n(y)}L{_n(x + 4)} {_n(y)}"
        points = [(x - 4, y), (x + 4, y)]
    if area:
        return f"M{_n(points[0][0])} {_n(HEIGHT)}L{line}L{_n(points[-1][0])} {_n(HEIGHT)}z"
    return f"M{line}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _steps(low: float, high: float, about: int) -> list[float]:
    """Return round numbers from ``low`` to at least nearly ``high``, some ``about`` of them."""
    rough = (high - low) / about
    if rough <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _clock(value: float) -> str:
    return f"{value / 60:g} min" if value >= 300 and value % 60 == 0 else f"{value:g} s"


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _round_seconds(value: float) -> str:
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= scale * 0.999:
            return f"{value / scale:g} {unit}"
    return f"{value * 1e9:g} ns"
