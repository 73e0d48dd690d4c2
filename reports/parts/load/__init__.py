"""The figures of a load that matter most: whether they are valid, how many requests, how well, how fast."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rich.text import Text

from rejoinder.formatting import format_count, format_percent, format_rate, one_line, plural
from rejoinder.model.metrics import Metric, Place, times_shown
from rejoinder.model.outcomes import OUTCOMES, OutcomeCounts, RequestOutcome, bad_of, counted_of, good_of, judgeable_of
from rejoinder.model.runfile import Run
from rejoinder.model.samples import LoadSample, Repeat, RequestSample, SearchStep
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.parts.latencies import Latencies
from rejoinder.reports.parts.objectives import PART as OBJECTIVES
from rejoinder.reports.parts.objectives import Objective
from rejoinder.reports.parts.timeline import PART as TIMELINE

MEASUREMENT: Final = {
    "VALID": "The generator found nothing in itself that may have bent the figures.",
    "SUSPECT": "The generator may have bent the figures, or some of them are missing:",
    "CLIENT-BOUND": "The generator was the limit: the figures say nothing about the endpoint. "
    "Give it more processes, or a machine of its own.",
}
"""What each verdict of the generator on itself means for the reader."""


class OutcomeLine(NamedTuple):
    """One line of the ledger of outcomes; ``severity`` is that of its sign."""

    outcome: str
    meaning: str
    amount: int
    good: bool
    severity: str


@dataclass(slots=True)
class LoadSummary:
    """What a report says of a load as a whole."""

    started: int
    counts: OutcomeCounts
    objectives: list[Objective]
    warnings: list[str]
    whole: bool = True
    """Whether the run came to its end and wrote its totals."""
    verdict: str = ""
    reasons: list[str] = field(default_factory=list)
    duration: float | None = None
    rate: float | None = None
    tokens_rate: float | None = None
    judged: tuple[int, int] | None = None
    """How many answers the rules judged, of how many that they apply to."""
    goodput: float | None = None
    """Share of the started requests that ended well and kept every limit; ``None`` where there is no limit."""

    @property
    def ok(self) -> int:
        """Requests that succeeded."""
        return good_of(self.counts)

    @property
    def bad(self) -> int:
        """Requests that ended badly; those that the client or the end of the run cut off are not among them."""
        return bad_of(self.counts)

    @property
    def ledger(self) -> list[OutcomeLine]:
        """The requests by outcome."""
        return [
            OutcomeLine(
                outcome.value,
                row.meaning,
                self.counts.get(outcome, 0),
                row.good,
                "pass" if row.good else "fail" if row.bad else "na",
            )
            for outcome, row in OUTCOMES.items()
            if self.counts.get(outcome) or outcome is RequestOutcome.OK
        ]

    @property
    def not_ok(self) -> list[OutcomeLine]:
        """The outcomes that are not good."""
        return [line for line in self.ledger if not line.good]

    @property
    def missed(self) -> list[Objective]:
        """The objectives, limits of changes among them, that were not met."""
        return [objective for objective in self.objectives if objective.severity == "fail"]

    @property
    def intolerable(self) -> int:
        """Requests that ended badly where no objective says how many may; such an objective decides instead."""
        return 0 if any(objective.of_share for objective in self.objectives) else self.bad


def read(report: ReportModel) -> LoadSummary | None:
    """Return what the samples of the run say as a whole; ``None`` where there are none."""
    run, total = report.run, report.run.load
    if not run.samples:
        return None
    counts = _outcomes(run)
    load = LoadSummary(total.started if total else sum(counts.values()), counts, report.get(OBJECTIVES) or [], [])
    if sum(counts.values()) != load.started:
        load.warnings.append(
            f"The outcomes add up to {sum(counts.values()):,}, but {load.started:,} requests were started."
        )
    timeline = report.get(TIMELINE)
    if total is None:
        load.whole = False
        ended = len(run.samples_of(SearchStep)) or len(run.samples_of(Repeat))
        covered = f"are of the {plural(ended, 'step')} that had ended" if ended else "cover only what was written"
        load.warnings.append(f"The load run has no totals: it ended early, so its figures {covered}.")
        load.duration = timeline.end if timeline else None
    else:
        _read_totals(load, total)
    if load.rate is None and load.duration:
        load.rate = load.ok / load.duration
    if load.tokens_rate is None and load.duration and timeline and any(point.tokens for point in timeline.points):
        load.tokens_rate = sum(point.tokens for point in timeline.points) * timeline.step / load.duration
    return load


def _outcomes(run: Run) -> OutcomeCounts:
    """Return how requests ended; without totals those of the steps that had ended, else of the request lines."""
    if run.load is not None:
        return run.load.outcomes
    counts: Counter[RequestOutcome] = Counter()
    steps: list[SearchStep | Repeat] = [*run.samples_of(SearchStep), *run.samples_of(Repeat)]
    for step in steps:
        counts.update(step.outcomes)
    if not counts:
        for request in run.samples_of(RequestSample):
            counts[request.outcome] += request.weight
    return counts


def _read_totals(load: LoadSummary, total: LoadSample) -> None:
    load.duration = total.issued
    load.rate, load.tokens_rate = total.rates.ok_per_s, total.rates.output_tokens_per_s
    load.verdict = total.self_check.verdict.value
    load.reasons = [one_line(reason, 300) for reason in total.self_check.reasons[:8]]
    applicable, counted = judgeable_of(total.outcomes), counted_of(total.outcomes)
    if total.judged <= applicable and applicable:
        load.judged = total.judged, applicable
    if total.limits and 0 < counted >= total.good:
        load.goodput = total.good / counted


def page_values(load: LoadSummary, report: ReportModel) -> dict[str, Any]:
    """Return the percentiles at the top of the page, and what the verdict on the measurement means."""
    return {"headlines": _headlines(report.get(LATENCIES)), "meaning": MEASUREMENT.get(load.verdict, "")}


def _headlines(latencies: Latencies | None) -> list[tuple[str, str]]:
    """Return the percentiles at the top of the page, as titles and text."""
    found = []
    for metric in times_shown(Place.HEADLINE):
        distribution = latencies.find(metric.name) if latencies else None
        if distribution is not None:
            found += [(_title(metric, p), distribution.percentile_text(p)) for p in metric.percentiles(Place.HEADLINE)]
    return found


def _title(metric: Metric, percent: float) -> str:
    name = metric.short or metric.title
    return f"{name[:1].upper()}{name[1:]} p{percent:g}"


def markdown(load: LoadSummary, report: ReportModel, room: int) -> list[str]:
    """Return the figures that matter most."""
    reasons = "".join(f"; {escape(reason)}" for reason in load.reasons[:3])
    verdict = f"**{escape(load.verdict)}**{reasons} · " if load.verdict else ""
    figures = (
        f"{verdict}{format_count(load.started)} requests, {format_percent(load.ok, load.started)} ok"
        f" · {format_rate(load.rate)} ok/s · {format_rate(load.tokens_rate)} output tok/s"
    )
    bad = [f"{escape(line.outcome)} {line.amount:,}" for line in load.not_ok]
    return ["### Load", "", figures, "", *([f"Not ok: {', '.join(bad[:12])}", ""] if bad else [])]


def terminal(load: LoadSummary, report: ReportModel, width: int) -> list[Text]:
    """Return the figures that matter most."""
    head = Text("  load  ", "bold")
    if load.verdict:
        head.append(f"{load.verdict}  ", "bold green" if load.verdict == "VALID" else "bold yellow")
    head.append(
        f"{format_count(load.started)} requests, {format_percent(load.ok, load.started)} ok"
        f", {format_rate(load.rate)} ok/s"
        + (f", {format_rate(load.tokens_rate)} output tok/s" if load.tokens_rate is not None else "")
    )
    lines = [Text(), head, *(Text(f"        {reason}", "yellow") for reason in load.reasons[:2])]
    bad = [f"{line.outcome} {line.amount:,}" for line in load.not_ok]
    return [*lines, Text(f"        not ok: {', '.join(bad[:6])}", "yellow")] if bad else lines


PART: Final = Part(
    __name__, Area.LOAD, 200, read, nav="Load", markdown=markdown, terminal=terminal, page_values=page_values
)
