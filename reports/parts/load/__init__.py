"""What the endpoint bore under load."""

from __future__ import annotations

from typing import Any, Final

from rich.text import Text

from rejoinder.formatting import format_count, format_percent, format_rate, format_seconds
from rejoinder.model.metrics import Place, times_shown
from rejoinder.model.samples import PERCENTILES
from rejoinder.reports._charts import Table, steps_table
from rejoinder.reports._load import Load, read_load
from rejoinder.reports._load_page import load_values
from rejoinder.reports._search import Search, ended_well
from rejoinder.reports.markdown_text import code, escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.rules import Severity

_MOST_STEPS: Final = 50
_STEPS_ON_TERMINAL: Final = 12
_STEP_TIMES: Final = ("ttft_p99", "e2e_p50")


def read(report: ReportModel) -> Load | None:
    """Return what the samples of the run say."""
    return read_load(report.run)


def page_values(load: Load, report: ReportModel) -> dict[str, Any]:
    """Return the charts and the tables of the page."""
    return load_values(load, report.run)


def markdown(load: Load, report: ReportModel, room: int) -> list[str]:
    """Return the figures that matter most, objectives, steps and latencies."""
    lines = ["### Load", ""]
    reasons = "".join(f"; {escape(reason)}" for reason in load.reasons[:3])
    verdict = f"**{escape(load.verdict)}**{reasons} · " if load.verdict else ""
    lines += [
        f"{verdict}{format_count(load.started)} requests, {format_percent(load.ok, load.started)} ok"
        f" · {format_rate(load.rate)} ok/s · {format_rate(load.tokens_rate)} output tok/s",
        "",
    ]
    bad = [f"{escape(entry.outcome)} {entry.amount:,}" for entry in load.ledger if not entry.good]
    if bad:
        lines += [f"Not ok: {', '.join(bad[:12])}", ""]
    if load.objectives:
        lines += ["| | Objective | | Measured | Limit | n | |", "|---|---|---|---:|---:|---:|---|"]
        for objective in load.objectives[:20]:
            cells = [objective.word, objective.value, objective.limit, objective.n, objective.bound]
            sign = Severity(objective.severity).emoji
            lines.append(f"| {sign} | {code(objective.text)} | " + " | ".join(escape(cell) for cell in cells) + " |")
        lines.append("")
    if load.search:
        lines += [escape(load.search.sentence), "", *_table_in_markdown(steps_table(load.search)), ""]
    if load.repeats:
        lines += [*_table_in_markdown(Table(load.repeats.head, load.repeats.rows)), ""]
    if load.distributions:
        lines += [
            "| | n | " + " | ".join(f"p{p:g}" for p in PERCENTILES) + " | max |",
            "|---|---:|" + "---:|" * (len(PERCENTILES) + 1),
        ]
        for distribution in [d for d in load.distributions if not d.only_ok][:12]:
            values = " | ".join(distribution.word(p) for p in PERCENTILES)
            name = escape(distribution.title)
            lines.append(f"| {name} | {distribution.n:,} | {values} | {format_seconds(distribution.high)} |")
        lines.append("")
    return lines


def _table_in_markdown(table: Table) -> list[str]:
    rows = [table.head, *table.rows[:_MOST_STEPS]]
    lines = [f"| {' | '.join(map(escape, row))} |" for row in rows]
    return [lines[0], "|" + "---:|" * len(table.head), *lines[1:]]


def terminal(load: Load, report: ReportModel, width: int) -> list[Text]:
    """Return the figures that matter most."""
    head = Text("  load  ", "bold")
    if load.verdict:
        head.append(f"{load.verdict}  ", "bold green" if load.verdict == "VALID" else "bold yellow")
    head.append(
        f"{format_count(load.started)} requests, {format_percent(load.ok, load.started)} ok"
        f", {format_rate(load.rate)} ok/s"
        + (f", {format_rate(load.tokens_rate)} output tok/s" if load.tokens_rate is not None else "")
    )
    lines = [Text(), head]
    lines += [Text(f"        {reason}", "yellow") for reason in load.reasons[:2]]
    bad = [f"{entry.outcome} {entry.amount:,}" for entry in load.ledger if not entry.good]
    if bad:
        lines.append(Text(f"        not ok: {', '.join(bad[:6])}", "yellow"))
    if load.search:
        lines += _search_on_terminal(load.search)
    elif load.repeats and not load.whole:
        lines += [
            Text(f"        {'  '.join(row)}") for row in (load.repeats.head, *load.repeats.rows[:_STEPS_ON_TERMINAL])
        ]
    for metric in times_shown(Place.TERMINAL):
        distribution = load.distribution(metric.name)
        if distribution:
            figures = "  ".join(f"p{p:g} {distribution.word(p):<8}" for p in metric.extremes(Place.TERMINAL))
            lines.append(Text(f"        {metric.short or metric.name:<11} {figures} n {distribution.n:,}"))
    return lines


def _search_on_terminal(search: Search) -> list[Text]:
    """Return what a search found, and its steps where it found nothing."""
    lines = [Text(f"        {search.sentence}")]
    for step in search.steps[:_STEPS_ON_TERMINAL] if search.cut else ():
        times = [f"{name.replace('_', ' ')} {step.latency_word(name)}" for name in _STEP_TIMES if step.ok]
        figures = [f"{ended_well(step)} ok", search.throughput_word(step), *times, step.measurement]
        unit = "in flight" if search.sweep else "requests/s"
        lines.append(Text(f"        {step.label} {unit}: {', '.join(filter(None, figures))}"))
    return lines


PART: Final = Part(
    __name__, Area.LOAD, 100, read, nav="Load", markdown=markdown, terminal=terminal, page_values=page_values
)
