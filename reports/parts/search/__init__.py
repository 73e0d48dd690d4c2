"""What a search over loads found: the knee of a sweep, or the highest rate that met every SLO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from rich.text import Text

from rejoinder.formatting import one_line, plural
from rejoinder.model.outcomes import good_of
from rejoinder.model.samples import LoadSample, SearchResult, SearchStep
from rejoinder.reports.markdown_text import escape, table
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.search.charts import search_charts, steps_table
from rejoinder.reports.parts.search.summary import (
    SearchSummary,
    describe_result,
    describe_sweep,
    label_of,
    latency_text,
    share_ok,
    step_title,
)
from rejoinder.reports.terminal_text import wrap

_MOST: Final = 200
_STEPS_ON_TERMINAL: Final = 12
_STEP_TIMES: Final = ("ttft_p99", "e2e_p50")


def read(report: ReportModel) -> SearchSummary | None:
    """Return the search of the run; of one that did not come to its end, the steps that had ended."""
    total = report.run.load
    found = total.search if total else _cut_search(report.run.samples_of(SearchStep))
    if found is None or not found.steps:
        return None
    steps = sorted(found.steps[:_MOST], key=lambda step: step.level)
    search = SearchSummary(found.kind == "sweep", steps, found.knee, found.highest, found.limited_by == "generator")
    search.cut, search.kind, search.failed = found.cut, found.kind, found.next
    search.unconfirmed = found.confirmed is False
    search.headline, search.detail = _found(search, found)
    if search.by_generator and "the load generator was the bottleneck" not in search.detail:
        more = "The load generator was the bottleneck in some steps, so the endpoint may handle more."
        search.detail = f"{search.detail} {more}".lstrip()
    search.chosen = "" if search.cut or total is None else _chosen(search, total)
    return search


def _cut_search(steps: Sequence[SearchStep]) -> SearchResult | None:
    if not steps:
        return None
    kind: Literal["rate", "sweep", "concurrency"] = "sweep"
    if any(step.rate is not None for step in steps):
        kind = "rate"
    elif any(step.held is not None for step in steps):
        kind = "concurrency"
    return SearchResult(kind=kind, steps=list(steps), cut=True)


def _chosen(search: SearchSummary, total: LoadSample) -> str:
    level = total.settings.get("concurrency" if search.unit == "concurrency" else "rate")
    if not isinstance(level, (int, float)) or isinstance(level, bool):
        return ""
    return f"concurrency {level:,.4g}" if search.unit == "concurrency" else f"{level:,.4g} requests/s"


def _found(search: SearchSummary, found: SearchResult) -> tuple[str, str]:
    """Return what was found, as a clause, and the sentences that explain it."""
    if search.cut:
        sought = "the knee" if search.sweep else f"the highest {search.kind}"
        return f"The search stopped after {plural(len(search.steps), 'step')}, before it found {sought}", ""
    headline, _, detail = (describe_sweep(found) if search.sweep else describe_result(found)).partition(". ")
    return one_line(headline, 300).removesuffix("."), one_line(detail, 600)


def page_values(search: SearchSummary, report: ReportModel) -> dict[str, Any]:
    """Return the charts and the table of the steps."""
    return {"charts": search_charts(search), "steps": steps_table(search)}


def markdown(search: SearchSummary, report: ReportModel, room: int) -> list[str]:
    """Return what was found, and the steps."""
    return [escape(search.sentence), "", *table(steps_table(search)), ""]


def terminal(search: SearchSummary, report: ReportModel, width: int) -> list[Text]:
    """Return the steps where nothing was found; else the verdict leads with what was found."""
    lines = wrap(search.sentence, width, " " * 6) if search.cut or report.rules else []
    for step in search.steps[:_STEPS_ON_TERMINAL] if search.cut else ():
        times = [f"{step_title(name)} {latency_text(step, name)}" for name in _STEP_TIMES if good_of(step.outcomes)]
        figures = [f"{share_ok(step)} succeeded", search.throughput_text(step), *times, step.verdict.value]
        at_once = search.unit == "concurrency"
        load = f"concurrency {label_of(step)}" if at_once else f"{label_of(step)} requests/s"
        lines += wrap(f"{load}: {', '.join(filter(None, figures))}", width, " " * 6)
    return lines


PART: Final = Part(
    __name__,
    Area.LOAD,
    195,
    read,
    markdown=markdown,
    markdown_order=230,
    terminal=terminal,
    terminal_order=230,
    page_values=page_values,
)
