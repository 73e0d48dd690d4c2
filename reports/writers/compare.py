"""Many runs side by side: rules as rows, runs as columns, with the findings of each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from rejoinder.formatting import (
    format_count,
    format_percent,
    format_rate,
    format_seconds,
    join_list,
    one_line,
    plural,
    uncapitalized,
    value_of,
)
from rejoinder.model.metrics import SPEEDS, Metric, Place, rows_shown
from rejoinder.model.runfile import Run
from rejoinder.reports.model import ReportModel, read_report
from rejoinder.reports.parts.contract import PART as CONTRACT
from rejoinder.reports.parts.findings.choice import EVIDENCE_BUDGET, FINDINGS_IN_ALL, RenderedRule, choose
from rejoinder.reports.parts.latencies import LatencyDistribution, latency_of
from rejoinder.reports.parts.leniency import PART as LENIENCY
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.load import LoadSummary
from rejoinder.reports.parts.speeds import Speed, speed_of
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.parts.verdict import PART as VERDICT
from rejoinder.reports.rules import JUDGED, Anchors, ReportedRule, Severity, partial_reason
from rejoinder.reports.side_by_side import facts_of, families_of, features_of, settings_of
from rejoinder.reports.writers.html import page

DIFFERS: Final = "differs"


class ComparisonCell(NamedTuple):
    """What one run says of one rule; ``rule`` is ``None`` when it says nothing."""

    rule: ReportedRule | None
    anchor: str
    rendered: RenderedRule | None


class ComparisonRow(NamedTuple):
    """One rule over all runs. ``status`` holds the severities that it has anywhere, and whether they differ."""

    rule: ReportedRule
    anchor: str
    cells: list[ComparisonCell]
    status: str
    worst: int


class FigureCell(NamedTuple):
    """One figure of one run: the text, its share of the largest of its row for a bar, and how sure it is."""

    text: str
    share: float | None
    sure: str = ""


def render_comparison(runs: Sequence[Run]) -> str:
    """Return many runs side by side as one HTML document, which needs no network."""
    anchors = Anchors()
    reports = [read_report(run, anchors) for run in runs]
    labels = _labels(reports)
    rows = _rows(reports)
    differing = sum(DIFFERS in row.status.split() for row in rows)
    severities = {cell.rule.severity for row in rows for cell in row.cells if cell.rule}
    kinds = {severity.value: (severity.value, severity.word) for severity in Severity if severity in severities}
    if differing:
        kinds[DIFFERS] = ("info", DIFFERS)
    return page(
        "compare.html.j2",
        verdicts=[report[VERDICT] for report in reports],
        contracts=[report.get(CONTRACT) for report in reports],
        leniency=[report.get(LENIENCY) for report in reports],
        labels=labels,
        rows=rows,
        families=[(family, [row for row in rows if row.rule.family == family.id]) for family in families_of(*reports)],
        found=sorted((row for row in rows if any(cell.rendered for cell in row.cells)), key=lambda row: -row.worst),
        tally=[
            (severity, [report.counts.get(severity, 0) for report in reports])
            for severity in Severity
            if severity in severities
        ],
        facts=facts_of(reports),
        features=features_of(reports),
        kinds=kinds,
        levels=[level for level in ("MUST", "SHOULD", "MAY", "OFF") if any(row.rule.level == level for row in rows)],
        figures=_figures(reports),
        loaded=any(report.get(LOAD) is not None for report in reports),
        warnings=_warnings(labels, reports),
        headline=f"{plural(len(reports), 'run')} compared",
        sentence=_sentence(reports, rows, differing),
    )


def _labels(reports: list[ReportModel]) -> list[str]:
    """Return a distinct name for each run: its model, else its host, numbered where equal."""
    names = []
    for report in reports:
        try:
            host = urlsplit(report[TARGET].url).netloc
        except ValueError:
            host = ""
        names.append((report[TARGET].model, one_line(host, 60), report[TARGET].started))
    labels = [model or host or "run" for model, host, _ in names]
    for more in (1, 2):
        taken = Counter(labels)
        labels = [
            f"{label}, {names[index][more]}" if taken[label] > 1 and names[index][more] else label
            for index, label in enumerate(labels)
        ]
    taken, seen_so_far = Counter(labels), Counter[str]()
    for index, label in enumerate(labels):
        seen_so_far[label] += 1
        if taken[label] > 1:
            labels[index] = f"{label} ({seen_so_far[label]})"
    return labels


def _rows(reports: list[ReportModel]) -> list[ComparisonRow]:
    rendered: list[dict[int, RenderedRule]] = []
    parts = max(1, len(reports))
    budget, most = EVIDENCE_BUDGET // parts, FINDINGS_IN_ALL // parts
    for report in reports:
        groups = choose(report.run, report[TARGET].url, report.groups, budget, most)
        rendered.append({id(entry.rule): entry for _, entries in groups for entry in entries})
    names = [
        name
        for family in families_of(*reports)
        for name in sorted({rule.id for report in reports for rule in report.rules if rule.family == family.id})
    ]
    own, rows = Anchors(), []
    by_id = [{rule.id: rule for rule in report.rules} for report in reports]
    for name in names:
        cells = []
        for index, rules in enumerate(by_id):
            rule = rules.get(name)
            entry = rendered[index].get(id(rule)) if rule else None
            cells.append(ComparisonCell(rule, own.take("c-", f"{index + 1}-{name}") if entry else "", entry))
        known = [cell.rule for cell in cells if cell.rule]
        severities = {rule.severity for rule in known}
        # What was not judged agrees with everything.
        settled = {_behaviour(rule) for rule in known if rule.severity in JUDGED}
        status = [severity.value for severity in Severity if severity in severities]
        status += [DIFFERS] if len(settled) > 1 else []
        worst = sum(100 * (rule.severity is Severity.FAIL) + (rule.severity is Severity.WARN) for rule in known)
        rows.append(ComparisonRow(known[0], own.take("m-", name), cells, " ".join(status), worst))
    return rows


def _behaviour(rule: ReportedRule) -> Severity:
    """Return the severity that a rule would have if no baseline expected what was found."""
    if rule.severity is not Severity.KNOWN:
        return rule.severity
    return Severity.FAIL if rule.level == "MUST" else Severity.WARN


def _sentence(reports: list[ReportModel], rows: list[ComparisonRow], differing: int) -> str:
    headlines = Counter(report[VERDICT].headline for report in reports)
    verdicts = join_list((f"{headline} ({plural(amount, 'run')})" for headline, amount in headlines.most_common()), 6)
    if not rows:
        return f"{verdicts}."
    differ = "differs" if differing == 1 else "differ"
    return f"{verdicts}. {differing:,} of {plural(len(rows), 'rule')} {differ} between the runs."


def _warnings(labels: list[str], reports: list[ReportModel]) -> list[str]:
    warnings = []
    if len({report[TARGET].dialect for report in reports}) > 1:
        warnings.append("The runs use different dialects. A rule can have another level in each, or be off.")
    plans = {run.header.plan for run in (report.run for report in reports) if run.verdicts}
    if len(plans) > 1:
        warnings.append("The runs use different plans, so one may have tested rules that another did not.")
    settings = [settings_of(report) for report in reports if report.get(LOAD)]
    if any(other != settings[0] for other in settings[1:]):
        warnings.append("The load settings differ, so the figures are not comparable.")
    for label, report in zip(labels, reports, strict=True):
        if partial := partial_reason(report.run):
            warnings.append(f"{label}: {uncapitalized(partial)}")
        load = report.get(LOAD)
        if load and load.verdict not in ("", "VALID"):
            warnings.append(f"{label}: the measurement is {load.verdict}.")
        if load and load.unsteady:
            warnings.append(f"{label}: the load was not steady, so its percentiles depend on its length.")
    return warnings


def _figures(reports: list[ReportModel]) -> list[tuple[str, list[FigureCell]]]:
    """Return the load figures as rows of a table; empty when no run has a load."""
    loads = [report.get(LOAD) for report in reports]
    if not any(loads):
        return []
    settings = [settings_of(report) for report in reports]
    names = list(dict.fromkeys(name for known in settings for name in known))
    figures = [(name, [FigureCell(known.get(name, ""), None) for known in settings]) for name in names]
    figures += [
        ("measurement", [FigureCell(load.verdict if load else "", None) for load in loads]),
        ("requests", [FigureCell(format_count(load.started) if load else "", None) for load in loads]),
        ("succeeded", _amounts([load.ok / load.started if load and load.started else None for load in loads], _share)),
        ("SLOs", [FigureCell(_objectives(load) if load else "", None) for load in loads]),
        ("goodput", _amounts([load.goodput if load else None for load in loads], _share)),
        ("successful requests/s", _amounts([load.rate if load else None for load in loads], format_rate)),
        ("output tokens/s", _amounts([load.tokens_rate if load else None for load in loads], format_rate)),
    ]
    for metric in rows_shown(Place.COMPARISON):
        if metric.name in SPEEDS:
            figures += _speeds(metric, [speed_of(report, metric.name) for report in reports])
            continue
        found = [latency_of(report, metric.name) for report in reports]
        if any(found):
            for p in metric.percentiles(Place.COMPARISON):
                amounts = _amounts([value_of(d.percentile(p)) if d else None for d in found], format_seconds)
                amounts = [_surely(amount, d, p) if d else amount for amount, d in zip(amounts, found, strict=True)]
                figures.append((f"{metric.label} p{p:g}", amounts))
            figures.append(
                (f"{metric.label} samples", [FigureCell(format_count(d.n) if d else "", None) for d in found])
            )
    return [(name, amounts) for name, amounts in figures if any(amount.text for amount in amounts)]


def _speeds(metric: Metric, found: list[Speed | None]) -> list[tuple[str, list[FigureCell]]]:
    """Return the percentiles of a speed as rows of a table, with the number of its values."""
    rows = []
    for p in metric.percentiles(Place.COMPARISON):
        amounts = _amounts([value_of(speed.percentile(p)) if speed else None for speed in found], format_rate)
        texts = [speed.percentile_text(p) if speed else "" for speed in found]
        rows.append(
            (f"{metric.label} p{p:g}", [cell._replace(text=text) for cell, text in zip(amounts, texts, strict=True)])
        )
    samples = [FigureCell(format_count(speed.n) if speed else "", None) for speed in found]
    return [*rows, (f"{metric.label} samples", samples)]


def _objectives(load: LoadSummary) -> str:
    limits = [objective for objective in load.objectives if objective.severity != "info"]
    if not limits:
        return ""
    return f"{load.limits_text} of {len(limits)}" if load.missed else f"all {len(limits)} met"


def _surely(amount: FigureCell, distribution: LatencyDistribution, p: float) -> FigureCell:
    """Add the 99 % upper bound of a percentile, or the number of samples that the bound or the percentile needs."""
    bound = distribution.bound(p)
    sure = ""
    if bound is not None and bound.bound is not None:
        sure = f"≤ {format_seconds(bound.bound)}"
    elif bound is not None and bound.needs:
        sure = f"needs {plural(bound.needs, 'sample')}"
    return amount._replace(text=distribution.percentile_text(p), sure=sure)


def _share(value: float | None) -> str:
    return "–" if value is None else format_percent(value, 1.0)


def _amounts(values: list[float | None], form: Callable[[float | None], str]) -> list[FigureCell]:
    top = max((value for value in values if value is not None), default=0.0)
    return [
        FigureCell("", None) if value is None else FigureCell(form(value), value / top if top > 0 else None)
        for value in values
    ]
