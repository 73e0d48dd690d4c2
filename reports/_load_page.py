"""What the page of a load run is filled with: charts, the tables behind them, and words for the measurement."""

from __future__ import annotations

from typing import Any, Final

from rejoinder.model.metrics import SERVER, Metric, Place, times_shown
from rejoinder.model.runfile import Run
from rejoinder.model.samples import PERCENTILES
from rejoinder.reports._charts import (
    gap_chart,
    percentile_chart,
    search_charts,
    stall_map,
    steps_table,
    time_span,
    timeline_charts,
)
from rejoinder.reports._load import Load, server_word
from rejoinder.reports._streams import TICKS
from rejoinder.reports.rules import catalogue

MEASUREMENT: Final = {
    "VALID": "The generator found nothing in itself that may have bent the figures.",
    "SUSPECT": "The generator may have bent the figures, or some of them are missing:",
    "CLIENT-BOUND": "The generator was the limit: the figures say nothing about the endpoint. "
    "Give it more processes, or a machine of its own.",
}
"""What each verdict of the generator on itself means for the reader."""


def load_values(load: Load | None, run: Run) -> dict[str, Any]:
    """Return the values that the template of a load run needs; where there is no load they are empty."""
    if load is None:
        return {"charts": {}}
    said = [name for name in SERVER if any(name in second.server for second in load.seconds)]
    known, _ = catalogue(run)
    return {
        "percentiles": PERCENTILES,
        "lane_width": TICKS,
        "validity": MEASUREMENT.get(load.verdict, ""),
        "titles_of_rules": {rule: known[rule].title for rule, _ in load.broken_rules if rule in known},
        "series": [(name, SERVER[name].title, server_word(name)) for name in said],
        "headlines": _headlines(load),
        "steps": steps_table(load.search) if load.search else None,
        "charts": {
            "search": search_charts(load.search),
            "percentiles": percentile_chart(load),
            "gaps": gap_chart(load),
            "timeline": timeline_charts(load),
            "stalls": stall_map(load),
            "span": time_span(load),
        },
    }


def _headlines(load: Load) -> list[tuple[str, str]]:
    """Return the percentiles at the top of the page, as titles and text."""
    found = []
    for metric in times_shown(Place.HEADLINE):
        distribution = load.distribution(metric.name)
        if distribution is not None:
            found += [(_title(metric, p), distribution.word(p)) for p in metric.extremes(Place.HEADLINE)]
    return found


def _title(metric: Metric, percent: float) -> str:
    name = metric.short or metric.title
    return f"{name[:1].upper()}{name[1:]} p{percent:g}"
