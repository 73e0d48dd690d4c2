"""The SLOs, regression limits and disconnect probes of a load run: limit, measured value, margin, confidence."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final, NamedTuple

from rejoinder.formatting import format_count, join_list, one_line, plural
from rejoinder.model.metrics import METRICS, format_change_figure, missing_of
from rejoinder.model.samples import ChangeResult, ProbeSample, SloResult
from rejoinder.reports.markdown_text import code, escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.latencies import estimate_text
from rejoinder.reports.parts.repeats import PART as REPEATS
from rejoinder.reports.rules import Severity

SCALE: Final = 2.0
"""A bar of an objective ends at this multiple of its limit, so the limit stands in its middle."""
_MOST: Final = 40
_DEPENDS: Final = "depends on the length of the run, because the queue grew"
_RELATION: Final = re.compile("[<>]=?")


class ObjectiveKind(StrEnum):
    """What a limit is about: a figure of the run, a change against a baseline, or the endpoint after a disconnect."""

    SLO = "slo"
    CHANGE = "change"
    PROBE = "probe"


class Objective(NamedTuple):
    """One limit. ``severity`` says how it is shown: ``pass``, ``warn`` (met, uncertain), ``fail`` or ``info``.

    ``at`` and ``bound_at`` are the measured value and its bound in percent of a bar with the limit at 50.
    ``share_of`` is the metric of an SLO on a share of the requests, which limits how many of them may fail. ``unknown``
    marks one of which cannot be known whether it is met.
    """

    text: str
    severity: str
    verdict: str
    limit: str
    value: str
    margin: str
    n: str
    bound: str
    note: str
    at: float | None = None
    bound_at: float | None = None
    kind: ObjectiveKind = ObjectiveKind.SLO
    share_of: str = ""
    unknown: bool = False

    @property
    def summary(self) -> str:
        """All of it but its text, in one line: ``met: 19.7 ms (limit at most 300 ms; 93 % to spare; 63 samples)``."""
        if self.kind is ObjectiveKind.PROBE:
            return f"{self.verdict}: {self.note}" if self.note else self.verdict
        noun = "repeats" if self.kind is ObjectiveKind.CHANGE else "sample" if self.n == "1" else "samples"
        samples = "" if self.n == "–" else f"{self.n} {noun}"
        bound = "" if self.bound == "–" else self.bound.replace("needed", "needed for 99 % confidence")
        details = "; ".join(filter(None, (f"limit {self.limit}", self.margin, self.note, samples, bound)))
        return f"{self.verdict}{'' if self.value == '–' else f': {self.value}'} ({details})"


def read(report: ReportModel) -> list[Objective] | None:
    """Return the SLOs of the run, its regression limits and its disconnect probes."""
    total = report.run.load
    objectives = [_objective(result, report) for result in total.slos[:_MOST]] if total else []
    changes = [_change(change) for change in total.changes[:_MOST]] if total else []
    probes = [_probe(probe) for probe in report.run.samples_of(ProbeSample)[:_MOST]]
    return [*objectives, *changes, *probes] or None


def _objective(result: SloResult, report: ReportModel) -> Objective:
    text = one_line(result.text, 120)
    match = _RELATION.search(text)
    at_most = match is None or match[0].startswith("<")

    value = result.value_text("≥ ")
    sure = "–" if result.bound is None else f"{'≤' if at_most else '≥'} {result.text_of(result.bound)}"
    because = result.open_because(one_line(report.run.load.no_rates, 200) if report.run.load else "")
    severity, verdict, note = _verdict(result, because)
    notes = [note, estimate_text(report, METRICS.get(result.metric)), _DEPENDS if result.depends_on_length else ""]
    if result.limits:
        notes.append(f"limits for each request: {join_list(map(one_line, result.limits), 4)}")
    if result.repeats_met is not None:
        notes.append(f"met in {plural(result.repeats_met, 'repeat')}")
    if result.unjudged and result.value is not None:
        unchecked = plural(result.unjudged, "response was", "responses were")
        notes.append(f"estimate: {unchecked} not checked against all rules")
    return Objective(
        text=text,
        severity=severity,
        verdict=verdict,
        limit=f"{'at most' if at_most else 'at least'} {result.text_of(result.limit)}",
        value=value,
        margin="" if result.met is None or because else _margin(result.value, result.limit, at_most),
        n=format_count(result.n),
        bound=sure if result.needs is None else f"{plural(result.needs, 'sample')} needed",
        note="; ".join(filter(None, notes)),
        at=_place(result.value, result.limit),
        bound_at=_place(result.bound, result.limit) if result.needs is None else None,
        share_of=result.metric if result.statistic == "share" else "",
        unknown=bool(because),
    )


_CHANGES: Final = {
    "worse": ("fail", "regressed", ""),
    "better": ("pass", "improved", ""),
    "kept": ("pass", "within the limit", ""),
    "unclear": ("warn", "inconclusive", "too few repeats, or too much variation between them"),
}


def _change(change: ChangeResult) -> Objective:
    severity, verdict, note = _CHANGES[change.verdict]
    before, after = (format_change_figure(change.figure, value) for value in (change.before, change.after))
    p = change.p
    return Objective(
        text=one_line(change.text, 120),
        severity=severity,
        verdict=verdict,
        limit=_share(change.limit),
        value="–" if change.change is None else _share(change.change),
        margin="" if change.change is None else f"{before} to {after}",
        n=" and ".join(map(format_count, change.n)),
        bound="–" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}",
        note=note,
        kind=ObjectiveKind.CHANGE,
    )


_PROBES: Final = {
    "pass": ("pass", "passed"),
    "warn": ("warn", "warning"),
    "fail": ("fail", "failed"),
    "unclear": ("warn", "inconclusive"),
}


def _probe(probe: ProbeSample) -> Objective:
    severity, verdict = _PROBES[probe.verdict]
    name, text = one_line(probe.name, 60), one_line(probe.text, 400)
    return Objective(
        f"disconnect probe: {name}", severity, verdict, "–", "–", "", "–", "–", text, kind=ObjectiveKind.PROBE
    )


def _share(value: float) -> str:
    text = f"{100 * value:+.1f} %".replace("-", "−")
    return text[1:] if text[1:] == "0.0 %" else text


def _verdict(result: SloResult, because: str) -> tuple[str, str, str]:
    """Return the severity, the word and a note for the result of an SLO; ``because``: why it cannot be known."""
    if result.met is None:
        return "info", "per request", "counted in goodput"
    if because:
        return "fail", "cannot be known", because
    if not result.met:
        unended = f"{result.unended:,} without an end" if result.at_least else ""
        return "fail", "missed", missing_of(result.metric) if result.value is None else unended
    if result.needs is not None or (result.depends_on_length and result.certified is not False):
        return "warn", "met, uncertain", ""
    if result.certified is False:
        unbound = "no 99 % bound: too many requests have no end"
        return "warn", "met, uncertain", unbound if result.bound is None else "the 99 % bound is beyond the limit"
    return "pass", "met", "" if result.certified else "no confidence bound"


def _margin(value: float | None, limit: float | None, at_most: bool) -> str:
    """Return how far the value is from its limit, on which side."""
    if value is None or limit is None or limit <= 0:
        return ""
    share = (limit - value if at_most else value - limit) / limit
    if value >= 10 * limit:
        return f"{value / limit:,.0f} × the limit"
    size = f"{abs(share):.0%}".replace("%", " %") if abs(share) >= 0.01 or not share else "< 1 %"
    return f"{size} {'to spare' if share >= 0 else 'over' if at_most else 'short'}"


def _place(value: float | None, limit: float | None) -> float | None:
    if value is None or limit is None or limit <= 0:
        return None
    return 100 * min(max(value / limit, 0.0), SCALE) / SCALE


def page_values(objectives: list[Objective], report: ReportModel) -> dict[str, Any]:
    """Return the limits by kind, and the repeats that changes are drawn from."""
    return {
        "limits": [objective for objective in objectives if objective.kind is ObjectiveKind.SLO],
        "changes": [objective for objective in objectives if objective.kind is ObjectiveKind.CHANGE],
        "probes": [objective for objective in objectives if objective.kind is ObjectiveKind.PROBE],
        "repeats": report.get(REPEATS),
    }


def markdown(objectives: list[Objective], report: ReportModel, room: int) -> list[str]:
    """Return a table of all of them."""
    lines = [
        "| | Limit on | Result | Measured | Limit | Samples | 99 % bound or p |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for objective in objectives[:20]:
        note = f" ({objective.note})" if objective.unknown or _DEPENDS in objective.note else ""
        cells = [f"{objective.verdict}{note}", objective.value, objective.limit, objective.n, objective.bound]
        emoji = Severity(objective.severity).emoji
        lines.append(f"| {emoji} | {code(objective.text)} | " + " | ".join(map(escape, cells)) + " |")
    return [*lines, ""]


PART: Final = Part(__name__, Area.LOAD, 210, read, markdown=markdown, page_values=page_values)
