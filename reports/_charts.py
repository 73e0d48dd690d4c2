"""Geometry of the charts: numbers in, SVG path data and tick positions out. The templates draw them.

Every plot lives in a box 1000 wide and 100 high that is stretched to the page (strokes are not), and its labels are
placed in percent, so one drawing fits a telephone and a wide screen alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from rejoinder.formatting import format_count, format_percent, format_rate, format_seconds, plural
from rejoinder.model.metrics import TIMES, Place, times_shown
from rejoinder.model.samples import step_latencies
from rejoinder.reports._load import Load, Second, server_word
from rejoinder.reports._search import Search, Step, ended_well

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


class Point(NamedTuple):
    """A sign at a position in percent (y: from the top): ``dot``, ``cross`` or ``ring``, with a label beside it."""

    x: float
    y: float
    shape: str
    style: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The figures behind a chart, as text; the first column heads the rows."""

    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot. ``summary`` says in a sentence what it shows, for those who cannot see it."""

    title: str
    summary: str
    curves: list[Curve]
    x: list[Tick] = field(default_factory=list)
    y: list[Tick] = field(default_factory=list)
    marks: list[Tick] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    table: Table | None = None

    @property
    def grid(self) -> str:
        """Path data of the lines through the labelled places of both axes."""
        across = "".join(f"M0 {_n(tick.at)}h1000" for tick in self.y)
        return across + "".join(f"M{_n(10 * tick.at)} 0v100" for tick in self.x)


@dataclass(frozen=True, slots=True)
class StallMap:
    """How many gaps of which length ended when: one path for each shade, light to dark, in a box 1000 by ``rows``.

    ``shades`` holds the path and the most gaps that a cell of the shade has.
    """

    summary: str
    shades: list[tuple[str, int]]
    rows: int
    x: list[Tick]
    y: list[Tick]
    table: Table


def percentile_chart(load: Load) -> Chart | None:
    """Return latency by percentile: one nine more of the percentile at each step right, time on a log scale."""
    found = [
        (style, d)
        for style, metric in zip("abc", times_shown(Place.CHART), strict=False)
        if (d := load.distribution(metric.name)) is not None
    ]
    if not found:
        return None
    nines = max(1, min(4, math.floor(math.log10(max(d.n for _, d in found)) + 1e-9)))
    lows = [d.quantile(0.0) or 0.0 for _, d in found]
    highs = [d.high or 0.0 for _, d in found]
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
        f"{d.title}: median {format_seconds(d.quantile(0.5))}, longest {format_seconds(d.high)} of {d.n:,}"
        for _, d in found
    )
    shares = (10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
    rows = [[f"{p:g} %", *(d.word(p) for _, d in found)] for p in shares if p <= 90 or nines > 1]
    table = Table(
        ["share of values", *(d.title for _, d in found)], [*rows, ["all", *(format_seconds(d.high) for _, d in found)]]
    )
    return Chart("Latency by percentile", f"{told}.", curves, ticks, scale.ticks(), table=table)


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
        Tick(scale(value) / WIDTH * 100, f"p{p:g} {format_seconds(value)}")
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
    median, longest = format_seconds(distribution.quantile(0.5)), format_seconds(distribution.high)
    told = f"{distribution.n:,} gaps, median {median}, longest {longest}."
    return Chart(
        distribution.title,
        told,
        [Curve("b", distribution.title, bars, area=True)],
        scale.ticks(),
        [Tick(16, f"{100 * top / distribution.n:.2g} %")],
        marks,
        table=Table(["length", "gaps", "share"], lines),
    )


def time_span(load: Load) -> tuple[float, float]:
    """Return the seconds that the time axis of the strips begins and ends with."""
    if not load.seconds:
        return 0.0, 1.0
    begin, end = min(0.0, load.seconds[0].t), load.seconds[-1].t + load.step
    return begin, end if end > begin else begin + max(1.0, abs(begin) / 1e6)  # far from zero, 1.0 is lost in rounding


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

    def strip(
        title: str, told: str, series: Sequence[Series], label: Callable[[float], str] = _round, least: float = 0.0
    ) -> Chart:
        values = [v for _, _, get, _ in series for row in rows if (v := get(row)) is not None]
        scale = Linear(max(values, default=0.0), least)
        curves = []
        for style, name, get, area in series:
            drawn = _pieces([(x(row), None if (v := get(row)) is None else scale(v)) for row in rows])
            if drawn:
                curves.append(Curve(style, name, "".join(path(piece, area=area) for piece in drawn), area))
        return Chart(title, told, curves, ticks, scale.ticks(label), marks)

    charts = [
        strip(
            "Requests per second",
            f"At most {format_rate(max(r.started for r in rows))} started"
            f" and {format_rate(max(r.finished for r in rows))} finished;"
            f" {format_count(sum(r.failed for r in rows) * load.step)} failed in all.",
            [
                ("a", "started", lambda r: r.started, False),
                ("c", "finished", lambda r: r.finished, False),
                ("fail", "failed", lambda r: r.failed, True),
            ],
        ),
        strip(
            "In flight",
            f"At most {format_count(max(r.in_flight for r in rows))} requests at once.",
            [("a", "in flight", lambda r: r.in_flight, True)],
        ),
    ]
    if any(r.tokens for r in rows):
        told = f"At most {format_rate(max(r.tokens for r in rows))}."
        charts.append(strip("Output tokens per second", told, [("c", "output tokens", lambda r: r.tokens, True)]))
    if any(r.ttft_p50 is not None or r.ttft_p99 is not None for r in rows):
        slowest = max((r.ttft_p99 for r in rows if r.ttft_p99 is not None), default=None)
        charts.append(
            strip(
                "Time to first token",
                f"The worst second had a p99 of {format_seconds(slowest)}.",
                [
                    ("a", "p50", lambda r: r.ttft_p50, False),
                    ("b", "p99", lambda r: r.ttft_p99, False),
                    ("c", "mean that the server measured", lambda r: r.server.get("ttft"), False),
                ],
                _round_seconds,
            )
        )
    for title, names, top in _SERVER_STRIPS:
        found = [name for name in names if any(name in r.server for r in rows)]
        if found:
            charts.append(_server_strip(strip, rows, title, found, top))
    return charts


_SERVER_STRIPS: Final[tuple[tuple[str, dict[str, str], float], ...]] = (
    ("Server: requests", {"running": "running", "waiting": "waiting", "preemptions": "lost their place"}, 0.0),
    ("Server: shares", {"cache_use": "cache in use", "prefix_hit_rate": "prefix hits", "gpu_use": "GPU at work"}, 1.0),
    ("GPU power, W", {"gpu_power": "power"}, 0.0),
    ("GPU memory, MiB", {"gpu_memory": "memory"}, 0.0),
)
"""Title of a strip, its series with their names in the legend, and the least that its axis reaches to."""


def _server_strip(
    strip: Callable[..., Chart], rows: Sequence[Second], title: str, names: Sequence[str], top: float
) -> Chart:
    words = next(series for other, series, _ in _SERVER_STRIPS if other == title)
    series: list[Series] = [
        (style, words[name], partial(_said, name), False) for style, name in zip("abc", names, strict=False)
    ]
    told = "; ".join(
        f"{words[name]} at most {server_word(name)(max(r.server[name] for r in rows if name in r.server))}"
        for name in names
    )
    return strip(title, f"{told}.", series, server_word(names[0]) if top else _round, top)


def _said(name: str, second: Second) -> float | None:
    return second.server.get(name)


def _pieces(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """Return the points that have a value, parted where one has none: what was not measured is not drawn."""
    pieces: list[list[tuple[float, float]]] = []
    joined = False
    for x, y in points:
        if y is None:
            joined = False
            continue
        if not joined:
            pieces.append([])
        pieces[-1].append((x, y))
        joined = True
    return pieces


def search_charts(search: Search | None) -> list[Chart]:
    """Return what the steps of a search brought and what they cost; the first one carries the table of the steps."""
    if search is None:
        return []
    return _sweep_charts(search) if search.sweep else _rate_charts(search)


def _sweep_charts(search: Search) -> list[Chart]:
    steps = search.steps
    levels = Log(steps[0].level, steps[-1].level, flip=False)
    brought = Linear(1.12 * max(search.throughput(step) for step in steps))
    unit = "Output tokens per second" if search.counts_tokens else "Answers per second"
    points = [(levels(step.level), brought(search.throughput(step))) for step in steps]
    at = next((step for step in steps if step.level == search.knee), None)
    first = Chart(
        f"{unit} by requests in flight",
        "; ".join(f"{step.label} in flight: {search.throughput_word(step)}" for step in _some(steps)) + ".",
        [Curve("a", unit, path(points))],
        [Tick(levels(step.level) / 10, step.label) for step in _some(steps)],
        brought.ticks(_round),
        [Tick(levels(at.level) / 10, f"knee at {at.label}")] if at else [],
        [Point(x / 10, y, "ring" if step is at else "dot", "a") for step, (x, y) in zip(steps, points, strict=True)],
        steps_table(search),
    )
    series = [
        ("b", "First token p99", "ttft_p99"),
        ("a", "First token p50", "ttft_p50"),
        ("c", "End to end p50", "e2e_p50"),
    ]
    values = [step.latencies[name] for step in steps for _, _, name in series if step.latencies.get(name, 0.0) > 0]
    if not values:
        return [first]
    across = Linear(max(search.throughput(step) for step in steps))
    scale = Log(min(values) / 1.3, max(values) * 1.3)
    curves, signs = [], []
    for style, name, metric in series:
        drawn = [
            (WIDTH - 10 * across(search.throughput(step)), scale(step.latencies[metric]), step)
            for step in steps
            if step.latencies.get(metric, 0.0) > 0
        ]
        if drawn:
            curves.append(Curve(style, name, path([(x, y) for x, y, _ in drawn])))
            labelled = metric == series[0][2]
            for x, y, step in drawn:
                signs.append(Point(x / 10, y, "ring" if step is at else "dot", style, step.label if labelled else ""))
    second = Chart(
        f"Latency by {unit.lower()}",
        "Each point is one step, named by its requests in flight. The better the endpoint, the further right and down.",
        curves,
        [Tick(100 - tick.at, tick.label) for tick in across.ticks(_round)],
        scale.ticks(),
        [Tick(100 - across(search.throughput(at)), "knee")] if at else [],
        signs,
    )
    return [first, second]


def _rate_charts(search: Search) -> list[Chart]:
    steps = search.steps
    rates = Log(steps[0].level, steps[-1].level, flip=False)
    # Short steps may have too few answers for a p99; one percentile has to do for all.
    percent = 99 if all("ttft_p99" in step.latencies for step in steps if step.ok) else 50
    timed = [(step, value) for step in steps if (value := step.latencies.get(f"ttft_p{percent}", 0.0)) > 0]
    if not timed:
        return []
    scale = Log(min(value for _, value in timed) / 1.3, max(value for _, value in timed) * 1.3)
    kept = sum(bool(step.met) for step in steps)
    labels = list(dict.fromkeys(step.label for step in steps))
    chart = Chart(
        f"First token p{percent} by requests per second",
        f"{plural(len(steps), 'run')}, {kept:,} of which kept the objectives.",
        [],
        [Tick(rates(step.level) / 10, step.label) for step in _some(_one_each(steps, labels), 8)],
        scale.ticks(),
        [Tick(rates(search.highest) / 10, f"kept up to {search.highest:,.4g}")] if search.highest else [],
        [
            Point(rates(step.level) / 10, scale(value), "dot" if step.met else "cross", "pass" if step.met else "fail")
            for step, value in timed
        ],
        steps_table(search),
    )
    return [chart]


def _one_each(steps: Sequence[Step], labels: Sequence[str]) -> list[Step]:
    return [next(step for step in steps if step.label == label) for label in labels]


def _some(steps: Sequence[Step], most: int = 10) -> Sequence[Step]:
    """Return the steps, thinned out evenly to what an axis can name."""
    return steps[:: math.ceil(len(steps) / most)]


def steps_table(search: Search) -> Table:
    """Return the steps of a search as a table."""
    times = step_latencies()
    judged = any(step.met is not None for step in search.steps)
    head = [search.unit, "requests", "ended well", "ok/s", "tok/s"]
    head += [f"{TIMES[metric].short or TIMES[metric].title} p{percent:g}" for metric, percent in times.values()]
    rows = []
    for step in search.steps:
        marked = " (knee)" if search.sweep and step.level == search.knee else ""
        row = [
            step.label + marked,
            format_count(step.started),
            ended_well(step),
            format_rate(step.ok_rate),
            format_rate(step.tokens_rate),
        ]
        row += [step.latency_word(name) for name in times]
        if judged:
            missed = [text for text, met in step.objectives if not met]
            row.append("kept" if step.met else f"missed: {', '.join(missed)}" if missed else "not kept")
        rows.append([*row, step.measurement])
    return Table([*head, *(["objectives"] if judged else []), "measurement"], rows)


SHADES: Final = 5
_MOST_COLUMNS: Final = 100


def stall_map(load: Load) -> StallMap | None:
    """Return the gaps between content as a map of time (across) and length (up), or ``None`` where none are known."""
    rows = [row for row in load.seconds if row.gaps]
    if not rows:
        return None
    begin, end = time_span(load)
    wide = load.step * math.ceil((end - begin) / load.step / _MOST_COLUMNS)
    columns = max(1, math.ceil((end - begin) / wide))
    cells: dict[tuple[int, float], int] = {}
    for row in rows:
        column = min(columns - 1, max(0, int((row.t - begin) // wide)))
        for bound, amount in row.gaps.items():
            cells[column, bound] = cells.get((column, bound), 0) + amount
    present = {bound for _, bound in cells}
    # The steps between the shortest and the longest are drawn too, empty as they are.
    bounds = [bound for bound in GAP_STEPS if min(present) <= bound <= max(present)]
    cells = {key: amount for key, amount in cells.items() if key[1] in bounds}
    if not cells:
        return None
    top = max(cells.values())
    width, tall = WIDTH * wide / (end - begin), len(bounds)
    shapes: list[list[str]] = [[] for _ in range(SHADES)]
    for (column, bound), amount in sorted(cells.items()):
        # On a log scale: one gap of two seconds must be seen beside a thousand of ten milliseconds.
        shade = min(SHADES - 1, int(SHADES * math.log(amount) / math.log(top))) if top > 1 else SHADES - 1
        x, y = column * width, tall - 1 - bounds.index(bound)
        shapes[shade].append(f"M{_n(x)} {y}h{_n(min(width, WIDTH - x))}v1H{_n(x)}z")
    shades = [
        ("".join(shape), math.floor(top ** ((index + 1) / SHADES))) for index, shape in enumerate(shapes) if shape
    ]
    longest = max(bounds)
    late = [begin + column * wide for column, bound in sorted(cells) if bound == longest]
    ends = ", ".join(_clock(at) for at in late[:4]) + (f" and {len(late) - 4:,} more times" if len(late) > 4 else "")
    told = (
        f"{plural(sum(cells.values()), 'gap')} from {_bound(bounds[0])} up; "
        f"the longest, of {_bound(longest)} or more, ended at {ends}."
    )
    names = ["from", *(f"≥ {_bound(bound)}" if bound else f"< {_bound(GAP_STEPS[1])}" for bound in bounds)]
    lines = [
        [
            _clock(begin + column * wide),
            *(format_count(cells[column, b]) if (column, b) in cells else "" for b in bounds),
        ]
        for column in sorted({column for column, _ in cells})
    ]
    return StallMap(
        summary=told,
        shades=shades,
        rows=tall,
        x=[Tick(100 * (value - begin) / (end - begin), _clock(value)) for value in _steps(begin, end, 6)],
        y=[
            Tick(100 * (tall - index) / tall, _bound(bound))
            for index, bound in enumerate(bounds)
            if (tall - 1 - index) % math.ceil(tall / 8) == 0 or index == 0
        ],
        table=Table(names, lines),
    )


def _bound(value: float) -> str:
    return _round_seconds(value) if value else "0"


GAP_STEPS: Final = (0.0, *(figure * 10**power / 1e3 for power in range(6) for figure in (1, 2, 5)))
"""Lengths in seconds between which the gaps of a second are counted in a run file."""


class Linear:
    """A vertical axis from zero to a round number above the largest value."""

    def __init__(self, top: float, least: float = 0.0) -> None:
        top = max(top, least)
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
