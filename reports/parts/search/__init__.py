"""What a search over loads found: the knee of a sweep, or the highest rate that met every SLO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from rich.text import Text

from rejoinder.formatting import one_line, plural
from rejoinder.model.outcomes import good_of
from rejoinder.model.samples import SearchResult, SearchStep
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
    search.sentence = _sentence(search, found)
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


def _sentence(search: SearchSummary, found: SearchResult) -> str:
    if search.cut:
        sought = "the knee" if search.sweep else f"the highest {search.kind}"
        sentence = f"The search stopped after {plural(len(search.steps), 'step')}, before it found {sought}."
    elif search.sweep:
        sentence = one_line(describe_sweep(found), 600)
    else:
        sentence = one_line(describe_result(found), 600)
    if search.by_generator:
        sentence += " The load generator was the bottleneck in some steps, so the endpoint may handle more."
    return sentence


def page_values(search: SearchSummary, report: ReportModel) -> dict[str, Any]:
    """Return the charts and the table of the steps."""
    return {"charts": search_charts(search), "steps": steps_table(search)}


def markdown(search: SearchSummary, report: ReportModel, room: int) -> list[str]:
    """Return what was found, and the steps."""
    return [escape(search.sentence), "", *table(steps_table(search)), ""]


def terminal(search: SearchSummary, report: ReportModel, width: int) -> list[Text]:
    """Return what was found, and the steps where nothing was."""
    lines = wrap(search.sentence, width, " " * 6)
    for step in search.steps[:_STEPS_ON_TERMINAL] if search.cut else ():
        times = [f"{step_title(name)} {latency_text(step, name)}" for name in _STEP_TIMES if good_of(step.outcomes)]
        figures = [f"{share_ok(step)} succeeded", search.throughput_text(step), *times, step.verdict.value]
        at_once = search.unit == "concurrency"
        load = f"concurrency {label_of(step)}" if at_once else f"{label_of(step)} requests/s"
        lines.append(Text(f"        {load}: {', '.join(filter(None, figures))}"))
    return lines


PART: Final = Part(__name__, Area.LOAD, 230, read, markdown=markdown, terminal=terminal, page_values=page_values)
