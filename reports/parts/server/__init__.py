"""Metrics that the server and its GPUs reported over the whole run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from rejoinder.formatting import format_count, format_percent, format_rate, format_seconds
from rejoinder.model.metrics import SERVER
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.latencies import PART as LATENCIES


class ServerFigure(NamedTuple):
    """One figure of the server over the whole run, as text; ``most`` is empty where there is only one value."""

    name: str
    meaning: str
    mean: str
    most: str


def read(report: ReportModel) -> list[ServerFigure] | None:
    """Return what the server reported over the whole run, from the totals that the run file has."""
    total, latencies = report.run.load, report.get(LATENCIES)
    values = total.server if total else {}
    figures: list[ServerFigure] = []
    for name, metric in SERVER.items():
        form = server_format(name)
        mean, most, whole = (values.get(key) for key in (f"{name}_mean", f"{name}_max", name))
        if mean is not None or most is not None:
            figures.append(ServerFigure(metric.title, metric.meaning, form(mean), form(most)))
        elif whole is not None:
            figures.append(ServerFigure(metric.title, f"{metric.meaning}, over the whole run", form(whole), ""))
    difference, ttft = values.get("ttft_difference"), latencies.find("ttft") if latencies else None
    if ttft is not None and ttft.values.mean is not None:
        client = ServerFigure(
            "TTFT (client)", "mean over this run, measured by the load generator", format_seconds(ttft.values.mean), ""
        )
        figures += [client] if figures else []
    if difference is not None:
        meaning = "difference of the means: network, HTTP layer of the server, load generator"
        figures.append(ServerFigure("TTFT (client − server)", meaning, _signed(difference), ""))
    return figures or None


def server_format(name: str) -> Callable[[float | None], str]:
    """Return the function that writes a figure of the server as text."""
    unit = SERVER[name].unit
    if unit == "s":
        return format_seconds
    if unit == "share":
        return lambda value: "–" if value is None else format_percent(value, 1.0)
    return lambda value: "–" if value is None else format_count(value) if value == round(value) else format_rate(value)


def _signed(value: float) -> str:
    """Return a difference in seconds with its sign."""
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{format_seconds(abs(value))}"


PART: Final = Part(__name__, Area.LOAD, 245, read, row="outcomes")
