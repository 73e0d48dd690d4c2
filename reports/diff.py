"""Two runs compared: which findings are new, still there, fixed or not tested again, and how figures changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from rejoinder.formatting import format_count, format_percent, format_rate, join_list, plural, uncapitalized, value_of
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import SPEEDS, Metric, Place, rows_shown
from rejoinder.model.runfile import Run
from rejoinder.reports.model import ReportModel, read_report
from rejoinder.reports.parts.latencies import LatencyDistribution, latency_of
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.load import LoadSummary
from rejoinder.reports.parts.speeds import Speed, speed_of
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.rules import JUDGED, Anchors, ReportedFinding, ReportedRule, Severity, partial_reason
from rejoinder.reports.side_by_side import settings_of
from rejoinder.reports.statistics import Comparison, fisher, mann_whitney


class Change(StrEnum):
    """The state of a finding in the second of two runs, the worst first."""

    NEW = "new"
    FIRST = "first"
    STILL = "still"
    GONE = "gone"
    FIXED = "fixed"
    CHANGED = "changed"


CHANGES: Final = {
    Change.NEW: ("fail", "new", "New", "Not found in the first run."),
    Change.FIRST: ("warn", "first tested", "First tested", "The first run did not send the cases that show it."),
    Change.STILL: ("warn", "still failing", "Still failing", "Found in both runs."),
    Change.GONE: (
        "untested",
        "not tested again",
        "Not tested again",
        "The second run did not test the rule or its cases.",
    ),
    Change.FIXED: ("pass", "fixed", "Fixed", "The second run tested the rule on its cases and did not find it."),
    Change.CHANGED: ("info", "verdict changed", "Verdict changed", "The rule has another verdict in the second run."),
}
"""For each kind: its sign, the word in counts, the title of its part, and what it means."""
SURE: Final = 0.01
_LOADS: Final = ("mode", "concurrency", "rate", "arrivals", "max_output_tokens")
"""The settings of a load without which its figures cannot be compared."""
_FALLEN: Final = 0.1
"""By how much a rate, of which each run has one value, must have fallen before a difference is called one."""
SMALL: Final = 0.05
"""By how much the median must have changed before a difference is called one."""
CAVEAT: Final = (
    "A small p-value shows that the two runs differ, not why: requests of one run share the state of machine and "
    "network. Repeat both runs before acting on a difference."
)


class RuleChange(NamedTuple):
    """One rule in both runs; a side is ``None`` where the run does not have it. ``kinds`` says what changed."""

    id: str
    anchor: str
    rule: ReportedRule
    before: ReportedRule | None
    after: ReportedRule | None
    kinds: tuple[Change, ...]

    @property
    def changed(self) -> bool:
        """Whether the verdict is another one."""
        return Change.CHANGED in self.kinds


class FigureChange(NamedTuple):
    """One figure of the load in both runs, as text; ``severity`` says whether it got better or worse beyond doubt."""

    name: str
    before: str
    after: str
    change: str = ""
    statement: str = ""
    severity: Severity = Severity.NONE
    ratio: float | None = None
    """The relative change, where it is large enough to be named in the headline."""
    is_rate: bool = False


@dataclass(slots=True)
class Diff:
    """What changed from one run to another."""

    before: ReportModel
    after: ReportModel
    groups: dict[Change, list[ReportedRule]]
    rules: list[RuleChange]
    figures: list[FigureChange]
    notes: list[str]
    new_failures: list[str] = field(default_factory=list)
    severity: Severity = Severity.NONE
    headline: str = ""
    sentence: str = ""

    @property
    def counts(self) -> dict[Change, int]:
        """How many findings there are of each kind, and rules whose verdict changed."""
        counts = {kind: sum(len(rule.findings) for rule in rules) for kind, rules in self.groups.items()}
        counts[Change.CHANGED] = sum(rule.changed for rule in self.rules)
        return counts


def diff_runs(before: Run, after: Run) -> Diff:
    """Return what changed from one run to a later one. Findings are the same when their fingerprints are.

    ``new_failures`` names what fails now and did not before: findings of broken MUST rules, rules that are now broken
    without a new finding, and a load that ended badly for the first time. What a baseline expects in the later run is
    no failure; what it expected in the earlier one was found before, so that it is none that is new.
    """
    anchors = Anchors()
    old, new = read_report(before, anchors), read_report(after, anchors)
    once = {rule.id: rule for rule in old.rules}
    now = {rule.id: rule for rule in new.rules}
    cases = set(after.header.cases) or None
    groups: dict[Change, list[ReportedRule]] = {kind: [] for kind in Change if kind is not Change.CHANGED}
    changes = []
    own = Anchors()
    for name in sorted(once.keys() | now.keys()):
        earlier, later = once.get(name), now.get(name)
        kinds = _sort_findings(groups, earlier, later, cases, old)
        if earlier and later and earlier.severity is not later.severity:
            kinds.append(Change.CHANGED)
        rule = later or earlier
        assert rule is not None
        changes.append(RuleChange(name, own.take("d-", name), rule, earlier, later, tuple(kinds)))
    for rules in groups.values():
        rules.sort(
            key=lambda rule: (rule.severity is not Severity.FAIL, rule.severity is not Severity.WARN, -rule.occurrences)
        )
    diff = Diff(old, new, groups, changes, _figures(old, new), _notes(old, new))
    diff.new_failures = _failures(diff)
    _verdict(diff)
    return diff


def _sort_findings(
    groups: dict[Change, list[ReportedRule]],
    earlier: ReportedRule | None,
    later: ReportedRule | None,
    cases: set[str] | None,
    old: ReportModel,
) -> list[Change]:
    """Add the findings of one rule to their groups; return the kinds that there were.

    ``cases`` are those of the second run's plan, ``old`` is the first run.
    """
    once, now = _by_fingerprint(earlier), _by_fingerprint(later)
    judged = later is not None and later.severity in JUDGED
    sorted_out: dict[Change, list[ReportedFinding]] = {}
    for mark, finding in now.items():
        new = Change.NEW if _was_sent(finding, earlier, old) else Change.FIRST
        sorted_out.setdefault(Change.STILL if mark in once else new, []).append(finding)
    for mark, finding in once.items():
        if mark not in now:
            ran = cases is None or not finding.finding.cases or bool(cases.intersection(finding.finding.cases))
            sorted_out.setdefault(Change.FIXED if judged and ran else Change.GONE, []).append(finding)
    for kind, findings in sorted_out.items():
        rule = later if kind in (Change.NEW, Change.FIRST, Change.STILL) else earlier
        assert rule is not None
        groups[kind].append(replace(rule, findings=findings))
    return [kind for kind in Change if kind in sorted_out]


def _was_sent(finding: ReportedFinding, earlier: ReportedRule | None, old: ReportModel) -> bool:
    """Return whether the first run sent what shows a finding of the second, so that it would have found it as well."""
    if earlier is None and old.rules:  # its selection or its version of the rules leaves the rule out
        return False
    tested = earlier is not None and earlier.severity in JUDGED
    if old.run.incomplete and not tested:
        return False
    planned = old.run.header.cases
    return not planned or not finding.finding.cases or any(case in planned for case in finding.finding.cases)


def _by_fingerprint(rule: ReportedRule | None) -> dict[str, ReportedFinding]:
    """Return the findings by fingerprint; of one that is known in some cases only, the part that is not."""
    found: dict[str, ReportedFinding] = {}
    for finding in rule.findings if rule else ():  # the unexpected come first
        found.setdefault(finding.finding.fingerprint, finding)
    return found


def _failures(diff: Diff) -> list[str]:
    failures = [
        f"{rule.id} {finding.message}"
        for rule in diff.groups[Change.NEW]
        if rule.severity is Severity.FAIL
        for finding in rule.findings
        if not finding.known
    ]
    for change in diff.rules:
        was = change.before.severity if change.before else Severity.NONE
        fails = change.after is not None and change.after.severity is Severity.FAIL
        broken = fails and was not in (Severity.FAIL, Severity.KNOWN)
        if broken and not {Change.NEW, Change.FIRST}.intersection(change.kinds):
            failures.append(f"{change.id} failed. Previous verdict: {was.word}.")
    load = diff.after.get(LOAD)
    before = diff.before.get(LOAD)
    if load and load.intolerable and not (before and before.intolerable):
        failures.append(f"Under load, {load.failed_text}.")
    once = {objective.text for objective in before.missed} if before else set()
    if load:
        missed = [objective for objective in load.missed if objective.text not in once]
        failures += [f"Newly missed: {objective.text}, {objective.summary}." for objective in missed]
    return failures


def _verdict(diff: Diff) -> None:
    counts = diff.counts
    changed = counts[Change.CHANGED]
    checked = any(rule.after and rule.after.severity in JUDGED for rule in diff.rules)
    load = diff.after.get(LOAD)
    amounts = [f"{counts[kind]:,} {CHANGES[kind][1]}" for kind in Change if counts[kind] and kind is not Change.CHANGED]
    sentences = [
        f"Findings: {', '.join(amounts)}." if amounts else "No findings in either run.",
        f"The verdict on {plural(changed, 'rule')} changed." if changed else "No verdict changed.",
    ]
    if diff.new_failures:
        diff.severity, diff.headline = Severity.FAIL, plural(len(diff.new_failures), "new failure")
    elif not checked and load is None:
        diff.severity, diff.headline = Severity.ERROR, "Nothing to compare"
        sentences = ["The second run has no verdicts and no measurements."]
    elif counts[Change.NEW]:
        diff.severity, diff.headline = Severity.WARN, "No new failures, but new findings"
    elif counts[Change.FIRST]:
        found = plural(counts[Change.FIRST], "finding")
        diff.severity, diff.headline = Severity.WARN, f"No new failures, {found} in cases that only the second run sent"
    elif counts[Change.FIXED]:
        diff.severity, diff.headline = Severity.PASS, f"{plural(counts[Change.FIXED], 'finding')} fixed, none new"
    else:
        diff.severity, diff.headline = Severity.PASS, "No new findings"
    if not diff.rules and load is not None:  # two loads and nothing else
        times = [figure for figure in diff.figures if figure.ratio is not None and figure.severity is not Severity.NONE]
        rates = [figure for figure in diff.figures if figure.ratio is not None and figure.severity is Severity.NONE]
        times.sort(key=_size, reverse=True)
        named = [*times[:1], *rates[-1:]]
        if not diff.new_failures:
            differs = _loads_differ(diff)
            diff.headline = f"Not comparable: {differs}" if differs else _moved(named) or "No significant change"
            diff.severity = Severity.WARN if differs or _is_slower(diff) else Severity.PASS
            named = [] if differs else named
        others = [figure for figure in (*times, *rates) if diff.new_failures or figure not in named]
        sentences = [*diff.new_failures[:3], f"{_moved(others[:6])}." if others else "", _slo_states(diff)]
    elif load is not None and diff.severity is Severity.PASS and _is_slower(diff):
        moved = [figure for figure in diff.figures if figure.ratio is not None]
        diff.severity = Severity.WARN
        diff.headline += (
            f", but under load {_moved(sorted(moved, key=_size, reverse=True)[:1]) or 'more requests failed'}"
        )
    diff.sentence = " ".join(filter(None, sentences))


def _size(figure: FigureChange) -> float:
    """Return how large a change is: twice as much is as large as half as much."""
    return abs(math.log(max(1 + (figure.ratio or 0.0), 1e-9)))


def _is_slower(diff: Diff) -> bool:
    """Return whether a figure of the load got worse beyond the noise."""
    return any(
        figure.severity in (Severity.WARN, Severity.FAIL)
        or (figure.severity is Severity.NONE and figure.is_rate and (figure.ratio or 0.0) <= -_FALLEN)
        for figure in diff.figures
    )


def _loads_differ(diff: Diff) -> str:
    """Return the settings without which two loads cannot be compared, with both values; empty where they are equal."""
    was, now = settings_of(diff.before), settings_of(diff.after)
    if diff.before.get(LOAD) is None or diff.after.get(LOAD) is None:
        return ""
    texts = [
        f"{name} {was.get(name) or 'none'} before, {now.get(name) or 'none'} after"
        for name in _LOADS
        if was.get(name) != now.get(name)
    ]
    return "; ".join(texts[:2])


def _moved(figures: Sequence[FigureChange]) -> str:
    """Return how figures changed: ``TTFT p50 rose 749 %, output tokens/s fell 51 %``; empty when there are none."""
    clauses = []
    for figure in figures:
        name = uncapitalized(figure.name)
        ratio = figure.ratio or 0.0
        clauses.append(f"{name} {'rose' if ratio > 0 else 'fell'} {100 * abs(ratio):,.0f} %")
    text = ", ".join(clauses)
    return text[:1].upper() + text[1:]


def _slo_states(diff: Diff) -> str:
    """Return in a sentence how the results of SLOs and regression limits changed; empty when the runs have none."""
    sides = [report.get(LOAD) for report in (diff.before, diff.after)]
    missed, known = (
        [{limit.text for limit in limits} for limits in both]
        for both in (
            [load.missed if load else [] for load in sides],
            [load.objectives if load else [] for load in sides],
        )
    )
    newly = sorted((missed[1] - missed[0]) & known[0])
    again = sorted((missed[0] - missed[1]) & known[1])
    words = [
        f"{what}: {join_list(texts, 4)}." for what, texts in (("Newly missed", newly), ("Met again", again)) if texts
    ]
    if not words and known[0] & known[1]:
        return "No SLO changed state."
    return " ".join(words)


def _notes(old: ReportModel, new: ReportModel) -> list[str]:
    """Return the differences between the runs that limit what a comparison shows."""
    first, second = dict(old[TARGET].facts), dict(new[TARGET].facts)
    notes = [
        f"{name}: {first.get(name) or 'none'} before, {second.get(name) or 'none'} after."
        for name in ("Dialect", "Plan", "Model")
        if first.get(name) != second.get(name)
    ]
    if new.run.header.started_at < old.run.header.started_at:
        notes.append("The second run started before the first.")
    for word, run in (("first", old.run), ("second", new.run)):
        if partial := partial_reason(run):
            notes.append(f"The {word} run is partial. {partial}")
        if run.damage:
            notes.append(f"{plural(run.damaged, 'line')} of the {word} run file could not be read.")
    for word, report in (("first", old), ("second", new)):
        load = report.get(LOAD)
        if load is not None and load.unsteady:
            notes.append(f"The load of the {word} run was not steady, so its percentiles depend on its length.")
    here, there = {rule.id for rule in old.rules}, {rule.id for rule in new.rules}
    for word, names in (("first", here - there), ("second", there - here)):
        if names:
            notes.append(f"Only the {word} run contains {join_list(sorted(names))}.")
    if old.get(LOAD) and new.get(LOAD):
        was, now = settings_of(old), settings_of(new)
        changed = [name for name in now if was.get(name) != now[name]]
        if changed:
            notes.append(f"The load settings differ: {join_list(changed)}.")
    return notes


def _figures(old: ReportModel, new: ReportModel) -> list[FigureChange]:
    loads = old.get(LOAD), new.get(LOAD)
    if loads[0] is None or loads[1] is None:
        return []
    figures = list(_totals(loads[0], loads[1]))
    for metric in rows_shown(Place.DIFF):
        distribution, other = _distribution(old, metric), _distribution(new, metric)
        if distribution and other:
            figures += _percentiles(metric, distribution, other)
    return figures


def _distribution(report: ReportModel, metric: Metric) -> LatencyDistribution | Speed | None:
    return speed_of(report, metric.name) if metric.name in SPEEDS else latency_of(report, metric.name)


def _totals(old: LoadSummary, new: LoadSummary) -> Iterator[FigureChange]:
    yield FigureChange("Measurement", old.verdict or "–", new.verdict or "–")
    p = fisher((min(old.ok, old.started), old.started), (min(new.ok, new.started), new.started))
    better = new.ok * old.started >= old.ok * new.started
    yield FigureChange(
        "Succeeded",
        f"{format_percent(old.ok, old.started)} of {old.started:,}",
        f"{format_percent(new.ok, new.started)} of {new.started:,}",
        statement="" if p is None else f"{'differs' if p < SURE else 'no significant difference'} ({_p(p)})",
        severity=Severity.NONE if p is None or p >= SURE else Severity.PASS if better else Severity.FAIL,
    )
    rates = [
        ("Successful requests/s", old.rate, new.rate),
        ("Output tokens/s", old.tokens_rate, new.tokens_rate),
    ]
    for name, first, second in rates:
        if first is not None and second is not None:
            change, untested = _change(first, second), "not tested: one value per run"
            ratio = _ratio(first, second)
            yield FigureChange(
                name, format_rate(first), format_rate(second), change, untested, ratio=ratio, is_rate=True
            )


def _percentiles(
    metric: Metric, old: LatencyDistribution | Speed, new: LatencyDistribution | Speed
) -> Iterator[FigureChange]:
    statement, severity = _statement(metric, old, new)
    for p in metric.percentiles(Place.DIFF):
        first, second = old.percentile(p), new.percentile(p)
        change, ratio = "", None
        # The change of a figure that is only a lower bound is unknown.
        if first is not None and second is not None and not (first.at_least or second.at_least):
            change = _change(first.value, second.value)
            ratio = None if severity is Severity.NONE else _ratio(first.value, second.value)
        texts = old.percentile_text(p), new.percentile_text(p)
        yield FigureChange(f"{metric.label} p{p:g}", *texts, change, statement, severity, ratio)
        statement, severity = "", Severity.NONE


def _statement(
    metric: Metric, old: LatencyDistribution | Speed, new: LatencyDistribution | Speed
) -> tuple[str, Severity]:
    """Return whether the values of two runs differ significantly, in words, and the severity of that."""
    sizes = f"samples: {format_count(old.n)} and {format_count(new.n)}"
    if metric.pooled:
        return f"not tested: samples depend on each other ({sizes})", Severity.NONE
    found, sure = _compared(old, new)
    if found is None:
        return f"not tested: too few values ({sizes})", Severity.NONE
    if not sure:
        unended = plural(old.values.unended + new.values.unended, "sample has", "samples have")
        return f"cannot be known: {unended} no end ({sizes})", Severity.NONE
    first, second = old.quantile(0.5), new.quantile(0.5)
    medians = value_of(first) or 0.0, value_of(second) or 0.0
    known = not any(figure is not None and figure.at_least for figure in (first, second))
    if found.p >= SURE:
        return f"no significant difference ({_p(found.p)}; {sizes})", Severity.NONE
    if known and abs(medians[1] - medians[0]) < SMALL * max(medians):
        return f"medians differ by less than {100 * SMALL:.0f} % ({_p(found.p)}; {sizes})", Severity.NONE
    slower = (found.greater > 0.5) is not metric.higher_is_better
    share = max(found.greater, 1 - found.greater)
    word = "slower" if slower else "faster"
    return (
        f"{word} in {100 * share:.0f} % of pairs ({_p(found.p)}; {sizes})",
        Severity.WARN if slower else Severity.PASS,
    )


def _compared(old: LatencyDistribution | Speed, new: LatencyDistribution | Speed) -> tuple[Comparison | None, bool]:
    """Return how the values of two runs compare, and whether that is the same wherever those without an end lie.

    The extremes are that only those of one run lie at infinity, and those of the other where the wait ended.
    """
    extremes = [
        mann_whitney(_values(old, to_infinity=first), _values(new, to_infinity=not first)) for first in (True, False)
    ]
    found = [one for one in extremes if one is not None]
    if len(found) < len(extremes):
        return None, True
    conclusions = {(one.p < SURE and one.greater > 0.5, one.p < SURE and one.greater < 0.5) for one in found}
    return max(found, key=lambda one: one.p), len(conclusions) == 1


def _values(distribution: LatencyDistribution | Speed, *, to_infinity: bool) -> list[tuple[float, int]]:
    """Return the values with their numbers; those without an end where the wait ended, or at infinity."""
    values = distribution.values
    if not to_infinity:
        return [(bucket.middle, bucket.amount) for bucket in values.buckets]
    unended = Histogram(n=values.unended, counts=dict(values.at_least))
    ended = {bucket.middle: bucket.amount for bucket in values.buckets}
    for bucket in unended.buckets:
        ended[bucket.middle] -= bucket.amount
    return [*((middle, amount) for middle, amount in ended.items() if amount), (math.inf, unended.n)]


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _ratio(first: float, second: float) -> float | None:
    """Return the relative change where it is at least :data:`SMALL`."""
    ratio = (second - first) / first if first > 0 else 0.0
    return ratio if abs(ratio) >= SMALL else None


def _change(first: float, second: float) -> str:
    if first <= 0:
        return "" if second == first else "–"
    change = 100 * (second - first) / first
    return "±0 %" if abs(change) < 0.05 else f"{change:+.1f} %".replace("-", "−")
