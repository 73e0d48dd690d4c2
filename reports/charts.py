"""Geometry of the charts: numbers in, SVG path data and tick positions out. The templates draw them.

Every plot lives in a box 1000 wide and 100 high that is stretched to the page (strokes are not), and its labels are
placed in percent, so one drawing fits a telephone and a wide screen alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

WIDTH: Final = 1000.0
HEIGHT: Final = 100.0


class Tick(NamedTuple):
    """A label on an axis at a position in percent (y: from the top)."""

    at: float
    label: str


class Curve(NamedTuple):
    """One drawn series: its style class, its name for the legend, path data, and the values that were drawn."""

    style: str
    name: str
    path: str
    values: Sequence[tuple[float, float]]
    area: bool = False


class Point(NamedTuple):
    """A sign at a position in percent (y: from the top), with a label beside it.

    ``shape`` is ``dot``, ``ring``, ``cross`` or ``diamond``. The label is to the left, or to the ``right``.
    """

    x: float
    y: float
    shape: str
    style: str
    label: str = ""
    right: bool = False


class SignMeaning(NamedTuple):
    """What a sign of one shape and style means, for the legend."""

    shape: str
    style: str
    name: str


@dataclass(frozen=True, slots=True)
class FigureTable:
    """The figures behind a chart, as text; the first column heads the rows.

    ``words`` are the columns that hold words, not figures.
    """

    head: list[str]
    rows: list[list[str]]
    words: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot. ``summary`` says in a sentence what it shows, for those who cannot see it.

    ``signs`` are the signs of its points that the legend explains.
    """

    title: str
    summary: str
    curves: list[Curve]
    x: list[Tick] = field(default_factory=list)
    y: list[Tick] = field(default_factory=list)
    marks: list[Tick] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    table: FigureTable | None = None
    signs: list[SignMeaning] = field(default_factory=list)

    @property
    def grid(self) -> str:
        """Path data of the lines through the labelled places of both axes."""
        across = "".join(f"M0 {coordinate(tick.at)}h1000" for tick in self.y)
        return across + "".join(f"M{coordinate(10 * tick.at)} 0v100" for tick in self.x)


class Linear:
    """A vertical axis from zero to a round number above the largest value."""

    def __init__(self, top: float, least: float = 0.0) -> None:
        top = max(top, least)
        self._steps = round_steps(0.0, top if top > 0 else 1.0, 4)
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
        return [Tick(round(100 * self(value) / whole, 2), axis_seconds(value)) for value in values]


def path(points: Sequence[tuple[float, float]], *, area: bool = False) -> str:
    """Return SVG path data through the points; as an area it is closed along the base line."""
    if not points:
        return ""
    line = "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)
    if len(points) == 1:
        (x, y) = points[0]
        line = f"{coordinate(x - 4)} {coordinate(y)}L{coordinate(x + 4)} {coordinate(y)}"
        points = [(x - 4, y), (x + 4, y)]
    if area:
        return (
            f"M{coordinate(points[0][0])} {coordinate(HEIGHT)}L{line}L{coordinate(points[-1][0])} {coordinate(HEIGHT)}z"
        )
    return f"M{line}"


def draw(
    style: str,
    name: str,
    series: Sequence[tuple[float, float | None]],
    across: Callable[[float], float],
    up: Callable[[float], float],
    *,
    area: bool = False,
) -> Curve | None:
    """Draw a series of x and y values along two axes; ``None`` when it has no value.

    Where y is ``None`` nothing was measured, and the line is broken.
    """
    pieces: list[list[tuple[float, float]]] = []
    joined = False
    for x, y in series:
        if y is not None:
            if not joined:
                pieces.append([])
            pieces[-1].append((x, y))
        joined = y is not None
    if not pieces:
        return None
    drawn = "".join(path([(across(x), up(y)) for x, y in piece], area=area) for piece in pieces)
    return Curve(style, name, drawn, [point for piece in pieces for point in piece], area)


def coordinate(value: float) -> str:
    """Return a number of path data."""
    return f"{value:.1f}".removesuffix(".0")


def round_steps(low: float, high: float, about: int) -> list[float]:
    """Return round numbers from ``low`` to at least nearly ``high``, some ``about`` of them."""
    rough = (high - low) / about
    if rough <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def clock(value: float) -> str:
    """Return a time of the run as a label."""
    return f"{value / 60:g} min" if value >= 300 and value % 60 == 0 else f"{value:g} s"


def axis_number(value: float) -> str:
    """Return a number as a label."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def axis_seconds(value: float) -> str:
    """Return a duration as a label."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= scale * 0.999:
            return f"{value / scale:g} {unit}"
    return f"{value * 1e9:g} ns"
