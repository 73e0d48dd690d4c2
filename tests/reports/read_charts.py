"""Reads charts back from a page, as somebody who looks at them does: by the labels of their axes.

A drawn coordinate has one decimal in a box 1000 wide and 100 high, so a value is known to a thousandth of its axis.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

Points = list[tuple[float, float]]
"""Positions in percent of the plot, from its left and from its top; or, once read, values of both axes."""
UNITS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "%": 1.0, "": 1.0}


class Label(NamedTuple):
    """A label of an axis, or of a mark, in percent of the plot."""

    at: float
    text: str


class Sign(NamedTuple):
    """A sign in a plot, in percent from its left and top."""

    x: float
    y: float
    shape: str
    style: str
    label: str


@dataclass(frozen=True)
class DrawnChart:
    """One chart of a page. ``curves`` has the pieces of each path by its style class, areas without their base line."""

    title: str
    legend: dict[str, str]
    curves: dict[str, list[Points]]
    bars: list[tuple[float, float, float]]
    x: list[Label]
    y: list[Label]
    marks: list[Label]
    signs: list[Sign]
    grid: str


def value_of(label: str) -> float:
    """Return what a label of an axis says: in seconds, or as the number that it is."""
    match = re.fullmatch(r"([\d,.]+(?:e[-+]\d+)?) ?(\D*)", label)
    assert match is not None, label
    return float(match[1].replace(",", "")) * UNITS[match[2]]


def linear(labels: Sequence[Label], zero: float | None = None) -> Callable[[float], float]:
    """Return the axis that the labels are of, which turns a position into a value; ``zero`` is where 0 is, if known."""
    places = [(label.at, value_of(label.text)) for label in labels] + ([] if zero is None else [(zero, 0.0)])
    return _axis(places, lambda value: value, lambda value: value)


def logarithmic(labels: Sequence[Label]) -> Callable[[float], float]:
    """Return the logarithmic axis that the labels are of."""
    places = [(label.at, value_of(label.text)) for label in labels]
    return _axis(places, math.log10, lambda value: float(10**value))


def nines(labels: Sequence[Label]) -> Callable[[float], float]:
    """Return the axis of percentiles that the labels are of, on which every step adds a nine."""
    places = [(label.at, value_of(label.text.removeprefix("p"))) for label in labels]
    return _axis(places, lambda p: -math.log10(1 - p / 100), lambda depth: 100 - 100 * 10**-depth)


def _axis(
    places: list[tuple[float, float]], there: Callable[[float], float], back: Callable[[float], float]
) -> Callable[[float], float]:
    (first, low), (last, high) = min(places), max(places)
    assert last > first, places
    scale = (there(high) - there(low)) / (last - first)

    def read(at: float) -> float:
        return back(there(low) + (at - first) * scale)

    # All labels stand where the axis has their value.
    for at, value in places:
        assert at == pytest.approx(first + (there(value) - there(low)) / scale, abs=0.02)
    return read


def charts(page: str) -> list[DrawnChart]:
    """Return the charts of a page in order."""
    return [
        _chart(ElementTree.fromstring(text)) for text in re.findall(r'<figure class="chart">.*?</figure>', page, re.S)
    ]


def _chart(figure: ElementTree.Element) -> DrawnChart:
    caption, plot = figure.find("figcaption"), figure.find("svg[@role='img']")
    assert caption is not None
    assert plot is not None
    title, inner = caption.find("b"), plot.find("svg[@viewBox='0 0 1000 100']")
    assert title is not None
    assert inner is not None
    paths = {path.get("class", ""): path.get("d", "") for path in inner.findall("path")}
    grid = paths.pop("grid")
    axis = figure.find("svg[@class='xaxis']")
    marked = [percent(line.get("x1")) for line in plot.findall("line") if line.get("class") == "mark"]
    names = [text.text or "" for text in plot.findall("text") if text.get("class") == "on"]
    return DrawnChart(
        title=title.text or "",
        legend={span.get("class", ""): "".join(span.itertext()).strip() for span in caption.findall("span/span")},
        curves={style.removesuffix(" area"): pieces(path, "area" in style) for style, path in paths.items()},
        bars=[bar for style, path in paths.items() if "V" in path for bar in _bars(path)],
        x=[_label(text, "x") for text in axis.findall("text")] if axis is not None else [],
        y=[_label(text, "y") for text in plot.findall("text") if text.get("class") != "on"],
        marks=[Label(at, name) for at, name in zip(marked, names or [""] * len(marked), strict=True)],
        signs=[_sign(svg) for svg in plot.findall("svg") if svg.get("class")],
        grid=grid,
    )


def percent(text: str | None) -> float:
    """Return the number of an attribute in percent."""
    assert text is not None
    assert text.endswith("%")
    return float(text[:-1])


def _label(text: ElementTree.Element, axis: str) -> Label:
    return Label(percent(text.get(axis)), text.text or "")


def _sign(svg: ElementTree.Element) -> Sign:
    shape = svg.find("circle") if svg.find("circle") is not None else svg.find("path")
    assert shape is not None
    text = svg.find("text")
    label = "" if text is None else text.text or ""
    return Sign(percent(svg.get("x")), percent(svg.get("y")), svg.get("class", ""), shape.get("class", ""), label)


def pieces(path: str, area: bool = False) -> list[Points]:
    """Return the points of each piece of a path, in percent; a short stroke is a single point."""
    found = []
    for piece in path.split("M")[1:]:
        points = [(float(x) / 10, float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", piece)]
        if area and "L" in piece:
            assert points[0] == (points[1][0], 100)
            assert points[-1] == (points[-2][0], 100)
            points = points[1:-1]
        if len(points) == 2 and points[0][1] == points[1][1] and points[1][0] - points[0][0] == pytest.approx(0.8):
            points = [(points[0][0] + 0.4, points[0][1])]
        found.append(points)
    return found


def _bars(path: str) -> list[tuple[float, float, float]]:
    """Return left and right side and height of each bar, in percent."""
    found = []
    for x, bottom, top, width in re.findall(r"M([\d.]+) ([\d.]+)V([\d.]+)h([\d.]+)V100z", path):
        assert bottom == "100"
        found.append((float(x) / 10, (float(x) + float(width)) / 10, 100 - float(top)))
    return found
