"""Two runs compared: which findings are new, fixed, still there or no longer seen, and how figures changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from rejoinder.formatting import format_count, format_percent, format_rate, join_list, plural
from rejoinder.model.metrics import Metric, Place, times_shown
from rejoinder.model.runfile import Run
from rejoinder.reports.model import ReportModel, read_report
from rejoinder.reports.parts.latencies import LatencyDistribution, latency_of
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.load import LoadSummary
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.rules import JUDGED, Anchors, ReportedFinding, ReportedRule, Severity
from rejoinder.reports.side_by_side import settings_of
from rejoinder.reports.statistics import fisher, mann_whitney


class Change(StrEnum):
    """What became of a finding from one run to the next, the worst first."""

    NEW = "new"
    STILL = "still"
    GONE = "gone"
    FIXED = "fixed"
    CHANGED = "changed"


CHANGES: Final = {
    Change.NEW: ("fail", "new", "New", "not found before"),
    Change.STILL: ("warn", "still failing", "Still failing", "found before and found again"),
    Change.GONE: (
        "na",
        "gone",
        "No longer seen",
        "found before; now its rule was not judged, or its cases were not run",
    ),
    Change.FIXED: (
        "pass",
        "fixed",
        "Fixed",
        "found before; its rule was judged again on its cases, and it was not found",
    ),
    Change.CHANGED: ("info", "verdict changed", "Verdict changed", "the verdict on the rule is another one"),
}
"""For each kind: its sign, the word in counts, the title of its part, and what it means."""
SURE: Final = 0.01
SMALL: Final = 0.05
"""By how much the median must have changed before a difference is called one."""
CAVEAT: Final = (
    "A small p says that these two runs differ, not why: requests of one run share the state of machine and network. "
    "Repeat both before you act on it."
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
        kinds = _sort_findings(groups, earlier, later, cases)
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
) -> list[Change]:
    """Add the findings of one rule to their groups; return the kinds that there were."""
    once, now = _by_fingerprint(earlier), _by_fingerprint(later)
    judged = later is not None and later.severity in JUDGED
    sorted_out: dict[Change, list[ReportedFinding]] = {}
    for mark, finding in now.items():
        sorted_out.setdefault(Change.STILL if mark in once else Change.NEW, []).append(finding)
    for mark, finding in once.items():
        if mark not in now:
            ran = cases is None or not finding.finding.cases or bool(cases.intersection(finding.finding.cases))
            sorted_out.setdefault(Change.FIXED if judged and ran else Change.GONE, []).append(finding)
    for kind, findings in sorted_out.items():
        rule = later if kind in (Change.NEW, Change.STILL) else earlier
        assert rule is not None
        groups[kind].append(replace(rule, findings=findings))
    return [kind for kind in Change if kind in sorted_out]


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
        if broken and Change.NEW not in change.kinds:
            failures.append(f"{change.id} is broken now; it was {was.counted} before.")
    load = diff.after.get(LOAD)
    before = diff.before.get(LOAD)
    if load and load.intolerable and not (before and before.intolerable):
        failures.append(f"{load.bad:,} of {load.started:,} requests under load ended badly.")
    once = {objective.text for objective in before.missed} if before else set()
    if load:
        missed = [objective for objective in load.missed if objective.text not in once]
        failures += [f"The objective {objective.text} is missed now: {objective.summary}." for objective in missed]
    return failures


def _verdict(diff: Diff) -> None:
    counts = diff.counts
    amounts = [f"{counts[kind]:,} {CHANGES[kind][1]}" for kind in Change if counts[kind] and kind is not Change.CHANGED]
    findings = f"Findings: {', '.join(amounts)}." if amounts else "Neither run found anything."
    changed = counts[Change.CHANGED]
    rules = f"The verdict on {plural(changed, 'rule')} changed." if changed else "No verdict changed."
    judged = any(rule.after and rule.after.severity in JUDGED for rule in diff.rules)
    load = diff.after.get(LOAD)
    if diff.new_failures:
        diff.severity, diff.headline = Severity.FAIL, plural(len(diff.new_failures), "new failure")
    elif not judged and load is None:
        diff.severity, diff.headline = Severity.ERROR, "Nothing to compare"
        findings, rules = "The second run judged and measured nothing.", ""
    elif counts[Change.NEW]:
        diff.severity, diff.headline = Severity.WARN, "No new failure, but new findings"
    elif counts[Change.FIXED]:
        diff.severity, diff.headline = Severity.PASS, f"{counts[Change.FIXED]:,} fixed, nothing new"
    else:
        diff.severity, diff.headline = Severity.PASS, "Nothing new"
    if not diff.rules and load is not None:  # two loads and nothing else
        findings, rules = " ".join(diff.new_failures[:3]) or "No objective is newly missed, and no error is new.", ""
    diff.sentence = f"{findings} {rules}".strip()


def _notes(old: ReportModel, new: ReportModel) -> list[str]:
    """Return what makes the two runs hard to compare."""
    first, second = dict(old[TARGET].facts), dict(new[TARGET].facts)
    notes = [
        f"{name}: {first.get(name) or 'none'} before, {second.get(name) or 'none'} after."
        for name in ("Dialect", "Plan", "Model")
        if first.get(name) != second.get(name)
    ]
    if new.run.header.started_at < old.run.header.started_at:
        notes.append("The second run is older than the first.")
    for word, run in (("first", old.run), ("second", new.run)):
        if run.truncated or run.interrupted:
            notes.append(f"The {word} run did not come to its end.")
        if run.damage:
            notes.append(f"{plural(len(run.damage), 'line')} of the {word} run file could not be read.")
    here, there = {rule.id for rule in old.rules}, {rule.id for rule in new.rules}
    for word, names in (("first", here - there), ("second", there - here)):
        if names:
            notes.append(f"Only the {word} run has {join_list(sorted(names))}.")
    if old.get(LOAD) and new.get(LOAD):
        was, now = settings_of(old), settings_of(new)
        changed = [name for name in now if was.get(name) != now[name]]
        if changed:
            notes.append(f"The load was set differently: {join_list(changed)}.")
    return notes


def _figures(old: ReportModel, new: ReportModel) -> list[FigureChange]:
    loads = old.get(LOAD), new.get(LOAD)
    if loads[0] is None or loads[1] is None:
        return []
    figures = list(_totals(loads[0], loads[1]))
    for metric in times_shown(Place.DIFF):
        distribution, other = latency_of(old, metric.name), latency_of(new, metric.name)
        if distribution and other:
            figures += _latencies(metric, distribution, other)
    return figures


def _totals(old: LoadSummary, new: LoadSummary) -> Iterator[FigureChange]:
    yield FigureChange("Measurement", old.verdict or "–", new.verdict or "–")
    p = fisher((min(old.ok, old.started), old.started), (min(new.ok, new.started), new.started))
    better = new.ok * old.started >= old.ok * new.started
    yield FigureChange(
        "Ended well",
        f"{format_percent(old.ok, old.started)} of {old.started:,}",
        f"{format_percent(new.ok, new.started)} of {new.started:,}",
        statement="" if p is None else f"{'differs' if p < SURE else 'no clear difference'}, {_p(p)}",
        severity=Severity.NONE if p is None or p >= SURE else Severity.PASS if better else Severity.FAIL,
    )
    rates = [("Requests ok/s", old.rate, new.rate), ("Output tok/s", old.tokens_rate, new.tokens_rate)]
    for name, first, second in rates:
        if first is not None and second is not None:
            change, untested = _change(first, second), "one figure a run, not tested"
            yield FigureChange(name, format_rate(first), format_rate(second), change, untested)


def _latencies(metric: Metric, old: LatencyDistribution, new: LatencyDistribution) -> Iterator[FigureChange]:
    statement, severity = _statement(metric, old, new)
    for p in metric.percentiles(Place.DIFF):
        first, second = old.percentile(p), new.percentile(p)
        change = "" if first is None or second is None else _change(first, second)
        yield FigureChange(
            f"{metric.title} p{p:g}", old.percentile_text(p), new.percentile_text(p), change, statement, severity
        )
        statement, severity = "", Severity.NONE


def _statement(metric: Metric, old: LatencyDistribution, new: LatencyDistribution) -> tuple[str, Severity]:
    """Say whether the values of two runs differ, where that can be said."""
    sizes = f"n {format_count(old.n)} and {format_count(new.n)}"
    if metric.pooled:
        return f"not tested, {sizes}", Severity.NONE
    found = mann_whitney(*([(b.middle, b.amount) for b in d.values.buckets] for d in (old, new)))
    if found is None:
        return f"too few to tell, {sizes}", Severity.NONE
    medians = old.quantile(0.5) or 0.0, new.quantile(0.5) or 0.0
    if found.p >= SURE:
        return f"no clear difference, {_p(found.p)}, {sizes}", Severity.NONE
    if abs(medians[1] - medians[0]) < SMALL * max(medians):
        return f"differs by less than {SMALL:.0%} in the median, {_p(found.p)}, {sizes}".replace(
            "%", " %"
        ), Severity.NONE
    slower = found.greater > 0.5
    share = found.greater if slower else 1 - found.greater
    word = "slower" if slower else "faster"
    return f"{word} in {100 * share:.0f} % of pairs, {_p(found.p)}, {sizes}", Severity.WARN if slower else Severity.PASS


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _change(first: float, second: float) -> str:
    if first <= 0:
        return "" if second == first else "–"
    change = 100 * (second - first) / first
    return "±0 %" if abs(change) < 0.05 else f"{change:+.1f} %".replace("-", "−")
