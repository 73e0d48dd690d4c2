"""The figures of a load that matter most: whether they are valid, how many requests succeeded, how fast."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rich.text import Text

from rejoinder.formatting import format_percent, format_rate, format_seconds, join_list, one_line, plural
from rejoinder.model.metrics import METRICS, TIMES, Place, rows_shown
from rejoinder.model.outcomes import (
    OUTCOMES,
    OutcomeCounts,
    RequestOutcome,
    bad_of,
    counted_of,
    good_of,
    judgeable_of,
    settled,
    unlimited_bad_of,
)
from rejoinder.model.runfile import Run
from rejoinder.model.samples import ChangeResult, LoadSample, Repeat, RequestSample, SearchStep
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.parts.latencies import Latencies
from rejoinder.reports.parts.objectives import PART as OBJECTIVES
from rejoinder.reports.parts.objectives import Objective, ObjectiveKind
from rejoinder.reports.parts.search import PART as SEARCH
from rejoinder.reports.parts.search.summary import describe_result
from rejoinder.reports.parts.steady_state import PART as STEADY_STATE
from rejoinder.reports.parts.timeline import PART as TIMELINE
from rejoinder.reports.terminal_text import wrap

MEASUREMENT: Final = {
    "VALID": "The load generator kept up. These figures describe the endpoint.",
    "SUSPECT": "The load generator was under pressure or lost data. Treat these figures as approximate.",
    "CLIENT-BOUND": "The load generator was the bottleneck. These figures do not describe the endpoint.",
}
"""What each verdict of the load generator's self-check means for the reader."""
_KEPT: Final = 0.9
_NEVER_ENDED: Final = (RequestOutcome.TIMEOUT, RequestOutcome.CENSORED)
"""Outcomes of requests that had every chance to end and did not."""
_SURE: Final = 0.05
_NUMBER: Final = re.compile(r"(?<!HTTP )(?<!\d)\d(?:[\d,.]*\d)?")
_MOST_OUTCOMES: Final = 4
_MOST_REASONS: Final = 2
_REMEDY: Final = "Use more --processes or a dedicated machine."


class OutcomeLine(NamedTuple):
    """One line of the ledger of outcomes; ``severity`` is that of its sign.

    ``reasons`` are the commonest details of its requests, with their counts where these are known.
    """

    outcome: str
    meaning: str
    amount: int
    good: bool
    severity: str
    reasons: str = ""

    @property
    def text(self) -> str:
        """How many requests had it, and why: ``18 transport: no connection ×18``."""
        return f"{self.amount:,} {self.outcome}{f': {self.reasons}' if self.reasons else ''}"


@dataclass(slots=True)
class LoadSummary:
    """What a report says of a load as a whole."""

    started: int
    counts: OutcomeCounts
    objectives: list[Objective]
    warnings: list[str]
    details: dict[RequestOutcome, str] = field(default_factory=dict)
    """The commonest details of the requests of an outcome."""
    ended_early: bool = False
    """Whether the run gave the requests in flight no time to end."""
    waited: float | None = None
    """The seconds that requests which never ended were waited for, at least."""
    whole: bool = True
    """Whether the run came to its end and wrote its totals."""
    verdict: str = ""
    reasons: list[str] = field(default_factory=list)
    duration: float | None = None
    rate: float | None = None
    """Successful requests per second."""
    tokens_rate: float | None = None
    """Output tokens of the same requests per second."""
    tokens_estimated: str = ""
    """The share of the output tokens that was estimated from the text, as ``50 % estimated``; empty where none was."""
    window: tuple[float, float] | None = None
    """The part of the run over which both were computed, in seconds from its start."""
    no_rates: str = ""
    """Why there is no such part, as a clause."""
    in_flight: float | None = None
    """The mean number of requests in flight in it."""
    concurrency: int | None = None
    """How many a closed loop was to keep in flight."""
    judged: tuple[int, int] | None = None
    """How many responses were checked against all rules, of how many that the rules apply to."""
    aborted: str = ""
    """Which condition ended the run early, in a sentence; empty where none did."""
    found_none: str = ""
    """That a search found no load that the endpoint sustained, in sentences; empty for others."""
    warmed_up: int = 0
    """Requests of the warm-up, which no other figure counts."""
    changes: list[tuple[str, float, bool]] = field(default_factory=list)
    """Significant changes against the other side, the largest first: figure, share, and whether it is worse."""
    compared: bool = False
    """Whether the run was compared with another."""
    unsteady: str = ""
    """Why the run was not in a steady state; empty where it was, or where that is not known."""
    unchecked: int = 0
    """Responses that were not checked against all rules, so that the number of successes is an estimate."""
    voided: float | None = 0.0
    """The estimated number of these that a broken rule voids; ``None`` where it cannot be known."""
    voided_most: int = 0
    """The greatest number of these with 99 % confidence."""
    goodput: float | None = None
    """Share of the started requests that succeeded within every limit; ``None`` where there is no limit."""

    @property
    def ok(self) -> int:
        """Requests that succeeded, where some responses were not checked an estimate, or those that were."""
        return good_of(self.counts) - (self.unchecked if self.voided is None else round(self.voided))

    @property
    def bad(self) -> int:
        """Requests that failed; those that the client cut off, or an early end of the run, are not among them."""
        return bad_of(settled(self.counts, ended_early=self.ended_early)) + round(self.voided or 0.0)

    @property
    def ledger(self) -> list[OutcomeLine]:
        """The requests by outcome."""
        answerable = settled(self.counts, ended_early=self.ended_early)
        return [
            OutcomeLine(
                outcome.value,
                row.meaning,
                self.counts.get(outcome, 0),
                row.good,
                "pass" if row.good else "fail" if row.bad and (outcome in answerable) else "none",
                self.details.get(outcome, ""),
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
        """Requests that failed in a way of which no SLO limits the share; such an SLO decides instead."""
        limited = {objective.share_of for objective in self.objectives}
        estimated = {RequestOutcome.NONCONFORMING: round(self.voided or 0.0)}
        settled_counts = settled(self.counts, ended_early=self.ended_early)
        return unlimited_bad_of(settled_counts, limited) + unlimited_bad_of(estimated, limited)

    @property
    def failure(self) -> str:
        """Why the run failed, apart from limits that were missed, in sentences; empty where it did not."""
        return f"{self.failed_text}." if self.intolerable else self.aborted or self.found_none

    @property
    def only_nonconforming(self) -> bool:
        """Whether all requests that failed did so because the response broke a MUST rule."""
        return 0 < self.bad == self.counts.get(RequestOutcome.NONCONFORMING, 0) + round(self.voided or 0.0)

    @property
    def tokens_text(self) -> str:
        """The rate of output tokens with its unit, and how many of them were estimated."""
        estimated = f" ({self.tokens_estimated})" if self.tokens_estimated else ""
        return f"{format_rate(self.tokens_rate)} output tokens/s{estimated}"

    @property
    def succeeded_text(self) -> str:
        """How many requests succeeded, and how many never ended, as a clause."""
        return "; ".join(filter(None, (self.good_text, self.unended_text)))

    @property
    def good_text(self) -> str:
        """How many requests succeeded, as a clause."""
        requests = plural(self.started, "request")
        if not self.unchecked:
            return f"{self.ok:,} of {requests} succeeded"
        if self.voided is None:
            return f"it cannot be known how many of {requests} succeeded"
        least = good_of(self.counts) - self.voided_most
        return f"about {self.ok:,} of {requests} succeeded (estimate, with 99 % confidence at least {least:,})"

    @property
    def unended_text(self) -> str:
        """How many requests never ended, and how long they were waited for; empty where all did."""
        if self.ended_early:
            cut = self.counts.get(RequestOutcome.CENSORED, 0)
            were = "was" if cut == 1 else "were"
            return f"{cut:,} {were} cut off when the run ended early" if cut else ""
        never = sum(self.counts.get(outcome, 0) for outcome in _NEVER_ENDED)
        longer = "" if self.waited is None else f" (longer than {format_seconds(self.waited)})"
        return f"{never:,} never ended{longer}" if never else ""

    @property
    def failed_text(self) -> str:
        """How many requests failed, as a clause."""
        if self.unended_text and not self.ended_early:
            return self.succeeded_text
        verb = "broke the contract" if self.only_nonconforming else "failed"
        about = "about " if round(self.voided or 0.0) else ""
        return f"{about}{self.bad:,} of {plural(self.started, 'request')} {verb}"

    @property
    def others_text(self) -> str:
        """The outcomes that are not good as a sentence; empty when there are none."""
        ranked = sorted(self.not_ok, key=lambda line: -line.amount)
        texts = [line.text for line in ranked[:_MOST_OUTCOMES]]
        if rest := sum(line.amount for line in ranked[_MOST_OUTCOMES:]):
            texts.append(f"{rest:,} others")
        return (
            f"Other outcomes: {('; ' if any(line.reasons for line in ranked) else ', ').join(texts)}." if texts else ""
        )

    @property
    def missed_text(self) -> str:
        """How many limits were missed, by kind: ``1 SLO missed, 1 SLO cannot be known, 2 regression limits exceeded``.

        Those of which cannot be known whether they are met are counted apart.
        """
        missed = Counter(None if objective.unknown else objective.kind for objective in self.missed)
        words = {
            ObjectiveKind.SLO: ("SLO missed", "SLOs missed"),
            None: ("SLO cannot be known", "SLOs cannot be known"),
            ObjectiveKind.CHANGE: ("regression limit exceeded", "regression limits exceeded"),
            ObjectiveKind.PROBE: ("disconnect probe failed", "disconnect probes failed"),
        }
        return ", ".join(plural(missed[kind], *words[kind]) for kind in words if missed[kind])

    @property
    def changes_text(self) -> str:
        """The largest significant changes, as a clause; empty for a run that was not compared."""
        if not self.compared:
            return ""
        parts = (f"{name} {100 * share:+,.0f} %".replace("-", "−") for name, share, _ in self.changes[:2])
        return ", ".join(parts) or "No significant change"

    @property
    def slower(self) -> bool:
        """Whether a figure got significantly worse."""
        return any(worse for _, _, worse in self.changes)

    @property
    def limits_title(self) -> str:
        """What the limits of the run are called."""
        kinds = {objective.kind for objective in self.objectives}
        return "SLOs" if kinds == {ObjectiveKind.SLO} else "Limits"

    @property
    def limits_text(self) -> str:
        """How the limits of the run ended, in a few words."""
        if self.missed:
            unknown = sum(objective.unknown for objective in self.missed)
            counts = {"missed": len(self.missed) - unknown, "unknown": unknown}
            return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
        return "all met" if self.limits_severity == "pass" else "none missed"

    @property
    def limits_severity(self) -> str:
        """The severity of the limits as a whole: ``pass`` where all were met beyond doubt."""
        if self.missed:
            return "fail"
        return "pass" if all(o.severity in ("pass", "info") for o in self.objectives) else "warn"

    @property
    def missed_sentence(self) -> str:
        """The limits that were missed, with what was measured, in sentences; empty when there are none."""
        missed = [f"{o.text} ({o.value})" if o.value != "–" else o.text for o in self.missed if not o.unknown]
        unknown = [f"{o.text} ({o.note if o.value == '–' else o.value})" for o in self.missed if o.unknown]
        sentences = (("Missed", missed), ("Cannot be known", unknown))
        return " ".join(f"{title}: {join_list(texts, 4)}." for title, texts in sentences if texts)

    @property
    def window_text(self) -> str:
        """The part of the run over which rates were computed, as a phrase, or why there is none."""
        if self.no_rates:
            return f"no rates: {self.no_rates}"
        if self.window is None:
            return ""
        return f"over {_clock(self.window[0])} to {_clock(self.window[1])}"

    @property
    def in_flight_text(self) -> str:
        """The mean number of requests in flight, as a sentence; empty where it is not known."""
        if self.in_flight is None:
            return ""
        asked = "" if self.concurrency is None else f" of {self.concurrency:,}"
        return f"{format_rate(self.in_flight)}{asked} requests were in flight on average."

    @property
    def kept(self) -> bool:
        """Whether a closed loop kept its concurrency, to a tenth."""
        return self.concurrency is None or self.in_flight is None or self.in_flight >= _KEPT * self.concurrency

    @property
    def caution(self) -> str:
        """What the reader must know of a measurement that is not valid, not steady or not checked."""
        valid = "" if self.verdict == "VALID" else MEASUREMENT.get(self.verdict, "")
        unknown = "No response was checked against all rules." if self.voided is None else ""
        return " ".join(filter(None, (unknown, self.unsteady, valid)))


def read(report: ReportModel) -> LoadSummary | None:
    """Return what the samples of the run say as a whole; ``None`` where there are none."""
    run, total = report.run, report.run.load
    if not run.samples:
        return None
    counts = _outcomes(run)
    load = LoadSummary(total.started if total else sum(counts.values()), counts, report.get(OBJECTIVES) or [], [])
    load.details = _details(run.samples_of(RequestSample), counts)
    if sum(counts.values()) != load.started:
        started = plural(load.started, "request was", "requests were")
        load.warnings.append(f"The outcomes add up to {sum(counts.values()):,}, but {started} started.")
    timeline, state = report.get(TIMELINE), report.get(STEADY_STATE)
    load.unsteady = state.headline if state and state.unsteady else ""
    if total is not None:
        _read_totals(load, total)
    else:
        load.whole = False
        ended = len(run.samples_of(SearchStep)) or len(run.samples_of(Repeat))
        covered = f"the {plural(ended, 'completed step')}" if ended else "what was written before that"
        load.warnings.append(f"The load run ended early and has no totals. The figures cover {covered}.")
        load.duration = timeline.end if timeline else None
        _estimate_voided(load)
        if load.duration:
            _read_rates(load, run.samples_of(RequestSample))
    return load


def _estimate_voided(load: LoadSummary) -> None:
    """Estimate how many unchecked responses a rule voids by the share of the checked ones.

    For runs without totals, and for runs of older versions, which counted all of them as good.
    """
    load.unchecked = load.voided_most = load.counts.get(RequestOutcome.UNJUDGED, 0)
    bad = load.counts.get(RequestOutcome.NONCONFORMING, 0)
    checked = bad + load.counts.get(RequestOutcome.OK, 0)
    if load.unchecked:
        load.voided = load.unchecked * bad / checked if checked else None


def _read_rates(load: LoadSummary, requests: Sequence[RequestSample]) -> None:
    """Compute the rates of a run without totals over the whole of it; sums of tokens are those of its request lines."""
    assert load.duration
    load.window = 0.0, load.duration
    load.rate = load.ok / load.duration
    good = [line for line in requests if line.outcome.row.good]
    tokens = sum((line.output_tokens or line.estimated_tokens or 0) * line.weight for line in good)
    load.tokens_rate = tokens / load.duration if tokens else None


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


def _details(requests: Iterable[RequestSample], counts: OutcomeCounts) -> dict[RequestOutcome, str]:
    """Return the commonest details of the requests of each outcome that is not good.

    Details that differ in their numbers only count as one. Counts are given where the run file has every request.
    """
    kinds: dict[RequestOutcome, dict[str, Counter[str]]] = {}
    for request in requests:
        if request.detail and not request.outcome.row.good:
            kind = _NUMBER.sub("…", request.detail)
            kinds.setdefault(request.outcome, {}).setdefault(kind, Counter())[request.detail] += request.weight
    found = {}
    for outcome, details in kinds.items():
        ranked = sorted(details.items(), key=lambda item: -item[1].total())
        whole = sum(details.total() for _, details in ranked) == counts.get(outcome, 0)
        texts = []
        for kind, literal in ranked[:_MOST_REASONS]:
            text = one_line(next(iter(literal)) if len(literal) == 1 else kind, 160).rstrip(".")
            texts.append(f"{text} ×{literal.total():,}" if whole and len(ranked) > 1 else text)
        rest = sum(literal.total() for _, literal in ranked[_MOST_REASONS:])
        found[outcome] = ", ".join([*texts, f"others ×{rest:,}"] if whole and rest else texts)
    return found


def _read_totals(load: LoadSummary, total: LoadSample) -> None:
    load.duration = total.issued
    load.ended_early = total.interrupted or bool(total.incomplete) or bool(total.aborted)
    load.waited = min((total.waited[outcome][0] for outcome in _NEVER_ENDED if outcome in total.waited), default=None)
    load.changes, load.compared = _changes(total.changes), bool(total.changes)
    load.aborted = one_line(total.aborted, 300)
    if total.search and total.search.kind != "sweep" and total.search.highest is None and not load.ended_early:
        load.found_none = one_line(describe_result(total.search), 400)
    load.warmed_up = total.warm_up.started if total.warm_up else 0
    load.rate, load.tokens_rate = total.rates.ok_per_s, total.rates.ok_output_tokens_per_s
    if total.tokens is not None and total.tokens.estimated:
        load.tokens_estimated = f"{format_percent(total.tokens.estimated, total.output_tokens)} estimated"
    load.window = total.window if total.window[1] > total.window[0] else None
    load.no_rates = one_line(total.no_rates, 200)
    load.in_flight = total.in_flight
    asked = total.settings.get("concurrency")
    load.concurrency = asked if total.mode == "closed" and isinstance(asked, int) and asked > 0 else None
    load.verdict = total.self_check.verdict.value
    load.reasons = [one_line(reason, 1000) for reason in total.self_check.reasons[:20]]
    load.unchecked = total.unjudged
    if total.unjudged:
        load.voided, load.voided_most = total.unjudged_voided, total.unjudged_voided_most
        if total.unjudged_voided is None and total.judged:  # a run of an older version
            _estimate_voided(load)
    applicable, counted = (
        judgeable_of(total.outcomes),
        counted_of(settled(total.outcomes, ended_early=load.ended_early)),
    )
    if total.judged <= applicable and applicable:
        load.judged = total.judged, applicable
    if total.limits and 0 < counted >= total.good:
        load.goodput = total.good / counted


def _clock(seconds: float) -> str:
    """Return a time of the run, to a millisecond in the first second, else to a tenth of a second."""
    if seconds < 0.0005:
        return "0 s"
    return f"{seconds:.3f} s" if seconds < 1 else f"{seconds:,.1f} s"


def _changes(results: list[ChangeResult]) -> list[tuple[str, float, bool]]:
    """Return the significant changes, the largest first."""
    found = []
    for result in results:
        metric, _, statistic = result.figure.partition(":")
        row = METRICS.get(metric)
        if row is None or result.change is None or result.p is None or result.p > _SURE or result.change <= -1:
            continue
        name = f"{row.label} {statistic}" if metric in TIMES else row.label
        found.append((name, result.change, (result.change < 0) == row.higher_is_better))
    return sorted(found, key=lambda change: -abs(math.log1p(change[1])))


def page_values(load: LoadSummary, report: ReportModel) -> dict[str, Any]:
    """Return the percentiles at the top of the page, and what the verdict on the measurement means."""
    meaning = [MEASUREMENT.get(load.verdict, ""), _REMEDY if load.verdict == "CLIENT-BOUND" else ""]
    search = report.get(SEARCH)
    return {
        "headlines": _headlines(report.get(LATENCIES)),
        "meaning": " ".join(filter(None, meaning)),
        "chosen": search.chosen if search else "",
    }


def load_figures(load: LoadSummary, latencies: Latencies | None) -> list[str]:
    """Return the rates and the percentiles that matter most, as text, such as ``TTFT p50 8 ms``."""
    rates = [f"{format_rate(load.rate)} successful requests/s"] if load.rate else []
    figures = [*rates, *([load.tokens_text] if load.tokens_rate else [])]
    return [*figures, *(f"{title} {value}" for title, value in _headlines(latencies, known=True)[:2])]


def _headlines(latencies: Latencies | None, *, known: bool = False) -> list[tuple[str, str]]:
    """Return the percentiles at the top of the page, as titles and text; only ``known`` ones, or what others need."""
    found = []
    for metric in rows_shown(Place.HEADLINE):
        distribution = latencies.find(metric.name) if latencies else None
        if distribution is not None:
            percents = metric.percentiles(Place.HEADLINE)
            shown = [p for p in percents if not known or distribution.percentile(p) is not None]
            found += [(f"{metric.label} p{p:g}", distribution.percentile_text(p)) for p in shown]
    return found


def markdown(load: LoadSummary, report: ReportModel, room: int) -> list[str]:
    """Return the figures that matter most."""
    reasons = "".join(f"; {escape(reason)}" for reason in load.reasons)
    window = escape(load.window_text) if load.no_rates else load.window_text
    verdict = f"**{escape(load.verdict)}**{reasons} · " if load.verdict else ""
    figures = (
        f"{verdict}{load.good_text} ({format_percent(load.ok, load.started)})"
        f" · {format_rate(load.rate)} successful requests/s · {load.tokens_text}"
        f"{f' ({window})' if window else ''}"
    )
    figures += f" · {escape(load.in_flight_text)}" if load.in_flight_text and not load.kept else ""
    others = [escape(load.others_text), ""] if load.others_text and report.rules else []  # else the verdict has it
    return ["### Load", "", figures, "", *others]


def terminal(load: LoadSummary, report: ReportModel, width: int) -> list[Text]:
    """Return the figures that matter most."""
    verdict = f"{load.verdict}  " if load.verdict else ""
    search = report.get(SEARCH)
    at = f"{search.chosen}: " if search and search.chosen else ""
    tokens = f", {load.tokens_text}" if load.tokens_rate is not None else ""
    rate = f", {format_rate(load.rate)}/s" if load.rate is not None else ""
    text = f"{at}{load.good_text}{rate}{tokens}"
    room = max(20, width - 8)
    first, *more = textwrap.wrap(text, room, initial_indent=" " * len(verdict), break_on_hyphens=False)
    head = Text("  load  ", "bold")
    head.append(verdict, "bold green" if load.verdict == "VALID" else "bold yellow")
    head.append(first[len(verdict) :])
    lines = [Text(), head, *(Text(f"        {line}") for line in more)]
    if load.window_text:
        lines += wrap(
            f"Rates {load.window_text}." if load.window else f"{load.window_text.capitalize()}.", width, " " * 6
        )
    for reason in load.reasons:
        lines += wrap(reason, width, " " * 6, "yellow")
    if load.warmed_up:
        lines += wrap(f"Not counted: {plural(load.warmed_up, 'request')} of the warm-up.", width, " " * 6)
    if not load.kept:
        lines += wrap(load.in_flight_text, width, " " * 6, "yellow")
    if load.others_text and report.rules:  # else the verdict has it
        lines += wrap(load.others_text, width, " " * 6, "yellow")
    return lines


PART: Final = Part(
    __name__, Area.LOAD, 200, read, nav="Load", markdown=markdown, terminal=terminal, page_values=page_values
)
